import test from 'ava';
import fc from 'fast-check';
import type { HostEvent, HostPolicy, Source } from '../../src/hostroutes/machine/types.ts';
import type { Prefix } from '../../src/model/address.ts';
import { address, Bench, heard, mac, policy } from './helpers.ts';

const PORTS = ['A0', 'A1', 'A2', 'A3'];
const port = fc.constantFrom(...PORTS);
const ports = fc.subarray(PORTS, { minLength: 1 });
const host = fc.integer({ min: 0, max: 14 }).map((last) => address(`10.10.10.${last}`));
const anyAddress = fc.oneof(host, fc.constantFrom('10.10.11.1', '0.0.0.0', '224.0.0.1', 'fe80::1').map(address));
const source = fc.constantFrom<Source>('arp', 'arp', 'arp', 'neighbour', 'static', 'bgp', 'kernel');

const somePolicy: fc.Arbitrary<HostPolicy> = fc
  .record({
    ports: fc.subarray(['A1', 'A2', 'A3'], { minLength: 1 }),
    perPort: fc.integer({ min: 1, max: 4 }),
    total: fc.integer({ min: 1, max: 8 }),
    activeActive: fc.oneof(
      fc.boolean(),
      fc.record({
        ports: fc.subarray(['A1', 'A2', 'A3']),
        prefixes: fc.subarray(['10.10.10.0/30', '10.10.10.4/30'] as Prefix[]),
      }),
    ),
    statics: fc.boolean(),
    interval: fc.constantFrom(0, 5000),
    wide: fc.boolean(),
    arp: fc.boolean(),
    bgp: fc.boolean(),
  })
  .map((options) =>
    policy({
      prefixes: [(options.wide ? '10.10.10.0/28' : '10.10.10.0/29') as Prefix],
      ports: options.ports,
      limits: { perPort: options.perPort, total: options.total },
      activeActive: options.activeActive,
      probe: { interval: options.interval, retries: 2, timeout: 200 },
      ownAddresses: [address('10.10.10.3')],
      sources: {
        arp: options.arp,
        neighbours: true,
        bgp: options.bgp,
        kernel: true,
        static: options.statics ? [{ address: address('10.10.10.5'), port: 'A2' }] : [],
      },
    }),
  );

const simple: fc.Arbitrary<HostEvent> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc
      .record({ address: anyAddress, port, source, mac: fc.integer({ min: 0, max: 3 }), stale: fc.boolean() })
      .map((each) =>
        heard(each.address.includes(':') ? '10.10.10.1' : each.address, each.port, {
          address: each.address,
          source: each.source,
          mac: mac(each.mac),
          stale: each.stale && each.source === 'neighbour',
        }),
      ),
  },
  fc.record({ type: fc.constant('lost' as const), source, address: host, port }),
  fc.record({ type: fc.constant('probeUnsent' as const), address: host, port }),
  fc.record({ address: host, port, mac: fc.integer({ min: 0, max: 3 }) }).map((each): HostEvent => {
    const { type: _, source: __, ...place } = heard('10.10.10.1', each.port, { ...each, mac: mac(each.mac) });
    return { type: 'present', how: 'bridge', ...place };
  }),
  fc.record({ type: fc.constant('doubt' as const), address: host, port }),
  fc.record({ type: fc.constant('forgive' as const), addresses: fc.array(anyAddress, { maxLength: 3 }) }),
  fc.record({ type: fc.constant('recall' as const), address: host, mac: fc.nat(3).map(mac), port }),
  fc.record({ type: fc.constant('portDown' as const), ports, reason: fc.constant('carrier lost') }),
  { weight: 2, arbitrary: fc.record({ type: fc.constant('portUp' as const), port }) },
  fc.record({ type: fc.constant('blockPorts' as const), ports, blocked: fc.boolean(), reason: fc.constant('fabric') }),
  {
    weight: 3,
    arbitrary: fc
      .record({
        address: host,
        level: fc.constantFrom(undefined, 0 as const, 1 as const, 2 as const),
        from: fc.constantFrom('B', 'X'),
      })
      .map((claim): HostEvent => ({ type: 'foreignClaim', claim })),
  },
  fc.constant<HostEvent>({ type: 'tick' }),
);
const event: fc.Arbitrary<HostEvent> = fc.oneof(
  { weight: 20, arbitrary: simple },
  { weight: 2, arbitrary: fc.array(simple, { maxLength: 6 }).map((events): HostEvent => ({ type: 'batch', events })) },
  { weight: 1, arbitrary: somePolicy.map((configured): HostEvent => ({ type: 'configure', policy: configured })) },
);

function usesBothLinks({ activeActive }: HostPolicy, host: { address: string; port: string }): boolean {
  if (typeof activeActive === 'boolean') return activeActive;
  const last = Number(host.address.split('.')[3]);
  return (
    activeActive.ports.includes(host.port) ||
    activeActive.prefixes.some((prefix) => last >> 2 === Number(/\.(\d+)\//.exec(prefix)![1]) >> 2)
  );
}

/** Ports as the test itself tracks them. */
class Truth {
  policy: HostPolicy;
  readonly down = new Set<string>();
  readonly blocked = new Set<string>();

  constructor(start: HostPolicy) {
    this.policy = start;
  }

  apply(each: HostEvent): void {
    if (each.type === 'portDown')
      for (const name of each.ports) if (this.policy.ports.includes(name)) this.down.add(name);
    if (each.type === 'portUp') this.down.delete(each.port);
    if (each.type === 'blockPorts') {
      for (const name of each.ports) this.blocked[each.blocked ? 'add' : 'delete'](name);
    }
    if (each.type === 'configure') {
      this.policy = each.policy;
      for (const name of this.down) if (!each.policy.ports.includes(name)) this.down.delete(name);
    }
    if (each.type === 'batch') for (const inner of each.events) this.apply(inner);
  }
}

test('R4.2 R4.5 R4.6 whatever happens, the invariants of the table hold', (t) => {
  fc.assert(
    fc.property(
      somePolicy,
      fc.array(fc.tuple(event, fc.constantFrom(0, 1, 60, 210, 1_100, 6_000, 12_000)), { maxLength: 80, size: 'max' }),
      (start, story) => {
        const bench = new Bench(start);
        const truth = new Truth(start);
        for (const [each, pause] of story) {
          truth.apply(each);
          // Bench checks: the delta is first, no address twice, nothing withdrawn that was not announced.
          bench.do(each);
          if (pause) bench.run(pause);
          const announced = bench.table.announced();
          const byAddress = new Map(announced.map((route) => [route.address, route]));
          if (byAddress.size !== announced.length) return false;
          if (announced.length !== bench.model.size) return false;
          for (const [key, route] of bench.model) if (byAddress.get(key) !== route) return false;
          const perPort = new Map<string, number>();
          for (const view of bench.table.hosts()) {
            if (!byAddress.has(view.address)) return false;
            const { port: name } = view;
            perPort.set(name, (perPort.get(name) ?? 0) + 1);
            const last = Number(view.address.split('.')[3]);
            const size = truth.policy.prefixes[0]!.endsWith('28') ? 16 : 8;
            if (!view.address.startsWith('10.10.10.') || last === 0 || last >= size - 1 || last === 3) return false;
            if (!truth.policy.ports.includes(name) || truth.down.has(name) || truth.blocked.has(name)) return false;
            if (truth.policy.sources.static.some((entry) => entry.address === view.address && entry.port !== name)) {
              return false;
            }
            if (usesBothLinks(truth.policy, view) && view.level !== 0) return false;
          }
          if (announced.length !== bench.table.hosts().length) return false;
          if (announced.length > truth.policy.limits.total) return false;
          for (const count of perPort.values()) if (count > truth.policy.limits.perPort) return false;
          const counters = bench.table.counters();
          if (counters.hosts !== announced.length) return false;
          if (counters.learned - counters.withdrawn !== counters.hosts) return false;
        }
        return true;
      },
    ),
    { numRuns: 1500 },
  );
  t.pass();
});

test('R4.5 hosts that nobody answers for are all gone in the end', (t) => {
  fc.assert(
    fc.property(fc.array(simple, { maxLength: 80, size: 'max' }), (story) => {
      const bench = new Bench(policy({ prefixes: ['10.10.10.0/28' as Prefix] }));
      for (const each of story) {
        bench.do(each);
        bench.run(50);
      }
      bench.run(200_000);
      const left = bench.table
        .hosts()
        .filter((view) => !view.sources.some(({ source: by }) => by === 'bgp' || by === 'kernel'));
      return left.length === 0;
    }),
    { numRuns: 300 },
  );
  t.pass();
});
