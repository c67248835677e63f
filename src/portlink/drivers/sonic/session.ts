/**
 * One life of the connection to SONiC's Redis: APPL_DB, CONFIG_DB, and the notifications. It ends once, with a reason,
 * when any of the three is lost or Redis stops answering; a new life begins with a full reading.
 */
import { createClient } from '@redis/client';
import type { Clock, Timer } from '../../../model/clock.ts';
import type { Log } from '../../../model/log.ts';
import type { PortNeighbour } from '../../../model/ports.ts';
import type { Picture } from './picture.ts';
import { readBox, readLagOper, readRunning } from './reading.ts';
import {
  DATABASE,
  DEMAND,
  lldpRow,
  type Notification,
  notifiesEnough,
  parseLldp,
  parseNotification,
  type Value,
  WATCHED_CHANNELS,
} from './schema.ts';

/** A path of a Unix socket, or host:port. */
export type RedisAddress = string;

const CONNECT_TIMEOUT = 2_000;
const PING_INTERVAL = 1_000;
/** A Redis that is busy with something long (a save, a big KEYS) is not gone. */
const PING_PATIENCE = 5_000;
/** Demands and readings that may wait in the client; beyond that they fail. */
const MAXIMUM_QUEUE = 10_000;

/** What is used of a Redis client, with the replies of RESP 2; `@redis/client`'s fits. */
export interface RedisClient {
  readonly isOpen: boolean;
  connect(): Promise<unknown>;
  destroy(): void;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
  ping(): Promise<unknown>;
  exists(key: string): Promise<number>;
  keys(pattern: string): Promise<string[]>;
  hGet(key: string, field: string): Promise<Value>;
  hmGet(key: string, fields: string[]): Promise<Value[]>;
  hGetAll(key: string): Promise<Record<string, string>>;
  configGet(key: string): Promise<Record<string, string>>;
  configSet(key: string, value: string): Promise<unknown>;
  /** `message`: the event, `hset` or `del`. */
  pSubscribe(patterns: string[], listener: (message: string, channel: string) => void): Promise<unknown>;
  multi(): RedisTransaction;
}

export interface RedisTransaction {
  sAdd(key: string, members: string[]): RedisTransaction;
  hSet(key: string, field: string, value: string): RedisTransaction;
  publish(channel: string, message: string): RedisTransaction;
  exec(): Promise<unknown>;
}

/** Makes one that is not connected yet. */
export type MakeRedisClient = (address: RedisAddress, database: number) => RedisClient;

const realClient: MakeRedisClient = (address, database) => {
  const colon = address.lastIndexOf(':');
  const common = { connectTimeout: CONNECT_TIMEOUT, reconnectStrategy: false as const };
  const socket = address.startsWith('/')
    ? { ...common, path: address, tls: false as const }
    : { ...common, host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
  // RESP 2: the Redis of older images (5.0) knows no other.
  return createClient({
    socket,
    database,
    RESP: 2,
    disableOfflineQueue: true,
    commandsQueueMaxLength: MAXIMUM_QUEUE,
    name: 'peerless',
    // Its own types know of more kinds of replies than RESP 2 has.
  }) as unknown as RedisClient;
};

export interface SessionOptions {
  readonly address: RedisAddress;
  readonly clock: Clock;
  readonly log: Log;
  readonly onNotification: (notification: Notification) => void;
  readonly onLost: (reason: string) => void;
  /** The real one when absent. */
  readonly makeClient?: MakeRedisClient | undefined;
}

export class Session {
  readonly #appl: RedisClient;
  readonly #config: RedisClient;
  readonly #listener: RedisClient;
  readonly #options: SessionOptions;
  #pulse: Timer | undefined;
  #over = false;

  /** Connected and subscribed: what changes from here on is notified. Rejects when Redis can't be reached. */
  static async open(options: SessionOptions): Promise<Session> {
    const session = new Session(options);
    try {
      await Promise.all([session.#appl.connect(), session.#config.connect(), session.#listener.connect()]);
      await session.#ensureNotifications();
      await session.#listener.pSubscribe([...WATCHED_CHANNELS], (_event, channel) => {
        const notification = parseNotification(channel);
        if (notification && !session.#over) options.onNotification(notification);
      });
    } catch (error) {
      session.close();
      throw error;
    }
    session.#beat();
    return session;
  }

  private constructor(options: SessionOptions) {
    this.#options = options;
    const { makeClient = realClient } = options;
    this.#appl = makeClient(options.address, DATABASE.APPL);
    this.#config = makeClient(options.address, DATABASE.CONFIG);
    this.#listener = makeClient(options.address, DATABASE.APPL);
    for (const client of [this.#appl, this.#config, this.#listener]) {
      client.on('error', (error: Error) => this.#lost(error.message));
      client.on('end', () => this.#lost('the connection was closed'));
    }
  }

  close(): void {
    this.#over = true;
    this.#pulse?.cancel();
    for (const client of [this.#appl, this.#config, this.#listener]) if (client.isOpen) client.destroy();
  }

  /** Everything. undefined while SONiC has not loaded its configuration or not made its ports. */
  async read(): Promise<Picture | undefined> {
    const { configured, made, picture } = await readBox(this.#appl, this.#config);
    return configured && made ? picture : undefined;
  }

  /** Some rows of APPL_DB afresh, all in one pipeline; what CONFIG_DB says is taken from `picture`. */
  async refresh(picture: Picture, names: readonly string[]): Promise<Picture> {
    const ports = new Map(picture.ports);
    const lags = new Map(picture.lags);
    await Promise.all(
      names.map(async (name) => {
        const port = picture.ports.get(name);
        const lag = picture.lags.get(name);
        if (port) ports.set(name, { ...port, ...(await readRunning(this.#appl, name)) });
        else if (lag) lags.set(name, { ...lag, oper: await readLagOper(this.#appl, name) });
      }),
    );
    return { ports, lags };
  }

  /** What LLDP says of these ports; SONiC's lldp container writes it. */
  async lldp(names: readonly string[]): Promise<Map<string, PortNeighbour>> {
    const rows = await Promise.all(names.map((name) => this.#appl.hGetAll(lldpRow(name))));
    return new Map(
      rows.flatMap((row, index) => {
        const neighbour = parseLldp(row);
        return neighbour ? [[names[index]!, neighbour] as const] : [];
      }),
    );
  }

  /**
   * Asks orchagent to set the admin state of all of `ports`: one transaction, written in one piece. Resolves when Redis
   * has it, which is before the hardware does.
   */
  async demand(ports: readonly string[], up: boolean): Promise<void> {
    const transaction = this.#appl.multi().sAdd(DEMAND.names, [...ports]);
    for (const port of ports) transaction.hSet(DEMAND.row(port), 'admin_status', up ? 'up' : 'down');
    await transaction.publish(DEMAND.channel, DEMAND.call).exec();
  }

  async #ensureNotifications(): Promise<void> {
    const key = 'notify-keyspace-events';
    const flags = (await this.#config.configGet(key))[key] ?? '';
    if (notifiesEnough(flags)) return;
    await this.#config.configSet(key, `${flags.includes('K') ? flags : `${flags}K`}gh`);
    this.#options.log.info({ before: flags }, 'sonic: keyspace notifications of Redis were switched on');
  }

  #beat(): void {
    const { clock } = this.#options;
    const overdue = clock.schedule(clock.now() + PING_PATIENCE, () => this.#lost('Redis does not answer'));
    this.#pulse = overdue;
    this.#appl.ping().then(
      () => {
        overdue.cancel();
        if (!this.#over) this.#pulse = clock.schedule(clock.now() + PING_INTERVAL, () => this.#beat());
      },
      // An error in reply to a ping (BUSY, LOADING) ends this life too: without a pulse nobody would notice the next silence.
      (error: Error) => {
        overdue.cancel();
        this.#lost(error.message);
      },
    );
  }

  #lost(reason: string): void {
    if (this.#over) return;
    this.close();
    this.#options.onLost(reason);
  }
}
