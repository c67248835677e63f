/**
 * Who may talk to whom (R1.2): two judgements in prerouting, before any address is rewritten. `out` is asked for what an
 * instance of this host opened, `in` for what is for one; so two instances get the same answer on one host and on two.
 * Every packet of a connection is judged by the tuple that opened it: a rule that is inserted meets the next packet,
 * whichever way that goes.
 */
import type { Address, Family } from '../../../../model/address.ts';
import { familyOf } from '../../../../model/address.ts';
import type { OverlayNetwork, OverlayState, PolicyRule } from '../../../../model/overlay.ts';
import type { NftSet, TableBuilder } from './document.ts';
import { addressLiteral, digest, disjointRanges, interfaceLiteral, ipWord, prefixLiteral } from './literals.ts';
import {
  CLASS,
  COUNTERS,
  devicesOf,
  hex,
  MARK_CLASS_MASK,
  MARK_OURS,
  MARK_OURS_MASK,
  openerMark,
  PRIORITY,
} from './names.ts';
import { groupCondition, groupDeclaration, groupKey, groupRules, type RuleGroup, type Side } from './rule-groups.ts';
import { SHARED_ZONE } from './zones.ts';

/** Neighbour discovery without redirects, and who listens to which group. */
const UNTRACKED =
  'nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report';

/** In the comment of an element, and in the name of a counter: which rule it counts for. */
export const ruleCounter = (rule: PolicyRule): string => `rule_${digest(rule.name)}`;

export interface Verdicts {
  readonly map: string;
  readonly key: string;
  readonly chain: string;
}

export function addAcl(table: TableBuilder, state: OverlayState, zones: ReadonlyMap<string, number>): void {
  const { policy, networks } = state;
  const { groups, sets } = groupsOf(policy.rules);
  for (const set of sets) table.adopt(set);
  const chains = new ChainsOfSides(table, state, groups);
  const opened = table.set('map', 'opened_by_instance', 'type ifname : mark;');
  const tunnelled = table.set('map', 'came_by_tunnel', 'type ifname : mark;');
  const out = table.set('map', 'judge_out', 'type mark : verdict;');
  for (const network of networks.values()) {
    const { bridge, routed } = devicesOf(state, network);
    const mark = hex(openerMark('instance', network.vni));
    opened.set(interfaceLiteral(bridge), ` : ${mark}`);
    for (const device of [bridge, ...routed]) {
      tunnelled.set(interfaceLiteral(device), ` : ${hex(openerMark('tunnel', network.vni))}`);
    }
    const chain = chains.of('out', network);
    if (chain !== undefined) out.set(mark, ` : jump ${chain}`);
  }
  addSubnets(table, [...networks.values()], zones);
  for (const [family, zone, address, network] of localAddresses(state, zones)) {
    const chain = chains.of('in', network);
    const map = table.set(
      'map',
      `judge_in${family}`,
      `typeof ct zone . ct original ${ipWord(family)} daddr : verdict;`,
    );
    if (chain !== undefined) map.set(`${zone} . ${address}`, ` : jump ${chain}`);
  }
  const outside = ([4, 6] as const)
    .filter((family) => table.sets.has(`subnets${family}`))
    .map((family) => `${ipWord(family)} daddr @subnets${family} ct mark set ${hex(CLASS.underlay)} return`);
  table.chain('opener', [
    'ct direction reply return',
    `meta mark & ${hex(MARK_CLASS_MASK)} == ${hex(CLASS.tunnel)} ct mark set iifname map @came_by_tunnel return`,
    'iifname @bridges ct mark set iifname map @opened_by_instance return',
    ...outside,
  ]);
  const judgeIn = ([4, 6] as const)
    .filter((family) => table.sets.has(`judge_in${family}`))
    .map((family) => `ct zone . ct original ${ipWord(family)} daddr vmap @judge_in${family}`);
  table.chain(
    'judge',
    [
      // What keeps IPv6 alive; the kernel tracks none of it.
      `iifname @bridges icmpv6 type { ${UNTRACKED} } accept`,
      `iifname @bridges ct state invalid ${table.counter(COUNTERS.invalid)} drop`,
      `iifname @bridges ct state untracked ${table.counter(COUNTERS.untracked)} drop`,
      // Errors about a connection that is let through, e.g. "fragmentation needed", which path MTU discovery lives on.
      'meta l4proto { icmp, icmpv6 } ct state related accept',
      `ct mark & ${hex(MARK_OURS_MASK)} != ${hex(MARK_OURS)} jump opener`,
      `ct mark ${hex(CLASS.host)} accept`,
      'ct mark vmap @judge_out',
      ...judgeIn,
    ],
    `type filter hook prerouting priority ${PRIORITY.judge}; policy accept;`,
  );
  // What the host itself opens (health checks, its own programs) is not the policy's affair, nor are the replies to it.
  table.chain(
    'host_opens',
    [
      `oifname @bridges ct direction original ct mark & ${hex(MARK_OURS_MASK)} != ${hex(MARK_OURS)} ct mark set ${hex(CLASS.host)}`,
    ],
    `type filter hook output priority ${PRIORITY.judge}; policy accept;`,
  );
}

/** Instances that `in` rules protect: [family, zone, address, network]. Zone 0 is what comes from the public side. */
export function* localAddresses(
  { instances, networks }: OverlayState,
  zones: ReadonlyMap<string, number>,
): Generator<[Family, number, Address, OverlayNetwork]> {
  for (const instance of instances.values()) {
    const network = networks.get(instance.network);
    const zone = zones.get(instance.network);
    if (!network || zone === undefined) continue;
    const address = addressLiteral(instance.address) as Address;
    yield [familyOf(address), zone, address, network];
    if (zone === SHARED_ZONE) yield [familyOf(address), 0, address, network];
  }
}

/** Chains for one side, made when a network first needs them. Networks that no rule names share them. */
class ChainsOfSides {
  readonly #table: TableBuilder;
  readonly #state: OverlayState;
  readonly #groups: readonly RuleGroup[];
  readonly #named: ReadonlySet<string>;
  readonly #known = new Map<string, string | undefined>();

  constructor(table: TableBuilder, state: OverlayState, groups: readonly RuleGroup[]) {
    this.#table = table;
    this.#state = state;
    this.#groups = groups;
    this.#named = new Set(groups.map(({ network }) => network).filter((name) => name !== undefined));
  }

  /** undefined: everything is allowed, nothing need be asked. */
  of(side: Side, network: OverlayNetwork): string | undefined {
    const key = `${side} ${network.name}`;
    if (!this.#known.has(key)) this.#known.set(key, this.#make(side, network));
    return this.#known.get(key);
  }

  #make(side: Side, network: OverlayNetwork): string | undefined {
    const rules = this.#judgement(side, this.#named.has(network.name) ? network : undefined);
    if (this.#state.policy.initiate === 'both') return rules;
    const family = ipWord(familyOf(network.subnet));
    const other = side === 'out' ? 'daddr' : 'saddr';
    const test = `ct original ${family} ${other} != ${prefixLiteral(network.subnet)}`;
    // From inside to the public side is allowed: on the way out only another network of ours is "outside".
    const ours = side === 'out' ? ` ct original ${family} daddr @subnets${familyOf(network.subnet)}` : '';
    const name = `${side}_${network.vni}_inside`;
    this.#table.chain(name, [
      `${test}${ours} ${this.#table.counter(COUNTERS.outside)} drop`,
      ...(rules === undefined ? [] : [`goto ${rules}`]),
    ]);
    return name;
  }

  #judgement(side: Side, network: OverlayNetwork | undefined): string | undefined {
    const name = network ? `${side}_${network.vni}` : `${side}_any`;
    if (this.#table.chains.has(name)) return name;
    const lines = this.#groups
      .filter((group) => group.sides.includes(side) && (group.network === undefined || group.network === network?.name))
      .map((group) => groupLine(this.#table, group, false));
    if (this.#state.policy.default === 'deny') {
      lines.push(`${this.#table.counter(side === 'out' ? COUNTERS.deniedOut : COUNTERS.deniedIn)} drop`);
    } else if (lines.length === 0) return undefined;
    this.#table.chain(name, lines);
    return name;
  }
}

const verdictOf = (rule: PolicyRule): string => (rule.action === 'deny' ? 'drop' : 'return');

interface Grouped {
  readonly groups: readonly RuleGroup[];
  readonly sets: readonly NftSet[];
}

/** Instances come and go all day while the rules stay the same list. */
const grouped = new WeakMap<readonly PolicyRule[], Grouped>();

function groupsOf(rules: readonly PolicyRule[]): Grouped {
  const known = grouped.get(rules);
  if (known) return known;
  const groups = groupRules(
    rules.filter(({ action }) => action !== undefined),
    'acl',
  );
  const sets = groups.filter((group) => groupKey(group, false) !== undefined).map(setOf);
  const result = { groups, sets };
  grouped.set(rules, result);
  return result;
}

function setOf(group: RuleGroup): NftSet {
  const elements = new Map<string, string>();
  for (const [key, rule] of group.elements) elements.set(key, ` comment "${ruleCounter(rule)}" : ${verdictOf(rule)}`);
  return { kind: 'map', name: group.name, declaration: groupDeclaration(group), elements };
}

function groupLine(table: TableBuilder, group: RuleGroup, reply: boolean): string {
  const key = groupKey(group, reply);
  const condition = groupCondition(group);
  const verdict =
    key === undefined
      ? `${table.counter(ruleCounter(group.first))} ${verdictOf(group.first)}`
      : `${key} vmap @${group.name}`;
  return condition === '' ? verdict : `${condition} ${verdict}`;
}

/** All subnets that can be routed to each other. */
function addSubnets(
  table: TableBuilder,
  networks: readonly OverlayNetwork[],
  zones: ReadonlyMap<string, number>,
): void {
  for (const family of [4, 6] as const) {
    const prefixes = networks
      .filter(({ name, subnet }) => zones.get(name) === SHARED_ZONE && familyOf(subnet) === family)
      .map(({ subnet }) => ({ prefix: subnet, value: true }));
    if (prefixes.length === 0) continue;
    const set = table.set('set', `subnets${family}`, `type ipv${family}_addr; flags interval;`);
    for (const { range } of disjointRanges(prefixes)) set.set(range, '');
  }
}
