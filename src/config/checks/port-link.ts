import { portsOf, portsWithIndex } from '../port-list.ts';
import type { Finding, Path } from '../problem.ts';
import type { BgpSettings, GroupSettings, OspfSettings } from '../schema.ts';
import type { PartlyTor } from './partly.ts';

export function checkPortLink(groups: readonly (GroupSettings | undefined)[], settings: PartlyTor): Finding[] {
  const findings: Finding[] = [];
  const names = new Set<string>();
  const uplinkOf = new Map<string, string>();
  const downlinkOf = new Map<string, string>();
  for (const group of groups) for (const port of portsOf(group?.uplinks ?? [])) uplinkOf.set(port, group!.name);
  const serverPorts = new Set(portsOf(settings.hostRoutes?.ports ?? []));
  for (const [index, group] of groups.entries()) {
    if (!group) continue;
    const at = (key: string, item?: number): Path =>
      item === undefined ? ['portLink', index, key] : ['portLink', index, key, item];
    if (names.has(group.name)) {
      findings.push({
        path: at('name'),
        message: `a second group has the name ${group.name}`,
        remedy: 'Choose another name.',
      });
    }
    names.add(group.name);
    for (const { port, index: item } of portsWithIndex(group.uplinks)) {
      if (serverPorts.has(port)) {
        findings.push({
          path: at('uplinks', item),
          message: `the uplink ${port} is in hostRoutes.ports too`,
          remedy: 'A port leads to servers or to the fabric: take it out of one of the two.',
        });
      }
    }
    for (const { port, index: item } of portsWithIndex(group.downlinks)) {
      const asUplink = uplinkOf.get(port);
      if (asUplink !== undefined) {
        findings.push({
          path: at('downlinks', item),
          message: `${port} is an uplink of ${asUplink === group.name ? 'this group' : `group ${asUplink}`} too`,
          remedy: 'Take it out of one of the two.',
        });
      }
      const other = downlinkOf.get(port);
      if (other !== undefined && other !== group.name) {
        findings.push({
          path: at('downlinks', item),
          message: `${port} is a downlink of group ${other} already`,
          remedy: 'A downlink obeys one group: take it out of one of the two.',
        });
      }
      downlinkOf.set(port, group.name);
    }
    findings.push(...checkGroup(group, at, settings));
  }
  return findings;
}

function checkGroup(group: GroupSettings, at: (key: string, item?: number) => Path, settings: PartlyTor): Finding[] {
  const findings: Finding[] = [];
  const uplinks = portsOf(group.uplinks);
  const downlinks = portsOf(group.downlinks);
  for (const { port, index } of portsWithIndex(group.priority)) {
    if (!downlinks.includes(port)) {
      findings.push({
        path: at('priority', index),
        message: `${port} is not a downlink of this group`,
        remedy: 'Correct the name, or add the port to downlinks.',
      });
    }
  }
  if (group.minUplinks > uplinks.length) {
    findings.push({
      path: at('minUplinks'),
      message: `${group.minUplinks} is more than the group's ${uplinks.length} uplink${uplinks.length === 1 ? '' : 's'}`,
      remedy: 'Lower minUplinks or add uplinks; as it is the downlinks could never open.',
    });
  }
  if (typeof group.shut === 'number' && group.shut > downlinks.length) {
    findings.push({
      path: at('shut'),
      message: `${group.shut} is more than the group's ${downlinks.length} downlink${downlinks.length === 1 ? '' : 's'}`,
      remedy: 'Lower it, or write all.',
    });
  }
  if (group.shutUplinks && group.direction === 'uplink') {
    findings.push({
      path: at('shutUplinks'),
      message: 'shuts uplinks when downlinks are lost, but the direction is uplink',
      remedy: 'Write direction: downlink or both, or remove it.',
    });
  }
  if (group.nexthops.length > 0 && !group.upWhen.includes('nexthop')) {
    findings.push({
      path: at('nexthops'),
      message: 'names next hops, but upWhen does not list nexthop',
      remedy: 'Add nexthop to upWhen, or remove it: nobody would ask them.',
    });
  }
  for (const [index, condition] of group.upWhen.entries()) {
    if (group.upWhen.indexOf(condition) < index) {
      findings.push({
        path: at('upWhen', index),
        message: `${condition} is here twice`,
        remedy: 'Remove one of the two.',
      });
    }
    // An absent section may also be one with a mistake in it: say nothing before it is right.
    if (condition === 'adjacency' && settings.routerId && !settings.ospf && !settings.bgp) {
      findings.push({
        path: at('upWhen', index),
        message: 'adjacency asks for a routing neighbour, but there is neither ospf nor bgp',
        remedy: 'Add one of them, or take adjacency out: the group would be shut for ever.',
      });
    }
    if (condition === 'bfd' && !usesBfd(settings)) {
      findings.push({
        path: at('upWhen', index),
        message: 'bfd is asked for, but no OSPF interface and no BGP neighbour has bfd: true',
        remedy: 'Set bfd: true where the session is, or take bfd out: the group would be shut for ever.',
      });
    }
  }
  return findings;
}

const usesBfd = (settings: { ospf?: OspfSettings | undefined; bgp?: BgpSettings | undefined }): boolean =>
  (settings.ospf?.interfaces.some((entry) => entry.bfd) ?? false) ||
  (settings.bgp?.neighbors.some((entry) => entry.bfd) ?? false);
