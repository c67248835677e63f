/**
 * The one place that runs nft: no shell, the text on its standard input, one transaction a call. Spoken to as a program
 * and not by netlink, since its text is the format that the kernel's users know, and a load is rare.
 */
import { spawn } from 'node:child_process';

/** Whatever is first in the caller's PATH may be another `nft` (npm has one). */
const SYSTEM = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };
const PATIENCE = 60_000;
/** Of what it says when it refuses. */
const KEPT_WORDS = 4096;
/** A listing of ten thousand rules is 3 MB. */
const LONGEST_LISTING = 256 * 1024 * 1024;

/** Of our latest runs: notifications of what they did come a little later. */
const RECENT = 32;
const recent: number[] = [];

export const isOurRun = (pid: number): boolean => recent.includes(pid);

export class NftError extends Error {
  /** nft's own words, shortened. */
  readonly said: string;

  constructor(what: string, said: string) {
    super(`nft ${what}: ${said.split('\n')[0]}`);
    this.name = 'NftError';
    this.said = said;
  }
}

export interface NftOptions {
  /** A name in /run/netns or a path; absent: where the agent is. */
  readonly netns?: string | undefined;
}

/** All of it or nothing. Rejects with NftError. */
export async function load(text: string, options: NftOptions): Promise<void> {
  await run(['-f', '-'], 'refused the ruleset', text, options);
}

/** As `load`, and nothing is loaded. Rejects with NftError. */
export async function check(text: string, options: NftOptions): Promise<void> {
  await run(['-c', '-f', '-'], 'refused the ruleset', text, options);
}

/** `nft -j ARGS`, parsed; undefined when what was asked for is not there. Rejects with NftError. */
export async function list(args: readonly string[], options: NftOptions): Promise<NftListing | undefined> {
  try {
    const { nftables } = JSON.parse(await run(['-j', ...args], args.join(' '), '', options)) as {
      nftables: NftListing;
    };
    return nftables;
  } catch (error) {
    if (error instanceof NftError && /No such file or directory/.test(error.said)) return undefined;
    throw error;
  }
}

export type NftListing = readonly Readonly<Record<string, unknown>>[];

function run(args: readonly string[], what: string, input: string, { netns }: NftOptions): Promise<string> {
  const place = netns === undefined ? undefined : netns.includes('/') ? netns : `/run/netns/${netns}`;
  const [program, ...rest] = place === undefined ? ['nft', ...args] : ['nsenter', `--net=${place}`, 'nft', ...args];
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const child = spawn(program!, rest, { stdio: ['pipe', 'pipe', 'pipe'], env: SYSTEM, timeout: PATIENCE });
  if (child.pid !== undefined && recent.push(child.pid) > RECENT) recent.shift();
  const out: Buffer[] = [];
  let length = 0;
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length <= LONGEST_LISTING) out.push(chunk);
    else child.kill();
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    if (said.length < KEPT_WORDS) said = (said + chunk).slice(0, KEPT_WORDS);
  });
  child.on('error', (error) => reject(new NftError(what, error.message)));
  // It may refuse before it has read all: its words tell more than a broken pipe.
  child.stdin.on('error', () => undefined);
  child.on('close', (code, signal) => {
    if (code === 0) resolve(Buffer.concat(out).toString());
    else reject(new NftError(what, said.trim() || (signal ? `ended by ${signal}` : `exit code ${code}`)));
  });
  child.stdin.end(input);
  return promise;
}
