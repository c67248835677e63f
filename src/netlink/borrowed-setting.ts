import type { GuardMemory } from './frames/index.ts';
import { readSetting, writeSetting } from './port-setting.ts';

export type SettingFamily = 'ipv4' | 'ipv6';

/** A setting of interfaces that is 1 while we are at work; what an interface had before is put back. */
export class BorrowedSetting {
  readonly #setting: string;
  readonly #families: readonly SettingFamily[];
  readonly #netns: string | undefined;
  readonly #memory: GuardMemory;
  /** ifindex by name: one that was unplugged and is back has the kernel's default again. */
  readonly #covered = new Map<string, number>();

  /** `memory`: for the next life of the agent, or `peerless cleanup`. */
  constructor(setting: string, families: readonly SettingFamily[], memory: GuardMemory, netns: string | undefined) {
    this.#setting = setting;
    this.#families = families;
    this.#memory = memory;
    this.#netns = netns;
  }

  cover(name: string, ifindex: number): void {
    if (this.#covered.get(name) === ifindex) return;
    this.#covered.set(name, ifindex);
    const before = Object.fromEntries(
      this.#families.flatMap((family) => {
        const value = this.#read(family, name);
        // Less than 0 is somebody's no.
        return value === '0' ? [[family, value]] : [];
      }),
    );
    if (Object.keys(before).length === 0) return;
    const earlier = this.#memory.settingsOf(name);
    this.#memory.keep(name, { ...earlier, ...before });
    for (const family of Object.keys(before)) this.#write(family, name, '1');
    // Where /proc/sys is read-only, as in many containers, there is nothing to put back.
    const isSet = Object.keys(before).some((family) => this.#read(family, name) === '1');
    if (!isSet && !earlier) this.#memory.forget(name);
  }

  isCovered(name: string, ifindex: number): boolean {
    return this.#covered.get(name) === ifindex;
  }

  /** All as it was before, also what an earlier life did, but for those that `stay`. */
  uncover(stay: ReadonlySet<string> = new Set()): void {
    for (const name of this.#memory.ports) {
      if (stay.has(name)) continue;
      for (const [family, value] of Object.entries(this.#memory.settingsOf(name) ?? {})) {
        // What is not ours any more somebody has set since.
        if (this.#read(family, name) === '1') this.#write(family, name, value);
      }
      this.#memory.forget(name);
    }
    for (const name of [...this.#covered.keys()]) if (!stay.has(name)) this.#covered.delete(name);
  }

  get covered(): number {
    return this.#covered.size;
  }

  #read(family: string, name: string): string | undefined {
    return readSetting(this.#path(family, name), this.#netns);
  }

  #write(family: string, name: string, value: string): void {
    writeSetting(this.#path(family, name), value, this.#netns);
  }

  #path(family: string, name: string): string {
    return `/proc/sys/net/${family}/conf/${name}/${this.#setting}`;
  }
}
