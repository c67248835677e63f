import type { Address } from '../../../model/address.ts';
import type { Instant } from '../../../model/clock.ts';

/** `partial`: some ports are shut, some are not, and nothing is going on: stopped, kept by hosts without another path, failed. */
export type DrainPhase = 'none' | 'draining' | 'drained' | 'partial' | 'undraining';

/**
 * `waiting`: its turn has not come. `moving`: shut, its hosts are not all seen elsewhere yet. `shut`: drained.
 * `returning`: asked to open again. `open`: carries its hosts again. `kept`: not shut, or opened again; `reason` says why.
 */
export type DrainPortState = 'waiting' | 'moving' | 'shut' | 'returning' | 'open' | 'kept';

/** Durations in milliseconds. */
export interface DrainSettings {
  /** From one port to the next, and from the lower preference to the first port. */
  readonly pause: number;
  /** How long a port's hosts may take to be seen elsewhere (or to come back). */
  readonly timeout: number;
  /** Ports stay shut although some of their hosts have no other path. */
  readonly force: boolean;
}

export interface DrainOrder extends DrainSettings {
  readonly ports: readonly string[];
  /** All downlinks: the preference of everything that we announce is lowered (undrain: raised) too. */
  readonly whole: boolean;
}

/** What must outlive the agent. */
export interface DrainMemory {
  readonly phase: DrainPhase;
  /** Wall clock, ms since 1970. */
  readonly since: number;
  readonly lowered: boolean;
  readonly ports: readonly { readonly port: string; readonly state: DrainPortState; readonly reason: string }[];
}

/**
 * A host behind a port that is to be moved. `claimed`: somebody else announces it already. `told`: somebody hears of it from
 * us, so whoever has it next can be seen to.
 */
export interface HostThere {
  readonly address: Address;
  readonly claimed: boolean;
  readonly told: boolean;
}

/** What is to be seen of a host whose port is being moved. */
export interface Sighting {
  /** Packets that wait for it here. */
  readonly waiting: number;
  /** The port of ours on which it is alive. */
  readonly port: string | undefined;
}

export type DrainEvent =
  | { readonly type: 'drain' | 'undrain'; readonly order: DrainOrder }
  /** Nothing is begun after the port that is being moved. */
  | { readonly type: 'stop' }
  /** Answers `begin`, in the same turn. */
  | {
      readonly type: 'begun';
      readonly port: string;
      /** The kernel reports it open, as yet. */
      readonly open: boolean;
      readonly hosts: readonly HostThere[];
    }
  /** Answers `reopen` of a port that somebody else keeps shut, for their reason. */
  | { readonly type: 'given'; readonly port: string; readonly reason: string }
  /** The fabric shows that somebody else announces the host, or does no more. */
  | { readonly type: 'claim'; readonly address: Address; readonly claimed: boolean }
  /** The kernel reports the port shut or open. */
  | { readonly type: 'port'; readonly port: string; readonly open: boolean }
  /** It could not be shut or opened, or somebody else opened it. */
  | { readonly type: 'trouble'; readonly port: string; readonly reason: string }
  | { readonly type: 'tick'; readonly seen: ReadonlyMap<Address, Sighting> }
  /** An earlier life of the agent was in the middle of this. Answered by nothing: the driver has shut the ports. */
  | { readonly type: 'restore'; readonly memory: DrainMemory; readonly at: Instant };

export type DrainEffect =
  /** All that is announced becomes less, or again as, preferable. */
  | { readonly type: 'prefer'; readonly low: boolean }
  /** Packets for the hosts of the port wait from now on, then the port is shut. */
  | { readonly type: 'begin'; readonly port: string; readonly reason: string }
  /**
   * These are elsewhere: they are announced no more, and what waits for them goes back to the fabric. `turned`: the
   * gateway uses the other path already; false: it will once we have withdrawn.
   */
  | { readonly type: 'left'; readonly addresses: readonly Address[]; readonly turned: boolean }
  | { readonly type: 'reopen'; readonly port: string }
  /** It was to be shut, or was, and is open: it carries servers, whoever wanted that. */
  | { readonly type: 'free'; readonly port: string; readonly reason: string }
  | {
      readonly type: 'news';
      readonly what: 'phase' | 'port';
      readonly severity: 'info' | 'warning';
      readonly message: string;
      readonly port?: string;
    };

export interface DrainPortView {
  readonly port: string;
  readonly state: DrainPortState;
  /** Hosts that were there when it was begun; how many of them were seen elsewhere, and are back. */
  readonly hosts: number;
  readonly moved: number;
  readonly returned: number;
  /** Nobody else announces them. */
  readonly unmoved: readonly Address[];
  /** From the shutting until the last host was seen elsewhere, or from the opening until it was open; ms. */
  readonly ms: number | undefined;
  readonly reason: string;
}
