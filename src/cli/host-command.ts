import { Flags } from '@oclif/core';
import type { HostChangeResult } from '../agent/host-api.ts';
import { AgentCommand, CommandFailure, EXIT } from './base-command.ts';
import type { AgentClient, Query } from './client.ts';

export const hostDryRun = Flags.boolean({ description: 'say what would be done, and do nothing' });

export const replaceFlag = Flags.boolean({ description: 'change the one of that name, if there is one' });

export const networkFlag = Flags.string({ description: 'its network', required: true, helpValue: 'NAME' });

export const inNetworkFlag = Flags.string({ description: 'only those of this network', helpValue: 'NAME' });

/** Comma-separated, repeatable: `--port 23 --port 80-90,443`. `fileWord`: what the file calls it, which is understood too. */
export const manyFlag = (fileWord: string, description: string, helpValue: string, required = false) =>
  Flags.string({ description, helpValue, multiple: true, delimiter: ',', required, aliases: [fileWord] });

/** A command that asks an agent with role: host. */
export abstract class HostCommand extends AgentCommand {
  protected async ask<T>(flags: { readonly socket: string }, path: string, query?: Query): Promise<T> {
    return otherRole(() => this.client(flags).get<T>(`/v1/host${path}`, query));
  }

  protected async change(
    flags: { readonly socket: string },
    method: 'POST' | 'PATCH' | 'DELETE',
    path: string,
    query: Query,
    body?: Readonly<Record<string, unknown>>,
  ): Promise<HostChangeResult> {
    const client: AgentClient = this.client(flags);
    const result = await otherRole(() =>
      client.send<HostChangeResult>(method, `/v1/host/${path}`, query, body && given(body)),
    );
    if (result.dryRun) this.log('Dry run: nothing was changed. This would be done:');
    for (const action of result.actions) this.log(result.dryRun ? `  ${action}` : action);
    if (result.actions.length === 0) this.log(result.dryRun ? '  nothing' : 'Nothing to do.');
    for (const refusal of result.refused) this.logToStderr(`peerless: not yet, it is tried again: ${refusal}`);
    if (result.refused.length > 0) this.endWith(EXIT.no);
    return result;
  }
}

/** What was not given is not in the request: the agent has the defaults. */
function given(body: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(body).filter(([, value]) => value !== undefined && !(Array.isArray(value) && value.length === 0)),
  );
}

async function otherRole<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof CommandFailure) || !error.message.startsWith('no such path')) throw error;
    throw new CommandFailure(
      EXIT.no,
      'this agent keeps no virtual networks',
      'Ask the one with role: host; --socket names it.',
    );
  }
}

export const segment = (...parts: readonly string[]): string => parts.map(encodeURIComponent).join('/');
