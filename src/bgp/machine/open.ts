import type { Address, Family } from '../../model/address.ts';
import { ipv4ToNumber } from '../../model/address.ts';
import type { BgpError } from '../codec/errors.ts';
import { bgpError, CODE, OPEN } from '../codec/errors.ts';
import type { Capability, OpenMessage } from '../codec/messages.ts';
import { AFI, AS_TRANS, familyOfAfi, SAFI_UNICAST } from '../codec/messages.ts';

export interface OpenConfig {
  readonly localAs: number;
  readonly remoteAs: number;
  readonly routerId: Address;
  /** Milliseconds. */
  readonly hold: number;
  readonly keepalive: number;
}

/** What both OPENs together say. */
export interface Negotiated {
  readonly remoteId: Address;
  /** Milliseconds; 0: neither timer runs (RFC 4271 §4.2). */
  readonly hold: number;
  readonly keepalive: number;
  readonly fourOctetAs: boolean;
  readonly routeRefresh: boolean;
  readonly families: ReadonlySet<Family>;
  /** The neighbour sends End-of-RIB (RFC 4724 §3). */
  readonly endOfRib: boolean;
}

export function ourOpen(config: OpenConfig): OpenMessage {
  const capabilities: Capability[] = [
    { code: 'multiprotocol', afi: AFI.ipv4, safi: SAFI_UNICAST },
    { code: 'multiprotocol', afi: AFI.ipv6, safi: SAFI_UNICAST },
    { code: 'route-refresh' },
    { code: 'four-octet-as', asn: config.localAs },
    // No families: we keep no forwarding state over a restart, but send and understand End-of-RIB.
    { code: 'graceful-restart', restarting: false, restartTime: 0, families: [] },
  ];
  return {
    type: 'OPEN',
    version: 4,
    myAs: config.localAs > 0xffff ? AS_TRANS : config.localAs,
    holdTime: Math.ceil(config.hold / 1000),
    identifier: config.routerId,
    capabilities,
  };
}

/** RFC 4271 §6.2, RFC 6793 §4.1, RFC 6286, RFC 5492. */
export function negotiate(open: OpenMessage, config: OpenConfig): Negotiated | BgpError {
  if (open.version !== 4) {
    return bgpError(CODE.open, OPEN.unsupportedVersion, 'open_version', Uint8Array.of(0, 4));
  }
  const fourOctet = open.capabilities.find((capability) => capability.code === 'four-octet-as');
  const remoteAs = fourOctet?.asn ?? open.myAs;
  if (remoteAs !== config.remoteAs || remoteAs === 0) return bgpError(CODE.open, OPEN.badPeerAs, 'open_peer_as');
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
    remoteId: open.identifier,
    hold,
    // §4.4: not more often than once a second, and at most a third of the hold time.
    keepalive: hold === 0 ? 0 : Math.max(1000, Math.min(config.keepalive, hold / 3)),
    fourOctetAs: fourOctet !== undefined,
    routeRefresh: open.capabilities.some((capability) => capability.code === 'route-refresh'),
    // RFC 4760 §8: a speaker without the capability speaks IPv4 unicast.
    families: new Set<Family>(multiprotocol.length === 0 ? [4] : families),
    endOfRib: open.capabilities.some((capability) => capability.code === 'graceful-restart'),
  };
}

/**
 * RFC 4271 §6.8 with RFC 6286 §2.3's tie-break: whose connection survives a collision. Both ends come to the same
 * answer, as each compares the same two pairs.
 */
export function collisionWinner(config: OpenConfig, remoteId: Address): 'ours' | 'theirs' {
  const local = ipv4ToNumber(config.routerId);
  const remote = ipv4ToNumber(remoteId);
  if (local === remote) return config.localAs > config.remoteAs ? 'ours' : 'theirs';
  return local > remote ? 'ours' : 'theirs';
}
