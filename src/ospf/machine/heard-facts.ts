/**
 * Port facts of others. Heard is what a router says that can be reached: the LSAs of a dead switch stay in the database for
 * up to an hour. Whose fact it is, the header of the LSA says, whatever the octets say.
 */
import { type Lsa, LsaType, lsaAge, MaxAge, type U32 } from 'node-ospf-lsa';
import { ipv4FromNumber } from '../../model/address.ts';
import type { HeardFact } from '../../model/port-facts.ts';
import { decodeFactData, type FactDataError, isFactId } from '../codec/facts.ts';

type Report = (fact: HeardFact) => void;

interface Heard {
  readonly key: Uint8Array;
  /** By the LSA that says so, the latest last: a switch may say it in an area and in the AS. */
  readonly values: Map<string, Uint8Array>;
  reported: Uint8Array | undefined;
}

export class HeardFacts {
  /** By router, by the octets of the key. */
  readonly #routers = new Map<U32, Map<string, Heard>>();
  #reachable: ReadonlySet<U32> = new Set();

  /** `place` names the LSA. `unjudged`: whether its router can be reached is not known yet. */
  lsaChanged(
    place: string,
    before: Lsa | undefined,
    after: Lsa | undefined,
    report: Report,
  ): FactDataError | 'unjudged' | undefined {
    const old = before && factOf(before);
    const fresh = after && factOf(after);
    const router = (after ?? before)!.header.advertisingRouter;
    if (typeof old === 'object' && !(typeof fresh === 'object' && Buffer.compare(fresh.key, old.key) === 0)) {
      this.#take(router, place, old.key, report);
    }
    if (typeof fresh === 'string') return fresh;
    if (!fresh) return undefined;
    let facts = this.#routers.get(router);
    if (!facts) {
      facts = new Map();
      this.#routers.set(router, facts);
    }
    const text = keyText(fresh.key);
    let heard = facts.get(text);
    if (!heard) {
      heard = { key: fresh.key, values: new Map(), reported: undefined };
      facts.set(text, heard);
    }
    heard.values.delete(place);
    heard.values.set(place, fresh.value);
    if (!this.#reachable.has(router)) return 'unjudged';
    say(router, heard, fresh.value, 'withdrawn', report);
    return undefined;
  }

  #take(router: U32, place: string, key: Uint8Array, report: Report): void {
    const facts = this.#routers.get(router);
    const text = keyText(key);
    const heard = facts?.get(text);
    if (!facts || !heard) return;
    heard.values.delete(place);
    if (this.#reachable.has(router)) say(router, heard, latest(heard), 'withdrawn', report);
    if (heard.values.size > 0) return;
    facts.delete(text);
    if (facts.size === 0) this.#routers.delete(router);
  }

  /** After SPF: who can be reached. */
  reachability(reachable: ReadonlySet<U32>, report: Report): void {
    const before = this.#reachable;
    this.#reachable = reachable;
    for (const [router, facts] of this.#routers) {
      const now = reachable.has(router);
      if (now === before.has(router)) continue;
      for (const heard of facts.values()) {
        say(router, heard, now ? latest(heard) : undefined, 'router unreachable', report);
      }
    }
  }
}

function say(router: U32, heard: Heard, value: Uint8Array | undefined, reason: string, report: Report): void {
  const { reported, key } = heard;
  if (value === reported || (value && reported && Buffer.compare(value, reported) === 0)) return;
  heard.reported = value;
  report({ routerId: ipv4FromNumber(router), key, value, ...(value ? {} : { reason }) });
}

function latest({ values }: Heard): Uint8Array | undefined {
  let last: Uint8Array | undefined;
  for (const value of values.values()) last = value;
  return last;
}

function factOf({ header, body }: Lsa): ReturnType<typeof decodeFactData> | undefined {
  if (body.kind !== 'opaque' || header.type === LsaType.OpaqueLink || !isFactId(header.linkStateId)) return undefined;
  return lsaAge(header) >= MaxAge ? undefined : decodeFactData(body.data);
}

const keyText = (key: Uint8Array): string => Buffer.from(key).toString('latin1');
