import test from 'ava';
import { decodePacket, encodeLsa, LsaType, MaxSequenceNumber } from 'node-ospf-lsa';
import { address, allFull, chance, host, ip, twoSwitches, Wire, World } from './simulation.ts';

const H1 = '10.10.10.1/32';

test('an LSA of ours is refreshed within LSRefreshTime, so that it never reaches MaxAge anywhere', (t) => {
  const { world, g, a, b } = twoSwitches({ hello: 60_000, dead: 240_000 });
  a.announce(...Array.from({ length: 20 }, (_, index) => host(`10.10.10.${index + 1}`)));
  world.until('Full everywhere', () => allFull(g, a, b), 400_000);
  world.until('hosts at G', () => g.routes.size === 20);
  const refreshes = new Set<number>();
  const before = a.sent.length;
  world.run(4_000_000);
  t.is(g.routes.size, 20);
  for (const { at, effect } of a.sent.slice(before)) if (effect.kind === 'update') refreshes.add(Math.round(at / 1000));
  t.true(refreshes.size > 10, 'the refreshes are spread');
  for (const entry of g.machine.core.external.entries.values()) {
    t.true(entry.lsa.header.sequence > -0x7fffffff);
  }
});

test('an LSA whose router is silent for an hour ages out of the database', (t) => {
  const { world, g, a, b } = twoSwitches();
  b.announce(host('10.10.10.4'));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(2000);
  b.crash();
  world.run(3_590_000);
  t.is(a.machine.core.external.entries.size, 1);
  world.run(30_000);
  t.is(a.machine.core.external.entries.size, 0);
  t.is(g.machine.core.external.entries.size, 0);
});

test('§12.1.6 after the last sequence number comes a flush and then the first one', (t) => {
  const { world, g, a, b } = twoSwitches();
  a.announce(host('10.10.10.1'));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(3000);
  const [entry] = a.machine.core.external.entries.values();
  const { body, header } = entry!.lsa;
  entry!.lsa = encodeLsa({ ...header, sequence: MaxSequenceNumber - 1 }, body);
  a.announce(host('10.10.10.1', 1));
  world.run(3000);
  t.is([...g.machine.core.external.entries.values()][0]!.lsa.header.sequence, MaxSequenceNumber);
  a.announce(host('10.10.10.1', 2));
  world.run(3000);
  t.is([...g.machine.core.external.entries.values()][0]!.lsa.header.sequence, -0x7fffffff);
  t.true(g.routes.has(H1));
  t.is(g.routes.get(H1)!.metric, 18);
});

test('a neighbour with a larger MTU is told no (§10.6), and the adjacency comes when they agree', (t) => {
  const world = new World();
  const wire = new Wire('point-to-point');
  const g = world.router('G', '10.255.0.254', [{ wire, address: '192.0.2.1', prefixLength: 30, mtu: 9000 }]);
  const a = world.router('A', '10.255.0.1', [{ wire, address: '192.0.2.2', prefixLength: 30 }]);
  g.up();
  a.up();
  world.run(5000);
  t.deepEqual(a.states(), ['ExStart']);
  t.true((a.machine.core.counters.get('drop.mtu-mismatch') ?? 0) > 0);
  a.handle({
    kind: 'link',
    interface: 'i0',
    link: { ifindex: 1, mtu: 9000, address: ip('192.0.2.2'), prefixLength: 30 },
  });
  world.until('Full', () => allFull(a, g));
  t.pass();
});

test('hellos that disagree make no neighbour, each for its counted reason', (t) => {
  for (const [options, reason] of [
    [{ hello: 2000 }, 'drop.hello-interval-mismatch'],
    [{ dead: 9000 }, 'drop.dead-interval-mismatch'],
  ] as const) {
    const world = new World();
    const wire = new Wire('point-to-point');
    const g = world.router('G', '10.255.0.254', [{ wire, address: '192.0.2.1', prefixLength: 30 }]);
    const a = world.router('A', '10.255.0.1', [{ wire, address: '192.0.2.2', prefixLength: 30 }], options);
    g.up();
    a.up();
    world.run(5000);
    t.deepEqual(a.states(), []);
    t.true((a.machine.core.counters.get(reason) ?? 0) > 0, reason);
  }
});

test('§8.2 a packet from another subnet, area, or with our own router id is refused', (t) => {
  const world = new World();
  const wire = new Wire('broadcast');
  const a = world.router('A', '10.255.0.1', [{ wire, address: '192.0.2.2', prefixLength: 24 }]);
  a.up();
  world.run(10);
  const hello = (source: string, routerId: string, areaId = 0) =>
    a.handle({
      kind: 'packet',
      interface: 'i0',
      source: ip(source),
      destination: 0xe0000005,
      packet: {
        type: 1,
        routerId: ip(routerId),
        areaId,
        authType: 0,
        networkMask: ip('255.255.255.0'),
        helloInterval: 1,
        options: 2,
        priority: 1,
        deadInterval: 4,
        designatedRouter: 0,
        backupDesignatedRouter: 0,
        neighbors: [],
      },
    });
  hello('198.51.100.1', '10.255.0.7');
  hello('192.0.2.7', '10.255.0.1');
  hello('192.0.2.7', '10.255.0.7', 9);
  t.deepEqual(a.states(), []);
  const { counters } = a.machine.core;
  for (const reason of ['foreign-subnet', 'duplicate-router-id', 'area-mismatch']) {
    t.is(counters.get(`drop.${reason}`), 1, reason);
  }
  hello('192.0.2.7', '10.255.0.7');
  t.deepEqual(a.states(), ['Init']);
});

test('§D.3 a cryptographic sequence number that goes back is a replay', (t) => {
  const { world, g, a, b } = twoSwitches();
  world.until('Full everywhere', () => allFull(g, a, b));
  const packet = (cryptoSequence: number) => ({
    type: 5 as const,
    routerId: ip('10.255.0.254'),
    areaId: 0,
    authType: 2,
    keyId: 1,
    cryptoSequence,
    headers: [],
  });
  const receive = (sequence: number) =>
    a.handle({
      kind: 'packet',
      interface: 'i0',
      source: ip('192.0.2.1'),
      destination: 0xe0000005,
      packet: packet(sequence),
    });
  receive(100);
  receive(100);
  receive(101);
  t.is(a.machine.core.counters.get('drop.replay'), undefined);
  receive(100);
  t.is(a.machine.core.counters.get('drop.replay'), 1);
});

test('R4.2 as stub links: hosts come and go with the router LSA, at once', (t) => {
  const { world, g, a, b } = twoSwitches({ announce: { as: 'stub-link', metric: 20, metricType: 2 } });
  a.announce(host('10.10.10.1'), host('10.10.10.2', 1));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.until('routes', () => g.routes.has(H1) && g.routes.has('10.10.10.2/32'));
  t.is(g.routes.get(H1)!.metric - g.routes.get('10.10.10.2/32')!.metric, 1);
  world.run(5000);
  a.withdraw('10.10.10.1');
  t.true(world.until('gone', () => !g.routes.has(H1)) <= 15);
  world.run(20);
  t.is(b.claims.filter(({ address: each }) => each === '10.10.10.1').at(-1)?.level, undefined);
  t.is(b.claims.filter(({ address: each }) => each === '10.10.10.2').at(-1)?.level, 1);
});

test('R4.2 in an NSSA: type 7 with the P bit and our address as forwarding address', (t) => {
  const world = new World();
  const wire = new Wire('point-to-point');
  const options = { announce: { as: 'nssa', metric: 20, metricType: 2 } } as const;
  const area = '0.0.0.1';
  const g = world.router('G', '10.255.0.254', [{ wire, address: '192.0.2.1', prefixLength: 30, area }], options);
  const a = world.router('A', '10.255.0.1', [{ wire, address: '192.0.2.2', prefixLength: 30, area }], options);
  a.announce(host('10.10.10.1'));
  g.up();
  a.up();
  world.until('the host at G', () => g.routes.has(H1));
  t.deepEqual(g.routes.get(H1)!.nextHops, [{ via: address('192.0.2.2'), interface: 'i0' }]);
  const own = [...a.machine.core.areas.values()][0]!.database.entries.values();
  const type7 = [...own].find(({ lsa }) => lsa.header.type === LsaType.Nssa)!;
  t.is(type7.lsa.header.options & 0x0a, 0x08);
  a.withdraw('10.10.10.1');
  t.true(world.until('gone', () => !g.routes.has(H1)) <= 300);
});

test('opaque LSAs are kept and flooded on, unknown to us as they are', (t) => {
  const { world, g, a, b } = twoSwitches();
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(2000);
  const lsa = encodeLsa(
    {
      age: 1,
      options: 2,
      type: LsaType.OpaqueArea,
      linkStateId: 0xe1000001,
      advertisingRouter: ip('10.255.0.77'),
      sequence: -0x7fffffff,
    },
    { kind: 'opaque', data: Uint8Array.of(1, 2, 3, 4) },
  );
  g.handle({
    kind: 'packet',
    interface: 'i0',
    source: ip('192.0.2.2'),
    destination: 0xe0000005,
    packet: { type: 4, routerId: ip('10.255.0.1'), areaId: 0, authType: 0, lsas: [lsa] },
  });
  world.run(500);
  t.is(b.database().filter((line) => line.includes(` ${LsaType.OpaqueArea}/`)).length, 1);
});

test('bytes flipped on the wire: nothing throws, whatever decodes is survived, and the databases agree afterwards', (t) => {
  for (let seed = 1; seed <= 6; seed++) {
    const { world, g, a, b } = twoSwitches({ retransmit: 1000 }, seed);
    a.announce(host('10.10.10.1'), host('10.10.10.2'));
    const random = chance(seed + 100);
    const original = world.transmit.bind(world);
    let spoilt = true;
    world.transmit = (from, name, to, bytes) => {
      const copy = Uint8Array.from(bytes);
      if (spoilt && random() < 0.3) {
        for (let flips = 0; flips < 3; flips++)
          copy[24 + Math.floor(random() * (copy.length - 24))]! ^= 1 << (random() * 8);
        // The packet checksum is made to fit again, so that the machine is what has to cope.
        copy[12] = 0;
        copy[13] = 0;
        let sum = 0;
        for (let index = 0; index < copy.length; index += 2) sum += (copy[index]! << 8) | (copy[index + 1] ?? 0);
        while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
        copy[12] = (~sum >>> 8) & 0xff;
        copy[13] = ~sum & 0xff;
        if (!decodePacket(copy).ok) return;
      }
      original(from, name, to, copy);
    };
    world.run(25_000);
    spoilt = false;
    world.until('Full everywhere', () => allFull(g, a, b));
    world.run(15_000);
    t.true(allFull(g, a, b), `seed ${seed}`);
    t.deepEqual(a.database(), g.database(), `seed ${seed}`);
    t.true(g.routes.has(H1), `seed ${seed}`);
  }
});

test('§13.4 one router id used twice: the answers are bounded by MinLSInterval', (t) => {
  const world = new World();
  const wires = [new Wire('point-to-point'), new Wire('point-to-point')];
  const ends = wires.map((wire, index) => ({ wire, address: `192.0.2.${1 + 4 * index}`, prefixLength: 30 }));
  // A gateway with `timers lsa min-arrival 0`, or MinLSArrival there would hide what is tested.
  const g = world.router('G', '10.255.0.254', ends, { minLsArrival: 0 });
  const one = world.router('A', '10.255.0.1', [{ wire: wires[0]!, address: '192.0.2.2', prefixLength: 30 }]);
  const two = world.router('A', '10.255.0.1', [{ wire: wires[1]!, address: '192.0.2.6', prefixLength: 30 }]);
  for (const router of [g, one, two]) router.up();
  world.run(10_000);
  const before = world.packets;
  world.run(60_000);
  t.true(world.packets - before < 2000, `${world.packets - before} packets in a minute`);
  t.true([one, two].some(({ machine }) => (machine.core.counters.get('drop.contested-lsa') ?? 0) > 0));
});

test('draining: the links to other routers at MaxLinkMetric, the hosts at a worse metric than anybody, and back (RFC 6987)', (t) => {
  const { world, g, a, b } = twoSwitches({ announce: { as: 'external', metric: 20, metricType: 1 } });
  a.announce(host('10.10.10.1'));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(5000);
  const links = () => {
    const own = [...a.machine.core.areas.values()][0]!.database.entries.get(
      `1/${ip('10.255.0.1')}/${ip('10.255.0.1')}`,
    )!;
    const { body } = own.lsa;
    return body.kind === 'router' ? body.links.filter(({ type }) => type === 1).map(({ metric }) => metric) : [];
  };
  const metric = () => {
    const key = `5/${ip('10.10.10.1')}/${ip('10.255.0.1')}`;
    const body = g.machine.core.external.entries.get(key)?.lsa.body;
    return body?.kind === 'external' ? body.metric : undefined;
  };
  t.deepEqual([links(), metric()], [[10], 20]);
  a.handle({ kind: 'drain', on: true });
  t.deepEqual(links(), [0xffff]);
  world.until('the gateway has heard it', () => metric() === 20 + 0xffff);
  a.handle({ kind: 'drain', on: false });
  t.deepEqual(links(), [10]);
  world.until('and again', () => metric() === 20);
});
