/** Programs of the lab: run to completion, or left running and remembered so that only what was started is ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';

/** A process that outlives the command which started it. */
export interface ProcessRecord {
  readonly name: string;
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: tells the process from a later one with the same number. */
  readonly startTime: string;
}

export class CommandError extends Error {
  readonly command: readonly string[];
  readonly stderr: string;
  constructor(command: readonly string[], outcome: string, stderr: string) {
    super(`${command.join(' ')}: ${outcome}${stderr ? `\n${stderr.trimEnd()}` : ''}`);
    this.name = 'CommandError';
    this.command = command;
    this.stderr = stderr;
  }
}

/** @throws CommandError when the program can't be run or its exit code isn't 0 */
export function run(command: readonly string[], input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command[0]!, command.slice(1), { stdio: ['pipe', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', (error) => reject(new CommandError(command, error.message, '')));
    child.on('close', (code, signal) => {
      if (code === 0) resolve(stdout);
      else reject(new CommandError(command, signal ?? `exit ${code}`, stderr));
    });
    // A program that doesn't read its input closes the pipe early; its exit code says what matters.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input ?? '');
  });
}

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs to its end whatever its exit code is. */
export function outcome(command: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(command[0]!, command.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? -1, stdout, stderr }));
  });
}

/** Leaves `command` running in a session of its own, with its output in `logFile`. */
export function startDetached(name: string, command: readonly string[], logFile: string): Promise<ProcessRecord> {
  return new Promise((resolve, reject) => {
    const log = openSync(logFile, 'a');
    const child: ChildProcess = spawn(command[0]!, command.slice(1), { detached: true, stdio: ['ignore', log, log] });
    closeSync(log);
    child.on('error', (error) => reject(new CommandError(command, error.message, '')));
    child.on('spawn', () => {
      child.unref();
      const record = child.pid === undefined ? undefined : recordOf(name, child.pid);
      if (record) resolve(record);
      else reject(new CommandError(command, `ended at once, see ${logFile}`, readTail(logFile)));
    });
  });
}

/** undefined: it has ended. */
export function recordOf(name: string, pid: number): ProcessRecord | undefined {
  const startTime = startTimeOf(pid);
  return startTime === undefined ? undefined : { name, pid, startTime };
}

/** undefined: no such process, or it has ended and only waits to be reaped. */
function startTimeOf(pid: number): string | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

export const isRunning = (process: ProcessRecord): boolean => startTimeOf(process.pid) === process.startTime;

export function signal(record: ProcessRecord, name: NodeJS.Signals): void {
  if (!isRunning(record)) return;
  try {
    process.kill(record.pid, name);
  } catch (error) {
    // It may end between the look and the signal.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** SIGTERM, and SIGKILL for those that are still there after `patience` ms. */
export async function stop(records: readonly ProcessRecord[], patience = 3000): Promise<void> {
  for (const record of records) signal(record, 'SIGTERM');
  if (await gone(records, patience)) return;
  for (const record of records) signal(record, 'SIGKILL');
  if (!(await gone(records, 3000))) {
    throw new Error(
      `still running: ${records
        .filter(isRunning)
        .map((record) => `${record.name} (${record.pid})`)
        .join(', ')}`,
    );
  }
}

export const gone = (records: readonly ProcessRecord[], patience: number): Promise<boolean> =>
  waitUntil(() => !records.some(isRunning), patience, 10);

/** Polls `condition`; false when it didn't hold within `patience` ms. */
export async function waitUntil(
  condition: () => boolean | Promise<boolean>,
  patience: number,
  pause = 50,
): Promise<boolean> {
  const end = performance.now() + patience;
  for (;;) {
    if (await condition()) return true;
    if (performance.now() >= end) return false;
    await sleep(pause);
  }
}

export const sleep = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

function readTail(file: string): string {
  return readFileSync(file, 'utf8').slice(-2000);
}
