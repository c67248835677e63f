import type { Address, Family } from '../model/address.ts';
import { ipv4ToNumber } from '../model/address.ts';
import type { Instant } from '../model/clock.ts';
import type { PortChange } from '../model/ports.ts';
import { isUp } from '../model/ports.ts';
import { Advertiser } from './advertiser.ts';
import { Arrival } from './arrival.ts';
import type { ChannelOwner } from './channel.ts';
import { Channel } from './channel.ts';
import { ChannelPair } from './channel-pair.ts';
import type { CommunitySet } from './codec/communities.ts';
import { CEASE } from './codec/errors.ts';
import type { Message, NotificationMessage, RouteRefreshMessage, UpdateMessage } from './codec/messages.ts';
import { familyOfAfi } from './codec/messages.ts';
import type { parseMessage } from './codec/parser.ts';
import type { Counters } from './counters.ts';
import type { Negotiated, RestartWords } from './machine/open.ts';
import { negotiate } from './machine/open.ts';
import type { SessionConfig } from './machine/session.ts';
import { ceaseNotification, Session, shutdownCommunication } from './machine/session.ts';
import type { State } from './machine/state.ts';
import type { FsmEvent } from './machine/table.ts';
import { agreedView, checkNeighbor, sameSession, securityOf } from './neighbor.ts';
import type { NextHops } from './nexthop.ts';
import { onLink } from './nexthop.ts';
import type { Origination, RouteBatch } from './origination.ts';
import type { OwnRestart } from './restart.ts';
import { StaleRoutes } from './restart.ts';
import type { RibPeer } from './rib.ts';
import type { Connection, ConnectionHandlers, SocketSecurity } from './transport.ts';
import type { BgpNeighborOptions, BgpOptions, SessionView } from './types.ts';

/** What the neighbours share. */
export interface PeerContext {
  options(): BgpOptions;
  readonly origination: Origination;
  readonly nextHops: NextHops;
  readonly counters: Counters;
  readonly restart: OwnRestart;
  communities(): CommunitySet;
  connect(peer: Peer, handlers: ConnectionHandlers): Connection;
  update(peer: Peer, message: UpdateMessage): void;
  /** The session is lost; routes of the families in `kept` become stale, all others of the neighbour go. */
  lost(peer: Peer, kept: ReadonlySet<Family>): void;
  /** What is still stale goes, of one family or all. */
  flush(peer: Peer, family: Family | undefined): void;
  changed(peer: Peer, from: State, to: State, reason: string, at: Instant): void;
  settled(): void;
}

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
  /** Of the present session, or the last. */
  #negotiated: Negotiated | undefined;
  /** The link took the session before with it. */
  #linkLost = false;
  #interface: string | undefined;

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
      if (!this.#established) this.#interface = undefined;
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
    return this.#interface;
  }

  /** What it is told; empty when not Established. */
  get families(): readonly Family[] {
    return this.#advertiser?.families ?? [];
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
  linkChanged({ name, before, after }: PortChange): void {
    if (this.options.multihop || !this.#channels.running) return;
    const ledBefore = before !== undefined && this.#leads(before);
    const leads = after !== undefined && this.#leads(after);
    const led = this.#interface ? this.#interface === name : ledBefore;
    // An address that went takes the session with it as the carrier does.
    if (led && isUp(before) && (!isUp(after) || (ledBefore && !leads))) this.#interfaceDown(name);
    else if (!this.#established && leads && isUp(after) && !(isUp(before) && ledBefore)) {
      this.#channels.interfaceUp();
    } else if (this.#established && this.#interface === undefined && leads) {
      // The session was there before its port was: now its addresses are known, and its carrier matters.
      this.#interface = name;
      this.#advertiser?.checkNextHops();
    } else if (led) this.#advertiser?.checkNextHops();
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
      interface: this.#interface,
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
      observer: false,
      portFacts: false,
      factsReceived: 0,
      factsSent: 0,
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
      const family = familyOfAfi(message.afi, message.safi);
      // Subtypes other than 0 are RFC 7313's, which we don't offer.
      if (family && message.subtype === 0) this.advertise(this.#context.origination.full(family));
      return;
    }
    this.#arrival?.heard(message, this.#now());
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
    if (from === 'Established') this.#down(cause);
    const cameIn = this.#channels.cameIn(channel);
    if (to === 'Idle' && cameIn) this.#channels.forgetIncoming();
    this.#show(reason);
    if (from === 'Established' && cameIn) this.#channels.resume();
  }

  drained(channel: Channel): void {
    if (channel === this.#established) this.#advertiser?.drained();
  }

  settled(): void {
    this.#context.settled();
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
    };
    return new Channel(new Session(config, clock.now()), this, clock);
  }

  #up(channel: Channel): void {
    this.#established = channel;
    this.#establishedCount++;
    this.#negotiated = channel.session.negotiated!;
    this.#arrival = new Arrival(this.#negotiated.families, this.#now());
    this.#since = this.#now();
    const remoteId = ipv4ToNumber(channel.session.negotiated!.remoteId);
    this.#ribPeer = { address: this.address, remoteId, external: this.external };
    const { nextHops, origination, counters, communities } = this.#context;
    const local = channel.connection?.localAddress;
    this.#interface = this.options.multihop
      ? undefined
      : ((local && nextHops.portOf(local)?.name) ?? nextHops.portTowards(this.address)?.name);
    const overrun = () =>
      this.#stopFor('the neighbour does not take our routes', ceaseNotification(CEASE.outOfResources));
    const shared = { origination, nextHops, counters, communities, localAs: this.#localAs, overrun };
    this.#advertiser = new Advertiser(shared, channel, this.external);
    this.#advertiser.begin();
    if (this.#context.restart.settled) this.#advertiser.endOfRib();
    this.#stale.established(this.#negotiated.restart);
    this.#channels.established(channel);
  }

  #down(cause: FsmEvent): void {
    this.#sent += this.#advertiser?.updatesSent ?? 0;
    this.#established = undefined;
    this.#advertiser = undefined;
    this.#arrival = undefined;
    this.#linkLost = cause === 'InterfaceDown';
    const helps = this.#context.options().gracefulRestart !== undefined;
    const kept = this.#stale.lost(helps ? this.#negotiated : undefined, cause);
    if (kept.size > 0) this.#context.counters.add('neighbor_restarts');
    else this.#interface = undefined;
    this.#context.lost(this, kept);
  }

  #interfaceDown(name: string): void {
    this.#context.counters.add('interface_down');
    this.#channels.interfaceDown(name);
    this.#stale.abandon();
  }

  /** Whether the neighbour is on this port's link. */
  #leads(port: NonNullable<PortChange['after']>): boolean {
    const local = this.options.localAddress;
    if (local && !port.addresses.some((own) => own.address === local)) return false;
    return onLink(port, this.address);
  }

  #stopFor(reason: string, notification: ReturnType<typeof ceaseNotification>, pause?: number): void {
    const event = { type: 'AutomaticStop', notification, reason } as const;
    if (pause !== undefined) this.#channels.refuse(this.#now() + pause);
    this.#established?.dispatch(pause === undefined ? event : { ...event, pause });
  }
}
