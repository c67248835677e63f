import type { Address, Mac } from './address.ts';

/**
 * What a switch tells the gateway of one of its ports (R4.8, R4.9), in band beside its host routes. How it looks on the
 * wire is in docs/wire.md; the speakers carry it as octets and know nothing of it.
 */
export interface PortFact {
  /** BGP Identifier or OSPF router id of the switch that says so. */
  readonly routerId: Address;
  readonly switchName: string;
  readonly port: string;
  readonly ifindex: number;
  readonly role: 'uplink' | 'downlink';
  /** `shut`: up by the cable as far as known, but kept shut by somebody (the operator, a port-link group, a drain). */
  readonly state: 'up' | 'down' | 'shut';
  /** When the state began, ms since 1970 by the switch's clock. */
  readonly since: number;
  /** One sentence: `A2 lost carrier`, `shut by group fabric: A0 lost carrier`; empty: nothing to say. */
  readonly reason: string;
  /** Of an uplink: its own addresses, by which a gateway knows its next hops. */
  readonly addresses: readonly Address[];
  /** Who is at the other end, as far as known: MACs of hosts heard there, what LLDP says. */
  readonly macs: readonly Mac[];
  readonly lldp?: { readonly systemName: string; readonly portId: string };
}

/** One fact on its way: `key` (at most 64 octets) names the port, `value` says the rest; both are made by src/gateway/codec. */
export interface CarriedFact {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** ifindex of the port, by which OSPF names the LSA; without it, it makes a name of its own from the key. */
  readonly index?: number;
}

/** A carried fact as a speaker heard it; without `value` it was taken back, or the one who said it is gone. */
export interface HeardFact {
  /** BGP Identifier of the session, or advertising router of the LSA: who says so, whatever the octets say. */
  readonly routerId: Address;
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
  /** Why there is none any more: `withdrawn`, `session lost: Hold Timer Expired`, `router unreachable`. */
  readonly reason?: string;
}

/** A speaker that carries facts. `publishFacts` replaces what it was given before, and is cheap where nothing differs. */
export interface FactCarrier {
  publishFacts(facts: readonly CarriedFact[]): void;
}

/** A /32 or /128 as a gateway's speaker heard it (R4.8): one for each switch that announces it. */
export interface HeardHostRoute {
  readonly address: Address;
  /** Who announces it: BGP Identifier or OSPF router id. */
  readonly routerId: Address;
  /** ifindex of the port there behind which the host is; undefined: it does not say. */
  readonly portIndex: number | undefined;
  /** It stands by for the host, and does not have it. */
  readonly shadow: boolean;
  /** False: announced no more. */
  readonly up: boolean;
}
