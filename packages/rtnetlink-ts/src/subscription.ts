/**
 * Follows kinds of objects by multicast groups, with a table of what the kernel holds.
 *
 * The kernel drops notifications when our buffer is full and says so once (ENOBUFS); it goes on dropping until the
 * buffer has been read empty. So after an overrun we first read what is left, and only then dump the followed kinds
 * anew: what was lost happened before the dump, what happens from now on is notified. Objects that a notification
 * touches while the dump runs keep what the notification said (the dump may be older), all others are compared with the
 * dump, and each difference is delivered as a change like any other. Nothing is missed in the end. Another overrun
 * meanwhile spoils the dump, and it is made again. The first picture at the start comes the same way. A socket that fails
 * otherwise is replaced by a new one, with a dump. From the loss until the dump is compared the table is not the truth:
 * `onLost` and `onResync` tell.
 */
import { type LinuxSocket, SystemCallError } from 'linux-sockets';
import { AF, NLM_F, RTM } from './codec/constants.ts';
import { decodeInterfaceAddress } from './codec/interface-address.ts';
import { decodeLink } from './codec/link.ts';
import { Malformed, type Message } from './codec/message.ts';
import { decodeNeighbour } from './codec/neighbour.ts';
import { decodeNextHop } from './codec/nexthop.ts';
import { decodeRoute, type Route } from './codec/route.ts';
import { decodeRule } from './codec/rule.ts';
import { openSubscribed, READ } from './kinds.ts';
import { type Kind, keyOf, merged, type ObjectOf, routeSlot, sameValue } from './mirror.ts';
import { countMalformed, newReceiveCounters, type ReceiveCounters, receive, type SocketOptions } from './receive.ts';
import { Rtnetlink } from './rtnetlink.ts';

export { type Kind, neighbourKey, type ObjectOf } from './mirror.ts';

/** One object came (`before` undefined), changed or went (`after` undefined). */
export type Change = {
  [K in Kind]: {
    readonly kind: K;
    readonly before: ObjectOf[K] | undefined;
    readonly after: ObjectOf[K] | undefined;
    /** When the socket was found readable, by `now` of the options. */
    readonly at: number;
    /** Found by comparing tables after an overrun, not notified. */
    readonly resync: boolean;
  };
}[Kind];

export type ChangeOf<K extends Kind> = Extract<Change, { kind: K }>;

export interface SubscriptionOptions extends SocketOptions {
  readonly kinds: readonly Kind[];
  /** Monotonic milliseconds; default performance.now. */
  readonly now?: () => number;
  /** Told when a resync had to be put off; it is tried again. */
  readonly onError?: (error: unknown) => void;
}

/** System calls of one turn, each of up to 64 notifications: other sockets have their turn too. */
const ROUNDS_PER_TURN = 4;
const COMPARED_PER_TURN = 2000;
const FIRST_RETRY = 20;
const LONGEST_RETRY = 1000;

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Keys that notifications touched while a dump was under way. */
interface Resync {
  readonly touched: Map<Kind, Set<string>>;
  spoiled: boolean;
}

export class Subscription {
  readonly counters: ReceiveCounters & { resyncs: number } = { ...newReceiveCounters(), resyncs: 0 };
  #socket: LinuxSocket;
  readonly #rtnetlink: Rtnetlink;
  readonly #options: SubscriptionOptions;
  readonly #now: () => number;
  readonly #tables: { readonly [K in Kind]: Map<string, ObjectOf[K]> } = {
    link: new Map(),
    address: new Map(),
    neighbour: new Map(),
    fdb: new Map(),
    route: new Map(),
    rule: new Map(),
    nexthop: new Map(),
  };
  /** Keys of the routes that differ in their interface only. */
  readonly #routeSlots = new Map<string, Set<string>>();
  readonly #listeners = new Set<(change: Change) => void>();
  readonly #resyncListeners = new Set<() => void>();
  readonly #lostListeners = new Set<(reason: string) => void>();
  readonly #kinds: ReadonlySet<Kind>;
  readonly #idle: (() => void)[] = [];
  #lost = true;
  /** Told to `onLost`, and not yet to `onResync`. */
  #blind: string | undefined;
  /** The socket failed; a new one is due. */
  #broken = false;
  #unreferenced = false;
  #resync: Resync | undefined;
  #retry = FIRST_RETRY;
  #retryTimer: NodeJS.Timeout | undefined;
  #continuation: NodeJS.Immediate | undefined;
  #closed = false;

  /** Resolves with the first picture read. @throws SystemCallError */
  static async open(options: SubscriptionOptions): Promise<Subscription> {
    const subscription = new Subscription(options);
    await subscription.synchronized();
    return subscription;
  }

  private constructor(options: SubscriptionOptions) {
    this.#options = options;
    this.#kinds = new Set(options.kinds);
    this.#now = options.now ?? (() => performance.now());
    this.#socket = openSubscribed(options);
    try {
      this.#rtnetlink = Rtnetlink.open({ netns: options.netns });
    } catch (error) {
      this.#socket.close();
      throw error;
    }
    this.#rtnetlink.unref();
    this.#socket.onReadable(() => this.#readable());
    this.#startResync();
  }

  /** What the kernel holds, as far as told; of the keys only `neighbourKey` is for outside use. */
  table<K extends Kind>(kind: K): ReadonlyMap<string, ObjectOf[K]> {
    return this.#tables[kind];
  }

  /** Runs in the turn in which the notification was read, in order. Returns the unsubscriber. */
  onChange(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Runs when what an overrun lost has been read again, after the changes found. An object that went and came back
   * meanwhile shows no difference, yet what hung on it (the routes of a link) may be gone. Returns the unsubscriber.
   */
  onResync(listener: () => void): () => void {
    this.#resyncListeners.add(listener);
    return () => this.#resyncListeners.delete(listener);
  }

  /**
   * Runs when notifications were lost, before anything else is read: until the next `onResync` the tables may be wrong.
   * Returns the unsubscriber.
   */
  onLost(listener: (reason: string) => void): () => void {
    this.#lostListeners.add(listener);
    return () => this.#lostListeners.delete(listener);
  }

  /** Why the tables may be wrong now. */
  get lost(): string | undefined {
    return this.#blind;
  }

  /** Resolves when no resync is wanted or under way. */
  synchronized(): Promise<void> {
    if (!this.#lost && !this.#resync) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Reads what has arrived, in this turn, instead of waiting to be told that the socket is readable. */
  readNow(): void {
    if (!this.#closed && !this.#broken) this.#readable();
  }

  unref(): void {
    this.#unreferenced = true;
    this.#socket.unref();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#retryTimer);
    this.#socket.close();
    this.#rtnetlink.close();
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  #readable(): void {
    const at = this.#now();
    let outcome: 'empty' | 'more' | 'overrun' = 'overrun';
    try {
      for (let round = 0; round < ROUNDS_PER_TURN && outcome === 'overrun' && !this.#closed; round++) {
        outcome = receive(this.#socket, this.counters, ROUNDS_PER_TURN, (message) => this.#notified(message, at));
        if (outcome === 'overrun') this.#overrun('the kernel dropped notifications');
      }
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      this.#fail(error);
    }
    if (this.#closed || this.#broken) return;
    // Nothing more may come to tell us that the socket is empty now.
    if (outcome !== 'empty' && this.#lost) {
      this.#continuation ??= setImmediate(() => {
        this.#continuation = undefined;
        if (!this.#closed && !this.#broken) this.#readable();
      });
    } else if (outcome === 'empty' && this.#lost && !this.#resync && !this.#retryTimer) this.#startResync();
  }

  #overrun(reason: string): void {
    this.#lost = true;
    if (this.#resync) this.#resync.spoiled = true;
    if (this.#blind !== undefined) return;
    this.#blind = reason;
    for (const listener of this.#lostListeners) guarded(listener, reason);
  }

  /** Nothing more will come from this socket. */
  #fail(error: SystemCallError): void {
    this.#broken = true;
    this.#socket.close();
    this.#overrun(`the socket failed: ${error.code}`);
    this.#options.onError?.(error);
    this.#tryAgain();
  }

  #tryAgain(): void {
    if (this.#retryTimer || this.#closed) return;
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      if (this.#broken && !this.#reopen()) this.#tryAgain();
      else this.#readable();
    }, this.#retry);
    if (this.#unreferenced) this.#retryTimer.unref();
    this.#retry = Math.min(this.#retry * 2, LONGEST_RETRY);
  }

  #reopen(): boolean {
    try {
      this.#socket = openSubscribed(this.#options);
    } catch (error) {
      this.#options.onError?.(error);
      return false;
    }
    this.#broken = false;
    if (this.#unreferenced) this.#socket.unref();
    this.#socket.onReadable(() => this.#readable());
    return true;
  }

  #startResync(): void {
    this.#lost = false;
    const resync: Resync = { touched: new Map(), spoiled: false };
    for (const kind of this.#kinds) resync.touched.set(kind, new Set());
    this.#resync = resync;
    this.#readAll()
      .catch((error: unknown) => {
        resync.spoiled = true;
        if (!this.#closed) this.#options.onError?.(error);
        return [];
      })
      .then((tables) => this.#resyncRead(resync, tables));
  }

  #readAll(): Promise<[Kind, ObjectOf[Kind][]][]> {
    return Promise.all(
      [...this.#kinds].map(async (kind) => [kind, await READ[kind](this.#rtnetlink)] as [Kind, ObjectOf[Kind][]]),
    );
  }

  async #resyncRead(resync: Resync, tables: readonly [Kind, ObjectOf[Kind][]][]): Promise<void> {
    for (const [kind, values] of tables) await this.#compare(kind, values, resync);
    if (this.#closed) return;
    this.#resync = undefined;
    if (resync.spoiled) {
      this.#lost = true;
      this.#tryAgain();
      return;
    }
    this.#retry = FIRST_RETRY;
    this.counters.resyncs++;
    this.#blind = undefined;
    for (const listener of this.#resyncListeners) guarded(listener);
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** In portions, so that other events come in between; what notifications touch meanwhile is theirs. */
  async #compare<K extends Kind>(kind: K, values: readonly ObjectOf[K][], resync: Resync): Promise<void> {
    const table = this.#tables[kind];
    const touched = resync.touched.get(kind)!;
    const present = new Set<string>();
    for (let index = 0; index < values.length && !resync.spoiled && !this.#closed; index++) {
      if (index % COMPARED_PER_TURN === COMPARED_PER_TURN - 1) await nextTurn();
      const value = values[index]!;
      const key = keyOf[kind](value);
      present.add(key);
      const before = table.get(key);
      if (!touched.has(key) && !(before && sameValue(before, value))) this.#put(kind, key, value, this.#now(), true);
    }
    if (resync.spoiled || this.#closed) return;
    for (const key of [...table.keys()]) {
      if (!present.has(key) && !touched.has(key)) this.#put(kind, key, undefined, this.#now(), true);
    }
  }

  #notified(message: Message, at: number): void {
    switch (message.type) {
      case RTM.NEWLINK:
      case RTM.DELLINK:
        this.#take('link', decodeLink(message), message, at);
        break;
      case RTM.NEWADDR:
      case RTM.DELADDR:
        this.#take('address', decodeInterfaceAddress(message), message, at);
        break;
      case RTM.NEWNEIGH:
      case RTM.DELNEIGH: {
        const bridge = message.bytes[message.start] === AF.BRIDGE;
        this.#take(bridge ? 'fdb' : 'neighbour', decodeNeighbour(message), message, at);
        break;
      }
      case RTM.NEWROUTE:
      case RTM.DELROUTE:
        this.#take('route', decodeRoute(message), message, at);
        break;
      case RTM.NEWRULE:
      case RTM.DELRULE:
        this.#take('rule', decodeRule(message), message, at);
        break;
      case RTM.NEWNEXTHOP:
      case RTM.DELNEXTHOP:
        this.#take('nexthop', decodeNextHop(message), message, at);
        break;
    }
  }

  #take<K extends Kind>(kind: K, value: ObjectOf[K] | Malformed, message: Message, at: number): void {
    if (!this.#kinds.has(kind)) return;
    if (value instanceof Malformed) {
      countMalformed(this.counters, value);
      return;
    }
    const table = this.#tables[kind];
    const deleted = (message.type & 3) === 1;
    if (kind === 'route' && !deleted && message.flags & NLM_F.REPLACE) this.#dropReplaced(value as Route, at);
    const key = keyOf[kind](value);
    const before = table.get(key);
    const after = merged(kind, before, value, deleted);
    if (!before && !after) {
      // Still an event for the resync: the dump may show the object from before its deletion.
      this.#resync?.touched.get(kind)?.add(key);
      return;
    }
    this.#put(kind, key, after, at, false);
  }

  /** A replaced device route may have stood on another interface, under another key. */
  #dropReplaced(route: Route, at: number): void {
    const own = keyOf.route(route);
    for (const key of [...(this.#routeSlots.get(routeSlot(route)) ?? [])]) {
      if (key !== own) this.#put('route', key, undefined, at, false);
    }
  }

  #indexSlot(key: string, before: Route | undefined, after: Route | undefined): void {
    if (before && !after) {
      const slot = routeSlot(before);
      const keys = this.#routeSlots.get(slot);
      keys?.delete(key);
      if (keys?.size === 0) this.#routeSlots.delete(slot);
    } else if (after && !before) {
      const slot = routeSlot(after);
      const keys = this.#routeSlots.get(slot);
      if (keys) keys.add(key);
      else this.#routeSlots.set(slot, new Set([key]));
    }
  }

  #put<K extends Kind>(kind: K, key: string, after: ObjectOf[K] | undefined, at: number, resync: boolean): void {
    const table = this.#tables[kind];
    const before = table.get(key);
    if (after === undefined) table.delete(key);
    else table.set(key, after);
    if (kind === 'route') this.#indexSlot(key, before as Route | undefined, after as Route | undefined);
    if (!resync) this.#resync?.touched.get(kind)?.add(key);
    const change = { kind, before, after, at, resync } as unknown as Change;
    for (const listener of this.#listeners) guarded(listener, change);
  }
}

/** The rest of what was read must not be lost by one listener's mistake; it surfaces as an uncaught exception. */
function guarded<A extends unknown[]>(listener: (...told: A) => void, ...told: A): void {
  try {
    listener(...told);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
