/**
 * Stories of seeds whose switches stand by for each other: what holds without shadows holds with them, and what holds of
 * shadows (invariants.ts). `SEEDS=1000 FIRST_SEED=5000 ava test/simulation/shadows.test.ts` plays others.
 */
import test from 'ava';
import { play } from './story.ts';

const FIRST = Number(process.env.FIRST_SEED ?? 1);
const SEEDS = Number(process.env.SEEDS ?? 40);
const LAST_LINES = 60;

test.serial(
  'R4.5 R4.6 R4.7 with shadow routes, whatever befalls: the real one is better, and no shadow outlives it',
  async (t) => {
    t.timeout(60_000 + SEEDS * 5_000);
    const failed: number[] = [];
    const shadows = { begun: 0, served: 0, turns: 0 };
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      const outcome = await play(seed, { shadow: true });
      shadows.begun += outcome.shadows.begun;
      shadows.served += outcome.shadows.served;
      shadows.turns += outcome.shadows.turns;
      if (outcome.violations.length === 0) continue;
      failed.push(seed);
      if (failed.length === 1)
        t.log([`seed ${seed}: ${outcome.violations.join('; ')}`, ...outcome.story.slice(-LAST_LINES)].join('\n'));
    }
    t.log(
      `${shadows.begun} shadows, of which ${shadows.served} became real ones; ${shadows.turns} groups came together`,
    );
    t.deepEqual(failed, [], 'seeds whose story went wrong');
    t.true(
      shadows.begun > 3 * SEEDS && shadows.served > SEEDS / 4 && shadows.turns > SEEDS / 10,
      JSON.stringify(shadows),
    );
  },
);
