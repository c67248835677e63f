import { play } from '/work/main/test/simulation/story.ts';

process.on('unhandledRejection', (e) => console.log('UNHANDLED', e));
const from = Number(process.env.FIRST_SEED ?? 1),
  n = Number(process.env.SEEDS ?? 1);
let bad = 0;
const t0 = performance.now();
let total = 0;
const kinds = new Map<string, number[]>();
for (let seed = from; seed < from + n; seed++) {
  const o = await play(seed);
  total += o.happenings;
  if (o.violations.length) {
    bad++;
    const k = o.violations[0]!.replace(/\d+(\.\d+)*/g, '#')
      .split('\n')[0]!
      .slice(0, 120);
    kinds.set(k, [...(kinds.get(k) ?? []), seed]);
    if (process.env.V) {
      console.log('seed', seed, o.violations.slice(0, 6));
      console.log(o.story.slice(-Number(process.env.V)).join('\n'));
    }
  }
}
console.log({ n, bad, ms: performance.now() - t0, total });
for (const [k, s] of kinds) console.log(s.length, k, s.slice(0, 8).join(','));
process.exit(0);
