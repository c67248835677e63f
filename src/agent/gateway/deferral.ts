/**
 * A gateway that comes back finds its routes in the kernel and hears its neighbours one after the other. Who comes first is
 * not who is best: a switch that only stands by for a host may be back before the one that has it. So the selection is
 * deferred (RFC 4724 §4.1): what an earlier life left leads where it did, with what is selected meanwhile as its backup,
 * until the neighbours to which it leads have said all they have to say.
 */
import type { Address, Prefix } from '../../model/address.ts';
import type { Clock, Instant, Timer } from '../../model/clock.ts';
import type { LearnedRoute, NextHop } from '../../model/hosts.ts';

/** Selection_Deferral_Timer (ms): a neighbour that is not back by then may be gone, and others have the host. */
const LONGEST = 5_000;
/** Whether they have said all is looked at this often (ms). */
const LOOK = 50;

export interface DeferralOptions {
  readonly clock: Clock;
  /** The neighbour with this next hop has said all it has to say. */
  heard(via: Address): boolean;
  give(routes: readonly LearnedRoute[]): void;
}

export class Deferral {
  readonly #options: DeferralOptions;
  /** Where routes of the earlier life lead that nobody has said again. */
  readonly #inherited = new Map<Prefix, readonly NextHop[]>();
  /** As they are selected, where that is something else. */
  readonly #held = new Map<Prefix, LearnedRoute>();
  #until: Instant = 0;
  #timer: Timer | undefined;

  constructor(options: DeferralOptions) {
    this.#options = options;
  }

  /** `routes`: what the earlier life left. */
  begin(routes: readonly LearnedRoute[]): void {
    for (const { prefix, nextHops } of routes) this.#inherited.set(prefix, nextHops);
    this.#until = this.#options.clock.now() + LONGEST;
    this.#lookLater();
  }

  update(routes: readonly LearnedRoute[]): void {
    this.#options.give(this.#inherited.size === 0 ? routes : routes.map((route) => this.#deferred(route)));
  }

  /** These next hops are lost: for what they would say nobody waits any more. */
  lost(vias: readonly Address[]): void {
    this.#release((nextHops) => nextHops.some(({ via }) => vias.includes(via)));
  }

  /** What is wanted in the end; `given`: as if all that was given were. */
  *wanted(given: Iterable<LearnedRoute>): Generator<LearnedRoute> {
    for (const route of given) {
      const selected = this.#held.get(route.prefix) ?? route;
      if (selected.nextHops.length > 0) yield selected;
    }
  }

  /** Nothing of the earlier life is left that nobody has said: what was held until now is given. */
  end(): void {
    this.#release(() => true);
    this.close();
  }

  /** What is held is forgotten. */
  close(): void {
    this.#timer?.cancel();
    this.#inherited.clear();
    this.#held.clear();
  }

  #deferred(route: LearnedRoute): LearnedRoute {
    const { prefix, nextHops, backup = [] } = route;
    this.#held.delete(prefix);
    const inherited = this.#inherited.get(prefix);
    if (!inherited) return route;
    const said = [...nextHops, ...backup];
    if (inherited.some(({ via }) => said.some((hop) => hop.via === via))) {
      this.#inherited.delete(prefix);
      return route;
    }
    this.#held.set(prefix, route);
    return { ...route, nextHops: inherited, backup: said };
  }

  #lookLater(): void {
    const { clock } = this.#options;
    this.#timer?.cancel();
    this.#timer = this.#inherited.size === 0 ? undefined : clock.schedule(clock.now() + LOOK, () => this.#look());
  }

  #look(): void {
    const { clock, heard } = this.#options;
    const late = clock.now() >= this.#until;
    const known = new Map<Address, boolean>();
    const isHeard = ({ via }: NextHop): boolean => {
      const answer = known.get(via) ?? heard(via);
      known.set(via, answer);
      return answer;
    };
    this.#release((nextHops, selected) => {
      if (nextHops.every(isHeard)) return true;
      // Nobody else has the host: as long as its neighbour is not heard it may be where it was.
      return late && selected?.nextHops.length !== 0;
    });
    this.#lookLater();
  }

  #release(isOver: (nextHops: readonly NextHop[], selected: LearnedRoute | undefined) => boolean): void {
    const released: LearnedRoute[] = [];
    for (const [prefix, nextHops] of this.#inherited) {
      const selected = this.#held.get(prefix);
      if (!isOver(nextHops, selected)) continue;
      this.#inherited.delete(prefix);
      if (selected && this.#held.delete(prefix)) released.push(selected);
    }
    if (released.length > 0) this.#options.give(released);
  }
}
