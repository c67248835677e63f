import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Clock, Timer } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import { type NeighbourTable, ObjectSplitter, parseNeighbours } from './parse.ts';

/** An answer for 4,096 ports is a few MB. */
const LONGEST_ANSWER = 16 << 20;
const PATIENCE_MS = 5_000;

/**
 * One `lldpcli` for the life of the agent, that is asked by a line on its standard input: starting a program stops the
 * event loop for a millisecond or more, so it is not done for each look. It ends with us, for its input ends. One that
 * doesn't answer is killed; the next look starts another.
 */
export class Lldpcli {
  readonly #socket: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #program: string;
  #silent = false;
  #child: ChildProcessWithoutNullStreams | undefined;
  #waiting: { readonly resolve: (table: NeighbourTable | undefined) => void; readonly timer: Timer } | undefined;

  /** `socket`: lldpd's. */
  constructor(socket: string, clock: Clock, log: Log, program = 'lldpcli') {
    this.#socket = socket;
    this.#clock = clock;
    this.#log = log;
    this.#program = program;
  }

  /** Undefined: there is no lldpd, or it doesn't answer. One look at a time. */
  look(): Promise<NeighbourTable | undefined> {
    if (this.#waiting) return Promise.reject(new Error('a look is under way'));
    if (!existsSync(this.#socket)) {
      this.close();
      return Promise.resolve(undefined);
    }
    const child = this.#child ?? this.#start();
    if (!child) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const timer = this.#clock.schedule(this.#clock.now() + PATIENCE_MS, () => this.close());
      this.#waiting = { resolve, timer };
      child.stdin.write('show neighbors\n');
    });
  }

  close(): void {
    const child = this.#child;
    this.#child = undefined;
    child?.kill('SIGKILL');
    this.#answer(undefined);
  }

  /** Undefined: the box has no memory or file descriptor left for it. What is only shown must not end the agent. */
  #start(): ChildProcessWithoutNullStreams | undefined {
    const child = this.#spawn();
    if (!child?.stdin) return undefined;
    this.#child = child;
    const splitter = new ObjectSplitter(LONGEST_ANSWER);
    const over = (): void => {
      if (this.#child === child) this.close();
    };
    // Not there (ENOENT), or ended: Node has waited for it, so it is no zombie.
    child.on('error', over);
    child.on('exit', over);
    // It may end with our question unread (EPIPE); its end says the same.
    child.stdin.on('error', over);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const objects = splitter.push(text);
      if (objects === 'overflow') over();
      else for (const object of objects) this.#answer(parseNeighbours(object));
    });
    // Warnings of one without lldpd; what matters is that no answer comes.
    child.stderr.resume();
    child.unref();
    return child;
  }

  #spawn(): ChildProcessWithoutNullStreams | undefined {
    try {
      const child = spawn(this.#program, ['-u', this.#socket, '-f', 'json0'], { stdio: ['pipe', 'pipe', 'pipe'] });
      // Without a descriptor (EMFILE) there is a child that has no streams, and its error follows.
      child.on('error', () => undefined);
      return child;
    } catch (error) {
      this.#log.warn({ err: error }, 'lldpcli could not be started');
      return undefined;
    }
  }

  #answer(table: NeighbourTable | undefined): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (!waiting) return;
    waiting.timer.cancel();
    if (!table && !this.#silent)
      this.#log.info({ socket: this.#socket }, 'lldpd does not answer: may we use its socket?');
    this.#silent = !table;
    waiting.resolve(table);
  }
}
