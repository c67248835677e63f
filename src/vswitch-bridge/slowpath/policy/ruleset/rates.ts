/**
 * Rate rules: a token bucket for each rule. A bucket counts what goes the rule's way, whoever opened the connection: it
 * is asked with the addresses of the packet's own direction, in the client's terms (a service's address, not the
 * backend's; the instance's, not that of its SNAT).
 */

import type { OverlayNetwork, OverlayState, PolicyRule } from '../../../../model/overlay.ts';
import { localAddresses, ruleCounter } from './acl.ts';
import type { TableBuilder } from './document.ts';
import { interfaceLiteral, ipWord } from './literals.ts';
import { CLASS, devicesOf, hex, MARK_CLASS_MASK, PRIORITY } from './names.ts';
import { groupCondition, groupDeclaration, groupKey, groupRules, type RuleGroup, type Side } from './rule-groups.ts';

/** A segment of 64 KB is one packet here: a smaller bucket would never let one pass. */
const LEAST_BURST = 128 * 1024;
/** Of a second. */
const BURST = 0.05;

/** How a packet is asked about: `again` when its bucket of a rule for both sides was charged on the way out. */
interface Asking {
  readonly side: Side;
  readonly again: boolean;
  readonly reply: boolean;
}

export function addRates(table: TableBuilder, state: OverlayState, zones: ReadonlyMap<string, number>): void {
  const rules = state.policy.rules.filter(({ rate }) => rate !== undefined && rate > 0);
  if (rules.length === 0) return;
  const groups = groupRules(rules, 'rate');
  for (const rule of rules) {
    const name = bucket(rule);
    if (!table.chains.has(name))
      table.chain(name, [`limit rate over ${limit(rule)} ${table.counter(`over_${ruleCounter(rule)}`)} drop`]);
  }
  for (const group of groups) {
    if (groupKey(group, false) === undefined) continue;
    const elements = table.set('map', group.name, groupDeclaration(group));
    for (const [key, rule] of group.elements) elements.set(key, ` : goto ${bucket(rule)}`);
  }
  const lines: string[] = [];
  const fromInstance = `iifname @bridges meta mark & ${hex(MARK_CLASS_MASK)} != ${hex(CLASS.tunnel)}`;
  for (const reply of [false, true]) {
    const direction = `ct direction ${reply ? 'reply' : 'original'}`;
    const out = { side: 'out', again: false, reply } as const;
    const verdicts = table.set('map', `rate_out${reply ? '_reply' : ''}`, 'type ifname : verdict;');
    for (const network of state.networks.values()) {
      const chain = addChain(table, groups, out, network);
      if (chain !== undefined) verdicts.set(interfaceLiteral(devicesOf(state, network).bridge), ` : jump ${chain}`);
    }
    lines.push(`${direction} ${fromInstance} iifname vmap @rate_out${reply ? '_reply' : ''}`);
    for (const again of [false, true]) {
      const asking = { side: 'in', again, reply } as const;
      const name = `rate_in${again ? '_again' : ''}${reply ? '_reply' : ''}`;
      for (const [family, zone, address, network] of localAddresses(state, zones)) {
        const chain = addChain(table, groups, asking, network);
        const field = `ct original ${ipWord(family)} ${reply ? 'saddr' : 'daddr'}`;
        const map = table.set('map', `${name}${family}`, `typeof ct zone . ${field} : verdict;`);
        if (chain !== undefined) map.set(`${zone} . ${address}`, ` : jump ${chain}`);
      }
      const came = again ? fromInstance : `meta mark & ${hex(MARK_CLASS_MASK)} != ${hex(CLASS.instance)}`;
      for (const family of [4, 6] as const) {
        if (!table.sets.has(`${name}${family}`)) continue;
        const field = `ct original ${ipWord(family)} ${reply ? 'saddr' : 'daddr'}`;
        lines.push(`${direction} ${came} ct zone . ${field} vmap @${name}${family}`);
      }
    }
  }
  table.chain('rates', lines, `type filter hook prerouting priority ${PRIORITY.rate}; policy accept;`);
}

const bucket = (rule: PolicyRule): string => `bucket_${ruleCounter(rule)}`;

function limit({ rate }: PolicyRule): string {
  const octets = Math.max(1, Math.round(rate! / 8));
  return `${octets} bytes/second burst ${Math.max(LEAST_BURST, Math.round(octets * BURST))} bytes`;
}

/** undefined: no rule for this side of this network. */
function addChain(
  table: TableBuilder,
  groups: readonly RuleGroup[],
  { side, again, reply }: Asking,
  network: OverlayNetwork,
): string | undefined {
  const own = groups.some((group) => group.network === network.name);
  const name = `limit_${side}${again ? '_again' : ''}${reply ? '_reply' : ''}_${own ? network.vni : 'any'}`;
  if (table.chains.has(name)) return name;
  const lines = groups
    .filter((group) => group.sides.includes(side) && !(again && group.sides.length === 2))
    .filter((group) => group.network === undefined || group.network === network.name)
    .map((group) => {
      const key = groupKey(group, reply);
      const what = key === undefined ? `goto ${bucket(group.first)}` : `${key} vmap @${group.name}`;
      const condition = groupCondition(group);
      return condition === '' ? what : `${condition} ${what}`;
    });
  if (lines.length === 0) return undefined;
  table.chain(name, lines);
  return name;
}
