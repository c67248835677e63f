/** What stands in the maps, as people read it. */
import type { LinkState } from '../../model/ports.ts';
import type { Instances } from './instances.ts';
import { listSentKeys, listToldKeys } from './keys.ts';
import {
  CONNECTION_STATES,
  type Connection,
  connection,
  EXIT_KINDS,
  PROGRAMS,
  type ProgramName,
  REWRITE_STATISTICS,
  SLOW_REASONS,
  STATISTICS,
  VERDICTS,
} from './maps/layout.ts';
import { nanoseconds } from './maps/numbers.ts';
import { sumOverCpus, type Tables } from './maps/tables.ts';
import { knownPeers } from './peers.ts';
import type { CacheView, FlowDirection, FlowView, PeerEntry, ProgramCounters, Tuple, WayView } from './types.ts';

type Direction = Connection['direction'][number];

const NAT_MASK = 15;
const ORIGIN_INSTANCE = 1;

export interface Reading {
  readonly tables: Tables;
  readonly links: LinkState;
  /** ns */
  readonly now: number;
  /** ns that a direction may be idle before its way is learned anew. */
  readonly lifetime: { readonly send: number; readonly receive: number };
  readonly ruleName: (id: number) => string | undefined;
  /** The rule of a rate's index. */
  readonly rateName: (index: number) => string | undefined;
}

const since = (now: number, then: bigint): number | undefined =>
  then === 0n ? undefined : Math.max(0, (now - Number(then)) / 1e6);

/** Connections that have not expired, in portions between which the event loop goes on. */
async function* connections(reading: Reading): AsyncGenerator<Connection> {
  let portion = 0;
  for (const { count, values } of reading.tables.connections.batches(256)) {
    for (let index = 0; index < count; index += 1) {
      const at = index * connection.size;
      if (values[at + connection.offsets.state] === 0) continue;
      if (nanoseconds(values, at + connection.offsets.expires) <= reading.now) continue;
      yield connection.decode(values, at);
    }
    portion += 1;
    if (portion % 8 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}

const tupleOf = ({ key }: Direction): Tuple => ({
  source: key.saddr,
  sourcePort: key.sport,
  destination: key.daddr,
  destinationPort: key.dport,
});

export async function listFlows(reading: Reading, limit: number): Promise<FlowView[]> {
  const flows: FlowView[] = [];
  for await (const found of connections(reading)) {
    if (flows.length >= limit) break;
    const first = found.direction[0]!;
    const rule = found.rule === 0 ? undefined : reading.ruleName(found.rule);
    const rateRule = reading.rateName(found.rate.find((index) => index !== 0) ?? 0);
    flows.push({
      ...tupleOf(first),
      protocol: found.protocol,
      vni: first.key.vni,
      state: CONNECTION_STATES[found.state] ?? 'free',
      age: since(reading.now, found.created) ?? 0,
      expiresIn: (Number(found.expires) - reading.now) / 1e6,
      verdict: VERDICTS[found.verdict] ?? 'none',
      ...(rule === undefined ? {} : { rule }),
      ...(rateRule === undefined ? {} : { rateRule }),
      directions: found.direction.map((side) => flowDirection(side, reading.now)),
    });
  }
  return flows;
}

const flowDirection = (side: Direction, now: number): FlowDirection => ({
  seen: side.seen !== 0,
  way: EXIT_KINDS[side.exit.kind] ?? 'unknown',
  packets: Number(side.packets),
  bytes: Number(side.bytes),
  idle: since(now, side.last_seen),
});

export async function listCache(reading: Reading, instances: Instances): Promise<CacheView> {
  const known = knownPeers(reading.tables.peers);
  const addresses = new Map(known.map(({ index, peer }) => [index, peer.address]));
  const egress: WayView[] = [];
  const ingress: WayView[] = [];
  const nameOf = (ifindex: number) => reading.links.portByIndex(ifindex)?.name ?? `ifindex ${ifindex}`;
  for await (const found of connections(reading)) {
    for (const side of found.direction) {
      const kind = EXIT_KINDS[side.exit.kind];
      if (kind === undefined || kind === 'unknown') continue;
      const lifetime = side.origin === ORIGIN_INSTANCE ? reading.lifetime.send : reading.lifetime.receive;
      // The programs don't use it any more either.
      if (reading.now - Number(side.last_seen) > lifetime) continue;
      const to = kind === 'tunnel' ? (addresses.get(side.exit.target) ?? 'unknown') : nameOf(side.exit.target);
      (kind === 'deliver' ? ingress : egress).push(wayOf(side, found.protocol, kind, to, reading.now));
    }
  }
  return {
    instances: instances.entries(),
    peers: known.map(({ peer }) => peerView(peer, reading.now)),
    egress,
    ingress,
    keys: { sent: await listSentKeys(reading), told: await listToldKeys(reading) },
  };
}

function wayOf(side: Direction, protocol: number, kind: WayView['kind'], to: string, now: number): WayView {
  const { exit } = side;
  const translated = {
    source: exit.saddr,
    sourcePort: exit.sport,
    destination: exit.daddr,
    destinationPort: exit.dport,
  };
  return {
    ...tupleOf(side),
    protocol,
    vni: side.key.vni,
    kind,
    to,
    ...((exit.flags & NAT_MASK) === 0 ? {} : { translated }),
    mtu: exit.mtu,
    idle: since(now, side.last_seen) ?? 0,
    age: since(now, exit.learned) ?? 0,
    packets: Number(side.packets),
    bytes: Number(side.bytes),
  };
}

const peerView = (peer: ReturnType<typeof knownPeers>[number]['peer'], now: number): PeerEntry => ({
  address: peer.address,
  local: peer.local,
  nextHop: peer.next_hop,
  ifindex: peer.ifindex,
  mtu: peer.mtu,
  lastSent: since(now, peer.last_sent),
  lastHeard: since(now, peer.last_heard),
});

export function programCounters(tables: Tables): Record<ProgramName, ProgramCounters> {
  const all: Partial<Record<ProgramName, ProgramCounters>> = {};
  for (const [index, program] of PROGRAMS.entries()) {
    const sums = sumOverCpus(tables.statistics, index);
    const counts: Record<string, number> = {};
    const slow: Record<string, number> = {};
    const rewrite: Record<string, number> = {};
    for (const [at, name] of STATISTICS.entries()) counts[name] = sums[at] ?? 0;
    for (const [at, reason] of SLOW_REASONS.entries()) slow[reason] = sums[STATISTICS.length + at] ?? 0;
    const first = STATISTICS.length + SLOW_REASONS.length;
    for (const [at, name] of REWRITE_STATISTICS.entries()) rewrite[name] = sums[first + at] ?? 0;
    all[program] = { counts, slow, rewrite };
  }
  return all as Record<ProgramName, ProgramCounters>;
}
