/** The table of shadows in a box's kernel, which outlives the agent: for whom packets from G wait, and who comes with whom. */
import type { ShadowKernel } from '../../src/agent/tor/standing-by.ts';
import type { LifeClock } from './clock.ts';

/** The kernel serves sixteen together and no fewer; there are not so many here. */
const LEAST = 2;

export class ShadowSlots {
  /** Groups by address. */
  readonly #hosts = new Map<string, string | undefined>();
  /** ifindex of the port to which the hosts' packets go, by group. */
  readonly #turned = new Map<string, number>();
  /** How often a group was turned to a port. */
  turns = 0;

  has(address: string): boolean {
    return this.#hosts.has(address);
  }

  addresses(): Iterable<string> {
    return this.#hosts.keys();
  }

  /** Groups whose packets don't wait. */
  turned(): Iterable<string> {
    return this.#turned.keys();
  }

  clear(): void {
    this.#hosts.clear();
    this.#turned.clear();
  }

  /** What one life of the agent has of it; a dead one changes nothing. */
  face(clock: Pick<LifeClock, 'dead'>): ShadowKernel {
    const act = (work: () => void): void => {
      if (!clock.dead) work();
    };
    return {
      start: async () => act(() => this.clear()),
      configure: () => {},
      apply: (gone, come) =>
        act(() => {
          for (const address of gone) this.#hosts.delete(address);
          for (const { address, group } of come) this.#hosts.set(address, group);
          for (const group of [...this.#turned.keys()]) if (this.#size(group) === 0) this.#turned.delete(group);
        }),
      shed: () => {},
      has: (address) => this.#hosts.has(address),
      groupOf: (address) => {
        const group = this.#hosts.get(address);
        return group !== undefined && this.#size(group) >= LEAST ? group : undefined;
      },
      isIn: (group, address) => this.#hosts.get(address) === group,
      turn: (group, towards) => act(() => this.#turn(group, towards)),
      portDown: (ifindex) => {
        const groups = [...this.#turned].filter(([, towards]) => towards === ifindex).map(([group]) => group);
        act(() => {
          for (const group of groups) this.#turned.delete(group);
        });
        return groups;
      },
      counters: () => ({}),
      leave: async () => act(() => this.clear()),
      close: () => {},
    };
  }

  #size(group: string): number {
    let size = 0;
    for (const each of this.#hosts.values()) if (each === group) size++;
    return size;
  }

  #turn(group: string, towards: number | undefined): void {
    if (towards === undefined) this.#turned.delete(group);
    else if (this.#size(group) > 0) {
      this.#turned.set(group, towards);
      this.turns++;
    }
  }
}
