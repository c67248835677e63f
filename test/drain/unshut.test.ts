import test from 'ava';
import { EventLog, WallClock } from '../../src/agent/events.ts';
import { PortGroups, type UplinkJudge } from '../../src/agent/tor/port-groups.ts';
import { type Port, type PortChange, PortError } from '../../src/model/ports.ts';
import type { StateStore } from '../../src/portlink/index.ts';
import { VirtualClock } from '../hostroutes/clock.ts';
import { group } from '../portlink/support.ts';

const silent = () => undefined;
const log = { debug: silent, info: silent, warn: silent, error: silent };
const yes = () => ({ ready: true, reason: 'yes' });
const judge: UplinkJudge = { adjacency: yes, defaultRoute: yes, nexthop: yes, bfd: yes, readiness: yes };

for (const stubborn of ['refused', 'reopened'] as const) {
  test(`R4.7 a drained port that stays open (${stubborn}) does not keep the groups from starting`, async (t) => {
    const clock = new VirtualClock();
    const ports = new Map(
      ['A0', 'A1', 'A2', 'A3', 'A4'].map((name, index): [string, Port] => [
        name,
        {
          name,
          ifindex: index + 1,
          mac: undefined,
          mtu: 1500,
          adminUp: true,
          carrier: true,
          master: 0,
          kind: undefined,
          addresses: [],
        },
      ]),
    );
    const listeners = new Set<(change: PortChange) => void>();
    const setAdmin = async (names: readonly string[], up: boolean): Promise<void> => {
      // The kernel answers first and reports later.
      clock.schedule(clock.now() + 10, () => {
        for (const name of names) {
          if (name === 'A1') continue;
          const before = ports.get(name)!;
          const after = { ...before, adminUp: up };
          ports.set(name, after);
          for (const listener of listeners) listener({ name, before, after, at: clock.now() });
        }
      });
      if (names.includes('A1') && stubborn === 'refused')
        throw new AggregateError([new PortError('A1', 'EBUSY')], 'A1');
    };
    const state: StateStore = {
      load: () => ({ ports: [], holds: {}, problems: [] }),
      intend: silent,
      save: async () => {},
      close: async () => {},
    };
    const wall = new WallClock(clock, () => 0);
    const events = new EventLog(clock, wall, log);
    const troubled: string[] = [];
    const groups = new PortGroups({
      groups: [{ ...group(), nexthops: [] } as never],
      ports: { setAdmin },
      links: {
        port: (name) => ports.get(name),
        portByIndex: () => undefined,
        ports: () => ports.values(),
        onChange: (listener) => {
          listeners.add(listener);
          return () => listeners.delete(listener);
        },
      },
      clock,
      log,
      wall,
      events,
      stateFile: '/nowhere',
      state,
      wallClock: () => 0,
      onBlock: silent,
      onDrainTrouble: (names) => troubled.push(...names),
    });
    listeners.add((change) => groups.portChanged(change));
    const started = groups.start(false, judge, ['A1', 'A2']);
    for (let turn = 0; turn < 20; turn++) {
      await new Promise(setImmediate);
      clock.advance(1_000);
    }
    await started;
    t.is(groups.keeperOf('A2'), '(drain)');
    t.false(ports.get('A2')!.adminUp);
    t.is(groups.view('fabric')!.state, 'up');
    groups.undrain(['A2']);
    for (let turn = 0; turn < 5; turn++) {
      await new Promise(setImmediate);
      clock.advance(1_000);
    }
    t.true(ports.get('A2')!.adminUp, 'it was known as ours');
    t.true(events.since(0).some(({ type, message }) => type === 'portlink.alarm' && /kept shut: A1:/.test(message)));
    if (stubborn === 'refused') t.deepEqual(troubled, ['A1']);
  });
}
