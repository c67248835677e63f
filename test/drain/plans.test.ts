/** What `undrain --dry-run` says, by groups that are real and ports that do as they are told. */
import test from 'ava';
import { EventLog, WallClock } from '../../src/agent/events.ts';
import { Drain, type DrainOptions } from '../../src/agent/tor/drain/drain.ts';
import type { DrainOrder } from '../../src/agent/tor/drain/types.ts';
import { PortGroups, type UplinkJudge } from '../../src/agent/tor/port-groups.ts';
import type { Port, PortChange } from '../../src/model/ports.ts';
import { VirtualClock } from '../hostroutes/clock.ts';
import { group } from '../portlink/support.ts';

const silent = () => undefined;
const log = { debug: silent, info: silent, warn: silent, error: silent };
const yes = () => ({ ready: true, reason: 'yes' });
const judge: UplinkJudge = { adjacency: yes, defaultRoute: yes, nexthop: yes, bfd: yes, readiness: yes };
const SETTINGS = { pause: 100, timeout: 1_000, force: false };

/** A1 and A2 are in a group, A3 is in none. */
async function bench() {
  const clock = new VirtualClock();
  const wall = new WallClock(clock, () => 0);
  const events = new EventLog(clock, wall, log);
  const ports = new Map<string, Port>();
  const changed: ((change: PortChange) => void)[] = [];
  const set = (name: string, state: Partial<Port>): void => {
    const before = ports.get(name);
    const after = { ...before!, ...state };
    ports.set(name, after);
    for (const listener of changed) listener({ name, before, after, at: clock.now() });
  };
  const rest = { mac: undefined, mtu: 1500, master: 0, kind: undefined, addresses: [] };
  for (const [index, name] of ['A0', 'A1', 'A2', 'A3'].entries())
    ports.set(name, { name, ifindex: index + 1, adminUp: true, carrier: true, ...rest });
  const links = {
    port: (name: string) => ports.get(name),
    portByIndex: () => undefined,
    ports: () => ports.values(),
    onChange: () => silent,
  };
  const groups = new PortGroups({
    groups: [{ ...group({ downlinks: ['A1', 'A2'] }), nexthops: [] } as never],
    ports: {
      setAdmin: async (names, up) => {
        for (const name of names) set(name, { adminUp: up, carrier: up });
      },
    },
    links,
    clock,
    log,
    wall,
    events,
    stateFile: '/nowhere',
    state: {
      load: () => ({ ports: [], holds: {}, problems: [] }),
      intend: silent,
      save: async () => {},
      close: async () => {},
    },
    wallClock: () => 0,
    onBlock: silent,
  } as ConstructorParameters<typeof PortGroups>[0]);
  const fabric = { ready: true };
  const drain = new Drain({
    clock,
    wall,
    log,
    events,
    links,
    hosts: { hosts: () => [], find: silent, leave: silent, left: silent, blockPorts: silent },
    groups,
    fabric: {
      leastPreferred: silent,
      readiness: () => ({ ready: fabric.ready, reason: fabric.ready ? '' : 'no session' }),
      tells: () => true,
    },
    room: undefined,
    config: () => ({ hostRoutes: { policy: { ports: ['A1', 'A2', 'A3'] } }, portLink: [], stateDirectory: '/nowhere' }),
    surroundings: {},
  } as unknown as DrainOptions);
  changed.push((change) => groups.portChanged(change));
  changed.push((change) => drain.portChanged(change));
  const pass = async (ms: number): Promise<void> => {
    for (const end = clock.now() + ms; clock.now() < end; ) {
      clock.advance(50);
      for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
    }
  };
  await groups.start(false, judge);
  await pass(60_000);
  const order = (...named: string[]): DrainOrder =>
    named.length > 0
      ? { ports: named, whole: false, ...SETTINGS }
      : { ports: ['A1', 'A2', 'A3'], whole: true, ...SETTINGS };
  return { drain, groups, ports, set, pass, order, fabric };
}

test('R4.7 a plan to undrain is what the undrain does then: a group that stands on a loss keeps its ports', async (t) => {
  const { drain, ports, set, pass, order, fabric } = await bench();
  t.deepEqual(drain.planBack(order()), { preference: 'unchanged', ports: [], warnings: [] });
  drain.drain(order());
  await pass(5_000);
  t.is(drain.view().phase, 'drained');
  const opened = (port: string) => ({ port, opened: true, reason: '' });
  const all = { preference: 'normal', ports: ['A1', 'A2', 'A3'].map(opened), warnings: [] } as const;
  t.deepEqual(drain.planBack(order()), all);
  t.deepEqual(drain.planBack(order('A2')), { ...all, ports: [opened('A2')] });

  fabric.ready = false;
  t.deepEqual(drain.planBack(order()).warnings, ['the fabric is not ready (no session): refused without --force']);
  fabric.ready = true;
  set('A0', { carrier: false });
  const kept = (port: string) => ({ port, opened: false, reason: 'group fabric keeps it shut' });
  t.deepEqual(drain.planBack(order()).ports, [kept('A1'), kept('A2'), opened('A3')]);
  t.is(drain.view().phase, 'drained', 'a plan changes nothing');

  drain.undrain(order());
  await pass(2_000);
  const shown = drain.view().ports.map(({ port, reason }) => ({ port, opened: ports.get(port)!.adminUp, reason }));
  t.deepEqual(shown, [kept('A1'), kept('A2'), opened('A3')]);
});

test('R4.7 a plan to undrain in the midst of a drain says that the port under way comes first', async (t) => {
  const { drain, groups, pass, order } = await bench();
  drain.drain(order());
  await pass(100);
  t.is(groups.keeperOf('A1'), undefined, 'its packets wait, and it is not shut yet');
  t.deepEqual(drain.planBack(order()), {
    preference: 'normal',
    ports: [{ port: 'A1', opened: true, reason: '' }],
    warnings: ['A1 is being drained, and that is carried through first'],
  });
});
