/**
 * The host role in the control API (api.ts): its tables, and what follows them.
 *
 * | request                                     | query  | body             | answer                     |
 * | ------------------------------------------- | ------ | ---------------- | -------------------------- |
 * | GET /v1/host                                |        |                  | HostStatusView             |
 * | GET /v1/host/networks                       |        |                  | {networks: NetworkView[]}  |
 * | GET /v1/host/instances                      | network |                 | {instances: InstanceView[]} |
 * | GET /v1/host/remotes                        | network |                 | {remotes: RemoteView[]}    |
 * | GET /v1/host/services                       |        |                  | {services: ServiceView[]}  |
 * | GET /v1/host/rules                          |        |                  | {rules: RuleView[]}        |
 * | GET /v1/host/snat                           |        |                  | {snat: SnatView[]}         |
 * | GET /v1/host/policy                         |        |                  | PolicyView                 |
 * | POST /v1/host/networks ... snat (add)       | dryRun, set | keys of the file, origin | HostChangeResult |
 * | DELETE /v1/host/networks/NAME ... rules/NAME | dryRun |                 | HostChangeResult           |
 * | DELETE /v1/host/remotes/NETWORK/HOST        | dryRun |                  | HostChangeResult           |
 * | DELETE /v1/host/snat/NETWORK/PREFIX         | dryRun |                  | HostChangeResult           |
 * | PATCH /v1/host/policy                       | dryRun | default, initiate | HostChangeResult          |
 * | GET /v1/host/neighbours, cache, flows, stats, peers | flows: limit |     | of the part that keeps them |
 *
 * With `set=1` what has the same name is exchanged. A change is applied and written back to the configuration file, or
 * neither; with `origin: cni` (instances alone) it is kept in the state directory instead. A change that the table takes and
 * the kernel refuses stands: `refused` says what the kernel said, and it is tried again.
 */
import type { Address, Mac, Prefix } from '../model/address.ts';
import type { Encapsulation, OverlayOrigin } from '../model/overlay.ts';
import type { IsoTime } from './api.ts';

export interface NetworkView {
  readonly name: string;
  readonly vni: number;
  readonly subnet: Prefix;
  readonly gateway?: Address;
  readonly encapsulation: Encapsulation;
  /** Of an instance's interface: what the underlay carries, less the tunnel's headers. */
  readonly mtu: number;
  readonly instances: number;
  readonly remotes: number;
  /** Networks that it is not routed to, having addresses in common. */
  readonly overlaps: readonly string[];
}

export interface InstanceView {
  readonly name: string;
  readonly network: string;
  readonly address: Address;
  readonly mac?: Mac;
  readonly interface: string;
  readonly origin: OverlayOrigin;
  /** Of its interface: `absent`: there is none of that name yet; `elsewhere`: it is in another bridge than its network's. */
  readonly state: 'up' | 'down' | 'absent' | 'elsewhere';
}

export interface RemoteView {
  readonly host: Address;
  readonly network: string;
  readonly addresses: readonly Prefix[];
  readonly origin: OverlayOrigin;
}

export interface ServiceView {
  readonly name: string;
  readonly network: string;
  readonly address: Address;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  readonly balance: 'random' | 'least-loaded';
  readonly backends: readonly BackendView[];
}

/** `weight`: its share of new connections, `connections`: those that it has; absent where nobody counts. */
export interface BackendView {
  readonly address: Address;
  readonly port: number;
  readonly healthy?: boolean;
  readonly weight?: number;
  readonly connections?: number;
}

/** In the words of the file. */
export interface RuleView {
  readonly name: string;
  readonly network?: string;
  readonly direction: 'in' | 'out' | 'both';
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  readonly ports: readonly string[];
  readonly sourcePorts: readonly string[];
  readonly tcpFlags?: { readonly set: readonly string[]; readonly of: readonly string[] };
  readonly action?: 'allow' | 'deny';
  readonly rate?: string;
  /** By both paths; absent where nobody counts. */
  readonly packets?: number;
  readonly bytes?: number;
}

/** `rules` in the order in which they are judged: most specific first. */
export interface PolicyView {
  readonly default: 'allow' | 'deny';
  readonly initiate: 'both' | 'inside';
  readonly rules: readonly RuleView[];
}

export interface SnatView {
  readonly network: string;
  readonly to: Prefix;
  readonly address: Address;
}

export interface HostStatusView {
  readonly underlay: {
    readonly address: Address;
    readonly device: string;
    readonly state: 'up' | 'down' | 'absent';
    readonly mtu?: number;
  };
  readonly networks: number;
  readonly instances: { readonly total: number; readonly up: number };
  readonly remotes: number;
  readonly services: number;
  readonly rules: number;
  readonly policy: { readonly default: 'allow' | 'deny'; readonly initiate: 'both' | 'inside' };
  readonly fastPath: 'off' | 'tunnel' | 'rewrite';
  readonly encryption: 'off' | 'available' | 'overlap' | 'strict';
  readonly parts: readonly PartView[];
}

/** What follows the table. */
export interface PartView {
  readonly name: string;
  /** `following`: the kernel has what the table says; `behind`: it refused, and is asked again; `absent`: not in use. */
  readonly state: 'following' | 'behind' | 'absent';
  readonly since?: IsoTime;
  readonly reason: string;
  /** What it says of itself. */
  readonly detail?: Readonly<Record<string, string | number | boolean>>;
}

export interface HostChangeResult {
  readonly dryRun: boolean;
  /** In plain words and in order: `instance c2 added` ... */
  readonly actions: readonly string[];
  /** What the kernel said against it, by part. */
  readonly refused: readonly string[];
}
