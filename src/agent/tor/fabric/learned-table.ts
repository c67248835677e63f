import type { Prefix } from '../../../model/address.ts';
import type { LearnedRoute } from '../../../model/hosts.ts';
import type { LearnedRouteInstaller } from '../../../netlink/index.ts';

/** Routes of one protocol on their way into the kernel, and which of them have arrived. */
export class LearnedTable {
  readonly #installer: LearnedRouteInstaller;
  readonly #wanted = new Map<Prefix, LearnedRoute>();
  readonly #onChange: () => void;

  /** `onChange`: routes have arrived in the kernel, or are not wanted any more. */
  constructor(installer: LearnedRouteInstaller, onChange: () => void) {
    this.#installer = installer;
    this.#onChange = onChange;
    installer.onAnswer(onChange);
  }

  update(changes: readonly LearnedRoute[]): void {
    this.#installer.update(changes);
    let removed = false;
    for (const route of changes) {
      if (route.nextHops.length > 0) this.#wanted.set(route.prefix, route);
      else removed = this.#wanted.delete(route.prefix) || removed;
    }
    if (removed) queueMicrotask(this.#onChange);
  }

  get size(): number {
    return this.#wanted.size;
  }

  /** All of them have arrived. Asked with each change of the fabric, of which ten thousand routes bring many. */
  get complete(): boolean {
    return this.#installer.complete;
  }

  of(prefix: Prefix): LearnedRoute | undefined {
    return this.#wanted.get(prefix);
  }

  routes(): Iterable<LearnedRoute> {
    return this.#wanted.values();
  }

  get installer(): LearnedRouteInstaller {
    return this.#installer;
  }
}
