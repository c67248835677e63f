/**
 * The ports of a SONiC switch (docs/sonic.md): read from APPL_DB and CONFIG_DB, shut and opened through APPL_DB, as its
 * own daemons do.
 *
 * It stands in front of the kernel's `LinkState`: ports that SONiC knows are told as both see them, all others (Vlan
 * interfaces, loopbacks, eth0) as the kernel alone does. A mirror of the rows is kept by keyspace notifications; what a
 * notification is about is read again, in one pipeline for all that came meanwhile, and the difference told.
 *
 * Invariants
 * - While Redis is gone, or SONiC is making its ports anew, we are blind: the picture stays as it was, nothing is
 *   written, and who listens to `onBlind` knows. Afterwards everything is read and the difference told, then sight is.
 * - An opening never overrules the operator: a port whose CONFIG_DB admin_status is down is left down.
 * - A demand to shut that is given up, because orchagent does not take it up in time or because SONiC is making its
 *   ports anew, is taken back, and again until that is seen: it must not shut a port later that nobody remembers.
 * - A port that comes up though neither we nor the operator asked for it was opened by SONiC's own restart. It is told
 *   as another port of the same name, so that a group decides on it anew and does not leave it to "somebody".
 */
import type { Clock, Instant, Timer } from '../../../model/clock.ts';
import type { Log } from '../../../model/log.ts';
import type { LinkState, Port, PortChange, PortDriver, PortNeighbour } from '../../../model/ports.ts';
import { Demands, errorsOf } from './demands.ts';
import { EMPTY, isKnown, isShut, namesOf, type Picture, portOf, samePort, targetsOf } from './picture.ts';
import { DEFAULT_SOCKET, type Notification } from './schema.ts';
import { type MakeRedisClient, type RedisAddress, Session } from './session.ts';

export interface SonicPortsOptions {
  /** The kernel: interfaces, addresses, and the ports that SONiC does not know. */
  readonly beneath: LinkState & PortDriver;
  readonly clock: Clock;
  readonly log: Log;
  readonly redis?: RedisAddress;
  /** ms until a demand that nothing came of has failed; default 10 s. */
  readonly patience?: number;
  /** Simulations give their own Redis. */
  readonly makeClient?: MakeRedisClient;
}

export type BlindListener = (blind: boolean, reason: string) => void;

const PATIENCE = 10_000;
const FIRST_RETRY = 50;
const LAST_RETRY = 1_000;
/** From an operator's write to what portmgrd makes of it, ms. */
const OPERATOR_WINDOW = 5_000;
/** While SONiC is not ready, or did not take a demand, it is looked at again also without a notification, ms. */
const READINESS_INTERVAL = 1_000;

export class SonicPorts implements LinkState, PortDriver {
  readonly counters = { notifications: 0, readings: 0, sessions: 0, demands: 0, demandsFailed: 0, restarts: 0 };
  readonly #options: SonicPortsOptions;
  readonly #demands = new Demands();
  readonly #listeners = new Set<(change: PortChange) => void>();
  readonly #blindListeners = new Set<BlindListener>();
  readonly #told = new Map<string, Port | undefined>();
  /** When the operator wrote a port's row in CONFIG_DB. */
  readonly #operator = new Map<string, Instant>();
  readonly #stale = new Set<string>();
  readonly #firstPicture = Promise.withResolvers<void>();
  readonly #unsubscribe: () => void;
  #picture: Picture = EMPTY;
  #session: Session | undefined;
  #sighted = false;
  #blindReason = 'SONiC has not been read yet';
  #everythingStale = false;
  #reading = false;
  #retry = FIRST_RETRY;
  #timers = new Map<'connect' | 'readiness' | 'patience', Timer>();
  #closed = false;

  /**
   * Resolves with the first complete picture; as long as Redis or SONiC are not there it waits for them, for without
   * the ports as they are nobody could say which of them an earlier run has shut.
   */
  static async open(options: SonicPortsOptions): Promise<SonicPorts> {
    const ports = new SonicPorts(options);
    ports.#connect();
    await ports.#firstPicture.promise;
    return ports;
  }

  private constructor(options: SonicPortsOptions) {
    this.#options = options;
    this.#unsubscribe = options.beneath.onChange((change) => this.#kernelChanged(change));
  }

  /** By SONiC's name; an alias (`etp2`) finds its port too. */
  port(name: string): Port | undefined {
    return this.#port(name) ?? this.#port(this.nameOf(name));
  }

  /** SONiC's name of a port that is given by name or alias. */
  nameOf(nameOrAlias: string): string {
    if (isKnown(this.#picture, nameOrAlias)) return nameOrAlias;
    for (const [name, { alias }] of this.#picture.ports) if (alias === nameOrAlias) return name;
    return nameOrAlias;
  }

  /** Shut though the operator wants it up; undefined: SONiC knows no such port. */
  isShut = (name: string): boolean | undefined => isShut(this.#picture, name);

  portByIndex(ifindex: number): Port | undefined {
    const port = this.#options.beneath.portByIndex(ifindex);
    return port && this.#port(port.name);
  }

  *ports(): Iterable<Port> {
    for (const { name } of this.#options.beneath.ports()) {
      const port = this.#port(name);
      if (port) yield port;
    }
    for (const name of namesOf(this.#picture)) {
      const port = this.#options.beneath.port(name) ? undefined : this.#port(name);
      if (port) yield port;
    }
  }

  onChange(listener: (change: PortChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Who is at the other end of each port; undefined while SONiC's databases are out of reach. */
  async lldp(): Promise<ReadonlyMap<string, readonly PortNeighbour[]> | undefined> {
    const rows = await this.#session?.lldp([...this.#picture.ports.keys()]);
    return rows && new Map(Array.from(rows, ([name, neighbour]) => [name, [neighbour]] as const));
  }

  get blind(): string | undefined {
    return this.#sighted ? undefined : this.#blindReason;
  }

  /**
   * Called at each loss and return of sight, and now when there is none; the differences of the time between are told
   * before the return.
   */
  onBlind(listener: BlindListener): () => void {
    this.#blindListeners.add(listener);
    if (!this.#sighted) listener(true, this.#blindReason);
    return () => this.#blindListeners.delete(listener);
  }

  /**
   * Resolves when the running state of every port is as asked; rejects with an AggregateError that names those of which
   * that is not so. Ports that SONiC does not know are the kernel's.
   */
  async setAdmin(names: readonly string[], up: boolean): Promise<void> {
    const foreign = names.filter((name) => !isKnown(this.#picture, name));
    const own = [...new Set(names.flatMap((name) => targetsOf(this.#picture, name)))];
    const empty = names.filter((name) => isKnown(this.#picture, name) && targetsOf(this.#picture, name).length === 0);
    const answers = [
      ...(own.length > 0 ? [this.#demand(own, up)] : []),
      ...(foreign.length > 0 ? [this.#options.beneath.setAdmin(foreign, up)] : []),
      ...empty.map((name) => Promise.reject(new Error(`${name}: a port channel without members can't be set`))),
    ];
    const errors = (await Promise.allSettled(answers)).flatMap((answer) =>
      answer.status === 'fulfilled' ? [] : errorsOf(answer.reason),
    );
    if (errors.length > 0) throw new AggregateError(errors, errors.map(({ message }) => message).join('; '));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unsubscribe();
    for (const timer of this.#timers.values()) timer.cancel();
    this.#session?.close();
    this.#demands.abandon('the agent is leaving');
    this.#firstPicture.reject(new Error('closed'));
    // Nobody may be waiting for it.
    this.#firstPicture.promise.catch(() => undefined);
  }

  #port(name: string): Port | undefined {
    return portOf(this.#picture, name, this.#options.beneath.port(name));
  }

  // ---- demands

  #demand(targets: readonly string[], up: boolean): Promise<void> {
    const { clock } = this.#options;
    const session = this.#session;
    if (!session || !this.#sighted) {
      return Promise.reject(new AggregateError(targets.map((port) => new Error(`${port}: ${this.#blindReason}`))));
    }
    // The operator has shut it while we had it shut: then it is his.
    const wanted = up ? targets.filter((port) => this.#picture.ports.get(port)?.configUp) : targets;
    if (wanted.length === 0) return Promise.resolve();
    this.counters.demands++;
    const answer = this.#demands.add(wanted, up, clock.now() + (this.#options.patience ?? PATIENCE));
    answer.catch(() => {
      this.counters.demandsFailed++;
    });
    // A write that fails has lost its connection, or is never seen done: both are found out below.
    session.demand(wanted, up).then(
      () => this.#refresh(wanted),
      (error: Error) => this.#options.log.warn({ err: error, ports: wanted }, 'sonic: a demand was not written'),
    );
    this.#armPatience();
    return answer;
  }

  #armPatience(): void {
    const due = this.#demands.due();
    this.#timers.get('patience')?.cancel();
    if (due !== undefined && this.#sighted) this.#arm('patience', due, () => this.#expire());
  }

  /** While blind nothing can be said: it is found out when everything is read again. */
  #expire(): void {
    if (!this.#sighted) return;
    this.#demands.expire(this.#options.clock.now());
    this.#takeBack();
    this.#armPatience();
  }

  #takeBack(): void {
    const ports = this.#demands.strays(this.#picture);
    if (ports.length === 0) return;
    this.#session?.demand(ports, true).then(
      () => this.#refresh(ports),
      (error: Error) => {
        this.#options.log.warn({ err: error, ports }, 'sonic: a demand to shut was not taken back');
        this.#readSoon();
      },
    );
  }

  // ---- sight

  #connect(): void {
    const { clock, log, redis = DEFAULT_SOCKET, makeClient } = this.#options;
    let lost = false;
    const opening = Session.open({
      address: redis,
      makeClient,
      clock,
      log,
      onNotification: (notification) => this.#notified(notification),
      onLost: (reason) => {
        lost = true;
        if (this.#session) this.#lost(reason);
      },
    });
    opening.then(
      (session) => {
        if (this.#closed || lost) {
          session.close();
          if (!this.#closed) this.#lost('Redis went away again');
          return;
        }
        this.counters.sessions++;
        this.#session = session;
        this.#everythingStale = true;
        this.#read();
      },
      (error: Error) => this.#lost(error.message || String(error)),
    );
  }

  #lost(reason: string): void {
    if (this.#closed) return;
    this.#session?.close();
    this.#session = undefined;
    this.#goBlind(`Redis is gone: ${reason}`);
    this.#arm('connect', this.#options.clock.now() + this.#retry, () => this.#connect());
    this.#retry = Math.min(this.#retry * 2, LAST_RETRY);
  }

  #goBlind(reason: string): void {
    const news = this.#sighted || reason !== this.#blindReason;
    this.#blindReason = reason;
    const wasSighted = this.#sighted;
    this.#sighted = false;
    if (news) this.#options.log.warn({}, `sonic: ${reason}; waiting for it`);
    if (wasSighted) for (const listener of this.#blindListeners) listener(true, reason);
  }

  #notified(notification: Notification): void {
    this.counters.notifications++;
    if (notification.of === 'row') {
      if (isKnown(this.#picture, notification.port)) this.#stale.add(notification.port);
      else this.#everythingStale = true;
    } else {
      // A configuration that is loaded, and ports that are made from it, are no operator's word on a single port.
      if (notification.of === 'restart') {
        this.counters.restarts++;
        this.#operator.clear();
      } else if (this.#sighted) this.#operator.set(notification.port, this.#options.clock.now());
      this.#everythingStale = true;
    }
    this.#read();
  }

  #refresh(ports: readonly string[]): void {
    for (const port of ports) this.#stale.add(port);
    this.#read();
  }

  /** One reading at a time; what becomes stale meanwhile is read by the next. */
  #read(): void {
    const session = this.#session;
    if (this.#reading || !session || !(this.#everythingStale || this.#stale.size > 0)) return;
    this.#reading = true;
    const everything = this.#everythingStale || !this.#sighted;
    const stale = [...this.#stale];
    this.#everythingStale = false;
    this.#stale.clear();
    this.counters.readings++;
    const answer = everything ? session.read() : session.refresh(this.#picture, stale);
    answer
      .then((picture) => {
        if (session === this.#session && !this.#closed) this.#take(picture);
      })
      .catch((error: Error) => {
        // A lost connection has told so itself. Anything else would leave the picture wrong: begin again.
        if (session === this.#session && !this.#closed) this.#lost(error.message);
      })
      .finally(() => {
        this.#reading = false;
        this.#read();
      });
  }

  #readSoon(): void {
    this.#arm('readiness', this.#options.clock.now() + READINESS_INTERVAL, () => {
      this.#everythingStale = true;
      this.#read();
    });
  }

  #take(picture: Picture | undefined): void {
    const { clock } = this.#options;
    if (!picture) {
      this.#goBlind('SONiC is making its ports');
      this.#readSoon();
      return;
    }
    const at = clock.now();
    this.#retry = FIRST_RETRY;
    const names = new Set([...namesOf(this.#picture), ...namesOf(picture)]);
    this.#picture = picture;
    for (const name of names) this.#tell(name, at);
    this.#demands.seen(picture);
    if (!this.#sighted) {
      this.#demands.lost(picture);
      this.#sighted = true;
      this.#blindReason = '';
      this.#armPatience();
      this.#options.log.info({ ports: picture.ports.size, lags: picture.lags.size }, 'sonic: ports read');
      this.#firstPicture.resolve();
      for (const listener of this.#blindListeners) listener(false, 'the ports were read again');
    }
    this.#takeBack();
  }

  // ---- telling

  #kernelChanged(change: PortChange): void {
    const { name, at } = change;
    if (!isKnown(this.#picture, name)) this.#emit(change);
    // By the picture of before, an opening of before would seem done now. It is told with the next picture, if it is one.
    else if (this.#sighted || !this.#opens(name)) this.#tell(name, at);
    // The member's change may be its port channel's too.
  }

  #opens(name: string): boolean {
    return this.#told.get(name)?.adminUp === false && this.#port(name)?.adminUp === true;
  }

  #tell(name: string, at: Instant): void {
    const before = this.#told.get(name);
    const after = this.#port(name);
    if (isKnown(this.#picture, name)) this.#told.set(name, after);
    else this.#told.delete(name);
    if (samePort(before, after)) return;
    if (before && after && !before.adminUp && after.adminUp && !this.#asked(name, at)) {
      this.#emit({ name, before, after: undefined, at });
      this.#emit({ name, before: undefined, after, at });
    } else this.#emit({ name, before, after, at });
  }

  /** By us, or by the operator. What comes up while a shutting is under way may do so by the opening of before. */
  #asked(name: string, at: Instant): boolean {
    const operator = (port: string): boolean => (this.#operator.get(port) ?? -Infinity) > at - OPERATOR_WINDOW;
    const byUs = (port: string): boolean => this.#demands.lastAsked(port) === true || this.#demands.isUnderWay(port);
    return operator(name) || targetsOf(this.#picture, name).some((port) => operator(port) || byUs(port));
  }

  #emit(change: PortChange): void {
    for (const listener of this.#listeners) listener(change);
  }

  #arm(name: 'connect' | 'readiness' | 'patience', at: Instant, run: () => void): void {
    if (this.#closed) return;
    this.#timers.get(name)?.cancel();
    this.#timers.set(name, this.#options.clock.schedule(at, run));
  }
}
