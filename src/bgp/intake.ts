import type { Address, Family, Prefix } from '../model/address.ts';
import { addressBytes, prefixAddress } from '../model/address.ts';
import type { NextHop } from '../model/hosts.ts';
import { ForeignClaims } from './claims.ts';
import type { UpdateMessage } from './codec/messages.ts';
import type { Counters } from './counters.ts';
import { HeardHosts } from './heard-hosts.ts';
import { lossOf } from './loss.ts';
import type { NextHops } from './nexthop.ts';
import { wayTo } from './nexthop.ts';
import type { Origination } from './origination.ts';
import type { Peer } from './peer.ts';
import type { InRoute } from './rib.ts';
import { Rib } from './rib.ts';
import type { BgpOptions } from './types.ts';

export interface IntakeOptions {
  options(): BgpOptions;
  readonly origination: Origination;
  readonly nextHops: NextHops;
  readonly counters: Counters;
  /** By address. */
  readonly peers: ReadonlyMap<Address, Peer>;
}

/** Prefixes that changed, before the decision process runs in the middle of what was read. */
const MANY = 512;

/**
 * What neighbours say, and who hears of it: at once the routes and claims that it is made of, and when a read has been
 * worked off (`settle`) the kernel, who is told what is passed on, and at last whoever draws a map.
 */
export class Intake {
  readonly rib: Rib;
  readonly claims: ForeignClaims;
  readonly #context: IntakeOptions;
  readonly #heardHosts: HeardHosts | undefined;
  /** Done when the kernel has heard of this turn's routes: what is told of them can wait for that. */
  #after: (() => void)[] = [];

  constructor(context: IntakeOptions) {
    this.#context = context;
    const { options: settings, origination, nextHops } = context;
    const options = settings();
    this.rib = new Rib({
      localAs: () => settings().asn,
      alternatives: () => settings().propagate ?? false,
      maximumPaths: options.maximumPaths ?? 16,
      resolve: (route) => this.#resolve(route),
    });
    this.claims = new ForeignClaims(
      {
        localAs: () => settings().asn,
        routerId: options.routerId,
        sharedAs: () => settings().sharedAs ?? true,
        covers: (address) => settings().prefixes.length > 0 && origination.covers(addressBytes(address)),
        announced: (address) => origination.announcedAs(address),
        isOurs: (address) => nextHops.isOurs(address),
      },
      { claim: (claim) => options.onForeignClaim(claim), shadow: (shadow) => options.onForeignShadow?.(shadow) },
    );
    const { onHostRoute: tell } = options;
    if (tell) this.#heardHosts = new HeardHosts({ localAs: () => settings().asn, emit: (route) => tell(route) });
  }

  update(peer: Peer, message: UpdateMessage): void {
    // Facts alone, and what who only listens should not say.
    if (message.withdrawn.length === 0 && message.reach.length === 0) return;
    if (peer.observer) {
      this.#context.counters.add('routes_from_observers', message.reach.length);
      return;
    }
    this.rib.update(peer.ribPeer, message);
    this.claims.update(peer.address, message);
    const { ribPeer } = peer;
    if (peer.speaksForItself) this.afterwards(() => this.#heardHosts?.update(ribPeer, message));
    peer.checkMaximum(this.rib.received(peer.address));
    // What is many comes in many messages: the kernel need not wait for the last of them.
    if (this.rib.undecided >= MANY) this.settle();
  }

  /** A session was made, or ended. */
  session(peer: Peer, up: boolean): void {
    const { ribPeer } = peer;
    if (peer.speaksForItself) this.afterwards(() => this.#heardHosts?.session(ribPeer, up));
  }

  /** The session is lost; routes of the families in `kept` become stale, all others of the neighbour go. */
  lost(peer: Peer, kept: ReadonlySet<Family>): void {
    const { options, peers } = this.#context;
    if (kept.size === 0) options().onNeighborLost?.(lossOf(peer, this.rib, peers));
    this.#gone(peer.address, this.rib.lost(peer.address, kept));
  }

  /** What is still stale goes, of one family or all. */
  flush(peer: Peer, family: Family | undefined): void {
    this.#gone(peer.address, this.rib.flush(peer.address, family));
  }

  /** To be done when the kernel has heard of this turn's routes. */
  afterwards(run: () => void): void {
    this.#after.push(run);
  }

  settle(): void {
    const { options, peers } = this.#context;
    const changes = this.rib.decide();
    if (changes.length > 0) options().onRoutes(changes);
    // The kernel first: what is passed on must lead somewhere, and who draws a map can wait.
    const reselected = this.rib.reselected();
    if (reselected.length > 0) for (const peer of peers.values()) peer.pass(reselected);
    const after = this.#after;
    if (after.length === 0) return;
    this.#after = [];
    for (const run of after) run();
  }

  #gone(peer: Address, prefixes: readonly Prefix[]): void {
    this.claims.withdraw(peer, prefixes);
    if (this.#heardHosts) this.afterwards(() => this.#heardHosts?.withdraw(peer, prefixes));
  }

  #resolve(route: InRoute): NextHop | { readonly rejected: string } {
    const { options, origination, nextHops, peers } = this.#context;
    if (isHost(route) && origination.keeps(prefixAddress(route.prefix))) return { rejected: 'own-host' };
    // RFC 4456 §8: our own route, reflected.
    if (route.attributes.originatorId === options().routerId) return { rejected: 'originator-self' };
    return wayTo(route, nextHops, peers.get(route.peer.address)?.interface);
  }
}

const isHost = (route: InRoute): boolean => route.prefix.endsWith(route.prefix.includes(':') ? '/128' : '/32');
