/** A real ovs-vswitchd of a test's own: in a namespace, in user space, with its database and sockets in a directory. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';

export class OvsSwitch {
  readonly directory: string;
  readonly #netns: string;
  readonly #running: string[] = [];

  static async start(netns: string): Promise<OvsSwitch> {
    const ovs = new OvsSwitch(netns, mkdtempSync(join(tmpdir(), 'peerless-ovs-')));
    try {
      execFileSync('ovsdb-tool', ['create', join(ovs.directory, 'conf.db'), SCHEMA]);
      await ovs.#run('ovsdb-server', [join(ovs.directory, 'conf.db'), `--remote=punix:${ovs.socket}`]);
      execFileSync('ovs-vsctl', [`--db=unix:${ovs.socket}`, '--no-wait', 'init']);
      await ovs.startDaemon();
    } catch (error) {
      await ovs.stop();
      throw error;
    }
    return ovs;
  }

  private constructor(netns: string, directory: string) {
    this.#netns = netns;
    this.directory = directory;
  }

  get socket(): string {
    return join(this.directory, 'db.sock');
  }

  async startDaemon(): Promise<void> {
    await this.#run('ovs-vswitchd', [`unix:${this.socket}`, '--disable-system']);
  }

  async stopDaemon(): Promise<void> {
    await this.#end('ovs-vswitchd');
  }

  /** Asynchronous: what the switch makes may need the agent in this process to run. */
  async vsctl(...command: string[]): Promise<string> {
    return (await promisify(execFile)('ovs-vsctl', [`--db=unix:${this.socket}`, ...command])).stdout;
  }

  async appctl(...command: string[]): Promise<string> {
    const pid = readFileSync(join(this.directory, 'ovs-vswitchd.pid'), 'utf8').trim();
    const target = join(this.directory, `ovs-vswitchd.${pid}.ctl`);
    return (await promisify(execFile)('ovs-appctl', ['-t', target, ...command])).stdout;
  }

  async flow(bridge: string, flow: string): Promise<void> {
    await promisify(execFile)('ovs-ofctl', ['add-flow', join(this.directory, `${bridge}.mgmt`), flow]);
  }

  async flows(bridge: string): Promise<string> {
    return (await promisify(execFile)('ovs-ofctl', ['dump-flows', join(this.directory, `${bridge}.mgmt`)])).stdout;
  }

  async stop(): Promise<void> {
    for (const name of [...this.#running].reverse()) await this.#end(name);
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #run(name: string, args: readonly string[]): Promise<void> {
    const files = [
      `--pidfile=${join(this.directory, `${name}.pid`)}`,
      `--log-file=${join(this.directory, `${name}.log`)}`,
    ];
    const quiet = ['-vconsole:off', '--no-chdir', '--detach'];
    const env = { ...process.env, OVS_RUNDIR: this.directory, OVS_DBDIR: this.directory, OVS_LOGDIR: this.directory };
    await promisify(execFile)('ip', ['netns', 'exec', this.#netns, name, ...args, ...files, ...quiet], { env });
    this.#running.push(name);
  }

  async #end(name: string): Promise<void> {
    const at = this.#running.indexOf(name);
    if (at < 0) return;
    this.#running.splice(at, 1);
    const pid = Number(readFileSync(join(this.directory, `${name}.pid`), 'utf8'));
    process.kill(pid, 'SIGTERM');
    for (let tries = 0; alive(pid); tries++) {
      if (tries === 200) process.kill(pid, 'SIGKILL');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
