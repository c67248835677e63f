import { setTimeout as sleep } from 'node:timers/promises';
import { Flags } from '@oclif/core';
import type { DrainPortStatus, DrainRequest, DrainView } from '../agent/api.ts';
import { AgentCommand } from './base-command.ts';
import type { AgentClient } from './client.ts';

/** How often the agent is asked how it goes (ms). */
const LOOK = 100;

export const drainFlags = {
  port: Flags.string({ description: 'this port only; may be given several times', multiple: true, helpValue: 'A2' }),
  group: Flags.string({ description: 'the downlinks of this group only', multiple: true, helpValue: 'fabric' }),
  pause: Flags.string({ description: 'from one port to the next', default: '1s', helpValue: '1s' }),
};

export interface DrainFlags {
  readonly port?: readonly string[] | undefined;
  readonly group?: readonly string[] | undefined;
  readonly pause: string;
  readonly timeout?: string | undefined;
  readonly force?: boolean | undefined;
}

export const orderOf = ({ port, group, pause, timeout, force }: DrainFlags): DrainRequest => ({
  ...(port?.length ? { ports: port } : {}),
  ...(group?.length ? { groups: group } : {}),
  pause,
  ...(timeout === undefined ? {} : { timeout }),
  ...(force ? { force } : {}),
});

const isUnderWay = ({ phase }: DrainView): boolean => phase === 'draining' || phase === 'undraining';

/**
 * A command that watches the agent drain or undrain. The work is the agent's: Ctrl-C asks it to stop after the port that
 * is under way, and whoever is gone is not missed.
 */
export abstract class DrainCommand extends AgentCommand {
  /** Each change of a port as a line (JSON: an object) until nothing is under way any more. */
  protected async watch(client: AgentClient, first: DrainView): Promise<DrainView> {
    let interrupted = false;
    const interrupt = (): void => {
      if (interrupted) process.exit(1);
      interrupted = true;
      process.stderr.write('Stopping after this port; once more to leave it to the agent.\n');
      void client.send('POST', '/v1/drain/stop').catch((error: Error) => process.stderr.write(`${error.message}\n`));
    };
    process.on('SIGINT', interrupt);
    const shown = new Map<string, string>();
    try {
      for (let view = first; ; view = await client.get<DrainView>('/v1/drain')) {
        for (const port of view.ports) this.#show(port, shown);
        if (!isUnderWay(view)) return view;
        await sleep(LOOK);
      }
    } finally {
      process.off('SIGINT', interrupt);
    }
  }

  /** The end: in words, or as the last line of JSON. */
  protected conclude(view: DrainView, ...words: string[]): undefined {
    if (this.jsonEnabled()) process.stdout.write(`${JSON.stringify(view)}\n`);
    else for (const line of words) this.log(line);
    return undefined;
  }

  #show(port: DrainPortStatus, shown: Map<string, string>): void {
    const { ms: _, ...rest } = port;
    const text = JSON.stringify(rest);
    if (port.state === 'waiting' || shown.get(port.port) === text) return;
    shown.set(port.port, text);
    process.stdout.write(`${this.jsonEnabled() ? JSON.stringify(port) : portLine(port)}\n`);
  }
}

function portLine({ port, state, hosts, moved, returned, ms, reason }: DrainPortStatus): string {
  const progress =
    state === 'open'
      ? `${returned} of ${hosts} hosts back`
      : hosts === 0
        ? 'no hosts'
        : `${moved} of ${hosts} hosts moved`;
  const time = ms === undefined ? '' : `  ${Math.round(ms)} ms`;
  return `${port}  ${state.padEnd(9)}  ${progress}${time}${reason === '' ? '' : `  ${reason}`}`;
}
