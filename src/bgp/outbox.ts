import type { Address, Family } from '../model/address.ts';
import { addressBytes } from '../model/address.ts';
import type { CommunitySet } from './codec/communities.ts';
import { packAnnouncements, packWithdrawals } from './codec/packer.ts';
import { endOfRib } from './codec/serializer.ts';
import { HostAttributes } from './host-attributes.ts';
import type { OwnRoute, RouteGroup } from './origination.ts';
import { groupKey, RouteBatch } from './origination.ts';
import type { Connection } from './transport.ts';

/**
 * Adj-RIB-Out of one Established session. A change is packed and written in the turn it comes, with one write, as long
 * as the kernel takes all we give it. While it doesn't, the newest word on each host waits here: a host that went and
 * came back costs one announcement, and what waits can't outgrow the host table by more than the hosts withdrawn
 * meanwhile (`LIMIT`; beyond it the session is given up, as a new one starts from a clean table).
 */
export interface OutboxOptions {
  readonly localAs: number;
  readonly external: boolean;
  readonly fourOctetAs: boolean;
  readonly families: ReadonlySet<Family>;
  /** Ours, by family; a family without one is not announced. */
  readonly nextHops: Partial<Record<Family, Address>>;
  readonly communities: CommunitySet;
  /** Whether the neighbour is told the port of each host. */
  readonly portFacts: boolean;
}

const LIMIT = 65_536;
const FAMILIES: readonly Family[] = [4, 6];
const NO_NEXT_HOP = new Uint8Array(0);

export class Outbox {
  readonly #connection: Connection;
  #options: OutboxOptions;
  #families: readonly Family[];
  #attributes: HostAttributes;
  readonly #waiting = new Map<Address, { readonly route: OwnRoute; readonly announced: boolean }>();
  #endOfRibWaits = false;
  updatesSent = 0;

  constructor(connection: Connection, options: OutboxOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#families = told(options);
    this.#attributes = new HostAttributes(options);
  }

  /** Other attributes from now on; what waits stays, and the caller announces the table again. */
  renew(options: OutboxOptions): void {
    this.#options = options;
    this.#families = told(options);
    this.#attributes = new HostAttributes(options);
  }

  get attributes(): HostAttributes {
    return this.#attributes;
  }

  get nextHops(): Partial<Record<Family, Address>> {
    return this.#options.nextHops;
  }

  get families(): readonly Family[] {
    return this.#families;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** How many UPDATEs went out; 0 when they wait; undefined when too much waits. */
  send(batch: RouteBatch): number | undefined {
    // Nothing overtakes an older word that still waits for its turn.
    if (this.#connection.backlog() > 0 || this.#waiting.size > 0) return this.#hold(batch);
    return this.#write(batch, false);
  }

  /** RFC 4724 §2: what comes before was the table. */
  sendEndOfRib(): void {
    if (this.#connection.backlog() > 0) this.#endOfRibWaits = true;
    else this.#write(new RouteBatch(), true);
  }

  /** The connection takes data again. */
  drained(): number {
    if (this.#waiting.size === 0 && !this.#endOfRibWaits) return 0;
    const batch = new RouteBatch();
    for (const { route, announced } of this.#waiting.values()) {
      if (announced) batch.announce(route);
      else batch.withdraw(route);
    }
    this.#waiting.clear();
    const marker = this.#endOfRibWaits;
    this.#endOfRibWaits = false;
    return this.#write(batch, marker);
  }

  #hold(batch: RouteBatch): number | undefined {
    for (const route of batch.gone()) this.#waiting.set(route.address, { route, announced: false });
    for (const route of batch.come()) this.#waiting.set(route.address, { route, announced: true });
    return this.#waiting.size > LIMIT ? undefined : 0;
  }

  #write(batch: RouteBatch, marker: boolean): number {
    const parts: Buffer[] = [];
    let updates = 0;
    // All withdrawals first: they are what traffic is lost by.
    for (const family of this.#families) {
      const packed = packWithdrawals(family, batch.withdrawn[family]);
      if (packed.updates > 0) parts.push(packed.bytes);
      updates += packed.updates;
    }
    for (const family of this.#families) {
      const nextHop = family === 6 ? addressBytes(this.#options.nextHops[6]!) : NO_NEXT_HOP;
      for (const group of this.#groups(batch.announced[family])) {
        const packed = packAnnouncements(family, this.#attributes.encoded(family, group), nextHop, group.routes);
        parts.push(packed.bytes);
        updates += packed.updates;
      }
    }
    if (marker) for (const family of this.#options.families) parts.push(endOfRib(family));
    if (parts.length > 0) this.#connection.write(parts.length === 1 ? parts[0]! : Buffer.concat(parts));
    this.updatesSent += updates;
    return updates;
  }

  /** What is real comes before what is not. A neighbour that is told no ports gets those of one level together. */
  #groups(groups: ReadonlyMap<number, RouteGroup>): RouteGroup[] {
    const all = this.#options.portFacts ? [...groups.values()] : portless(groups.values());
    if (all.length <= 1) return all;
    return [...all.filter(({ shadow }) => !shadow), ...all.filter(({ shadow }) => shadow)];
  }
}

function portless(groups: Iterable<RouteGroup>): RouteGroup[] {
  const merged = new Map<number, RouteGroup>();
  for (const { level, shadow, routes } of groups) {
    const kind = { level, port: 0, shadow };
    const group = merged.get(groupKey(kind)) ?? { ...kind, routes: [] };
    merged.set(groupKey(kind), group);
    for (const route of routes) group.routes.push(route);
  }
  return [...merged.values()];
}

/** Families that are announced. */
const told = ({ families, nextHops }: OutboxOptions): Family[] =>
  FAMILIES.filter((family) => families.has(family) && nextHops[family]);
