/**
 * A lab of the worked example that stands for a test: asks its agents, its gateway and its kernels, breaks and mends,
 * kills and starts. The agents are the built `bin/peerless`; everything else is read from where an operator reads it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { AF, ETH_P, interfaceIndex, LinuxSocket, SOCK, withNetns } from 'linux-sockets';
import { parse, stringify } from 'yaml';
import { HOME_FIB } from '../../lab/cases/fib.ts';
import { cableChanges, Faults } from '../../lab/faults.ts';
import { Helper } from '../../lab/helper.ts';
import { type LabUpOptions, labDown, labUp } from '../../lab/index.ts';
import { bothKnowTheWayOut, gatewayFib } from '../../lab/lab.ts';
import { LinkSetter } from '../../lab/netlink.ts';
import type { ProbeResult } from '../../lab/probe/prober.ts';
import {
  gone,
  isRunning,
  type Outcome,
  outcome,
  run,
  signal,
  sleep,
  startDetached,
  waitUntil,
} from '../../lab/processes.ts';
import { letServersSpeak } from '../../lab/servers.ts';
import { loadState, nodeDirectory, saveState } from '../../lab/state.ts';
import { gratuitousArp } from '../../lab/team/arp.ts';
import {
  CABLES,
  downlinksOf,
  type NodeName,
  namespaceOf,
  SERVERS,
  type ServerName,
  TOR_NAMES,
  type TorName,
} from '../../lab/topology/plan.ts';
import type { EventView, FailoverView, GroupView, HostView, StatusView } from '../../src/agent/api.ts';

const PEERLESS = new URL('../../bin/peerless', import.meta.url).pathname;

/** What the agent at a control socket answers. */
export function askAgent<T>(socketPath: string, path: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, path, timeout: 5000 }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => {
        if (response.statusCode === 200) resolve(JSON.parse(body) as T);
        else reject(new Error(`${path}: ${response.statusCode} ${body}`));
      });
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error(`${path}: no answer`)));
    outgoing.on('error', reject);
    outgoing.end();
  });
}

/** Long, because a loaded machine is slow; what is waited for either comes in a fraction of it or never. */
const PATIENCE = 40_000;

/** How long servers say nothing while everything is waited for (ms). */
const SILENCE = 2_000;

export interface KernelRoute {
  readonly dst: string;
  readonly dev?: string;
  readonly gateway?: string;
  readonly protocol?: string;
  readonly type?: string;
}

export const peerless = (...words: string[]): Promise<Outcome> => outcome([PEERLESS, ...words]);

export interface Probed {
  readonly sent: number;
  readonly lost: number;
  /** Of those, on the way to the server. */
  readonly lostTo: number;
}

let count = 0;

export class Stand {
  readonly name: string;
  readonly #lasers: boolean;
  readonly #wires: LinkSetter;
  readonly #refused: string[] = [];
  #probe: Helper | undefined;

  static async up(options: Omit<LabUpOptions, 'name'> = {}): Promise<Stand> {
    const name = `e2e${process.pid}x${count++}`;
    await labUp({ ...options, name });
    return new Stand(name, options.ports === 'sonic');
  }

  private constructor(name: string, lasers: boolean) {
    this.name = name;
    this.#lasers = lasers;
    this.#wires = new LinkSetter(namespaceOf(name, 'wires'), (errno) => this.#refused.push(`errno ${errno}`));
  }

  async down(): Promise<void> {
    await this.#probe?.stop();
    this.#wires.close();
    await labDown({ name: this.name });
  }

  // ------------------------------------------------------------------ what an operator asks

  directory(node: NodeName): string {
    return nodeDirectory(this.name, node);
  }

  /** `bin/peerless WORDS` as the operator of a ToR types it. */
  cli(words: readonly string[], tor: TorName = 'A'): Promise<Outcome> {
    return outcome(this.#inside(tor, [PEERLESS, ...words]), {
      PEERLESS_SOCKET: join(this.directory(tor), 'control.sock'),
    });
  }

  ask<T>(path: string, tor: TorName = 'A'): Promise<T> {
    return askAgent(join(this.directory(tor), 'control.sock'), path);
  }

  status = (tor: TorName = 'A'): Promise<StatusView> => this.ask('/v1/status', tor);
  hosts = (tor: TorName = 'A'): Promise<HostView[]> => this.ask('/v1/hosts', tor);
  group = (name = 'fabric', tor: TorName = 'A'): Promise<GroupView> => this.ask(`/v1/portlink/${name}`, tor);
  events = (tor: TorName = 'A'): Promise<EventView[]> => this.ask('/v1/events', tor);
  failovers = (tor: TorName = 'A'): Promise<FailoverView[]> => this.ask('/v1/failovers', tor);
  counters = (tor: TorName = 'A'): Promise<Record<string, Record<string, number>>> => this.ask('/v1/counters', tor);

  log(tor: TorName = 'A'): string {
    return readFileSync(join(this.directory(tor), 'agent.log'), 'utf8');
  }

  /** What an agent said or logged that no operator should ever read: refused configurations do not count. */
  defects(tor: TorName = 'A'): string[] {
    return this.log(tor)
      .split('\n')
      .filter((line) => line !== '')
      .filter((line) => {
        if (!line.startsWith('{')) return true;
        const { level, msg } = JSON.parse(line) as { level: number; msg: string };
        return level >= 50 && !msg.includes('the new configuration was refused');
      });
  }

  configFile(tor: TorName = 'A'): string {
    return join(this.directory(tor), 'peerless.yaml');
  }

  // biome-ignore lint/suspicious/noExplicitAny: a test writes whatever it likes into the file
  editConfig(edit: (config: any) => void, tor: TorName = 'A'): void {
    const config = parse(readFileSync(this.configFile(tor), 'utf8'));
    edit(config);
    writeFileSync(this.configFile(tor), stringify(config, { aliasDuplicateObjects: false }));
  }

  // ------------------------------------------------------------------ the agents' lives

  pid(tor: TorName = 'A'): number {
    return loadState(this.name).torProcesses[tor][0]!.pid;
  }

  running(tor: TorName = 'A'): boolean {
    return loadState(this.name).torProcesses[tor].some(isRunning);
  }

  /** Sends the signal and, unless it is SIGHUP, waits until the agent is gone. */
  async signal(name: NodeJS.Signals, tor: TorName = 'A'): Promise<void> {
    const records = loadState(this.name).torProcesses[tor];
    for (const record of records) signal(record, name);
    if (name === 'SIGHUP') return;
    if (!(await gone(records, 10_000))) throw new Error(`the agent of ${tor} did not end at ${name}`);
  }

  /** Starts the agent with the configuration file as it is. Resolves when it answers, or at once without `wait`. */
  async start(options: { tor?: TorName; holdAtBoot?: boolean; wait?: boolean; program?: string } = {}): Promise<void> {
    const { tor = 'A', holdAtBoot = false, wait = true, program = PEERLESS } = options;
    const state = loadState(this.name);
    const command = [program, 'agent', '--config', this.configFile(tor), '--log-level', 'debug'];
    if (holdAtBoot) command.push('--hold-at-boot');
    const log = join(this.directory(tor), 'agent.log');
    const record = await startDetached(`${tor} agent`, this.#inside(tor, command), log);
    state.torProcesses[tor] = [record];
    saveState(state);
    if (!wait) return;
    const answered = await waitUntil(async () => !isRunning(record) || (await this.answers(tor)), PATIENCE);
    if (!answered || !isRunning(record)) throw new Error(`the agent of ${tor} did not start:\n${this.log(tor)}`);
  }

  async answers(tor: TorName = 'A'): Promise<boolean> {
    return this.status(tor).then(
      () => true,
      () => false,
    );
  }

  // ------------------------------------------------------------------ kernels and cables

  ip(node: NodeName, ...words: string[]): Promise<string> {
    return run(['ip', '-n', namespaceOf(this.name, node), ...words]);
  }

  exec(node: NodeName, ...command: string[]): Promise<Outcome> {
    return outcome(this.#inside(node, command));
  }

  async routes(node: NodeName): Promise<KernelRoute[]> {
    return JSON.parse(await this.ip(node, '-j', 'route', 'show')) as KernelRoute[];
  }

  /** address -> port, of the /32s that an agent has put into its kernel, those in the waiting room included. */
  async kernelHosts(tor: TorName = 'A'): Promise<Record<string, string>> {
    const routes = await this.routes(tor);
    return Object.fromEntries(
      routes.flatMap(({ dst, dev, protocol, type }) =>
        protocol === '201' && type !== 'unreachable' && !dst.includes('/') ? [[dst, dev ?? '']] : [],
      ),
    );
  }

  /** Downlinks that somebody has shut. */
  async shutPorts(tor: TorName = 'A'): Promise<string[]> {
    const links = JSON.parse(await this.ip(tor, '-j', 'link', 'show')) as { ifname: string; flags: string[] }[];
    const names = new Set(downlinksOf(tor));
    return links.filter(({ ifname, flags }) => names.has(ifname) && !flags.includes('UP')).map(({ ifname }) => ifname);
  }

  cables(ports: readonly string[], up: boolean): void {
    this.#wires.apply(cableChanges(ports, up, this.#lasers));
  }

  /** A cable that passes nothing while both ends keep their carrier. */
  async silence(port: string, silent: boolean): Promise<void> {
    const faults = new Faults(this.name);
    try {
      await faults.silence(port, silent);
    } finally {
      faults.close();
    }
  }

  fib = () => gatewayFib(this.name);

  /** One `show` command of G's FRR. */
  frr(command: string): Promise<string> {
    return run(this.#inside('G', ['vtysh', '--vty_socket', this.directory('G'), '-c', command]));
  }

  /** One command of G's BIRD. */
  async bird(...words: string[]): Promise<string> {
    return run(['birdc', '-s', join(this.directory('G'), 'bird.ctl'), ...words]);
  }

  /** Frames out of a server's team, as a VM of it would send them. */
  sendFromServer(server: ServerName, frames: readonly Uint8Array[]): void {
    this.sendFrames(server, 'bond0', frames);
  }

  sendFrames(node: NodeName, device: string, frames: readonly Uint8Array[]): void {
    const netns = namespaceOf(this.name, node);
    const socket = LinuxSocket.open({ family: AF.PACKET, type: SOCK.RAW, protocol: 0, netns });
    try {
      const ifindex = withNetns(netns, () => interfaceIndex(device));
      for (const data of frames) socket.send({ data, to: { family: 'packet', ifindex, protocol: ETH_P.ALL } });
    } finally {
      socket.close();
    }
  }

  /** Gives the server one more address (a VM of it) that says at once where it is. */
  async addAddress(server: ServerName, address: string): Promise<void> {
    await this.ip(server, 'address', 'add', `${address}/32`, 'dev', 'bond0');
    const { mac } = SERVERS.find(({ name }) => name === server)!;
    this.sendFromServer(server, [gratuitousArp(mac, address)]);
  }

  async removeAddress(server: ServerName, address: string): Promise<void> {
    await this.ip(server, 'address', 'delete', `${address}/32`, 'dev', 'bond0');
  }

  #inside(node: NodeName, command: readonly string[]): string[] {
    return ['ip', 'netns', 'exec', namespaceOf(this.name, node), ...command];
  }

  // ------------------------------------------------------------------ waiting

  /** @throws Error with what `describe` says when `condition` does not come to hold */
  async until(
    what: string,
    condition: () => boolean | Promise<boolean>,
    describe: () => unknown = () => undefined,
    patience = PATIENCE,
  ): Promise<void> {
    if (await waitUntil(condition, patience, 50)) return;
    throw new Error(`${what}: not so within ${patience} ms: ${JSON.stringify(await describe())}`);
  }

  /** Every server is reached by its own ToR, every port is open, and A's kernel has exactly its two hosts. */
  async untilHome(): Promise<void> {
    let seen: unknown;
    let silentUntil = performance.now() + SILENCE;
    await this.until(
      'the lab is at home',
      async () => {
        // A server that nobody talks to says nothing; any server speaks sooner or later.
        if (performance.now() > silentUntil) {
          letServersSpeak(this.name);
          silentUntil = performance.now() + SILENCE;
        }
        const state = {
          fib: await this.fib(),
          shut: [...(await this.shutPorts('A')), ...(await this.shutPorts('B'))],
          kernel: await this.kernelHosts('A'),
          wayOut: await bothKnowTheWayOut(loadState(this.name)),
        };
        seen = state;
        return (
          state.wayOut &&
          JSON.stringify(sorted(state.fib)) === JSON.stringify(sorted(HOME_FIB)) &&
          state.shut.length === 0 &&
          JSON.stringify(sorted(state.kernel)) === JSON.stringify({ '10.10.10.1': 'A1', '10.10.10.2': 'A2' })
        );
      },
      () => seen,
    );
  }

  /** For `afterEach.always`: what a failed test has left broken does not fail all that follow. */
  async mend({ passed }: { readonly passed: boolean }): Promise<void> {
    if (passed) return;
    this.cables(
      CABLES.map(({ near }) => near.port),
      true,
    );
    for (const tor of TOR_NAMES) if (!this.running(tor)) await this.start({ tor });
    // What is not mended by that is the next test's to say.
    await this.untilHome().catch(() => undefined);
  }

  // ------------------------------------------------------------------ the probe

  /** Counts the packets of `work`: one a millisecond to and from every server. */
  async probing(work: () => Promise<void>): Promise<Record<ServerName, Probed>> {
    this.#probe ??= Helper.start('./probe/main', new URL('../../lab/lab.ts', import.meta.url).href, [this.name]);
    // Neighbours and caches on the way are filled before it counts.
    await sleep(500);
    await this.#probe.request('begin');
    await work();
    const results = await this.#probe.request<ProbeResult[]>('end', 300);
    return Object.fromEntries(
      SERVERS.map(({ name }) => {
        const own = results.filter(({ server }) => server === name);
        const total = (pick: (result: ProbeResult) => number) => own.reduce((sum, result) => sum + pick(result), 0);
        const lostTo = total(({ direction, lost }) => (direction === 'to-server' ? lost : 0));
        return [name, { sent: total(({ sent }) => sent), lost: total(({ lost }) => lost), lostTo }];
      }),
    ) as Record<ServerName, Probed>;
  }

  async stopProbe(): Promise<void> {
    await this.#probe?.stop();
    this.#probe = undefined;
  }
}

const sorted = (value: object): object => Object.fromEntries(Object.entries(value).toSorted());

/** Mulberry32: one seed, one story. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
