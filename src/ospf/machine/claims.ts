/**
 * Host routes of others, as the fabric shows them: the twin's inside our prefixes, for the host table; all of them, for a
 * gateway. What is said is reported when its LSA is installed, before any route is computed, and withdrawn when the LSA
 * goes or its router can no longer be reached (the LSAs of a dead switch stay in the database for up to an hour).
 *
 * Who stands by for a host claims nothing: a shadow is reported as such, and no shadow follows from it. External LSAs
 * mark it in their tag; a stub link has none, and says it by its metric.
 */
import { LSInfinity, type Lsa, LsaType, lsaAge, MaxAge, RouterLinkType, type U32 } from 'node-ospf-lsa';
import {
  type Address,
  familyOf,
  ipv4FromNumber,
  ipv4ToNumber,
  type Prefix,
  prefixAddress,
  prefixLength,
} from '../../model/address.ts';
import type { ClaimLevel, ForeignClaim, ForeignShadow } from '../../model/hosts.ts';
import type { HeardHostRoute } from '../../model/port-facts.ts';
import { decodeRouteTag } from '../codec/route-tag.ts';
import type { OspfAnnounce } from '../face.ts';
import { baseMetric, isLeaving, shadowMetric } from './metrics.ts';

const HOST_MASK = 0xffffffff;

/** Who hears of it. */
export interface ClaimSink {
  claim(claim: ForeignClaim): void;
  shadow(shadow: ForeignShadow): void;
  route(route: HeardHostRoute): void;
}

/** A host in one LSA. */
interface Said {
  readonly metric: number;
  /** undefined: a stub link. */
  readonly metricType: 1 | 2 | undefined;
  readonly portIndex: number | undefined;
  readonly shadow: boolean;
  /** An address of the announcer's own, where the LSA names one (RFC 3101 §2.3); 0: none. */
  readonly forwarding: U32;
}

/** What was reported last; undefined: nothing stands. */
interface Reported {
  claim: Pick<ForeignClaim, 'level' | 'leaving' | 'endpoint' | 'portIndex'> | undefined;
  shadow: Pick<ForeignShadow, 'endpoint'> | undefined;
  route: Pick<HeardHostRoute, 'portIndex' | 'shadow'> | undefined;
}

interface Host extends Reported {
  readonly router: U32;
  readonly id: U32;
  readonly address: Address;
  /** By the LSA that says so. */
  readonly said: Map<string, Said>;
}

export class Claims {
  #announce: OspfAnnounce;
  #prefixes: readonly { readonly network: number; readonly mask: number }[];
  readonly #hosts = new Map<U32, Map<U32, Host>>();
  /** On how many routers' lists an address is. */
  readonly #announcers = new Map<U32, number>();
  /** Found so by SPF, and silent since. */
  readonly #unreachable = new Set<U32>();
  #reachable: ReadonlySet<U32> = new Set();
  #addresses: ReadonlyMap<U32, readonly U32[]> = new Map();
  /** Tunnel endpoint of each router; it stays the same for as long as it can. */
  readonly #endpoints = new Map<U32, Address>();

  constructor(announce: OspfAnnounce, prefixes: readonly Prefix[]) {
    this.#announce = announce;
    this.#prefixes = networksOf(prefixes);
  }

  /** Other prefixes, or other metrics of ours to compare with. */
  configure(announce: OspfAnnounce, prefixes: readonly Prefix[], sink: ClaimSink): void {
    this.#announce = announce;
    this.#prefixes = networksOf(prefixes);
    for (const hosts of this.#hosts.values()) for (const host of hosts.values()) this.#report(host, sink);
  }

  /** An instance replaces another in the database; either may be missing. `key` names the LSA. */
  lsaChanged(key: string, before: Lsa | undefined, after: Lsa | undefined, sink: ClaimSink): void {
    const old = before ? hostsOf(before) : undefined;
    const fresh = after ? hostsOf(after) : undefined;
    const router = (after ?? before)!.header.advertisingRouter;
    if (old) for (const id of old.keys()) if (!fresh?.has(id)) this.#unsay(router, id, key, sink);
    if (fresh) for (const [id, said] of fresh) this.#say(router, id, key, said, sink);
    // Whoever claims something new is there, whatever the last computation said; its other claims then stand as well.
    if (fresh && fresh.size > 0 && this.#unreachable.delete(router)) {
      for (const host of this.#hosts.get(router)!.values()) this.#report(host, sink);
    }
  }

  /** Somebody else has this address in the database. */
  has(id: U32): boolean {
    return this.#announcers.has(id);
  }

  /** After SPF: who can be reached, and at which addresses of its own (of links to other routers). */
  reachability(reachable: ReadonlySet<U32>, addresses: ReadonlyMap<U32, readonly U32[]>, sink: ClaimSink): void {
    const before = this.#reachable;
    this.#reachable = reachable;
    this.#addresses = addresses;
    for (const [router, hosts] of this.#hosts) {
      const there = reachable.has(router);
      const same = there === before.has(router) && there !== this.#unreachable.has(router);
      if (there) this.#unreachable.delete(router);
      else this.#unreachable.add(router);
      const moved = this.#chooseEndpoint(router);
      if (same && !moved) continue;
      for (const host of hosts.values()) this.#report(host, sink);
    }
    for (const router of this.#endpoints.keys()) if (!this.#hosts.has(router)) this.#endpoints.delete(router);
  }

  #chooseEndpoint(router: U32): boolean {
    const chosen = this.#endpoints.get(router);
    const texts = (this.#addresses.get(router) ?? []).map(ipv4FromNumber);
    if (chosen !== undefined && texts.includes(chosen)) return false;
    const [first] = texts;
    if (first !== undefined) this.#endpoints.set(router, first);
    else this.#endpoints.delete(router);
    return chosen !== first;
  }

  #say(router: U32, id: U32, key: string, said: Said, sink: ClaimSink): void {
    let hosts = this.#hosts.get(router);
    if (!hosts) {
      hosts = new Map();
      this.#hosts.set(router, hosts);
      this.#chooseEndpoint(router);
    }
    let host = hosts.get(id);
    if (!host) {
      const address = ipv4FromNumber(id);
      host = { router, id, address, said: new Map(), claim: undefined, shadow: undefined, route: undefined };
      hosts.set(id, host);
      this.#announcers.set(id, (this.#announcers.get(id) ?? 0) + 1);
    }
    host.said.set(key, said);
    this.#report(host, sink);
  }

  #unsay(router: U32, id: U32, key: string, sink: ClaimSink): void {
    const hosts = this.#hosts.get(router);
    const host = hosts?.get(id);
    if (!hosts || !host) return;
    host.said.delete(key);
    this.#report(host, sink);
    if (host.said.size > 0) return;
    hosts.delete(id);
    if (hosts.size === 0) this.#hosts.delete(router);
    const others = this.#announcers.get(id)! - 1;
    if (others > 0) this.#announcers.set(id, others);
    else this.#announcers.delete(id);
  }

  #report(host: Host, sink: ClaimSink): void {
    const best = this.#best(host.said.values());
    this.#reportClaim(host, this.#unreachable.has(host.router) ? undefined : best, sink);
    this.#reportRoute(host, this.#reachable.has(host.router) ? best : undefined, sink);
  }

  #reportClaim(host: Host, best: Said | undefined, sink: ClaimSink): void {
    const { address, claim: was, shadow: stoodBy } = host;
    const inside = best && this.#inside(host.id) ? best : undefined;
    const endpoint =
      inside && (inside.forwarding ? ipv4FromNumber(inside.forwarding) : this.#endpoints.get(host.router));
    const where = endpoint === undefined ? {} : { endpoint };
    if (inside && !inside.shadow) {
      const leaving = isLeaving(this.#announceOf(inside), inside.metric);
      const { portIndex } = inside;
      const behind = portIndex === undefined ? {} : { portIndex };
      const claim = { level: this.#level(inside), ...(leaving ? { leaving } : {}), ...where, ...behind };
      const same = was && was.level === claim.level && !!was.leaving === leaving && was.endpoint === endpoint;
      if (!same || was.portIndex !== portIndex) {
        host.claim = claim;
        sink.claim({ address, from: ipv4FromNumber(host.router), ...claim });
      }
    } else if (was) {
      host.claim = undefined;
      sink.claim({ address, level: undefined, from: ipv4FromNumber(host.router) });
    }
    if (inside?.shadow) {
      if (stoodBy && stoodBy.endpoint === endpoint) return;
      host.shadow = where;
      sink.shadow({ address, up: true, from: ipv4FromNumber(host.router), ...where });
    } else if (stoodBy) {
      host.shadow = undefined;
      sink.shadow({ address, up: false, from: ipv4FromNumber(host.router) });
    }
  }

  #reportRoute(host: Host, best: Said | undefined, sink: ClaimSink): void {
    const { address, route: was } = host;
    if (best ? was?.portIndex === best.portIndex && was?.shadow === best.shadow : !was) return;
    const { portIndex, shadow } = best ?? was!;
    host.route = best && { portIndex, shadow };
    sink.route({ address, routerId: ipv4FromNumber(host.router), portIndex, shadow, up: best !== undefined });
  }

  /** The strongest; a shadow only where there is nothing else. */
  #best(said: Iterable<Said>): Said | undefined {
    let best: Said | undefined;
    for (const each of said) {
      if (!best || (best.shadow && !each.shadow)) best = each;
      else if (best.shadow === each.shadow && this.#level(each) > this.#level(best)) best = each;
    }
    return best;
  }

  /** Other kinds of metric do not compare with ours: level 0. */
  #level({ metric, metricType }: Said): ClaimLevel {
    const { as, metricType: ours } = this.#announce;
    if (metricType !== (as === 'stub-link' ? undefined : ours)) return 0;
    return Math.min(2, Math.max(0, baseMetric(this.#announce) - metric)) as ClaimLevel;
  }

  #announceOf({ metricType }: Said): OspfAnnounce {
    return { ...this.#announce, as: metricType === undefined ? 'stub-link' : 'external' };
  }

  #inside(id: U32): boolean {
    return this.#prefixes.some(({ network, mask }) => (id & mask) >>> 0 === network);
  }
}

/** The hosts that this instance announces. */
function hostsOf({ header, body }: Lsa): Map<U32, Said> | undefined {
  if (lsaAge(header) >= MaxAge) return undefined;
  if (body.kind === 'external' && (header.type === LsaType.AsExternal || header.type === LsaType.Nssa)) {
    const { mask, metric, metricType, forwardingAddress: forwarding } = body;
    if (mask !== HOST_MASK || metric >= LSInfinity) return undefined;
    const tag = decodeRouteTag(body.tag);
    return new Map([
      [header.linkStateId, { metric, metricType, forwarding, portIndex: tag?.portIndex, shadow: tag?.shadow ?? false }],
    ]);
  }
  if (body.kind !== 'router') return undefined;
  const hosts = new Map<U32, Said>();
  for (const { type, linkData, linkId, metric } of body.links) {
    if (type !== RouterLinkType.Stub || linkData !== HOST_MASK) continue;
    const shadow = metric >= shadowMetric('stub-link');
    hosts.set(linkId, { metric, metricType: undefined, forwarding: 0, portIndex: undefined, shadow });
  }
  return hosts;
}

function networksOf(prefixes: readonly Prefix[]): { network: number; mask: number }[] {
  return prefixes
    .filter((prefix) => familyOf(prefix) === 4)
    .map((prefix) => {
      const length = prefixLength(prefix);
      const mask = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
      return { network: ipv4ToNumber(prefixAddress(prefix)), mask };
    });
}
