import { isDeepStrictEqual } from 'node:util';
import type { Address } from '../model/address.ts';
import { hostPrefix } from '../model/address.ts';
import type { Instant } from '../model/clock.ts';
import type { HostDelta, WireReport } from '../model/hosts.ts';
import type { CarriedFact } from '../model/port-facts.ts';
import type { PortChange } from '../model/ports.ts';
import { DEFAULT_ROUTES } from './adj-rib-out.ts';
import type { CommunitySet } from './codec/communities.ts';
import { parseCommunities } from './codec/communities.ts';
import { CEASE } from './codec/errors.ts';
import { Counters } from './counters.ts';
import { tcpTransport } from './driver.ts';
import { OwnFacts } from './facts/own.ts';
import { SwitchFacts } from './facts/switches.ts';
import { speaksForItself } from './identity.ts';
import { Intake } from './intake.ts';
import { Listening, listenTargets } from './listening.ts';
import { ceaseNotification } from './machine/session.ts';
import type { State } from './machine/state.ts';
import { NextHops } from './nexthop.ts';
import type { RouteBatch } from './origination.ts';
import { Origination } from './origination.ts';
import { Peer } from './peer.ts';
import type { PeerContext } from './peer-context.ts';
import { OwnRestart } from './restart.ts';
import { routesIn, routesOut } from './route-views.ts';
import { Servers } from './servers.ts';
import { communitiesOf, sameRole, withSettings } from './settings.ts';
import type { Connection, ConnectionHandlers, Transport } from './transport.ts';
import type {
  BgpNeighborOptions,
  BgpOptions,
  BgpSettings,
  RouteView,
  ServerView,
  SessionView,
  Speaker,
} from './types.ts';

/**
 * A BGP-4 speaker for a switch that has host routes to announce and a default route to learn.
 *
 * The way of a withdrawal: `apply` looks the hosts up (their NLRI are encoded already), packs them into as few UPDATEs
 * as hold them, and gives every Established neighbour one write, which Node turns into one system call before it
 * returns, as long as nothing is queued on that socket. Then come the counters, the logs, the routes.
 *
 * Invariants: nothing but /32 and /128 inside `prefixes` is announced (`origination.ts`); no UPDATE leaves outside
 * Established; every queue is bounded (`outbox.ts`, `framer.ts`); malformed input is counted, by reason, in `counters`.
 */
export class BgpSpeaker implements Speaker {
  readonly name = 'bgp';
  #options: BgpOptions;
  readonly #transport: Transport;
  readonly #counters = new Counters();
  readonly #peers = new Map<Address, Peer>();
  readonly #origination: Origination;
  readonly #nextHops: NextHops;
  readonly #intake: Intake;
  readonly #servers: Servers;
  readonly #restart = new OwnRestart();
  #communities: CommunitySet;
  #gracefulShutdown = false;
  #endpoint: Address | undefined;
  readonly #facts = new OwnFacts();
  readonly #context: PeerContext;
  readonly #listening = new Listening();
  #running = false;
  #refused: Address[] = [];

  /** @throws RangeError for a hold time below three seconds, a key or a community that can't be, a neighbour twice */
  constructor(options: BgpOptions) {
    this.#options = options;
    this.#transport = options.transport ?? tcpTransport({ clock: options.clock, log: options.log });
    this.#communities = this.#ownCommunities();
    this.#nextHops = new NextHops(options.links);
    this.#origination = new Origination(options.prefixes, (address) => this.#refused.push(address));
    this.#intake = new Intake({
      options: () => this.#options,
      origination: this.#origination,
      nextHops: this.#nextHops,
      counters: this.#counters,
      peers: this.#peers,
    });
    this.#context = {
      options: () => this.#options,
      origination: this.#origination,
      facts: this.#facts,
      switchFacts: new SwitchFacts((fact) => this.#intake.afterwards(() => this.#options.onFact?.(fact))),
      passing: {
        selected: () => this.#intake.rib.locRib(),
        defaultOriginate: () => this.#options.defaultOriginate ?? false,
      },
      nextHops: this.#nextHops,
      counters: this.#counters,
      communities: () => this.#communities,
      connect: (peer, handlers) => this.#connect(peer, handlers),
      speaksForItself: (peer) => speaksForItself(peer, this.#peers.values(), options.log, this.#counters),
      update: (peer, message) => this.#intake.update(peer, message),
      lost: (peer, kept) => this.#intake.lost(peer, kept),
      flush: (peer, family) => this.#intake.flush(peer, family),
      restart: this.#restart,
      changed: (peer, from, to, reason, at) => this.#changed(peer, from, to, reason, at),
      settled: () => this.#intake.settle(),
    };
    this.#servers = new Servers(this.#context);
    for (const [address, peer] of this.#peersOf(options)) this.#peers.set(address, peer);
  }

  start(restarted = false): void {
    this.#restart.begin(restarted && this.#options.gracefulRestart !== undefined);
    this.#running = true;
    this.#listen();
    for (const peer of this.#peers.values()) peer.start();
  }

  configure(settings: BgpSettings): void {
    const before = this.#options;
    const next = withSettings(before, settings);
    // All that can be wrong with the settings is found before anything is changed.
    parseCommunities(next.announce.communities);
    const sameAs = next.asn === before.asn;
    const same = sameAs && sameRole(before, next);
    const peers = this.#peersOf(next, (neighbor) => {
      const present = this.#peers.get(neighbor.address);
      return same && present?.accepts(neighbor) ? present : undefined;
    });
    const left = [...this.#peers.values()].filter((peer) => peers.get(peer.address) !== peer);
    const come = [...peers.values()].filter((peer) => this.#peers.get(peer.address) !== peer);
    for (const peer of left) {
      const subcode = peers.has(peer.address) ? CEASE.configurationChange : CEASE.deconfigured;
      peer.stop(ceaseNotification(subcode), () => {});
    }
    this.#options = next;
    this.#peers.clear();
    for (const [address, peer] of peers) this.#peers.set(address, peer);
    for (const neighbor of next.neighbors) peers.get(neighbor.address)!.options = neighbor;
    this.#spread(this.#origination.configure(next.prefixes));
    this.#renew();
    if ((before.defaultOriginate ?? false) !== (next.defaultOriginate ?? false)) {
      for (const peer of peers.values()) peer.pass(Object.values(DEFAULT_ROUTES));
    }
    this.#intake.claims.reconsider(this.#intake.rib.adjIn());
    this.#servers.configure(sameAs);
    if (this.#running) {
      this.#listen();
      for (const peer of come) peer.start();
    }
    this.#intake.settle();
  }

  settled(): void {
    this.#restart.settle();
    for (const peer of this.#peers.values()) peer.endOfRib();
  }

  async stop(communication?: string): Promise<void> {
    this.#running = false;
    this.#listening.close();
    this.#servers.stop(CEASE.administrativeShutdown, communication);
    const notification = ceaseNotification(CEASE.administrativeShutdown, communication);
    const batch = this.#origination.clear();
    for (const peer of this.#peers.values()) peer.advertise(batch);
    const closing = [...this.#peers.values()].map(
      (peer) => new Promise<void>((resolve) => peer.stop(notification, resolve)),
    );
    await Promise.all(closing);
    this.#intake.settle();
  }

  apply(delta: HostDelta): WireReport {
    const turning = this.#origination.turning(delta);
    const report = this.#spread(this.#origination.apply(delta));
    for (const address of turning) this.#intake.rib.touch(hostPrefix(address));
    this.#intake.settle();
    this.#reportRefused();
    return report;
  }

  linkChanged(change: PortChange): void {
    for (const peer of this.#peers.values()) peer.linkChanged(change);
    this.#servers.linkChanged(change);
    const changed = this.#nextHops.refresh();
    if (changed) this.#intake.rib.touchNextHops(changed);
    this.#intake.settle();
  }

  neighborFailed(address: Address, reason: string): void {
    this.#peers.get(address)?.failed(reason);
    this.#intake.settle();
  }

  sessions(): SessionView[] {
    return [...this.#peers.values()].map((peer) =>
      peer.view(this.#intake.rib.received(peer.address), this.#intake.rib.stale(peer.address)),
    );
  }

  servers(): ServerView[] {
    return this.#servers.views();
  }

  routes(): RouteView[] {
    const own = [...this.#origination.routes()];
    return [...routesIn(this.#intake.rib), ...[...this.#peers.values()].flatMap((peer) => [...routesOut(peer, own)])];
  }

  counters(): Record<string, number> {
    return this.#counters.view();
  }

  establishedWith(address: Address): boolean {
    return this.#peers.get(address)?.state === 'Established';
  }

  initialRoutesReceived(address: Address): boolean {
    return this.#peers.get(address)?.initialRoutesReceived(this.#options.clock.now()) ?? false;
  }

  setGracefulShutdown(on: boolean): void {
    if (on === this.#gracefulShutdown) return;
    this.#gracefulShutdown = on;
    this.#renew();
  }

  publishFacts(facts: readonly CarriedFact[]): void {
    const { refused, ...batch } = this.#facts.publish(facts);
    if (refused > 0) {
      this.#counters.add('facts_refused', refused);
      this.#options.log.error({ facts: refused }, 'facts of ports that are too long, or too many, are not carried');
    }
    for (const peer of this.#peers.values()) peer.publish(batch);
  }

  setTunnelEndpoint(endpoint: Address | undefined): void {
    if (endpoint === this.#endpoint) return;
    this.#endpoint = endpoint;
    this.#renew();
  }

  requestRefresh(address: Address): boolean {
    return this.#peers.get(address)?.requestRefresh() ?? false;
  }

  /** All that we announce, with attributes as they are now; nothing when they are as before. */
  #renew(): void {
    const communities = this.#ownCommunities();
    if (isDeepStrictEqual(communities, this.#communities)) return;
    this.#communities = communities;
    for (const peer of this.#peers.values()) peer.renew();
  }

  #ownCommunities(): CommunitySet {
    return communitiesOf(this.#options, this.#gracefulShutdown, this.#endpoint);
  }

  #spread(batch: RouteBatch): WireReport {
    const report = this.#advertise(batch);
    this.#origination.forget(batch);
    // A received route to a host of ours is not used, and is of use again when the host has gone.
    if (this.#intake.rib.size > 0) {
      for (const route of batch.gone()) this.#intake.rib.touch(hostPrefix(route.address));
      for (const route of batch.come()) this.#intake.rib.touch(hostPrefix(route.address));
    }
    return report;
  }

  #advertise(batch: RouteBatch): WireReport {
    let packets = 0;
    let firstByteAt: Instant | undefined;
    if (batch.size === 0) return { packets };
    for (const peer of this.#peers.values()) {
      const updates = peer.advertise(batch);
      if (updates > 0) firstByteAt ??= this.#options.clock.now();
      packets += updates;
    }
    return firstByteAt === undefined ? { packets } : { packets, firstByteAt, lastByteAt: this.#options.clock.now() };
  }

  #peersOf(
    options: BgpOptions,
    present: (neighbor: BgpNeighborOptions) => Peer | undefined = () => undefined,
  ): Map<Address, Peer> {
    const peers = new Map<Address, Peer>();
    for (const neighbor of options.neighbors) {
      if (peers.has(neighbor.address)) throw new RangeError(`neighbour ${neighbor.address} twice`);
      peers.set(neighbor.address, present(neighbor) ?? new Peer(neighbor, this.#context, options.asn));
    }
    return peers;
  }

  #listen(): void {
    const peers = [...this.#peers.values()].map(({ options, security }) => ({ ...options, security }));
    this.#listening.update(listenTargets(this.#options.listen, peers, this.#servers.listen), (target) =>
      this.#transport.listen(target, (connection) => this.#accept(connection)),
    );
  }

  /** Configured neighbours, only on the address that is meant for them, and servers. */
  #accept(connection: Connection): ConnectionHandlers | undefined {
    const peer = this.#peers.get(connection.remoteAddress);
    if (!peer) return this.#servers.accept(connection);
    const local = peer.options.localAddress;
    const handlers = local && local !== connection.localAddress ? undefined : peer.accept(connection);
    if (!handlers) this.#counters.add('connections_rejected');
    return handlers;
  }

  #connect(peer: Peer, handlers: ConnectionHandlers): Connection {
    const { address, localAddress } = peer.options;
    return this.#transport.connect({ address, port: peer.port, localAddress, ...peer.security }, handlers);
  }

  #changed(peer: Peer, from: State, to: State, reason: string, at: Instant): void {
    if (from === 'Established') this.#counters.add('sessions_lost');
    if (to === 'Established') this.#counters.add('sessions_established');
    if (from === 'Established' || to === 'Established') this.#intake.session(peer, to === 'Established');
    const change = { neighbor: peer.address, from, to, reason, at };
    this.#options.onSession(peer.observer ? { ...change, observer: true } : change);
  }

  #reportRefused(): void {
    if (this.#refused.length === 0) return;
    this.#counters.add('refused_outside_prefixes', this.#refused.length);
    this.#options.log.error({ addresses: this.#refused.slice(0, 10) }, 'hosts outside the prefixes are not announced');
    this.#refused = [];
  }
}
