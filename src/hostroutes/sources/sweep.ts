import type { Address, Prefix } from '../../model/address.ts';
import { familyOf, ipv4FromNumber, ipv4ToNumber, prefixAddress, prefixLength } from '../../model/address.ts';
import type { Clock, Instant, Timer } from '../../model/clock.ts';
import { LARGEST_SWEEP } from '../../model/hosts.ts';
import type { HostPolicy } from '../machine/types.ts';

/** Questions leave in portions at this spacing, however fast they are: the loop is free between them. */
const SPACING_MS = 20;
/** A port that flaps is not swept at each of its ups. */
const REST_MS = 60_000;
/** An answer to the sweep comes this long after its question at most. */
const ANSWER_MS = 2_000;

/** Where to ask: a routed port, or the interface of a bridge that its ports share. */
export interface SweepPlace {
  readonly interface: string;
  readonly prefix: Prefix;
}

export interface SweepPlan {
  readonly interfaces: number;
  /** In all prefixes together, of IPv4. */
  readonly addresses: number;
  /** At most: who is known by then is not asked. */
  readonly questions: number;
  readonly seconds: number;
}

export interface SweeperOptions {
  readonly clock: Clock;
  /** false: it could not be asked. */
  ask(place: SweepPlace, address: Address): boolean;
  /** All IPv6 nodes at once. */
  call(place: SweepPlace): boolean;
  /** It need not be asked: a host already, or ourselves. */
  known(address: Address): boolean;
  /** Nothing is left to ask. */
  done(): void;
}

/**
 * Servers that never speak by themselves are found by asking for every address of `prefixes`, once, slowly, and beside
 * all else: one timer and a cursor, no memory for each address. What comes back is ARP like any other. An IPv6 subnet is
 * too large for that: its nodes are called all together.
 */
export class Sweeper {
  readonly #options: SweeperOptions;
  readonly count = { 'sweep.asked': 0, 'sweep.failed': 0, 'sweep.done': 0 };
  readonly #places: SweepPlace[] = [];
  readonly #sweptAt = new Map<string, Instant>();
  #rate = 1;
  /** Addresses of the first place that are behind us. */
  #cursor = 0;
  #timer: Timer | undefined;
  #endedAt: Instant = Number.NEGATIVE_INFINITY;

  constructor(options: SweeperOptions) {
    this.#options = options;
  }

  /** `rate`: questions a second. `again`: also where it was swept within the last minute. */
  sweep(places: readonly SweepPlace[], rate: number, again = false): SweepPlan {
    const now = this.#options.clock.now();
    this.#rate = rate;
    for (const place of places) {
      const key = `${place.interface} ${place.prefix}`;
      if (this.#places.some((each) => each.interface === place.interface && each.prefix === place.prefix)) continue;
      if (!again && now - (this.#sweptAt.get(key) ?? Number.NEGATIVE_INFINITY) < REST_MS) continue;
      this.#sweptAt.set(key, now);
      this.#places.push(place);
    }
    if (this.#places.length > 0) this.#timer ??= this.#options.clock.schedule(now, () => this.#turn());
    return planOf(places, rate);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#places.length = 0;
    this.#cursor = 0;
    this.#sweptAt.clear();
  }

  /** A reply that comes now may be one to the sweep. */
  get listening(): boolean {
    return this.#places.length > 0 || this.#options.clock.now() - this.#endedAt < ANSWER_MS;
  }

  #turn(): void {
    const { clock } = this.#options;
    const portion = Math.max(1, Math.round((this.#rate * SPACING_MS) / 1000));
    for (let sent = 0; sent < portion && this.#places.length > 0; ) if (this.#step()) sent++;
    if (this.#places.length === 0) {
      this.#timer = undefined;
      this.#endedAt = clock.now();
      this.count['sweep.done']++;
      this.#options.done();
      return;
    }
    this.#timer = clock.schedule(clock.now() + (portion * 1000) / this.#rate, () => this.#turn());
  }

  /** true: a question was sent. */
  #step(): boolean {
    const place = this.#places[0]!;
    if (familyOf(place.prefix) === 6) {
      this.#places.shift();
      return this.#sent(this.#options.call(place));
    }
    const { first, size } = rangeOf(place.prefix);
    if (this.#cursor >= size) {
      this.#places.shift();
      this.#cursor = 0;
      return false;
    }
    const address = ipv4FromNumber(first + this.#cursor++);
    return !this.#options.known(address) && this.#sent(this.#options.ask(place, address));
  }

  #sent(done: boolean): true {
    this.count[done ? 'sweep.asked' : 'sweep.failed']++;
    return true;
  }
}

/** Why these prefixes can't be swept. */
export function refuseSweep({ prefixes }: Pick<HostPolicy, 'prefixes'>): string | undefined {
  const addresses = addressesOf(prefixes);
  if (addresses <= LARGEST_SWEEP) return undefined;
  return `hostRoutes.prefixes have ${addresses} IPv4 addresses, more than the ${LARGEST_SWEEP} that can be swept`;
}

function planOf(places: readonly SweepPlace[], rate: number): SweepPlan {
  const questions = places.reduce((sum, { prefix }) => sum + (familyOf(prefix) === 6 ? 1 : rangeOf(prefix).size), 0);
  return {
    interfaces: new Set(places.map((place) => place.interface)).size,
    addresses: addressesOf([...new Set(places.map(({ prefix }) => prefix))]),
    questions,
    seconds: Math.ceil(questions / rate),
  };
}

const addressesOf = (prefixes: readonly Prefix[]): number =>
  prefixes.reduce((sum, prefix) => sum + (familyOf(prefix) === 6 ? 0 : rangeOf(prefix).size), 0);

/** Without network and broadcast address, which /31 and /32 don't have (RFC 3021). */
function rangeOf(prefix: Prefix): { first: number; size: number } {
  const first = ipv4ToNumber(prefixAddress(prefix));
  const size = 2 ** (32 - prefixLength(prefix));
  return size <= 2 ? { first, size } : { first: first + 1, size: size - 2 };
}
