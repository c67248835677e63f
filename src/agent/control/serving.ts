import type { Speaker as BgpSpeaker } from '../../bgp/index.ts';
import type { CommonConfig, Loaded } from '../../config/index.ts';
import { type Prefix, parseAddress, parsePrefix, prefixAddress, prefixContains } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { Speaker as OspfSpeaker } from '../../ospf/index.ts';
import type { BgpNeighborView, BgpSummaryView, CountersView, EventView } from '../api.ts';
import type { EventLog, WallClock } from '../events.ts';
import { ControlError, type ControlServer } from './server.ts';
import { datedView } from './sessions.ts';

/** What every role answers in the same way. */

export interface Served {
  readonly loaded: Loaded;
  readonly loadedAt: Instant;
  readonly wall: WallClock;
  readonly events: Pick<EventLog, 'since' | 'follow'>;
  counters(): CountersView;
}

/** Configuration, counters, events. */
export function serveProcess(server: ControlServer, agent: Served): void {
  server.on('GET', '/v1/counters', () => agent.counters());
  server.on('GET', '/v1/config', () => ({
    file: agent.loaded.file,
    loadedAt: agent.wall.iso(agent.loadedAt),
    config: agent.loaded.settings,
  }));
  server.on('GET', '/v1/events', ({ query }): EventView[] => agent.events.since(count(query.get('since')) ?? 0));
  server.onStream('/v1/events', 'follow', ({ query }, stream) => {
    for (const event of agent.events.since(count(query.get('since')) ?? 0)) stream.write(event);
    stream.onClose(agent.events.follow((event) => stream.write(event)));
  });
}

export interface ServedSpeakers {
  readonly ospf: OspfSpeaker | undefined;
  readonly bgp: BgpSpeaker | undefined;
  /** In words: `this switch`. */
  readonly box: string;
  /** BGP sessions that are no neighbours of the configuration. */
  moreSessions?(): (Omit<BgpNeighborView, 'since'> & { readonly since: Instant })[];
}

/** As a router's `show` commands. */
export function serveSpeakers(
  server: ControlServer,
  agent: Pick<Served, 'wall'> & { readonly loaded: { readonly config: CommonConfig } },
  { ospf: ospfSpeaker, bgp: bgpSpeaker, box, moreSessions }: ServedSpeakers,
): void {
  const { wall } = agent;
  const absent = (part: string): never => {
    throw new ControlError(503, `${part} is not configured on ${box}`, `add a section ${part}: to the configuration`);
  };
  const ospf = () => ospfSpeaker ?? absent('ospf');
  const bgp = () => bgpSpeaker ?? absent('bgp');
  const sessions = () => [...bgp().sessions(), ...(moreSessions?.() ?? [])].map((view) => datedView(view, wall));
  server.on('GET', '/v1/ospf/neighbors', () =>
    ospf()
      .neighbors()
      .map((view) => datedView(view, wall)),
  );
  server.on('GET', '/v1/ospf/lsdb', () => ospf().lsdb());
  server.on('GET', '/v1/ospf/interfaces', () => ospf().interfaces());
  server.on('GET', '/v1/bgp/neighbors', sessions);
  server.on('GET', '/v1/bgp/summary', (): BgpSummaryView => {
    const { bgp: settings, routerId } = agent.loaded.config;
    return { asn: (settings ?? absent('bgp')).asn, routerId, neighbors: sessions() };
  });
  server.on('GET', '/v1/bgp/routes', ({ query }) => {
    const wanted = query.get('prefix');
    const within = wanted === null ? undefined : prefixOf(wanted);
    return bgp()
      .routes()
      .filter((route) => !within || prefixContains(within, prefixAddress(route.prefix)));
  });
}

/** @throws ControlError for what is neither an address nor a prefix */
export function prefixOf(text: string): Prefix {
  const address = parseAddress(text);
  const prefix = address ? parsePrefix(`${address}/${address.includes(':') ? 128 : 32}`) : parsePrefix(text);
  if (!prefix) throw new ControlError(400, `${text} is not an address or prefix`, 'write it as 10.10.10.0/24');
  return prefix;
}

/** A number of a query. @throws ControlError for what is none */
export function count(text: string | null): number | undefined {
  if (text === null) return undefined;
  if (!/^\d{1,9}$/.test(text)) throw new ControlError(400, `${text} is not a number`);
  return Number(text);
}
