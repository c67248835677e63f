/** Network namespaces with FRR or BIRD as the gateway G, for the tests of the OSPF driver. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Address, parseAddress, parseMac, parsePrefix } from '../../src/model/address.ts';
import { systemClock } from '../../src/model/clock.ts';
import type { ForeignClaim, ForeignShadow, HostRoute, LearnedRoute } from '../../src/model/hosts.ts';
import type { HeardHostRoute } from '../../src/model/port-facts.ts';
import type { LinkState, Port, PortChange } from '../../src/model/ports.ts';
import type { NeighborChange, OspfOptions } from '../../src/ospf/index.ts';
import { OspfSpeaker } from '../../src/ospf/index.ts';

let serial = 0;

export function run(...command: string[]): string {
  return execFileSync(command[0]!, command.slice(1), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Waits until `probe` answers something true; the generous limit is for loaded machines. */
export async function until<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  limit = 40_000,
  step = 30,
): Promise<T> {
  const end = Date.now() + limit;
  for (;;) {
    const value = await probe();
    if (value) return value;
    if (Date.now() > end) throw new Error(`in vain: ${what}`);
    await sleep(step);
  }
}

export class Lab {
  readonly directory = mkdtempSync(join(tmpdir(), 'peerless-ospf-'));
  readonly #prefix = `osp${process.pid}x${serial++}`;
  readonly #namespaces: string[] = [];
  readonly #processes: ChildProcess[] = [];
  readonly #speakers: OspfSpeaker[] = [];

  namespace(name: string): string {
    const full = `${this.#prefix}${name}`;
    run('ip', 'netns', 'add', full);
    this.#namespaces.push(full);
    run('ip', '-n', full, 'link', 'set', 'lo', 'up');
    this.inside(full, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    return full;
  }

  inside(namespace: string, ...command: string[]): string {
    return run('ip', 'netns', 'exec', namespace, ...command);
  }

  /** A cable between two namespaces; `a` and `b` are [namespace, interface, address/length]. */
  cable(a: [string, string, string], b: [string, string, string]): void {
    run('ip', '-n', a[0], 'link', 'add', a[1], 'type', 'veth', 'peer', 'name', b[1], 'netns', b[0]);
    for (const [namespace, name, address] of [a, b]) {
      run('ip', '-n', namespace, 'addr', 'add', address, 'dev', name);
      run('ip', '-n', namespace, 'link', 'set', name, 'up');
    }
  }

  /** Starts a daemon inside the namespace, in the foreground of its own process. */
  spawn(namespace: string, command: string[]): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', namespace, ...command], { stdio: 'ignore' });
    this.#processes.push(child);
    return child;
  }

  async frr(namespace: string, ospf: string, extra = ''): Promise<Frr> {
    const directory = join(this.directory, `frr-${namespace}`);
    mkdirSync(directory);
    const zebraConf = join(directory, 'zebra.conf');
    const ospfConf = join(directory, 'ospfd.conf');
    writeFileSync(zebraConf, `hostname ${namespace}\n${extra}`);
    writeFileSync(ospfConf, ospf);
    const socket = join(directory, 'zserv');
    const common = ['-u', 'root', '-g', 'frrvty', '-z', socket, '--vty_socket', directory];
    this.spawn(namespace, ['/usr/lib/frr/zebra', '-f', zebraConf, '-i', join(directory, 'zebra.pid'), ...common]);
    // It is asked once at the start, and not again for seconds.
    await until('zebra runs', () => existsSync(socket));
    this.spawn(namespace, ['/usr/lib/frr/ospfd', '-f', ospfConf, '-i', join(directory, 'ospfd.pid'), ...common]);
    const frr = new Frr(this, namespace, directory);
    await until('ospfd answers', () => {
      try {
        return frr.show('show ip ospf').includes('Router ID');
      } catch {
        return false;
      }
    });
    return frr;
  }

  async bird(namespace: string, config: string): Promise<Bird> {
    const directory = join(this.directory, `bird-${namespace}`);
    mkdirSync(directory);
    const conf = join(directory, 'bird.conf');
    writeFileSync(conf, config);
    const socket = join(directory, 'bird.ctl');
    this.spawn(namespace, ['bird', '-c', conf, '-s', socket, '-P', join(directory, 'bird.pid'), '-f']);
    const bird = new Bird(socket);
    await until('bird answers', () => {
      try {
        return bird.show('show status').includes('Daemon is up');
      } catch {
        return false;
      }
    });
    return bird;
  }

  capture(namespace: string, name: string): string {
    const file = join(this.directory, `${namespace}.pcap`);
    this.spawn(namespace, [
      'tcpdump',
      '-i',
      name,
      '-U',
      '-w',
      file,
      '-Z',
      'root',
      'ip',
      'proto',
      '89',
      'or',
      'ip[6:2]&0x1fff!=0',
    ]);
    return file;
  }

  speaker(namespace: string, options: SpeakerSetup): TestSpeaker {
    const made = new TestSpeaker(namespace, options);
    this.#speakers.push(made.speaker);
    return made;
  }

  async close(): Promise<void> {
    for (const speaker of this.#speakers) await speaker.stop();
    for (const child of this.#processes) child.kill('SIGTERM');
    await Promise.all(
      this.#processes.map((child) =>
        child.exitCode !== null || child.signalCode !== null
          ? undefined
          : Promise.race([
              new Promise((resolve) => child.once('exit', resolve)),
              sleep(3000).then(() => child.kill('SIGKILL')),
            ]),
      ),
    );
    for (const namespace of this.#namespaces) {
      try {
        run('ip', 'netns', 'del', namespace);
      } catch (error) {
        console.error(String(error));
      }
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export class Frr {
  readonly #lab: Lab;
  readonly #directory: string;
  readonly namespace: string;

  constructor(lab: Lab, namespace: string, directory: string) {
    this.#lab = lab;
    this.namespace = namespace;
    this.#directory = directory;
  }

  show(command: string): string {
    return run('vtysh', '--vty_socket', this.#directory, '-c', command);
  }

  /** Next hops of a kernel route, as FRR installed it. */
  kernelRoute(prefix: string): string {
    return this.#lab.inside(this.namespace, 'ip', 'route', 'show', prefix).trim();
  }

  async down(): Promise<void> {
    for (const daemon of ['ospfd', 'zebra']) {
      process.kill(Number(readFileSync(join(this.#directory, `${daemon}.pid`), 'utf8')), 'SIGKILL');
    }
  }
}

export class Bird {
  readonly #socket: string;

  constructor(socket: string) {
    this.#socket = socket;
  }

  show(command: string): string {
    return run('birdc', '-s', this.#socket, ...command.split(' '));
  }
}

/** Reads the ports of a namespace when told to; links do not change by themselves in these tests. */
export class SnapshotLinks implements LinkState {
  readonly #namespace: string;
  readonly #listeners = new Set<(change: PortChange) => void>();
  #ports = new Map<string, Port>();

  constructor(namespace: string) {
    this.#namespace = namespace;
    this.refresh();
  }

  refresh(): void {
    const before = this.#ports;
    const links = JSON.parse(run('ip', '-n', this.#namespace, '-j', 'addr', 'show')) as IpLink[];
    this.#ports = new Map(links.map((link) => [link.ifname, portOf(link)]));
    for (const name of new Set([...before.keys(), ...this.#ports.keys()])) {
      const change = { name, before: before.get(name), after: this.#ports.get(name), at: systemClock.now() };
      if (JSON.stringify(change.before) !== JSON.stringify(change.after)) {
        for (const listener of this.#listeners) listener(change);
      }
    }
  }

  port(name: string): Port | undefined {
    return this.#ports.get(name);
  }

  portByIndex(ifindex: number): Port | undefined {
    return [...this.#ports.values()].find((port) => port.ifindex === ifindex);
  }

  ports(): Iterable<Port> {
    return this.#ports.values();
  }

  onChange(listener: (change: PortChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

interface IpLink {
  ifname: string;
  ifindex: number;
  mtu: number;
  address: string;
  flags: string[];
  addr_info: { family: string; local: string; prefixlen: number }[];
}

function portOf(link: IpLink): Port {
  return {
    name: link.ifname,
    ifindex: link.ifindex,
    mac: parseMac(link.address),
    mtu: link.mtu,
    adminUp: link.flags.includes('UP'),
    carrier: link.flags.includes('LOWER_UP'),
    master: 0,
    kind: 'veth',
    addresses: link.addr_info.map(({ local, prefixlen }) => ({ address: address(local), prefixLength: prefixlen })),
  };
}

export interface SpeakerSetup extends Pick<OspfOptions, 'interfaces' | 'originateDefault' | 'observer' | 'backups'> {
  routerId: string;
  announce?: OspfOptions['announce'];
  prefixes?: string[];
}

export class TestSpeaker {
  readonly speaker: OspfSpeaker;
  readonly links: SnapshotLinks;
  readonly routes = new Map<string, LearnedRoute>();
  readonly claims: ForeignClaim[] = [];
  readonly shadows: ForeignShadow[] = [];
  readonly hostRoutes: HeardHostRoute[] = [];
  /** Facts as `router key`, with their value or why there is none any more. */
  readonly facts = new Map<string, string>();
  readonly changes: NeighborChange[] = [];

  constructor(namespace: string, setup: SpeakerSetup) {
    this.links = new SnapshotLinks(namespace);
    this.speaker = new OspfSpeaker({
      announce: { as: 'external', metric: 20, metricType: 2 },
      ...setup,
      routerId: address(setup.routerId),
      prefixes: (setup.prefixes ?? ['10.10.10.0/24']).map((text) => parsePrefix(text)!),
      netns: namespace,
      clock: systemClock,
      log: { debug() {}, info() {}, warn() {}, error: (fields, message) => console.error(message, fields) },
      links: this.links,
      onRoutes: (changes) => {
        for (const route of changes) {
          if (route.nextHops.length > 0) this.routes.set(route.prefix, route);
          else this.routes.delete(route.prefix);
        }
      },
      onForeignClaim: (claim) => this.claims.push(claim),
      onForeignShadow: (shadow) => this.shadows.push(shadow),
      onHostRoute: (route) => this.hostRoutes.push(route),
      onFact: ({ routerId, key, value, reason }) => {
        this.facts.set(`${routerId} ${Buffer.from(key)}`, value ? `${Buffer.from(value)}` : `(${reason})`);
      },
      onNeighbor: (change) => this.changes.push(change),
    });
  }

  /** As SIGKILL would: not a word more on any wire. */
  kill(): void {
    this.speaker.abandon();
  }

  full(name: string): Promise<boolean> {
    return until(`an adjacency on ${name}`, () => this.speaker.adjacencyUp(name));
  }
}

export function address(text: string): Address {
  const parsed = parseAddress(text);
  if (!parsed) throw new TypeError(text);
  return parsed;
}

export function host(text: string, level: 0 | 1 | 2 = 0): HostRoute {
  return { address: address(text), interface: 'A1', ifindex: 9, mac: parseMac('02:00:00:00:00:01')!, level };
}
