/** Keys that had gone and are back with the very same octets: what was recorded under them before is worth nothing. */
import test from 'ava';
import { A, B, SaidKeys } from './hosts.ts';
import { bothAtV1, data, states, text } from './story.ts';

test('a version that goes and comes back with the very same octets: other salts, and no recording is accepted', async (t) => {
  const pair = await bothAtV1('overlap');
  const { a, b } = pair;
  a.keys.issue(2);
  b.keys.issue(2);
  pair.run(50);
  pair.flow(() => a, 0, 10);
  pair.run(200);
  const recorded = pair.capture.filter((one) => text(one) === 'encrypted V2');
  t.is(recorded.length, 10);
  // B's file was open to others for a moment.
  b.keys.only(1);
  pair.run(50);
  b.keys.issue(2);
  pair.run(100);
  t.deepEqual(states(pair), ['valid', 'valid']);
  const got = pair.got(b).length;
  for (const one of recorded) b.worker.receive(one);
  t.is(pair.got(b).length, got);
  pair.flow(() => a, 100, 10);
  pair.flow(() => b, 100, 10);
  pair.run(200);
  t.is(pair.got(b).length, got + 10);
  t.is(pair.got(a).length, 10);
  t.is(data(pair, a).at(-1), 'encrypted V2');
});

test('a version that goes, then the agent begins anew, then it comes back: the recording of before is not accepted either', async (t) => {
  for (const policy of ['overlap', 'strict'] as const) {
    const pair = await bothAtV1(policy);
    const { a } = pair;
    for (const { keys } of [pair.a, pair.b]) keys.issue(2);
    pair.run(50);
    pair.flow(() => a, 0, 10);
    pair.run(200);
    const recorded = pair.capture.filter((one) => text(one) === 'encrypted V2');
    t.is(recorded.length, 10);
    pair.b.keys.only(1);
    pair.run(50);
    await pair.b.encryption.close({ keep: true });
    // With the time of issue that it had.
    const keys = new SaidKeys();
    keys.issue(1);
    keys.issue(2);
    pair.b = await pair.host(B, A, pair.b, keys);
    pair.run(3000);
    t.deepEqual(states(pair), ['valid', 'valid'], policy);
    const got = pair.got(pair.b).length;
    for (const one of recorded) pair.b.worker.receive(one);
    t.is(pair.got(pair.b).length, got, policy);
    pair.flow(() => a, 100, 10);
    pair.flow(() => pair.b, 100, 10);
    pair.run(200);
    t.is(pair.got(pair.b).length, got + 10);
    t.is(pair.got(pair.a).filter(({ number }) => number >= 100).length, 10);
  }
});

test('R0.1 more rotations than are remembered: nothing is agreed upon anew; octets of one of the last that come back are another key', async (t) => {
  const pair = await bothAtV1('overlap');
  const { a, b } = pair;
  const versionOf = (number: number): number => (number % 7) + 1;
  for (let number = 1; number <= 400; number++) {
    for (const { keys } of [a, b]) keys.issue(versionOf(number), number);
    if (number === 300) pair.flow(() => a, 0, 5);
    pair.run(30);
  }
  const age = () => pair.a.encryption.view()[0]!.age;
  t.deepEqual(states(pair), ['valid', 'valid']);
  t.true(age() > 11_000, 'this life has lasted from the beginning');
  const recorded = pair.capture.filter((one) => text(one).startsWith('encrypted'));
  t.is(recorded.length, 5);
  for (const { keys } of [a, b]) keys.issue(versionOf(300), 300);
  pair.run(3000);
  t.true(age() <= 3000, 'other salts');
  const got = pair.got(b).length;
  for (const one of recorded) b.worker.receive(one);
  t.is(pair.got(b).length, got);
  t.deepEqual(states(pair), ['valid', 'valid']);
});
