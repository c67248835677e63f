/**
 * The process that holds the port of ESP open: the kernel decapsulates for as long as a socket with UDP_ENCAP is bound, whoever has it.
 * It does nothing; an agent that ends leaves it behind, and the next one brings its own before it ends the other.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const COMMAND = ['/bin/sleep', 'infinity'] as const;

export class PortHolder {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Takes the port over from the process that an earlier agent has left. @param failed nobody holds it */
  begin(fd: number, failed: (error: Error) => void): void {
    const before = this.#pid();
    const [program, ...argv] = COMMAND;
    const child = spawn(program, argv, { stdio: ['ignore', 'ignore', 'ignore', fd], detached: true });
    child.on('error', failed);
    child.unref();
    if (child.pid === undefined) return;
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    writeFileSync(this.#file, `${child.pid}\n`, { mode: 0o600 });
    end(before);
  }

  end(): void {
    end(this.#pid());
    rmSync(this.#file, { force: true });
  }

  /** It runs, in this network namespace; false also where that can't be told. */
  isHere(): boolean {
    const pid = this.#pid();
    if (pid === undefined) return false;
    try {
      const [its, own] = [statSync(`/proc/${pid}/ns/net`), statSync('/proc/self/ns/net')];
      return its.ino === own.ino && its.dev === own.dev;
    } catch {
      return false;
    }
  }

  get #file(): string {
    return join(this.#directory, 'holder.pid');
  }

  /** Numbers of processes come round: only one that still is what was started. */
  #pid(): number | undefined {
    try {
      const pid = Number(readFileSync(this.#file, 'utf8'));
      const runs = readFileSync(`/proc/${pid}/cmdline`, 'latin1') === `${COMMAND.join('\0')}\0`;
      return Number.isInteger(pid) && pid > 1 && runs ? pid : undefined;
    } catch {
      return undefined;
    }
  }
}

function end(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(pid);
  } catch {
    // It has ended by itself.
  }
}
