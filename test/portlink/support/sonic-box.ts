/**
 * A SONiC switch without SONiC: a real Redis on a private socket, filled as a switch fills it, and the lab's stand-ins
 * for the daemons between its databases and the ports, which are veths of a namespace.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Daemons as LabDaemons } from '../../../lab/tor/sonic/daemons.ts';
import { loadConfiguration as loadRows } from '../../../lab/tor/sonic/redis.ts';
import { configurationRows } from '../../../lab/tor/sonic/rows.ts';
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

export { type Client, connect } from '../../../lab/tor/sonic/redis.ts';

export const APPL = 0;
export const CONFIG = 4;
export const STATE = 6;

/** Ethernet0 to the fabric, Ethernet4, 8, 12 to servers, Ethernet16 and 20 in a port channel to a server. */
export const PORTS = ['Ethernet0', 'Ethernet4', 'Ethernet8', 'Ethernet12', 'Ethernet16', 'Ethernet20'];
export const LAG = 'PortChannel1';
const LAG_MEMBERS = ['Ethernet16', 'Ethernet20'];

/** What `sonic-cfggen` loads into CONFIG_DB. */
export const loadConfiguration = (socket: string): Promise<void> =>
  loadRows(
    socket,
    configurationRows({
      hostname: 'sonic-a',
      mac: '52:54:00:12:34:56',
      asn: 65101,
      ports: PORTS,
      lags: { [LAG]: LAG_MEMBERS },
      vlan: { ports: PORTS.slice(1, 4), gateway: '10.10.10.1/24' },
    }),
  );

/** The lab's stand-ins; the box's own end of a cable is the hardware. */
export class Daemons extends LabDaemons {
  constructor(socket: string, box: Box, kernel: Kernel) {
    super({ socket, kernel, hardware: (name, up) => box.ip(`link set ${name} ${up ? 'up' : 'down'}`) });
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
