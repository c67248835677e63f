/** Routes with backups when the kernel refuses, forgets, or is told of too late: on a simulated kernel, in virtual time. */
import test from 'ava';
import fc from 'fast-check';
import type { Address, Prefix } from '../../src/model/address.ts';
import type { LearnedRoute, NextHop } from '../../src/model/hosts.ts';
import { BackedRouteInstaller } from '../../src/netlink/index.ts';
import { VirtualClock } from '../simulation/clock.ts';
import { ObjectKernel } from './object-kernel.ts';

const PORTS = ['A0', 'B0', 'C0'] as const;
const VIA = ['192.0.2.2', '198.51.100.2', '203.0.113.2'] as const;
const prefixOf = (index: number) => `10.10.${index >> 8}.${index & 255}/32` as Prefix;
const hop = (index: number): NextHop => ({ via: VIA[index]! as Address });

const route = (index: number, primary: readonly number[], backup: readonly number[] = []): LearnedRoute => ({
  prefix: prefixOf(index),
  metric: 20,
  nextHops: primary.map(hop),
  ...(backup.length > 0 ? { backup: backup.map(hop) } : {}),
});

class Bench {
  readonly clock = new VirtualClock();
  readonly kernel: ObjectKernel;
  installer: BackedRouteInstaller;

  constructor() {
    this.kernel = new ObjectKernel();
    for (const [index, name] of PORTS.entries()) this.kernel.addPort(name, 10 + index, VIA[index]!.replace(/2$/, '1'));
    this.installer = this.next();
  }

  /** Another life of the agent. */
  next(): BackedRouteInstaller {
    this.installer?.close();
    this.installer = new BackedRouteInstaller(this.kernel.socket, this.kernel.links, this.clock, { protocol: 203 });
    return this.installer;
  }

  async pass(ms: number): Promise<void> {
    const end = this.clock.now() + ms;
    const drained = async () => {
      for (let round = 0; round < 12; round++) await new Promise((resolve) => setImmediate(resolve));
    };
    await drained();
    while (this.clock.step(end)) await drained();
  }

  ways(count: number): string[] {
    return Array.from({ length: count }, (_, index) => this.kernel.waysOf(prefixOf(index)).join('+'));
  }
}

async function benchWith(...routes: LearnedRoute[]): Promise<Bench> {
  const bench = new Bench();
  bench.installer.update(routes);
  await bench.pass(0);
  return bench;
}

test('R4.8 who has read routes over objects before they were known is told as soon as they are', async (t) => {
  const bench = await benchWith(route(0, [0], [1]));
  const [{ nextHopId: id } = { nextHopId: 0 }] = bench.kernel.routes.get(prefixOf(0))!.values();
  const ways: string[] = [];
  bench.installer.close();
  const next: BackedRouteInstaller = new BackedRouteInstaller(bench.kernel.socket, bench.kernel.links, bench.clock, {
    protocol: 203,
    changed: () =>
      ways.push(
        next
          .hopsOf(id!)
          .map(({ via }) => via)
          .join(),
      ),
  });
  t.deepEqual(next.hopsOf(id!), []);
  await bench.pass(0);
  t.is(ways.at(-1), VIA[0]);
  next.close();
});

test('R4.7 a thousand routes are moved by one message, and each pair needs one', async (t) => {
  const many = Array.from({ length: 1000 }, (_, index) => route(index, [0], [index % 2 === 0 ? 1 : 2]));
  const bench = await benchWith(...many);
  bench.kernel.messages.length = 0;
  t.deepEqual(bench.installer.switchOver(VIA[0] as Address), { messages: 2, refused: 0, routes: 1000 });
  t.deepEqual(bench.kernel.messages, ['RTM_NEWNEXTHOP', 'RTM_NEWNEXTHOP']);
  t.deepEqual(new Set(bench.ways(1000)), new Set(['B0', 'C0']));
  // Nobody draws a conclusion from it: then it was nothing.
  await bench.pass(3_000);
  t.deepEqual(new Set(bench.ways(1000)), new Set(['A0']));
  t.is(bench.clock.pending, 0);
});

test('R4.6 who hears of the port before us may switch over and write: nothing is made of what the kernel has dropped', async (t) => {
  const bench = await benchWith(route(0, [0], [1]), route(1, [0], [1]), route(2, [0, 1], [2]));
  const { kernel, installer } = bench;
  kernel.early.push(({ name, after }) => {
    if (name !== 'A0' || after?.carrier) return;
    t.like(installer.switchOver(VIA[0] as Address, 'A0'), { messages: 0 });
    installer.update([route(0, [1])]);
  });
  kernel.setCarrier('A0', false);
  await bench.pass(0);
  t.deepEqual(bench.ways(3), ['B0', 'B0', 'B0']);
  t.is(installer.counters().dropped, 2);
  kernel.setCarrier('A0', true);
  installer.restore(VIA[0] as Address);
  await bench.pass(0);
  t.deepEqual(bench.ways(3), ['B0', 'A0', 'A0+B0']);
  t.is(kernel.routes.get(prefixOf(1))?.size, 2);
});

test('a refused replacement leaves the old way, and a refused new one the backup; both come when there is memory', async (t) => {
  const bench = await benchWith(route(0, [0], [1]), route(1, [0], [1]));
  const { kernel, installer } = bench;
  kernel.setCarrier('A0', false);
  await bench.pass(0);
  kernel.short.add('RTM_NEWROUTE');
  installer.update([route(0, [1], [2]), route(1, [2])]);
  await bench.pass(500);
  t.deepEqual(bench.ways(2), ['B0', 'B0'], 'the backup was not taken away');
  t.false(installer.isInstalled(prefixOf(0)));
  kernel.short.clear();
  await bench.pass(2_000);
  t.deepEqual(bench.ways(2), ['B0', 'C0']);
  t.true(installer.isInstalled(prefixOf(1)));
  t.is(bench.clock.pending, 0, 'nothing is tried for ever');
});

test('a route whose deletion was refused goes later, and its object after it', async (t) => {
  const bench = await benchWith(route(0, [0], [1]));
  const { kernel, installer } = bench;
  kernel.short.add('RTM_DELROUTE').add('RTM_DELNEXTHOP');
  installer.update([route(0, [])]);
  await bench.pass(2_000);
  t.is(kernel.routes.size, 1);
  t.deepEqual(kernel.torn, []);
  kernel.short.clear();
  await bench.pass(60_000);
  t.is(kernel.routes.size, 0);
  await installer.leave();
  t.is(kernel.objects.size, 0);
  t.is(bench.clock.pending, 0);
});

test('however long the kernel refused, all is right two seconds after it is well again', async (t) => {
  const bench = await benchWith(route(0, [0], [1]), route(1, [0]));
  const { kernel, installer } = bench;
  kernel.refuses = () => true;
  installer.update([route(0, []), route(1, [2])]);
  await bench.pass(40_000);
  t.deepEqual(bench.ways(2), ['A0', 'A0']);
  kernel.refuses = () => false;
  await bench.pass(2_500);
  t.deepEqual(bench.ways(2), ['', 'C0']);
  t.is(bench.clock.pending, 0);
});

test('a refused switch-over is made when there is memory again', async (t) => {
  const bench = await benchWith(route(0, [0], [1]));
  const { kernel, installer } = bench;
  kernel.short.add('RTM_NEWNEXTHOP');
  t.like(installer.switchOver(VIA[0] as Address), { messages: 1, refused: 1, routes: 0 });
  kernel.short.clear();
  await bench.pass(1_500);
  t.deepEqual(bench.ways(1), ['B0']);
});

test('R4.7 tables that can not be read at first: nothing is written before, and nothing is lost', async (t) => {
  const bench = await benchWith(route(0, [0], [1]), route(1, [0], [1]));
  const { kernel } = bench;
  kernel.short.add('dump');
  const next = bench.next();
  kernel.messages.length = 0;
  next.update([route(2, [0], [1])]);
  await bench.pass(2_500);
  t.deepEqual(kernel.messages, []);
  t.true(next.counters().unread! > 0);
  kernel.short.clear();
  await bench.pass(1_500);
  t.deepEqual(bench.ways(3), ['A0', 'A0', 'A0'], 'what nobody has spoken of stays');
  const report = next.reconcile([route(2, [0], [1])]);
  await bench.pass(0);
  t.deepEqual(await report, { kept: 1, added: 0, removed: 2, failed: 0 });
  t.deepEqual(bench.ways(3), ['', '', 'A0']);
});

test('R4.7 what is updated while the tables are read for the reconciliation is not undone by it', async (t) => {
  const bench = await benchWith(route(0, [0], [1]));
  const next = bench.next();
  const wanted = new Map([[prefixOf(0), route(0, [0], [1])]]);
  const report = next.reconcile(wanted.values());
  wanted.set(prefixOf(0), route(0, [1]));
  next.update([route(0, [1])]);
  await bench.pass(0);
  await report;
  t.deepEqual(bench.ways(1), ['B0']);
});

test('routes of a port that flapped while notifications were lost are written again', async (t) => {
  const bench = await benchWith(route(0, [0], [1]), route(1, [0]), route(2, [1], [0]));
  const { kernel, installer } = bench;
  kernel.setCarrier('A0', false, false);
  kernel.setCarrier('A0', true, false);
  t.deepEqual(bench.ways(3), ['B0', '', 'B0']);
  kernel.short.add('dump');
  kernel.resync();
  await bench.pass(500);
  kernel.short.clear();
  await bench.pass(1_000);
  t.deepEqual(bench.ways(3), ['A0', 'A0', 'B0']);
  t.is(kernel.routes.get(prefixOf(2))?.size, 2);
  t.like(installer.counters(), { installed: 3, waiting: 0 });
  t.is(bench.clock.pending, 0);
});

test('a next hop that is not to be used for now is no reason to remove the way that there is', async (t) => {
  const bench = await benchWith(route(0, [0]), route(1, [2]));
  const { kernel, installer } = bench;
  kernel.setCarrier('B0', false);
  await bench.pass(0);
  t.like(installer.switchOver(VIA[0] as Address), { messages: 0 });
  installer.update([route(0, [0], [1]), route(1, [0], [1])]);
  await bench.pass(500);
  t.deepEqual(bench.ways(2), ['A0', 'C0']);
  t.false(installer.isInstalled(prefixOf(0)), 'it is another one');
  await bench.pass(3_000);
  t.deepEqual(bench.ways(2), ['A0', 'A0'], 'the word of the speaker counts again');
  t.true(installer.isInstalled(prefixOf(0)));
  kernel.setCarrier('B0', true);
  await bench.pass(0);
  t.deepEqual([kernel.routes.get(prefixOf(0))?.size, kernel.routes.get(prefixOf(1))?.size], [2, 2]);
  t.is(bench.clock.pending, 0);
});

test('a way that is not wanted any more goes, though no port leads to the next one yet', async (t) => {
  const bench = await benchWith(route(0, [0]));
  bench.kernel.setCarrier('B0', false);
  bench.installer.update([route(0, [1])]);
  await bench.pass(0);
  t.deepEqual(bench.ways(1), ['']);
});

test('a backup that serves stays when the speaker takes it away and has nothing but what it serves for', async (t) => {
  const bench = await benchWith(route(0, [0], [1]));
  bench.installer.switchOver(VIA[0] as Address);
  bench.installer.update([route(0, [0])]);
  await bench.pass(500);
  t.deepEqual(bench.ways(1), ['B0']);
  await bench.pass(3_000);
  t.deepEqual(bench.ways(1), ['A0']);
  t.is(bench.kernel.routes.get(prefixOf(0))?.size, 1);
});

test('nothing is removed for a backup that a port took in silence', async (t) => {
  const bench = await benchWith(route(0, [0]), route(1, [2], [1]));
  const { kernel, installer } = bench;
  installer.switchOver(VIA[0] as Address);
  for (const carrier of [false, true]) kernel.setCarrier('B0', carrier, false);
  installer.update([route(1, [0], [1])]);
  await bench.pass(500);
  t.deepEqual(bench.ways(2), ['A0', 'C0'], 'the backup was believed to be there');
  await bench.pass(1_000);
  t.deepEqual(bench.ways(2), ['A0', 'B0'], 'it is, since the tables were read');
  await bench.pass(2_500);
  t.deepEqual(bench.ways(2), ['A0', 'A0']);
  t.is(kernel.routes.get(prefixOf(1))?.size, 2);
});

test('nothing is removed for an old way that a port took in silence after a refusal', async (t) => {
  const bench = await benchWith(route(0, [2]), route(1, [0]));
  const { kernel, installer } = bench;
  const flap = (name: string) => [false, true].forEach((carrier) => void kernel.setCarrier(name, carrier, false));
  flap('A0');
  installer.update([route(0, [0], [1])]);
  flap('C0');
  t.deepEqual(bench.ways(1), ['B0']);
  installer.update([route(0, [2])]);
  t.deepEqual(bench.ways(1), ['B0']);
  await bench.pass(3_000);
  t.deepEqual(bench.ways(2), ['C0', 'A0']);
  t.is(kernel.routes.get(prefixOf(0))?.size, 1);
});

test('after close nothing is mended any more', async (t) => {
  const bench = await benchWith(route(0, [0], [1]));
  bench.kernel.short.add('RTM_NEWROUTE');
  bench.installer.update([route(1, [0])]);
  bench.installer.switchOver(VIA[0] as Address);
  bench.installer.close();
  await bench.pass(60_000);
  t.is(bench.clock.pending, 0);
  await t.throwsAsync(bench.installer.installed(prefixOf(9)), { message: /closed/ });
});

type Step =
  | { kind: 'route'; index: number; primary: number[]; backup: number[] }
  | { kind: 'carrier'; port: number; up: boolean; told: boolean }
  | { kind: 'switch' | 'restore'; port: number }
  | { kind: 'short'; share: number }
  | { kind: 'flap'; port: number }
  | { kind: 'resync' | 'restart' }
  | { kind: 'pass'; ms: number };

const some = fc.uniqueArray(fc.nat(2), { maxLength: 2 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('route' as const), index: fc.nat(5), primary: some, backup: some }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('carrier' as const),
      port: fc.nat(2),
      up: fc.boolean(),
      told: fc.constant(true),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom('switch' as const, 'restore' as const), port: fc.nat(2) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('flap' as const), port: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('short' as const), share: fc.constantFrom(0, 0.3, 1) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('resync' as const, 'restart' as const) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.constantFrom(0, 1, 700, 4_000) }) },
);

test('whatever happens in whatever order: no object goes under its routes, no route without another way, and all is right in the end', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      // Stories as long as they may be: the short ones of the default miss much.
      fc.array(step, { maxLength: 40, size: 'max' }),
      fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })),
      async (steps, chance) => {
        const bench = new Bench();
        const { kernel } = bench;
        const wanted = new Map<Prefix, LearnedRoute>();
        const usable = ({ via }: NextHop) => kernel.isUp(PORTS[VIA.indexOf(via as never)]!);
        kernel.onRemoval = (prefix, left) => {
          const now = wanted.get(prefix as Prefix);
          if (left === 0 && now?.nextHops.some(usable)) throw new Error(`${prefix} is left without a route`);
        };
        const perform = async (each: Step): Promise<void> => {
          if (each.kind === 'route') {
            const next = route(
              each.index,
              each.primary,
              each.primary.length > 0 ? each.backup.filter((one) => !each.primary.includes(one)) : [],
            );
            if (next.nextHops.length === 0) wanted.delete(next.prefix);
            else wanted.set(next.prefix, next);
            bench.installer.update([next]);
          } else if (each.kind === 'carrier') kernel.setCarrier(PORTS[each.port]!, each.up, each.told);
          else if (each.kind === 'switch') bench.installer.switchOver(VIA[each.port]! as Address);
          else if (each.kind === 'restore') bench.installer.restore(VIA[each.port]! as Address);
          else if (each.kind === 'short') kernel.refuses = () => chance.next().value < each.share;
          else if (each.kind === 'flap') {
            const up = kernel.isUp(PORTS[each.port]!);
            for (const carrier of [!up, up]) kernel.setCarrier(PORTS[each.port]!, carrier, false);
          } else if (each.kind === 'resync') kernel.resync();
          else if (each.kind === 'restart') {
            const next = bench.next();
            next.update([...wanted.values()]);
          } else if (each.kind === 'pass') await bench.pass(each.ms);
        };
        for (const each of steps) await perform(each);
        kernel.refuses = () => false;
        kernel.resync();
        for (const name of PORTS) kernel.setCarrier(name, true);
        await bench.pass(70_000);
        const report = bench.installer.reconcile(wanted.values());
        await bench.pass(0);
        await report;
        t.deepEqual(kernel.torn, []);
        t.deepEqual([...kernel.routes.keys()].toSorted(), [...wanted.keys()].toSorted());
        for (const [prefix, { nextHops, backup = [] }] of wanted) {
          const names = nextHops.map(({ via }) => PORTS[VIA.indexOf(via as never)]!).toSorted();
          t.deepEqual(kernel.waysOf(prefix), names, prefix);
          t.is(kernel.routes.get(prefix)!.size, backup.length > 0 ? 2 : 1);
          t.true(bench.installer.isInstalled(prefix));
        }
        t.is(bench.clock.pending, 0);
        wanted.clear();
        await bench.installer.leave();
        t.is(kernel.objects.size + kernel.routes.size, 0);
      },
    ),
    { numRuns: 500, verbose: 1 },
  );
});
