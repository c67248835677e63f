/**
 * Rules with wildcards, for one look-up per mask in place of one per rule (tuple-space search; Srinivasan, Suri, Varghese,
 * SIGCOMM 1999): rules that compare the same bits share a mask, and the masked tuple is the key of a hash. What the data path
 * has to do grows with the masks, of which it has 64, not with the rules.
 *
 * Among the entries that match the lowest priority decides, so the order is `bySpecificity`'s and no other; verdict and rate
 * are two questions with a priority each.
 *
 * Some of it only the slow path can judge: TCP flags (they are of each packet, the verdict is cached for the connection). And
 * where masks or room run out, what does not fit is replaced by a coarser entry that hands the matching packets to the slow
 * path, which has all the rules: slower, never wrong.
 */
import { addressBytes, familyOf, type Prefix, prefixAddress, prefixLength } from '../../../model/address.ts';
import { bySpecificity, type OverlayNetwork, type OverlayPolicy, type PolicyRule } from '../../../model/overlay.ts';
import { RATES, RULE_DIRECTION, RULE_MASKS, type RuleMask, VERDICT } from '../maps/layout.ts';
import { ANY_PORT, type PortPrefix, portPrefixes } from './port-prefixes.ts';

const TCP = 6;
const UDP = 17;

/** The masked tuple under `mask`, an index into the masks. Numbers; network order is the codec's affair. */
export interface RuleEntry {
  readonly mask: number;
  readonly saddr: number;
  readonly daddr: number;
  readonly sport: number;
  readonly dport: number;
  readonly vni: number;
  readonly protocol: number;
  /** Lower decides. Of a VERDICT other than none. */
  readonly priority: number;
  readonly verdict: number;
  /** The rule that decides; undefined: none did. */
  readonly rule: string | undefined;
  readonly ratePriority: number;
  /** The rule whose rate it is. */
  readonly rateRule: string | undefined;
}

/** Why a rule is left to the slow path. */
export type SlowReason = 'flags' | 'masks' | 'entries' | 'ports' | 'rates';

export interface CompiledRules {
  readonly masks: readonly RuleMask[];
  readonly entries: readonly RuleEntry[];
  readonly defaultVerdict: number;
  /** Bits per second, by name of the rule. */
  readonly rates: ReadonlyMap<string, number>;
  /** Rules whose packets all go to the slow path, with the reason. */
  readonly slow: ReadonlyMap<string, SlowReason>;
}

export interface CompileLimits {
  readonly masks: number;
  readonly entries: number;
  readonly rates: number;
}

/** One thing to be matched. */
interface Match {
  readonly saddr: number;
  readonly saddrMask: number;
  readonly daddr: number;
  readonly daddrMask: number;
  readonly sport: PortPrefix;
  readonly dport: PortPrefix;
  readonly vni: number | undefined;
  readonly protocol: number | undefined;
  readonly directions: number;
}

/** Before everything else. */
const FIRST = 0;

export function compileRules(
  policy: OverlayPolicy,
  networks: ReadonlyMap<string, OverlayNetwork>,
  limits: CompileLimits = { masks: RULE_MASKS, entries: 32_768, rates: RATES - 1 },
): CompiledRules {
  const table = new Table(limits);
  const rates = new Map<string, number>();
  const slow = new Map<string, SlowReason>();
  for (const [index, rule] of bySpecificity(policy.rules).entries()) {
    const matches = matchesOf(rule, networks);
    if (matches === undefined) continue;
    const priority = index + 1;
    const verdict = rule.action === undefined ? VERDICT.none : VERDICT[rule.action];
    const refusal = matches === 'ports' ? 'ports' : (slowBecause(rule, rates, limits) ?? table.lacks(matches));
    if (refusal === undefined && matches !== 'ports') {
      if (rule.rate !== undefined) rates.set(rule.name, rule.rate);
      for (const match of matches) table.add(match, { priority, verdict, rule });
      continue;
    }
    slow.set(rule.name, refusal ?? 'ports');
    // A rate is not the verdict's question: a more specific verdict must not let such packets pass without it.
    const first = rule.rate === undefined && refusal === 'flags' ? priority : FIRST;
    if (!table.addSlow(coarse(rule, networks), first, rule)) {
      return { masks: [], entries: [], defaultVerdict: VERDICT.slow, rates: new Map(), slow };
    }
  }
  return {
    masks: table.masks,
    entries: table.entries(),
    defaultVerdict: policy.default === 'deny' ? VERDICT.slow : VERDICT.allow,
    rates,
    slow,
  };
}

function slowBecause(
  rule: PolicyRule,
  rates: ReadonlyMap<string, number>,
  limits: CompileLimits,
): SlowReason | undefined {
  if (rule.tcpFlags && rule.tcpFlags.of.length > 0) return 'flags';
  return rule.rate !== undefined && rates.size >= limits.rates ? 'rates' : undefined;
}

/** undefined: it matches nothing that the data path sees. */
function matchesOf(
  rule: PolicyRule,
  networks: ReadonlyMap<string, OverlayNetwork>,
): readonly Match[] | 'ports' | undefined {
  const base = addressesOf(rule, networks);
  if (!base) return undefined;
  const withPorts = rule.ports.length > 0 || rule.sourcePorts.length > 0;
  if (withPorts && rule.protocol !== 'any' && rule.protocol !== TCP && rule.protocol !== UDP) return 'ports';
  // ICMP has no ports, whatever stands in that place of its key.
  const protocols = rule.protocol !== 'any' ? [rule.protocol] : withPorts ? [TCP, UDP] : [undefined];
  const destinations = rule.ports.length === 0 ? [ANY_PORT] : rule.ports.flatMap(portPrefixes);
  const sources = rule.sourcePorts.length === 0 ? [ANY_PORT] : rule.sourcePorts.flatMap(portPrefixes);
  return protocols.flatMap((protocol) =>
    sources.flatMap((sport) => destinations.map((dport) => ({ ...base, protocol, sport, dport }))),
  );
}

/** Without ports, and of any protocol when that is how it can be said in one entry. */
function coarse(rule: PolicyRule, networks: ReadonlyMap<string, OverlayNetwork>): Match {
  const base = addressesOf(rule, networks)!;
  return { ...base, protocol: rule.protocol === 'any' ? undefined : rule.protocol, sport: ANY_PORT, dport: ANY_PORT };
}

function addressesOf(rule: PolicyRule, networks: ReadonlyMap<string, OverlayNetwork>) {
  const from = bits(rule.from);
  const to = bits(rule.to);
  const network = rule.network === undefined ? undefined : networks.get(rule.network);
  if (!from || !to || (rule.network !== undefined && !network)) return undefined;
  return {
    saddr: from.value,
    saddrMask: from.mask,
    daddr: to.value,
    daddrMask: to.mask,
    vni: network?.vni,
    directions: RULE_DIRECTION[rule.direction],
  };
}

/** undefined: IPv6, which never comes by the fast path. */
function bits(prefix: Prefix | 'any'): { value: number; mask: number } | undefined {
  if (prefix === 'any') return { value: 0, mask: 0 };
  if (familyOf(prefix) === 6) return undefined;
  const length = prefixLength(prefix);
  const mask = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
  return { value: (Buffer.from(addressBytes(prefixAddress(prefix))).readUInt32BE(0) & mask) >>> 0, mask };
}

interface Saying {
  readonly priority: number;
  readonly verdict: number;
  readonly rule: PolicyRule;
}

class Table {
  readonly masks: RuleMask[] = [];
  readonly #limits: CompileLimits;
  readonly #byMask = new Map<string, number>();
  readonly #entries = new Map<string, RuleEntry>();

  constructor(limits: CompileLimits) {
    this.#limits = limits;
  }

  entries(): RuleEntry[] {
    return [...this.#entries.values()];
  }

  /** What there is not room enough of. A few masks are kept for the coarse entries of what follows. */
  lacks(matches: readonly Match[]): 'masks' | 'entries' | undefined {
    const unknown = new Set(matches.map((match) => maskKey(maskOf(match))).filter((key) => !this.#byMask.has(key)));
    const reserve = Math.min(16, this.#limits.masks >> 2);
    if (unknown.size > 0 && this.masks.length + unknown.size > this.#limits.masks - reserve) return 'masks';
    const spare = Math.min(1024, this.#limits.entries >> 4);
    return this.#entries.size + matches.length > this.#limits.entries - spare ? 'entries' : undefined;
  }

  add(match: Match, { priority, verdict, rule }: Saying): void {
    const mask = this.#maskFor(match);
    const entry = entryOf(match, mask);
    const key = entryKey(entry);
    const before = this.#entries.get(key);
    // They come most specific first: who stands there already has the say.
    const decides = verdict !== VERDICT.none && (before === undefined || before.verdict === VERDICT.none);
    const limits = rule.rate !== undefined && before?.rateRule === undefined;
    this.#entries.set(key, {
      ...entry,
      priority: decides ? priority : (before?.priority ?? 0),
      verdict: decides ? verdict : (before?.verdict ?? VERDICT.none),
      rule: decides ? rule.name : before?.rule,
      ratePriority: limits ? priority : (before?.ratePriority ?? 0),
      rateRule: limits ? rule.name : before?.rateRule,
    });
  }

  /** False: not even for that is there room; coarser still would be everything. */
  addSlow(match: Match, priority: number, rule: PolicyRule): boolean {
    for (const wider of [match, { ...match, protocol: undefined, vni: undefined, directions: RULE_DIRECTION.both }]) {
      const known = this.#byMask.has(maskKey(maskOf(wider)));
      if (!known && this.masks.length >= this.#limits.masks) continue;
      if (this.#entries.size >= this.#limits.entries) return false;
      const entry = entryOf(wider, this.#maskFor(wider));
      const key = entryKey(entry);
      const before = this.#entries.get(key);
      if (before && before.verdict !== VERDICT.none && before.priority <= priority) return true;
      this.#entries.set(key, {
        ...entry,
        priority,
        verdict: VERDICT.slow,
        rule: rule.name,
        ratePriority: before?.ratePriority ?? 0,
        rateRule: before?.rateRule,
      });
      return true;
    }
    return false;
  }

  #maskFor(match: Match): number {
    const mask = maskOf(match);
    const key = maskKey(mask);
    const known = this.#byMask.get(key);
    if (known !== undefined) return known;
    this.#byMask.set(key, this.masks.length);
    return this.masks.push(mask) - 1;
  }
}

const maskOf = (match: Match): RuleMask => ({
  saddr: match.saddrMask,
  daddr: match.daddrMask,
  sport: match.sport.mask,
  dport: match.dport.mask,
  vni: match.vni === undefined ? 0 : 0xffffffff,
  protocol: match.protocol === undefined ? 0 : 0xff,
  directions: match.directions,
  flags_of: 0,
  flags_set: 0,
});

const maskKey = (mask: RuleMask): string =>
  `${mask.saddr} ${mask.daddr} ${mask.sport} ${mask.dport} ${mask.vni} ${mask.protocol} ${mask.directions}`;

const entryOf = (match: Match, mask: number) => ({
  mask,
  saddr: match.saddr,
  daddr: match.daddr,
  sport: match.sport.value,
  dport: match.dport.value,
  vni: match.vni ?? 0,
  protocol: match.protocol ?? 0,
});

const entryKey = (entry: ReturnType<typeof entryOf>): string =>
  `${entry.mask} ${entry.saddr} ${entry.daddr} ${entry.sport} ${entry.dport} ${entry.vni} ${entry.protocol}`;
