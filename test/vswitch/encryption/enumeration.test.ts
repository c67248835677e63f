import test from 'ava';
import { enumerate } from './enumeration.ts';

for (const policy of ['available', 'strict'] as const) {
  test(`R0.8 from every state of two ends and a network that keeps a packet back: equal versions lead to valid and valid, ${policy}`, (t) => {
    const { states, checked, rounds } = enumerate(policy, 1);
    t.true(states > 20_000 && checked > 5000, `${states} states, ${checked} checked`);
    t.true(rounds <= 3, `${rounds} rounds`);
    t.log(`${states} states, ${checked} with equal versions, at most ${rounds} rounds`);
  });
}
