/** Frames by hand, and what a careful reader makes of them: the programs' reading is compared with it. */

const ETHERNET = 14;
const VXLAN_OVERHEAD = 50;

export const octets = (address: string): number[] => address.split('.').map(Number);

export interface Packet {
  readonly saddr: string;
  readonly daddr: string;
  readonly protocol: number;
  readonly sport: number;
  readonly dport: number;
}

export function ethernet(payload: Buffer, to = '0e:50:00:00:00:01', from = '0a:00:00:00:00:02', type = 0x0800): Buffer {
  const mac = (text: string) => Buffer.from(text.replaceAll(':', ''), 'hex');
  return Buffer.concat([mac(to), mac(from), Buffer.from([type >> 8, type & 255]), payload]);
}

export function ipv4({ saddr, daddr, protocol, sport, dport }: Packet, payload: Buffer, ttl = 64): Buffer {
  const header = Buffer.alloc(20);
  const l4 = transport(protocol, sport, dport, payload);
  header.writeUInt8(0x45, 0);
  header.writeUInt16BE(20 + l4.length, 2);
  header.writeUInt8(ttl, 8);
  header.writeUInt8(protocol, 9);
  header.set(octets(saddr), 12);
  header.set(octets(daddr), 16);
  header.writeUInt16BE(sum(header), 10);
  return Buffer.concat([header, l4]);
}

function transport(protocol: number, sport: number, dport: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(protocol === 6 ? 20 : 8);
  if (protocol === 1) {
    header.writeUInt8(8, 0);
    header.writeUInt16BE(sport, 4);
  } else {
    header.writeUInt16BE(sport, 0);
    header.writeUInt16BE(dport, 2);
    if (protocol === 17) header.writeUInt16BE(8 + payload.length, 4);
    else header.set([0x50, 0x10], 12);
  }
  return Buffer.concat([header, payload]);
}

export function vxlan(vni: number, inner: Buffer, saddr: string, daddr: string, port = 4789): Buffer {
  const header = Buffer.from([8, 0, 0, 0, vni >> 16, (vni >> 8) & 255, vni & 255, 0]);
  const outer = { saddr, daddr, protocol: 17, sport: 40_000, dport: port };
  return ethernet(ipv4(outer, Buffer.concat([header, inner])));
}

function sum(header: Buffer): number {
  let all = 0;
  for (let at = 0; at < header.length; at += 2) all += header.readUInt16BE(at);
  while (all > 0xffff) all = (all & 0xffff) + (all >> 16);
  return ~all & 0xffff;
}

export interface Read extends Packet {
  readonly vni: number;
  readonly host: string;
}

/** What is in a VXLAN frame for `own`, or undefined: not whole, not plain, or not for it. */
export function readTunnelled(frame: Buffer, own: string): Read | undefined {
  const outer = readIp(frame, 0);
  if (outer?.protocol !== 17 || outer.dport !== 4789 || outer.daddr !== own) return undefined;
  const at = ETHERNET + 28;
  if (frame.length < at + 8 || frame.readUInt32BE(at) !== 0x08000000 || frame[at + 7] !== 0) return undefined;
  if (frame.readUInt16BE(ETHERNET + 24) + 20 !== frame.readUInt16BE(ETHERNET + 2)) return undefined;
  const inner = readIp(frame, VXLAN_OVERHEAD);
  if (!inner || inner.length + VXLAN_OVERHEAD > frame.readUInt16BE(ETHERNET + 2)) return undefined;
  return { ...inner, vni: frame.readUIntBE(at + 4, 3), host: outer.saddr };
}

export function readIp(frame: Buffer, offset: number): (Packet & { length: number }) | undefined {
  const ip = offset + ETHERNET;
  if (frame.length < ip + 28 || frame.readUInt16BE(offset + 12) !== 0x0800 || frame[ip] !== 0x45) return undefined;
  const length = frame.readUInt16BE(ip + 2);
  if ((frame.readUInt16BE(ip + 6) & 0x3fff) !== 0 || length < 28 || ip + length > frame.length) return undefined;
  const protocol = frame[ip + 9]!;
  const address = (at: number) => [...frame.subarray(at, at + 4)].join('.');
  const whole = { saddr: address(ip + 12), daddr: address(ip + 16), protocol, length };
  const l4 = ip + 20;
  if (protocol === 1) {
    if ((frame[l4] !== 8 && frame[l4] !== 0) || frame[l4 + 1] !== 0) return undefined;
    const id = frame.readUInt16BE(l4 + 4);
    return { ...whole, sport: frame[l4] === 8 ? id : 0, dport: frame[l4] === 8 ? 0 : id };
  }
  if (protocol !== 6 && protocol !== 17) return undefined;
  if (protocol === 6 && (frame.length < l4 + 20 || frame[l4 + 12]! >> 4 < 5)) return undefined;
  return { ...whole, sport: frame.readUInt16BE(l4), dport: frame.readUInt16BE(l4 + 2) };
}
