import test from 'ava';
import { TeamMachine } from '../../lab/team/machine.ts';

const standing = (updelay: number) => {
  const team = new TeamMachine('eth-a', updelay);
  team.start({ 'eth-a': true, 'eth-b': true });
  return team;
};

test('the primary carries at the beginning, the other link when the primary is down', (t) => {
  const both = new TeamMachine('eth-b', 200);
  t.deepEqual(both.start({ 'eth-a': true, 'eth-b': true }), [{ kind: 'switch', from: undefined, to: 'eth-b' }]);
  const one = new TeamMachine('eth-b', 200);
  t.deepEqual(one.start({ 'eth-a': true, 'eth-b': false }), [{ kind: 'switch', from: undefined, to: 'eth-a' }]);
  const none = new TeamMachine('eth-b', 200);
  t.deepEqual(none.start({ 'eth-a': false, 'eth-b': false }), [{ kind: 'none' }]);
});

test('R4.5 the active link is lost: the other takes over in the same step', (t) => {
  const team = standing(200);
  t.deepEqual(team.link('eth-a', false, 1000), [{ kind: 'switch', from: 'eth-a', to: 'eth-b' }]);
  t.is(team.active, 'eth-b');
});

test('the standby is lost and comes back: nothing moves, and it stands by again', (t) => {
  const team = standing(200);
  t.deepEqual(team.link('eth-b', false, 1000), []);
  t.deepEqual(team.link('eth-b', true, 1100), [{ kind: 'standby', nic: 'eth-b' }]);
  t.is(team.nextDeadline(), undefined);
  t.is(team.active, 'eth-a');
});

test('the primary is back: it stands by for updelay, then takes over', (t) => {
  const team = standing(200);
  team.link('eth-a', false, 1000);
  t.deepEqual(team.link('eth-a', true, 2000), [{ kind: 'standby', nic: 'eth-a' }]);
  t.is(team.nextDeadline(), 2200);
  t.deepEqual(team.tick(2199), []);
  t.deepEqual(team.tick(2200), [{ kind: 'switch', from: 'eth-b', to: 'eth-a' }]);
  t.is(team.nextDeadline(), undefined);
});

test('updelay 0: the primary takes over at once', (t) => {
  const team = standing(0);
  team.link('eth-a', false, 1000);
  t.deepEqual(team.link('eth-a', true, 2000), [{ kind: 'switch', from: 'eth-b', to: 'eth-a' }]);
});

test('a primary that goes again inside updelay is forgotten', (t) => {
  const team = standing(200);
  team.link('eth-a', false, 1000);
  team.link('eth-a', true, 2000);
  t.deepEqual(team.link('eth-a', false, 2100), []);
  t.is(team.nextDeadline(), undefined);
  t.deepEqual(team.tick(3000), []);
  t.is(team.active, 'eth-b');
});

test('without an active link updelay does not count, as in bonding', (t) => {
  const team = standing(200);
  team.link('eth-a', false, 1000);
  team.link('eth-a', true, 2000);
  t.deepEqual(team.link('eth-b', false, 2050), [{ kind: 'switch', from: 'eth-b', to: 'eth-a' }]);
  t.deepEqual(team.link('eth-a', false, 2060), [{ kind: 'none' }]);
  t.is(team.active, undefined);
  t.deepEqual(team.link('eth-b', true, 2070), [{ kind: 'switch', from: undefined, to: 'eth-b' }]);
});

test('a state told twice has no effect', (t) => {
  const team = standing(200);
  t.deepEqual(team.link('eth-a', true, 1000), []);
  team.link('eth-a', false, 1100);
  t.deepEqual(team.link('eth-a', false, 1101), []);
});
