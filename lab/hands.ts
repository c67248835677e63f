/** What a case has in its hands: the faults, the ToRs' programs, and the agents' control sockets. */
import type { Faults, Victim } from './faults.ts';
import { startTor, torSettings } from './lab.ts';
import { monotonic } from './monotonic.ts';
import { inNetwork } from './place.ts';
import { gone, type Outcome, outcome, signal, stop } from './processes.ts';
import type { LabState, TorKind } from './state.ts';
import type { TorName } from './topology/plan.ts';
import { agentCommandLine, askAgent, socketOf } from './tor/peerless.ts';
import type { TorSettings } from './tor/today.ts';

export interface Tor extends Victim {
  readonly settings: TorSettings;
  /** @returns when it began */
  signal(name: NodeJS.Signals): number;
  /** SIGTERM, and resolves when its programs have ended. */
  stop(): Promise<void>;
  /** The agent's control API, e.g. `/v1/hosts`; with `body` as POST. @throws Error when it doesn't answer 2xx */
  ask<T>(path: string, body?: unknown): Promise<T>;
  /** `peerless WORDS` as its operator types it. */
  cli(...words: string[]): Promise<Outcome>;
}

export interface Hands {
  readonly state: LabState;
  readonly kind: TorKind;
  readonly faults: Faults;
  /** Host routes that a ToR other than the host's home has announced and not withdrawn: `TOR PROTOCOL ADDRESS`. */
  strayClaims(): Promise<string[]>;
  tor(name: TorName): Tor;
}

export const handsOf = (
  state: LabState,
  kind: TorKind,
  faults: Faults,
  strayClaims: () => Promise<string[]>,
): Hands => ({
  state,
  kind,
  faults,
  strayClaims,
  tor: (name) => torOf(state, kind, name),
});

function torOf(state: LabState, kind: TorKind, name: TorName): Tor {
  const settings = torSettings(state, name);
  const processes = () => state.torProcesses[name];
  const boxProcesses = () => state.boxProcesses?.[name] ?? [];
  const allGone = async (): Promise<void> => {
    if (!(await gone(processes(), 5000))) throw new Error('killed processes are still there');
  };
  return {
    settings,
    processes,
    boxProcesses,
    gone: allGone,
    start: async (afterBoot) => {
      await allGone();
      await startTor(state, name, kind, afterBoot);
    },
    stop: () => stop(processes(), 10_000),
    signal: (what) => {
      const at = monotonic();
      for (const record of processes()) signal(record, what);
      return at;
    },
    ask: <T>(path: string, body?: unknown) => askAgent(settings.directory, path, body) as Promise<T>,
    cli: (...words) =>
      outcome(inNetwork(settings.place, agentCommandLine(words)), { PEERLESS_SOCKET: socketOf(settings.directory) }),
  };
}
