import type { Address, Family } from '../../model/address.ts';
import { ipv4ToNumber } from '../../model/address.ts';
import type { BgpError } from '../codec/errors.ts';
import { bgpError, CODE, OPEN } from '../codec/errors.ts';
import type { Capability, GracefulRestartCapability, OpenMessage } from '../codec/messages.ts';
import { AFI, AS_TRANS, familyOfAfi, SAFI_PORT_FACTS, SAFI_UNICAST } from '../codec/messages.ts';

export interface OpenConfig {
  readonly localAs: number;
  /** `external`: any but ours. */
  readonly remoteAs: number | 'external';
  readonly routerId: Address;
  /** Milliseconds. */
  readonly hold: number;
  readonly keepalive: number;
  /** What an OPEN sent now says of restarts; absent: only that End-of-RIB is sent and understood. */
  readonly restart?: (() => RestartWords | undefined) | undefined;
  /** What an OPEN sent now says beyond what routers usually say; absent: nothing. */
  readonly extras?: (() => OpenExtras) | undefined;
}

export interface OpenExtras {
  /** Facts of ports are offered. */
  readonly portFacts: boolean;
  /** We only listen. */
  readonly observer: boolean;
}

/** RFC 4724 §3, for all families alike. */
export interface RestartWords {
  /** R bit. */
  readonly restarting: boolean;
  /** Milliseconds. */
  readonly restartTime: number;
  /** F bit: the kernel's routes outlived what was before this session. */
  readonly forwarding: boolean;
}

/** What the neighbour promised for the case that it restarts. */
export interface NeighborRestart {
  readonly restarting: boolean;
  /** Milliseconds. */
  readonly restartTime: number;
  /** Families it restarts gracefully, with the F bit. */
  readonly families: ReadonlyMap<Family, boolean>;
}

/** What both OPENs together say. */
export interface Negotiated {
  readonly remoteAs: number;
  readonly remoteId: Address;
  /** Milliseconds; 0: neither timer runs (RFC 4271 §4.2). */
  readonly hold: number;
  readonly keepalive: number;
  readonly fourOctetAs: boolean;
  readonly routeRefresh: boolean;
  readonly families: ReadonlySet<Family>;
  /** Both offered facts of ports. */
  readonly portFacts: boolean;
  /** The neighbour only listens. */
  readonly observer: boolean;
  /** Undefined without the capability: then it may not send End-of-RIB either (RFC 4724 §3). */
  readonly restart: NeighborRestart | undefined;
}

export function ourOpen(config: OpenConfig): OpenMessage {
  const capabilities: Capability[] = [
    { code: 'multiprotocol', afi: AFI.ipv4, safi: SAFI_UNICAST },
    { code: 'multiprotocol', afi: AFI.ipv6, safi: SAFI_UNICAST },
    { code: 'route-refresh' },
    { code: 'four-octet-as', asn: config.localAs },
    ourRestart(config.restart?.()),
  ];
  const extras = config.extras?.();
  if (extras?.portFacts) capabilities.push({ code: 'multiprotocol', afi: AFI.ipv4, safi: SAFI_PORT_FACTS });
  if (extras?.observer) capabilities.push({ code: 'observer' });
  return {
    type: 'OPEN',
    version: 4,
    myAs: config.localAs > 0xffff ? AS_TRANS : config.localAs,
    holdTime: Math.ceil(config.hold / 1000),
    identifier: config.routerId,
    capabilities,
  };
}

/** RFC 4724 §3: without families it only says that End-of-RIB is sent and understood. */
function ourRestart(words: RestartWords | undefined): GracefulRestartCapability {
  if (!words) return { code: 'graceful-restart', restarting: false, restartTime: 0, families: [] };
  const { restarting, restartTime, forwarding } = words;
  const families = [AFI.ipv4, AFI.ipv6].map((afi) => ({ afi, safi: SAFI_UNICAST, forwarding }));
  return { code: 'graceful-restart', restarting, restartTime: Math.round(restartTime / 1000), families };
}

/** RFC 4271 §6.2, RFC 6793 §4.1, RFC 6286, RFC 5492. */
export function negotiate(open: OpenMessage, config: OpenConfig): Negotiated | BgpError {
  if (open.version !== 4) {
    return bgpError(CODE.open, OPEN.unsupportedVersion, 'open_version', Uint8Array.of(0, 4));
  }
  const fourOctet = open.capabilities.find((capability) => capability.code === 'four-octet-as');
  const remoteAs = fourOctet?.asn ?? open.myAs;
  const wanted = config.remoteAs === 'external' ? remoteAs !== config.localAs : remoteAs === config.remoteAs;
  if (!wanted || remoteAs === 0) return bgpError(CODE.open, OPEN.badPeerAs, 'open_peer_as');
  const sameAs = config.remoteAs === config.localAs;
  if (open.identifier === '0.0.0.0' || (sameAs && open.identifier === config.routerId)) {
    return bgpError(CODE.open, OPEN.badIdentifier, 'open_identifier');
  }
  if (open.holdTime === 1 || open.holdTime === 2) {
    return bgpError(CODE.open, OPEN.unacceptableHoldTime, 'open_hold_time');
  }
  const hold = Math.min(open.holdTime * 1000, config.hold);
  const multiprotocol = open.capabilities.filter((capability) => capability.code === 'multiprotocol');
  const families = multiprotocol
    .map(({ afi, safi }) => familyOfAfi(afi, safi))
    .filter((family) => family !== undefined);
  return {
    remoteAs,
    remoteId: open.identifier,
    hold,
    // §4.4: not more often than once a second, and at most a third of the hold time.
    keepalive: hold === 0 ? 0 : Math.max(1000, Math.min(config.keepalive, hold / 3)),
    fourOctetAs: fourOctet !== undefined,
    routeRefresh: open.capabilities.some((capability) => capability.code === 'route-refresh'),
    // RFC 4760 §8: a speaker without the capability speaks IPv4 unicast.
    families: new Set<Family>(multiprotocol.length === 0 ? [4] : families),
    portFacts:
      (config.extras?.().portFacts ?? false) &&
      multiprotocol.some(({ afi, safi }) => afi === AFI.ipv4 && safi === SAFI_PORT_FACTS),
    observer: open.capabilities.some(({ code }) => code === 'observer'),
    restart: restartOf(open),
  };
}

function restartOf(open: OpenMessage): NeighborRestart | undefined {
  // RFC 4724 §3: of several the last counts.
  const said = open.capabilities.findLast((capability) => capability.code === 'graceful-restart');
  if (!said) return undefined;
  const families = new Map<Family, boolean>();
  for (const { afi, safi, forwarding } of said.families) {
    const family = familyOfAfi(afi, safi);
    if (family) families.set(family, forwarding);
  }
  return { restarting: said.restarting, restartTime: said.restartTime * 1000, families };
}

/**
 * RFC 4271 §6.8 with RFC 6286 §2.3's tie-break: whose connection survives a collision. Both ends come to the same
 * answer, as each compares the same two pairs.
 */
export function collisionWinner(config: OpenConfig, remoteId: Address): 'ours' | 'theirs' {
  const local = ipv4ToNumber(config.routerId);
  const remote = ipv4ToNumber(remoteId);
  if (local === remote) return config.localAs > Number(config.remoteAs) ? 'ours' : 'theirs';
  return local > remote ? 'ours' : 'theirs';
}
