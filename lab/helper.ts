/**
 * A program of the lab in a process of its own (the probe, the observer), so that its loop is not disturbed by the
 * controller's, and requests to it over Node's IPC channel. It ends when the controller does.
 */
import { type ChildProcess, fork } from 'node:child_process';

interface Request {
  readonly id: number;
  readonly name: string;
  readonly argument: unknown;
}

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

/** How to run a module of the lab by this very runtime, from the sources or from what was built. */
export function moduleCommand(path: string, base: string): { file: string; nodeArguments: string[] } {
  const fromSource = base.endsWith('.ts');
  return {
    file: new URL(`${path}${fromSource ? '.ts' : '.js'}`, base).pathname,
    nodeArguments: fromSource ? ['--conditions=source'] : [],
  };
}

export class Helper {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #next = 1;

  /** @param module path relative to `base`, without extension */
  static start(module: string, base: string, programArguments: readonly string[]): Helper {
    const { file, nodeArguments } = moduleCommand(module, base);
    return new Helper(
      fork(file, [...programArguments], { execArgv: nodeArguments, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] }),
      module,
    );
  }

  /** A child with an IPC channel that serves as `serveHelper` does. */
  static of(child: ChildProcess, name: string): Helper {
    return new Helper(child, name);
  }

  private constructor(child: ChildProcess, name: string) {
    this.#child = child;
    child.on('message', (answer: Answer) => {
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if (answer.error === undefined) waiting?.resolve(answer.result);
      else waiting?.reject(new Error(`${name}: ${answer.error}`));
    });
    child.on('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`${name} ended (${signal ?? code})`));
      this.#waiting.clear();
    });
    child.on('error', (error) => {
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    });
  }

  /** @throws Error when the program has ended, or says that it failed */
  request<T>(name: string, argument?: unknown): Promise<T> {
    return new Promise((resolve, reject) => {
      const id = this.#next++;
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#child.send({ id, name, argument } satisfies Request, (error) => {
        if (error && this.#waiting.delete(id)) reject(error);
      });
    });
  }

  /** Closes the channel; the program ends by itself. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()));
    if (this.#child.connected) this.#child.disconnect();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 3000);
    await ended;
    clearTimeout(timer);
  }
}

/** The other side: answers requests by name until the controller is gone. */
export function serveHelper(handlers: Readonly<Record<string, (argument: never) => unknown>>): void {
  const send = (answer: Answer): void => {
    if (process.connected) process.send?.(answer);
  };
  process.on('message', async ({ id, name, argument }: Request) => {
    try {
      const handler = handlers[name];
      if (!handler) throw new Error(`no request named ${name}`);
      send({ id, result: await handler(argument as never) });
    } catch (error) {
      send({ id, error: error instanceof Error ? error.message : String(error) });
    }
  });
  process.on('disconnect', () => process.exit(0));
  // The terminal's Ctrl-C reaches the whole group; the controller decides when we end.
  process.on('SIGINT', () => undefined);
}
