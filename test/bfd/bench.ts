/** A0 in `tor`, where BFD of ours speaks, cabled to ge0 in `gateway`, where that of FRR or BIRD does. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type BfdPeer,
  BfdSpeaker,
  type RememberedSession,
  type SessionChange,
  type SessionView,
} from '../../src/bfd/index.ts';
import { type Address, parseAddress } from '../../src/model/address.ts';
import { systemClock } from '../../src/model/clock.ts';
import type { Log } from '../../src/model/log.ts';
import { Kernel } from '../../src/netlink/index.ts';

const run = (...command: string[]) =>
  execFileSync(command[0]!, command.slice(1), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
export const ip = (...words: string[]) => run('ip', ...words);
export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const quiet: Log = { debug() {}, info() {}, warn() {}, error: (fields, message) => console.error(message, fields) };

/** The generous limit is for loaded machines. */
export async function until(what: string, probe: () => boolean, limit = 40_000): Promise<void> {
  const end = Date.now() + limit;
  while (!probe()) {
    if (Date.now() > end) throw new Error(`in vain: ${what}`);
    await sleep(10);
  }
}

/** The daemons miss so many packets of ours before they give us up: the machine may be busy. */
const PATIENT = 20;

export interface SpeakerSetup {
  readonly peers: readonly Partial<BfdPeer>[];
  readonly interval?: number;
  readonly multiplier?: number;
}

let benches = 0;

export class Bench {
  readonly tor = `bfd${process.pid}x${benches}t`;
  readonly gateway = `bfd${process.pid}x${benches++}g`;
  readonly directory = mkdtempSync(join(tmpdir(), 'peerless-bfd-'));
  readonly changes: SessionChange[] = [];
  saved: readonly RememberedSession[] = [];
  kernel!: Kernel;
  speaker!: BfdSpeaker;
  readonly #processes: ChildProcess[] = [];
  #stop: (() => void) | undefined;

  constructor() {
    for (const netns of [this.tor, this.gateway]) {
      ip('netns', 'add', netns);
      this.inside(netns, 'sysctl', '-qw', 'net.ipv6.conf.default.dad_transmits=0', 'net.ipv4.ip_forward=1');
      ip('-n', netns, 'link', 'set', 'lo', 'up');
    }
    // Unequal ifindexes, so that carriers are told at once.
    ip('-n', this.tor, 'link', 'add', 'A0', 'index', '71', 'type', 'veth', 'peer', 'name', 'ge0', 'index', '72');
    ip('-n', this.tor, 'link', 'set', 'ge0', 'netns', this.gateway);
    ip('-n', this.gateway, 'link', 'set', 'ge0', 'address', '02:00:00:00:00:01', 'up');
    ip('-n', this.tor, 'link', 'set', 'A0', 'address', '02:00:00:00:00:02', 'up');
    ip('-n', this.gateway, 'address', 'add', '192.0.2.1/24', 'dev', 'ge0');
    ip('-n', this.tor, 'address', 'add', '192.0.2.2/24', 'dev', 'A0');
    // Stays down: what is led there is gone.
    ip('-n', this.gateway, 'link', 'add', 'sink', 'type', 'veth', 'peer', 'name', 'sink1');
  }

  inside(netns: string, ...words: string[]): string {
    return run('ip', 'netns', 'exec', netns, ...words);
  }

  spawn(netns: string, ...words: string[]): void {
    this.#processes.push(spawn('ip', ['netns', 'exec', netns, ...words], { stdio: 'ignore' }));
  }

  async start({ peers, interval = 100, multiplier = PATIENT }: SpeakerSetup): Promise<void> {
    this.kernel ??= await Kernel.open({ netns: this.tor });
    this.speaker = new BfdSpeaker({
      clock: systemClock,
      log: quiet,
      links: this.kernel,
      netns: this.tor,
      store: {
        load: () => this.saved,
        save: (sessions) => {
          this.saved = sessions;
        },
      },
      onChange: (change) => this.changes.push(change),
    });
    this.#stop = this.kernel.onChange((change) => this.speaker.linkChanged(change));
    this.configure({ peers, interval, multiplier });
  }

  configure({ peers, interval = 100, multiplier = PATIENT }: SpeakerSetup): void {
    const all = peers.map((peer) => ({ address: address('192.0.2.1'), interface: 'A0', ...peer }));
    this.speaker.configure({ peers: all, interval, multiplier });
  }

  /** As SIGKILL would end it: without a word. */
  kill(): void {
    this.#stop?.();
    this.speaker.abandon();
  }

  session(peer = '192.0.2.1'): SessionView {
    const found = this.speaker.sessions().find((session) => session.peer === peer);
    if (!found) throw new Error(`no session with ${peer}`);
    return found;
  }

  up = (peer?: string) =>
    until(`Up: ${JSON.stringify(this.speaker.counters())}`, () => this.session(peer).state === 'Up');
  down = (peer?: string) => until('Down', () => this.session(peer).state !== 'Up');

  /** Nothing passes in these directions, as the gateway sees them; the carrier stays. */
  silence(...directions: ('ingress' | 'egress')[]): number {
    this.inside(this.gateway, 'tc', 'qdisc', 'add', 'dev', 'ge0', 'clsact');
    for (const direction of directions) {
      this.inside(
        this.gateway,
        ...['tc', 'filter', 'add', 'dev', 'ge0', direction, 'protocol', 'all', 'u32', 'match', 'u32', '0', '0'],
        ...['action', 'mirred', 'egress', 'redirect', 'dev', 'sink'],
      );
    }
    return systemClock.now();
  }

  speak(): void {
    this.inside(this.gateway, 'tc', 'qdisc', 'del', 'dev', 'ge0', 'clsact');
  }

  /** FRR's zebra and `daemons` at the gateway, each with its configuration. */
  async frr(daemons: Readonly<Record<string, string>>): Promise<Frr> {
    const directory = join(this.directory, 'frr');
    mkdirSync(directory);
    const all = { zebra: 'hostname G\n', ...daemons };
    for (const [name, configuration] of Object.entries(all)) {
      const file = join(directory, `${name}.conf`);
      writeFileSync(file, configuration);
      const common = ['-u', 'root', '-g', 'frrvty', '-z', join(directory, 'zserv'), '--vty_socket', directory];
      const own = name === 'bfdd' ? ['--bfdctl', join(directory, 'bfdd.sock')] : [];
      const pid = join(directory, `${name}.pid`);
      this.spawn(this.gateway, `/usr/lib/frr/${name}`, '-f', file, '-i', pid, ...common, ...own);
      // Each asks zebra when it starts, and not again for seconds.
      await until(`${name} runs`, () => existsSync(join(directory, `${name}.vty`)));
    }
    const frr = new Frr(directory);
    await until('FRR answers', () => /\S/.test(frr.show('show version')));
    return frr;
  }

  async bird(configuration: string): Promise<Bird> {
    const file = join(this.directory, 'bird.conf');
    const socket = join(this.directory, 'bird.ctl');
    writeFileSync(file, configuration);
    this.spawn(this.gateway, 'bird', '-c', file, '-s', socket, '-P', join(this.directory, 'bird.pid'), '-f');
    const bird = new Bird(file, socket);
    await until('BIRD answers', () => bird.show('show status').includes('Daemon is up'));
    return bird;
  }

  async close(): Promise<void> {
    this.#stop?.();
    this.speaker?.stop();
    this.kernel?.close();
    await Promise.all(
      this.#processes.map((child) => {
        if (child.exitCode !== null || child.signalCode !== null) return undefined;
        const ended = new Promise((resolve) => child.once('exit', resolve));
        child.kill('SIGTERM');
        return Promise.race([ended, sleep(3_000).then(() => child.kill('SIGKILL'))]);
      }),
    );
    for (const netns of [this.tor, this.gateway]) ip('netns', 'del', netns);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

const orNothing = (ask: () => string): string => {
  try {
    return ask();
  } catch {
    return '';
  }
};

/** FRR's view of one session. */
export interface FrrPeer {
  readonly peer: string;
  readonly status: string;
  readonly diagnostic: string;
  readonly 'remote-diagnostic': string;
  readonly 'remote-transmit-interval': number;
  readonly 'remote-receive-interval': number;
  readonly 'remote-detect-multiplier': number;
}

export class Frr {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  show(...commands: string[]): string {
    const words = commands.flatMap((command) => ['-c', command]);
    return orNothing(() => run('vtysh', '--vty_socket', this.#directory, ...words));
  }

  bfd(): FrrPeer[] {
    const text = this.show('show bfd peers json');
    return text.trim() === '' ? [] : JSON.parse(text);
  }
}

export class Bird {
  readonly #file: string;
  readonly #socket: string;

  constructor(file: string, socket: string) {
    this.#file = file;
    this.#socket = socket;
  }

  show(command: string): string {
    return orNothing(() => run('birdc', '-s', this.#socket, ...command.split(' ')));
  }

  /** State, interval and detection time (s) of its sessions, by address. */
  bfd(): Map<string, { readonly state: string; readonly interval: number; readonly timeout: number }> {
    const found = new Map<string, { state: string; interval: number; timeout: number }>();
    for (const line of this.show('show bfd sessions').split('\n')) {
      const [peer, , state, , interval, timeout] = line.trim().split(/\s+/);
      if (peer && state && parseAddress(peer)) {
        found.set(peer, { state, interval: Number(interval), timeout: Number(timeout) });
      }
    }
    return found;
  }

  reconfigure(configuration: string): void {
    writeFileSync(this.#file, configuration);
    this.show('configure');
  }
}

export function address(text: string): Address {
  const parsed = parseAddress(text);
  if (!parsed) throw new TypeError(text);
  return parsed;
}
