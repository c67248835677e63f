import type { GuardMemory } from '../frames/index.ts';
import { readSetting, writeSetting } from '../port-setting.ts';

/**
 * By default the kernel goes on using a route whose interface has lost its carrier. With this setting of the interface
 * the look-up passes over it and takes the next one of the same prefix, the backup, in the moment in which the kernel
 * itself sees the loss: nobody has to do anything then. What an interface had before is put back.
 */
const SETTING = 'ignore_routes_with_linkdown';
const FAMILIES = ['ipv4', 'ipv6'] as const;

export class IgnoredLinkdown {
  readonly #netns: string | undefined;
  readonly #memory: GuardMemory;
  /** ifindex by name: one that was unplugged and is back has the kernel's default again. */
  readonly #covered = new Map<string, number>();

  /** `memory`: for the next life of the agent, or `peerless cleanup`. */
  constructor(memory: GuardMemory, netns: string | undefined) {
    this.#memory = memory;
    this.#netns = netns;
  }

  cover(name: string, ifindex: number): void {
    if (this.#covered.get(name) === ifindex) return;
    this.#covered.set(name, ifindex);
    const before = Object.fromEntries(
      FAMILIES.flatMap((family) => {
        const value = this.#read(family, name);
        return value === undefined || value === '1' ? [] : [[family, value]];
      }),
    );
    if (Object.keys(before).length === 0) return;
    this.#memory.keep(name, { ...this.#memory.settingsOf(name), ...before });
    for (const family of Object.keys(before)) this.#write(family, name, '1');
  }

  /** All as it was before, also what an earlier life did. */
  uncover(): void {
    for (const name of this.#memory.ports) {
      for (const [family, value] of Object.entries(this.#memory.settingsOf(name) ?? {})) {
        // What is not ours any more somebody has set since.
        if (this.#read(family, name) === '1') this.#write(family, name, value);
      }
      this.#memory.forget(name);
    }
    this.#covered.clear();
  }

  get covered(): number {
    return this.#covered.size;
  }

  #read(family: string, name: string): string | undefined {
    return readSetting(path(family, name), this.#netns);
  }

  #write(family: string, name: string, value: string): void {
    writeSetting(path(family, name), value, this.#netns);
  }
}

const path = (family: string, name: string): string => `/proc/sys/net/${family}/conf/${name}/${SETTING}`;
