import type { SessionView as BgpSession, ServerView } from '../../bgp/index.ts';
import type { HostView as TableHost } from '../../hostroutes/index.ts';
import type { Instant } from '../../model/clock.ts';
import type { PortNeighbour } from '../../model/ports.ts';
import type { BgpNeighborView, HostView } from '../api.ts';
import { evidenceText } from './evidence.ts';

/** Pure translations of what the domains know into what the control API says. */

export function hostView(
  host: TableHost,
  announcedBy: readonly string[],
  lldp: readonly PortNeighbour[],
  now: Instant,
): HostView {
  return {
    address: host.address,
    port: host.port,
    interface: host.interface,
    mac: host.mac,
    sources: host.sources
      .map((each) => ({
        source: each.source,
        rank: each.rank,
        ageMs: Math.round(now - each.heardAt),
        evidence: evidenceText(each, host),
      }))
      .sort((left, right) => left.ageMs - right.ageMs),
    why: host.reason,
    state: host.state,
    ageMs: Math.round(now - host.since),
    heardMs: Math.round(now - host.heardAt),
    level: host.level,
    rivals: host.rivals,
    ...(lldp.length === 0 ? {} : { lldp }),
    announcedBy,
  };
}

/** A server's session among those of the neighbours; it is told nothing of ours. */
export function serverSession(view: ServerView): BgpSession & Pick<BgpNeighborView, 'server'> {
  const { server, port, accepted, refused, lastRefused, ...session } = view;
  return {
    ...session,
    neighbor: server,
    remoteAs: view.remoteAs ?? 0,
    interface: port,
    keepalive: undefined,
    families: [],
    fourOctetAs: false,
    routeRefresh: false,
    prefixesReceived: accepted.length,
    prefixesSent: 0,
    initialRoutesReceived: false,
    gracefulRestart: undefined,
    restarting: false,
    prefixesStale: 0,
    established: view.state === 'Established' ? 1 : 0,
    queued: 0,
    observer: false,
    portFacts: false,
    factsReceived: 0,
    factsSent: 0,
    server: { port, accepted, refused, lastRefused },
  };
}
