/** What becomes of routes when the kernel refuses for want of memory, or drops them unheard: on a simulated kernel, for the real one is never short. */
import test from 'ava';
import fc from 'fast-check';
import { NetlinkError, type Refusal, requests } from 'rtnetlink-ts';
import type { Address, Mac, Prefix } from '../../src/model/address.ts';
import {
  HostRouteInstaller,
  LearnedRouteInstaller,
  type PortTable,
  type RouteSocket,
} from '../../src/netlink/index.ts';
import { Box } from '../simulation/box.ts';
import { VirtualClock } from '../simulation/clock.ts';

const HOST = '10.10.10.1' as Address;
const SHORT: Refusal = { code: 'ENOBUFS', errno: 105, extack: undefined, request: 'RTM_DELROUTE' };

class Bench {
  readonly clock = new VirtualClock();
  readonly box = new Box('A', 10, () => {});
  readonly installer: HostRouteInstaller;
  readonly #links: PortTable;
  readonly #socket: RouteSocket;
  readonly #resyncs: (() => void)[] = [];
  /** Names of requests that are refused from now on; 'dump' for the reading of tables. */
  readonly short = new Set<string>();
  /** Beside these. */
  refuses = (): boolean => false;

  constructor() {
    for (const name of ['A1', 'A2']) this.box.addPort(name, '02:aa:00:00:00:01' as Mac, []);
    const shown = (find: (port: { name: string; ifindex: number }) => boolean) => {
      const port = [...this.box.ports.values()].find(find);
      return port && this.box.shown(port);
    };
    const dump = async <T>(values: Iterable<T>): Promise<T[]> => {
      if (this.short.has('dump')) throw new NetlinkError(SHORT);
      return [...values];
    };
    const { box, short } = this;
    const refuses = () => this.refuses();
    this.#socket = {
      async sendNow(batch) {
        const refused = batch.flatMap((request, index) => {
          const name = NAMES.get(request.type)!;
          const code = short.has(name) || refuses() ? 'ENOBUFS' : box.request(request);
          return code ? [{ index, refusal: { ...SHORT, code, request: name } }] : [];
        });
        return { sent: batch.length, refused };
      },
      setRoute: async () => {},
      dumpRoutes: ({ family, protocol }) =>
        dump([...box.routes.values()].filter((route) => route.family === family && route.protocol === protocol)),
      dumpNeighbours: () => dump(box.neighbours.values()),
    };
    this.#links = {
      port: (name) => shown((port) => port.name === name),
      portByIndex: (ifindex) => shown((port) => port.ifindex === ifindex),
      portTowards: () => undefined,
      afterChange: () => () => {},
      afterResync: (listener) => {
        this.#resyncs.push(listener);
        return () => this.#resyncs.splice(this.#resyncs.indexOf(listener), 1);
      },
    };
    this.installer = new HostRouteInstaller(this.#socket, this.#links, this.clock);
  }

  learned(): LearnedRouteInstaller {
    return new LearnedRouteInstaller(this.#socket, this.#links, this.clock, { protocol: 203 });
  }

  /** Link notifications were lost and the ports compared; no difference was found. */
  resync(): void {
    for (const listener of this.#resyncs) listener();
  }

  /** A port goes down and up again, and nobody is told. */
  flap(name: string): void {
    const port = this.box.ports.get(name)!;
    this.box.setAdmin(port, false);
    this.box.setAdmin(port, true);
  }

  host(port: string) {
    const { ifindex } = this.box.ports.get(port)!;
    return { address: HOST, interface: port, ifindex, mac: '02:00:00:00:00:01' as Mac, level: 0 as const };
  }

  async pass(ms: number): Promise<void> {
    const end = this.clock.now() + ms;
    const drained = () => new Promise((resolve) => setImmediate(resolve));
    for (let round = 0; round < 10; round++) await drained();
    while (this.clock.step(end)) for (let round = 0; round < 10; round++) await drained();
  }
}

const NAMES = new Map(
  Object.entries({
    RTM_NEWROUTE: requests.setRoute,
    RTM_DELROUTE: requests.deleteRoute,
    RTM_NEWNEIGH: requests.setNeighbour,
    RTM_DELNEIGH: requests.deleteNeighbour,
  }).map(([name, make]) => [(make as (value: never) => { type: number })({ nextHops: [] } as never).type, name]),
);

test('R4.5 a route and a neighbour whose deletion the kernel refused go when it has memory again', async (t) => {
  const bench = new Bench();
  bench.installer.apply({ withdrawn: [], announced: [bench.host('A1')] });
  bench.short.add('RTM_DELROUTE').add('RTM_DELNEIGH');
  bench.installer.apply({ withdrawn: [HOST], announced: [] });
  await bench.pass(5_000);
  t.is(bench.box.routes.size, 1);
  t.is(bench.box.neighbours.size, 1);
  bench.short.clear();
  await bench.pass(30_000);
  t.is(bench.box.routes.size, 0);
  t.is(bench.box.neighbours.size, 0);
  t.is(bench.clock.pending, 0, 'nothing is tried for ever');
});

test('R4.5 however long the kernel refused, what was left is gone two seconds after it is well again', async (t) => {
  const bench = new Bench();
  bench.installer.apply({ withdrawn: [], announced: [bench.host('A1')] });
  bench.short.add('RTM_DELROUTE');
  bench.installer.apply({ withdrawn: [HOST], announced: [] });
  await bench.pass(40_000);
  t.is(bench.box.routes.size, 1);
  bench.short.clear();
  await bench.pass(2_500);
  t.is(bench.box.routes.size, 0);
});

test('R4.5 a host that moved, and whose new route was refused, leaves no route to its old port behind', async (t) => {
  const bench = new Bench();
  bench.installer.apply({ withdrawn: [], announced: [bench.host('A1')] });
  bench.short.add('RTM_NEWROUTE');
  bench.installer.apply({ withdrawn: [], announced: [bench.host('A2')] });
  bench.installer.apply({ withdrawn: [HOST], announced: [] });
  await bench.pass(0);
  t.is(bench.box.routes.size, 0);
});

test('R4.5 a route that was refused is tried again although the claim of its host has settled meanwhile', async (t) => {
  const bench = new Bench();
  bench.short.add('RTM_NEWROUTE').add('RTM_NEWNEIGH');
  bench.installer.apply({ withdrawn: [], announced: [{ ...bench.host('A1'), level: 1 }] });
  await bench.pass(500);
  bench.installer.apply({ withdrawn: [], announced: [bench.host('A1')] });
  bench.short.clear();
  await bench.pass(1_500);
  t.is(bench.box.routes.size, 1);
  t.is(bench.box.neighbours.size, 1);
});

test('R4.7 what an earlier life left goes although the tables could not be read at first', async (t) => {
  const bench = new Bench();
  bench.installer.apply({ withdrawn: [], announced: [bench.host('A1')] });
  bench.short.add('dump');
  await t.throwsAsync(bench.installer.reconcile([]), { instanceOf: NetlinkError });
  await bench.pass(2_500);
  t.is(bench.box.routes.size, 1);
  t.true(bench.installer.counters().unread! > 0);
  bench.short.clear();
  await bench.pass(30_000);
  t.is(bench.box.routes.size, 0);
});

test('R4.7 a claim that settles while the tables are compared does not keep its host out of the kernel', async (t) => {
  const bench = new Bench();
  const host = bench.host('A1');
  const compared = bench.installer.reconcile([{ ...host, level: 1 }]);
  bench.installer.apply({ withdrawn: [], announced: [host] });
  await compared;
  t.is(bench.box.routes.size, 1);
});

test('after close nothing is mended any more', async (t) => {
  const bench = new Bench();
  bench.installer.apply({ withdrawn: [], announced: [bench.host('A1')] });
  bench.short.add('RTM_DELROUTE');
  bench.installer.apply({ withdrawn: [HOST], announced: [] });
  bench.installer.close();
  await bench.pass(60_000);
  t.is(bench.clock.pending, 0);
});

test('R4.5 host routes of a port that flapped while notifications were lost are written again', async (t) => {
  const bench = new Bench();
  bench.installer.apply({ withdrawn: [], announced: [bench.host('A1')] });
  bench.flap('A1');
  t.is(bench.box.routes.size, 0);
  bench.short.add('dump');
  bench.resync();
  await bench.pass(500);
  t.is(bench.box.routes.size, 0);
  bench.short.clear();
  bench.short.add('RTM_NEWROUTE');
  await bench.pass(1_000);
  t.is(bench.box.routes.size, 0);
  bench.short.clear();
  await bench.pass(5_000);
  t.is(bench.box.routes.size, 1);
  t.is(bench.box.neighbours.size, 1);
  t.is(bench.clock.pending, 0, 'nothing is tried for ever');
});

test('R4.7 what an earlier life left is not taken away by a resync before it was reconciled', async (t) => {
  const bench = new Bench();
  bench.installer.apply({ withdrawn: [], announced: [bench.host('A1')] });
  const next = new Bench();
  for (const [key, route] of bench.box.routes) next.box.routes.set(key, route);
  next.installer.apply({ withdrawn: [], announced: [{ ...next.host('A2'), address: '10.10.10.2' as Address }] });
  next.resync();
  await next.pass(5_000);
  t.is(next.box.routes.size, 2);
});

test('R4.5 learned routes of a port that flapped while notifications were lost are written again', async (t) => {
  const bench = new Bench();
  const learned = bench.learned();
  const prefix = '10.20.0.0/16' as Prefix;
  learned.update([{ prefix, metric: 20, nextHops: [{ via: '192.0.2.1' as Address, interface: 'A1' }] }]);
  await bench.pass(0);
  t.true(learned.isInstalled(prefix));
  bench.resync();
  await bench.pass(0);
  t.true(learned.isInstalled(prefix));
  bench.flap('A1');
  t.is(bench.box.routes.size, 0);
  bench.resync();
  await bench.pass(1_000);
  t.is(bench.box.routes.size, 1);
  t.true(learned.isInstalled(prefix));
  t.is(bench.clock.pending, 0);
  learned.close();
});

test('R4.5 forty thousand routes that the kernel refuses are asked for again every twelve seconds, and not every two', async (t) => {
  const bench = new Bench();
  const learned = bench.learned();
  const nextHops = [{ via: '192.0.2.1' as Address, interface: 'A1' }];
  const prefixes = Array.from({ length: 40_000 }, (_, index) => `10.${index >> 8}.${index & 255}.0/24` as Prefix);
  let asked = 0;
  bench.refuses = () => {
    asked++;
    return true;
  };
  learned.update(prefixes.map((prefix) => ({ prefix, metric: 20, nextHops })));
  // In steps: each leaves the portions of a round their turns.
  for (let step = 0; step < 600; step++) await bench.pass(100);
  t.true(asked >= 4 * prefixes.length && asked <= 8 * prefixes.length, `${asked / prefixes.length} rounds in a minute`);
  bench.refuses = () => false;
  for (let step = 0; step < 150; step++) await bench.pass(100);
  t.is(bench.box.routes.size, prefixes.length);
  learned.close();
});

test('R4.5 however long the kernel refused a learned route, it is there two seconds after it is well again', async (t) => {
  const bench = new Bench();
  const learned = bench.learned();
  const prefix = '10.20.0.0/16' as Prefix;
  bench.short.add('RTM_NEWROUTE');
  learned.update([{ prefix, metric: 20, nextHops: [{ via: '192.0.2.1' as Address, interface: 'A1' }] }]);
  await bench.pass(40_000);
  t.is(bench.box.routes.size, 0);
  bench.short.clear();
  await bench.pass(2_500);
  t.is(bench.box.routes.size, 1);
  t.true(learned.isInstalled(prefix));
  t.is(bench.clock.pending, 0);
  learned.close();
});

const learnedBy = (...ports: string[]) => ({
  prefix: '10.20.0.0/16' as Prefix,
  metric: 20,
  nextHops: ports.map((port) => ({ via: '192.0.2.1' as Address, interface: port })),
});

test('R4.5 a learned route whose deletion the kernel refused goes when it is well again', async (t) => {
  const bench = new Bench();
  const learned = bench.learned();
  learned.update([learnedBy('A1')]);
  await bench.pass(0);
  bench.short.add('RTM_DELROUTE');
  learned.update([learnedBy()]);
  await bench.pass(5_000);
  t.is(bench.box.routes.size, 1);
  bench.short.clear();
  await bench.pass(2_500);
  t.is(bench.box.routes.size, 0);
  t.is(bench.clock.pending, 0);
  learned.close();
});

test('R4.5 a learned route whose replacement was refused is not left behind when it is not wanted any more', async (t) => {
  const bench = new Bench();
  const learned = bench.learned();
  learned.update([learnedBy('A1')]);
  await bench.pass(0);
  bench.short.add('RTM_NEWROUTE');
  learned.update([learnedBy('A2')]);
  await bench.pass(0);
  t.is(bench.box.routes.size, 1);
  learned.update([learnedBy()]);
  await bench.pass(0);
  t.is(bench.box.routes.size, 0);
  await bench.pass(2_500);
  t.is(bench.clock.pending, 0);
  learned.close();
});

test('R4.5 a learned route of another metric does not leave the old one behind that was refused to go', async (t) => {
  const bench = new Bench();
  const learned = bench.learned();
  learned.update([learnedBy('A1')]);
  await bench.pass(0);
  bench.short.add('RTM_DELROUTE');
  for (const metric of [30, 40]) {
    learned.update([{ ...learnedBy('A1'), metric }]);
    await bench.pass(0);
  }
  t.is(bench.box.routes.size, 3);
  bench.short.clear();
  await bench.pass(2_500);
  t.deepEqual(
    [...bench.box.routes.values()].map(({ metric }) => metric),
    [40],
  );
  t.is(bench.clock.pending, 0);
  learned.close();
});

test('R4.5 learned routes: whatever is wanted while the kernel refuses some of it, all is as wanted soon after', async (t) => {
  const step = fc.record({
    prefix: fc.constantFrom('10.20.0.0/16', '10.21.0.0/16'),
    metric: fc.constantFrom(20, 30),
    ports: fc.subarray(['A1', 'A2']),
    ms: fc.constantFrom(undefined, 0, 700, 4_000),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 12, size: 'max' }),
      fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })),
      async (steps, chance) => {
        const bench = new Bench();
        const learned = bench.learned();
        const wanted = new Map<string, string>();
        bench.refuses = () => chance.next().value < 0.4;
        for (const { prefix, metric, ports, ms } of steps) {
          learned.update([{ ...learnedBy(...ports), prefix: prefix as Prefix, metric }]);
          const hops = ports.map((name) => bench.box.ports.get(name)!.ifindex).join('+');
          if (ports.length > 0) wanted.set(prefix, `${prefix} ${metric} ${hops}`);
          else wanted.delete(prefix);
          if (ms !== undefined) await bench.pass(ms);
        }
        bench.refuses = () => false;
        await bench.pass(5_000);
        const there = [...bench.box.routes.values()].map(
          ({ destination, metric, nextHops }) =>
            `${destination} ${metric} ${nextHops
              .map(({ ifindex }) => ifindex!)
              .toSorted((one, other) => one - other)
              .join('+')}`,
        );
        t.deepEqual(there.toSorted(), [...wanted.values()].toSorted());
        t.true(learned.complete);
        t.is(bench.clock.pending, 0);
        learned.close();
      },
    ),
    { numRuns: 500, verbose: 1 },
  );
});
