/** One seed from beginning to end. */
import { Faults } from './faults.ts';
import { Monitor } from './invariants.ts';
import { SIDES } from './server.ts';
import { World } from './world.ts';

const CALM_START = 4_000;
const TROUBLE = 30_000;
/** Longer than everything that has to come to an end by itself: probes, settling, searches, damping, daily chatter. */
const PEACE = 60_000;

export interface Outcome {
  readonly seed: number;
  readonly violations: readonly string[];
  readonly story: readonly string[];
  readonly digest: string;
  readonly happenings: number;
}

export async function play(seed: number): Promise<Outcome> {
  const world = new World(seed);
  const monitor = new Monitor(world);
  const faults = new Faults(world);
  world.gateway.start();
  for (const side of SIDES) world.startAgent(side);
  monitor.begin();
  await world.run(CALM_START);
  if (world.violations.length === 0) {
    faults.begin();
    await world.run(TROUBLE);
  }
  if (world.violations.length === 0) {
    faults.mendAll();
    await world.run(PEACE);
  }
  if (world.violations.length === 0) monitor.quietEnd();
  const outcome = {
    seed,
    violations: world.violations,
    story: world.lines,
    digest: world.digest(),
    happenings: world.happenings,
  };
  for (const side of SIDES) world.crash(side);
  return outcome;
}
