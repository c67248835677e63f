/** Hello packets, both ways: RFC 2328 §9.5, §10.5. They find neighbours, keep them, and carry the election. */
import { type HelloPacket, Options, type U32 } from 'node-ospf-lsa';
import type { Instant } from '../../model/clock.ts';
import { newNeighbor } from './conversation.ts';
import { AllSPFRouters, type Core, count, type Interface, maskOf, type Neighbor } from './core.ts';
import { areaOptions } from './lsdb.ts';

/** Neighbours per interface; more are not let in. */
const MaxNeighbors = 64;
/** A hello out of turn, to a newcomer, at most this often (ms). */
const EarlyHelloGap = 100;

export function sendHello(core: Core, iface: Interface, now: Instant): void {
  const link = iface.link;
  if (!link || iface.state === 'Down') return;
  iface.lastHelloAt = now;
  core.effects.push({
    kind: 'send',
    interface: iface.name,
    to: AllSPFRouters,
    packet: helloPacket(
      core,
      iface,
      Array.from(iface.neighbors.values(), (neighbor) => neighbor.routerId),
    ),
  });
}

/** A hello that lists nobody: every neighbour falls back to Init at once instead of after RouterDeadInterval. */
export function sendGoodbye(core: Core, iface: Interface): void {
  if (!iface.link || iface.state === 'Down') return;
  const packet = helloPacket(core, iface, []);
  core.effects.push({ kind: 'send', interface: iface.name, to: AllSPFRouters, packet });
}

function helloPacket(core: Core, iface: Interface, neighbors: U32[]) {
  return {
    type: 1 as const,
    routerId: core.routerId,
    areaId: iface.area.id,
    networkMask: maskOf(iface.link!.prefixLength),
    helloInterval: iface.helloInterval,
    options: areaOptions(iface.area),
    priority: iface.priority,
    deadInterval: iface.deadInterval,
    designatedRouter: iface.network === 'broadcast' ? iface.designatedRouter : 0,
    backupDesignatedRouter: iface.network === 'broadcast' ? iface.backupDesignatedRouter : 0,
    neighbors,
  };
}

export function receiveHello(core: Core, iface: Interface, source: U32, packet: HelloPacket, now: Instant): void {
  const refusal = mismatch(iface, packet);
  if (refusal) {
    count(core, `drop.${refusal}`);
    return;
  }
  const neighbor = findOrCreate(core, iface, source, packet, now);
  if (!neighbor) return;
  const before = {
    priority: neighbor.priority,
    designatedRouter: neighbor.designatedRouter,
    backupDesignatedRouter: neighbor.backupDesignatedRouter,
  };
  const isNew = neighbor.state === 'Down';
  neighbor.address = source;
  neighbor.priority = packet.priority;
  neighbor.designatedRouter = packet.designatedRouter;
  neighbor.backupDesignatedRouter = packet.backupDesignatedRouter;
  core.neighborEvent(neighbor, 'HelloReceived', now);
  if (isNew && now - iface.lastHelloAt >= EarlyHelloGap) {
    // Not asked for by the RFC, allowed by it: a newcomer that sees itself listed now need not wait a HelloInterval.
    sendHello(core, iface, now);
  }
  if (!packet.neighbors.includes(core.routerId)) {
    core.neighborEvent(neighbor, '1-WayReceived', now);
    return;
  }
  core.neighborEvent(neighbor, '2-WayReceived', now);
  if (iface.network === 'broadcast') electionEvents(core, iface, neighbor, before, now);
}

/** §10.5: everything in a hello that must agree. */
function mismatch(iface: Interface, packet: HelloPacket): string | undefined {
  if (packet.helloInterval !== iface.helloInterval) return 'hello-interval-mismatch';
  if (packet.deadInterval !== iface.deadInterval) return 'dead-interval-mismatch';
  if (iface.network === 'broadcast' && packet.networkMask !== maskOf(iface.link!.prefixLength)) return 'mask-mismatch';
  const ours = areaOptions(iface.area);
  if (((packet.options ^ ours) & (Options.E | Options.NP)) !== 0) return 'options-mismatch';
  return undefined;
}

function findOrCreate(
  core: Core,
  iface: Interface,
  source: U32,
  packet: HelloPacket,
  now: Instant,
): Neighbor | undefined {
  const key = iface.network === 'broadcast' ? source : packet.routerId;
  const found = iface.neighbors.get(key);
  if (found && found.routerId === packet.routerId) return found;
  if (found) core.neighborEvent(found, 'KillNbr', now, 'router id changed');
  for (const other of iface.neighbors.values()) {
    if (other.address === source) core.neighborEvent(other, 'KillNbr', now, 'router id changed');
  }
  if (iface.neighbors.size >= MaxNeighbors) {
    count(core, 'drop.too-many-neighbors');
    return undefined;
  }
  const neighbor = newNeighbor(core, iface, packet.routerId, source, now);
  iface.neighbors.set(key, neighbor);
  return neighbor;
}

/** §10.5, last steps: what in this hello makes the election run. */
function electionEvents(
  core: Core,
  iface: Interface,
  neighbor: Neighbor,
  before: { priority: number; designatedRouter: U32; backupDesignatedRouter: U32 },
  now: Instant,
): void {
  const { address } = neighbor;
  const claimsDr = neighbor.designatedRouter === address;
  const claimsBackup = neighbor.backupDesignatedRouter === address;
  if (iface.state === 'Waiting') {
    if ((claimsDr && neighbor.backupDesignatedRouter === 0) || claimsBackup) {
      core.interfaceEvent(iface, 'BackupSeen', now);
    }
    return;
  }
  const changed =
    before.priority !== neighbor.priority ||
    (before.designatedRouter === address) !== claimsDr ||
    (before.backupDesignatedRouter === address) !== claimsBackup;
  if (changed) core.interfaceEvent(iface, 'NeighborChange', now);
}
