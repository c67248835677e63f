import type { Prefix } from '../../../model/address.ts';
import type { LearnedRoute } from '../../../model/hosts.ts';
import type { LearnedRouteInstaller } from '../../../netlink/index.ts';

/** Routes of one protocol on their way into the kernel, and which of them have arrived. */
export class LearnedTable {
  readonly #installer: LearnedRouteInstaller;
  readonly #wanted = new Map<Prefix, LearnedRoute>();
  readonly #onInstalled: () => void;

  constructor(installer: LearnedRouteInstaller, onInstalled: () => void) {
    this.#installer = installer;
    this.#onInstalled = onInstalled;
  }

  update(changes: readonly LearnedRoute[]): void {
    this.#installer.update(changes);
    const added: Prefix[] = [];
    for (const route of changes) {
      if (route.nextHops.length === 0) this.#wanted.delete(route.prefix);
      else {
        this.#wanted.set(route.prefix, route);
        added.push(route.prefix);
      }
    }
    // A prefix that is removed again before the kernel has answered rejects: that is not an error, just not news.
    Promise.allSettled(added.map((prefix) => this.#installer.installed(prefix))).then(this.#onInstalled);
  }

  get size(): number {
    return this.#wanted.size;
  }

  get complete(): boolean {
    for (const prefix of this.#wanted.keys()) if (!this.#installer.isInstalled(prefix)) return false;
    return true;
  }

  routes(): Iterable<LearnedRoute> {
    return this.#wanted.values();
  }

  get installer(): LearnedRouteInstaller {
    return this.#installer;
  }
}
