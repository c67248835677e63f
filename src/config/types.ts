import type { Address, Mac, Prefix } from '../model/address.ts';
import type {
  OverlayInstance,
  OverlayNetwork,
  OverlayPolicy,
  OverlayRemote,
  OverlayService,
  OverlaySnat,
  OverlayUnderlay,
} from '../model/overlay.ts';

/**
 * The configuration as the domains take it: durations in milliseconds, port lists expanded, addresses canonical,
 * secrets read. The parts are structurally what the domains' options ask for, without importing them.
 */

export interface HostPolicyConfig {
  readonly prefixes: readonly Prefix[];
  readonly ports: readonly string[];
  readonly sources: {
    readonly arp: boolean;
    readonly neighbours: boolean;
    readonly bgp: boolean;
    readonly kernel: boolean;
    readonly static: readonly { readonly address: Address; readonly port: string; readonly mac?: Mac }[];
  };
  readonly probe: { readonly interval: number; readonly retries: number; readonly timeout: number };
  readonly limits: { readonly perPort: number; readonly total: number };
  readonly sweep: { readonly enabled: boolean; readonly rate: number };
  readonly activeActive: boolean | { readonly ports: readonly string[]; readonly prefixes: readonly Prefix[] };
  readonly bindings: readonly {
    readonly address: Address;
    readonly ports?: readonly string[];
    readonly macs?: readonly Mac[];
  }[];
}

export interface HostRoutesConfig {
  /** Everything of a HostPolicy but `ownAddresses`, which the box knows. */
  readonly policy: HostPolicyConfig;
  /** Make-before-break return of hosts, see src/hostroutes/machine/returning.ts. */
  readonly returning: {
    readonly mode: 'learned' | 'always' | 'never';
    readonly wait: number;
    /** Hosts expected behind one port, from which on it is shut again when its carrier is back; Infinity: never. */
    readonly bounceFrom: number;
  };
  /** Servers that announce themselves, when `policy.sources.bgp`. */
  readonly bgp?: { readonly listenRange: Prefix; readonly remoteAs: RemoteAs; readonly defaultOriginate: boolean };
  /** Routes of others to take over, when `policy.sources.kernel`. */
  readonly kernel?: { readonly table: number };
}

export type RemoteAs = number | 'external' | 'internal';

export interface PortLinkGroup {
  readonly name: string;
  readonly description: string;
  readonly enabled: boolean;
  readonly uplinks: readonly string[];
  readonly downlinks: readonly string[];
  readonly direction: 'uplink' | 'downlink' | 'both';
  readonly minUplinks: number;
  readonly upWhen: readonly ('carrier' | 'adjacency' | 'nexthop' | 'default-route' | 'bfd')[];
  /** Empty: found by the agent. */
  readonly nexthops: readonly Address[];
  readonly shut: 'all' | { readonly count: number } | { readonly percent: number };
  readonly priority: readonly string[];
  readonly deferDelay: number;
  readonly recoveryDelay: number;
  readonly autoRecover: boolean;
  readonly startupDelay: number;
  readonly dryRun: boolean;
  readonly onStop: 'leave' | 'reopen';
  readonly shutUplinks: boolean;
  readonly allowManagementPort: boolean;
}

export interface PortDriverConfig {
  readonly driver: 'auto' | 'linux' | 'sonic';
  /** A path or host:port. */
  readonly redis: string;
  readonly method: 'auto' | 'admin' | 'protodown';
  readonly protodownReason: number;
  /** lldpd's socket. */
  readonly lldp: string | null;
}

export type OspfAuthentication =
  | { readonly type: 'simple'; readonly password: string }
  | {
      readonly type: 'md5' | 'hmac-sha-1' | 'hmac-sha-256' | 'hmac-sha-384' | 'hmac-sha-512';
      readonly keyId: number;
      readonly secret: Uint8Array;
    };

export interface OspfInterfaceConfig {
  readonly name: string;
  readonly area: Address;
  readonly network: 'point-to-point' | 'broadcast';
  readonly hello: number;
  readonly dead: number;
  readonly cost: number;
  readonly priority: number;
  readonly bfd: boolean;
  readonly authentication?: OspfAuthentication;
}

export interface OspfConfig {
  readonly interfaces: readonly OspfInterfaceConfig[];
  readonly announce: {
    readonly as: 'external' | 'nssa' | 'stub-link';
    readonly metric: number;
    readonly metricType: 1 | 2;
  };
  /** Absent: switched off. Milliseconds. */
  readonly gracefulRestart?: { readonly gracePeriod: number };
}

export interface BgpNeighborConfig {
  readonly address: Address;
  /** `internal` is our own number here already. */
  readonly remoteAs: number;
  readonly bfd: boolean;
  readonly password?: Uint8Array;
  readonly keepalive: number;
  readonly hold: number;
  readonly connectRetry: number;
  readonly localAddress?: Address;
  readonly port: number;
  readonly passive: boolean;
  readonly ttlSecurity: boolean;
  readonly multihop: boolean;
  readonly maximumPrefixes: number;
  /** False: facts of our ports are neither offered nor taken there. */
  readonly portFacts: boolean;
}

export interface BgpConfig {
  readonly asn: number;
  readonly neighbors: readonly BgpNeighborConfig[];
  readonly announce: { readonly communities: readonly string[] };
  readonly sharedAs: boolean;
  /** Absent: switched off. Milliseconds. */
  readonly gracefulRestart?: { readonly restartTime: number };
}

/** What every role has. */
export interface ProcessConfig {
  readonly control: {
    readonly socket: string;
    readonly metrics: { readonly host: string; readonly port: number } | null;
  };
  readonly stateDirectory: string;
}

/** Of the roles that speak routing protocols. */
export interface CommonConfig extends ProcessConfig {
  readonly routerId: Address;
  readonly ospf?: OspfConfig;
  readonly bgp?: BgpConfig;
  readonly bfd: { readonly interval: number; readonly multiplier: number };
  readonly kernel: {
    readonly table: number;
    readonly protocol: number;
    readonly handoffTable: number | null;
    readonly handoffReader: 'bird' | 'zebra';
  };
}

export interface TorConfig extends CommonConfig {
  readonly role: 'tor';
  readonly hostRoutes: HostRoutesConfig;
  readonly portLink: readonly PortLinkGroup[];
  readonly ports: PortDriverConfig;
  /** Absent: the host name. */
  readonly name?: string;
  readonly portFacts: boolean;
  readonly shadow: ShadowConfig;
}

export interface ShadowConfig {
  readonly enabled: boolean;
  readonly twin?: Address;
  readonly repair: boolean;
  /** ms */
  readonly hold: number;
  /** The kernel's. */
  readonly table: number;
  readonly device: string;
}

export interface GatewayConfig extends CommonConfig {
  readonly role: 'gateway';
  readonly mode: 'observer' | 'router';
  readonly defaultOriginate: boolean;
  readonly map: { readonly history: number; readonly file: string };
}

export type ConnectionFeature =
  | 'source'
  | 'source-port'
  | 'destination'
  | 'destination-port'
  | 'protocol'
  | 'ingress'
  | 'network';

/** Durations in ms. */
export interface FastPathConfig {
  readonly mode: 'off' | 'tunnel' | 'rewrite';
  readonly keyField: 'ip-id' | 'dscp' | 'option';
  /** `receive` is longer than `send`. */
  readonly lifetime: { readonly send: number; readonly receive: number };
  readonly checkInterval: number;
  readonly features: readonly ConnectionFeature[];
  readonly timeouts: { readonly opening: number; readonly established: number; readonly closing: number };
}

/** Durations in ms. */
export interface TunnelNeighboursConfig {
  readonly proactive: boolean;
  readonly poll: number;
  readonly hold: {
    readonly enabled: boolean;
    readonly lifetime: number;
    readonly perNeighbour: number;
    readonly total: number;
  };
  readonly ovs?: { readonly socket: string };
}

export interface EtcdKeysConfig {
  readonly etcd: readonly string[];
  readonly prefix?: string;
  /** PEM files. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string; readonly serverName?: string };
  readonly user?: { readonly name: string; readonly passwordFile: string };
}

export interface EncryptionConfig {
  readonly policy: 'off' | 'available' | 'overlap' | 'strict';
  /** Absent only while the policy is off. */
  readonly keys?: { readonly directory: string } | EtcdKeysConfig;
  /** `auto` is decided by who starts it. */
  readonly backend: 'auto' | 'worker' | 'xfrm';
  readonly versions: number;
  readonly plain: 'esp' | 'vxlan';
  /** UDP. */
  readonly port: number;
  /** UDP ports that flows leave from. */
  readonly sourcePorts: { readonly first: number; readonly count: number };
  /** ms */
  readonly notifyIdle: number;
}

export interface HostConfig extends ProcessConfig {
  readonly role: 'host';
  readonly underlay: OverlayUnderlay;
  readonly networks: readonly OverlayNetwork[];
  readonly instances: readonly OverlayInstance[];
  readonly remotes: readonly OverlayRemote[];
  readonly policy: OverlayPolicy;
  readonly services: readonly OverlayService[];
  readonly snat: readonly OverlaySnat[];
  /** What another has laid out in this kernel belongs to the overlay. */
  readonly adopt: boolean;
  readonly fastPath: FastPathConfig;
  readonly neighbours: TunnelNeighboursConfig;
  readonly encryption: EncryptionConfig;
}

export type Config = TorConfig | GatewayConfig | HostConfig;
