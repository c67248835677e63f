/**
 * A file for each peer, in a directory of the run time: what the next agent needs beside the SAs in the kernel. No keys. What is of
 * another boot is of no use: those SAs are gone, and their numbers must not begin anew.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Address, parseAddress } from '../../../model/address.ts';
import type { RememberedPeer } from './entry.ts';
import type { XfrmMemory } from './kernel-face.ts';

const SUFFIX = '.json';

export class XfrmFiles implements XfrmMemory {
  readonly #directory: string;
  readonly #boot: string;

  constructor(directory: string, boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()) {
    this.#directory = directory;
    this.#boot = boot;
  }

  load(): RememberedPeer[] {
    return this.#names().flatMap((name) => this.#read(name) ?? []);
  }

  save(peer: RememberedPeer): void {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const path = this.#path(peer.address);
    writeFileSync(`${path}.new`, `${JSON.stringify({ boot: this.#boot, ...peer })}\n`, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  remove(address: Address): void {
    rmSync(this.#path(address), { force: true });
  }

  keepOnly(addresses: readonly Address[]): void {
    const kept = new Set(addresses.map((address) => `${address}${SUFFIX}`));
    for (const name of this.#names()) if (!kept.has(name)) rmSync(join(this.#directory, name), { force: true });
  }

  #path(address: Address): string {
    return join(this.#directory, `${address}${SUFFIX}`);
  }

  #names(): string[] {
    try {
      return readdirSync(this.#directory).filter((name) => name.endsWith(SUFFIX));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }

  /** undefined: of another boot, or not as we write it; the peer begins anew then. */
  #read(name: string): RememberedPeer | undefined {
    let value: Partial<RememberedPeer> & { readonly boot?: string };
    try {
      value = JSON.parse(readFileSync(join(this.#directory, name), 'utf8')) as typeof value;
    } catch {
      return undefined;
    }
    if (typeof value !== 'object' || value === null || value.boot !== this.#boot) return undefined;
    const { address, mark, memo, inbound, outbound, current, spent } = value;
    const parsed = typeof address === 'string' ? parseAddress(address) : undefined;
    const numbers = [inbound, outbound].every((list) => Array.isArray(list) && list.every(Number.isInteger));
    if (parsed === undefined || name !== `${parsed}${SUFFIX}` || !Number.isInteger(mark) || !numbers) return undefined;
    if (typeof memo !== 'string' || !/^([0-9a-f]{2})*$/.test(memo) || !Array.isArray(spent)) return undefined;
    if (current !== undefined && !outbound!.includes(current)) return undefined;
    return {
      address: parsed,
      mark: mark!,
      memo,
      inbound: inbound!,
      outbound: outbound!,
      current,
      spent: spent.filter((one) => typeof one === 'string'),
    };
  }
}
