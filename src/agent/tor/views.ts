import type { SessionView as BgpSession, ServerView } from '../../bgp/index.ts';
import { NO_MAC, type HostView as TableHost } from '../../hostroutes/index.ts';
import type { Address } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { PortNeighbour } from '../../model/ports.ts';
import type { BgpNeighborView, HostSourceView, HostView } from '../api.ts';
import { evidenceText } from './evidence.ts';

/** Pure translations of what the domains know into what the control API says. */

export function hostView(
  host: TableHost,
  announcedBy: readonly string[],
  lldp: readonly PortNeighbour[],
  via: Address | undefined,
  now: Instant,
): HostView {
  return {
    address: host.address,
    port: host.port,
    interface: host.interface,
    mac: host.mac === NO_MAC ? null : host.mac,
    sources: host.state === 'shadow' ? [fabricSource(host, now)] : sourceViews(host, now),
    why: host.reason,
    state: host.state,
    ageMs: Math.round(now - host.since),
    heardMs: Math.round(now - host.heardAt),
    level: host.level,
    rivals: host.rivals,
    ...(lldp.length === 0 ? {} : { lldp }),
    announcedBy,
    ...(via === undefined ? {} : { repair: { via } }),
  };
}

function sourceViews(host: TableHost, now: Instant): HostSourceView[] {
  return host.sources
    .map((each) => ({
      source: each.source,
      rank: each.rank,
      ageMs: Math.round(now - each.heardAt),
      evidence: evidenceText(each, host),
    }))
    .sort((left, right) => left.ageMs - right.ageMs);
}

/** A shadow was heard at no port of ours. */
const fabricSource = ({ since, reason }: TableHost, now: Instant): HostSourceView => ({
  source: 'fabric',
  rank: 6,
  ageMs: Math.round(now - since),
  evidence: reason,
});

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
