/** Agents with nothing but the fast path, in processes that are killed, ended and started while packets flow. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { BpfMap } from 'linux-sockets';
import type { HostLab } from '../../../../lab/hosts/index.ts';
import { removeFastPath } from '../../../../src/vswitch-bridge/fastpath/index.ts';
import type { MapName } from '../../../../src/vswitch-bridge/fastpath/maps/tables.ts';
import type { FastPathSettings } from '../../../../src/vswitch-bridge/fastpath/types.ts';
import { stateOfHost } from './host-state.ts';

const PROGRAM = fileURLToPath(new URL('agent-program.ts', import.meta.url));

export interface AgentOptions {
  /** What differs from `SETTINGS` of ./box.ts. */
  readonly settings?: Partial<FastPathSettings>;
  /** A power of two. */
  readonly connections?: number;
}

export class FastPathAgent {
  readonly #lab: HostLab;
  readonly #host: string;
  readonly #options: AgentOptions;
  #process: ChildProcess | undefined;

  constructor(lab: HostLab, host: string, options: AgentOptions = {}) {
    this.#lab = lab;
    this.#host = host;
    this.#options = options;
  }

  /** @returns whether it went on with what another had left */
  async start(): Promise<boolean> {
    const { settings = {}, connections = 4096 } = this.#options;
    const plain = (_: string, value: unknown) => (value instanceof Map ? [...value] : value);
    const state = JSON.stringify(stateOfHost(this.#lab, this.#host), plain);
    const words = [this.#lab.netnsOf(this.#host), state, JSON.stringify(settings), String(connections)];
    this.#process = fork(PROGRAM, words);
    return this.#said();
  }

  /** `again`: as after a restart; `anew`: after an end; `forget`: as when the box starts anew, and nobody was told. */
  begin(how: 'again' | 'anew' | 'forget'): Promise<boolean> {
    this.#process!.send(how);
    return this.#said();
  }

  /** Nothing is tidied up: the programs go on. */
  async kill(): Promise<void> {
    const agent = this.#process;
    this.#process = undefined;
    if (!agent || agent.exitCode !== null || agent.signalCode !== null) return;
    agent.kill('SIGKILL');
    await once(agent, 'exit');
  }

  /** By itself: nothing of it is left. */
  async end(): Promise<void> {
    const agent = this.#process!;
    this.#process = undefined;
    agent.send('end');
    await once(agent, 'exit');
  }

  /** Of a killed one. */
  removeWhatIsLeft(): void {
    removeFastPath({ netns: this.#lab.netnsOf(this.#host) });
  }

  async #said(): Promise<boolean> {
    const agent = this.#process!;
    const [said] = await Promise.race([
      once(agent, 'message'),
      once(agent, 'exit').then(([code]) => Promise.reject(new Error(`the agent ended with ${code}`))),
    ]);
    if (said.problems.length > 0) throw new Error(said.problems.join());
    return said.adopted;
  }

  get directory(): string {
    return `/sys/fs/bpf/peerless-${statSync(`/run/netns/${this.#lab.netnsOf(this.#host)}`).ino}`;
  }

  /** By its pin. */
  map<T>(name: MapName, use: (map: BpfMap) => T): T {
    using map = BpfMap.pinned(`${this.directory}/map-${name}`);
    return use(map);
  }
}
