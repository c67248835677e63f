/**
 * G's BGP, small: a session on each link, one table. It does what an unmodified router does as far as the switches can
 * tell: best path by ORIGIN and then age, a default route and the best routes to each switch, sessions that fall with
 * their link. By the seed it helps a switch that restarts (RFC 4724 §4.2), as FRR does unless told otherwise, and tells
 * a switch its own routes or does not.
 */
import { Framer } from '../../src/bgp/codec/framer.ts';
import type { OpenMessage, PathAttributes, UpdateMessage } from '../../src/bgp/codec/messages.ts';
import { parseMessage } from '../../src/bgp/codec/parser.ts';
import { endOfRib, serialize, serializeUpdate } from '../../src/bgp/codec/serializer.ts';
import type { Connection } from '../../src/bgp/transport.ts';
import type { Address, Prefix } from '../../src/model/address.ts';
import type { Timer } from '../../src/model/clock.ts';
import type { VirtualClock } from './clock.ts';
import type { Random } from './random.ts';
import type { Tcp } from './tcp.ts';

export interface BgpGatewayPeer {
  /** The switch's port: `A0`. */
  readonly tor: string;
  readonly asn: number;
  /** Our IPv6 address on the link; undefined: IPv4 alone is spoken. */
  readonly local6: Address | undefined;
  /** Our address on the link and theirs. */
  readonly local: Address;
  readonly remote: Address;
}

interface Path {
  readonly origin: number;
  readonly attributes: PathAttributes;
  readonly at: number;
  /** Kept for a switch that restarts. */
  readonly stale: boolean;
}

interface Session {
  readonly connection: Connection;
  readonly framer: Framer;
  opened: boolean;
  /** Milliseconds that the switch asked for, should it restart. */
  restartTime: number | undefined;
  heardAt: number;
  /** What it was told, by prefix. */
  readonly told: Map<Prefix, string>;
}

const ASN = 65000;
const DEFAULTS = ['0.0.0.0/0', '::/0'] as Prefix[];
const familyOf = (prefix: Prefix): 4 | 6 => (prefix.includes(':') ? 6 : 4);
const HOLD = 3_000;
/** We help, and do not restart gracefully ourselves. */
const HELPER = { code: 'graceful-restart', restarting: false, restartTime: 120, families: [] } as const;

export class BgpGateway {
  readonly peers: readonly BgpGatewayPeer[];
  /** By link: what the switch announces there now. */
  readonly received = new Map<string, Map<Prefix, Path>>();
  /** Forwarding table: over which link packets for a host go. */
  readonly table = new Map<Prefix, string>();
  readonly #sessions = new Map<string, Session>();
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #tcp: Tcp;
  readonly #dirty = new Set<Prefix>();
  readonly #helps: boolean;
  readonly #echoes: boolean;
  readonly #staleTimers = new Map<string, Timer>();
  readonly #onReceived: (tor: string, message: UpdateMessage) => void;
  readonly #onTable: () => void;
  #running = false;
  #life = 0;
  #deciding = false;

  constructor(options: {
    clock: VirtualClock;
    random: Random;
    tcp: Tcp;
    helps: boolean;
    echoes: boolean;
    peers: readonly BgpGatewayPeer[];
    onReceived(tor: string, message: UpdateMessage): void;
    onTable(): void;
  }) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.#tcp = options.tcp;
    this.#helps = options.helps;
    this.#echoes = options.echoes;
    this.peers = options.peers;
    this.#onReceived = options.onReceived;
    this.#onTable = options.onTable;
    for (const { tor } of this.peers) this.received.set(tor, new Map());
  }

  start(): void {
    this.#running = true;
    const life = ++this.#life;
    for (const peer of this.peers) {
      this.#tcp
        .transport(() => peer.local, [peer.local], { alive: () => this.#running && this.#life === life })
        .listen({ address: peer.local, port: 179, peers: [] }, (connection) => this.#accept(peer, connection));
    }
    this.#keepalive(life);
  }

  /** Power off: nothing is said, the kernel ends the connections, the table is gone. */
  die(): void {
    this.#running = false;
    for (const peer of this.peers) {
      this.#tcp.died(peer.local);
      this.#lose(peer.tor, false);
    }
    this.table.clear();
    this.#dirty.clear();
    this.#onTable();
  }

  established(tor: string): boolean {
    return this.#sessions.get(tor)?.opened === true;
  }

  linkDown(tor: string): void {
    this.reset(tor, false);
  }

  reset(tor: string, notify = true): void {
    const session = this.#sessions.get(tor);
    if (!session) {
      this.#flushStale(tor);
      return;
    }
    if (notify)
      session.connection.write(serialize({ type: 'NOTIFICATION', code: 6, subcode: 4, data: new Uint8Array(0) }));
    session.connection.close();
    this.#lose(tor, false);
  }

  #accept(peer: BgpGatewayPeer, connection: Connection) {
    if (!this.#running || connection.remoteAddress !== peer.remote) return undefined;
    const before = this.#sessions.get(peer.tor);
    before?.connection.close();
    // The switch has forgotten the session that we still have (RFC 4724 §4.2).
    if (before?.opened) this.#lose(peer.tor, true);
    const session: Session = {
      connection,
      framer: new Framer(),
      opened: false,
      restartTime: undefined,
      heardAt: this.#clock.now(),
      told: new Map(),
    };
    this.#sessions.set(peer.tor, session);
    connection.write(
      serialize({
        type: 'OPEN',
        version: 4,
        myAs: ASN,
        holdTime: HOLD / 1000,
        identifier: '10.255.0.254' as Address,
        capabilities: [
          { code: 'multiprotocol', afi: 1, safi: 1 },
          ...(peer.local6 ? [{ code: 'multiprotocol' as const, afi: 2, safi: 1 }] : []),
          { code: 'four-octet-as', asn: ASN },
          ...(this.#helps ? [HELPER] : []),
        ],
      }),
    );
    const mine = (): boolean => this.#sessions.get(peer.tor) === session;
    return {
      onOpen: () => {},
      onDrain: () => {},
      onData: (data: Uint8Array) => mine() && this.#data(peer, session, data),
      onClose: () => {
        if (mine()) this.#lose(peer.tor, true);
      },
    };
  }

  #data(peer: BgpGatewayPeer, session: Session, data: Uint8Array): void {
    const families = new Set<4 | 6>(peer.local6 ? [4, 6] : [4]);
    const context = { fourOctetAs: true, families, external: true, remoteAs: peer.asn };
    session.heardAt = this.#clock.now();
    for (const frame of session.framer.push(data)) {
      if ('code' in frame) throw new Error(`G can not read ${peer.tor}: ${frame.reason}`);
      const message = parseMessage(frame, context);
      if (message.type === 'ERROR') throw new Error(`G can not read ${peer.tor}: ${message.reason}`);
      if (message.type === 'OPEN') {
        this.#opening(peer, session, message);
        session.connection.write(serialize({ type: 'KEEPALIVE' }));
      }
      if (message.type === 'KEEPALIVE' && !session.opened) this.#opened(peer, session);
      else if (message.type === 'NOTIFICATION') {
        session.connection.close();
        this.#lose(peer.tor, false);
        return;
      } else if (message.type === 'UPDATE') this.#update(peer, message);
    }
  }

  #opening(peer: BgpGatewayPeer, session: Session, open: OpenMessage): void {
    const restart = open.capabilities.find((capability) => capability.code === 'graceful-restart');
    const family = restart?.families.find(({ afi, safi }) => afi === 1 && safi === 1);
    session.restartTime = this.#helps && family ? restart!.restartTime * 1000 : undefined;
    if (!family?.forwarding) this.#flushStale(peer.tor);
  }

  /** What a switch that restarted has not said again. */
  #flushStale(tor: string, family?: 4 | 6): void {
    const paths = this.received.get(tor)!;
    if (family === undefined) {
      this.#staleTimers.get(tor)?.cancel();
      this.#staleTimers.delete(tor);
    }
    for (const [prefix, path] of paths) {
      if (!path.stale || (family !== undefined && familyOf(prefix) !== family)) continue;
      paths.delete(prefix);
      this.#dirty.add(prefix);
    }
    if (this.#running && this.#dirty.size > 0) this.#decideSoon();
  }

  #opened(peer: BgpGatewayPeer, session: Session): void {
    session.opened = true;
    this.#staleTimers.get(peer.tor)?.cancel();
    this.#clock.after(this.#random.between(0, 100), () => {
      if (this.#sessions.get(peer.tor) !== session) return;
      this.#tell(peer, session, [...DEFAULTS, ...this.#prefixes()]);
      session.connection.write(endOfRib(4));
      if (peer.local6) session.connection.write(endOfRib(6));
    });
  }

  #update(peer: BgpGatewayPeer, message: UpdateMessage): void {
    const paths = this.received.get(peer.tor)!;
    for (const prefix of message.withdrawn) {
      if (paths.delete(prefix)) this.#dirty.add(prefix);
    }
    for (const { prefixes } of message.reach) {
      for (const prefix of prefixes) {
        const origin = message.attributes.origin ?? 2;
        paths.set(prefix, { origin, attributes: message.attributes, at: this.#clock.now(), stale: false });
        this.#dirty.add(prefix);
      }
    }
    if (message.endOfRib) this.#flushStale(peer.tor, message.endOfRib);
    this.#onReceived(peer.tor, message);
    this.#decideSoon();
  }

  #lose(tor: string, silently: boolean): void {
    const session = this.#sessions.get(tor);
    this.#sessions.delete(tor);
    const paths = this.received.get(tor)!;
    if (silently && session?.restartTime !== undefined) {
      for (const [prefix, path] of paths) paths.set(prefix, { ...path, stale: true });
      this.#staleTimers.get(tor)?.cancel();
      const flush = () => this.#flushStale(tor);
      this.#staleTimers.set(tor, this.#clock.after(session.restartTime, flush));
      return;
    }
    // A connection that never became a session says nothing of the routes of the one before.
    if (silently && session && !session.opened) return;
    for (const prefix of paths.keys()) this.#dirty.add(prefix);
    paths.clear();
    if (this.#running) this.#decideSoon();
  }

  #decideSoon(): void {
    if (this.#deciding) return;
    this.#deciding = true;
    const life = this.#life;
    this.#clock.after(this.#random.between(0.1, 60), () => {
      this.#deciding = false;
      if (this.#running && this.#life === life) this.#decide();
      else if (this.#running) this.#decideSoon();
    });
  }

  #decide(): void {
    const prefixes = [...this.#dirty];
    this.#dirty.clear();
    for (const prefix of prefixes) {
      const best = this.best(prefix);
      if (best) this.table.set(prefix, best);
      else this.table.delete(prefix);
    }
    for (const peer of this.peers) {
      const session = this.#sessions.get(peer.tor);
      if (session?.opened && session.told.size > 0) this.#tell(peer, session, prefixes);
    }
    this.#onTable();
  }

  /** The shortest way, then the lowest ORIGIN, then the oldest (RFC 4271 §9.1.2.2). */
  best(prefix: Prefix): string | undefined {
    let best: { tor: string; path: Path } | undefined;
    for (const [tor, paths] of this.received) {
      const path = paths.get(prefix);
      if (!path) continue;
      if (!best || isBetter(path, best.path)) best = { tor, path };
    }
    return best?.tor;
  }

  #prefixes(): Prefix[] {
    return [...new Set([...this.received.values()].flatMap((paths) => [...paths.keys()]))];
  }

  #tell(peer: BgpGatewayPeer, session: Session, prefixes: readonly Prefix[]): void {
    for (const prefix of prefixes) {
      const best = this.best(prefix);
      const hidden = best === undefined || (best[0] === peer.tor[0] && !this.#echoes);
      const path = hidden ? undefined : this.received.get(best)!.get(prefix);
      const own = DEFAULTS.includes(prefix);
      const family = familyOf(prefix);
      const nextHop = family === 4 ? peer.local : peer.local6;
      if (nextHop === undefined) continue;
      if (!path && !own) {
        if (session.told.delete(prefix))
          session.connection.write(
            serializeUpdate({ type: 'UPDATE', withdrawn: [prefix], reach: [], attributes: {} }, true),
          );
        continue;
      }
      const asns = [ASN, ...(path?.attributes.asPath ?? []).flatMap((segment) => segment.asns)];
      const attributes: PathAttributes = {
        origin: (path?.attributes.origin ?? 0) as 0 | 1 | 2,
        asPath: [{ type: 'AS_SEQUENCE', asns }],
        ...(path?.attributes.largeCommunities ? { largeCommunities: path.attributes.largeCommunities } : {}),
      };
      const text = JSON.stringify(attributes);
      if (session.told.get(prefix) === text) continue;
      session.told.set(prefix, text);
      const reach = [{ family, nextHop, prefixes: [prefix] }];
      session.connection.write(serializeUpdate({ type: 'UPDATE', withdrawn: [], reach, attributes }, true));
    }
  }

  #keepalive(life: number): void {
    this.#clock.after(1_000, () => {
      if (!this.#running || this.#life !== life) return;
      for (const [tor, session] of [...this.#sessions]) {
        if (this.#clock.now() - session.heardAt >= HOLD) this.reset(tor, true);
        else if (session.opened) session.connection.write(serialize({ type: 'KEEPALIVE' }));
      }
      this.#keepalive(life);
    });
  }
}

const lengthOf = ({ attributes }: Path): number =>
  (attributes.asPath ?? []).reduce((sum, { type, asns }) => sum + (type === 'AS_SET' ? 1 : asns.length), 0);

const isBetter = (path: Path, than: Path): boolean =>
  (lengthOf(path) - lengthOf(than) || path.origin - than.origin || path.at - than.at) < 0;
