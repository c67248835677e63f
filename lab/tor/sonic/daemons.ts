/**
 * Stand-ins for SONiC's daemons between its databases and the ports: portmgrd (CONFIG_DB to the kernel's interface, and a
 * demand on APPL_DB), orchagent (demands into rows and hardware, oper state into rows), portsyncd (STATE_DB), teamsyncd
 * (LAG_TABLE). Rows and calls are those of sonic-swss and sonic-swss-common.
 */
import type { LinkState } from '../../../src/model/ports.ts';
import { type Client, connect } from './redis.ts';
import { DATABASE } from './rows.ts';

/** As orchagent's own: in one step out of the set and into the table; the hardware comes after it. */
const TAKE_DEMAND = `
local fields = redis.call('HGETALL', KEYS[2])
local admin = redis.call('HGET', KEYS[2], 'admin_status')
redis.call('SREM', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
for index = 1, #fields, 2 do redis.call('HSET', KEYS[3], fields[index], fields[index + 1]) end
return admin`;

const PORT_KEY = 'PORT|';
const MEMBER_KEY = 'PORTCHANNEL_MEMBER|';

export interface DaemonsOptions {
  readonly socket: string;
  /** Of the switch's namespace. */
  readonly kernel: Pick<LinkState, 'port' | 'onChange'>;
  /** Turns a port's laser on or off. */
  readonly hardware: (port: string, up: boolean) => void;
  /** Does what portmgrd asks of the kernel's interface; absent: the interface is the hardware. */
  readonly netdev?: (port: string, up: boolean) => void;
}

export class Daemons {
  /** Resolves when Redis has gone away under them. */
  readonly lost: Promise<void>;
  readonly #options: DaemonsOptions;
  readonly #lose: () => void;
  #clients: Client[] = [];
  #lags = new Map<string, string[]>();
  #paused = false;
  #work: Promise<unknown> = Promise.resolve();
  #unsubscribe: () => void = () => undefined;

  constructor(options: DaemonsOptions) {
    this.#options = options;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.lost = promise;
    this.#lose = resolve;
  }

  /**
   * swss from nothing: APPL_DB emptied, ports made from CONFIG_DB. `warm`: what is in APPL_DB has outlived Redis, and the
   * ports are as it says.
   */
  async start({ warm = false } = {}): Promise<void> {
    const { socket, kernel } = this.#options;
    const databases = [DATABASE.APPL, DATABASE.CONFIG, DATABASE.STATE, DATABASE.APPL];
    const clients = await Promise.all(databases.map((database) => connect(socket, database)));
    const [appl, config, state, listener] = clients as [Client, Client, Client, Client];
    this.#clients = clients;
    for (const client of clients) client.on('error', this.#lose).on('end', this.#lose);
    const names = (await config.keys(`${PORT_KEY}*`)).map((key) => key.slice(PORT_KEY.length));
    this.#lags = new Map();
    for (const key of await config.keys(`${MEMBER_KEY}*`)) {
      const [, lag, member] = key.split('|') as [string, string, string];
      this.#lags.set(lag, [...(this.#lags.get(lag) ?? []), member]);
    }
    const ready = warm && (await appl.exists('PORT_TABLE:PortInitDone')) === 1;
    if (!ready) {
      await appl.flushDb();
      await state.flushDb();
      await this.#makePorts(names, appl, config);
    }
    for (const name of names) await this.#publishOper(name);
    await listener.subscribe('PORT_TABLE_CHANNEL@0', () => this.#soon(() => this.#takeDemands()));
    await listener.pSubscribe(`__keyspace@${DATABASE.CONFIG}__:${PORT_KEY}*`, (_, channel) =>
      this.#soon(() => this.#configure(channel.slice(channel.indexOf('|') + 1))),
    );
    this.#unsubscribe = kernel.onChange(({ name }) => {
      if (names.includes(name)) this.#soon(() => this.#publishOper(name));
    });
    if (ready) this.#soon(() => this.#takeDemands());
    else await appl.hSet('PORT_TABLE:PortInitDone', { lanes: '0' });
  }

  /** orchagent hangs, or goes on with what has come meanwhile. */
  pause(paused: boolean): void {
    this.#paused = paused;
    if (!paused) this.#soon(() => this.#takeDemands());
  }

  async stop(): Promise<void> {
    this.#unsubscribe();
    await this.#work;
    for (const client of this.#clients) if (client.isOpen) client.destroy();
    this.#clients = [];
  }

  async #makePorts(names: readonly string[], appl: Client, config: Client): Promise<void> {
    for (const name of names) {
      const row = await config.hGetAll(`${PORT_KEY}${name}`);
      await appl.hSet(`PORT_TABLE:${name}`, { ...row, admin_status: 'down', oper_status: 'down' });
    }
    await appl.hSet('PORT_TABLE:PortConfigDone', { count: String(names.length) });
    for (const name of names) {
      const admin = (await config.hGet(`${PORT_KEY}${name}`, 'admin_status')) ?? 'down';
      this.#options.netdev?.(name, admin === 'up');
      this.#options.hardware(name, admin === 'up');
      await appl.hSet(`PORT_TABLE:${name}`, { admin_status: admin });
    }
  }

  /** In order, as each daemon does; with Redis gone the work is lost, as theirs is. */
  #soon(run: () => Promise<void>): void {
    this.#work = this.#work.then(run).catch(() => undefined);
  }

  async #configure(name: string): Promise<void> {
    const [appl, config] = this.#clients as [Client, Client];
    const admin = (await config.hGet(`${PORT_KEY}${name}`, 'admin_status')) ?? 'down';
    this.#options.netdev?.(name, admin === 'up');
    await appl
      .multi()
      .sAdd('PORT_TABLE_KEY_SET', name)
      .hSet(`_PORT_TABLE:${name}`, 'admin_status', admin)
      .publish('PORT_TABLE_CHANNEL@0', 'G')
      .exec();
  }

  async #takeDemands(): Promise<void> {
    const [appl] = this.#clients as [Client];
    if (this.#paused) return;
    for (const name of await appl.sMembers('PORT_TABLE_KEY_SET')) {
      const admin = await appl.eval(TAKE_DEMAND, {
        keys: ['PORT_TABLE_KEY_SET', `_PORT_TABLE:${name}`, `PORT_TABLE:${name}`],
        arguments: [name],
      });
      if (admin !== null) this.#options.hardware(name, admin === 'up');
    }
  }

  async #publishOper(name: string): Promise<void> {
    const [appl, , state] = this.#clients as [Client, Client, Client];
    const port = this.#options.kernel.port(name);
    const oper = port?.adminUp && port.carrier ? 'up' : 'down';
    await appl.hSet(`PORT_TABLE:${name}`, 'oper_status', oper);
    await state.hSet(`PORT_TABLE|${name}`, { state: 'ok', netdev_oper_status: oper });
    for (const [lag, members] of this.#lags) {
      if (!members.includes(name)) continue;
      const states = await Promise.all(members.map((member) => appl.hGet(`PORT_TABLE:${member}`, 'oper_status')));
      await appl.hSet(`LAG_TABLE:${lag}`, {
        admin_status: 'up',
        oper_status: states.includes('up') ? 'up' : 'down',
        mtu: '9100',
      });
    }
  }
}
