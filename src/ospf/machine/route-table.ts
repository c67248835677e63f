/** What was handed out for the kernel, so that each computation yields differences only. */
import type { U32 } from 'node-ospf-lsa';
import { ipv4FromNumber, makePrefix, type Prefix } from '../../model/address.ts';
import type { LearnedRoute, NextHop } from '../../model/hosts.ts';
import type { Hop, Paths } from './paths.ts';

/** Names networks of ours, which are not learned. */
type Ours = (network: U32, mask: U32) => boolean;

export class RouteTable {
  #current = new Map<string, LearnedRoute>();

  /** Routes on the link itself are the kernel's own and left out, as are those that `ours` names. */
  update({ routes }: { readonly routes: Paths }, ours: Ours): LearnedRoute[] {
    const changes: LearnedRoute[] = [];
    const next = new Map<string, LearnedRoute>();
    const texts: Texts = new Map();
    for (const key of routes.best.keys()) {
      const before = this.#current.get(key);
      const learned = learn(routes, key, before, ours, texts);
      if (!learned) continue;
      next.set(key, learned);
      if (learned !== before) changes.push(learned);
    }
    for (const [key, { prefix, metric }] of this.#current) {
      if (!next.has(key)) changes.push({ prefix, nextHops: [], metric });
    }
    this.#current = next;
    return changes;
  }

  /** The same for some networks. */
  updateSome(paths: Paths, keys: Iterable<string>, ours: Ours): LearnedRoute[] {
    const changes: LearnedRoute[] = [];
    const texts: Texts = new Map();
    for (const key of keys) {
      const before = this.#current.get(key);
      const learned = learn(paths, key, before, ours, texts);
      if (learned === before) continue;
      if (learned) this.#current.set(key, learned);
      else this.#current.delete(key);
      changes.push(learned ?? { prefix: before!.prefix, nextHops: [], metric: before!.metric });
    }
    return changes;
  }

  routes(): Iterable<LearnedRoute> {
    return this.#current.values();
  }
}

/** Thousands of hosts share the next hops of the router that announces them: texts are made once. */
type Texts = Map<readonly Hop[], readonly NextHop[]>;

/** `before` itself where nothing differs; undefined: nothing for the kernel. */
function learn(
  paths: Paths,
  key: string,
  before: LearnedRoute | undefined,
  ours: Ours,
  texts: Texts,
): LearnedRoute | undefined {
  const route = paths.best.get(key);
  if (!route || ours(route.network, route.mask)) return undefined;
  const { network, mask, metric } = route;
  const nextHops = textOf(route.hops, texts);
  if (nextHops.length === 0) return undefined;
  const backup = textOf(paths.backup(key), texts);
  if (
    before &&
    before.metric === metric &&
    sameHops(before.nextHops, nextHops) &&
    sameHops(before.backup ?? [], backup)
  ) {
    return before;
  }
  const prefix = before?.prefix ?? prefixOf(network, mask);
  return backup.length > 0 ? { prefix, nextHops, metric, backup } : { prefix, nextHops, metric };
}

function textOf(hops: readonly Hop[], texts: Texts): readonly NextHop[] {
  if (hops.length === 0) return [];
  let nextHops = texts.get(hops);
  if (!nextHops) {
    nextHops = hops.some(({ via }) => via === 0) ? [] : hopTexts(hops);
    texts.set(hops, nextHops);
  }
  return nextHops;
}

const hopText = (hop: NextHop): string => `${hop.interface} ${hop.via}`;

function hopTexts(hops: readonly Hop[]): NextHop[] {
  return hops
    .map((hop): NextHop => ({ via: ipv4FromNumber(hop.via), interface: hop.interface }))
    .sort((a, b) => (hopText(a) < hopText(b) ? -1 : 1));
}

function sameHops(a: readonly NextHop[], b: readonly NextHop[]): boolean {
  return a === b || (a.length === b.length && a.every((hop, index) => hopText(hop) === hopText(b[index]!)));
}

function prefixOf(network: U32, mask: U32): Prefix {
  const bytes = Uint8Array.of(network >>> 24, network >>> 16, network >>> 8, network);
  return makePrefix(bytes, popcount(mask));
}

function popcount(mask: U32): number {
  let bits = 0;
  for (let value = mask; value !== 0; value = (value << 1) >>> 0) bits += value >>> 31;
  return bits;
}
