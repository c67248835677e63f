import {
  type Address,
  type Prefix,
  parseAddress,
  parsePrefix,
  prefixAddress,
  prefixContains,
  prefixLength,
} from '../../model/address.ts';
import { LARGEST_SWEEP } from '../../model/hosts.ts';
import { portsOf, portsWithIndex } from '../port-list.ts';
import type { Finding, Path } from '../problem.ts';
import { milliseconds } from '../scalars.ts';
import type { BgpSettings, TorSettings } from '../schema.ts';
import { nobodyAt, nobodyIn } from './nobody.ts';
import { twice } from './twice.ts';

type HostSettings = TorSettings['hostRoutes'];

export function checkHostRoutes(settings: HostSettings, bgp: BgpSettings | undefined): Finding[] {
  const prefixes = settings.prefixes.map((text) => parsePrefix(text)!);
  return [
    ...checkPrefixes(prefixes),
    ...checkHosts(settings, prefixes),
    ...checkSweep(settings, prefixes),
    ...checkActiveActive(settings, prefixes),
    ...checkServers(settings, bgp),
    ...checkProbe(settings),
    ...checkLimits(settings),
  ];
}

function checkPrefixes(prefixes: readonly Prefix[]): Finding[] {
  const findings: Finding[] = [];
  for (const [index, prefix] of prefixes.entries()) {
    const what = nobodyIn(prefix);
    if (what !== undefined) {
      findings.push({
        path: ['hostRoutes', 'prefixes', index],
        message: `${prefix} is ${what}: no host has such an address`,
        remedy: "Write the servers' prefix, such as 10.10.10.0/24.",
      });
    }
    const other = prefixes.findIndex((candidate) => overlaps(candidate, prefix));
    if (other < index) {
      findings.push({
        path: ['hostRoutes', 'prefixes', index],
        message: `${prefix} overlaps ${prefixes[other]}`,
        remedy: 'Keep the wider of the two only.',
      });
    }
  }
  return findings;
}

/** Single hosts and what is bound to them. */
function checkHosts({ ports, sources, bindings }: HostSettings, prefixes: readonly Prefix[]): Finding[] {
  const findings: Finding[] = [];
  const inside = (text: string, path: Path) => {
    const address = parseAddress(text)!;
    const prefix = prefixes.find((candidate) => prefixContains(candidate, address));
    if (prefix !== undefined) {
      const what = nobodyAt(address, prefix);
      if (what !== undefined) {
        findings.push({
          path,
          message: `${address} is ${what}, and no host's`,
          remedy: 'Correct the address.',
        });
      }
      return;
    }
    findings.push({
      path,
      message: `${address} is outside hostRoutes.prefixes (${prefixes.join(', ')})`,
      remedy: 'Correct the address, or add its prefix to hostRoutes.prefixes.',
    });
  };
  const hostPorts = portsOf(ports);
  const seen = new Set<Address>();
  for (const [index, entry] of sources.static.entries()) {
    const path = ['hostRoutes', 'sources', 'static', index];
    inside(entry.address, [...path, 'address']);
    findings.push(...unknown(hostPorts, entry.port, [...path, 'port']));
    findings.push(...twice(seen, parseAddress(entry.address)!, [...path, 'address']));
  }
  const bound = new Set<Address>();
  for (const [index, entry] of bindings.entries()) {
    const path = ['hostRoutes', 'bindings', index];
    inside(entry.address, [...path, 'address']);
    for (const { port, index: item } of portsWithIndex(entry.ports ?? [])) {
      findings.push(...unknown(hostPorts, port, item === undefined ? [...path, 'ports'] : [...path, 'ports', item]));
    }
    if (entry.ports === undefined && entry.macs === undefined) {
      findings.push({ path, message: 'binds the address to nothing', remedy: 'Add ports or macs, or both.' });
    }
    findings.push(...twice(bound, parseAddress(entry.address)!, [...path, 'address']));
  }
  return findings;
}

function checkSweep({ sweep }: HostSettings, prefixes: readonly Prefix[]): Finding[] {
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

function checkActiveActive({ ports, activeActive }: HostSettings, prefixes: readonly Prefix[]): Finding[] {
  if (typeof activeActive !== 'object') return [];
  const findings: Finding[] = [];
  const path = ['hostRoutes', 'activeActive'];
  const hostPorts = portsOf(ports);
  for (const { port, index } of portsWithIndex(activeActive.ports)) {
    findings.push(...unknown(hostPorts, port, index === undefined ? [...path, 'ports'] : [...path, 'ports', index]));
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
  return findings;
}

function checkServers({ sources }: HostSettings, bgp: BgpSettings | undefined): Finding[] {
  if (!sources.bgp || bgp) return [];
  return [
    {
      path: ['hostRoutes', 'sources', 'bgp'],
      message: 'servers announce themselves by BGP, but there is no bgp section',
      remedy: 'Add bgp with our asn (neighbors may be left out).',
    },
  ];
}

function checkProbe({ probe }: HostSettings): Finding[] {
  const interval = milliseconds(probe.interval);
  if (interval === 0 || milliseconds(probe.timeout) < interval) return [];
  return [
    {
      path: ['hostRoutes', 'probe', 'timeout'],
      message: `${probe.timeout} is not shorter than the interval ${probe.interval}`,
      remedy: 'Shorten the timeout or lengthen the interval.',
    },
  ];
}

function checkLimits({ limits }: HostSettings): Finding[] {
  if (limits.perPort <= limits.total) return [];
  return [
    {
      path: ['hostRoutes', 'limits', 'perPort'],
      message: `${limits.perPort} is more than the total ${limits.total}`,
      remedy: 'Lower perPort or raise total.',
    },
  ];
}

function unknown(hostPorts: readonly string[], port: string, path: Path): Finding[] {
  if (hostPorts.includes(port)) return [];
  return [
    {
      path,
      message: `${port} is not in hostRoutes.ports`,
      remedy: 'Correct the name, or add the port to hostRoutes.ports.',
    },
  ];
}

function overlaps(a: Prefix, b: Prefix): boolean {
  const wider = prefixLength(a) <= prefixLength(b) ? a : b;
  return prefixContains(wider, prefixAddress(wider === a ? b : a));
}
