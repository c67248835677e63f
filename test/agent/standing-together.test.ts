/** R4.5: hosts behind one port of the other switch, as they come to ports of ours: together or not. */
import test from 'ava';
import { type ShadowKernel, StandingBy } from '../../src/agent/tor/standing-by.ts';
import type { HostRoute } from '../../src/model/hosts.ts';
import { address, mac } from '../netlink/helpers.ts';
import { VirtualClock } from '../simulation/clock.ts';

const HOLD = 3_000;
const DOOR = 99;

/** `a1`..: hosts of group a; groups of less than three are served one by one. */
function stage(...hosts: string[]) {
  const clock = new VirtualClock();
  const groups = new Map(hosts.map((name) => [hostOf(name), name[0]!]));
  const turned: string[] = [];
  const members = (group: string) => [...groups.values()].filter((each) => each === group).length;
  const table = {
    groupOf: (host) => {
      const group = groups.get(host);
      return group && members(group) >= 3 ? group : undefined;
    },
    isIn: (group, host) => groups.get(host) === group,
    turn: (group, towards) => turned.push(`${group} ${towards ?? 'door'}`),
    portDown: () => [],
    counters: () => ({}),
    close: () => {},
  } as Partial<ShadowKernel> as ShadowKernel;
  const room = { door: { interface: 'plhold0', ifindex: DOOR, mac: mac('02:00:00:00:00:01') } };
  const standingBy = new StandingBy({ table, room: room as never, clock, hold: HOLD });
  /** Heard at this port; no shadow any more. */
  const heard = (name: string, ifindex: number): void => {
    const route = { address: hostOf(name), interface: `B${ifindex}`, ifindex, mac: mac('02:00:00:00:00:02'), level: 0 };
    standingBy.come([route as HostRoute]);
    groups.delete(hostOf(name));
  };
  const pass = (ms: number) => {
    for (const end = clock.now() + ms; clock.step(end); );
  };
  return { clock, standingBy, turned, heard, pass };
}

const hostOf = (name: string) => address(`10.10.${name.charCodeAt(0)}.${name.slice(1)}`);

test('R4.5 hosts that come to the same port are looked for there until hold is over', (t) => {
  const { clock, standingBy, turned, heard, pass } = stage('a1', 'a2', 'a3', 'a4');
  heard('a1', 4);
  heard('a2', 4);
  t.deepEqual(turned, ['a 4']);
  pass(HOLD);
  t.deepEqual(turned, ['a 4', 'a door']);
  t.like(standingBy.counters(), { turns: 1, splits: 0 });
  t.is(clock.pending, 0);
});

test('R4.5 once one of them comes to another port the others are looked for nowhere: they wait until each is heard', (t) => {
  const { clock, standingBy, turned, heard, pass } = stage('a1', 'a2', 'a3', 'a4', 'a5', 'b1', 'b2', 'b3');
  heard('b1', 3);
  heard('a1', 4);
  heard('a2', 3);
  t.deepEqual(turned, ['b 3', 'a 4', 'a door'], 'nothing becomes of another group by that');
  heard('a3', 4);
  heard('a4', 3);
  t.is(turned.length, 3, 'nor of this one once more');
  t.like(standingBy.counters(), { turns: 2, splits: 1 });
  pass(HOLD);
  t.is(clock.pending, 0);
});

test('R4.5 nor when so few are left that they would not be taken together', (t) => {
  const { standingBy, turned, heard } = stage('a1', 'a2', 'a3');
  heard('a1', 4);
  heard('a2', 4);
  heard('a3', 3);
  t.deepEqual(turned, ['a 4', 'a door']);
  standingBy.close();
});
