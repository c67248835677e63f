import type { HostStatusView, PartView, RuleView } from '../agent/host-api.ts';
import { since } from './format.ts';
import { type Column, pairs, table } from './table.ts';

/** The host role as a page of text. */
export function hostStatusText(host: HostStatusView, width?: number): string {
  const { underlay, instances, policy } = host;
  const head = pairs(
    [
      [
        'underlay',
        `${underlay.address} on ${underlay.device}, ${underlay.state}${underlay.mtu === undefined ? '' : `, MTU ${underlay.mtu}`}`,
      ],
      ['networks', host.networks],
      ['instances', `${instances.total}, ${instances.up} up`],
      ['remote hosts', host.remotes],
      ['services', host.services],
      [
        'policy',
        `${policy.default} by default, ${host.rules} rules, connections from ${policy.initiate === 'both' ? 'both sides' : 'inside'}`,
      ],
      ['fast path', host.fastPath],
      ['encryption', host.encryption],
    ],
    width,
  );
  const parts = table(
    [
      { header: 'FOLLOWS', value: (part) => part.name },
      { header: 'STATE', value: (part) => part.state },
      { header: 'SINCE', value: (part) => (part.since === undefined ? undefined : since(part.since)) },
      { header: 'WHY', value: partReason },
    ],
    host.parts,
    width,
  );
  return `${head}\n\n${parts}`;
}

function partReason({ reason, detail }: PartView): string {
  const details = Object.entries(detail ?? {}).map(([key, value]) => `${key} ${value}`);
  return details.length === 0 ? reason : `${reason}; ${details.join(', ')}`;
}

/** What a rule looks at, in the words of its keys. */
export function ruleMatch({ direction, from, to, protocol, ports, sourcePorts, tcpFlags, network }: RuleView): string {
  return [
    ...(direction === 'both' ? [] : [direction]),
    ...(network === undefined ? [] : [`in ${network}`]),
    ...(from === 'any' ? [] : [`from ${from}`]),
    ...(to === 'any' ? [] : [`to ${to}`]),
    ...(protocol === 'any' ? [] : [protocol]),
    ...(ports.length === 0 ? [] : [ports.join(',')]),
    ...(sourcePorts.length === 0 ? [] : [`source ports ${sourcePorts.join(',')}`]),
    ...(tcpFlags === undefined ? [] : [`flags ${tcpFlags.set.join(',') || 'none'} of ${tcpFlags.of.join(',')}`]),
  ].join(' ');
}

export function ruleDoes({ action, rate }: RuleView): string {
  return [...(action === undefined ? [] : [action]), ...(rate === undefined ? [] : [`at most ${rate}`])].join(', ');
}

export const RULE_COLUMNS: readonly Column<RuleView>[] = [
  { header: 'NAME', value: (rule) => rule.name },
  { header: 'MATCHES', value: (rule) => ruleMatch(rule) || 'everything' },
  { header: 'DOES', value: ruleDoes },
  { header: 'STOPPED', value: (rule) => rule.packets, align: 'right' },
];
