/** Messages of XFRM: octets that iproute2 sends for the same, round trips, and mutations of what the kernel may say. */
import test from 'ava';
import fc from 'fast-check';
import { Malformed, type Message, MessageWriter } from 'rtnetlink-ts';
import { type Address, formatAddress } from '../../../../src/model/address.ts';
import {
  type Association,
  readAssociation,
  readAssociationId,
  writeAssociation,
  writeAssociationId,
} from '../../../../src/vswitch-bridge/encryption/xfrm/codec/association.ts';
import {
  type Policy,
  readPolicy,
  writePolicy,
  writePolicyId,
} from '../../../../src/vswitch-bridge/encryption/xfrm/codec/policy.ts';

const octets = (write: (writer: MessageWriter) => void): Buffer => {
  const writer = new MessageWriter(64);
  write(writer);
  return Buffer.from(writer.bytes());
};

const message = (bytes: Buffer): Message => ({
  ...{ type: 0, flags: 0, sequence: 0, pid: 0 },
  ...{ bytes, start: 0, end: bytes.length },
});

const A = '10.0.0.1' as Address;
const B = '10.0.0.2' as Address;
const net = (address: Address, length: number) => ({ address, length });
const selector = { source: net(A, 32), destination: net(B, 32), protocol: 17, destinationPort: 4789 };
const SA: Association = {
  ...{ source: A, destination: B, spi: 0x80112233, reqid: 0x504c5301, selector, window: 1024 },
  key: Uint8Array.from({ length: 36 }, (_, index) => index),
  encapsulation: { sourcePort: 4500, destinationPort: 4500 },
  sequence: { sent: 0n, received: 0n },
  mark: { value: 0x7e000001, mask: 0xffffffff },
  setMark: { value: 5, mask: 0xff },
  interfaceId: 7,
};
const POLICY: Policy = {
  ...{ direction: 'out', selector, priority: 16384 },
  template: { source: A, destination: B, spi: 0x80112233, reqid: 0x504c5301 },
};

/** What `ip xfrm` of iproute2 6.1 sends for the same, behind the header of netlink; read with strace. */
const SENT = {
  newSa:
    '0a0000020000000000000000000000000a00000100000000000000000000000012b5ffff000000000200202011000000' +
    '00000000000000000a00000200000000000000000000000080112233320000000a000001000000000000000000000000' +
    'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff00000000000000000000000000000000' +
    '000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000' +
    '0000000000000000000000000000000001534c5002000000800000000000000070001200726663343130362867636d28' +
    '616573292900000000000000000000000000000000000000000000000000000000000000000000000000000000000000' +
    '000000002001000080000000000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223' +
    '1c0004000200119411940000000000000000000000000000000000001c00170020000000000000000000000000000000' +
    '00000000000400000c0015000100007effffffff08001f000700000008001d000500000008001e00ff000000',
  newSa6:
    '000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000' +
    '0000000000000000fd0000000000000000000000000000028fffffff32000000fd000000000000000000000000000001' +
    'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff00000000000000000000000000000000' +
    '000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000' +
    '00000000000000000000000000000000090000000a000000800000000000000070001200726663343130362867636d28' +
    '616573292900000000000000000000000000000000000000000000000000000000000000000000000000000000000000' +
    '000000002001000080000000000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223' +
    '1c001700010000000500000006000000010000000200000020000000',
  deleteSa:
    '0a000002000000000000000000000000801122330200320014000d000a0000010000000000000000000000000c001500' +
    '0100007effffffff',
  updatePolicy:
    '0a0000020000000000000000000000000a00000100000000000000000000000012b5ffff000000000200202011000000' +
    '0000000000000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff0000000000000000' +
    '000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000' +
    '000000000000000000400000000000000100000000000000440005000a00000200000000000000000000000080112233' +
    '32000000020000000a00000100000000000000000000000001534c5000000000ffffffffffffffffffffffff',
  blockPolicy:
    '000000000000000000000000000000000a00000100000000000000000000000012b5ffff000000000200002011000000' +
    '0000000000000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff0000000000000000' +
    '000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000' +
    '000000000000000000800000000000000001000000000000',
  deletePolicy:
    '0a0000020000000000000000000000000a00000100000000000000000000000012b5ffff000000000200202011000000' +
    '00000000000000000000000001000000',
} as const;

test('R0.2 SAs and policies leave as iproute2 sends them', (t) => {
  t.is(octets((writer) => writeAssociation(writer, SA)).toString('hex'), SENT.newSa);
  const { mark } = SA;
  const deletion = octets((writer) => writeAssociationId(writer, { destination: B, spi: SA.spi, mark: mark! }));
  // iproute2 was given the source too: XFRMA_SRCADDR, which ESP has no use for.
  t.is(deletion.toString('hex'), SENT.deleteSa.replace(/14000d000a000001(00){12}/, ''));
  t.is(octets((writer) => writePolicy(writer, POLICY)).toString('hex'), SENT.updatePolicy);
  const block: Policy = {
    ...{ direction: 'in', priority: 32768 },
    selector: { ...selector, destination: net('0.0.0.0' as Address, 0) },
  };
  t.is(octets((writer) => writePolicy(writer, block)).toString('hex'), SENT.blockPolicy);
  t.is(octets((writer) => writePolicyId(writer, POLICY)).toString('hex'), SENT.deletePolicy);
});

test('numbers of 64 bits stand in two halves each, as iproute2 puts them', (t) => {
  const six = { source: net('fd00::1' as Address, 128), destination: net('fd00::2' as Address, 128), protocol: 0 };
  const sa: Association = {
    ...{ source: 'fd00::1' as Address, destination: 'fd00::2' as Address, spi: 0x8fffffff, reqid: 9, window: 32 },
    ...{ key: SA.key, selector: six, sequence: { sent: (1n << 32n) + 5n, received: (2n << 32n) + 6n } },
  };
  const own = octets((writer) => writeAssociation(writer, sa)).toString('hex');
  // It was given no selector; ours is always there.
  t.is(own.slice(56 * 2), SENT.newSa6.slice(56 * 2));
});

const anyAddress = (octetCount: 4 | 16) =>
  fc.uint8Array({ minLength: octetCount, maxLength: octetCount }).map((bytes) => formatAddress(bytes));
const port = fc.integer({ min: 0, max: 65_535 });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const mark = fc.record({ value: u32, mask: u32 });

const parts = (octetCount: 4 | 16) => {
  const side = fc.record({ address: anyAddress(octetCount), length: fc.integer({ min: 0, max: octetCount * 8 }) });
  const anySelector = fc.record(
    {
      ...{ source: side, destination: side, protocol: fc.integer({ min: 0, max: 255 }) },
      ...{ sourcePort: port, destinationPort: port },
    },
    { requiredKeys: ['source', 'destination', 'protocol'] },
  );
  const ends = { source: anyAddress(octetCount), destination: anyAddress(octetCount) };
  const sa = fc.record(
    {
      ...{ ...ends, spi: u32, reqid: u32, key: fc.uint8Array({ minLength: 36, maxLength: 36 }), selector: anySelector },
      encapsulation: fc.record({ sourcePort: port, destinationPort: port }),
      window: fc.integer({ min: 1, max: 128 }).map((words) => words * 32),
      sequence: fc.record({ sent: u64, received: u64 }),
      ...{ mark, setMark: mark, interfaceId: u32 },
    },
    { requiredKeys: ['source', 'destination', 'spi', 'reqid', 'key', 'selector', 'window', 'sequence'] },
  );
  const policy = fc.record(
    {
      direction: fc.constantFrom('in' as const, 'out' as const),
      ...{ selector: anySelector, priority: u32, mark, interfaceId: u32 },
      template: fc.record({ ...ends, spi: u32, reqid: u32 }),
    },
    { requiredKeys: ['direction', 'selector', 'priority'] },
  );
  return { sa, policy };
};
const V4 = parts(4);
const V6 = parts(16);

test('what is written is read', (t) => {
  fc.assert(
    fc.property(fc.oneof(V4.sa, V6.sa), (sa) => {
      const read = readAssociation(message(octets((writer) => writeAssociation(writer, sa))));
      t.deepEqual(read, { ...sa, traffic: { bytes: 0n, packets: 0n, replayed: 0, forged: 0 } });
      const id = octets((writer) => writeAssociationId(writer, sa));
      t.deepEqual(readAssociationId(message(id)), { destination: sa.destination, spi: sa.spi });
    }),
  );
  fc.assert(
    fc.property(fc.oneof(V4.policy, V6.policy), (policy) => {
      t.deepEqual(readPolicy(message(octets((writer) => writePolicy(writer, policy)))), policy);
    }),
  );
});

test('what is cut off or turned round is malformed, or of another kind: never an exception', (t) => {
  const samples = [
    octets((writer) => writeAssociation(writer, SA)),
    octets((writer) => writePolicy(writer, POLICY)),
    octets((writer) => writeAssociationId(writer, SA)),
  ];
  const readers = [readAssociation, readPolicy, readAssociationId];
  fc.assert(
    fc.property(
      fc.constantFrom(...samples),
      fc.array(fc.record({ at: fc.nat(), value: fc.integer({ min: 0, max: 255 }) }), { maxLength: 8 }),
      fc.nat(),
      (sample, changes, cut) => {
        const bytes = Buffer.from(sample.subarray(0, sample.length - (cut % (sample.length + 1))));
        for (const { at, value } of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
        for (const read of readers) t.notThrows(() => read(message(bytes)));
      },
    ),
    { numRuns: 2000 },
  );
  for (const [index, sample] of samples.entries()) {
    const whole = index === 2 ? 24 : index === 1 ? 168 : 224;
    t.true(readers[index]!(message(sample.subarray(0, whole - 1))) instanceof Malformed);
  }
});

test('a key or a window that is none is refused before it is sent', (t) => {
  t.throws(() => octets((writer) => writeAssociation(writer, { ...SA, key: new Uint8Array(35) })), {
    instanceOf: RangeError,
  });
  for (const window of [0, 33, 8192])
    t.throws(() => octets((writer) => writeAssociation(writer, { ...SA, window })), { instanceOf: RangeError });
});
