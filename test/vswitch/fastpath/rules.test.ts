import test from 'ava';
import fc from 'fast-check';
import { addressBytes, ipv4FromNumber, ipv4ToNumber, makePrefix, type Prefix } from '../../../src/model/address.ts';
import { bySpecificity, type OverlayPolicy, type PolicyRule, type PortRange } from '../../../src/model/overlay.ts';
import { RULE_DIRECTION, VERDICT } from '../../../src/vswitch-bridge/fastpath/maps/layout.ts';
import { type CompiledRules, compileRules } from '../../../src/vswitch-bridge/fastpath/rules/compile.ts';
import { portPrefixes } from '../../../src/vswitch-bridge/fastpath/rules/port-prefixes.ts';
import { overlayNetworks, policyRule } from './support/policy.ts';

interface Packet {
  readonly saddr: number;
  readonly daddr: number;
  readonly sport: number;
  readonly dport: number;
  readonly vni: number;
  readonly protocol: number;
  readonly direction: 'in' | 'out';
  /** Bits as in the TCP header. */
  readonly flags: number;
}

const FLAGS = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32 } as const;
const networks = overlayNetworks();

/** One rule after the other, as the policy is told to people. */
function judgeByHand(policy: OverlayPolicy, packet: Packet): { verdict: 'allow' | 'deny'; rate: string | undefined } {
  const inPrefix = (prefix: Prefix | 'any', address: number) =>
    prefix === 'any' || makePrefix(addressBytes(ipv4FromNumber(address)), Number(prefix.split('/')[1])) === prefix;
  const inRanges = (ranges: readonly PortRange[], port: number) =>
    ranges.length === 0 ||
    ((packet.protocol === 6 || packet.protocol === 17) &&
      ranges.some(({ first, last }) => first <= port && port <= last));
  const bits = (names: readonly (keyof typeof FLAGS)[]) => names.reduce((sum, name) => sum | FLAGS[name], 0);
  const matching = bySpecificity(policy.rules).filter(
    (rule) =>
      (rule.network === undefined || networks.get(rule.network)?.vni === packet.vni) &&
      (rule.direction === 'both' || rule.direction === packet.direction) &&
      inPrefix(rule.from, packet.saddr) &&
      inPrefix(rule.to, packet.daddr) &&
      (rule.protocol === 'any' || rule.protocol === packet.protocol) &&
      inRanges(rule.ports, packet.dport) &&
      inRanges(rule.sourcePorts, packet.sport) &&
      (!rule.tcpFlags ||
        (packet.protocol === 6 && (packet.flags & bits(rule.tcpFlags.of)) === bits(rule.tcpFlags.set))),
  );
  return {
    verdict: matching.find(({ action }) => action !== undefined)?.action ?? policy.default,
    rate: matching.find(({ rate }) => rate !== undefined)?.name,
  };
}

/** As bpf/rules.h does it. */
function judgeByMasks(compiled: CompiledRules, packet: Packet): { verdict: number; rate: string | undefined } {
  let verdict = compiled.defaultVerdict;
  let priority = Number.POSITIVE_INFINITY;
  let ratePriority = Number.POSITIVE_INFINITY;
  let rate: string | undefined;
  for (const [index, mask] of compiled.masks.entries()) {
    if (!(mask.directions & RULE_DIRECTION[packet.direction])) continue;
    const entry = compiled.entries.find(
      (candidate) =>
        candidate.mask === index &&
        candidate.saddr === (packet.saddr & mask.saddr) >>> 0 &&
        candidate.daddr === (packet.daddr & mask.daddr) >>> 0 &&
        candidate.sport === (packet.sport & mask.sport) &&
        candidate.dport === (packet.dport & mask.dport) &&
        candidate.vni === (packet.vni & mask.vni) >>> 0 &&
        candidate.protocol === (packet.protocol & mask.protocol),
    );
    if (!entry) continue;
    if (entry.verdict !== VERDICT.none && entry.priority < priority) ({ verdict, priority } = entry);
    if (entry.rateRule !== undefined && entry.ratePriority < ratePriority) {
      ratePriority = entry.ratePriority;
      rate = entry.rateRule;
    }
  }
  return { verdict, rate };
}

// Few values, so that rules and packets meet.
const base = ipv4ToNumber('10.200.1.0' as never);
const address = fc.nat(7).map((low) => base + low);
const port = fc.constantFrom(0, 1, 22, 23, 24, 79, 80, 81, 1023, 1024, 8080, 65_535);
const range = fc
  .tuple(fc.oneof(port, fc.nat(65_535)), fc.oneof(port, fc.nat(65_535)))
  .map(([a, b]): PortRange => ({ first: Math.min(a, b), last: Math.max(a, b) }));
const ranges = fc.oneof(fc.constant([]), fc.array(range, { maxLength: 2 }));
const prefix = fc.oneof(
  fc.constant('any' as const),
  fc
    .tuple(address, fc.constantFrom(0, 8, 24, 30, 31, 32))
    .map(([value, length]) => makePrefix(addressBytes(ipv4FromNumber(value)), length)),
);
const flagNames = fc.subarray(['fin', 'syn', 'rst', 'ack'] as const, { minLength: 1 });
const oneRule = fc
  .record({
    network: fc.constantFrom(undefined, undefined, 'blue', 'red'),
    direction: fc.constantFrom('in' as const, 'out' as const, 'both' as const),
    from: prefix,
    to: prefix,
    protocol: fc.constantFrom('any' as const, 1, 6, 17),
    ports: ranges,
    sourcePorts: ranges,
    flags: fc.oneof(
      { weight: 5, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: flagNames.chain((of) => fc.subarray(of).map((set) => ({ of, set }))) },
    ),
    action: fc.constantFrom('allow' as const, 'deny' as const, undefined),
    rate: fc.constantFrom(undefined, undefined, 1_000_000),
  })
  .map(({ network, flags, action, rate, ...rest }) => ({
    ...rest,
    ...(network === undefined ? {} : { network }),
    ...(flags === undefined ? {} : { tcpFlags: flags, protocol: 6 }),
    ...(action === undefined ? {} : { action }),
    ...(rate === undefined ? {} : { rate }),
  }));
const policies = fc
  .record({
    default: fc.constantFrom('allow' as const, 'deny' as const),
    rules: fc.array(oneRule, { maxLength: 8 }),
  })
  .map(
    (given): OverlayPolicy => ({
      default: given.default,
      initiate: 'both',
      rules: given.rules.map((rule, index): PolicyRule => policyRule({ ...rule, name: `r${index}` })),
    }),
  );
const packets = fc.record<Packet>({
  saddr: address,
  daddr: address,
  sport: fc.oneof(port, fc.nat(65_535)),
  dport: fc.oneof(port, fc.nat(65_535)),
  vni: fc.constantFrom(100, 200),
  protocol: fc.constantFrom(1, 6, 17),
  direction: fc.constantFrom('in', 'out'),
  flags: fc.nat(31),
});

function agree(policy: OverlayPolicy, packet: Packet, compiled: CompiledRules): boolean {
  const wanted = judgeByHand(policy, packet);
  const got = judgeByMasks(compiled, packet);
  // The slow path has all the rules: handing a packet to it is never wrong.
  if (got.verdict === VERDICT.slow) return true;
  return got.verdict === VERDICT[wanted.verdict] && (wanted.verdict === 'deny' || got.rate === wanted.rate);
}

test('R3.7 masks and entries judge as the rules do, one after the other', (t) => {
  fc.assert(
    fc.property(policies, fc.array(packets, { minLength: 1, maxLength: 20 }), (policy, all) => {
      const compiled = compileRules(policy, networks);
      return all.every((packet) => agree(policy, packet, compiled));
    }),
    { numRuns: 800 },
  );
  t.pass();
});

test('R3.7 with room for a few masks and entries only, what does not fit is slow and never wrong', (t) => {
  fc.assert(
    fc.property(policies, fc.array(packets, { minLength: 1, maxLength: 20 }), (policy, all) => {
      const limits = { masks: 5, entries: 12, rates: 1 };
      const compiled = compileRules(policy, networks, limits);
      return (
        compiled.masks.length <= limits.masks &&
        compiled.entries.length <= limits.entries &&
        compiled.rates.size <= limits.rates &&
        all.every((packet) => agree(policy, packet, compiled))
      );
    }),
    { numRuns: 800 },
  );
  t.pass();
});

test('R3.7 rules without flags and within the room are not left to the slow path', (t) => {
  const policy: OverlayPolicy = {
    default: 'allow',
    initiate: 'both',
    rules: [
      policyRule({ name: 'telnet', ports: [{ first: 23, last: 23 }], protocol: 6, action: 'deny' }),
      policyRule({ name: 'cap', to: '10.200.1.2/32' as Prefix, rate: 100_000_000 }),
      policyRule({ name: 'same', to: '10.200.1.2/32' as Prefix, action: 'allow' }),
    ],
  };
  const compiled = compileRules(policy, networks);
  t.is(compiled.slow.size, 0);
  t.is(compiled.masks.length, 2);
  t.is(compiled.entries.length, 2);
  const packet = { saddr: base, daddr: base + 2, sport: 1, dport: 80, vni: 100, protocol: 6, flags: 0 };
  t.deepEqual(judgeByMasks(compiled, { ...packet, direction: 'in' }), { verdict: VERDICT.allow, rate: 'cap' });
  t.is(judgeByMasks(compiled, { ...packet, dport: 23, direction: 'in' }).verdict, VERDICT.allow);
  t.is(judgeByMasks(compiled, { ...packet, daddr: base, dport: 23, direction: 'out' }).verdict, VERDICT.deny);
});

test('R3.7 ten thousand rules of one form share a mask', (t) => {
  const rules = Array.from({ length: 10_000 }, (_, index) =>
    policyRule({
      name: `r${index}`,
      to: `${ipv4FromNumber(base + index)}/32` as Prefix,
      protocol: 6,
      ports: [{ first: 23, last: 23 }],
      action: 'deny',
    }),
  );
  const compiled = compileRules({ default: 'allow', initiate: 'both', rules }, networks);
  t.is(compiled.masks.length, 1);
  t.is(compiled.entries.length, 10_000);
});

test('a range of ports is covered exactly, by thirty prefixes at most', (t) => {
  fc.assert(
    fc.property(range, (wanted) => {
      const prefixes = portPrefixes(wanted);
      const covered = prefixes.reduce((sum, { mask }) => sum + (0x10000 - mask), 0);
      return (
        prefixes.length <= 30 &&
        covered === wanted.last - wanted.first + 1 &&
        prefixes.every(
          ({ value, mask }) =>
            (value & mask) === value && value >= wanted.first && value + (0xffff - mask) <= wanted.last,
        )
      );
    }),
  );
  t.pass();
});
