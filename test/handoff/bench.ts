/** A (ours) and G in namespaces of their own, with a routing daemon on each; the daemon of A runs the shipped example. */
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const EXAMPLES = new URL('../../docs/examples/handoff/', import.meta.url).pathname;
const FRR = '/usr/lib/frr';
let made = 0;

export type Protocol = 'bgp' | 'ospf';

export const GATEWAY_FRR: Readonly<Record<Protocol, string>> = {
  bgp: `router bgp 65000
 bgp router-id 10.255.0.254
 no bgp ebgp-requires-policy
 neighbor 192.0.2.2 remote-as 65001
 neighbor 192.0.2.2 timers 1 3
 neighbor 192.0.2.2 timers connect 1
 address-family ipv4 unicast
  neighbor 192.0.2.2 default-originate
`,
  ospf: `interface GA
 ip ospf network point-to-point
 ip ospf area 0
 ip ospf hello-interval 1
 ip ospf dead-interval 4
router ospf
 ospf router-id 10.255.0.254
 timers throttle spf 0 10 100
 timers throttle lsa all 0
 timers lsa min-arrival 0
 default-information originate always metric 10
`,
};

export class Bench {
  readonly a: string;
  readonly g: string;
  readonly directory: string;
  readonly #pids: number[] = [];

  constructor() {
    const name = `hof${process.pid}x${made++}`;
    this.a = `${name}-A`;
    this.g = `${name}-G`;
    this.directory = mkdtempSync(join(tmpdir(), 'peerless-handoff-'));
    chmodSync(this.directory, 0o755);
    for (const netns of [this.a, this.g]) {
      execFileSync('ip', ['netns', 'add', netns]);
      this.ip(netns, 'link set lo up');
      execFileSync('ip', ['netns', 'exec', netns, 'sysctl', '-qw', 'net.ipv4.ip_forward=1']);
    }
    // Indexes of their own: two ends with the same one are slow to tell of their carrier.
    this.ip(this.a, `link add A0 index 101 type veth peer name GA index 201 netns ${this.g}`);
    this.ip(this.a, `link add A1 index 102 type veth peer name C1 index 202 netns ${this.g}`);
    this.ip(this.a, `link add A2 index 103 type veth peer name C2 index 203 netns ${this.g}`);
    this.ip(this.a, 'address add 192.0.2.2/30 dev A0');
    this.ip(this.g, 'address add 192.0.2.1/30 dev GA');
    for (const port of ['A0', 'A1', 'A2']) this.ip(this.a, `link set ${port} up`);
    for (const port of ['GA', 'C1', 'C2']) this.ip(this.g, `link set ${port} up`);
  }

  ip(netns: string, command: string): string {
    return execFileSync('ip', ['-n', netns, ...command.split(' ')], { encoding: 'utf8' });
  }

  /** Daemons with an integrated file, as `vtysh -b` loads it at boot. */
  async frr(netns: string, file: string, daemons: readonly string[]): Promise<void> {
    const directory = join(this.directory, netns);
    mkdirSync(directory, { recursive: true });
    // The daemons become the package's own user, who must be a member of the group `frrvty`, and root is not.
    execFileSync('chown', ['frr:frr', directory]);
    copyFileSync(file, join(directory, 'frr.conf'));
    writeFileSync(join(directory, 'vtysh.conf'), 'service integrated-vtysh-config\n');
    for (const daemon of daemons) {
      const words = ['-f', '/dev/null', '-i', join(directory, `${daemon}.pid`), '-z', join(directory, 'zserv.api')];
      this.#start(netns, [`${FRR}/${daemon}`, ...words, '--vty_socket', directory, '-P', '0'], directory, daemon);
      await until(() => existsSync(join(directory, `${daemon}.vty`)));
    }
    execFileSync('vtysh', ['--vty_socket', directory, '--config_dir', directory, '-b'], { stdio: 'ignore' });
  }

  async bird(netns: string, text: string): Promise<void> {
    const directory = join(this.directory, netns);
    mkdirSync(directory, { recursive: true });
    const file = join(directory, 'bird.conf');
    const socket = join(directory, 'bird.ctl');
    writeFileSync(file, text);
    this.#start(netns, ['bird', '-f', '-c', file, '-s', socket, '-P', join(directory, 'bird.pid')], directory, 'bird');
    await until(() => existsSync(socket));
  }

  vtysh(netns: string, command: string): string {
    return execFileSync('vtysh', ['--vty_socket', join(this.directory, netns), '-c', command], { encoding: 'utf8' });
  }

  /** G's host routes as its kernel has them. */
  gatewayHosts(): string[] {
    const routes = JSON.parse(this.ip(this.g, '-j route show')) as { dst: string; gateway?: string }[];
    return routes.filter(({ dst }) => dst.startsWith('10.10.10.')).map(({ dst, gateway }) => `${dst} ${gateway}`);
  }

  async down(): Promise<void> {
    for (const pid of this.#pids) {
      try {
        process.kill(pid, 'SIGTERM');
      } catch {
        // It has ended by itself.
      }
    }
    await until(() => this.#pids.every((pid) => !existsSync(`/proc/${pid}`)));
    for (const netns of [this.a, this.g]) execFileSync('ip', ['netns', 'del', netns]);
    rmSync(this.directory, { recursive: true, force: true });
  }

  #start(netns: string, command: readonly string[], directory: string, name: string): void {
    const words = ['netns', 'exec', netns, ...command];
    const child = spawn('sh', ['-c', `exec ip "$@" >${join(directory, `${name}.log`)} 2>&1`, 'sh', ...words], {
      stdio: 'ignore',
    });
    this.#pids.push(child.pid!);
  }
}

/** Without the protocol that G does not speak: BIRD starts all that its file names. */
export function birdExample(protocol: Protocol): string {
  const text = readFileSync(join(EXAMPLES, 'bird.conf'), 'utf8').replace('log syslog all;', 'log stderr all;');
  const other =
    protocol === 'bgp' ? /^protocol ospf v2 fabric \{[\s\S]*?^\}$/m : /^protocol bgp upstream \{[\s\S]*?^\}$/m;
  return text.replace(other, '');
}

export async function until(condition: () => boolean, what = 'it', milliseconds = 60_000): Promise<number> {
  const start = performance.now();
  while (!condition()) {
    if (performance.now() - start > milliseconds) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return performance.now() - start;
}
