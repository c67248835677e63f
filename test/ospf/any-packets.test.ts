import test from 'ava';
import fc from 'fast-check';
import { encodeLsa, MaxSequenceNumber } from 'node-ospf-lsa';
import { allFull, host, ip, shadow, twoSwitches, Wire, World } from './simulation.ts';

const ownFact = (now: number) => ({ key: Uint8Array.of(65), value: Uint8Array.of(now & 3), index: 7 });

test('any packets in any order: nothing throws and the invariants hold', (t) => {
  const key = fc.record({
    type: fc.constantFrom(1, 2, 3, 4, 5, 7, 9, 10, 11, 200),
    // The last one is that of a port's fact.
    linkStateId: fc.constantFrom(
      ip('10.10.10.1'),
      ip('10.255.0.1'),
      ip('10.255.0.254'),
      ip('192.0.2.2'),
      0,
      0xc9000007,
    ),
    advertisingRouter: fc.constantFrom(ip('10.255.0.1'), ip('10.255.0.254'), ip('10.255.0.2')),
  });
  const header = fc
    .tuple(key, fc.constantFrom(0, 1, 3599, 3600), fc.constantFrom(-0x7fffffff, -0x7ffffffe, 5, MaxSequenceNumber))
    .map(([fields, age, sequence]) => ({ ...fields, age, sequence, options: 2, checksum: 7, length: 36 }));
  const lsa = header.map((fields) => {
    const body =
      fields.type === 1
        ? { kind: 'router' as const, flags: 2, links: [] }
        : fields.type === 2
          ? { kind: 'network' as const, mask: 0xffffff00, attachedRouters: [ip('10.255.0.1')] }
          : fields.type === 3 || fields.type === 4
            ? { kind: 'summary' as const, mask: 0xffffff00, metric: 5, tos: [] }
            : fields.type === 5 || fields.type === 7
              ? {
                  kind: 'external' as const,
                  mask: 0xffffffff,
                  metricType: 2 as const,
                  metric: 20,
                  forwardingAddress: 0,
                  tag: fields.age === 0 ? 0 : 0x58000007,
                  tos: [],
                }
              : fields.type > 11
                ? { kind: 'unknown' as const, data: Uint8Array.of(1, 2, 3, 4) }
                : { kind: 'opaque' as const, data: Uint8Array.of(0, fields.age & 1, 0, 1, 65, 66, 0, 0) };
    return encodeLsa(fields, body);
  });
  const common = { routerId: ip('10.255.0.254'), areaId: 0, authType: 0 };
  const packet = fc.oneof(
    fc.record({ listed: fc.boolean(), priority: fc.nat(255) }).map(({ listed, priority }) => ({
      ...common,
      type: 1 as const,
      networkMask: 0xfffffffc,
      helloInterval: 1,
      options: 2,
      priority,
      deadInterval: 4,
      designatedRouter: 0,
      backupDesignatedRouter: 0,
      neighbors: listed ? [ip('10.255.0.1')] : [],
    })),
    fc
      .record({
        flags: fc.nat(7),
        sequence: fc.constantFrom(0, 1, 2, 3),
        headers: fc.array(header, { maxLength: 3 }),
        interfaceMtu: fc.constantFrom(1500, 9000),
      })
      .map((fields) => ({ ...common, type: 2 as const, options: 2, ...fields })),
    fc.array(key, { maxLength: 3 }).map((requests) => ({ ...common, type: 3 as const, requests })),
    fc.array(lsa, { maxLength: 3 }).map((lsas) => ({ ...common, type: 4 as const, lsas })),
    fc.array(header, { maxLength: 3 }).map((headers) => ({ ...common, type: 5 as const, headers })),
  );
  const step = fc.oneof(
    { weight: 6, arbitrary: packet.map((value) => ({ packet: value })) },
    { weight: 2, arbitrary: fc.nat(3000).map((wait) => ({ wait })) },
    {
      weight: 1,
      arbitrary: fc
        .constantFrom('announce', 'shadow', 'withdraw', 'fact', 'no fact', 'down', 'up', 'settled')
        .map((act) => ({ act })),
    },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.constantFrom('point-to-point', 'broadcast'), (steps, network) => {
      const { world, wireA, g, a, b } = twoSwitches({}, 3);
      if (network === 'broadcast') {
        const lan = new World(3);
        const wire = new Wire('broadcast');
        const ends = [1, 2].map((n) =>
          lan.router(`R${n}`, n === 1 ? '10.255.0.254' : '10.255.0.1', [
            { wire, address: `192.0.2.${n}`, prefixLength: 30 },
          ]),
        );
        for (const end of ends) end.up();
        lan.run(6000);
        drive(lan, ends[1]!, steps);
        return;
      }
      world.until('Full everywhere', () => allFull(g, a, b));
      wireA.loss = 0.2;
      drive(world, a, steps);
    }),
    { numRuns: 150 },
  );
  function drive(world: World, a: (typeof world.routers)[number], steps: readonly unknown[]) {
    for (const each of steps as { packet?: never; wait?: number; act?: string }[]) {
      if (each.packet) {
        const source = ip('192.0.2.1');
        a.handle({ kind: 'packet', interface: 'i0', source, destination: 0xe0000005, packet: each.packet });
      } else if (each.wait !== undefined) world.run(each.wait);
      else if (each.act === 'announce') a.announce(host('10.10.10.1'));
      else if (each.act === 'shadow') a.announce(shadow('10.10.10.1'));
      else if (each.act === 'withdraw') a.withdraw('10.10.10.1');
      else if (each.act === 'fact') a.handle({ kind: 'facts', facts: [ownFact(world.now)] });
      else if (each.act === 'no fact') a.handle({ kind: 'facts', facts: [] });
      else if (each.act === 'down') a.down(0);
      else if (each.act === 'up') a.up();
      else a.handle({ kind: 'settled' });
    }
  }
  t.pass();
});
