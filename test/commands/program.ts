/** `bin/peerless` as it is built. */
import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';

export const PEERLESS = new URL('../../bin/peerless', import.meta.url).pathname;

export interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export function run(
  argv: readonly string[],
  options: { cwd?: string; env?: Record<string, string>; file?: string } = {},
): Promise<Outcome> {
  const { PEERLESS_SOCKET: _, ...inherited } = process.env;
  const child = spawn(options.file ?? PEERLESS, argv, {
    cwd: options.cwd ?? tmpdir(),
    env: { ...inherited, NO_COLOR: '1', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, out, err }));
  });
}
