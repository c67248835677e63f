import type { Log } from '../../model/log.ts';

export interface RehearsalReport {
  readonly slices: number;
  /** Host routes that arrived at the other end of the stage, and that went again. */
  readonly announced: number;
  readonly withdrawn: number;
  /** Milliseconds of real time, and the longest slice. */
  readonly took: number;
  readonly longest: number;
}

/** Past MinLSArrival, so that no resend waits. Milliseconds of virtual time. */
export const PAUSE = 1_200;
/** Virtual time in which sessions come up, and of it in one slice. */
const SESSIONS = 30_000;
const SLICE = 500;

export interface Performed {
  heard(): { readonly announced: number; readonly withdrawn: number };
  close(): Promise<void>;
}

/**
 * What was optimized for objects of the stage is thrown away with them, so the stage is kept: some megabytes, and nothing
 * in it moves.
 */
let kept: Performed | undefined;

/** Resolves when the play is over or `signal` has ended it; never rejects. */
export async function perform<Stage extends Performed>(
  build: () => Promise<Stage>,
  play: (stage: Stage) => Iterator<void>,
  log: Log,
  signal: AbortSignal,
): Promise<RehearsalReport | undefined> {
  const began = performance.now();
  let slices = 0;
  let longest = 0;
  try {
    const stage = await build();
    for (const script = play(stage); !signal.aborted; slices++) {
      const from = performance.now();
      if (script.next().done) break;
      longest = Math.max(longest, performance.now() - from);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await stage.close();
    kept = stage;
    const { announced, withdrawn } = kept.heard();
    const report = { slices, announced, withdrawn, took: performance.now() - began, longest };
    log.debug(report, 'failovers rehearsed');
    return report;
  } catch (error) {
    log.warn({ err: error }, 'the rehearsal of failovers failed: the first real one will be slower than the others');
    return undefined;
  }
}

/** Sessions come up, or end. */
export function* settle(stage: { pass(duration: number): void }): Generator<void> {
  for (let elapsed = 0; elapsed < SESSIONS; elapsed += SLICE) {
    stage.pass(SLICE);
    yield;
  }
}
