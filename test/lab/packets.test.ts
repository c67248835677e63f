import test from 'ava';
import fc from 'fast-check';
import { arpSender, routeSightings } from '../../lab/observer/packets.ts';
import { gratuitousArp } from '../../lab/team/arp.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');

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

const tcp = (payload: Buffer) =>
  ipv4(6, Buffer.concat([hex('00b3c000 00000000 00000000 5018 0000 0000 0000'), payload]));

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

const tcp6 = (payload: Buffer) => {
  const segment = Buffer.concat([hex('c000 00b3 00000000 00000000 5018 0000 0000 0000'), payload]);
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

test('whatever the bytes are, reading them ends and throws nothing', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(6, 17, 89), (bytes, protocol) => {
      routeSightings(Buffer.from(bytes));
      routeSightings(ipv4(protocol, Buffer.from(bytes)));
      routeSightings(tcp6(Buffer.from(bytes)));
      arpSender(Buffer.from(bytes));
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
