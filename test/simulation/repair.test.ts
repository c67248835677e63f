/**
 * Stories of seeds whose switches have a repair tunnel to each other: the shadows' rules hold as before, no backup outlives
 * its host by more than a gateway needs, and in the end each host has one. `SEEDS=1000 FIRST_SEED=5000 ava
 * test/simulation/repair.test.ts` plays others.
 */
import test from 'ava';
import { play } from './story.ts';

const FIRST = Number(process.env.FIRST_SEED ?? 1);
const SEEDS = Number(process.env.SEEDS ?? 30);
const LAST_LINES = 60;

test.serial(
  'R4.5 with a repair tunnel, whatever befalls: no backup outlives its margin, killed agents or not',
  async (t) => {
    t.timeout(60_000 + SEEDS * 5_000);
    const failed: number[] = [];
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      const { violations, story } = await play(seed, { shadow: true, repair: true });
      if (violations.length === 0) continue;
      failed.push(seed);
      if (failed.length === 1)
        t.log([`seed ${seed}: ${violations.join('; ')}`, ...story.slice(-LAST_LINES)].join('\n'));
    }
    t.deepEqual(failed, [], 'seeds whose story went wrong');
  },
);
