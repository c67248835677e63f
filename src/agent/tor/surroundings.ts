import type { BfdSockets } from '../../bfd/index.ts';
import type { BgpOptions } from '../../bgp/index.ts';
import type { HostRoutesOptions } from '../../hostroutes/index.ts';
import type { Address } from '../../model/address.ts';
import type { GuardMemory } from '../../netlink/frames/index.ts';
import type {
  Belonging,
  FabricRules,
  FabricRulesOptions,
  HandoffOptions,
  HandoffTable,
  KeptAddresses,
  Kernel,
  Login,
  RepairOptions,
  RouteWatch,
  ShadowTableOptions,
  TcpSession,
} from '../../netlink/index.ts';
import type { OspfOptions } from '../../ospf/index.ts';
import type { StateStore } from '../../portlink/index.ts';
import type { LldpSource } from '../lldp/index.ts';
import type { MemoryStore } from '../memory-store.ts';
import type { RepairKernel } from './repair/repair.ts';
import type { Room } from './room.ts';
import type { ShadowKernel } from './standing-by.ts';

export type { Room } from './room.ts';

/** Of routes to hosts that another switch claims above us; the tables of shadows and of repair are the next two. */
export const FABRIC_TABLE = 20_100;

/** What the switch role needs of the kernel adapter; `Kernel` fits. */
export interface SwitchKernel
  extends Pick<
    Kernel,
    | 'port'
    | 'portByIndex'
    | 'ports'
    | 'onChange'
    | 'setAdmin'
    | 'watchCarriers'
    | 'hostRoutes'
    | 'learnedRoutes'
    | 'counters'
    | 'close'
  > {
  readonly neighbours: Pick<Kernel['neighbours'], 'all' | 'onNeighbour'> & Partial<Pick<Kernel['neighbours'], 'weed'>>;
  readonly fdb: Pick<Kernel['fdb'], 'portOf'> & Partial<Pick<Kernel['fdb'], 'onFdb'>>;
  /** Where the ports can be lost from sight while the agent runs; called at once when they are. */
  onBlind?(listener: (blind: boolean, reason: string) => void): () => void;
  /** Of ports that aren't the kernel's to shut: shut though the operator wants it up. undefined: it is the kernel's. */
  isShut?(name: string): boolean | undefined;
  /** Gateways of the routes through an interface, default routes first. */
  gatewaysVia?(ifindex: number): Promise<readonly Address[]>;
  /** Where the box itself keeps what LLDP says; absent: lldpd is asked. */
  readonly lldp?: LldpSource;
  /** Who is logged in, and by which port; `also`: sessions that are known otherwise. */
  logins?(also: readonly TcpSession[], placeOf: (peer: Address) => string | undefined): Promise<readonly Login[]>;
  /** Rejects where there can be none; `onArrival`: the first packet for an address came there. */
  waitingRoom(onArrival: (address: Address) => void): Promise<Room>;
  /** Where packets for hosts that we stand by for can be told from all others; absent: we stand by for nobody. */
  shadowTable?(options: ShadowTableOptions): ShadowKernel;
  /** Where what comes from the fabric can be told from all else; absent: no host's route yields to another's claim. */
  fabricRules?(
    options: FabricRulesOptions,
  ): Pick<FabricRules, 'ready' | 'strict' | 'configure' | 'counters' | 'leave' | 'close'>;
  /** Of which rules of ours another program takes some out again and again. */
  contestedRules?(): readonly string[];
  /** What an earlier life had there that this one doesn't want. */
  removeShadows?(protocol: number): Promise<void>;
  /** Where a server whose link has failed can be reached through the other switch; rejects where that can't be had. */
  repairPath?(options: RepairOptions): Promise<RepairKernel>;
  /** Where ports that are shut lose addresses; absent: they do not. */
  keepAddresses?(memory: GuardMemory): Pick<KeptAddresses, 'follow' | 'leave' | 'close'>;
  /** What an earlier life left of it. */
  removeRepair?(protocol: number, memory: GuardMemory): Promise<void>;
  /** Where another daemon can be handed the hosts, and its routes seen. */
  handoffTable?(options: HandoffOptions): HandoffTable;
  watchRoutes?(): Promise<RouteWatch>;
  /** Removes routes of ours that an earlier configuration had elsewhere. */
  removeStrays?(belongings: readonly Belonging[]): Promise<number>;
}

/**
 * Everything else of the machine that decides what the agent does, so that a simulation can replay it: TCP, packet
 * and raw sockets, chance, the date, the disk. What is absent is the machine's own.
 */
export interface Surroundings {
  readonly transport?: NonNullable<BgpOptions['transport']>;
  readonly openPort?: NonNullable<HostRoutesOptions['openPort']>;
  readonly openOspfSocket?: NonNullable<OspfOptions['openSocket']>;
  readonly bfdSockets?: BfdSockets;
  readonly random?: () => number;
  /** ms since 1970. */
  readonly wallClock?: () => number;
  readonly portState?: StateStore;
  readonly hostMemory?: MemoryStore;
  readonly drainMemory?: MemoryStore;
  /** Where OSPF's adjacencies are kept; with surroundings but without this they are not. */
  readonly ospfMemory?: NonNullable<OspfOptions['memory']>;
  readonly hopMemory?: MemoryStore;
  readonly bfdMemory?: MemoryStore;
}
