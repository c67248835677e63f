import type { Family } from '../model/address.ts';
import type { ClaimLevel } from '../model/hosts.ts';
import { writeAttributes } from './codec/attributes.ts';
import { GRACEFUL_SHUTDOWN } from './codec/communities.ts';
import type { LargeCommunity, Origin, PathAttributes } from './codec/messages.ts';
import { nlriLength } from './codec/packer.ts';
import { Writer } from './codec/writer.ts';
import { pathTimes, portMark, shadowMark } from './marks.ts';
import type { RouteGroup } from './origination.ts';
import { groupKey } from './origination.ts';
import type { OutboxOptions } from './outbox.ts';

/** Encoded attributes that are kept: a switch has fewer ports, times four. */
const REMEMBERED = 16_384;

/** An unmodified gateway prefers IGP to EGP to INCOMPLETE (RFC 4271 §9.1.2.2 b): the stronger claim gets the better. */
export const originOf = (level: ClaimLevel): Origin => (2 - level) as Origin;

type Kind = Omit<RouteGroup, 'routes'>;

/** With what attributes a host is announced to one neighbour, by level, port, and whether it is a shadow. */
export class HostAttributes {
  readonly #options: OutboxOptions;
  readonly #encoded: Record<Family, Map<number, Uint8Array>> = { 4: new Map(), 6: new Map() };

  /** @throws RangeError when they leave no room for a route */
  constructor(options: OutboxOptions) {
    this.#options = options;
    // The longest there can be; what is wrong with the communities is found before a host is announced.
    for (const family of [4, 6] as const) this.encoded(family, { level: 0, port: 0xffffffff, shadow: true });
  }

  encoded(family: Family, kind: Kind): Uint8Array {
    const encoded = this.#encoded[family];
    const key = groupKey(kind);
    const known = encoded.get(key);
    if (known) return known;
    if (encoded.size >= REMEMBERED) encoded.clear();
    const fresh = this.#encode(family, kind);
    encoded.set(key, fresh);
    return fresh;
  }

  /** RFC 4271 §5.1, for IPv4 with NEXT_HOP. */
  of(family: Family, { level, port, shadow }: Kind): PathAttributes {
    const { external, localAs, communities, nextHops, portFacts } = this.#options;
    const leaving = communities.standard.includes(GRACEFUL_SHUTDOWN);
    const large: LargeCommunity[] = [...communities.large];
    if (portFacts && !shadow) large.push(portMark(localAs, port));
    if (shadow) large.push(shadowMark(localAs));
    const standard = shadow && !leaving ? [...communities.standard, GRACEFUL_SHUTDOWN] : communities.standard;
    const times = pathTimes(shadow, leaving);
    const attributes: PathAttributes = {
      origin: originOf(shadow ? 0 : level),
      asPath: external ? [{ type: 'AS_SEQUENCE', asns: new Array<number>(times).fill(localAs) }] : [],
      communities: standard,
      largeCommunities: large.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]),
    };
    if (!external) {
      // RFC 8326 §4.2.
      attributes.localPreference = leaving || shadow ? 0 : 100;
      // No longer path inside an AS: this is what a shadow loses by to what is drained (RFC 4271 §9.1.2.2 c).
      if (shadow) attributes.med = 0xffffffff;
    }
    if (family === 4 && nextHops[4]) attributes.nextHop = nextHops[4];
    return attributes;
  }

  #encode(family: Family, kind: Kind): Uint8Array {
    const writer = new Writer();
    writeAttributes(writer, this.of(family, kind), { fourOctetAs: this.#options.fourOctetAs });
    const bytes = Uint8Array.from(writer.done());
    // RFC 4271 §9.2: attributes that leave no room for a single route can't be announced at all.
    if (bytes.length > 4096 - 64 - nlriLength(family)) throw new RangeError('too many communities for one UPDATE');
    return bytes;
  }
}
