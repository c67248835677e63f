import { type Host, SOURCES } from './host.ts';
import type { HostView, Memory, RememberedHost } from './types.ts';

export function viewOf(host: Host, rivals: HostView['rivals']): HostView {
  return {
    address: host.address,
    mac: host.mac,
    port: host.port,
    interface: host.interface,
    ifindex: host.ifindex,
    ...(!host.vlan ? {} : { vlan: host.vlan }),
    state: host.state,
    level: host.level,
    source: SOURCES[host.rank()] ?? 'arp',
    sources: SOURCES.map((source, rank) => ({ source, heardAt: host.heardBy[rank]! })).filter(
      ({ heardAt }) => heardAt >= 0,
    ),
    since: host.since,
    heardAt: host.heardAt,
    reason: host.reason,
    rivals,
  };
}

export function memoryOf({ address, mac, port, interface: name, ifindex, returns }: Host): Memory {
  return { address, mac, port, interface: name, ifindex, returns };
}

export function rememberedOf(host: Host): RememberedHost {
  return { ...host.makeRoute(), port: host.port, leftAt: host.since };
}
