import { type Host, SOURCES } from './host.ts';
import type { HostView, Memory, RememberedHost, Source, SourceView } from './types.ts';

export function viewOf(host: Host, rivals: HostView['rivals']): HostView {
  if (host.state === 'shadow') return shadowView(host, rivals);
  return {
    address: host.address,
    mac: host.mac,
    port: host.port,
    interface: host.interface,
    ifindex: host.ifindex,
    ...(!host.vlan ? {} : { vlan: host.vlan }),
    state: host.claimedTwice && host.live ? 'duplicate' : host.state,
    level: host.level,
    source: SOURCES[host.rank()] ?? 'arp',
    sources: SOURCES.map((source, rank) => sourceView(host, source, rank)).filter(({ heardAt }) => heardAt >= 0),
    since: host.since,
    heardAt: host.heardAt,
    reason: host.claimedTwice ? `alive on ${host.port}, and another switch claims it` : host.reason,
    rivals,
  };
}

function shadowView(host: Host, rivals: HostView['rivals']): HostView {
  const { address, mac, state, level, since, reason } = host;
  const nowhere = { port: '', interface: '', ifindex: 0 };
  return {
    address,
    mac,
    ...nowhere,
    state,
    level,
    source: 'fabric',
    sources: [],
    since,
    heardAt: since,
    reason,
    rivals,
  };
}

function sourceView(host: Host, source: Source, rank: number): SourceView {
  const how = host.evidence[rank];
  return { source, rank: rank + 1, heardAt: host.heardBy[rank]!, ...(how === undefined ? {} : { how }) };
}

export function memoryOf({ address, mac, port, interface: name, ifindex, returns }: Host): Memory {
  return { address, mac, port, interface: name, ifindex, returns };
}

export function rememberedOf(host: Host): RememberedHost {
  return { ...host.makeRoute(), port: host.port, leftAt: host.since };
}
