import type { Address, Family } from '../model/address.ts';
import { addressBytes } from '../model/address.ts';
import type { ClaimLevel } from '../model/hosts.ts';
import { writeAttributes } from './codec/attributes.ts';
import { type CommunitySet, GRACEFUL_SHUTDOWN } from './codec/communities.ts';
import type { Origin, PathAttributes } from './codec/messages.ts';
import { nlriLength, packAnnouncements, packWithdrawals } from './codec/packer.ts';
import { endOfRib } from './codec/serializer.ts';
import { Writer } from './codec/writer.ts';
import type { OwnRoute } from './origination.ts';
import { RouteBatch } from './origination.ts';
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
}

const LIMIT = 65_536;
const LEVELS: readonly ClaimLevel[] = [0, 1, 2];
const FAMILIES: readonly Family[] = [4, 6];
const NO_NEXT_HOP = new Uint8Array(0);

/** An unmodified gateway prefers IGP to EGP to INCOMPLETE (RFC 4271 §9.1.2.2 b): the stronger claim gets the better. */
export const originOf = (level: ClaimLevel): Origin => (2 - level) as Origin;

/** Not every gateway heeds GRACEFUL_SHUTDOWN (RFC 8326 leaves it to its policy); a longer path every one does. */
export const pathOf = (localAs: number, leaving: boolean): number[] =>
  leaving ? [localAs, localAs, localAs] : [localAs];

export class Outbox {
  readonly #connection: Connection;
  #options: OutboxOptions;
  #families: readonly Family[] = [];
  #attributes: Record<Family, Uint8Array[]> = { 4: [], 6: [] };
  readonly #waiting = new Map<Address, { readonly route: OwnRoute; readonly announced: boolean }>();
  #endOfRibWaits = false;
  updatesSent = 0;

  constructor(connection: Connection, options: OutboxOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#encodeAll();
  }

  /** Other attributes from now on; what waits stays, and the caller announces the table again. */
  renew(options: OutboxOptions): void {
    this.#options = options;
    this.#encodeAll();
  }

  #encodeAll(): void {
    const options = this.#options;
    this.#families = FAMILIES.filter((family) => options.families.has(family) && options.nextHops[family]);
    this.#attributes = { 4: [], 6: [] };
    for (const family of this.#families) {
      this.#attributes[family] = LEVELS.map((level) => this.#encode(family, level));
    }
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
    if (this.#connection.backlog() > 0) return this.#hold(batch);
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
      for (const level of LEVELS) {
        const routes = batch.announced[family][level];
        if (routes.length === 0) continue;
        const packed = packAnnouncements(family, this.#attributes[family][level]!, nextHop, routes);
        parts.push(packed.bytes);
        updates += packed.updates;
      }
    }
    if (marker) for (const family of this.#options.families) parts.push(endOfRib(family));
    if (parts.length > 0) this.#connection.write(parts.length === 1 ? parts[0]! : Buffer.concat(parts));
    this.updatesSent += updates;
    return updates;
  }

  #encode(family: Family, level: ClaimLevel): Uint8Array {
    const { external, localAs, communities, nextHops } = this.#options;
    const leaving = communities.standard.includes(GRACEFUL_SHUTDOWN);
    const attributes: PathAttributes = {
      origin: originOf(level),
      asPath: external ? [{ type: 'AS_SEQUENCE', asns: pathOf(localAs, leaving) }] : [],
      communities: communities.standard,
      largeCommunities: communities.large,
    };
    // RFC 8326 §4.2.
    if (!external) attributes.localPreference = leaving ? 0 : 100;
    if (family === 4) attributes.nextHop = nextHops[4]!;
    const writer = new Writer();
    writeAttributes(writer, attributes, { fourOctetAs: this.#options.fourOctetAs });
    const bytes = Uint8Array.from(writer.done());
    // RFC 4271 §9.2: attributes that leave no room for a single route can't be announced at all.
    if (bytes.length > 4096 - 64 - nlriLength(family)) throw new RangeError('too many communities for one UPDATE');
    return bytes;
  }
}
