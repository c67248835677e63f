import test from 'ava';
import { EventLog, WallClock } from '../../src/agent/events.ts';
import { PortGroups } from '../../src/agent/tor/port-groups.ts';
import type { Port } from '../../src/model/ports.ts';
import { VirtualClock } from '../hostroutes/clock.ts';
import { group } from '../portlink/support.ts';

const silent = () => undefined;
const log = { debug: silent, info: silent, warn: silent, error: silent };

function bench(...known: Partial<Port>[]) {
  const clock = new VirtualClock();
  const wall = new WallClock(clock, () => 0);
  const ports = known.map((port, index) => {
    return { name: `A${index}`, ifindex: index + 1, adminUp: true, carrier: true, master: 0, ...port } as Port;
  });
  const asked: string[] = [];
  const groups = new PortGroups({
    groups: [{ ...group({ downlinks: [] }), nexthops: [] } as never],
    ports: {
      setAdmin: async (names, up) => {
        asked.push(`${up ? 'open' : 'shut'} ${names.join()}`);
      },
    },
    links: {
      port: (name) => ports.find((port) => port.name === name),
      portByIndex: (ifindex) => ports.find((port) => port.ifindex === ifindex),
      ports: () => ports,
      onChange: () => silent,
    },
    clock,
    log,
    wall,
    events: new EventLog(clock, wall, log),
    stateFile: '/nowhere',
    state: {
      load: () => ({ ports: [], holds: {}, problems: [] }),
      intend: silent,
      save: async () => {},
      close: async () => {},
    },
    wallClock: () => 0,
    onBlock: silent,
  });
  return { groups, asked };
}

test('R4.7 a port of no group is bounced too, also one in a bridge', async (t) => {
  const { groups, asked } = bench({ name: 'br0', kind: 'bridge' }, { name: 'A1', master: 1 });
  t.true(groups.bounce('A1', 'back'));
  t.deepEqual(asked, ['shut A1']);
  await groups.settled();
  t.deepEqual(asked, ['shut A1', 'open A1']);
});

for (const kind of ['bond', 'team', 'bridge', 'vlan']) {
  test(`a ${kind} is not bounced: shut, it leaves the carrier at the other end as it is`, (t) => {
    const { groups, asked } = bench({ name: 'A1', kind });
    t.false(groups.bounce('A1', 'back'));
    t.deepEqual(asked, []);
  });
}

test('a member of a LAG is not bounced: others of its members may carry the hosts', (t) => {
  const { groups, asked } = bench({ name: 'bond1', kind: 'bond' }, { name: 'A1', master: 1 });
  t.false(groups.bounce('A1', 'back'));
  t.deepEqual(asked, []);
});
