import { type Address, addressBytes, type Mac, makePrefix, prefixContains } from './address.ts';
import type { Instant } from './clock.ts';

/** A network interface as the kernel reports it. */
export interface Port {
  readonly name: string;
  readonly ifindex: number;
  readonly mac: Mac | undefined;
  readonly mtu: number;
  /** IFF_UP: the operator's (or our) wish. */
  readonly adminUp: boolean;
  /** IFLA_CARRIER: the medium. Up means adminUp && carrier. */
  readonly carrier: boolean;
  /** Held down for a protocol's reason (IFLA_PROTO_DOWN), ours or another's, whatever `adminUp` says. */
  readonly protoDown?: boolean;
  /** Master (bridge, bond) ifindex, 0 when none. */
  readonly master: number;
  readonly kind: string | undefined;
  /** Of a VRF: the table in which the routes of its members are. */
  readonly vrfTable?: number;
  /** Another name of it that people use (SONiC's alias). */
  readonly alias?: string;
  readonly addresses: readonly { readonly address: Address; readonly prefixLength: number }[];
}

/** Who says by LLDP (IEEE 802.1AB) that he is at the other end of a port's cable. Others' words: see `heardText`. */
export interface PortNeighbour {
  readonly systemName: string;
  readonly portId: string;
  readonly portDescription?: string;
  readonly chassisId?: string;
}

/** What a stranger says of himself, fit for a terminal and a log: without control characters, and not long. */
export function heardText(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '').slice(0, 255);
}

export interface PortChange {
  readonly name: string;
  /** undefined: the interface came into being. */
  readonly before: Port | undefined;
  /** undefined: the interface is gone. */
  readonly after: Port | undefined;
  /** When the kernel's message reached our socket. */
  readonly at: Instant;
}

/** Nobody keeps it shut, neither by admin state nor by protodown. */
export const isOpen = (port: Port): boolean => port.adminUp && port.protoDown !== true;

export const isUp = (port: Port | undefined): boolean => port !== undefined && isOpen(port) && port.carrier;

/** `address` lies in one of the port's own subnets. */
export function onLink(port: Port, address: Address): boolean {
  return port.addresses.some((own) => prefixContains(makePrefix(addressBytes(own.address), own.prefixLength), address));
}

/** Reads the ports of the box. */
export interface LinkState {
  port(name: string): Port | undefined;
  portByIndex(ifindex: number): Port | undefined;
  ports(): Iterable<Port>;
  /** Listeners run in the turn in which the kernel's message was read. Returns the unsubscriber. */
  onChange(listener: (change: PortChange) => void): () => void;
}

/** One port of a batch is unknown, or was refused. */
export class PortError extends Error {
  readonly port: string;

  constructor(port: string, reason: string, options?: ErrorOptions) {
    super(`${port}: ${reason}`, options);
    this.name = 'PortError';
    this.port = port;
  }
}

/**
 * Opens and shuts ports. One call is one batch; it resolves when the kernel has acknowledged every port. An
 * AggregateError of nothing but PortErrors says that the ports which it does not name were set.
 */
export interface PortDriver {
  setAdmin(ports: readonly string[], up: boolean): Promise<void>;
}
