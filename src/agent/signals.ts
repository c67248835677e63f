/**
 * The signals of the agent, from before its start on. While it starts, the kernel already has something of it and nothing could be
 * taken back yet, and SIGHUP would be the end by the kernel's default: so what comes early waits until the agent has started.
 */
import type { EventEmitter } from 'node:events';

const HEARD = ['SIGUSR2', 'SIGTERM', 'SIGINT', 'SIGHUP'] as const;
export type Heard = (typeof HEARD)[number];

export class Signals {
  /** In the order of HEARD: an end that is a restart, by SIGUSR2, stays one. */
  readonly #early = new Set<Heard>();
  readonly #giveUp: (signal: Heard) => void;
  #act: ((signal: Heard) => void) | undefined;

  /** @param giveUp somebody asks for the end again, and the start goes on and on */
  constructor(process: Pick<EventEmitter, 'on'>, giveUp: (signal: Heard) => void) {
    this.#giveUp = giveUp;
    for (const signal of HEARD) process.on(signal, () => this.#heard(signal));
  }

  /** The agent has started. */
  start(act: (signal: Heard) => void): void {
    this.#act = act;
    for (const signal of HEARD) if (this.#early.has(signal)) act(signal);
  }

  #heard(signal: Heard): void {
    if (this.#act) this.#act(signal);
    else if (this.#early.has(signal) && signal !== 'SIGHUP') this.#giveUp(signal);
    else this.#early.add(signal);
  }
}
