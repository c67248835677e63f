/**
 * `net.ipv4.nexthop_compat_mode`: with 1, the kernel's default, replacing a next-hop object tells listeners of every route
 * over it and takes milliseconds per 10,000 routes; with 0 it takes microseconds, and a route that is read names its
 * object alone. For the whole network namespace.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { withNetns } from 'linux-sockets';

const FILE = '/proc/sys/net/ipv4/nexthop_compat_mode';

export class QuietObjects {
  readonly #netns: string | undefined;
  #before: string | undefined;

  constructor(netns: string | undefined) {
    this.#netns = netns;
  }

  /** @returns false where the kernel has no such setting or we have no right: slower and louder, but right */
  set(): boolean {
    return this.#try(() => {
      this.#before ??= readFileSync(FILE, 'utf8').trim();
      if (this.#before !== '0') writeFileSync(FILE, '0');
    });
  }

  /** As it was found. */
  putBack(): void {
    const before = this.#before;
    if (before !== undefined && before !== '0') this.#try(() => writeFileSync(FILE, before));
  }

  #try(work: () => void): boolean {
    try {
      if (this.#netns === undefined) work();
      else withNetns(this.#netns, work);
      return true;
    } catch {
      // No such setting, or no right to it: what follows works either way.
      return false;
    }
  }
}
