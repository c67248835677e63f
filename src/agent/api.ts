import type { SessionView as BfdSession } from '../bfd/index.ts';
import type { RouteView as BgpRoute, ServerView as BgpServer, SessionView as BgpSession } from '../bgp/index.ts';
import type { PlaceView } from '../gateway/index.ts';
import type { Address, Mac } from '../model/address.ts';
import type { ClaimLevel } from '../model/hosts.ts';
import type { PortNeighbour } from '../model/ports.ts';
import type {
  InterfaceView as OspfInterface,
  LsaView as OspfLsa,
  NeighborView as OspfNeighbor,
} from '../ospf/index.ts';
import type { HostStatusView } from './host-api.ts';

/**
 * The control API: HTTP/1.1 with JSON bodies over a Unix socket. Types only, shared by the server in the agent and by
 * the client of the commands, so that a field has one name. Those of the gateway's map are in map-api.ts, those of
 * the host role in host-api.ts.
 *
 * | request                                   | query                    | body                | answer            |
 * | ----------------------------------------- | ------------------------ | ------------------- | ----------------- |
 * | GET /v1/status                            |                          |                     | StatusView        |
 * | GET /v1/hosts                             | port, prefix             |                     | HostView[]        |
 * | POST /v1/hosts/sweep                      |                          |                     | SweepView         |
 * | POST /v1/hosts/clear                      | dryRun                   | ClearRequest        | ClearView         |
 * | GET /v1/portlink                          |                          |                     | GroupView[]       |
 * | GET /v1/portlink/NAME                     |                          |                     | GroupView         |
 * | PUT /v1/portlink/NAME (add)               | dryRun                   | PortLinkSettings    | ChangeResult      |
 * | PATCH /v1/portlink/NAME (set)             | dryRun                   | PortLinkSettings    | ChangeResult      |
 * | DELETE /v1/portlink/NAME (remove)         | dryRun                   |                     | ChangeResult      |
 * | POST /v1/portlink/NAME/hold               | dryRun                   | HoldRequest         | ChangeResult      |
 * | POST /v1/portlink/NAME/release            | dryRun                   |                     | ChangeResult      |
 * | GET /v1/drain                             |                          |                     | DrainView         |
 * | POST /v1/drain                            | dryRun, login            | DrainRequest        | DrainView, DrainPlan |
 * | POST /v1/drain/stop                       |                          |                     | DrainView         |
 * | POST /v1/undrain                          | dryRun                   | DrainRequest        | DrainView, UndrainPlan |
 * | GET /v1/ospf/neighbors, lsdb, interfaces  |                          |                     | Ospf*View[]       |
 * | GET /v1/bgp/summary, neighbors, routes    | routes: prefix           |                     | Bgp*View          |
 * | GET /v1/bfd                               |                          |                     | BfdSessionView[]  |
 * | GET /v1/map                               | address                  |                     | MapRowView[]      |
 * | GET /v1/map/switches                      |                          |                     | MapSwitchView[]   |
 * | GET /v1/map/history                       | address                  |                     | MapHistoryView[]  |
 * | GET /v1/events                            | since, follow            |                     | EventView[]       |
 * | GET /v1/failovers                         | last                     |                     | FailoverView[]    |
 * | GET /v1/config                            |                          |                     | RunningConfigView |
 * | POST /v1/reload                           |                          |                     | ReloadResult      |
 * | POST /v1/restart                          |                          |                     | RestartResult     |
 * | GET /v1/counters                          |                          |                     | CountersView      |
 *
 * Booleans in a query are `1` or absent. `GET /v1/events?follow=1` answers `application/x-ndjson`: one EventView a line,
 * first those after `since` (a `seq`), then new ones until either side closes; an idle stream carries an empty line now
 * and then. Every answer that isn't 2xx is an ErrorBody: 400 bad request, 404 no such thing, 409 in the wrong state,
 * 422 settings refused, 500 ours, 503 not ready (or this part isn't configured).
 *
 * A change of a port-link group is applied and written back to the configuration file, or neither.
 */

export interface ErrorBody {
  readonly error: { readonly message: string; readonly remedy?: string };
}

export type Role = 'tor' | 'gateway' | 'host';

/** Wall-clock time, ISO 8601 with milliseconds and `Z`. */
export type IsoTime = string;

// ------------------------------------------------------------------ status

export interface StatusView {
  readonly role: Role;
  readonly version: string;
  readonly pid: number;
  readonly uptimeMs: number;
  /** Of roles that speak routing protocols. */
  readonly routerId?: string;
  readonly configFile: string;
  readonly uplinks: readonly UplinkView[];
  readonly groups: readonly Pick<GroupView, 'name' | 'state' | 'since' | 'reason' | 'dryRun'>[];
  readonly sessions: readonly SessionView[];
  /** Of a switch its hosts, of a gateway those of its map, of a host its instances. */
  readonly hosts: {
    readonly total: number;
    readonly byState: Readonly<Partial<Record<HostStateName | PlaceView['state'], number>>>;
  };
  readonly lastFailover?: FailoverView;
  /** Present while ports are, or are being, drained. */
  readonly drain?: DrainView;
  /** Present with `shadow.repair`. */
  readonly repair?: RepairView;
  /** Of the host role. */
  readonly host?: HostStatusView;
  /** Things that need the operator, in plain words. */
  readonly warnings: readonly string[];
}

export interface RepairView {
  /** Hosts of ours that have a backup route into a tunnel. */
  readonly ready: number;
  /** Hosts that have left us, and whose packets go through a tunnel until the gateway has moved. */
  readonly inUse: number;
  /** Where the tunnels end. */
  readonly via: readonly Address[];
}

export interface UplinkView {
  readonly port: string;
  readonly up: boolean;
  readonly reason: string;
  readonly lldp?: readonly LldpView[];
  /** Its own, without link-local ones. */
  readonly addresses?: readonly Address[];
}

/** Who says by LLDP that he is at the other end of a port; absent where nobody does. */
export type LldpView = PortNeighbour;

export interface SessionView {
  readonly protocol: 'ospf' | 'bgp' | 'bfd';
  readonly peer: string;
  readonly interface?: string;
  /** The RFC's name: `Full`, `Established`, `Up` ... */
  readonly state: string;
  /** The protocol's goal is reached (Full, or 2-Way where no adjacency is due; Established; Up). */
  readonly up: boolean;
  readonly since: IsoTime;
}

// ------------------------------------------------------------------ hosts

/** What a sweep, that has just begun, will do at most. */
export interface SweepView {
  readonly interfaces: number;
  /** IPv4; an IPv6 prefix is one question to all nodes. */
  readonly addresses: number;
  readonly questions: number;
  readonly seconds: number;
}

/** Without an address: of all hosts. */
export interface ClearRequest {
  readonly address?: string;
}

export interface ClearView {
  readonly dryRun: boolean;
  /** Whose moves counted against them. */
  readonly hosts: readonly {
    readonly address: Address;
    readonly port: string;
    /** It was called a duplicate and stayed where it was. */
    readonly held: boolean;
    /** How long the last hold was (ms); 0: none. */
    readonly hold: number;
    readonly moves: number;
    /** Somebody claimed it who was not it: so long (ms) whoever claims it waits until it is silent; 0: nobody did. */
    readonly suspicion: number;
  }[];
}

export interface HostSourceView {
  /** `static`, `bgp`, `kernel`, `arp` (ND too) or `neighbour`; `fabric`: of a shadow. */
  readonly source: string;
  /** 1 is the most trusted, 5 the least; 6: heard at no port of ours. */
  readonly rank: number;
  readonly ageMs: number;
  /** In plain words: what exactly was seen or heard, and where. */
  readonly evidence: string;
}

export type HostStateName = 'reachable' | 'probing' | 'gone' | 'duplicate' | 'shadow';

export interface HostView {
  readonly address: Address;
  /** Of a shadow: empty. */
  readonly port: string;
  readonly interface: string;
  /** null: never heard here. */
  readonly mac: Mac | null;
  /** Why it is believed: who told us, the freshest first. */
  readonly sources: readonly HostSourceView[];
  /** One sentence: why it is in this state. */
  readonly why: string;
  readonly state: HostStateName;
  /** Since it came to this port. */
  readonly ageMs: number;
  /** Since any source was heard last. */
  readonly heardMs: number;
  readonly level: ClaimLevel;
  /** Who else announces the address in the fabric: router id or BGP next hop, and how strongly. */
  readonly rivals: readonly { readonly from: string; readonly level: ClaimLevel }[];
  /** Of its port. */
  readonly lldp?: readonly LldpView[];
  /** Names of the announcers that hold it: `ospf`, `bgp`, `kernel`. */
  readonly announcedBy: readonly string[];
  /** A backup route leads into the tunnel to the switch that stands by for it. */
  readonly repair?: { readonly via: Address };
}

// ------------------------------------------------------------------ port-link groups

export type GroupStateName = 'disabled' | 'startup' | 'up' | 'shut' | 'recovering' | 'held';

/** A group's keys as in the configuration file: durations as text (`5s`), port lists may hold ranges. All optional in PATCH. */
export interface PortLinkSettings {
  readonly description?: string;
  readonly enabled?: boolean;
  readonly uplinks?: readonly string[];
  readonly downlinks?: readonly string[];
  readonly direction?: 'uplink' | 'downlink' | 'both';
  readonly minUplinks?: number;
  readonly upWhen?: readonly ('carrier' | 'adjacency' | 'nexthop' | 'default-route' | 'bfd')[];
  readonly nexthops?: readonly string[];
  /** `all`, a number of ports, or `N%`. */
  readonly shut?: 'all' | number | `${number}%`;
  readonly priority?: readonly string[];
  readonly deferDelay?: string;
  readonly recoveryDelay?: string;
  readonly autoRecover?: boolean;
  readonly startupDelay?: string;
  readonly dryRun?: boolean;
  readonly onStop?: 'leave' | 'reopen';
  readonly shutUplinks?: boolean;
  readonly allowManagementPort?: boolean;
}

export interface GroupView {
  readonly name: string;
  readonly description: string;
  readonly state: GroupStateName;
  /** Set while `held`. */
  readonly held?: 'open' | 'shut';
  readonly since: IsoTime;
  /** One sentence: why it is in this state. */
  readonly reason: string;
  readonly dryRun: boolean;
  readonly uplinks: readonly {
    readonly port: string;
    readonly up: boolean;
    readonly lldp?: readonly LldpView[];
    readonly verdicts: readonly { readonly condition: string; readonly ok: boolean; readonly reason: string }[];
  }[];
  readonly downlinks: readonly {
    readonly port: string;
    readonly adminUp: boolean;
    readonly carrier: boolean;
    readonly shutByUs: boolean;
    readonly lldp?: readonly LldpView[];
    /** Shut for planned work (`peerless drain`), whatever the group says. */
    readonly drained?: true;
    /** When we shut it; present with `shutByUs`. */
    readonly since?: IsoTime;
  }[];
  /** With defaults filled in. */
  readonly config: Required<PortLinkSettings>;
}

export interface HoldRequest {
  readonly state: 'open' | 'shut';
}

export interface ChangeResult {
  readonly dryRun: boolean;
  /** What was done, or with `dryRun` would be, in plain words and in order: `shut A1`, `withdraw 10.10.10.2/32` ... */
  readonly actions: readonly string[];
  /** The group afterwards (with `dryRun`: as it is); null when it is gone. */
  readonly group: GroupView | null;
}

// ------------------------------------------------------------------ drain

/** `partial`: some ports are shut, some are not, and nothing is going on; `reason` says why. */
export type DrainPhaseName = 'none' | 'draining' | 'drained' | 'partial' | 'undraining';

/** Durations as text (`1s`). Without `ports` and `groups`: all ports towards servers. */
export interface DrainRequest {
  readonly ports?: readonly string[];
  readonly groups?: readonly string[];
  readonly pause?: string;
  readonly timeout?: string;
  readonly force?: boolean;
}

export interface DrainPortStatus {
  readonly port: string;
  /** `waiting` for its turn, `moving`, `shut`, `returning`, `open` again, or `kept`: not drained, `reason` says why. */
  readonly state: 'waiting' | 'moving' | 'shut' | 'returning' | 'open' | 'kept';
  /** Hosts that were there; how many of them were seen to be announced by somebody else; how many are back. */
  readonly hosts: number;
  readonly moved: number;
  readonly returned: number;
  /** Not seen anywhere else. */
  readonly unmoved: readonly Address[];
  /** From its beginning until it was shut or open. */
  readonly ms?: number;
  readonly reason: string;
}

export interface DrainView {
  readonly phase: DrainPhaseName;
  readonly since?: IsoTime;
  readonly reason: string;
  /** Of all that is announced: GRACEFUL_SHUTDOWN (RFC 8326) and the worst metric while `lowered`. */
  readonly preference: 'normal' | 'lowered';
  readonly settings: { readonly pauseMs: number; readonly timeoutMs: number; readonly force: boolean };
  readonly ports: readonly DrainPortStatus[];
}

/** What a drain would do, in its order. */
export interface DrainPlan {
  readonly preference: 'lowered' | 'unchanged';
  readonly ports: readonly {
    readonly port: string;
    /** `otherPath`: who else announces it now. Empty is normal for a server with a standby link. */
    readonly hosts: readonly { readonly address: Address; readonly otherPath: readonly string[] }[];
  }[];
  readonly warnings: readonly string[];
}

/** What an undrain would do, in its order. */
export interface UndrainPlan {
  readonly preference: 'normal' | 'unchanged';
  /** Of those that a drain has shut. `reason`: why it would not be opened. */
  readonly ports: readonly { readonly port: string; readonly opened: boolean; readonly reason: string }[];
  readonly warnings: readonly string[];
}

// ------------------------------------------------------------------ OSPF, BGP, BFD
// The domains' own views; an Instant of the agent's clock means nothing to a client and becomes wall-clock time.
// JSON leaves out what is undefined.

export type OspfNeighborView = Omit<OspfNeighbor, 'since'> & { readonly since: IsoTime };
export type OspfInterfaceView = OspfInterface;
export type OspfLsaView = OspfLsa;

export type BgpNeighborView = Omit<BgpSession, 'since'> & {
  readonly since: IsoTime;
  /** Present in the session of a server that announces itself. */
  readonly server?: Pick<BgpServer, 'port' | 'accepted' | 'refused' | 'lastRefused'>;
};
export type BgpRouteView = BgpRoute;

export interface BgpSummaryView {
  readonly asn: number;
  readonly routerId: string;
  readonly neighbors: readonly BgpNeighborView[];
}

export type BfdSessionView = Omit<BfdSession, 'since'> & {
  readonly since: IsoTime;
  /** What falls with it. */
  readonly clients: readonly ('ospf' | 'bgp')[];
};

// ------------------------------------------------------------------ events and failovers

export type Severity = 'debug' | 'info' | 'warning' | 'error';

export interface EventView {
  /** Counts up by one from the agent's start. */
  readonly seq: number;
  readonly time: IsoTime;
  /** CLOCK_MONOTONIC, microseconds: for differences only. */
  readonly monotonicUs: number;
  /** Dotted: `link.down`, `host.moved`, `portlink.shut`, `bgp.established` ... */
  readonly type: string;
  readonly severity: Severity;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/**
 * One failover as a timeline. Steps in order of time, `us` in microseconds after the kernel's message reached us:
 * `link event` (0), `host table`, `ospf first byte`, `ospf last byte`, `bgp first byte`, `bgp last byte`, `ports shut`,
 * `kernel routes`.
 */
export interface FailoverView {
  readonly id: number;
  readonly time: IsoTime;
  readonly cause: string;
  readonly port?: string;
  /** Addresses withdrawn or announced. */
  readonly hosts: number;
  readonly steps: readonly { readonly name: string; readonly us: number }[];
}

// ------------------------------------------------------------------ configuration, counters

export interface RunningConfigView {
  readonly file: string;
  readonly loadedAt: IsoTime;
  /** The configuration in the file's own shape, defaults filled in; secrets are `<redacted>`. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** POST /v1/restart: the agent that answers ends at once, with nothing withdrawn. */
export interface RestartResult {
  readonly pid: number;
  readonly uptimeMs: number;
}

export interface ReloadResult {
  /** In plain words, empty when nothing had changed: `portLink fabric: recoveryDelay 5s -> 10s`. */
  readonly changes: readonly string[];
  /** Changes that only a restart of the agent brings into effect. */
  readonly needsRestart: readonly string[];
}

/** Part (`ospf`, `bgp`, `hostroutes`, `netlink` ...) -> counter (`received.hello`, `discarded.checksum`) -> value. */
export type CountersView = Readonly<Record<string, Readonly<Record<string, number>>>>;
