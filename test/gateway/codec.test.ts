import test from 'ava';
import fc from 'fast-check';
import {
  decodeFact,
  decodeKey,
  encodeFact,
  encodeKey,
  MOST_ADDRESSES,
  MOST_MACS,
} from '../../src/gateway/codec/index.ts';
import { formatAddress, formatMac, ipv4FromNumber } from '../../src/model/address.ts';
import type { PortFact } from '../../src/model/port-facts.ts';
import { heardText } from '../../src/model/ports.ts';

const octets = (least: number, most: number) => fc.uint8Array({ minLength: least, maxLength: most });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
/** Fits every bound: at most four octets a character. */
const text = (least = 0) => fc.string({ unit: 'binary', minLength: least, maxLength: 16 }).map(heardText);
const address = fc.oneof(octets(4, 4), octets(16, 16)).map(formatAddress);
const mac = octets(6, 6).map(formatMac);

const facts: fc.Arbitrary<PortFact> = fc
  .record({
    routerId: u32.map(ipv4FromNumber),
    switchName: text(),
    port: text(1).filter((name) => name !== ''),
    ifindex: u32,
    role: fc.constantFrom('uplink' as const, 'downlink' as const),
    state: fc.constantFrom('up' as const, 'down' as const, 'shut' as const),
    since: fc.integer({ min: 0, max: 253_402_300_799_999 }),
    reason: text(),
    addresses: fc.array(address, { maxLength: MOST_ADDRESSES }),
    macs: fc.array(mac, { maxLength: MOST_MACS }),
    lldp: fc.option(fc.record({ systemName: text(), portId: text() }), { nil: undefined }),
  })
  .map(({ lldp, ...fact }) => (lldp ? { ...fact, lldp } : fact));

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

test('R4.8: what a switch says of a port is what the gateway hears', (t) => {
  fc.assert(
    fc.property(facts, (fact) => {
      const { key, value } = encodeFact(fact);
      t.deepEqual(decodeFact(key, value), fact);
    }),
  );
});

test('the key names the switch and the port, nothing that changes', (t) => {
  fc.assert(
    fc.property(facts, facts, (one, other) => {
      const { routerId, ifindex } = one;
      t.deepEqual(encodeFact({ ...other, routerId, ifindex }).key, encodeFact(one).key);
      t.deepEqual(decodeKey(encodeKey(one)), { routerId, ifindex });
    }),
  );
});

test('TLVs of a newer version of the switch are skipped, wherever they stand', (t) => {
  const unknown = fc.tuple(fc.integer({ min: 11, max: 255 }), octets(0, 40));
  fc.assert(
    fc.property(facts, unknown, (fact, [type, said]) => {
      const { key, value } = encodeFact(fact);
      const extra = [type, said.length, ...said];
      t.deepEqual(decodeFact(key, Uint8Array.from([...value, ...extra])), fact);
      t.deepEqual(decodeFact(key, Uint8Array.from([value[0]!, ...extra, ...value.subarray(1)])), fact);
    }),
  );
});

test('no octets whatever make it throw, and what is read can be said again', (t) => {
  const mutated = fc.tuple(facts, fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 4 }), fc.nat(400));
  fc.assert(
    fc.property(fc.oneof(octets(0, 64), mutated), (input) => {
      let [key, value] = [encodeKey({ routerId: ipv4FromNumber(1), ifindex: 1 }), input as Uint8Array];
      if (!(input instanceof Uint8Array)) {
        const [fact, changes, length] = input;
        ({ key, value } = encodeFact(fact));
        for (const [at, octet] of changes) if (at < value.length) value[at] = octet;
        value = value.subarray(0, length);
      }
      const fact = decodeFact(key, value);
      if (typeof fact === 'string') return;
      const again = encodeFact(fact);
      t.not(typeof decodeFact(again.key, again.value), 'string');
    }),
    { numRuns: 2_000 },
  );
});

const FACT: PortFact = {
  routerId: ipv4FromNumber(0x0aff0001),
  switchName: 'A',
  port: 'A2',
  ifindex: 7,
  role: 'downlink',
  state: 'down',
  since: 1_795_280_400_000,
  reason: 'A2 lost carrier',
  addresses: [],
  macs: [formatMac(Uint8Array.of(2, 0, 0, 0, 0, 4))],
};

test('the octets of the example in docs/wire.md', (t) => {
  const { key, value } = encodeFact(FACT);
  t.is(hex(key), '010aff000100000007');
  t.is(
    hex(value),
    '01' +
      '010141' +
      '02024132' +
      '030102' +
      '040102' +
      '0508000001a1ff0cee80' +
      '060f4132206c6f73742063617272696572' +
      '0806020000000004',
  );
});

test('what is wrong with a fact has a name', (t) => {
  const { key, value } = encodeFact(FACT);
  const without = (type: number): Uint8Array => {
    const kept = [value[0]!];
    for (let at = 1; at < value.length; at += 2 + value[at + 1]!) {
      if (value[at] !== type) kept.push(...value.subarray(at, at + 2 + value[at + 1]!));
    }
    return Uint8Array.from(kept);
  };
  const plus = (...tlv: number[]): Uint8Array => Uint8Array.from([...value, ...tlv]);
  t.is(decodeFact(new Uint8Array(), value), 'key-length');
  t.is(decodeFact(key.subarray(0, 8), value), 'key-length');
  t.is(decodeFact(Uint8Array.from([2, ...key.subarray(1)]), value), 'key-version');
  t.is(decodeFact(key, new Uint8Array()), 'value-empty');
  t.is(decodeFact(key, Uint8Array.of(2)), 'value-version');
  t.is(decodeFact(key, Uint8Array.from([1, ...new Uint8Array(2048)])), 'value-too-long');
  t.is(decodeFact(key, value.subarray(0, value.length - 1)), 'tlv-truncated');
  t.is(decodeFact(key, plus(99)), 'tlv-truncated');
  t.is(decodeFact(key, plus(2, 1, 65)), 'tlv-repeated');
  t.is(decodeFact(key, plus(3, 1, 1)), 'tlv-repeated');
  t.is(decodeFact(key, plus(7, 3, 1, 2, 3)), 'tlv-length');
  t.is(decodeFact(key, plus(9, 1, 0xff)), 'text-not-utf8');
  t.is(decodeFact(key, Uint8Array.from([...without(3), 3, 1, 3])), 'role-unknown');
  t.is(decodeFact(key, Uint8Array.from([...without(4), 4, 1, 0])), 'state-unknown');
  t.is(decodeFact(key, Uint8Array.from([...without(5), 5, 8, ...new Uint8Array(8).fill(255)])), 'since-impossible');
  t.is(decodeFact(key, Uint8Array.from([...without(8), 8, 5, 1, 2, 3, 4, 5])), 'tlv-length');
  t.is(decodeFact(key, Uint8Array.from([...without(8), 8, 102, ...new Uint8Array(102)])), 'too-many-addresses');
  t.is(
    decodeFact(key, plus(...Array.from({ length: MOST_ADDRESSES + 1 }, () => [7, 4, 10, 0, 0, 1]).flat())),
    'too-many-addresses',
  );
  t.is(decodeFact(key, without(2)), 'port-missing');
  t.is(decodeFact(key, without(3)), 'role-missing');
  t.is(decodeFact(key, without(4)), 'state-missing');
  t.is(decodeFact(key, without(5)), 'since-missing');
});

test('a switch can not write to the terminal of who reads the map, and its texts end', (t) => {
  const long = `\u001b[2J${'ü'.repeat(400)}\n`;
  const { key, value } = encodeFact({
    ...FACT,
    switchName: long,
    port: long,
    reason: long,
    macs: Array.from({ length: 40 }, () => FACT.macs[0]!),
    addresses: Array.from({ length: 40 }, () => formatAddress(new Uint8Array(16).fill(1))),
    lldp: { systemName: long, portId: long },
  });
  t.true(value.length < 2048);
  const fact = decodeFact(key, value) as PortFact;
  t.is(fact.switchName, `[2J${'ü'.repeat(30)}`);
  t.is(fact.macs.length, MOST_MACS);
  t.is(fact.addresses.length, MOST_ADDRESSES);
  const raw = Uint8Array.from([
    ...value.subarray(0, 1),
    1,
    4,
    0x41,
    0x1b,
    0x0a,
    0x42,
    ...encodeFact(FACT).value.subarray(4),
  ]);
  t.is((decodeFact(key, raw) as PortFact).switchName, 'AB');
});
