import type { Address, Family, Prefix } from '../model/address.ts';
import { addressBytes, familyOf, hostPrefix, prefixAddress, prefixContains } from '../model/address.ts';
import type { Instant } from '../model/clock.ts';
import type { PortChange } from '../model/ports.ts';
import { isUp } from '../model/ports.ts';
import type { ChannelOwner } from './channel.ts';
import { Channel } from './channel.ts';
import { CEASE } from './codec/errors.ts';
import type { Message, PathAttributes, RouteRefreshMessage, UpdateMessage } from './codec/messages.ts';
import type { parseMessage } from './codec/parser.ts';
import { endOfRib, serializeUpdate } from './codec/serializer.ts';
import type { Counters } from './counters.ts';
import { ceaseNotification, Session } from './machine/session.ts';
import type { State } from './machine/state.ts';
import { stateRank } from './machine/state.ts';
import type { NextHops } from './nexthop.ts';
import type { Origination } from './origination.ts';
import { containsAs } from './rib.ts';
import type { Connection, ConnectionHandlers, SocketSecurity } from './transport.ts';
import type { BgpOptions, ServerSettings, ServerView, SessionChange } from './types.ts';

/**
 * Servers that announce themselves. Who connects to us from inside `listenRange`, and is behind one of our downlinks,
 * gets a session; the hosts it names in it are evidence for the host table (`onServerRoute`), nothing else: they are
 * neither routes nor claims of another switch. We never connect to a server and tell it nothing, but a default route if
 * that is asked for.
 *
 * What a server may name: /32 and /128 inside our prefixes, with itself as next hop, as many as a port may have. The
 * rest is refused, counted by reason, and shown.
 */
export interface ServersContext {
  options(): BgpOptions;
  readonly origination: Origination;
  readonly nextHops: NextHops;
  readonly counters: Counters;
}

const MAXIMUM_SESSIONS = 1024;
const KEEPALIVE = 3_000;
const HOLD = 9_000;
/** Refusals that a session remembers to show. */
const REMEMBERED = 10;
const DEFAULT_ROUTE: Record<Family, Prefix> = { 4: '0.0.0.0/0' as Prefix, 6: '::/0' as Prefix };

export class Servers {
  readonly #context: ServersContext;
  readonly #sessions = new Map<Address, ServerSession>();
  #settings: ServerSettings | undefined;

  constructor(context: ServersContext) {
    this.#context = context;
    this.#settings = context.options().servers;
  }

  /** What their connections must look like; undefined: nobody may come. */
  get listen(): { readonly prefix: Prefix; readonly security: SocketSecurity } | undefined {
    const settings = this.#settings;
    if (!settings) return undefined;
    const internal = settings.remoteAs === 'internal' || settings.remoteAs === this.#context.options().asn;
    return { prefix: settings.listenRange, security: internal ? {} : { ttl: 1 } };
  }

  /** Sessions begin anew when what they were agreed on changed. */
  configure(sameAs: boolean): void {
    const before = this.#settings;
    const after = this.#context.options().servers;
    this.#settings = after;
    const same = before?.listenRange === after?.listenRange && before?.remoteAs === after?.remoteAs && sameAs;
    const subcode = after ? CEASE.configurationChange : CEASE.deconfigured;
    if (!same || before?.defaultOriginate !== after?.defaultOriginate) this.stop(subcode);
    for (const session of this.#sessions.values()) session.review();
  }

  accept(connection: Connection): ConnectionHandlers | undefined {
    const settings = this.#settings;
    const { remoteAddress: address } = connection;
    if (!settings || !prefixContains(settings.listenRange, address)) return this.#refuse('from_strangers');
    const { portOf } = this.#context.options();
    const port = portOf?.(address);
    if (port === undefined) return this.#refuse('not_behind_a_downlink');
    const present = this.#sessions.get(address);
    if (present && stateRank(present.state) >= stateRank('OpenConfirm')) return this.#refuse('rejected');
    if (!present && this.#sessions.size >= MAXIMUM_SESSIONS) return this.#refuse('beyond_the_limit');
    present?.end('OpenCollisionDump');
    const session = new ServerSession(address, port, settings, this.#context, () => {
      if (this.#sessions.get(address) === session) this.#sessions.delete(address);
    });
    this.#sessions.set(address, session);
    return session.adopt(connection);
  }

  linkChanged({ name, after }: PortChange): void {
    if (isUp(after)) return;
    for (const session of this.#sessions.values()) if (session.port === name) session.linkLost();
  }

  stop(subcode: number, communication?: string): void {
    for (const session of this.#sessions.values()) session.stop(subcode, communication);
  }

  views(): ServerView[] {
    return [...this.#sessions.values()].map((session) => session.view());
  }

  #refuse(reason: string): undefined {
    this.#context.counters.add(`connections_${reason}`);
    return undefined;
  }
}

class ServerSession implements ChannelOwner {
  readonly address: Address;
  readonly port: string;
  readonly #settings: ServerSettings;
  readonly #context: ServersContext;
  readonly #channel: Channel;
  readonly #closed: () => void;
  readonly #accepted = new Set<Address>();
  readonly #refused: Record<string, number> = {};
  #lastRefused: { prefix: Prefix; reason: string }[] = [];
  #since: Instant;
  #received = 0;
  #sent = 0;

  constructor(address: Address, port: string, settings: ServerSettings, context: ServersContext, closed: () => void) {
    this.address = address;
    this.port = port;
    this.#settings = settings;
    this.#context = context;
    this.#closed = closed;
    const { asn, routerId, clock, random } = context.options();
    this.#since = clock.now();
    const config = {
      localAs: asn,
      remoteAs: settings.remoteAs === 'internal' ? asn : settings.remoteAs,
      routerId,
      hold: HOLD,
      keepalive: KEEPALIVE,
      connectRetry: HOLD,
      passive: true,
      incoming: true,
      random: random ?? Math.random,
    };
    this.#channel = new Channel(new Session(config, this.#since), this, clock);
  }

  get state(): State {
    return this.#channel.session.state;
  }

  adopt(connection: Connection): ConnectionHandlers {
    const handlers = this.#channel.adopt(connection);
    this.#channel.dispatch({ type: 'TcpConnectionConfirmed' });
    return handlers;
  }

  end(type: 'OpenCollisionDump'): void {
    this.#channel.dispatch({ type });
  }

  stop(subcode: number, communication?: string): void {
    this.#channel.dispatch({ type: 'ManualStop', notification: ceaseNotification(subcode, communication) });
  }

  linkLost(): void {
    this.#channel.dispatch({ type: 'InterfaceDown', interface: this.port });
  }

  /** Our prefixes are others than before. */
  review(): void {
    for (const address of this.#accepted) {
      if (!this.#context.origination.covers(addressBytes(address)))
        this.#refuse(hostPrefix(address), 'outside-prefixes');
    }
  }

  view(): ServerView {
    const { connection, session } = this.#channel;
    return {
      server: this.address,
      port: this.port,
      remoteAs: session.negotiated?.remoteAs,
      remoteId: session.negotiated?.remoteId,
      localAddress: connection?.localAddress,
      state: session.state,
      since: this.#since,
      reason: session.reason,
      hold: session.negotiated?.hold,
      accepted: [...this.#accepted],
      refused: { ...this.#refused },
      lastRefused: [...this.#lastRefused],
      messagesReceived: this.#received,
      messagesSent: this.#sent,
    };
  }

  // What the channel tells.

  connect(): Connection {
    throw new Error('a server connects to us, never we to it');
  }

  received(_channel: Channel, message: ReturnType<typeof parseMessage>): boolean {
    this.#received++;
    const { counters } = this.#context;
    counters.add(`servers_received_${message.type.toLowerCase()}`);
    if (message.type === 'ERROR') counters.add(`servers_error_${message.reason}`);
    // Who still speaks to us is alive, and so is what it has named.
    if (message.type === 'KEEPALIVE') for (const address of this.#accepted) this.#tell(address, true);
    return true;
  }

  deliver(_channel: Channel, message: UpdateMessage | RouteRefreshMessage): void {
    if (message.type === 'ROUTE-REFRESH') {
      this.#tellDefault();
      return;
    }
    for (const { treatment, reason } of message.problems) this.#context.counters.add(`servers_${treatment}_${reason}`);
    for (const prefix of message.withdrawn) this.#withdraw(prefixAddress(prefix), prefix);
    for (const { prefixes, nextHop } of message.reach) {
      for (const prefix of prefixes) this.#judge(prefix, nextHop, message.attributes);
    }
  }

  transition(_channel: Channel, from: State, to: State, reason: string): void {
    this.#since = this.#context.options().clock.now();
    if (to === 'Established') this.#tellDefault();
    if (from === 'Established') for (const address of this.#accepted) this.#withdraw(address, hostPrefix(address));
    if (to === 'Idle') {
      this.#channel.stopTimer();
      this.#closed();
    }
    const change: SessionChange = { neighbor: this.address, from, to, reason, at: this.#since };
    this.#context.options().onServerSession?.(change);
  }

  drained(): void {}

  sent(_type: Message['type']): void {
    this.#sent++;
  }

  settled(): void {}

  #judge(prefix: Prefix, nextHop: Address, attributes: PathAttributes): void {
    const reason = this.#whyNot(prefix, nextHop, attributes);
    if (reason !== undefined) {
      this.#refuse(prefix, reason);
      return;
    }
    const address = prefixAddress(prefix);
    this.#accepted.add(address);
    this.#tell(address, true);
  }

  #whyNot(prefix: Prefix, nextHop: Address, attributes: PathAttributes): string | undefined {
    const address = prefixAddress(prefix);
    if (prefix !== hostPrefix(address)) return 'not-a-host';
    const { origination, nextHops } = this.#context;
    if (!origination.covers(addressBytes(address))) return 'outside-prefixes';
    if (nextHops.isOurs(address)) return 'own-address';
    // The other family's next hop is an address of the server that we don't know.
    if (familyOf(nextHop) === familyOf(this.address) && nextHop !== this.address) return 'next-hop-elsewhere';
    if (containsAs(attributes.asPath, this.#context.options().asn)) return 'as-loop';
    const full = this.#accepted.size >= this.#limit && !this.#accepted.has(address);
    return full ? 'limit' : undefined;
  }

  get #limit(): number {
    return this.#context.options().servers?.maximumPrefixes ?? this.#settings.maximumPrefixes;
  }

  /** A refused route replaces an accepted one, as any route does (RFC 4271 §9.1). */
  #refuse(prefix: Prefix, reason: string): void {
    this.#refused[reason] = (this.#refused[reason] ?? 0) + 1;
    this.#context.counters.add(`servers_refused_${reason}`);
    this.#lastRefused = [...this.#lastRefused.slice(1 - REMEMBERED), { prefix, reason }];
    this.#withdraw(prefixAddress(prefix), prefix);
  }

  #withdraw(address: Address, prefix: Prefix): void {
    if (prefix === hostPrefix(address) && this.#accepted.delete(address)) this.#tell(address, false);
  }

  #tell(address: Address, up: boolean): void {
    this.#context.options().onServerRoute?.({ address, server: this.address, port: this.port, up });
  }

  #tellDefault(): void {
    const { connection, session } = this.#channel;
    const { families, fourOctetAs, remoteAs } = session.negotiated!;
    const { asn } = this.#context.options();
    const hops = connection?.localAddress ? this.#context.nextHops.ours(connection.localAddress) : {};
    for (const family of families) {
      const nextHop = hops[family];
      if (nextHop && this.#settings.defaultOriginate) {
        const external = remoteAs !== asn;
        const attributes: PathAttributes = {
          origin: 0,
          asPath: external ? [{ type: 'AS_SEQUENCE', asns: [asn] }] : [],
          ...(external ? {} : { localPreference: 100 }),
        };
        const reach = [{ family, nextHop, prefixes: [DEFAULT_ROUTE[family]] }];
        connection?.write(serializeUpdate({ type: 'UPDATE', withdrawn: [], reach, attributes }, fourOctetAs));
      }
      connection?.write(endOfRib(family));
    }
    this.#channel.wrote();
  }
}
