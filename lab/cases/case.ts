/**
 * What a case is: data, and for each of its phases one thing that is done to the lab. To add one: a file beside this,
 * its name in `names.ts`, its value in `index.ts`.
 *
 * `labRun` drives a case so: the ToRs get the case's settings and daemons (restarted for it, unless it has none of its
 * own), `prepare`, then each phase in order: the probe counts, `act`, wait until G's FIB is as the phase says, a trail,
 * judge. Then `restore`, the lab must be at home again, and the ToRs get back what they were.
 */
import type { Hands } from '../hands.ts';
import type { ProcessRecord } from '../processes.ts';
import type { PhaseRun } from '../results.ts';
import { isOurs, type LabState, type TorKind } from '../state.ts';
import type { ServerName, TorName } from '../topology/plan.ts';
import type { AgentConfiguration } from '../tor/peerless.ts';
import type { TorSettings } from '../tor/today.ts';
import type { CaseName } from './names.ts';

export type { CaseName } from './names.ts';

/** `fault` and `back` where nothing says otherwise. */
export type PhaseName = string;

/** A server, or a host that a case brings. */
export type HostName = string;

/** Somebody with an address that is announced as a host route. */
export interface LabHost {
  readonly name: HostName;
  readonly address?: string;
  readonly address6?: string;
  readonly mac: string;
  /** The ToRs that G's FIB names for it while nothing is broken; `[]`: it is not there yet; `any`: don't look. */
  readonly home: readonly TorName[] | 'any';
  /** Where it lives: the node (a name for `namespaceOf`) and the device that has the address. */
  readonly node: string;
  readonly device: string;
  /** The probe sends to it and from it. */
  readonly probed?: boolean;
}

export interface CasePhase {
  readonly name: PhaseName;
  /** What the table says; default: the case's title for the first phase, `CASE: way back` for `back`. */
  readonly title?: string;
  /** Does what the phase is about. @returns when it began, ms of CLOCK_MONOTONIC (`monotonic()`) */
  readonly act: (hands: Hands) => number | Promise<number>;
  /** Hosts that G's FIB leads elsewhere than home after it: to these ToRs, `[]` nowhere, `any`: don't look. */
  readonly leads?: Readonly<Record<HostName, readonly TorName[] | 'any'>>;
  /** Hosts whose traffic may suffer; default the case's. All others must lose nothing, and their routes not change even for a moment. */
  readonly concerned?: readonly HostName[];
  /** Nobody at all may lose a packet. */
  readonly lossless?: boolean | ((state: LabState) => boolean);
  /** Milliseconds for G's FIB; default 15 s for the first phase, 40 s for the others. */
  readonly patience?: number;
  /** Milliseconds to go on counting after G's FIB is as expected; default 1 s, 2 s for `back`. */
  readonly trail?: number;
  /** G loses the link or the neighbour: with slow LSA timers it must not come back at once (see `trailOf`). */
  readonly adjacencyLost?: true;
  /** Looks further. @returns what is wrong, in plain words */
  readonly verify?: (hands: Hands, run: PhaseRun) => readonly string[] | Promise<readonly string[]>;
}

export interface LabCase {
  readonly name: CaseName;
  readonly title: string;
  /** Driven also when nobody says which cases. */
  readonly standard?: true;
  /** Hosts whose traffic may suffer, where a phase doesn't say otherwise. */
  readonly concerned: readonly HostName[];
  readonly phases: readonly CasePhase[];
  /** Hosts beside the four servers; `prepare` makes them, `restore` takes them away. */
  readonly hosts?: readonly LabHost[];
  /** Kinds of ToR that it can be driven with (`peerless`: whatever its settings); default: all when it has no settings or daemons of its own, else ours. */
  readonly tors?: readonly TorKind[];
  /** Why it can't be driven in this lab; undefined: it can. */
  readonly unfit?: (state: LabState) => string | undefined;
  /** The agent's configuration for this case, from what it is otherwise. */
  readonly settings?: (configuration: AgentConfiguration, tor: TorName) => AgentConfiguration;
  /** Programs that run on each ToR beside the agent; started after it. */
  readonly daemons?: (settings: TorSettings) => Promise<ProcessRecord[]>;
  /** Servers whose both links carry at the same time instead of one that stands by. */
  readonly activeActive?: readonly ServerName[];
  /** G uses equal routes of both ToRs side by side. */
  readonly multipath?: boolean;
  /** G speaks BFD with both ToRs. */
  readonly bfd?: boolean;
  /** Where the servers lead while nothing is broken, when it isn't the worked example's home. */
  readonly home?: Readonly<Partial<Record<ServerName, readonly TorName[]>>>;
  readonly prepare?: (hands: Hands) => void | Promise<void>;
  readonly restore?: (hands: Hands) => void | Promise<void>;
}

/** The ToRs have to be started anew for it. */
export const isVariant = (labCase: LabCase): boolean =>
  labCase.settings !== undefined ||
  labCase.daemons !== undefined ||
  labCase.activeActive !== undefined ||
  labCase.multipath === true ||
  labCase.bfd === true;

export const fits = (labCase: LabCase, kind: TorKind): boolean =>
  labCase.tors?.includes(isOurs(kind) ? 'peerless' : kind) ?? (isOurs(kind) || !isVariant(labCase));

export const isLossless = (phase: CasePhase, state: LabState): boolean =>
  typeof phase.lossless === 'function' ? phase.lossless(state) : phase.lossless === true;
