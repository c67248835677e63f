import type { Address, Prefix } from '../model/address.ts';
import { ipv4ToNumber } from '../model/address.ts';
import type { Instant } from '../model/clock.ts';
import type { PortChange } from '../model/ports.ts';
import { Advertiser } from './advertiser.ts';
import { Arrival } from './arrival.ts';
import type { ChannelOwner } from './channel.ts';
import { Channel } from './channel.ts';
import { ChannelPair } from './channel-pair.ts';
import { CEASE, CODE, OPEN } from './codec/errors.ts';
import type { Message, NotificationMessage, RouteRefreshMessage, UpdateMessage } from './codec/messages.ts';
import type { parseMessage } from './codec/parser.ts';
import { HeardFacts } from './facts/heard.ts';
import type { FactBatch } from './facts/own.ts';
import { NeighborLink } from './link.ts';
import type { Negotiated, RestartWords } from './machine/open.ts';
import { negotiate } from './machine/open.ts';
import type { SessionConfig } from './machine/session.ts';
import { ceaseNotification, Session, shutdownCommunication } from './machine/session.ts';
import type { State } from './machine/state.ts';
import type { FsmEvent } from './machine/table.ts';
import { agreedView, checkNeighbor, sameSession, securityOf } from './neighbor.ts';
import type { RouteBatch } from './origination.ts';
import type { PeerContext } from './peer-context.ts';
import { StaleRoutes } from './restart.ts';
import type { RibPeer } from './rib.ts';
import type { Connection, ConnectionHandlers, SocketSecurity } from './transport.ts';
import type { BgpNeighborOptions, SessionView } from './types.ts';

const BGP_PORT = 179;
const DEFAULT_CONNECT_RETRY = 5_000;
/** RFC 4486 §4: not at once after too many prefixes, as they would come again. */
const MAXIMUM_PREFIXES_PAUSE = 60_000;

/**
 * A configured neighbour: the ways to it (`ChannelPair`), what an Established session holds, and what outlives it.
 */
export class Peer implements ChannelOwner {
  options: BgpNeighborOptions;
  readonly external: boolean;
  readonly #localAs: number;
  readonly #context: PeerContext;
  readonly #channels: ChannelPair;
  #advertiser: Advertiser | undefined;
  #established: Channel | undefined;
  #ribPeer: RibPeer;
  #shown: State = 'Idle';
  #since: Instant;
  #reason = '';
  #establishedCount = 0;
  #received = 0;
  #sent = 0;
  #arrival: Arrival | undefined;
  readonly #stale: StaleRoutes;
  /** What it says of ports and hosts it says in its own name. */
  speaksForItself = false;
  #facts: HeardFacts | undefined;
  /** Tables that were asked for again. */
  readonly #refreshes = new Map<string, RouteRefreshMessage>();
  readonly #link = new NeighborLink(() => this.options);
  /** The neighbour refused an OPEN with more than routers usually say. */
  #plain = false;
  /** Of the present session, or the last. */
  #negotiated: Negotiated | undefined;
  /** The link took the session before with it. */
  #linkLost = false;

  constructor(options: BgpNeighborOptions, context: PeerContext, localAs: number) {
    checkNeighbor(options);
    this.options = options;
    this.#localAs = localAs;
    this.external = options.remoteAs !== localAs;
    this.#context = context;
    this.#since = context.options().clock.now();
    this.#ribPeer = { address: options.address, remoteId: 0, external: this.external };
    this.#channels = new ChannelPair((incoming) => this.#channel(incoming), context.options().clock, context.counters);
    this.#stale = new StaleRoutes(context.options().clock, (family) => {
      context.counters.add('stale_routes_flushed');
      if (!this.#established) this.#link.interface = undefined;
      context.flush(this, family);
      context.settled();
    });
  }

  /** Whether these options can be taken over without another session. */
  accepts(options: BgpNeighborOptions): boolean {
    return sameSession(this.options, options);
  }

  get address(): Address {
    return this.options.address;
  }

  get ribPeer(): RibPeer {
    return this.#ribPeer;
  }

  get port(): number {
    return this.options.port ?? BGP_PORT;
  }

  get state(): State {
    return this.#shown;
  }

  get interface(): string | undefined {
    return this.#link.interface;
  }

  /** What it is told; undefined when not Established. */
  get told(): Advertiser | undefined {
    return this.#advertiser;
  }

  /** It only listens, by its word now or last time. */
  get observer(): boolean {
    return this.#negotiated?.observer ?? false;
  }

  get security(): SocketSecurity {
    return securityOf(this.options, this.external);
  }

  start(): void {
    this.#channels.start();
  }

  /** The last word goes out behind all that was written before. */
  stop(notification: NotificationMessage, done: () => void): void {
    const connection = this.#established?.connection;
    this.#channels.stop(notification);
    this.#stale.abandon();
    if (connection) connection.close(done);
    else done();
  }

  /** A connection of this neighbour came in. */
  accept(connection: Connection): ConnectionHandlers | undefined {
    return this.#channels.accept(connection);
  }

  /** UPDATEs written now; 0 when not Established or when they wait. */
  advertise(batch: RouteBatch): number {
    return this.#advertiser?.send(batch) ?? 0;
  }

  /** Other routes are selected for these prefixes. */
  pass(prefixes: readonly Prefix[]): void {
    this.#advertiser?.pass(prefixes);
  }

  publish(batch: FactBatch): void {
    this.#advertiser?.publish(batch);
  }

  /** The attributes of what we announce have changed. */
  renew(): void {
    this.#advertiser?.renew();
  }

  /** The table that this session was told is whole. */
  endOfRib(): void {
    this.#advertiser?.endOfRib();
  }

  requestRefresh(): boolean {
    const families = this.#advertiser?.requestRefresh() ?? 0;
    for (let family = 0; family < families; family++) this.sent('ROUTE-REFRESH');
    return families > 0;
  }

  /** External neighbours one hop away live and die with their interface, without waiting for the hold time. */
  linkChanged(change: PortChange): void {
    if (!this.#channels.running) return;
    const news = this.#link.judge(change, this.#established !== undefined);
    if (news === 'came') this.#channels.interfaceUp();
    else if (news === 'addresses') this.#advertiser?.checkNextHops();
    else if (news === 'lost') {
      this.#context.counters.add('interface_down');
      this.#channels.interfaceDown(change.name);
      this.#stale.abandon();
    }
  }

  /** Something that watches the neighbour more closely (BFD) says that it is gone (RFC 5882 §4.1). */
  failed(reason: string): void {
    this.#stopFor(reason, ceaseNotification(CEASE.bfdDown));
    this.#stale.abandon();
  }

  initialRoutesReceived(now: Instant): boolean {
    return this.#arrival?.complete(now) ?? false;
  }

  view(prefixesReceived: number, prefixesStale: number): SessionView {
    const channel = this.#channels.best;
    return {
      neighbor: this.address,
      remoteAs: this.options.remoteAs,
      state: this.#shown,
      since: this.#since,
      reason: this.#reason,
      interface: this.interface,
      localAddress: channel.connection?.localAddress,
      ...agreedView(channel.session.negotiated),
      prefixesReceived,
      prefixesStale,
      prefixesSent: this.#advertiser?.prefixesSent ?? 0,
      initialRoutesReceived: this.initialRoutesReceived(this.#now()),
      restarting: this.#stale.kept && !this.#established,
      established: this.#establishedCount,
      messagesReceived: this.#received,
      messagesSent: this.#sent + (this.#advertiser?.updatesSent ?? 0),
      queued: this.#advertiser?.waiting ?? 0,
      observer: this.observer,
      factsReceived: this.#facts?.size ?? 0,
      factsSent: this.#advertiser?.factsSent ?? 0,
    };
  }

  // What the channels tell.

  connect(_channel: Channel, handlers: ConnectionHandlers): Connection {
    return this.#context.connect(this, handlers);
  }

  sent(type: Message['type']): void {
    this.#sent++;
    this.#context.counters.add(`sent_${type.toLowerCase()}`);
  }

  received(channel: Channel, message: ReturnType<typeof parseMessage>): boolean {
    this.#received++;
    const { counters } = this.#context;
    counters.add(`received_${message.type.toLowerCase()}`);
    if (message.type === 'ERROR') counters.add(`error_${message.reason}`);
    if (message.type === 'NOTIFICATION') {
      // RFC 5492 §3: then without what it does not know.
      const refused = message.subcode === OPEN.unsupportedCapability || message.subcode === OPEN.unsupportedParameter;
      if (message.code === CODE.open && refused) this.#plain = true;
      this.#context.options().log.info(
        {
          neighbor: this.address,
          code: message.code,
          subcode: message.subcode,
          text: shutdownCommunication(message),
        },
        'notification received',
      );
    }
    if (message.type === 'OPEN' && channel.session.state === 'OpenSent') {
      const negotiated = negotiate(message, channel.session.config);
      if (!('type' in negotiated)) return this.#channels.survivesCollision(channel, negotiated.remoteId);
    }
    return true;
  }

  deliver(_channel: Channel, message: UpdateMessage | RouteRefreshMessage): void {
    if (message.type === 'ROUTE-REFRESH') {
      // Subtypes other than 0 are RFC 7313's, which we don't offer.
      if (message.subtype === 0) this.#refreshes.set(`${message.afi}/${message.safi}`, message);
      return;
    }
    this.#facts?.hear(message);
    const routes = !message.facts || message.reach.length > 0 || message.withdrawn.length > 0;
    if (routes) this.#arrival?.heard(message, this.#now());
    for (const problem of message.problems) {
      this.#context.counters.add(`${problem.treatment}_${problem.reason}`);
    }
    this.#context.update(this, message);
    if (message.endOfRib) this.#stale.endOfRib(message.endOfRib);
  }

  /** Cease/1 when the neighbour sent more than it may. */
  checkMaximum(count: number): void {
    const maximum = this.options.maximumPrefixes ?? 0;
    if (maximum === 0 || count <= maximum || !this.#established) return;
    this.#context.counters.add('maximum_prefixes_exceeded');
    const notification = ceaseNotification(CEASE.maximumPrefixes);
    this.#stopFor(`more than ${maximum} prefixes`, notification, MAXIMUM_PREFIXES_PAUSE);
  }

  transition(channel: Channel, from: State, to: State, reason: string, cause: FsmEvent): void {
    if (to === 'Established') this.#up(channel);
    if (from === 'Established') this.#down(cause, reason);
    const cameIn = this.#channels.cameIn(channel);
    if (to === 'Idle' && cameIn) this.#channels.forgetIncoming();
    this.#show(reason);
    if (from === 'Established' && cameIn) this.#channels.resume();
  }

  drained(channel: Channel): void {
    if (channel === this.#established) this.#advertiser?.drained();
  }

  /** Who asks a thousand times in one breath gets one answer. */
  settled(): void {
    for (const { afi, safi } of this.#refreshes.values()) this.#advertiser?.refresh(afi, safi);
    this.#refreshes.clear();
    this.#context.settled();
  }

  get #portFacts(): boolean {
    return this.options.portFacts ?? true;
  }

  #show(reason: string): void {
    const shown = this.#channels.best.session.state;
    if (shown === this.#shown) return;
    const before = this.#shown;
    this.#shown = shown;
    this.#since = this.#now();
    this.#reason = reason;
    this.#context.changed(this, before, shown, reason, this.#since);
  }

  #restartWords(): RestartWords | undefined {
    const { gracefulRestart } = this.#context.options();
    return (
      gracefulRestart && this.#context.restart.words(gracefulRestart, this.#establishedCount === 0, this.#linkLost)
    );
  }

  #now(): Instant {
    return this.#context.options().clock.now();
  }

  #channel(incoming: boolean): Channel {
    const { routerId, random, clock } = this.#context.options();
    const config: SessionConfig = {
      localAs: this.#localAs,
      remoteAs: this.options.remoteAs,
      routerId,
      hold: this.options.hold,
      keepalive: this.options.keepalive,
      connectRetry: this.options.connectRetry ?? DEFAULT_CONNECT_RETRY,
      passive: this.options.passive ?? false,
      incoming,
      random: random ?? Math.random,
      restart: () => this.#restartWords(),
      extras: () => ({
        portFacts: !this.#plain && this.#portFacts,
        observer: !this.#plain && (this.#context.options().observer ?? false),
      }),
    };
    return new Channel(new Session(config, clock.now()), this, clock);
  }

  #up(channel: Channel): void {
    this.#established = channel;
    this.#establishedCount++;
    this.#negotiated = channel.session.negotiated!;
    this.#arrival = new Arrival(this.#negotiated.families, this.#now());
    this.#since = this.#now();
    const remoteId = ipv4ToNumber(this.#negotiated.remoteId);
    this.#ribPeer = { address: this.address, remoteId, external: this.external };
    const { nextHops, origination, facts, switchFacts, passing, counters, communities, options } = this.#context;
    this.#link.established(channel.connection, nextHops);
    const { remoteId: id } = this.#negotiated;
    this.speaksForItself = this.#context.speaksForItself(this);
    if (this.speaksForItself) this.#facts = new HeardFacts(id, this.address, counters, switchFacts);
    const overrun = () =>
      this.#stopFor('the neighbour does not take our routes', ceaseNotification(CEASE.outOfResources));
    const context = {
      ...{ localAs: this.#localAs, external: this.external, portFacts: this.#portFacts },
      ...{ origination, facts, nextHops, counters, communities, overrun },
      passing: this.external && options().propagate ? passing : undefined,
    };
    this.#advertiser = new Advertiser(context, channel);
    this.#advertiser.begin();
    // A neighbour that takes too little of it has lost the session again.
    if (this.#established !== channel) return;
    if (this.#context.restart.settled) this.#advertiser.endOfRib();
    this.#stale.established(this.#negotiated.restart);
    this.#channels.established(channel);
  }

  #down(cause: FsmEvent, reason: string): void {
    this.#facts?.end(`session lost: ${reason}`);
    this.#facts = undefined;
    this.#sent += this.#advertiser?.updatesSent ?? 0;
    this.#established = undefined;
    this.#advertiser = undefined;
    this.#arrival = undefined;
    this.#linkLost = cause === 'InterfaceDown';
    const helps = this.#context.options().gracefulRestart !== undefined;
    const kept = this.#stale.lost(helps ? this.#negotiated : undefined, cause);
    this.#context.lost(this, kept);
    if (kept.size > 0) this.#context.counters.add('neighbor_restarts');
    else this.#link.interface = undefined;
  }

  #stopFor(reason: string, notification: ReturnType<typeof ceaseNotification>, pause?: number): void {
    const event = { type: 'AutomaticStop', notification, reason } as const;
    if (pause !== undefined) this.#channels.refuse(this.#now() + pause);
    this.#established?.dispatch(pause === undefined ? event : { ...event, pause });
  }
}
