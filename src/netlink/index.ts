/**
 * The face of the kernel adapter. Signatures first; the bodies follow in the files of this folder.
 */
import type { Rtnetlink } from 'rtnetlink-ts';
import type { Address, Mac, Prefix } from '../model/address.ts';
import type { Clock, Instant } from '../model/clock.ts';
import type { Announcer, HostDelta, HostRoute, LearnedRoute, WireReport } from '../model/hosts.ts';
import type { Log } from '../model/log.ts';
import type { LinkState, Port, PortChange, PortDriver } from '../model/ports.ts';

export interface KernelOptions {
  /** Name in /run/netns or absolute path; the process itself stays where it is. */
  readonly netns?: string;
  readonly clock?: Clock;
  readonly log?: Log;
  /** Bytes of receive buffer of each subscription socket; default 8 MiB. */
  readonly receiveBuffer?: number;
}

export interface NeighbourEvent {
  readonly ifindex: number;
  readonly address: Address;
  /** undefined while unresolved. */
  readonly mac: Mac | undefined;
  /** NUD_* bits, see `NUD` of rtnetlink-ts. */
  readonly state: number;
  /** REACHABLE, STALE, DELAY, PROBE, PERMANENT or NOARP: the kernel would send with `mac`. */
  readonly usable: boolean;
  /** The entry was written by us (HostRouteInstaller), not heard by the kernel. */
  readonly own: boolean;
  readonly deleted: boolean;
  /** When the kernel's message reached our socket. */
  readonly at: Instant;
}

export interface FdbEvent {
  readonly mac: Mac;
  readonly bridge: number;
  readonly vlan: number | undefined;
  /** Port ifindex before and after; undefined: not known. A move has both. */
  readonly before: number | undefined;
  readonly after: number | undefined;
  readonly at: Instant;
}

export declare class Neighbours {
  /** From the mirror, no system call. */
  all(ifindex?: number): Iterable<NeighbourEvent>;
  get(ifindex: number, address: Address): NeighbourEvent | undefined;
  /** A fresh dump, filtered by the kernel to one interface. */
  read(ifindex: number): Promise<NeighbourEvent[]>;
  onNeighbour(listener: (event: NeighbourEvent) => void): () => void;
}

export declare class ForwardingDatabase {
  /** The port behind which a bridge has learned `mac`; the bridge's own addresses are not given. */
  portOf(mac: Mac, bridgeIfindex: number, vlan?: number): Port | undefined;
  onFdb(listener: (event: FdbEvent) => void): () => void;
}

export interface HostRouteOptions {
  /** Default 201. */
  readonly protocol?: number;
  /** Default 254 (main). */
  readonly table?: number;
  /** Default 1. */
  readonly metric?: number;
}

export interface ReconcileReport {
  readonly kept: number;
  readonly added: number;
  readonly removed: number;
  readonly failed: number;
}

export declare class HostRouteInstaller implements Announcer {
  readonly name: string;
  apply(delta: HostDelta): WireReport;
  /** Resolves when the kernel has answered everything that was applied so far. */
  settled(): Promise<void>;
  /** The host routes with our protocol and table that the kernel holds now (from an earlier run). */
  adopt(): Promise<{ address: Address; ifindex: number }[]>;
  /** Makes the kernel hold exactly `wanted`; equal routes are not touched. */
  reconcile(wanted: Iterable<HostRoute>): Promise<ReconcileReport>;
  /** One unreachable route for each prefix, so that an address that nobody serves never follows the default route. */
  ensureUnreachable(prefixes: readonly Prefix[], metric?: number): Promise<void>;
  /** Removes the unreachable routes and, unless `keepHosts`, all host routes and neighbour entries. */
  leave(options?: { keepHosts?: boolean }): Promise<void>;
  counters(): Readonly<Record<string, number>>;
}

export interface LearnedRouteOptions {
  /** Kernel protocol number (RTA protocol), own to one speaker: e.g. 202 OSPF, 203 BGP. */
  readonly protocol: number;
  readonly table?: number;
  /** Used instead of the route's own metric when given. */
  readonly metric?: number;
}

export declare class LearnedRouteInstaller {
  /** Puts the changes into the kernel in this turn; a route without next hops is removed. */
  update(routes: readonly LearnedRoute[]): void;
  /** Resolves once the kernel has acknowledged `prefix` with its present next hops; rejects when it is removed or after `close`. */
  installed(prefix: Prefix): Promise<void>;
  isInstalled(prefix: Prefix): boolean;
  /** What the kernel holds with our protocol and table now. */
  adopt(): Promise<LearnedRoute[]>;
  /** At restart, once the speaker has converged: exactly `wanted` stays; equal routes are not touched. */
  reconcile(wanted: Iterable<LearnedRoute>): Promise<ReconcileReport>;
  /** Removes all routes. */
  leave(): Promise<void>;
  close(): void;
  counters(): Readonly<Record<string, number>>;
}

export declare class Kernel implements LinkState, PortDriver {
  /** Sockets opened, groups joined and the first picture read. */
  static open(options?: KernelOptions): Promise<Kernel>;
  readonly rtnetlink: Rtnetlink;
  readonly neighbours: Neighbours;
  readonly fdb: ForwardingDatabase;
  port(name: string): Port | undefined;
  portByIndex(ifindex: number): Port | undefined;
  ports(): Iterable<Port>;
  onChange(listener: (change: PortChange) => void): () => void;
  /** The kernel has done it when this returns; the promise carries what it said. Unknown ports reject, after the others were set. */
  setAdmin(ports: readonly string[], up: boolean): Promise<void>;
  /** The ports whose carriers are re-read after every link event (uplinks and downlinks); names may not exist yet. */
  watchCarriers(names: Iterable<string>): void;
  hostRoutes(options?: HostRouteOptions): HostRouteInstaller;
  learnedRoutes(options: LearnedRouteOptions): LearnedRouteInstaller;
  counters(): Readonly<Record<string, number>>;
  /** Closes the sockets; routes stay (use `leave` of the installers first). */
  close(): void;
}
