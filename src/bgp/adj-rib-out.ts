import type { Address, Family, Prefix } from '../model/address.ts';
import { addressBytes, familyOf } from '../model/address.ts';
import { FLAG, writeAttributes } from './codec/attributes.ts';
import type { AsSegment, PathAttributes } from './codec/messages.ts';
import { MAXIMUM_LENGTH } from './codec/messages.ts';
import { prefixNlri } from './codec/nlri.ts';
import type { Routed } from './codec/packer.ts';
import { packMixedAnnouncements, packMixedWithdrawals } from './codec/packer-mixed.ts';
import { Writer } from './codec/writer.ts';
import type { InRoute, Selected } from './rib.ts';
import { isFrom } from './rib.ts';
import type { Connection } from './transport.ts';

/**
 * What a gateway passes on to one external neighbour (RFC 4271 §9.1.3, §9.2): the best of what the other external
 * neighbours say, our AS in front, ourselves as next hop, communities as they came. A neighbour whose own route is the
 * best one, by whichever session, is told the best of the others instead of nothing, as some routers do by "advertise best external": so a
 * switch hears its twin's claim or shadow while G uses its own.
 *
 * Only what differs from what the neighbour was told last is written. While the connection takes nothing, it is only
 * noted which prefixes have changed: what waits can't be more than all prefixes there are.
 */
export interface AdjRibOutOptions {
  readonly remoteId: number;
  readonly remoteAs: number;
  readonly localAs: number;
  readonly fourOctetAs: boolean;
  /** Ours, by family; a family without one, or not agreed on, is not passed on. */
  readonly nextHops: Partial<Record<Family, Address>>;
}

export interface Passing {
  selected(): ReadonlyMap<Prefix, Selected>;
  defaultOriginate(): boolean;
}

interface Encoded {
  readonly bytes: Uint8Array;
  readonly attributes: PathAttributes;
}

interface Told extends Routed {
  readonly encoded: Encoded;
}

export const DEFAULT_ROUTES: Readonly<Record<Family, Prefix>> = { 4: '0.0.0.0/0' as Prefix, 6: '::/0' as Prefix };
const FAMILIES: readonly Family[] = [4, 6];
/** RFC 1997: not for another AS, or for nobody. */
const KEPT_INSIDE = [0xffffff01, 0xffffff02, 0xffffff03];
/** Prefixes that wait beyond this end the session. */
const LIMIT = 262_144;
const REMEMBERED = 4_096;
const ORIGINATED: PathAttributes = { origin: 0, asPath: [] };
const NO_NEXT_HOP = new Uint8Array(0);
/** RFC 4271 §9.2: attributes that leave no room for a route can't be passed on. */
const LONGEST = MAXIMUM_LENGTH - 128;

export class AdjRibOut {
  readonly #connection: Connection;
  readonly #passing: Passing;
  #options: AdjRibOutOptions;
  readonly #told = new Map<Prefix, Told>();
  readonly #changed = new Set<Prefix>();
  /** What the neighbour was told of these is told again, although nothing differs. */
  readonly #again = new Set<Family>();
  /** By the received attributes, and by the octets: the same is known for the same, however often it was said. */
  #encoded = new WeakMap<PathAttributes, Record<Family, Encoded | undefined>>();
  readonly #interned = new Map<string, Encoded>();

  constructor(connection: Connection, passing: Passing, options: AdjRibOutOptions) {
    this.#connection = connection;
    this.#passing = passing;
    this.#options = options;
  }

  get size(): number {
    return this.#told.size;
  }

  get waiting(): number {
    return this.#changed.size;
  }

  *routes(): Generator<{ readonly prefix: Prefix; readonly attributes: PathAttributes }> {
    for (const [prefix, { encoded }] of this.#told) yield { prefix, attributes: encoded.attributes };
  }

  /** Another route is selected for these, or none. How many UPDATEs went out; undefined when too much waits. */
  changed(prefixes: Iterable<Prefix>): number | undefined {
    for (const prefix of prefixes) this.#changed.add(prefix);
    const updates = this.drained();
    return this.#changed.size > LIMIT ? undefined : updates;
  }

  /** The whole table; what was told before is told again. Known to have been told it stays: a withdrawal may be waiting. */
  dump(family?: Family): number | undefined {
    for (const each of family ? [family] : FAMILIES) this.#again.add(each);
    return this.changed([...this.#passing.selected().keys(), ...Object.values(DEFAULT_ROUTES)]);
  }

  /** Other next hops: what we can't be the next hop for any more is withdrawn, the rest told again. */
  renew(options: AdjRibOutOptions): number | undefined {
    this.#options = options;
    this.#encoded = new WeakMap();
    this.#interned.clear();
    return this.changed([...this.#told.keys(), ...this.#passing.selected().keys(), ...Object.values(DEFAULT_ROUTES)]);
  }

  /** The connection takes data again. */
  drained(): number {
    if (this.#changed.size === 0 || this.#connection.backlog() > 0) return 0;
    const withdrawn: Record<Family, Told[]> = { 4: [], 6: [] };
    const announced = new Map<Encoded, { family: Family; routes: Told[] }>();
    for (const prefix of this.#changed) this.#decide(prefix, withdrawn, announced);
    this.#changed.clear();
    this.#again.clear();
    return this.#write(withdrawn, announced);
  }

  #decide(
    prefix: Prefix,
    withdrawn: Record<Family, Told[]>,
    announced: Map<Encoded, { family: Family; routes: Told[] }>,
  ): void {
    const family = familyOf(prefix);
    const before = this.#told.get(prefix);
    const attributes = this.#options.nextHops[family] && this.#attributesFor(prefix);
    const encoded = attributes && this.#encode(attributes, family);
    if (!encoded || encoded.bytes.length > LONGEST) {
      if (!before) return;
      this.#told.delete(prefix);
      withdrawn[family].push(before);
      return;
    }
    if (before?.encoded === encoded && !this.#again.has(family)) return;
    const told = { nlri: before?.nlri ?? prefixNlri(prefix), encoded };
    this.#told.set(prefix, told);
    const group = announced.get(encoded);
    if (group) group.routes.push(told);
    else announced.set(encoded, { family, routes: [told] });
  }

  /** As received; undefined when the neighbour is to have no route. */
  #attributesFor(prefix: Prefix): PathAttributes | undefined {
    if (prefix === DEFAULT_ROUTES[familyOf(prefix)] && this.#passing.defaultOriginate()) return ORIGINATED;
    const selected = this.#passing.selected().get(prefix);
    if (!selected) return undefined;
    const best = selected.paths[0]!;
    const { remoteId, remoteAs } = this.#options;
    const route: InRoute | undefined = isFrom(best, remoteId, remoteAs) ? selected.runnerUp : best;
    if (!route?.peer.external) return undefined;
    if (route.attributes.communities?.some((community) => KEPT_INSIDE.includes(community))) return undefined;
    return route.attributes;
  }

  #write(
    withdrawn: Record<Family, Told[]>,
    announced: ReadonlyMap<Encoded, { readonly family: Family; readonly routes: readonly Told[] }>,
  ): number {
    const parts: Buffer[] = [];
    let updates = 0;
    // All withdrawals first: they are what traffic is lost by.
    for (const family of FAMILIES) {
      const packed = packMixedWithdrawals(family, withdrawn[family]);
      if (packed.updates > 0) parts.push(packed.bytes);
      updates += packed.updates;
    }
    for (const [{ bytes }, { family, routes }] of announced) {
      const nextHop = family === 6 ? addressBytes(this.#options.nextHops[6]!) : NO_NEXT_HOP;
      const packed = packMixedAnnouncements(family, bytes, nextHop, routes);
      parts.push(packed.bytes);
      updates += packed.updates;
    }
    if (parts.length > 0) this.#connection.write(parts.length === 1 ? parts[0]! : Buffer.concat(parts));
    return updates;
  }

  #encode(received: PathAttributes, family: Family): Encoded {
    const known = this.#encoded.get(received);
    if (known?.[family]) return known[family];
    const { localAs, fourOctetAs, nextHops } = this.#options;
    const attributes = passedOn(received, localAs);
    if (family === 4) attributes.nextHop = nextHops[4]!;
    const writer = new Writer();
    writeAttributes(writer, attributes, { fourOctetAs });
    const bytes = Uint8Array.from(writer.done());
    const text = `${family}${Buffer.from(bytes).toString('latin1')}`;
    const encoded = this.#interned.get(text) ?? { bytes, attributes };
    if (this.#interned.size >= REMEMBERED) this.#interned.clear();
    this.#interned.set(text, encoded);
    this.#encoded.set(received, { 4: known?.[4], 6: known?.[6], [family]: encoded });
    return encoded;
  }
}

/** RFC 4271 §5.1: what stays of a route's attributes on its way into another AS. */
function passedOn(received: PathAttributes, localAs: number): PathAttributes {
  const { origin = 2, asPath = [], communities, extendedCommunities, largeCommunities } = received;
  const attributes: PathAttributes = { origin, asPath: prepended(asPath, localAs) };
  if (received.atomicAggregate) attributes.atomicAggregate = true;
  if (received.aggregator) attributes.aggregator = received.aggregator;
  if (communities) attributes.communities = communities;
  if (largeCommunities) attributes.largeCommunities = largeCommunities;
  const extended = extendedCommunities && transitive(extendedCommunities);
  if (extended?.length) attributes.extendedCommunities = extended;
  // RFC 4271 §5: unrecognized ones go on, with the Partial bit, when they are transitive.
  const unknown = received.unknown?.filter(({ flags }) => flags & FLAG.transitive);
  if (unknown?.length) attributes.unknown = unknown.map((raw) => ({ ...raw, flags: raw.flags | FLAG.partial }));
  return attributes;
}

/** RFC 4271 §5.1.2 (b). */
function prepended(path: readonly AsSegment[], localAs: number): AsSegment[] {
  const [first, ...rest] = path;
  if (first?.type === 'AS_SEQUENCE' && first.asns.length < 255) {
    return [{ type: 'AS_SEQUENCE', asns: [localAs, ...first.asns] }, ...rest];
  }
  return [{ type: 'AS_SEQUENCE', asns: [localAs] }, ...path];
}

/** RFC 4360 §6: the others stay inside the AS. */
function transitive(communities: Uint8Array): Uint8Array {
  const kept: number[] = [];
  for (let at = 0; at < communities.length; at += 8) {
    if (!(communities[at]! & 0x40)) kept.push(...communities.subarray(at, at + 8));
  }
  return Uint8Array.from(kept);
}
