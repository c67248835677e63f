import test from 'ava';
import fc from 'fast-check';
import { arpSender, RouteReader } from '../../lab/observer/packets.ts';
import { gratuitousArp } from '../../lab/team/arp.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');

/** What one packet says by itself. */
const routeSightings = (packet: Buffer) => new RouteReader().read(packet, 0);

const ipv4 = (protocol: number, payload: Buffer) => {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + payload.length, 2);
  header[9] = protocol;
  return Buffer.concat([header, payload]);
};

const external = (age: string, address: string) =>
  hex(`${age} 02 05 ${address} 0aff0001 80000001 0000 0024 ffffffff 80000014 00000000 00000000`);

const update = (...lsas: Buffer[]) => {
  const count = Buffer.alloc(4);
  count.writeUInt32BE(lsas.length);
  return ipv4(89, Buffer.concat([hex('0204 0000 0aff0001 00000000 0000 0000 0000000000000000'), count, ...lsas]));
};

const PUSH = 0x18;
const SYN = 0x02;

const segmentOf = (payload: Buffer, sequence: number, flags: number) => {
  const header = hex('00b3c000 00000000 00000000 5000 0000 0000 0000');
  header.writeUInt32BE(sequence >>> 0, 4);
  header[13] = flags;
  return Buffer.concat([header, payload]);
};

const tcp = (payload: Buffer, sequence = 0, flags = PUSH) => ipv4(6, segmentOf(payload, sequence, flags));

const bgpUpdate = (body: Buffer) => {
  const head = Buffer.alloc(19, 0xff);
  head.writeUInt16BE(19 + body.length, 16);
  head[18] = 2;
  return Buffer.concat([head, body]);
};

test('OSPF: an external LSA of a host announces it, at MaxAge it withdraws', (t) => {
  const packet = update(external('0001', '0a0a0a02'), external('0e10', '0a0a0a01'));
  t.deepEqual(routeSightings(packet), [
    { protocol: 'ospf', kind: 'announce', address: '10.10.10.2', origin: '10.255.0.1' },
    { protocol: 'ospf', kind: 'withdraw', address: '10.10.10.1', origin: '10.255.0.1' },
  ]);
});

test('OSPF: stub links of a router LSA announce hosts; a default route and other packets say nothing', (t) => {
  const router = hex(
    '0001 02 01 0aff0001 0aff0001 80000001 0000 0030 0000 0002 0a0a0a05 ffffffff 0300 0001 c0000200 fffffffc 0300 000a',
  );
  t.deepEqual(routeSightings(update(router)), [
    { protocol: 'ospf', kind: 'announce', address: '10.10.10.5', origin: '10.255.0.1' },
  ]);
  const anyRoute = external('0001', '00000000');
  anyRoute.writeUInt32BE(0, 20);
  t.deepEqual(routeSightings(update(anyRoute)), []);
  t.deepEqual(routeSightings(ipv4(89, hex('0201 002c'))), []);
});

test('BGP: withdrawn and announced hosts, in one segment of several messages, also as MP attributes', (t) => {
  const withdraw = bgpUpdate(hex('0005 200a0a0a02 0000'));
  const announce = bgpUpdate(hex('0000 0004 40010100 200a0a0a01 180a0a0b'));
  const multi = bgpUpdate(hex('0000 000b 800f08 0001 01 200a0a0a04'));
  t.deepEqual(routeSightings(tcp(Buffer.concat([withdraw, announce, multi]))), [
    { protocol: 'bgp', kind: 'withdraw', address: '10.10.10.2' },
    { protocol: 'bgp', kind: 'announce', address: '10.10.10.1' },
    { protocol: 'bgp', kind: 'withdraw', address: '10.10.10.4' },
  ]);
});

const tcp6 = (payload: Buffer, sequence = 0, flags = PUSH) => {
  const segment = segmentOf(payload, sequence, flags);
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(segment.length, 4);
  header[6] = 6;
  return Buffer.concat([header, segment]);
};

test('BGP over IPv6: hosts of IPv6 in MP attributes; a /64 is none', (t) => {
  const host = '80 20010db8001000000000000000000002';
  const announce = bgpUpdate(
    hex(`0000 0031 800e2e 0002 01 10 20010db8000a00000000000000000002 00 ${host} 40 20010db800100000`),
  );
  const withdraw = bgpUpdate(hex(`0000 0017 800f14 0002 01 ${host}`));
  t.deepEqual(routeSightings(tcp6(Buffer.concat([announce, withdraw]))), [
    { protocol: 'bgp', kind: 'announce', address: '2001:db8:10::2' },
    { protocol: 'bgp', kind: 'withdraw', address: '2001:db8:10::2' },
  ]);
});

test('BGP: the origin is the last AS of the path, so that a route given back is told from an own one', (t) => {
  const own = bgpUpdate(hex('0000 000d 40010100 400206 02 01 0000fdea 200a0a0a02'));
  const back = bgpUpdate(hex('0000 0015 40010100 40020e 02 03 0000fdea 0000fde8 0000fde9 200a0a0a02'));
  t.deepEqual(
    routeSightings(tcp(Buffer.concat([own, back]))).map(({ origin }) => origin),
    ['65002', '65001'],
  );
});

test('who only stands by is no claimant: by the large community, the route tag, the metric of a stub link', (t) => {
  const marks = (packet: Buffer) =>
    routeSightings(packet).map(({ kind, shadow }) => (shadow ? `${kind} shadow` : kind));
  const community = (name: string) =>
    bgpUpdate(hex(`0000 001c 40010102 400206 02 01 0000fdea c0200c 0000fdea ${name} 00000001 200a0a0a02`));
  t.deepEqual(marks(tcp(community('0000504f'))), ['announce shadow']);
  t.deepEqual(marks(tcp(community('0000504c'))), ['announce']);
  const tagged = (tag: string) =>
    hex(`0001 02 05 0a0a0a02 0aff0001 80000001 0000 0024 ffffffff 80fffffe 00000000 ${tag}`);
  t.deepEqual(marks(update(tagged('58000003'), tagged('50000003'), tagged('58000003'))), [
    'announce shadow',
    'announce',
    'announce shadow',
  ]);
  const stub = (metric: string) =>
    hex(`0001 02 01 0aff0001 0aff0001 80000001 0000 0024 0000 0001 0a0a0a05 ffffffff 0300 ${metric}`);
  t.deepEqual(marks(update(stub('ffff'), stub('0001'))), ['announce shadow', 'announce']);
});

const hosts = (first: number, count: number) =>
  Buffer.concat(Array.from({ length: count }, (_, index) => Buffer.from([32, 10, 20, 0, first + index])));
const hosts6 = (first: number, count: number) =>
  Buffer.concat(
    Array.from({ length: count }, (_, index) => hex(`80 20010db80010000000000000000000${hexOctet(first + index)}`)),
  );
const hexOctet = (value: number) => value.toString(16).padStart(2, '0');
const two = (value: number) => Buffer.from([value >> 8, value & 255]);

/** UPDATEs of `count` hosts, of IPv4 in the fields of RFC 4271, of IPv6 in MP attributes before all others. */
const withdrawal = (first: number, count: number) => {
  const routes = hosts(first, count);
  return bgpUpdate(Buffer.concat([two(routes.length), routes, two(0)]));
};
const PATH = hex('40010100 400206 02 01 0000fdea');
const announcement = (first: number, count: number) =>
  bgpUpdate(Buffer.concat([two(0), two(PATH.length), PATH, hosts(first, count)]));
const multiprotocol = (type: string, head: Buffer, routes: Buffer, others: Buffer) => {
  const value = Buffer.concat([hex('0002 01'), head, routes]);
  const attributes = Buffer.concat([hex(`90 ${type}`), two(value.length), value, others]);
  return bgpUpdate(Buffer.concat([two(0), two(attributes.length), attributes]));
};
const withdrawal6 = (first: number, count: number) =>
  multiprotocol('0f', Buffer.alloc(0), hosts6(first, count), Buffer.alloc(0));
const announcement6 = (first: number, count: number, others = PATH) =>
  multiprotocol('0e', hex('10 20010db8000a00000000000000000002 00'), hosts6(first, count), others);

/** The segments of a stream from `first` on, cut at these octets. */
const segments = (stream: Buffer, first: number, cuts: readonly number[]) =>
  [0, ...cuts].map((from, index) => ({ sequence: first + from, payload: stream.subarray(from, cuts[index]) }));

const told = (reader: RouteReader, packet: Buffer, at = 0) =>
  reader.read(packet, at).map(({ kind, address, origin }) => `${kind} ${address}${origin ? ` ${origin}` : ''}`);

const FAMILIES = [
  { name: 'IPv4', packet: tcp, withdraw: withdrawal, announce: announcement, prefix: '10.20.0.' },
  { name: 'IPv6', packet: tcp6, withdraw: withdrawal6, announce: announcement6, prefix: '2001:db8:10::' },
] as const;

for (const { name, packet, withdraw, announce, prefix } of FAMILIES) {
  const named = (kind: string, first: number, count: number, origin = '') =>
    Array.from({ length: count }, (_, index) => {
      const last = name === 'IPv4' ? String(first + index) : (first + index).toString(16);
      return `${kind} ${prefix}${last}${origin}`;
    });
  const withdrawn = named('withdraw', 1, 200);
  const announced = named('announce', 11, 40, ' 65002');

  test(`BGP over ${name}: a message cut by the ends of segments is read whole, and no part of it twice`, (t) => {
    const stream = Buffer.concat([withdraw(1, 200), announce(11, 40)]);
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(stream.length), { maxLength: 6 }), (cuts) => {
        const reader = new RouteReader();
        // Sequence numbers wrap within the stream.
        const pieces = segments(
          stream,
          2 ** 32 - 300,
          cuts.toSorted((one, other) => one - other),
        );
        t.deepEqual(told(reader, packet(Buffer.alloc(0), 2 ** 32 - 301, SYN)), []);
        t.deepEqual(
          pieces.flatMap(({ sequence, payload }) => told(reader, packet(payload, sequence))),
          [...withdrawn, ...announced],
        );
        return reader.lost === 0;
      }),
    );
  });

  test(`BGP over ${name}: withdrawals are told with the segment that brings them`, (t) => {
    const reader = new RouteReader();
    const update = withdraw(1, 200);
    const arrived = segments(update, 1, [600, 700]).map(({ sequence, payload }) =>
      told(reader, packet(payload, sequence)),
    );
    t.true(arrived[0]!.length > 10 && arrived[1]!.length >= 5 && arrived[2]!.length > 10);
    t.deepEqual(arrived.flat(), withdrawn);
  });

  test(`BGP over ${name}: what is sent again is skipped, also where it overlaps what is new`, (t) => {
    const reader = new RouteReader();
    const update = withdraw(1, 200);
    const send = (from: number, to?: number) => told(reader, packet(update.subarray(from, to), 1 + from));
    const first = send(0, 400);
    t.deepEqual(send(0, 400), []);
    t.deepEqual(send(100, 300), []);
    t.deepEqual([...first, ...send(200, 600), ...send(500)], withdrawn);
    t.deepEqual(send(0), []);
    t.is(reader.lost, 0);
  });

  test(`BGP over ${name}: segments that overtake others wait for them`, (t) => {
    const reader = new RouteReader();
    const [first, second, third, fourth] = segments(withdraw(1, 200), 1, [300, 500, 800]);
    const send = ({ sequence, payload }: { sequence: number; payload: Buffer }) =>
      told(reader, packet(payload, sequence));
    const before = send(first!);
    t.deepEqual([...send(fourth!), ...send(third!), ...send(third!)], []);
    t.deepEqual([...before, ...send(second!)], withdrawn);
    t.is(reader.lost, 0);
  });

  test(`BGP over ${name}: after a gap that nothing fills the next message is read, and the loss is counted`, (t) => {
    const reader = new RouteReader();
    const stream = Buffer.concat([withdraw(1, 100), withdraw(101, 100), announce(11, 40)]);
    const half = withdraw(1, 100).length;
    const send = (from: number, to: number | undefined, at: number) =>
      told(reader, packet(stream.subarray(from, to), 1 + from), at);
    t.deepEqual(send(0, half, 0), named('withdraw', 1, 100));
    // Twenty octets of the second message pass unseen.
    t.deepEqual(send(half + 20, 2 * half - 9, 100), []);
    t.deepEqual(send(2 * half - 9, 2 * half + 50, 200), []);
    t.is(reader.lost, 0);
    t.deepEqual(send(2 * half + 50, undefined, 1500), announced);
    t.is(reader.lost, 1);
  });

  test(`BGP over ${name}: after octets that are no message the next one is read, and the loss is counted`, (t) => {
    const reader = new RouteReader();
    const good = withdraw(1, 10);
    t.deepEqual(told(reader, packet(Buffer.concat([good, Buffer.alloc(30)]), 1)), named('withdraw', 1, 10));
    t.is(reader.lost, 1);
    t.deepEqual(told(reader, packet(good, 1 + good.length + 30)), named('withdraw', 1, 10));
    t.is(reader.lost, 1);
  });

  test(`BGP over ${name}: a new connection between the same ports is a new stream; who comes later begins with a message`, (t) => {
    const reader = new RouteReader();
    const update = withdraw(1, 10);
    told(reader, packet(update.subarray(0, 50), 5000));
    t.deepEqual(told(reader, packet(Buffer.alloc(0), 99, SYN)), []);
    t.deepEqual(told(reader, packet(update, 100)), named('withdraw', 1, 10));
    const late = new RouteReader();
    // The octet before the marker looks like a part of it.
    const rest = Buffer.concat([Buffer.from([32, 10, 20, 0, 255]), update]);
    t.deepEqual(told(late, packet(rest, 7)), named('withdraw', 1, 10));
    t.is(reader.lost + late.lost, 0);
  });
}

test('BGP over IPv6: who only stands by is known by what follows the hosts, in the next segment', (t) => {
  const reader = new RouteReader();
  const community = Buffer.concat([PATH, hex('c0200c 0000fdea 0000504f 00000001')]);
  const update = announcement6(1, 20, community);
  const marks = segments(update, 1, [200, update.length - 6]).flatMap(({ sequence, payload }) =>
    reader.read(tcp6(payload, sequence), 0).map(({ shadow }) => shadow),
  );
  t.deepEqual(
    marks,
    Array.from({ length: 20 }, () => true),
  );
});

test('whatever the bytes are, reading them ends and throws nothing', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(6, 17, 89), (bytes, protocol) => {
      routeSightings(Buffer.from(bytes));
      routeSightings(ipv4(protocol, Buffer.from(bytes)));
      routeSightings(tcp6(Buffer.from(bytes)));
      arpSender(Buffer.from(bytes));
      const reader = new RouteReader();
      for (const sequence of [1, 3, 500, 40, 2]) reader.read(tcp(Buffer.from(bytes), sequence), sequence * 10);
      return true;
    }),
  );
  t.pass();
});

test('a gratuitous ARP is a broadcast request of its sender for itself', (t) => {
  const frame = gratuitousArp('02:00:00:00:00:04', '10.10.10.2');
  t.is(frame.toString('hex'), 'ffffffffffff020000000004080600010800060400010200000000040a0a0a020000000000000a0a0a02');
  t.is(arpSender(frame.subarray(14)), '10.10.10.2');
});
