/** The renderer: what comes out for what goes in, and that it says the same as the order of the rules. */
import { readFileSync, writeFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { type Address, prefixContains } from '../../../src/model/address.ts';
import { bySpecificity, type PolicyRule, type PortRange, type TcpFlag } from '../../../src/model/overlay.ts';
import {
  differenceText,
  renderRuleset,
  stampOf,
  wholeText,
} from '../../../src/vswitch-bridge/slowpath/policy/ruleset/index.ts';
import { disjointRanges, isUsableInterface } from '../../../src/vswitch-bridge/slowpath/policy/ruleset/literals.ts';
import { groupRules, type RuleGroup } from '../../../src/vswitch-bridge/slowpath/policy/ruleset/rule-groups.ts';
import { zonesOf } from '../../../src/vswitch-bridge/slowpath/policy/ruleset/zones.ts';
import { instance, network, prefix, rule, service, state } from './support/state.ts';

const GOLDEN = new URL('./support/small.nft', import.meta.url);
const BLUE = network('blue', 100, '10.200.0.0/16', '10.200.0.1');
const SMALL = {
  networks: [BLUE],
  instances: [instance('c1', 'blue', '10.200.1.2')],
  policy: {
    rules: [
      rule({ name: 'no-telnet', direction: 'in', to: '10.200.1.2', protocol: 'tcp', ports: [23], action: 'deny' }),
      rule({ name: 'cap', direction: 'in', to: '10.200.1.2', rate: 100_000_000 }),
    ],
  },
  services: [service('web', 'blue', '10.200.255.10:80', ['10.200.1.2:8080', '10.200.2.2:8080'])],
  snat: [['blue', '0.0.0.0/0', '10.20.1.1']] as [string, string, string][],
};

test('R1.2: the ruleset of a small overlay, line by line', (t) => {
  const text = wholeText(renderRuleset(state(SMALL)));
  // After a change that is meant: GOLDEN=write, and read the difference.
  if (process.env.GOLDEN === 'write') writeFileSync(GOLDEN, text);
  t.is(text, readFileSync(GOLDEN, 'utf8'));
});

test("R1.2: what instances of another's network send to tunnels as this host is dropped, and no rule for others appears without them", (t) => {
  const host = '10.20.1.2' as Address;
  const theirs = {
    ...network('flannel.1', 1, '10.244.0.0/16'),
    origin: 'kernel' as const,
    port: 8472,
    devices: { bridge: 'cni0', tunnel: 'flannel.1' },
  };
  const remote = { host, network: 'flannel.1', addresses: [], origin: 'kernel' as const };
  const { chains, sets } = renderRuleset(state({ networks: [theirs], remotes: [remote] })).tables[1]!;
  t.deepEqual([...sets.get('bridges_of_others')!.elements.keys()], ['"cni0"']);
  t.deepEqual([...sets.get('other_hosts')!.elements.keys()], [host]);
  const leave = chains.get('leave')!.rules;
  const dropped = 'iifname @bridges_of_others ip daddr @other_hosts udp dport { 4789, 6081, 8472 }';
  const at = leave.findIndex((line) => line.startsWith(dropped) && line.endsWith('drop'));
  t.true(at >= 0 && at < leave.indexOf('iifname != @need_source accept'), leave.join('\n'));
  t.true(
    chains
      .get('strangers')!
      .rules.some((line) =>
        line.startsWith('udp dport { 8472 } @th,96,24 @networks_of_others iifname @bridges_of_others'),
      ),
  );
  const { device } = state({}).underlay;
  const onUnderlay = { ...theirs, devices: { bridge: device, tunnel: 'flannel.1' } };
  const beside = renderRuleset(state({ networks: [onUnderlay], remotes: [remote] })).tables[1]!;
  t.false(beside.sets.has('bridges_of_others'), 'by that device come the tunnels of other hosts');
  const ours = renderRuleset(state(SMALL)).tables[1]!;
  t.false(ours.sets.has('bridges_of_others') || ours.sets.has('networks_of_others'));
});

test('R3.8: one rule more is one element more; the same state is no load at all', (t) => {
  const before = renderRuleset(state(SMALL));
  t.is(differenceText(before, renderRuleset(state(SMALL))), '');
  const more = rule({
    name: 'no-ftp',
    direction: 'in',
    to: '10.200.1.2',
    protocol: 'tcp',
    ports: [21],
    action: 'deny',
  });
  const after = renderRuleset(state({ ...SMALL, policy: { rules: [...SMALL.policy.rules, more] } }));
  const lines = differenceText(before, after)!.trim().split('\n');
  t.is(lines.length, 3);
  t.regex(
    lines[0]!,
    /^add element inet peerless acl_in_ip4_0to32_p_d1_deny \{ 10\.200\.1\.2 \. 6 \. 21 comment "rule_[0-9a-f]{12}" : drop \}$/,
  );
  t.not(stampOf(before), stampOf(after));
});

test('R1.2: ten thousand rules of some shapes are some look-ups', (t) => {
  const rules = Array.from({ length: 10_000 }, (_, index) =>
    rule({
      name: `r${index}`,
      from: `10.${index >> 8}.${index & 255}.0/24`,
      to: index % 2 ? '10.200.1.2' : 'any',
      protocol: index % 3 ? 'tcp' : 'udp',
      ports: index % 5 ? [index % 60_000] : [],
      action: index % 7 ? 'deny' : 'allow',
    }),
  );
  const { chains, sets } = renderRuleset(state({ ...SMALL, policy: { rules } })).tables[1]!;
  t.true(chains.get('in_any')!.rules.length <= 8, `${chains.get('in_any')!.rules.length}`);
  const elements = [...sets.values()]
    .filter(({ name }) => name.startsWith('acl_'))
    .reduce((sum, { elements: all }) => sum + all.size, 0);
  t.is(elements, 10_000);
});

test('no name of the configuration stands in the ruleset', (t) => {
  const evil = '"; } } flush ruleset; table inet x { chain y { # \n';
  const text = wholeText(
    renderRuleset(
      state({
        networks: [{ ...BLUE, name: evil }],
        instances: [
          { ...instance(evil, evil, '10.200.1.2'), interface: 'a"; drop' },
          instance('ok', evil, '10.200.1.3', 'veth-*'),
        ],
        policy: {
          default: 'deny',
          initiate: 'inside',
          rules: [rule({ name: evil, network: evil, action: 'deny' }), rule({ name: evil, network: evil, rate: 1000 })],
        },
        services: [{ ...service('s', evil, '10.200.255.10:80', ['10.200.1.2:80']), name: evil }],
        snat: [[evil, '0.0.0.0/0', '10.20.1.1']],
      }),
    ),
  );
  t.notRegex(text, /flush|veth-|a"; drop|#/);
  t.throws(
    () =>
      wholeText(
        renderRuleset(
          state({ ...SMALL, snat: [], instances: [{ ...SMALL.instances[0]!, address: '1.2.3.4 }' as Address }] }),
        ),
      ),
    { instanceOf: TypeError },
  );
  for (const name of ['veth-c1', 'tap0.100', 'eth0@if5', 'x'.repeat(15)]) t.true(isUsableInterface(name), name);
  for (const name of ['', 'x'.repeat(16), 'a b', 'a"', 'a*', 'a\\', 'a;', 'ä', 'a\n'])
    t.false(isUsableInterface(name), name);
});

test('R1.1: networks that overlap have zones of their own, and keep them when others come', (t) => {
  const red = network('red', 300, '10.200.0.0/16', '10.200.0.1');
  const green = network('green', 200, '10.201.0.0/16', '10.201.0.1');
  const inner = network('inner', 301, '10.200.7.0/24');
  const zones = zonesOf(state({ networks: [BLUE, red, green] }));
  t.is(zones.get('green'), 1);
  t.true(zones.get('blue')! > 1 && zones.get('red')! > 1 && zones.get('blue') !== zones.get('red'));
  const more = zonesOf(state({ networks: [inner, green, red, BLUE] }));
  for (const name of ['blue', 'red', 'green']) t.is(more.get(name), zones.get(name), name);
  t.false([...zones.values()].includes(more.get('inner')!));
});

const anyAddress = fc
  .tuple(fc.constantFrom(10, 11), fc.constantFrom(0, 1, 255), fc.nat(3), fc.nat(3))
  .map((octets) => octets.join('.') as Address);
const anyPrefix = fc.tuple(anyAddress, fc.constantFrom(0, 8, 16, 24, 30, 31, 32)).map(([at, length]) => {
  const number = at.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
  const masked = length === 0 ? 0 : (number & (-1 << (32 - length))) >>> 0;
  return prefix(`${[24, 16, 8, 0].map((shift) => (masked >>> shift) & 255).join('.')}/${length}`);
});

test('R1.2: each destination has the source of its longest prefix', (t) => {
  fc.assert(
    fc.property(
      fc.array(anyPrefix, { minLength: 1, maxLength: 12 }),
      fc.array(anyAddress, { maxLength: 20 }),
      (prefixes, addresses) => {
        const ranges = disjointRanges(prefixes.map((each, value) => ({ prefix: each, value })));
        const number = (text: string) => text.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
        let last = -1;
        for (const { range } of ranges) {
          const [from, to] = range.split('-');
          t.true(number(from!) > last);
          last = number(to ?? from!);
          t.true(last >= number(from!));
        }
        for (const at of addresses) {
          const holding = prefixes
            .map((each, index) => ({ each, index }))
            .filter(({ each }) => prefixContains(each, at));
          holding.sort((a, b) => Number(b.each.split('/')[1]) - Number(a.each.split('/')[1]) || a.index - b.index);
          const found = ranges.find(({ range }) => {
            const [from, to] = range.split('-');
            return number(at) >= number(from!) && number(at) <= number(to ?? from!);
          });
          t.is(found?.value, holding[0]?.index);
        }
      },
    ),
    { numRuns: 200 },
  );
});

interface Packet {
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: number;
  readonly sourcePort: number;
  readonly port: number;
  readonly flags: readonly TcpFlag[];
}

const FLAGS: readonly TcpFlag[] = ['syn', 'ack', 'fin'];
const anyPort = fc.constantFrom(0, 1, 22, 80, 81, 1000, 1010, 1015, 1500, 65_535);
const anyRange: fc.Arbitrary<PortRange> = fc
  .tuple(anyPort, anyPort)
  .map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }));
const anyRule: fc.Arbitrary<PolicyRule> = fc.record(
  {
    name: fc.string(),
    direction: fc.constantFrom('in', 'out', 'both'),
    from: fc.oneof(fc.constant('any' as const), anyPrefix),
    to: fc.oneof(fc.constant('any' as const), anyPrefix),
    protocol: fc.constantFrom('any', 1, 6, 17),
    ports: fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, fc.array(anyRange, { maxLength: 3 })),
    sourcePorts: fc.oneof({ weight: 4, arbitrary: fc.constant([]) }, fc.array(anyRange, { maxLength: 2 })),
    tcpFlags: fc.record({
      set: fc.subarray(FLAGS as TcpFlag[]),
      of: fc.subarray(FLAGS as TcpFlag[], { minLength: 1 }),
    }),
    action: fc.constantFrom('allow', 'deny'),
  },
  { requiredKeys: ['name', 'direction', 'from', 'to', 'protocol', 'ports', 'sourcePorts', 'action'] },
) as fc.Arbitrary<PolicyRule>;
const anyPacket: fc.Arbitrary<Packet> = fc.record({
  source: anyAddress,
  destination: anyAddress,
  protocol: fc.constantFrom(1, 6, 17),
  sourcePort: anyPort,
  port: anyPort,
  flags: fc.subarray(FLAGS as TcpFlag[]),
});

const hasPorts = ({ protocol }: Packet): boolean => protocol !== 1;
const inRanges = (ranges: readonly PortRange[], packet: Packet, port: number): boolean =>
  ranges.length === 0 || (hasPorts(packet) && ranges.some(({ first, last }) => port >= first && port <= last));
const flagsMatch = (flags: PolicyRule['tcpFlags'], packet: Packet): boolean =>
  !flags ||
  (packet.protocol === 6 && flags.of.every((flag) => packet.flags.includes(flag) === flags.set.includes(flag)));

/** As the contract says it. */
const matches = (each: PolicyRule, packet: Packet, side: 'in' | 'out'): boolean =>
  (each.direction === 'both' || each.direction === side) &&
  (each.from === 'any' || prefixContains(each.from, packet.source)) &&
  (each.to === 'any' || prefixContains(each.to, packet.destination)) &&
  (each.protocol === 'any' || each.protocol === packet.protocol) &&
  inRanges(each.ports, packet, packet.port) &&
  inRanges(each.sourcePorts, packet, packet.sourcePort) &&
  flagsMatch(each.tcpFlags, packet);

/** As nft would: the key of the packet, looked up among the elements. */
function asked(group: RuleGroup, packet: Packet): PolicyRule['action'] | undefined {
  const { shape } = group;
  if (!flagsMatch(shape.flags, packet)) return undefined;
  if ((shape.ports !== 'any' || shape.sourcePorts !== 'any') && !hasPorts(packet)) return undefined;
  const masked = (at: Address, length: number): string => {
    const number = at.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
    const value = (number & (-1 << (32 - length))) >>> 0;
    return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');
  };
  const head: string[] = [];
  if (shape.from > 0) head.push(masked(packet.source, shape.from));
  if (shape.to > 0) head.push(masked(packet.destination, shape.to));
  if (shape.protocol) head.push(String(packet.protocol));
  const numbers: number[] = [];
  if (shape.ports !== 'any') numbers.push(packet.port);
  if (shape.sourcePorts !== 'any') numbers.push(packet.sourcePort);
  if (head.length + numbers.length === 0) return group.first.action;
  for (const [key, { action }] of group.elements) {
    const parts = key.split(' . ');
    const same = head.every((part, index) => parts[index] === part);
    const within = numbers.every((number, index) => {
      const [first, last] = parts[head.length + index]!.split('-').map(Number);
      return number >= first! && number <= (last ?? first!);
    });
    if (same && within) return action;
  }
  return undefined;
}

test('R3.7: look-ups by shape give the verdict of the rules one by one, most specific first', (t) => {
  fc.assert(
    fc.property(
      fc.array(anyRule, { maxLength: 14 }),
      fc.array(anyPacket, { minLength: 1, maxLength: 30 }),
      (rules, packets) => {
        const groups = groupRules(rules, 'acl');
        const ordered = bySpecificity(rules);
        for (const packet of packets) {
          for (const side of ['in', 'out'] as const) {
            const expected = ordered.find((each) => matches(each, packet, side))?.action;
            const found = groups
              .filter(({ sides }) => sides.includes(side))
              .map((group) => asked(group, packet))
              .find((action) => action !== undefined);
            t.is(found, expected);
          }
        }
      },
    ),
    { numRuns: 400 },
  );
});

test('R1.2: flags that are not looked at are not asked for', (t) => {
  const rules = [rule({ name: 'f', tcpFlags: { set: ['syn', 'psh'], of: ['syn', 'ack'] }, action: 'deny' })];
  const text = wholeText(renderRuleset(state({ ...SMALL, policy: { rules } })));
  t.regex(text, /tcp flags & \(syn \| ack\) == syn counter/);
});

test('no interval set holds two elements that overlap', (t) => {
  fc.assert(
    fc.property(fc.array(anyRule, { maxLength: 20 }), (rules) => {
      for (const { shape, elements } of groupRules(rules, 'acl')) {
        if (shape.ports !== 'ranges' && shape.sourcePorts !== 'ranges') continue;
        const boxes = [...elements.keys()].map((key) =>
          key.split(' . ').map((part) => (/^\d+(-\d+)?$/.test(part) ? part.split('-').map(Number) : part)),
        );
        const meet = (a: unknown, b: unknown): boolean => {
          if (!Array.isArray(a) || !Array.isArray(b)) return a === b;
          return a[0] <= (b[1] ?? b[0]) && b[0] <= (a[1] ?? a[0]);
        };
        for (const [index, one] of boxes.entries()) {
          for (const other of boxes.slice(index + 1)) t.false(one.every((part, at) => meet(part, other[at])));
        }
      }
    }),
    { numRuns: 200 },
  );
});
