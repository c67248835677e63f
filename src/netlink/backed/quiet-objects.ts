/**
 * `net.ipv4.nexthop_compat_mode`: with 1, the kernel's default, replacing a next-hop object tells listeners of every route
 * over it and takes milliseconds per 10,000 routes; with 0 it takes microseconds, and a route that is read names its
 * object alone. For the whole network namespace.
 */
import type { GuardMemory } from '../frames/index.ts';
import { readSetting, writeSetting } from '../port-setting.ts';

const NAME = 'nexthop_compat_mode';
const FILE = `/proc/sys/net/ipv4/${NAME}`;
/** It is of no interface. */
const EVERYWHERE = 'all';

export class QuietObjects {
  readonly #netns: string | undefined;
  readonly #memory: GuardMemory | undefined;
  #before: string | undefined;

  /** `memory`: for the next life of the agent, or `peerless cleanup`. */
  constructor(netns: string | undefined, memory?: GuardMemory) {
    this.#netns = netns;
    this.#memory = memory;
  }

  /** @returns false where the kernel has no such setting or we have no right: slower and louder, but right */
  set(): boolean {
    const now = readSetting(FILE, this.#netns);
    if (now === undefined || now === '0') return now === '0';
    this.#before = now;
    this.#memory?.keep(EVERYWHERE, { [NAME]: now });
    writeSetting(FILE, '0', this.#netns);
    return readSetting(FILE, this.#netns) === '0';
  }

  /** The setting, in words, while it is as we or an earlier life have set it. */
  get changed(): string | undefined {
    const before = this.#memory?.settingsOf(EVERYWHERE)?.[NAME] ?? this.#before;
    return before !== undefined && readSetting(FILE, this.#netns) === '0' ? `net.ipv4.${NAME}` : undefined;
  }

  /** As it was found. */
  putBack(): void {
    const before = this.#memory?.settingsOf(EVERYWHERE)?.[NAME] ?? this.#before;
    // What is not ours any more somebody has set since.
    if (before !== undefined && readSetting(FILE, this.#netns) === '0') writeSetting(FILE, before, this.#netns);
    this.#memory?.forget(EVERYWHERE);
    this.#before = undefined;
  }
}
