import test from 'ava';
import { Crowds } from '../../src/agent/tor/crowds.ts';
import type { RememberedHost } from '../../src/hostroutes/index.ts';

function crowds({ from = 1_500, refuse = false } = {}) {
  const asked: string[] = [];
  const expectable = new Map<string, number>();
  const left = new Map<string, number>();
  const held = new Crowds({
    from: () => from,
    hosts: {
      expectable: (port) => expectable.get(port) ?? 0,
      remembered: (port) => [{ leftAt: left.get(port) ?? -1 } as RememberedHost],
    },
    groups: {
      bounce: (port, reason) => {
        asked.push(`${port}: ${reason}`);
        return !refuse;
      },
    },
  });
  return { asked, expectable, left, held };
}

test('R4.7 a port that is back with a crowd behind it is shut again, one with fewer is not', (t) => {
  const { asked, expectable, held } = crowds();
  expectable.set('A1', 1_499).set('A2', 1_500);
  t.false(held.holdBack('A1', 0));
  t.true(held.holdBack('A2', 0));
  t.deepEqual(asked, ['A2: A2 is back, and the fabric is told of its 1500 hosts first']);
});

test('R4.7 its opening is no reason to shut it again, the next return of its carrier is', (t) => {
  const { asked, expectable, held } = crowds();
  expectable.set('A1', 5_000).set('A2', 5_000);
  t.true(held.holdBack('A2', 0));
  t.true(held.holdBack('A1', 1_000), 'another port has nothing to do with it');
  t.false(held.holdBack('A2', 5_000));
  t.true(held.holdBack('A2', 15_000));
  t.is(asked.length, 3);
});

test('R4.7 a server whose link fails again as soon as it is back finds its port held back again', (t) => {
  const { expectable, left, held } = crowds();
  expectable.set('A2', 5_000);
  t.true(held.holdBack('A2', 0));
  t.false(held.holdBack('A2', 3_000));
  left.set('A2', 5_000);
  t.true(held.holdBack('A2', 6_000));
});

test('R4.7 a link that goes up and down as it trains is left alone after its first opening', (t) => {
  const { asked, expectable, held } = crowds();
  expectable.set('A2', 5_000);
  t.true(held.holdBack('A2', 0));
  t.false(held.holdBack('A2', 3_000));
  for (const at of [4_000, 6_000, 9_000, 12_999]) t.false(held.holdBack('A2', at));
  t.is(asked.length, 1);
});

test('R4.7 a port that lost its carrier while it was held back, and is back much later, is shut again', (t) => {
  const { expectable, held } = crowds();
  expectable.set('A2', 5_000);
  t.true(held.holdBack('A2', 0));
  t.true(held.holdBack('A2', 60_000));
});

test('a port that must not be shut is not counted as held back', (t) => {
  const { expectable, held } = crowds({ refuse: true });
  expectable.set('A2', 5_000);
  t.false(held.holdBack('A2', 0));
});

test('bounceFrom: never', (t) => {
  const { asked, expectable, held } = crowds({ from: Number.POSITIVE_INFINITY });
  expectable.set('A2', 1_000_000);
  t.false(held.holdBack('A2', 0));
  t.deepEqual(asked, []);
});
