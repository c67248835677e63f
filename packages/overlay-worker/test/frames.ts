/** Frames of TCP and UDP as a sender would make them, and a reading of them that shares nothing with the native code. */
import fc from 'fast-check';

export interface Shape {
  readonly v6: boolean;
  readonly tcp: boolean;
  /** VLAN tags: 0 to 2. */
  readonly tags: number;
  /** Octets of TCP options: a multiple of 4. */
  readonly options: number;
  readonly source: number;
  readonly sequence: number;
  readonly id: number;
  readonly dontFragment: boolean;
  /** TCP. */
  readonly flags: number;
  readonly payload: Buffer;
}

export const FIN = 0x01;
export const SYN = 0x02;
export const PSH = 0x08;
export const ACK = 0x10;
export const CWR = 0x80;

export function checksum(...parts: readonly Buffer[]): number {
  const bytes = Buffer.concat(parts);
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes[at]! * 256 + (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65536);
  return ~sum & 0xffff;
}

function pseudo(l3: Buffer, v6: boolean, protocol: number, length: number): Buffer {
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(length, 0);
  tail.writeUInt32BE(protocol, 4);
  return Buffer.concat([v6 ? l3.subarray(8, 40) : l3.subarray(12, 20), tail]);
}

/** With right lengths and checksums. */
export function frameOf(shape: Shape): Buffer {
  const { v6, tcp, tags, payload } = shape;
  const ethernet = Buffer.alloc(14 + tags * 4);
  ethernet.write('0e50c0000202', 0, 'hex');
  ethernet.write('0e50c0000201', 6, 'hex');
  for (let tag = 0; tag < tags; tag++) ethernet.writeUInt32BE(0x81000005, 12 + tag * 4);
  ethernet.writeUInt16BE(v6 ? 0x86dd : 0x0800, 12 + tags * 4);
  const l4 = Buffer.alloc(tcp ? 20 + shape.options : 8);
  l4.writeUInt16BE(shape.source, 0);
  l4.writeUInt16BE(5201, 2);
  if (tcp) {
    l4.writeUInt32BE(shape.sequence, 4);
    l4.writeUInt32BE(77, 8);
    l4[12] = (5 + shape.options / 4) << 4;
    l4[13] = shape.flags;
    l4.writeUInt16BE(512, 14);
    l4.fill(1, 20);
  } else {
    l4.writeUInt16BE(8 + payload.length, 4);
  }
  const length = l4.length + payload.length;
  const l3 = Buffer.alloc(v6 ? 40 : 20);
  const protocol = tcp ? 6 : 17;
  if (v6) {
    l3[0] = 0x60;
    l3.writeUInt16BE(length, 4);
    l3[6] = protocol;
    l3[7] = 64;
    l3.write('fd000000000000000000000000000001fd000000000000000000000000000002', 8, 'hex');
  } else {
    l3[0] = 0x45;
    l3.writeUInt16BE(20 + length, 2);
    l3.writeUInt16BE(shape.id, 4);
    l3[6] = shape.dontFragment ? 0x40 : 0;
    l3[8] = 64;
    l3[9] = protocol;
    l3.write('0a0100010a010002', 12, 'hex');
    l3.writeUInt16BE(checksum(l3), 10);
  }
  const sum = checksum(pseudo(l3, v6, protocol, length), l4, payload);
  l4.writeUInt16BE(!tcp && sum === 0 ? 0xffff : sum, tcp ? 16 : 6);
  return Buffer.concat([ethernet, l3, l4, payload]);
}

export interface Read {
  readonly shape: Shape;
  readonly valid: boolean;
}

/** undefined: not such a frame. */
export function read(frame: Buffer): Read | undefined {
  let at = 12;
  let tags = 0;
  while (frame.readUInt16BE(at) === 0x8100) {
    at += 4;
    tags++;
  }
  const v6 = frame.readUInt16BE(at) === 0x86dd;
  const l3 = frame.subarray(at + 2);
  const protocol = v6 ? l3[6] : l3[9];
  if (protocol !== 6 && protocol !== 17) return undefined;
  const tcp = protocol === 6;
  const l4 = l3.subarray(v6 ? 40 : 20);
  const header = tcp ? (l4[12]! >> 4) * 4 : 8;
  const payload = l4.subarray(header);
  const lengths =
    (v6 ? l3.readUInt16BE(4) === l4.length : l3.readUInt16BE(2) === l3.length) &&
    (tcp || l4.readUInt16BE(4) === l4.length);
  const sums = (v6 || checksum(l3.subarray(0, 20)) === 0) && checksum(pseudo(l3, v6, protocol, l4.length), l4) === 0;
  return {
    valid: lengths && sums,
    shape: {
      ...{ v6, tcp, tags, payload },
      options: tcp ? header - 20 : 0,
      source: l4.readUInt16BE(0),
      sequence: tcp ? l4.readUInt32BE(4) : 0,
      id: v6 ? 0 : l3.readUInt16BE(4),
      dontFragment: !v6 && l3[6] === 0x40,
      flags: tcp ? l4[13]! : 0,
    },
  };
}

const GSO = { tcp4: 1, tcp6: 4, udp: 5 } as const;

/** What a TAP gives for a frame that is to be cut into `size`: virtio_net_hdr, the checksum begun and not finished. */
export function unfinished(shape: Shape, size: number): Buffer {
  const frame = frameOf(shape);
  const l3 = 14 + shape.tags * 4;
  const l4 = l3 + (shape.v6 ? 40 : 20);
  const field = shape.tcp ? 16 : 6;
  const begun = checksum(pseudo(frame.subarray(l3), shape.v6, shape.tcp ? 6 : 17, frame.length - l4));
  frame.writeUInt16BE(~begun & 0xffff, l4 + field);
  const header = Buffer.alloc(10);
  header[0] = 1;
  header[1] = size === 0 ? 0 : shape.tcp ? (shape.v6 ? GSO.tcp6 : GSO.tcp4) : GSO.udp;
  header.writeUInt16LE(frame.length - shape.payload.length, 2);
  header.writeUInt16LE(size, 4);
  header.writeUInt16LE(l4, 6);
  header.writeUInt16LE(field, 8);
  return Buffer.concat([header, frame]);
}

/** The segments of a shape by the book: RFC 9293 sequence numbers, FIN and PSH at the end, CWR at the beginning. */
export function segmentsOf(shape: Shape, size: number): Shape[] {
  const segments: Shape[] = [];
  for (let at = 0; at < shape.payload.length; at += size) {
    const last = at + size >= shape.payload.length;
    let { flags } = shape;
    if (!last) flags &= ~(FIN | PSH);
    if (at > 0) flags &= ~CWR;
    segments.push({
      ...shape,
      payload: shape.payload.subarray(at, at + size),
      id: shape.v6 ? 0 : (shape.id + segments.length) & 0xffff,
      sequence: shape.tcp ? (shape.sequence + at) >>> 0 : 0,
      flags,
    });
  }
  return segments;
}

export const anyShape = (longest: number): fc.Arbitrary<Shape> =>
  fc
    .record({
      v6: fc.boolean(),
      tcp: fc.boolean(),
      tags: fc.nat(2),
      options: fc.constantFrom(0, 12, 40),
      source: fc.integer({ min: 1, max: 65535 }),
      sequence: fc.oneof(fc.nat(0xffffffff), fc.integer({ min: 0xfffff000, max: 0xffffffff })),
      id: fc.oneof(fc.nat(0xffff), fc.constant(0xffff)),
      dontFragment: fc.boolean(),
      flags: fc.constantFrom(ACK, ACK | PSH, ACK | FIN, ACK | FIN | PSH, ACK | CWR),
      payload: fc
        .tuple(fc.integer({ min: 1, max: longest }), fc.nat(255))
        .map(([length, seed]) =>
          Buffer.from(Array.from({ length }, (_, index) => (index * 31 + seed * (index >> 8)) & 0xff)),
        ),
    })
    .map((shape) => ({
      ...shape,
      options: shape.tcp ? shape.options : 0,
      flags: shape.tcp ? shape.flags : 0,
      sequence: shape.tcp ? shape.sequence : 0,
      id: shape.v6 ? 0 : shape.id,
      dontFragment: !shape.v6 && shape.dontFragment,
    }));
