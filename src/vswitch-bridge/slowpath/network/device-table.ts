/** The devices of the namespace by name and by number. */
import type { Link } from 'rtnetlink-ts';
import type { Devices } from './writer.ts';

export class DeviceTable implements Devices {
  readonly #byName = new Map<string, Link>();
  readonly #byIndex = new Map<number, Link>();

  byName(name: string): Link | undefined {
    return this.#byName.get(name);
  }

  byIndex(ifindex: number): Link | undefined {
    return this.#byIndex.get(ifindex);
  }

  store(link: Link): void {
    const before = this.#byIndex.get(link.ifindex);
    if (before && before.name !== link.name) this.#byName.delete(before.name);
    this.#byIndex.set(link.ifindex, link);
    this.#byName.set(link.name, link);
  }

  forget(name: string): void {
    const link = this.#byName.get(name);
    if (link) this.forgetIndex(link.ifindex);
  }

  forgetIndex(ifindex: number): void {
    const link = this.#byIndex.get(ifindex);
    this.#byIndex.delete(ifindex);
    // The name may be another device's by now.
    if (link && this.#byName.get(link.name)?.ifindex === ifindex) this.#byName.delete(link.name);
  }
}
