import { setTimeout as pause } from 'node:timers/promises';
import { CommandFailure, EXIT } from './errors.ts';

/** `--watch`: again and again until Ctrl-C. An agent that never answered is an error; one that is gone is waited for. */
export async function watch(seconds: number, show: () => Promise<void>): Promise<never> {
  process.once('SIGINT', () => process.exit(0));
  let seen = false;
  for (;;) {
    try {
      await show();
      seen = true;
    } catch (error) {
      // A restart of the agent is what one may be watching for.
      if (!seen || !(error instanceof CommandFailure) || error.exitCode !== EXIT.unreachable) throw error;
      process.stderr.write(`${error.message}\n`);
    }
    await pause(seconds * 1000);
  }
}
