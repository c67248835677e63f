/** Keeps a list of the announced hosts up to date, for as long as anybody wants it. */
import { setTimeout as pause } from 'node:timers/promises';
import type { EventView, HostView, StatusView } from '../agent/api.ts';
import type { AgentClient } from './client.ts';
import { CommandFailure, EXIT } from './errors.ts';

/** An agent that has just started does not know all its hosts yet: what it says counts from this age on (ms). */
const YOUNG = 5_000;
/** One that does not answer this long (ms) forwards nothing any more: its hosts go. */
export const PATIENCE = 10_000;
const RETRY = 500;

export interface Listing {
  readonly status: StatusView;
  readonly hosts: readonly HostView[];
}

export const listing = async (client: AgentClient, query: Record<string, string | undefined>): Promise<Listing> => ({
  status: await client.get<StatusView>('/v1/status'),
  hosts: await client.get<HostView[]>('/v1/hosts', query),
});

/**
 * Yields whenever something changed that may concern the list; `undefined`: the agent is gone. An agent that is away for
 * a moment (a restart) changes nothing. The first listing must succeed.
 */
export async function* follow(
  client: AgentClient,
  query: Record<string, string | undefined>,
  signal: AbortSignal,
): AsyncGenerator<Listing | undefined> {
  let answered: number | undefined;
  let connected = false;
  let gone = false;
  while (!signal.aborted) {
    try {
      const since = (await client.get<EventView[]>('/v1/events')).at(-1)?.seq ?? 0;
      const first = await listing(client, query);
      connected = true;
      const young = YOUNG - first.status.uptimeMs;
      if (young > 0) {
        await waitFor(young, signal);
        continue;
      }
      yield first;
      gone = false;
      for await (const { type } of client.follow<EventView>('/v1/events', { since }, signal)) {
        if (/^(hosts|link|config)\./.test(type)) yield await listing(client, query);
      }
    } catch (error) {
      if (signal.aborted) return;
      const never = answered === undefined && !connected;
      if (!(error instanceof CommandFailure) || error.exitCode !== EXIT.unreachable || never) throw error;
    }
    if (connected || answered === undefined) answered = Date.now();
    connected = false;
    if (!gone && Date.now() - answered >= PATIENCE) {
      gone = true;
      yield undefined;
    }
    await waitFor(RETRY, signal);
  }
}

/** Also over when the signal says so. */
const waitFor = (milliseconds: number, signal: AbortSignal): Promise<void> =>
  pause(milliseconds, undefined, { signal }).catch(() => undefined);
