/**
 * `./run simulate` plays a thousand seeds; `SEEDS=1000 FIRST_SEED=5000 ava test/simulation/stories.test.ts` does it here;
 * `./run simulate --seed n --story` prints everything that happened in one.
 */
import test from 'ava';
import { Coverage } from './calls.ts';
import { type Outcome, play } from './story.ts';

const FIRST = Number(process.env.FIRST_SEED ?? 1);
const SEEDS = Number(process.env.SEEDS ?? 150);
const LAST_LINES = 60;

test.serial(
  'R4.5 R4.6 R4.7 whatever befalls the two switches, the fabric leads to every server and no port stays shut',
  async (t) => {
    t.timeout(60_000 + SEEDS * 5_000);
    const failed: number[] = [];
    const coverage = new Coverage();
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      const outcome = await play(seed);
      coverage.add(outcome.coverage);
      if (outcome.violations.length === 0) continue;
      failed.push(seed);
      if (failed.length === 1) t.log(told(outcome));
    }
    for (const line of coverage.lines()) t.log(line);
    t.deepEqual(failed, [], 'seeds whose story went wrong');
    // Death strikes one call in a story or none: only many stories have it everywhere.
    const missing = coverage.missing().filter((each) => SEEDS >= 1_000 || !each.endsWith('death'));
    if (SEEDS >= 150) t.deepEqual(missing, [], 'calls that no fault has hit');
  },
);

test.serial('one seed, one story: it replays exactly', async (t) => {
  t.timeout(5 * 60_000);
  for (const seed of [FIRST, FIRST + 7, FIRST + 23]) {
    const once = await play(seed);
    const again = await play(seed);
    t.is(again.digest, once.digest, `seed ${seed}`);
    t.deepEqual(again.story, once.story);
    t.true(once.happenings > 1_000);
  }
  const [one, another] = [await play(FIRST), await play(FIRST + 1)];
  t.not(one.digest, another.digest);
});

function told({ seed, violations, story }: Outcome): string {
  return [`seed ${seed}: ${violations.join('; ')}`, ...story.slice(-LAST_LINES)].join('\n');
}
