import type { Address, Family, Prefix } from '../model/address.ts';
import { addressBytes, familyOf, prefixAddress, prefixLength } from '../model/address.ts';
import type { ClaimLevel, HostDelta, HostRoute } from '../model/hosts.ts';
import { hostNlri } from './codec/nlri.ts';

/**
 * Our own host routes, ready for the wire. The NLRI of a host is encoded when the host is first announced and kept, so
 * that a withdrawal only copies octets.
 *
 * Invariant (R4.2): what is in here is a single host, /32 or /128, inside one of the configured prefixes; a covering
 * prefix can't be expressed. A host outside is refused and counted, the rest of its delta goes out.
 */
export interface OwnRoute {
  readonly address: Address;
  readonly family: Family;
  readonly nlri: Uint8Array;
  readonly level: ClaimLevel;
  /** ifindex of the port behind which the host is; 0: it is a shadow, and behind none. */
  readonly port: number;
  readonly shadow: boolean;
  /** Nothing to a neighbour: what others say of the host is used. */
  readonly yields: boolean;
}

/** Routes with the same attributes: those of one port, at one level or as shadows. */
export interface RouteGroup {
  readonly level: ClaimLevel;
  readonly port: number;
  readonly shadow: boolean;
  readonly routes: OwnRoute[];
}

/** As a number, by which groups are found. */
export const groupKey = ({ level, port, shadow }: Omit<RouteGroup, 'routes'>): number =>
  port * 4 + (shadow ? 3 : level);

/** One change, sorted into the UPDATEs it will be in. */
export class RouteBatch {
  readonly withdrawn: Record<Family, OwnRoute[]> = { 4: [], 6: [] };
  readonly announced: Record<Family, Map<number, RouteGroup>> = { 4: new Map(), 6: new Map() };
  size = 0;

  withdraw(route: OwnRoute): void {
    this.withdrawn[route.family].push(route);
    this.size++;
  }

  announce(route: OwnRoute): void {
    const groups = this.announced[route.family];
    const key = groupKey(route);
    const group = groups.get(key);
    if (group) group.routes.push(route);
    else groups.set(key, { level: route.level, port: route.port, shadow: route.shadow, routes: [route] });
    this.size++;
  }

  *gone(): Generator<OwnRoute> {
    yield* this.withdrawn[4];
    yield* this.withdrawn[6];
  }

  *come(): Generator<OwnRoute> {
    for (const family of [4, 6] as const) for (const { routes } of this.announced[family].values()) yield* routes;
  }
}

interface Inside {
  readonly bytes: Uint8Array;
  readonly length: number;
}

export class Origination {
  readonly #routes = new Map<Address, OwnRoute>();
  readonly #count: Record<Family, number> = { 4: 0, 6: 0 };
  #inside: readonly Inside[];
  readonly #refused: (address: Address) => void;

  constructor(prefixes: readonly Prefix[], refused: (address: Address) => void) {
    this.#inside = prefixes.map(insideOf);
    this.#refused = refused;
  }

  /** Other prefixes: what is in none of them is taken back. */
  configure(prefixes: readonly Prefix[]): RouteBatch {
    this.#inside = prefixes.map(insideOf);
    const batch = new RouteBatch();
    for (const route of this.#routes.values()) {
      if (this.covers(route.nlri.subarray(1))) continue;
      this.#delete(route);
      batch.withdraw(route);
    }
    return batch;
  }

  /** Who yields from now on, or no more, in a delta that `apply` is given next. */
  turning({ announced }: HostDelta): Address[] {
    const turning = (host: HostRoute): boolean =>
      (host.yields ?? false) !== (this.#routes.get(host.address)?.yields ?? false);
    return announced.filter(turning).map(({ address }) => address);
  }

  /** What is withdrawn is still here until `forget`: the bytes come first. */
  apply(delta: HostDelta): RouteBatch {
    const batch = new RouteBatch();
    for (const address of delta.withdrawn) {
      const route = this.#routes.get(address);
      if (route) batch.withdraw(route);
    }
    for (const host of delta.announced) {
      const before = this.#routes.get(host.address);
      // Another MAC is nothing to a BGP neighbour.
      if (before && isSame(before, host)) {
        const { yields = false } = host;
        if (before.yields !== yields) this.#routes.set(host.address, { ...before, yields });
        continue;
      }
      const nlri = before?.nlri ?? hostNlri(host.address);
      if (!before && !this.covers(nlri.subarray(1))) {
        this.#refused(host.address);
        continue;
      }
      const { address, level } = host;
      const route: OwnRoute = { address, family: familyOf(address), nlri, level, ...placeOf(host) };
      this.#routes.set(host.address, route);
      if (!before) this.#count[route.family]++;
      batch.announce(route);
    }
    return batch;
  }

  /** Takes out what a batch of `apply` has withdrawn. */
  forget(batch: RouteBatch): void {
    for (const route of batch.gone()) this.#delete(route);
  }

  /** The whole table, of one family or both. */
  full(family?: Family): RouteBatch {
    const batch = new RouteBatch();
    for (const route of this.#routes.values()) if (!family || route.family === family) batch.announce(route);
    return batch;
  }

  /** Takes everything back. */
  clear(): RouteBatch {
    const batch = new RouteBatch();
    for (const route of this.#routes.values()) batch.withdraw(route);
    this.#routes.clear();
    this.#count[4] = 0;
    this.#count[6] = 0;
    return batch;
  }

  /** What others say of it is not used. What we only stand by for is reached through the fabric, as everybody reaches it. */
  keeps(address: Address): boolean {
    const route = this.#routes.get(address);
    return route !== undefined && !route.shadow && !route.yields;
  }

  get(address: Address): OwnRoute | undefined {
    return this.#routes.get(address);
  }

  announcedAs(address: Address): ClaimLevel | 'shadow' | undefined {
    const route = this.#routes.get(address);
    return route?.shadow ? 'shadow' : route?.level;
  }

  routes(): Iterable<OwnRoute> {
    return this.#routes.values();
  }

  /** How many there are of a family: asked wherever a session is looked at, and that is with each change of the fabric. */
  countOf(family: Family): number {
    return this.#count[family];
  }

  /** Whether an address (4 or 16 octets) is inside one of the configured prefixes. */
  covers(bytes: Uint8Array): boolean {
    return this.#inside.some((prefix) => prefix.bytes.length === bytes.length && matches(prefix, bytes));
  }

  #delete({ address, family }: OwnRoute): void {
    if (this.#routes.delete(address)) this.#count[family]--;
  }
}

const placeOf = ({ portIndex, ifindex, shadow, yields }: HostRoute) => ({
  port: shadow ? 0 : (portIndex ?? ifindex),
  shadow: shadow ?? false,
  yields: yields ?? false,
});

function isSame(route: OwnRoute, host: HostRoute): boolean {
  const { port, shadow } = placeOf(host);
  return route.level === host.level && route.port === port && route.shadow === shadow;
}

const insideOf = (prefix: Prefix): Inside => ({
  bytes: addressBytes(prefixAddress(prefix)),
  length: prefixLength(prefix),
});

function matches(prefix: Inside, bytes: Uint8Array): boolean {
  const whole = prefix.length >> 3;
  for (let index = 0; index < whole; index++) if (prefix.bytes[index] !== bytes[index]) return false;
  const rest = prefix.length & 7;
  return rest === 0 || (prefix.bytes[whole]! ^ bytes[whole]!) >> (8 - rest) === 0;
}
