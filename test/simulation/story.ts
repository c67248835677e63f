/** One seed from beginning to end. */
import type { Coverage } from './calls.ts';
import { Faults } from './faults.ts';
import { Monitor } from './invariants.ts';
import { quietEnd } from './quiet-end.ts';
import type { Scene } from './scene.ts';
import { SIDES } from './server.ts';
import { World } from './world.ts';

const CALM_START = 5_000;
const TROUBLE = 30_000;
/** Longer than everything that has to come to an end by itself: probes, settling, searches, damping, daily chatter. */
const PEACE = 60_000;

export interface Outcome {
  readonly seed: number;
  readonly violations: readonly string[];
  readonly story: readonly string[];
  readonly digest: string;
  readonly happenings: number;
  readonly coverage: Coverage;
  /** How often a switch began to stand by for a host, and how often that host came. */
  readonly shadows: { readonly begun: number; readonly served: number; readonly turns: number };
}

/** `scene`: instead of what the seed would draw. */
export async function play(seed: number, scene: Partial<Scene> = {}): Promise<Outcome> {
  const world = new World(seed, { scene });
  world.story(JSON.stringify(world.scene));
  world.story(JSON.stringify(world.base));
  const monitor = new Monitor(world);
  const faults = new Faults(world);
  world.gateway.start();
  for (const side of SIDES) world.agents.start(side);
  monitor.begin();
  await world.run(CALM_START);
  if (world.violations.length === 0) {
    faults.begin();
    await world.run(TROUBLE);
  }
  if (world.violations.length === 0) {
    faults.mendAll();
    monitor.pace = 250;
    await world.run(PEACE);
  }
  if (world.violations.length === 0) quietEnd(world);
  for (const side of SIDES) monitor.countShadows(side);
  const outcome = {
    seed,
    violations: world.violations,
    story: world.lines,
    digest: world.digest(),
    happenings: world.happenings,
    coverage: world.coverage,
    shadows: {
      ...monitor.shadows,
      turns: SIDES.reduce((sum, side) => sum + world.tors[side].box.shadows.turns, 0),
    },
  };
  for (const side of SIDES) world.agents.crash(side);
  return outcome;
}
