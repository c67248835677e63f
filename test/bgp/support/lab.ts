/** Namespaces, routers and speakers for the tests of this folder; everything made is unmade by `close`. */

import type { ChildProcess } from 'node:child_process';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { RouteView, SessionChange, SessionView } from '../../../src/bgp/index.ts';
import type { ForeignClaim, ForeignShadow, LearnedRoute, WireReport } from '../../../src/model/hosts.ts';
import type { HeardHostRoute } from '../../../src/model/port-facts.ts';
import type { Announced, ChildConfig, Command } from './child.ts';

let serial = 0;

export const sh = (command: string, ...args: string[]): string =>
  execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 26 });

export class Lab {
  readonly directory = mkdtempSync(join(tmpdir(), 'bgp-lab-'));
  readonly #prefix = `bgpt${process.pid}x${serial++}`;
  readonly #namespaces: string[] = [];
  readonly #processes: ChildProcess[] = [];

  namespace(name: string): string {
    const namespace = `${this.#prefix}${name}`;
    sh('ip', 'netns', 'add', namespace);
    this.#namespaces.push(namespace);
    sh('ip', '-n', namespace, 'link', 'set', 'lo', 'up');
    return namespace;
  }

  /** A veth pair, with addresses and up. */
  join(a: string, aName: string, aAddresses: string[], b: string, bName: string, bAddresses: string[]): void {
    sh('ip', '-n', a, 'link', 'add', aName, 'type', 'veth', 'peer', 'name', bName, 'netns', b);
    const both: [string, string, string[]][] = [
      [a, aName, aAddresses],
      [b, bName, bAddresses],
    ];
    for (const [namespace, name, addresses] of both) {
      for (const address of addresses) sh('ip', '-n', namespace, 'addr', 'add', address, 'dev', name, 'nodad');
      sh('ip', '-n', namespace, 'link', 'set', name, 'up');
    }
  }

  spawn(namespace: string, command: string, args: string[], options: object = {}): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', namespace, command, ...args], { stdio: 'ignore', ...options });
    this.#processes.push(child);
    return child;
  }

  frr(namespace: string, bgp: string, zebra = ''): Frr {
    return new Frr(this, namespace, bgp, zebra);
  }

  speaker(namespace: string): Promise<SpeakerProcess> {
    const child = fileURLToPath(new URL('./child.ts', import.meta.url));
    const spawned = this.spawn(namespace, process.execPath, ['--conditions=source', child], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    return SpeakerProcess.ready(spawned);
  }

  /** Captures TCP port 179 until `stop`, which answers the file. */
  async capture(namespace: string, device: string): Promise<Capture> {
    const file = join(this.directory, `${namespace}-${device}-${serial++}.pcap`);
    const child = this.spawn(namespace, 'tcpdump', ['-U', '--immediate-mode', '-s0', '-i', device, '-w', file, 'tcp'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    await new Promise<void>((resolve) =>
      child.stderr!.on('data', (text) => String(text).includes('listening') && resolve()),
    );
    return {
      file,
      async stop() {
        await pause(300);
        child.kill('SIGINT');
        await new Promise((resolve) => child.once('exit', resolve));
      },
    };
  }

  async close(): Promise<void> {
    for (const child of this.#processes.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await gone;
    }
    for (const namespace of this.#namespaces) sh('ip', 'netns', 'del', namespace);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export interface Capture {
  readonly file: string;
  stop(): Promise<void>;
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks until the answer is truthy; generous, as it decides about right and wrong, not about speed. */
export async function until<T>(ask: () => T | Promise<T>, what: string, limit = 30_000): Promise<NonNullable<T>> {
  const end = performance.now() + limit;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (performance.now() > end) throw new Error(`gave up waiting: ${what}`);
    await pause(50);
  }
}

export class Frr {
  readonly #namespace: string;
  readonly #vty: string;
  readonly #lab: Lab;
  #bgpd: ChildProcess;

  constructor(lab: Lab, namespace: string, bgp: string, zebra: string) {
    this.#namespace = namespace;
    this.#lab = lab;
    const directory = join(lab.directory, namespace);
    this.#vty = directory;
    mkdirSync(directory, { recursive: true });
    // The daemons give up root, whatever they are told, unless root is in their vty group.
    chmodSync(lab.directory, 0o755);
    sh('chown', 'frr:frr', directory);
    writeFileSync(join(directory, 'zebra.conf'), `log file ${directory}/zebra.log\n${zebra}\n`);
    writeFileSync(join(directory, 'bgpd.conf'), `log file ${directory}/bgpd.log\n${bgp}\n`);
    this.#start('zebra');
    this.#bgpd = this.#start('bgpd');
  }

  #start(daemon: 'zebra' | 'bgpd'): ChildProcess {
    const directory = this.#vty;
    const args = ['-u', 'frr', '-g', 'frr', '-f', `${directory}/${daemon}.conf`, '-i', `${directory}/${daemon}.pid`];
    args.push('-z', `${directory}/zserv.sock`, '--vty_socket', directory);
    return this.#lab.spawn(this.#namespace, `/usr/lib/frr/${daemon}`, args);
  }

  async killBgpd(): Promise<void> {
    const gone = new Promise((resolve) => this.#bgpd.once('exit', resolve));
    this.#bgpd.kill('SIGKILL');
    await gone;
  }

  startBgpd(): void {
    this.#bgpd = this.#start('bgpd');
  }

  vtysh(...commands: string[]): string {
    const args = commands.flatMap((command) => ['-c', command]);
    try {
      return sh('ip', 'netns', 'exec', this.#namespace, 'vtysh', '--vty_socket', this.#vty, ...args);
    } catch (error) {
      return String((error as { stderr?: string }).stderr ?? error);
    }
  }

  json(command: string): Record<string, unknown> | undefined {
    try {
      return JSON.parse(this.vtysh(`${command} json`)) as Record<string, unknown>;
    } catch {
      return undefined;
    }
  }

  /** Prefix to the BGP table's paths. */
  routes(family = 'ipv4'): Record<string, FrrPath[]> {
    return (this.json(`show bgp ${family} unicast`)?.routes ?? {}) as Record<string, FrrPath[]>;
  }
}

export interface FrrPath {
  path: string;
  origin: string;
  bestpath?: boolean;
  nexthops: { ip: string }[];
}

interface View {
  sessions: SessionView[];
  routes: RouteView[];
  counters: Record<string, number>;
  initial: boolean[];
}

export interface TextFact {
  routerId: string;
  key: string;
  value?: string;
  reason?: string;
}

interface ChildReport {
  event?: string;
  reply?: number;
  result?: never;
  error?: string;
  change?: SessionChange;
  changes?: LearnedRoute[];
  claim?: ForeignClaim;
  shadow?: ForeignShadow;
  host?: HeardHostRoute;
  fact?: TextFact;
  level?: string;
  fields?: object;
  text?: string;
}

export class SpeakerProcess {
  readonly process: ChildProcess;
  readonly sessions: SessionChange[] = [];
  readonly routes: LearnedRoute[] = [];
  readonly claims: ForeignClaim[] = [];
  readonly shadows: ForeignShadow[] = [];
  readonly hosts: HeardHostRoute[] = [];
  readonly facts: TextFact[] = [];
  readonly logs: { level: string; fields: object; text: string }[] = [];
  readonly #waiting = new Map<number, { resolve(value: never): void; reject(error: Error): void }>();
  #id = 0;

  static async ready(process: ChildProcess): Promise<SpeakerProcess> {
    const speaker = new SpeakerProcess(process);
    await new Promise<void>((resolve, reject) => {
      process.once('message', () => resolve());
      process.once('exit', (code) => reject(new Error(`the speaker ended: ${code}`)));
    });
    return speaker;
  }

  constructor(process: ChildProcess) {
    this.process = process;
    process.on('message', (message: unknown) => this.#message(message as ChildReport));
  }

  async start(config: ChildConfig): Promise<this> {
    await this.#ask({ do: 'start', config });
    return this;
  }

  apply(announced: Announced[], withdrawn: string[] = []): Promise<{ report: WireReport; toWire: number }> {
    return this.#ask({ do: 'apply', announced, withdrawn });
  }

  publish(...facts: [key: string, value: string][]): Promise<void> {
    return this.#ask({ do: 'facts', facts });
  }

  endpoint(address: string): Promise<void> {
    return this.#ask({ do: 'endpoint', address });
  }

  link(name: string, up: boolean): Promise<void> {
    return this.#ask({ do: 'link', name, up });
  }

  refresh(address: string): Promise<boolean> {
    return this.#ask({ do: 'refresh', address });
  }

  graceful(on: boolean): Promise<void> {
    return this.#ask({ do: 'graceful', on });
  }

  settled(): Promise<void> {
    return this.#ask({ do: 'settled' });
  }

  view(): Promise<View> {
    return this.#ask({ do: 'view' });
  }

  stop(communication?: string): Promise<void> {
    return this.#ask(communication === undefined ? { do: 'stop' } : { do: 'stop', communication });
  }

  /** The newest word on a learned prefix. */
  learned(prefix: string): LearnedRoute | undefined {
    return this.routes.findLast((route) => route.prefix === prefix);
  }

  async established(address: string): Promise<SessionView> {
    return await until(async () => {
      const { sessions } = await this.view();
      return sessions.find((session) => session.neighbor === address && session.state === 'Established');
    }, `a session with ${address}`);
  }

  #ask<T>(command: Command): Promise<T> {
    const id = ++this.#id;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.process.send!({ id, command });
    });
  }

  #message(message: ChildReport): void {
    if (message.reply !== undefined) {
      const waiting = this.#waiting.get(message.reply);
      this.#waiting.delete(message.reply);
      if (message.error) waiting?.reject(new Error(message.error));
      else waiting?.resolve(message.result!);
    } else if (message.event === 'session') this.sessions.push(message.change!);
    else if (message.event === 'routes') this.routes.push(...message.changes!);
    else if (message.event === 'claim') this.claims.push(message.claim!);
    else if (message.event === 'shadow') this.shadows.push(message.shadow!);
    else if (message.event === 'host') this.hosts.push(message.host!);
    else if (message.event === 'fact') this.facts.push(message.fact!);
    else if (message.event === 'log') this.logs.push(message as never);
  }
}
