import type { Address, Mac, Prefix } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { HeardFact, HeardHostRoute, PortFact } from '../../model/port-facts.ts';

/** One instant by both clocks: the one that never jumps, and ms since 1970 for what is kept and shown. */
export interface Moment {
  readonly now: Instant;
  readonly wall: number;
}

/** Who carried it; a switch may say the same by both, and is heard as long as one is left. */
export type Source = 'ospf' | 'bgp';

export interface RouteHop {
  /** Port of the gateway. */
  readonly port: string;
  readonly via: Address | undefined;
}

export type MapEvent =
  | { readonly type: 'fact'; readonly source: Source; readonly fact: HeardFact }
  | { readonly type: 'host'; readonly source: Source; readonly route: HeardHostRoute }
  /** A session with this address is one with this switch, or is no more. */
  | {
      readonly type: 'neighbour';
      readonly source: Source;
      readonly address: Address;
      readonly routerId: Address;
      readonly up: boolean;
      /** Why it is not. */
      readonly reason?: string;
    }
  /** The gateway's own way to a host, as its kernel has it; none: it has none. */
  | { readonly type: 'route'; readonly address: Address; readonly nextHops: readonly RouteHop[] }
  /** A port of the gateway. */
  | {
      readonly type: 'port';
      readonly port: string;
      readonly up: boolean;
      /** One sentence: `eth1 lost carrier`; empty while it is up. */
      readonly why: string;
      /** Its own subnets, by which a switch's uplink is known to be at its other end. */
      readonly prefixes: readonly Prefix[];
    };

/**
 * - `up`: announced by the switch, and the gateway's packets go there.
 * - `unheard`: they go there, but nobody hears the switch.
 * - `standby`: announced, but the gateway goes another way.
 * - `shadow`: the switch stands by for the host, which is not there.
 * - `down`: none of these; it was there.
 */
export type PlaceState = 'up' | 'unheard' | 'standby' | 'shadow' | 'down';

export interface PortView {
  readonly port: string;
  readonly state: PortFact['state'];
  /** ms since 1970; by the switch's clock where the switch says it. */
  readonly since: number;
  readonly why: string;
}

export interface PlaceView {
  readonly routerId: Address;
  readonly switchName: string;
  /** `lost`: neither protocol hears it. */
  readonly switchState: 'heard' | 'lost';
  readonly state: PlaceState;
  readonly since: number;
  readonly why: string;
  /** Known from before a restart of the gateway's agent, not heard since. */
  readonly old: boolean;
  readonly gatewayPort?: PortView;
  readonly uplink?: PortView;
  readonly downlink?: PortView;
  /** The server's side of the downlink. */
  readonly macs: readonly Mac[];
  readonly lldp?: { readonly systemName: string; readonly portId: string };
}

export interface MapRow {
  readonly address: Address;
  /** Of the first place. */
  readonly state: PlaceState;
  readonly since: number;
  readonly why: string;
  /** The gateway's route; empty: it has none, or none that works. */
  readonly nextHops: readonly RouteHop[];
  /** Where it is now first, then where it was, the latest first. */
  readonly places: readonly PlaceView[];
}

export interface SwitchView {
  readonly routerId: Address;
  readonly name: string;
  readonly state: 'heard' | 'lost';
  readonly since: number;
  readonly why: string;
  readonly ports: number;
  readonly addresses: number;
}

/** One line of the history. Mutable only in `why`, while it is found out. */
export type HistoryEntry =
  | {
      readonly kind: 'host';
      readonly at: number;
      readonly routerId: Address;
      readonly switchName: string;
      readonly address: Address;
      readonly port?: string;
      readonly uplink?: string;
      readonly gatewayPort?: string;
      /** undefined: first seen there. */
      readonly from?: PlaceState;
      readonly to: PlaceState;
      why: string;
    }
  | {
      readonly kind: 'port';
      readonly at: number;
      readonly routerId: Address;
      readonly switchName: string;
      readonly port: string;
      readonly role: PortFact['role'];
      readonly from?: PortFact['state'];
      readonly to: PortFact['state'];
      why: string;
    }
  | {
      readonly kind: 'switch';
      readonly at: number;
      readonly routerId: Address;
      readonly switchName: string;
      readonly to: 'heard' | 'lost';
      why: string;
    }
  | { readonly kind: 'gateway'; readonly at: number; readonly port: string; readonly to: 'up' | 'down'; why: string };

/** Somebody said what is not his to say, or more than there is room for; told once a minute for each. */
export interface Refusal {
  readonly routerId: Address;
  readonly reason: string;
  readonly message: string;
}

export interface MapLimits {
  readonly switches: number;
  readonly portsPerSwitch: number;
  readonly addressesPerSwitch: number;
  readonly addresses: number;
  /** Of one address, past ones included. */
  readonly places: number;
  readonly history: number;
}

export const LIMITS: MapLimits = {
  switches: 1_024,
  portsPerSwitch: 1_024,
  addressesPerSwitch: 65_536,
  addresses: 131_072,
  places: 8,
  history: 65_536,
};
