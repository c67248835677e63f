/**
 * `./run simulate [--seeds N] [--seed FIRST]`: plays stories and prints those that went wrong. A seed replays exactly, with
 * `--story` everything that happened in it is printed.
 */
import { parseArgs } from 'node:util';
import { Coverage } from './calls.ts';
import { play } from './story.ts';

const LAST_LINES = 60;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    seed: { type: 'string', default: '1' },
    story: { type: 'boolean', default: false },
  },
});
const first = Number(values.seed);
const seeds = values.story ? 1 : Number(values.seeds);
if (!Number.isSafeInteger(first) || !Number.isSafeInteger(seeds) || first < 0 || seeds < 1) {
  console.error('simulate: --seeds and --seed take whole numbers');
  process.exit(2);
}
if (values.story) process.env.STORY = 'all';

const coverage = new Coverage();
const failed: number[] = [];
const begun = Date.now();
let happenings = 0;
let played = 0;
let enough = false;
// What was played until then is told.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => (enough = true));
for (let seed = first; seed < first + seeds && !enough; seed++) {
  const outcome = await play(seed);
  coverage.add(outcome.coverage);
  happenings += outcome.happenings;
  played++;
  if (outcome.violations.length === 0) continue;
  failed.push(seed);
  console.log(`seed ${seed}: ${outcome.violations.join('; ')}`);
  if (failed.length === 1 && !values.story) console.log(outcome.story.slice(-LAST_LINES).join('\n'));
}
const seconds = ((Date.now() - begun) / 1_000).toFixed(0);
if (!values.story) {
  console.log(`\n${coverage.lines().join('\n')}`);
  const missing = coverage.missing();
  if (missing.length > 0 && played >= 150) console.log(`never hit: ${missing.join(', ')}`);
}
const well = played - failed.length;
console.log(`\n${well} of ${played} seeds well, ${happenings} happenings in ${seconds} s`);
if (failed.length > 0) console.log(`wrong: ${failed.join(' ')}`);
process.exit(failed.length > 0 ? 1 : 0);
