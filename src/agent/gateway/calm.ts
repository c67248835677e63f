/**
 * What a switch said before it died is still in OSPF's database when it is back, and looks alive from the moment of the
 * adjacency until the switch takes it back, some milliseconds later (RFC 2328 §13.4). A gateway that computes at once
 * would turn to it in between. So traffic that has a way stays on it for a moment where the new way leads to a neighbour
 * who has only just come.
 */
import type { Address, Prefix } from '../../model/address.ts';
import type { Clock, Timer } from '../../model/clock.ts';
import type { LearnedRoute, NextHop } from '../../model/hosts.ts';

/** ms */
const MOMENT = 200;

export class Calm {
  readonly #clock: Clock;
  readonly #give: (routes: readonly LearnedRoute[]) => void;
  /** As the kernel was given them. */
  readonly #given = new Map<Prefix, LearnedRoute>();
  /** As they are wanted, where that is something else. */
  readonly #held = new Map<Prefix, LearnedRoute>();
  readonly #young = new Map<Address, Timer>();

  constructor(clock: Clock, give: (routes: readonly LearnedRoute[]) => void) {
    this.#clock = clock;
    this.#give = give;
  }

  /** The neighbour has just come. */
  came(neighbor: Address): void {
    this.#young.get(neighbor)?.cancel();
    this.#young.set(
      neighbor,
      this.#clock.schedule(this.#clock.now() + MOMENT, () => this.#grown(neighbor)),
    );
  }

  update(routes: readonly LearnedRoute[]): void {
    this.#give(
      this.#young.size === 0 && this.#held.size === 0
        ? this.#take(routes)
        : this.#take(routes.map((route) => this.#calm(route))),
    );
  }

  /** What is wanted in the end. */
  *wanted(): Generator<LearnedRoute> {
    for (const [prefix, route] of this.#given) yield this.#held.get(prefix) ?? route;
  }

  close(): void {
    for (const timer of this.#young.values()) timer.cancel();
  }

  #take(routes: readonly LearnedRoute[]): readonly LearnedRoute[] {
    for (const route of routes) {
      if (route.nextHops.length === 0) this.#given.delete(route.prefix);
      else this.#given.set(route.prefix, route);
    }
    return routes;
  }

  #calm(route: LearnedRoute): LearnedRoute {
    this.#held.delete(route.prefix);
    const now = this.#given.get(route.prefix)?.nextHops ?? [];
    const isNew = ({ via }: NextHop) => this.#young.has(via) && !now.some((hop) => hop.via === via);
    if (!route.nextHops.some(isNew)) return route;
    const others = [...route.nextHops, ...(route.backup ?? [])];
    const nextHops = now.filter(({ via }) => others.some((hop) => hop.via === via));
    if (nextHops.length === 0) return route;
    this.#held.set(route.prefix, route);
    return { ...route, nextHops, backup: others.filter(({ via }) => !nextHops.some((hop) => hop.via === via)) };
  }

  #grown(neighbor: Address): void {
    this.#young.delete(neighbor);
    const held = [...this.#held.values()];
    this.#held.clear();
    this.#give(this.#take(held.map((route) => this.#calm(route))));
  }
}
