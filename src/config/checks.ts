import {
  type Address,
  addressBytes,
  type Prefix,
  parseAddress,
  parsePrefix,
  prefixAddress,
  prefixContains,
  prefixLength,
} from '../model/address.ts';
import { LARGEST_SWEEP } from '../model/hosts.ts';
import { portsOf, portsWithIndex } from './port-list.ts';
import type { Finding, Path } from './problem.ts';
import { milliseconds, parseArea } from './scalars.ts';
import type { BgpSettings, GatewaySettings, GroupSettings, OspfSettings, TorSettings } from './schema.ts';

/**
 * How the values fit together. Runs on whatever sections are right by themselves, so that one typing mistake doesn't
 * hide the rest: a section that isn't is undefined here, and so is a port-link group.
 */
export type Partly =
  | (Partial<Omit<TorSettings, 'portLink' | 'role'>> & {
      readonly role: 'tor';
      readonly portLink?: readonly (GroupSettings | undefined)[];
    })
  | (Partial<Omit<GatewaySettings, 'role'>> & { readonly role: 'gateway' });

export function check(settings: Partly): Finding[] {
  const findings: Finding[] = [];
  if (settings.role === 'tor') {
    if (settings.hostRoutes) findings.push(...checkHostRoutes(settings.hostRoutes, settings.bgp));
    findings.push(...checkKernelSource(settings));
    if (settings.portLink) findings.push(...checkPortLink(settings.portLink, settings));
    if (settings.shadow?.twin !== undefined && settings.shadow.twin === settings.routerId) {
      findings.push({
        path: ['shadow', 'twin'],
        message: `${settings.shadow.twin} is our own routerId`,
        remedy: "Write the other switch's router id.",
      });
    }
  }
  if (settings.ospf) findings.push(...checkOspf(settings.ospf));
  if (settings.bgp) findings.push(...checkBgp(settings.bgp));
  if (settings.kernel) findings.push(...checkKernel(settings.kernel));
  if (settings.control && Buffer.byteLength(settings.control.socket) > 107) {
    findings.push({
      path: ['control', 'socket'],
      message: 'the path is too long for a Unix socket',
      remedy: 'Choose one of at most 107 octets.',
    });
  }
  return findings;
}

// ------------------------------------------------------------------ hosts

function checkHostRoutes(settings: TorSettings['hostRoutes'], bgp: BgpSettings | undefined): Finding[] {
  const findings: Finding[] = [];
  const prefixes = settings.prefixes.map((text) => parsePrefix(text)!);
  for (const [index, prefix] of prefixes.entries()) {
    const other = prefixes.findIndex((candidate) => overlaps(candidate, prefix));
    if (other < index) {
      findings.push({
        path: ['hostRoutes', 'prefixes', index],
        message: `${prefix} overlaps ${prefixes[other]}`,
        remedy: 'Keep the wider of the two only.',
      });
    }
  }
  const ports = portsOf(settings.ports);
  const inside = (text: string, path: Path) => {
    const address = parseAddress(text)!;
    if (prefixes.some((prefix) => prefixContains(prefix, address))) return;
    findings.push({
      path,
      message: `${address} is outside hostRoutes.prefixes (${prefixes.join(', ')})`,
      remedy: 'Correct the address, or add its prefix to hostRoutes.prefixes.',
    });
  };
  const known = (port: string, path: Path) => {
    if (ports.includes(port)) return;
    findings.push({
      path,
      message: `${port} is not in hostRoutes.ports`,
      remedy: 'Correct the name, or add the port to hostRoutes.ports.',
    });
  };
  const seen = new Map<Address, string>();
  for (const [index, entry] of settings.sources.static.entries()) {
    const path = ['hostRoutes', 'sources', 'static', index];
    inside(entry.address, [...path, 'address']);
    known(entry.port, [...path, 'port']);
    findings.push(...twice(seen, parseAddress(entry.address)!, [...path, 'address']));
  }
  const bound = new Map<Address, string>();
  for (const [index, entry] of settings.bindings.entries()) {
    const path = ['hostRoutes', 'bindings', index];
    inside(entry.address, [...path, 'address']);
    for (const { port, index: item } of portsWithIndex(entry.ports ?? [])) {
      known(port, item === undefined ? [...path, 'ports'] : [...path, 'ports', item]);
    }
    if (entry.ports === undefined && entry.macs === undefined) {
      findings.push({ path, message: 'binds the address to nothing', remedy: 'Add ports or macs, or both.' });
    }
    findings.push(...twice(bound, parseAddress(entry.address)!, [...path, 'address']));
  }
  findings.push(...checkSweep(settings, prefixes));
  const { activeActive } = settings;
  if (typeof activeActive === 'object') {
    const path = ['hostRoutes', 'activeActive'];
    for (const { port, index } of portsWithIndex(activeActive.ports)) {
      known(port, index === undefined ? [...path, 'ports'] : [...path, 'ports', index]);
    }
    for (const [index, text] of activeActive.prefixes.entries()) {
      const prefix = parsePrefix(text)!;
      if (prefixes.some((outer) => overlaps(outer, prefix) && prefixLength(outer) <= prefixLength(prefix))) continue;
      findings.push({
        path: [...path, 'prefixes', index],
        message: `${prefix} is outside hostRoutes.prefixes (${prefixes.join(', ')})`,
        remedy: 'Write one of them, or a part of one.',
      });
    }
    if (portsOf(activeActive.ports).length + activeActive.prefixes.length === 0) {
      findings.push({ path, message: 'names no ports and no prefixes', remedy: 'Name some, or write true or false.' });
    }
  }
  if (settings.sources.bgp && !bgp) {
    findings.push({
      path: ['hostRoutes', 'sources', 'bgp'],
      message: 'servers announce themselves by BGP, but there is no bgp section',
      remedy: 'Add bgp with our asn (neighbors may be left out).',
    });
  }
  const interval = milliseconds(settings.probe.interval);
  if (interval > 0 && milliseconds(settings.probe.timeout) >= interval) {
    findings.push({
      path: ['hostRoutes', 'probe', 'timeout'],
      message: `${settings.probe.timeout} is not shorter than the interval ${settings.probe.interval}`,
      remedy: 'Shorten the timeout or lengthen the interval.',
    });
  }
  if (settings.limits.perPort > settings.limits.total) {
    findings.push({
      path: ['hostRoutes', 'limits', 'perPort'],
      message: `${settings.limits.perPort} is more than the total ${settings.limits.total}`,
      remedy: 'Lower perPort or raise total.',
    });
  }
  return findings;
}

function checkSweep({ sweep }: TorSettings['hostRoutes'], prefixes: readonly Prefix[]): Finding[] {
  const addresses = prefixes
    .filter((prefix) => !prefix.includes(':'))
    .reduce((sum, prefix) => sum + 2 ** (32 - prefixLength(prefix)), 0);
  if (!sweep.enabled || addresses <= LARGEST_SWEEP + 2 * prefixes.length) return [];
  return [
    {
      path: ['hostRoutes', 'sweep', 'enabled'],
      message: `${addresses} IPv4 addresses in hostRoutes.prefixes are too many to ask for (at most ${LARGEST_SWEEP})`,
      remedy:
        'Write false, or smaller prefixes; servers that are known but never speak can be listed in sources.static.',
    },
  ];
}

function overlaps(a: Prefix, b: Prefix): boolean {
  const wider = prefixLength(a) <= prefixLength(b) ? a : b;
  return prefixContains(wider, prefixAddress(wider === a ? b : a));
}

function twice<K>(seen: Map<K, string>, key: K, path: Path): Finding[] {
  if (!seen.has(key)) {
    seen.set(key, '');
    return [];
  }
  return [{ path, message: `${String(key)} is here twice`, remedy: 'Remove one of the two.' }];
}

// ------------------------------------------------------------------ port-link groups

function checkPortLink(
  groups: readonly (GroupSettings | undefined)[],
  settings: Extract<Partly, { role: 'tor' }>,
): Finding[] {
  const findings: Finding[] = [];
  const names = new Map<string, string>();
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
    names.set(group.name, group.name);
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

function checkGroup(
  group: GroupSettings,
  at: (key: string, item?: number) => Path,
  settings: Extract<Partly, { role: 'tor' }>,
): Finding[] {
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

// ------------------------------------------------------------------ OSPF, BGP, kernel

function checkOspf(settings: OspfSettings): Finding[] {
  const findings: Finding[] = [];
  const names = new Map<string, string>();
  for (const [index, entry] of settings.interfaces.entries()) {
    const path = ['ospf', 'interfaces', index];
    findings.push(...twice(names, entry.name, [...path, 'name']));
    if (milliseconds(entry.dead) <= milliseconds(entry.hello)) {
      findings.push({
        path: [...path, 'dead'],
        message: `${entry.dead} is not longer than hello (${entry.hello})`,
        remedy: 'Write four times the hello interval, the same as the neighbour has.',
      });
    }
    if (settings.announce.as === 'nssa' && parseArea(entry.area) === '0.0.0.0') {
      findings.push({
        path: [...path, 'area'],
        message: "the backbone can't be an NSSA, but ospf.announce.as is nssa",
        remedy: 'Choose another area, or announce as external.',
      });
    }
  }
  return findings;
}

function checkBgp(settings: BgpSettings): Finding[] {
  const findings: Finding[] = [];
  const seen = new Map<Address, string>();
  for (const [index, entry] of settings.neighbors.entries()) {
    const path = ['bgp', 'neighbors', index];
    const address = parseAddress(entry.address)!;
    findings.push(...twice(seen, address, [...path, 'address']));
    const hold = milliseconds(entry.timers.hold);
    if (hold !== 0 && hold < 3_000) {
      findings.push({
        path: [...path, 'timers', 'hold'],
        message: `${entry.timers.hold} is too short`,
        remedy: 'Write 3s or more, or 0s for none (RFC 4271 §4.2); for a quicker detection switch bfd on.',
      });
    }
    if (hold !== 0 && milliseconds(entry.timers.keepalive) >= hold) {
      findings.push({
        path: [...path, 'timers', 'keepalive'],
        message: `${entry.timers.keepalive} is not shorter than hold (${entry.timers.hold})`,
        remedy: 'Write a third of hold.',
      });
    }
    const local = entry.localAddress === undefined ? undefined : parseAddress(entry.localAddress)!;
    if (local && addressBytes(local).length !== addressBytes(address).length) {
      findings.push({
        path: [...path, 'localAddress'],
        message: `${local} is of another family than ${address}`,
        remedy: 'Write one of the same family.',
      });
    }
    if (local === address) {
      findings.push({
        path: [...path, 'localAddress'],
        message: `${local} is the neighbour's own address`,
        remedy: 'Write an address of this switch.',
      });
    }
    if (entry.ttlSecurity && entry.multihop) {
      findings.push({
        path: [...path, 'ttlSecurity'],
        message: 'ttlSecurity takes direct neighbours only, and this one is multihop',
        remedy: 'Remove one of the two.',
      });
    }
  }
  return findings;
}

/** A table that we write ourselves would tell us our own hosts back, for ever. */
function checkKernelSource({ hostRoutes, kernel }: Extract<Partly, { role: 'tor' }>): Finding[] {
  const source = hostRoutes?.sources.kernel;
  if (!source || !kernel) return [];
  const { table } = source;
  const path = ['hostRoutes', 'sources', 'kernel', 'table'];
  if (table === 255) {
    return [{ path, message: "255 is the kernel's own local table", remedy: 'Choose another table.' }];
  }
  const own = (['table', 'handoffTable'] as const).find((key) => kernel[key] === table);
  if (!own) return [];
  return [
    {
      path,
      message: `${table} is kernel.${own} too`,
      remedy: 'Have the other program write into a table of its own: into ours we write ourselves.',
    },
  ];
}

function checkKernel(settings: TorSettings['kernel']): Finding[] {
  const findings: Finding[] = [];
  for (const key of ['table', 'handoffTable'] as const) {
    if (settings[key] === 255) {
      findings.push({
        path: ['kernel', key],
        message: "255 is the kernel's own local table",
        remedy: 'Choose another (254 is main).',
      });
    }
  }
  if (settings.handoffTable === 254 && settings.table !== 254) {
    findings.push({
      path: ['kernel', 'handoffTable'],
      message: '254 is the main table, by which the box forwards',
      remedy: 'Choose a table that nobody else uses, such as 100.',
    });
  }
  if (settings.handoffTable === settings.table) {
    findings.push({
      path: ['kernel', 'handoffTable'],
      message: `${settings.handoffTable} is kernel.table too`,
      remedy: 'Choose another table, or null when the other daemon reads kernel.table itself.',
    });
  }
  return findings;
}
