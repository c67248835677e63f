/** A lab of a fixed name is for one program at a time: who began later would take it from under the first. */
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRunning, type ProcessRecord, recordOf } from './processes.ts';
import { ROOT } from './state.ts';

export class LabTakenError extends Error {
  constructor(name: string, holder: ProcessRecord) {
    super(
      `lab ${name} is in use by process ${holder.pid} (${holder.name}): wait until it has ended, or end it with \`kill ${holder.pid}\``,
    );
    this.name = 'LabTakenError';
  }
}

/**
 * The lab is this process's until it ends; what a process left that was killed is taken over.
 * @throws LabTakenError
 */
export function claimLab(name: string, what: string): void {
  mkdirSync(ROOT, { recursive: true });
  const file = join(ROOT, `${name}.claim`);
  const own = `${file}.${process.pid}`;
  writeFileSync(own, JSON.stringify(recordOf(what, process.pid)));
  try {
    while (!linked(own, file)) {
      const holder = holderIn(file);
      if (holder && isRunning(holder)) throw new LabTakenError(name, holder);
      rmSync(file, { force: true });
    }
  } finally {
    rmSync(own);
  }
  process.once('exit', () => rmSync(file, { force: true }));
}

function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function holderIn(file: string): ProcessRecord | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as ProcessRecord;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
