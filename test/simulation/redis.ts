/** SONiC's Redis of one switch: two databases, keyspace notifications, clients that lose it. It outlives the agent. */
import type { MakeRedisClient, RedisClient, RedisTransaction } from '../../src/portlink/drivers/sonic/session.ts';
import type { Call, Fate } from './calls.ts';
import type { LifeClock, VirtualClock } from './clock.ts';
import type { Random } from './random.ts';

type Row = Map<string, string>;
type Job = () => void;

export interface RedisUser {
  readonly clock: LifeClock;
  readonly fate: Fate;
  enter(call: Call): void;
}

export class Redis {
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #rows = new Map<string, Row>();
  readonly #clients = new Set<Client>();
  readonly #channels = new Map<string, () => void>();
  /** Commands that came while it did not answer. */
  #waiting: Job[] | undefined;
  running = true;
  /** Something happened that an agent needs time to get over. */
  troubledAt = Number.NEGATIVE_INFINITY;

  constructor(clock: VirtualClock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  // ---- for the daemons on the same box: at once

  row(database: number, key: string): ReadonlyMap<string, string> | undefined {
    return this.#rows.get(`${database} ${key}`);
  }

  keys(database: number, prefix: string): string[] {
    const head = `${database} ${prefix}`;
    return [...this.#rows.keys()].filter((key) => key.startsWith(head)).map((key) => key.slice(`${database} `.length));
  }

  set(database: number, key: string, fields: Readonly<Record<string, string>>): void {
    const row = this.#rows.get(`${database} ${key}`) ?? new Map<string, string>();
    this.#rows.set(`${database} ${key}`, row);
    for (const [field, value] of Object.entries(fields)) row.set(field, value);
    this.#tell(database, key, 'hset');
  }

  delete(database: number, key: string): void {
    if (this.#rows.delete(`${database} ${key}`)) this.#tell(database, key, 'del');
  }

  /** A daemon listens to calls on a channel. */
  listen(channel: string, run: () => void): void {
    this.#channels.set(channel, run);
  }

  publish(channel: string): void {
    this.#channels.get(channel)?.();
  }

  // ---- what befalls it

  /** Killed; what it holds is there again when it comes back. */
  stop(): void {
    this.running = false;
    this.#waiting = undefined;
    this.trouble();
    for (const client of [...this.#clients]) client.lose('Socket closed unexpectedly');
  }

  start(): void {
    this.running = true;
    this.trouble();
  }

  /** It hangs, or goes on with what has come meanwhile. */
  freeze(frozen: boolean): void {
    this.trouble();
    const waiting = this.#waiting;
    this.#waiting = frozen ? (waiting ?? []) : undefined;
    if (!frozen) for (const job of waiting ?? []) job();
  }

  trouble(): void {
    this.troubledAt = this.#clock.now();
  }

  // ---- for clients

  clients(user: RedisUser): MakeRedisClient {
    return (_address, database) => {
      const client = new Client(this, database, user, this.#clock, this.#random);
      return client;
    };
  }

  joins(client: Client): void {
    this.#clients.add(client);
  }

  leaves(client: Client): void {
    this.#clients.delete(client);
  }

  perform(job: Job): void {
    if (this.#waiting) this.#waiting.push(job);
    else job();
  }

  #tell(database: number, key: string, event: string): void {
    if (!this.running) return;
    const channel = `__keyspace@${database}__:${key}`;
    for (const client of [...this.#clients]) client.notify(event, channel);
  }
}

class Client implements RedisClient {
  isOpen = false;
  readonly #redis: Redis;
  readonly #database: number;
  readonly #user: RedisUser;
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #errors: ((error: Error) => void)[] = [];
  readonly #ends: (() => void)[] = [];
  readonly #rejects = new Set<(error: Error) => void>();
  #patterns: string[] = [];
  #listener: ((message: string, channel: string) => void) | undefined;
  /** One connection: nothing overtakes. */
  #arrival = 0;
  #reply = 0;

  constructor(redis: Redis, database: number, user: RedisUser, clock: VirtualClock, random: Random) {
    this.#redis = redis;
    this.#database = database;
    this.#user = user;
    this.#clock = clock;
    this.#random = random;
  }

  on(event: 'error' | 'end', listener: ((error: Error) => void) | (() => void)): void {
    if (event === 'error') this.#errors.push(listener);
    else this.#ends.push(listener as () => void);
  }

  connect(): Promise<void> {
    this.isOpen = true;
    return new Promise((resolve, reject) => {
      this.#clock.after(this.#random.between(0.1, 2), () => {
        if (this.#user.clock.dead || !this.isOpen) return;
        if (!this.#redis.running || this.#user.fate.strikes('Redis: connect', 'error')) {
          this.isOpen = false;
          reject(new Error('connect ECONNREFUSED'));
          return;
        }
        this.#redis.joins(this);
        resolve();
      });
    });
  }

  destroy(): void {
    this.isOpen = false;
    this.#redis.leaves(this);
    for (const reject of this.#rejects) reject(new Error('The client is closed'));
    this.#rejects.clear();
  }

  lose(reason: string): void {
    this.#redis.leaves(this);
    if (this.#user.clock.dead || !this.isOpen) return;
    this.isOpen = false;
    for (const reject of this.#rejects) reject(new Error(reason));
    this.#rejects.clear();
    for (const listener of this.#errors) listener(new Error(reason));
    for (const listener of this.#ends) listener();
  }

  notify(event: string, channel: string): void {
    const patterns = this.#patterns.map((pattern) => pattern.slice(0, -1));
    if (!this.#listener || this.#user.clock.dead || !patterns.some((head) => channel.startsWith(head))) return;
    const { fate } = this.#user;
    if (fate.strikes('Redis: notification', 'lost')) {
      // Its output buffer was full: Redis ends the connection (client-output-buffer-limit pubsub).
      this.#redis.trouble();
      this.#clock.after(0.1, () => this.lose('Socket closed unexpectedly'));
      return;
    }
    const late = fate.strikes('Redis: notification', 'delay') ? this.#random.between(1, 60) : 0;
    this.#reply = Math.max(this.#reply, this.#clock.now() + late + this.#random.between(0.05, 0.3));
    this.#clock.schedule(this.#reply, () => {
      if (this.isOpen && !this.#user.clock.dead) this.#listener?.(event, channel);
    });
  }

  #command<T>(run: () => T): Promise<T> {
    const { clock, fate, enter } = this.#user;
    enter('Redis: command');
    if (clock.dead) return new Promise(() => {});
    if (!this.isOpen) return Promise.reject(new Error('The client is closed'));
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#rejects.add(reject);
    const late = fate.strikes('Redis: command', 'delay') ? this.#random.between(1, 60) : 0;
    this.#arrival = Math.max(this.#arrival, this.#clock.now() + this.#random.between(0.03, 0.2));
    this.#clock.schedule(this.#arrival, () => {
      if (!this.isOpen || !this.#redis.running) return;
      this.#redis.perform(() => {
        const refused = fate.strikes('Redis: command', 'error');
        const answer = refused ? undefined : run();
        if (refused) this.#redis.trouble();
        this.#reply = Math.max(this.#reply, this.#clock.now() + late + this.#random.between(0.03, 0.2));
        this.#clock.schedule(this.#reply, () => {
          if (!this.#rejects.delete(reject) || clock.dead) return;
          if (refused) reject(new Error('BUSY Redis is busy running a script'));
          else resolve(answer as T);
        });
      });
    });
    return promise;
  }

  ping = (): Promise<string> => this.#command(() => 'PONG');

  exists(key: string): Promise<number> {
    return this.#command(() => (this.#redis.row(this.#database, key) ? 1 : 0));
  }

  keys(pattern: string): Promise<string[]> {
    return this.#command(() => this.#redis.keys(this.#database, pattern.slice(0, -1)));
  }

  hGet(key: string, field: string): Promise<string | null> {
    return this.#command(() => this.#redis.row(this.#database, key)?.get(field) ?? null);
  }

  hmGet(key: string, fields: string[]): Promise<(string | null)[]> {
    return this.#command(() => fields.map((field) => this.#redis.row(this.#database, key)?.get(field) ?? null));
  }

  hGetAll(key: string): Promise<Record<string, string>> {
    return this.#command(() => Object.fromEntries(this.#redis.row(this.#database, key) ?? []));
  }

  configGet(key: string): Promise<Record<string, string>> {
    return this.#command(() => ({ [key]: 'AKE' }));
  }

  configSet(): Promise<string> {
    return this.#command(() => 'OK');
  }

  pSubscribe(patterns: string[], listener: (message: string, channel: string) => void): Promise<void> {
    return this.#command(() => {
      this.#patterns = patterns.map((pattern) => (pattern.endsWith('*') ? pattern : `${pattern}*`));
      this.#listener = listener;
    });
  }

  multi(): RedisTransaction {
    const steps: Job[] = [];
    const transaction: RedisTransaction = {
      sAdd: (key, members) => {
        steps.push(() =>
          this.#redis.set(this.#database, key, Object.fromEntries(members.map((each) => [each, 'agent']))),
        );
        return transaction;
      },
      hSet: (key, field, value) => {
        steps.push(() => this.#redis.set(this.#database, key, { [field]: value }));
        return transaction;
      },
      publish: (channel) => {
        steps.push(() => this.#redis.publish(channel));
        return transaction;
      },
      exec: () =>
        this.#command(() => {
          for (const step of steps) step();
        }),
    };
    return transaction;
  }
}
