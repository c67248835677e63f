/**
 * A SONiC switch without SONiC: a real Redis on a private socket, filled as a switch fills it, and stand-ins for the
 * daemons between its databases and the ports, which are veths of a namespace.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createClient } from '@redis/client';
import { Kernel } from '../../../src/netlink/index.ts';
import { type Box, cable, eventually } from '../../netlink/helpers.ts';

export class RedisServer {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'sonic-'));
  readonly socket = path.join(this.folder, 'redis.sock');
  #process: ChildProcess | undefined;

  async start(notifications = 'AKE'): Promise<void> {
    const settings = ['--port', '0', '--unixsocket', this.socket, '--databases', '16', '--dir', this.folder];
    settings.push('--save', '', '--appendonly', 'yes', '--appendfsync', 'always');
    settings.push('--notify-keyspace-events', notifications);
    this.#process = spawn('redis-server', settings, { stdio: 'ignore' });
    await eventually(() => {
      try {
        return execFileSync('redis-cli', ['-s', this.socket, 'ping'], { encoding: 'utf8', stdio: 'pipe' }).includes(
          'PONG',
        );
      } catch {
        return false;
      }
    });
  }

  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  freeze(frozen: boolean): void {
    this.#process?.kill(frozen ? 'SIGSTOP' : 'SIGCONT');
  }

  /** Everything that its databases hold goes too. */
  forget(): void {
    rmSync(path.join(this.folder, 'appendonlydir'), { recursive: true, force: true });
  }

  cli(database: number, ...command: string[]): string {
    return execFileSync('redis-cli', ['-s', this.socket, '-n', String(database), ...command], {
      encoding: 'utf8',
    }).trim();
  }

  async dispose(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export async function connect(socket: string, database: number) {
  const client = createClient({
    socket: { path: socket, tls: false, reconnectStrategy: false },
    database,
    RESP: 2,
  });
  // The test itself takes Redis away.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

export type Client = Awaited<ReturnType<typeof connect>>;

export const APPL = 0;
export const CONFIG = 4;
export const STATE = 6;

/** Ethernet0 to the fabric, Ethernet4, 8, 12 to servers, Ethernet16 and 20 in a port channel to a server. */
export const PORTS = ['Ethernet0', 'Ethernet4', 'Ethernet8', 'Ethernet12', 'Ethernet16', 'Ethernet20'];
export const LAG = 'PortChannel1';
const LAG_MEMBERS = ['Ethernet16', 'Ethernet20'];

/** What `sonic-cfggen` loads into CONFIG_DB. */
export async function loadConfiguration(socket: string): Promise<void> {
  const config = await connect(socket, CONFIG);
  const put = (key: string, fields: Record<string, string>) => config.hSet(key, fields);
  await put('DEVICE_METADATA|localhost', {
    hostname: 'sonic-a',
    hwsku: 'Force10-S6000',
    platform: 'x86_64-kvm_x86_64-r0',
    mac: '52:54:00:12:34:56',
    type: 'ToRRouter',
    bgp_asn: '65101',
  });
  for (const [index, name] of PORTS.entries()) {
    await put(`PORT|${name}`, {
      alias: `fortyGigE0/${index * 4}`,
      index: String(index),
      lanes: [1, 2, 3, 4].map((lane) => index * 4 + lane).join(','),
      speed: '40000',
      mtu: '9100',
      admin_status: 'up',
    });
  }
  await put(`PORTCHANNEL|${LAG}`, { admin_status: 'up', mtu: '9100', min_links: '1', lacp_key: 'auto' });
  for (const member of LAG_MEMBERS) await put(`PORTCHANNEL_MEMBER|${LAG}|${member}`, { NULL: 'NULL' });
  await put('VLAN|Vlan1000', { vlanid: '1000' });
  for (const name of PORTS.slice(1, 4)) await put(`VLAN_MEMBER|Vlan1000|${name}`, { tagging_mode: 'untagged' });
  await put('VLAN_INTERFACE|Vlan1000', { NULL: 'NULL' });
  await put('VLAN_INTERFACE|Vlan1000|10.10.10.1/24', { NULL: 'NULL' });
  config.destroy();
}

/** As orchagent's own: in one step out of the set and into the table; the hardware comes after it. */
const TAKE_DEMAND = `
local fields = redis.call('HGETALL', KEYS[2])
local admin = redis.call('HGET', KEYS[2], 'admin_status')
redis.call('SREM', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
for index = 1, #fields, 2 do redis.call('HSET', KEYS[3], fields[index], fields[index + 1]) end
return admin`;

/**
 * portmgrd (CONFIG_DB to the kernel's interface and a demand on APPL_DB), orchagent (demands into rows and hardware,
 * oper state into rows), portsyncd (STATE_DB), teamsyncd (LAG_TABLE). `pause` stops orchagent alone.
 */
export class Daemons {
  readonly #socket: string;
  readonly #box: Box;
  readonly #kernel: Kernel;
  #clients: Client[] = [];
  #paused = false;
  #work: Promise<unknown> = Promise.resolve();

  constructor(socket: string, box: Box, kernel: Kernel) {
    this.#socket = socket;
    this.#box = box;
    this.#kernel = kernel;
  }

  /** swss from nothing: APPL_DB emptied, ports made from CONFIG_DB. */
  async start(): Promise<void> {
    const [appl, config, state, listener] = await Promise.all(
      [APPL, CONFIG, STATE, APPL].map((database) => connect(this.#socket, database)),
    );
    this.#clients = [appl!, config!, state!, listener!];
    await appl!.flushDb();
    await state!.flushDb();
    const names = (await config!.keys('PORT|*')).map((key) => key.slice('PORT|'.length));
    for (const name of names) {
      const row = await config!.hGetAll(`PORT|${name}`);
      await appl!.hSet(`PORT_TABLE:${name}`, { ...row, admin_status: 'down', oper_status: 'down' });
    }
    await appl!.hSet('PORT_TABLE:PortConfigDone', { count: String(names.length) });
    for (const name of names) {
      this.#hardware(name, (await config!.hGet(`PORT|${name}`, 'admin_status')) === 'up');
      const admin = (await config!.hGet(`PORT|${name}`, 'admin_status')) ?? 'down';
      await appl!.hSet(`PORT_TABLE:${name}`, { admin_status: admin });
    }
    for (const name of names) await this.#publishOper(name);
    await listener!.subscribe('PORT_TABLE_CHANNEL@0', () => this.#soon(() => this.#takeDemands()));
    await listener!.pSubscribe('__keyspace@4__:PORT|*', (_, channel) =>
      this.#soon(() => this.#configure(channel.slice(channel.indexOf('|') + 1))),
    );
    this.#unsubscribe = this.#kernel.onChange(({ name }) => {
      if (names.includes(name)) this.#soon(() => this.#publishOper(name));
    });
    await appl!.hSet('PORT_TABLE:PortInitDone', { lanes: '0' });
  }

  #unsubscribe: () => void = () => undefined;

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

  /** In order, as each daemon does; with Redis gone the work is lost, as theirs is. */
  #soon(run: () => Promise<void>): void {
    this.#work = this.#work.then(run).catch(() => undefined);
  }

  async #configure(name: string): Promise<void> {
    const [appl, config] = this.#clients as [Client, Client];
    const admin = (await config.hGet(`PORT|${name}`, 'admin_status')) ?? 'down';
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
      if (admin !== null) this.#hardware(name, admin === 'up');
    }
  }

  #hardware(name: string, up: boolean): void {
    this.#box.ip(`link set ${name} ${up ? 'up' : 'down'}`);
  }

  async #publishOper(name: string): Promise<void> {
    const [appl, , state] = this.#clients as [Client, Client, Client];
    const port = this.#kernel.port(name);
    const oper = port?.adminUp && port.carrier ? 'up' : 'down';
    await appl.hSet(`PORT_TABLE:${name}`, 'oper_status', oper);
    await state.hSet(`PORT_TABLE|${name}`, { state: 'ok', netdev_oper_status: oper });
    if (!LAG_MEMBERS.includes(name)) return;
    const members = await Promise.all(LAG_MEMBERS.map((member) => appl.hGet(`PORT_TABLE:${member}`, 'oper_status')));
    await appl.hSet(`LAG_TABLE:${LAG}`, {
      admin_status: 'up',
      oper_status: members.includes('up') ? 'up' : 'down',
      mtu: '9100',
    });
  }
}

export interface SonicBox {
  readonly tor: Box;
  readonly server: Box;
  readonly redis: RedisServer;
  readonly kernel: Kernel;
  readonly daemons: Daemons;
}

/** Each port is cabled to `peer(port)` in `server`. */
export const peer = (port: string): string => port.replace('Ethernet', 'peer');

export async function makeSonicBox(tor: Box, server: Box, redis: RedisServer): Promise<SonicBox> {
  for (const name of PORTS) cable(tor, name, server, peer(name));
  await redis.start();
  await loadConfiguration(redis.socket);
  const kernel = await Kernel.open({ netns: tor.netns });
  const daemons = new Daemons(redis.socket, tor, kernel);
  await daemons.start();
  return { tor, server, redis, kernel, daemons };
}
