import type { Address, Mac } from '../model/address.ts';
import type { Clock, Instant } from '../model/clock.ts';
import type { HostDelta } from '../model/hosts.ts';
import type { Log } from '../model/log.ts';
import type { Port } from '../model/ports.ts';
import type { GuardMemory, PortSocket, PortSocketOptions } from '../netlink/frames/index.ts';
import type { FdbEvent, NeighbourEvent } from '../netlink/index.ts';
import type { Heard, HostCause, HostEffect, HostPolicy } from './machine/types.ts';

/** What hears and asks on one port. */
export type PortEar = Pick<PortSocket, 'ifindex' | 'bridged' | 'multicast' | 'receive' | 'send' | 'dropped' | 'close'> &
  Partial<Pick<PortSocket, 'hasFrames' | 'sendAll' | 'narrow' | 'proxied'>>;
/** Opens it; `onReadable` when frames wait. @throws SystemCallError */
export type OpenPort = (options: PortSocketOptions, onReadable: (ear: PortEar) => void) => PortEar;

/** What the driver needs of the kernel adapter; `Kernel` of src/netlink fits. */
export interface HostKernel {
  port(name: string): Port | undefined;
  portByIndex(ifindex: number): Port | undefined;
  ports(): Iterable<Port>;
  readonly neighbours: {
    all(ifindex?: number): Iterable<NeighbourEvent>;
    onNeighbour(listener: (event: NeighbourEvent) => void): () => void;
    /** See Neighbours.weed; absent: there is nothing that would fill up. */
    weed?(ifindex: number, isStranger: (address: Address, mac: Mac) => boolean): Promise<number>;
  };
  readonly fdb: {
    portOf(mac: Mac, bridgeIfindex: number, vlan?: number): Port | undefined;
    /** Absent: moves between the ports of a bridge are found by ARP alone. */
    onFdb?(listener: (event: FdbEvent) => void): () => void;
  };
}

export interface HostRoutesOptions {
  readonly policy: HostPolicy;
  readonly kernel: HostKernel;
  readonly clock: Clock;
  readonly log: Log;
  /** Where the ports are: a name in /run/netns or an absolute path; absent: where the process is. */
  readonly netns?: string;
  /** Packet sockets when absent. */
  readonly openPort?: OpenPort;
  /** What ports in a storm had before; absent: it does not outlive the process. */
  readonly guards?: GuardMemory;
  /** Spreads probes; default Math.random. */
  readonly random?: () => number;
  /** Runs in the turn of the event, before anything else that follows from it. `at`: when the event reached us. */
  onDelta(delta: HostDelta, cause: HostCause, at: Instant): void;
  /** Everything but deltas and probes: refusals, changes of state, alarms. */
  onEvent(effect: Exclude<HostEffect, { type: 'delta' } | { type: 'probe' }>): void;
}

/** Evidence from a source outside this folder: a server's own BGP session, a kernel routing table. */
export type Report = Omit<Heard, 'type'> & { readonly source: 'bgp' | 'kernel' };
export interface Withdrawal {
  readonly source: 'bgp' | 'kernel';
  readonly address: Address;
  readonly port: string;
}
