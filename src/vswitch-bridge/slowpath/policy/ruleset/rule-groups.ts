/**
 * Rules by shape. Thousands of rules one behind the other would be tried one behind the other; rules that test the same
 * fields with the same masks, and stand at the same place of the order, become elements of one map and cost one look-up
 * together. A policy of ten thousand rules has a few dozen shapes.
 *
 * The order of `bySpecificity` holds between groups: a group is the rules that are equal by every criterion of it. Inside
 * a group no packet meets two verdicts, so the place of an element says nothing.
 */
import { type Family, familyOf, type Prefix, prefixAddress, prefixLength } from '../../../../model/address.ts';
import { bySpecificity, type PolicyRule, type PortRange, type TcpFlag } from '../../../../model/overlay.ts';
import { digest, ipWord, maskLiteral, prefixLiteral } from './literals.ts';

export type Side = 'in' | 'out';

/** A rule with ports of up to this many numbers stands once for each; with more, as ranges. */
const LISTED = 16;

export interface RuleGroup {
  /** Also the name of the map. */
  readonly name: string;
  /** undefined: addresses are not tested, the group is for both families. */
  readonly family: Family | undefined;
  readonly sides: readonly Side[];
  readonly network: string | undefined;
  readonly action: 'allow' | 'deny' | undefined;
  readonly shape: Shape;
  /** Key as nft writes it → the rule. Empty when the group tests no field: then `first` alone counts. */
  readonly elements: Map<string, PolicyRule>;
  readonly first: PolicyRule;
}

interface Shape {
  readonly from: number;
  readonly to: number;
  readonly protocol: boolean;
  readonly ports: PortShape;
  readonly sourcePorts: PortShape;
  readonly flags: PolicyRule['tcpFlags'];
}

type PortShape = 'any' | 'listed' | 'ranges';

/** Rules that `of` chooses, grouped, in the order in which they are to be asked. */
export function groupRules(rules: readonly PolicyRule[], kind: string): RuleGroup[] {
  const groups = new Map<string, RuleGroup & { readonly taken: Map<string, PortRange[][]> }>();
  for (const rule of bySpecificity(rules)) {
    const family = familyOfRule(rule);
    if (family === 'none') continue;
    const shape = shapeOf(rule);
    const base = groupName(kind, rule, family, shape);
    for (let layer = 0; ; layer++) {
      const name = layer === 0 ? base : `${base}_l${layer}`;
      let group = groups.get(name);
      if (!group) {
        const sides: readonly Side[] = rule.direction === 'both' ? ['out', 'in'] : [rule.direction];
        const { network, action } = rule;
        group = { name, family, sides, network, action, shape, elements: new Map(), first: rule, taken: new Map() };
        groups.set(name, group);
      }
      if (add(group, rule)) break;
    }
  }
  return [...groups.values()];
}

/**
 * The test of a group as the left side of a rule of nft; `reply` swaps the ends, for what is judged by the packet's own
 * direction. undefined: the group tests nothing but flags.
 */
export function groupKey({ family, shape }: RuleGroup, reply: boolean): string | undefined {
  const ends = reply ? { from: 'daddr', to: 'saddr' } : { from: 'saddr', to: 'daddr' };
  const ports = reply ? { from: 'proto-dst', to: 'proto-src' } : { from: 'proto-src', to: 'proto-dst' };
  const fields: string[] = [];
  if (family !== undefined) {
    for (const end of ['from', 'to'] as const) {
      const length = shape[end];
      if (length === 0) continue;
      const mask = length === (family === 4 ? 32 : 128) ? '' : ` & ${maskLiteral(family, length)}`;
      fields.push(`ct original ${ipWord(family)} ${ends[end]}${mask}`);
    }
  }
  if (shape.protocol) fields.push('meta l4proto');
  if (shape.ports !== 'any') fields.push(`ct original ${ports.to}`);
  if (shape.sourcePorts !== 'any') fields.push(`ct original ${ports.from}`);
  return fields.length === 0 ? undefined : fields.join(' . ');
}

/** What nft must know before it lets ports be asked for, and the flags. */
export function groupCondition({ family, shape }: RuleGroup): string {
  const parts: string[] = [];
  if (family !== undefined) parts.push(`meta nfproto ipv${family}`);
  if (shape.ports !== 'any' || shape.sourcePorts !== 'any') {
    parts.push(shape.flags ? 'meta l4proto tcp' : 'meta l4proto { tcp, udp, sctp }');
  }
  if (shape.flags) parts.push(flagTest(shape.flags));
  return parts.join(' ');
}

export function groupDeclaration(group: RuleGroup): string {
  const { family, shape } = group;
  const types: string[] = [];
  const addressType = family === 4 ? 'ipv4_addr' : 'ipv6_addr';
  if (shape.from > 0) types.push(addressType);
  if (shape.to > 0) types.push(addressType);
  if (shape.protocol) types.push('inet_proto');
  if (shape.ports !== 'any') types.push('inet_service');
  if (shape.sourcePorts !== 'any') types.push('inet_service');
  const interval = shape.ports === 'ranges' || shape.sourcePorts === 'ranges' ? ' flags interval;' : '';
  return `type ${types.join(' . ')} : verdict;${interval} counter;`;
}

function flagTest({ set, of }: NonNullable<PolicyRule['tcpFlags']>): string {
  const word = (flags: readonly TcpFlag[]) => (flags.length === 0 ? '0x0' : flags.join(' | '));
  const wanted = of.filter((flag) => set.includes(flag));
  return `tcp flags & (${word(of)}) == ${wanted.length > 1 ? `(${word(wanted)})` : word(wanted)}`;
}

/** `none`: from one family to the other, which no packet does. */
function familyOfRule({ from, to }: PolicyRule): Family | undefined | 'none' {
  const families = [from, to].filter((prefix): prefix is Prefix => prefix !== 'any').map(familyOf);
  return families.length === 2 && families[0] !== families[1] ? 'none' : families[0];
}

const lengthOf = (prefix: Prefix | 'any'): number => (prefix === 'any' ? 0 : prefixLength(prefix));

const widthOf = (ranges: readonly PortRange[]): number =>
  ranges.length === 0 ? 65_536 : ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0);

function portShape(ranges: readonly PortRange[]): PortShape {
  if (ranges.length === 0) return 'any';
  return widthOf(ranges) <= LISTED ? 'listed' : 'ranges';
}

const shapeOf = ({ from, to, protocol, ports, sourcePorts, tcpFlags }: PolicyRule): Shape => ({
  from: lengthOf(from),
  to: lengthOf(to),
  protocol: protocol !== 'any',
  ports: portShape(ports),
  sourcePorts: portShape(sourcePorts),
  flags: tcpFlags,
});

/** Every criterion of the order and every field of the shape, so that equal names mean one map. */
function groupName(kind: string, rule: PolicyRule, family: Family | undefined, shape: Shape): string {
  const flags = rule.tcpFlags && `${[...rule.tcpFlags.set].sort().join('')}of${[...rule.tcpFlags.of].sort().join('')}`;
  return [
    kind,
    rule.direction,
    family === undefined ? 'ip' : `ip${family}`,
    `${shape.from}to${shape.to}`,
    shape.protocol ? 'p' : '',
    shape.ports === 'any' ? '' : `d${widthOf(rule.ports)}`,
    shape.sourcePorts === 'any' ? '' : `s${widthOf(rule.sourcePorts)}`,
    flags ?? '',
    rule.network === undefined ? '' : `n${digest(rule.network)}`,
    rule.action ?? 'rate',
  ]
    .filter((part) => part !== '')
    .join('_');
}

/** @returns false when a range of this rule overlaps one that the group holds: an interval set takes one of them */
function add(group: RuleGroup & { readonly taken: Map<string, PortRange[][]> }, rule: PolicyRule): boolean {
  const { shape, elements, taken } = group;
  const head: string[] = [];
  if (shape.from > 0) head.push(prefixAddress(prefixLiteral(rule.from as Prefix)));
  if (shape.to > 0) head.push(prefixAddress(prefixLiteral(rule.to as Prefix)));
  if (shape.protocol) head.push(String(Number(rule.protocol)));
  const ports = pieces(rule.ports, shape.ports);
  const sources = pieces(rule.sourcePorts, shape.sourcePorts);
  const boxes = ports.flatMap((port) => sources.map((source) => [...port, ...source]));
  if (shape.ports === 'ranges' || shape.sourcePorts === 'ranges') {
    const at = head.join(' . ');
    const known = taken.get(at) ?? [];
    const free = boxes.filter((box) => !known.some((other) => equal(box, other)));
    if (free.some((box) => known.some((other) => meet(box, other)))) return false;
    taken.set(at, [...known, ...free]);
  }
  for (const box of boxes) {
    const key = [...head, ...box.map(rangeText)].join(' . ');
    // An equal rule that is more specific or stands earlier decides.
    if (key !== '' && !elements.has(key)) elements.set(key, rule);
  }
  return true;
}

/** The values of one port field, each an array of one; [[]] where the field is not tested. */
function pieces(ranges: readonly PortRange[], shape: PortShape): PortRange[][] {
  if (shape === 'any') return [[]];
  const merged = mergeRanges(ranges);
  if (shape === 'ranges') return merged.map((range) => [range]);
  return merged.flatMap(({ first, last }) =>
    Array.from({ length: last - first + 1 }, (_, index) => [{ first: first + index, last: first + index }]),
  );
}

function mergeRanges(ranges: readonly PortRange[]): PortRange[] {
  const out: { first: number; last: number }[] = [];
  for (const { first, last } of [...ranges].sort((a, b) => a.first - b.first)) {
    const previous = out.at(-1);
    if (previous && first <= previous.last + 1) previous.last = Math.max(previous.last, last);
    else out.push({ first, last });
  }
  return out;
}

const rangeText = ({ first, last }: PortRange): string => (first === last ? String(first) : `${first}-${last}`);

const equal = (one: PortRange[], other: PortRange[]): boolean =>
  one.every((range, index) => range.first === other[index]!.first && range.last === other[index]!.last);

const meet = (one: PortRange[], other: PortRange[]): boolean =>
  one.every((range, index) => range.first <= other[index]!.last && other[index]!.first <= range.last);
