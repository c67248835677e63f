/** The agents of the hosts: their configuration files, and processes that may be killed and started again. */
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OverlayWorker } from 'overlay-worker';
import { stringify } from 'yaml';
import { workerSocket } from '../../src/config/index.ts';
import {
  type Outcome,
  outcome,
  type ProcessRecord,
  run,
  signal,
  startDetached,
  stop,
  waitUntil,
} from '../processes.ts';
import { directoryOf } from '../state.ts';
import type { PlannedHost } from './plan.ts';

const PEERLESS = new URL('../../bin/peerless', import.meta.url).pathname.replace('/dist/bin/', '/bin/');
const BPFFS = '/sys/fs/bpf';

/** Pins outlive a mount namespace only where the machine's own is used; agents are told apart by their directories. */
async function haveBpffs(): Promise<void> {
  const mounted = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  if (!mounted.some((line) => line.split(' ')[1] === BPFFS)) await run(['mount', '-t', 'bpf', 'bpf', BPFFS]);
}

/** What a killed agent has left pinned; its directory is named after the namespace's inode. */
export function removePins(netns: string): void {
  const place = `/run/netns/${netns}`;
  if (existsSync(place)) rmSync(join(BPFFS, `peerless-${statSync(place).ino}`), { recursive: true, force: true });
}

export class HostAgent {
  readonly directory: string;
  /** In one folder with those of the other hosts. */
  readonly socket: string;
  readonly #host: PlannedHost;
  #process: ProcessRecord | undefined;

  constructor(lab: string, host: PlannedHost) {
    this.#host = host;
    this.directory = join(directoryOf(lab), host.name);
    this.socket = join(directoryOf(lab), `${host.name}.sock`);
    mkdirSync(this.directory, { recursive: true });
  }

  get configFile(): string {
    return join(this.directory, 'peerless.yaml');
  }

  get log(): string {
    const file = join(this.directory, 'agent.log');
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  configure(configuration: object): void {
    writeFileSync(this.configFile, stringify(configuration));
  }

  /** Resolves when the control socket answers. */
  async start(patience = 20_000): Promise<void> {
    await haveBpffs();
    const command = this.inside([PEERLESS, 'agent', '--config', this.configFile]);
    this.#process = await startDetached(`agent ${this.#host.netns}`, command, join(this.directory, 'agent.log'));
    const answers = async (): Promise<boolean> => (await this.cli(['status', '--json'])).code === 0;
    if (!(await waitUntil(answers, patience, 100))) throw new Error(`${this.#host.netns}: no agent\n${this.log}`);
  }

  /** SIGTERM. */
  async stop(): Promise<void> {
    if (this.#process) await stop([this.#process], 10_000);
    this.#process = undefined;
  }

  /** SIGKILL: nothing is tidied up. */
  async kill(): Promise<void> {
    if (!this.#process) return;
    signal(this.#process, 'SIGKILL');
    await stop([this.#process]);
    this.#process = undefined;
  }

  /** The packet worker goes on without its agent, and would keep the namespace alive. */
  async endWorker(): Promise<void> {
    const socket = workerSocket({ control: { socket: this.socket } });
    if (existsSync(socket)) await OverlayWorker.end(socket);
  }

  hangUp(): void {
    if (this.#process) signal(this.#process, 'SIGHUP');
  }

  /** `bin/peerless WORDS` as the operator of this host types it. */
  cli(words: readonly string[]): Promise<Outcome> {
    return outcome(this.inside([PEERLESS, ...words]), { PEERLESS_SOCKET: this.socket, NO_COLOR: '1' });
  }

  /** With the host's network and the machine's own /sys. */
  inside(command: readonly string[]): string[] {
    return ['nsenter', `--net=/run/netns/${this.#host.netns}`, ...command];
  }

  forget(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
