import test from 'ava';
import { DRAIN, PortLinkDriver, PortLinkGroups, type StateStore } from '../../src/portlink/index.ts';
import { group } from '../portlink/support.ts';

const quiet = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, fatal() {} };

test('R4.7 ports that are shut before the start are remembered beside what an earlier run left, not instead of it', async (t) => {
  const stored = (port: string, owner: string) =>
    ({ port, group: owner, side: 'downlink', since: 1_000, reason: 'earlier' }) as const;
  const saved: Parameters<StateStore['save']>[0][] = [];
  let loads = 0;
  const state: StateStore = {
    load: () => {
      loads++;
      return { ports: [stored('A1', DRAIN), stored('A2', 'fabric')], holds: { fabric: 'shut' }, problems: [] };
    },
    intend: () => {},
    save: async (what) => {
      saved.push(what);
    },
    close: async () => {},
  };
  const driver = new PortLinkDriver({
    groups: new PortLinkGroups([group()], 0),
    ports: { setAdmin: async () => {} },
    links: { port: () => undefined, portByIndex: () => undefined, ports: () => [], onChange: () => () => {} },
    clock: { now: () => 0, schedule: () => ({ cancel() {} }) },
    log: quiet as never,
    stateFile: '/nowhere',
    state,
    wallClock: () => 1_000,
  });
  driver.remember([{ port: 'A3', group: DRAIN, side: 'downlink', since: 0, reason: 'drained' }]);
  await driver.settled();
  const { ports, holds } = saved.at(-1)!;
  t.deepEqual(
    ports.map(({ port, group: owner }) => `${port} ${owner}`),
    [`A1 ${DRAIN}`, 'A2 fabric', `A3 ${DRAIN}`],
  );
  t.deepEqual(holds, { fabric: 'shut' });
  driver.start();
  t.is(loads, 1, 'what was written over it since is not read as if it were of an earlier run');
  t.is(driver.groups.view('fabric')!.held, 'shut');
});
