import test from 'ava';
import fc from 'fast-check';
import {
  AF,
  BR_STATE,
  decodeInterfaceAddress,
  decodeLink,
  decodeNeighbour,
  decodeNextHop,
  decodeRoute,
  decodeRule,
  encodeInterfaceAddress,
  encodeLink,
  encodeNeighbour,
  encodeNextHop,
  encodeRoute,
  encodeRule,
  forEachMessage,
  type IpTunnel,
  ipTunnel,
  type Link,
  LWTUNNEL_ENCAP,
  Malformed,
  type Message,
  type Neighbour,
  type NextHop,
  NTF,
  NUD,
  RTM,
  RTN,
  readIpTunnel,
} from 'rtnetlink-ts';
import { addressBytes, addressText } from '../src/codec/text.ts';
import { captured } from './captured.ts';
import { only, throughTheWire } from './helpers.ts';

const decoders = [decodeLink, decodeInterfaceAddress, decodeNeighbour, decodeRoute, decodeRule, decodeNextHop];

const u8 = fc.integer({ min: 0, max: 0xff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const index = fc.integer({ min: 1, max: 0x7fffffff });
const family = fc.constantFrom(AF.INET, AF.INET6);
const octets = (count: number) => fc.uint8Array({ minLength: count, maxLength: count });
const addressOf = (ofFamily: number) =>
  octets(ofFamily === AF.INET ? 4 : 16).map((bytes) => addressText(bytes, 0, bytes.length));
const prefixOf = (ofFamily: number) =>
  fc
    .tuple(addressOf(ofFamily), fc.integer({ min: 1, max: ofFamily === AF.INET ? 32 : 128 }))
    .map(([a, l]) => `${a}/${l}`);
const mac = octets(6).map((bytes) => [...bytes].map((octet) => octet.toString(16).padStart(2, '0')).join(':'));
const name = fc.stringMatching(/^[a-z][a-z0-9.-]{0,14}$/);
const bytes = fc.uint8Array({ maxLength: 40 });
const encapsulation = fc.record({ type: fc.integer({ min: 1, max: 9 }), data: bytes });

/** Fields that are given or absent, never present and undefined. */
const maybe = <T extends object>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(model, { requiredKeys: [] }) as fc.Arbitrary<Partial<T>>;

const hop = (ofFamily: number) =>
  fc
    .tuple(
      fc.oneof(
        fc.record({ ifindex: index, gateway: fc.oneof(addressOf(ofFamily), addressOf(AF.INET), addressOf(AF.INET6)) }),
        fc.record({ ifindex: index }),
        fc.record({ gateway: addressOf(ofFamily) }),
      ),
      maybe<{ flags: number; encapsulation: { type: number; data: Uint8Array } }>({
        flags: fc.integer({ min: 1, max: 0xff }),
        encapsulation,
      }),
    )
    .map(([where, more]) => ({ ...where, ...more }));

const route = family.chain((ofFamily) =>
  fc
    .tuple(
      fc.record({
        family: fc.constant(ofFamily),
        destination: fc.oneof(prefixOf(ofFamily), fc.constant(ofFamily === AF.INET ? '0.0.0.0/0' : '::/0')),
        table: u32,
        protocol: u8,
        scope: u8,
        type: u8,
      }),
      maybe({
        source: prefixOf(ofFamily),
        tos: fc.integer({ min: 1, max: 255 }),
        flags: fc.integer({ min: 1, max: 0xffffff }).map((value) => value * 256),
        metric: u32,
        preferredSource: addressOf(ofFamily),
        inputIfindex: index,
        mark: u32,
        mtu: u32,
      }),
      fc.oneof(
        fc.constant({ nextHops: [] }),
        hop(ofFamily).map((only) => ({ nextHops: [only] })),
        fc.record({
          nextHops: fc.array(
            fc.tuple(hop(ofFamily), fc.integer({ min: 1, max: 256 })).map(([each, weight]) => ({ ...each, weight })),
            { minLength: 2, maxLength: 5 },
          ),
        }),
        fc.record({ nextHops: fc.constant([]), nextHopId: index }),
      ),
    )
    .map(([fixed, more, hops]) => ({ ...fixed, ...more, ...hops })),
);

test('IPv4 and IPv6 text comes back as it went in, the longest run of zero groups shortened', (t) => {
  fc.assert(
    fc.property(fc.oneof(octets(4), octets(16)), (value) => {
      t.deepEqual(addressBytes(addressText(value, 0, value.length)), Uint8Array.from(value));
    }),
  );
  const canonical = ['::', '::1', 'fe80::1', '1:0:0:2::3', '2001:db8:0:1:1:1:1:1', '1::', '0.0.0.0', '255.255.255.255'];
  for (const text of canonical) {
    const value = addressBytes(text);
    t.is(addressText(value, 0, value.length), text);
  }
  for (const wrong of ['', '1.2.3', '1.2.3.4.5', '1.2.3.256', '1..2.3', ':::', '1:2', '12345::', 'x']) {
    t.throws(() => addressBytes(wrong), { instanceOf: TypeError });
  }
});

test('routes survive the wire with any mixture of attributes', (t) => {
  fc.assert(
    fc.property(route, (value) => {
      t.deepEqual(decodeRoute(throughTheWire(RTM.NEWROUTE, (writer) => encodeRoute(writer, value))), value);
    }),
    { numRuns: 500 },
  );
});

test('neighbours survive the wire with any mixture of attributes', (t) => {
  const entry = fc.constantFrom(AF.INET, AF.INET6, AF.BRIDGE).chain((ofFamily) =>
    fc.record({
      family: fc.constant(ofFamily),
      ifindex: index,
      destination: ofFamily === AF.BRIDGE ? fc.oneof(fc.constant(undefined), addressOf(AF.INET)) : addressOf(ofFamily),
      linkAddress: ofFamily === AF.BRIDGE ? mac : fc.oneof(fc.constant(undefined), mac),
      state: u16,
      flags: u8,
      extendedFlags: u32,
      type: u8,
      protocol: u8,
      master: index,
      vlan: fc.oneof(fc.constant(undefined), u16),
      vni: fc.oneof(fc.constant(undefined), u32),
    }),
  );
  fc.assert(
    fc.property(entry, (value) => {
      const decoded = decodeNeighbour(throughTheWire(RTM.NEWNEIGH, (writer) => encodeNeighbour(writer, value)));
      t.deepEqual(decoded, { ...value, probes: undefined });
    }),
  );
});

test('rules, next hops and interface addresses survive the wire', (t) => {
  const rule = family.chain((ofFamily) =>
    fc
      .tuple(
        fc.record({ family: fc.constant(ofFamily), action: u8, table: u32 }),
        maybe({
          priority: u32,
          source: prefixOf(ofFamily),
          destination: prefixOf(ofFamily),
          inputInterface: name,
          outputInterface: name,
          mark: u32,
          markMask: u32,
          tos: fc.integer({ min: 1, max: 255 }),
          protocol: u8,
          goto: u32,
          suppressPrefixLength: fc.integer({ min: 0, max: 128 }),
          l3mdev: fc.constant(true),
          flags: fc.integer({ min: 1, max: 0xffffffff }),
        }),
      )
      .map(([fixed, more]) => ({ ...fixed, ...more })),
  );
  fc.assert(
    fc.property(rule, (value) => {
      t.deepEqual(decodeRule(throughTheWire(RTM.NEWRULE, (writer) => encodeRule(writer, value))), value);
    }),
  );
  const nextHop = family.chain((ofFamily) =>
    fc
      .tuple(
        fc.record({ id: index, family: fc.constant(ofFamily), protocol: u8 }),
        maybe({
          scope: fc.integer({ min: 1, max: 255 }),
          flags: fc.integer({ min: 1, max: 0xffffffff }),
          ifindex: index,
          gateway: addressOf(ofFamily),
          blackhole: fc.constant(true),
          fdb: fc.constant(true),
          encapsulation,
          group: fc.array(fc.record({ id: index, weight: fc.integer({ min: 1, max: 256 }) }), { minLength: 1 }),
        }),
      )
      .map(([fixed, more]) => ({ ...fixed, ...more })),
  );
  fc.assert(
    fc.property(nextHop, (value) => {
      t.deepEqual(decodeNextHop(throughTheWire(RTM.NEWNEXTHOP, (writer) => encodeNextHop(writer, value))), value);
    }),
  );
  const interfaceAddress = family.chain((ofFamily) =>
    fc
      .tuple(
        fc.record({
          family: fc.constant(ofFamily),
          ifindex: index,
          address: addressOf(ofFamily),
          prefixLength: fc.integer({ min: 0, max: 128 }),
          scope: u8,
          flags: u32,
        }),
        maybe({ label: name, broadcast: addressOf(ofFamily), protocol: u8 }),
      )
      .map(([fixed, more]) => ({ ...fixed, ...more })),
  );
  fc.assert(
    fc.property(interfaceAddress, (value) => {
      const message = throughTheWire(RTM.NEWADDR, (writer) => encodeInterfaceAddress(writer, value));
      t.deepEqual(decodeInterfaceAddress(message), value);
    }),
  );
});

test('a tunnel is read as it was made, with octets changed it is an error or another tunnel, never an exception', (t) => {
  const tunnel = family.chain((ofFamily) =>
    fc
      .tuple(
        fc.record({ id: u32, source: addressOf(ofFamily), destination: addressOf(ofFamily) }),
        maybe({ ttl: fc.integer({ min: 1, max: 255 }), tos: fc.integer({ min: 1, max: 255 }) }),
      )
      .map(([fixed, more]): IpTunnel => ({ ...fixed, ...more })),
  );
  fc.assert(
    fc.property(tunnel, (value) => {
      t.deepEqual(readIpTunnel(ipTunnel(value)), value);
    }),
  );
  fc.assert(
    fc.property(tunnel, fc.nat(), u8, fc.nat(60), (value, at, octet, length) => {
      const { type, data } = ipTunnel(value);
      data[at % data.length] = octet;
      const read = readIpTunnel({ type, data: data.subarray(0, length) });
      t.true(read !== undefined);
      if (!(read instanceof Malformed)) t.is(typeof read!.destination, 'string');
    }),
  );
  t.is(readIpTunnel({ type: LWTUNNEL_ENCAP.MPLS, data: new Uint8Array(4) }), undefined);
  t.true(readIpTunnel({ type: LWTUNNEL_ENCAP.IP, data: new Uint8Array(0) }) instanceof Malformed);
});

test('what is set on a link is what a decoder reads', (t) => {
  const change = fc.record({
    ifindex: index,
    name,
    up: fc.boolean(),
    address: mac,
    mtu: u32,
    master: u32,
    link: u32,
    alias: name,
    protoDown: fc.boolean(),
    kind: name,
    kindData: bytes,
  });
  fc.assert(
    fc.property(change, (value) => {
      const link = decodeLink(throughTheWire(RTM.SETLINK, (writer) => encodeLink(writer, value))) as Link;
      for (const key of Object.keys(value) as (keyof typeof value)[]) t.deepEqual(link[key], value[key], key);
    }),
  );
  const bridgePort = {
    state: BR_STATE.BLOCKING,
    priority: 3,
    cost: 70_000,
    learning: false,
    isolated: true,
    locked: false,
  };
  const told = { family: AF.BRIDGE, ifindex: 4, bridgePort };
  const port = decodeLink(throughTheWire(RTM.SETLINK, (writer) => encodeLink(writer, told))) as Link;
  t.deepEqual(port.bridgePort, bridgePort);
});

const fromKernel = (hex: string): Message => only(Buffer.from(hex, 'hex'));

test("the kernel's own messages are read as ip and bridge read them", (t) => {
  const port = decodeLink(fromKernel(captured.bridgePortLink)) as Link;
  t.like(port, {
    name: 'A1',
    ifindex: 4,
    up: true,
    carrier: true,
    mtu: 1500,
    kind: 'veth',
    slaveKind: 'bridge',
    link: 3,
  });
  t.like(port, { address: '02:00:00:00:01:01', master: 2, bridgePort: { isolated: true, learning: false, cost: 2 } });
  const message = decodeLink(fromKernel(captured.bridgeMessage)) as Link;
  t.like(message, { family: AF.BRIDGE, name: 'A1', master: 2, carrier: undefined });
  t.like(message.bridgePort!, { state: BR_STATE.FORWARDING, isolated: true, learning: false });

  t.like(decodeInterfaceAddress(fromKernel(captured.peerAddress)), {
    address: '10.0.0.1',
    peer: '10.0.0.2',
    prefixLength: 32,
  });
  t.like(decodeInterfaceAddress(fromKernel(captured.ipv6Address)), {
    address: 'fd00::1',
    prefixLength: 64,
    ifindex: 3,
  });

  const stale = decodeNeighbour(fromKernel(captured.staleNeighbour)) as Neighbour;
  t.like(stale, { destination: '10.10.10.2', linkAddress: '02:00:00:00:00:02', state: NUD.STALE, ifindex: 3 });
  t.is(stale.flags, NTF.EXT_LEARNED);
  t.like(decodeNeighbour(fromKernel(captured.failedNeighbour)), { destination: '10.10.10.3', state: NUD.FAILED });
  t.like(decodeNeighbour(fromKernel(captured.fdbEntry)), { linkAddress: '02:00:00:00:00:09', master: 2, ifindex: 4 });

  t.deepEqual(decodeRoute(fromKernel(captured.multipathRoute)), {
    family: AF.INET,
    destination: '10.20.0.0/16',
    table: 254,
    protocol: 202,
    scope: 0,
    type: RTN.UNICAST,
    metric: 20,
    nextHops: [
      { ifindex: 3, gateway: '10.10.10.2', weight: 1 },
      { ifindex: 3, gateway: '10.10.10.3', weight: 5 },
    ],
  });
  t.like(decodeRoute(fromKernel(captured.viaIpv6Route)), { nextHops: [{ ifindex: 3, gateway: 'fd00::2' }] });
  t.like(decodeRoute(fromKernel(captured.unreachableRoute)), {
    type: RTN.UNREACHABLE,
    metric: 4278198272,
    nextHops: [],
  });
  t.like(decodeRoute(fromKernel(captured.nextHopIdRoute)), { destination: '10.22.0.0/16', nextHopId: 7 });
  t.like(decodeRoute(fromKernel(captured.ipv6MultipathRoute)), { destination: 'fd01::/64', protocol: 203 });
  const encapsulated = decodeRoute(fromKernel(captured.encapRoute));
  t.false(encapsulated instanceof Malformed);
  // LWTUNNEL_ENCAP_IP
  if (!(encapsulated instanceof Malformed)) t.is(encapsulated.nextHops[0]?.encapsulation?.type, 2);

  const rule = { inputInterface: 'rep0', table: 1000, priority: 100, family: AF.INET };
  t.like(decodeRule(fromKernel(captured.iifRule)), rule);
  t.like(decodeNextHop(fromKernel(captured.nextHop)), { id: 5, gateway: '10.10.10.2', ifindex: 3, protocol: 201 });
  const group = [
    { id: 5, weight: 3 },
    { id: 6, weight: 1 },
  ];
  t.deepEqual((decodeNextHop(fromKernel(captured.nextHopGroup)) as NextHop).group, group);
});

test('bytes changed at random, cut or lengthened are a value or a typed error, never an exception', (t) => {
  const valid = Object.values(captured).map((hex) => Buffer.from(hex, 'hex'));
  let refused = 0;
  const decodeAll = (damaged: Buffer) => {
    const malformed = forEachMessage(damaged, (message) => {
      for (const decode of decoders) if (decode(message) instanceof Malformed) refused++;
    });
    if (malformed) refused++;
  };
  fc.assert(
    fc.property(
      fc.constantFrom(...valid),
      fc.array(fc.tuple(fc.nat(4096), u8), { maxLength: 12 }),
      fc.option(fc.nat(4096)),
      (message, changes, cut) => {
        const damaged = Buffer.from(message);
        for (const [at, value] of changes) damaged[at % damaged.length] = value;
        decodeAll(cut === null ? damaged : damaged.subarray(0, cut % damaged.length));
      },
    ),
    { numRuns: 3000 },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => decodeAll(Buffer.from(noise))));
  t.true(refused > 100);
});
