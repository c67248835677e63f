/** Receiving Database Description packets, RFC 2328 §10.6: who is master, what the neighbour has, what we lack. */
import { compareInstances, type DatabaseDescriptionPacket, lsaAge, lsaKeyText, MaxAge } from 'node-ospf-lsa';
import type { Instant } from '../../model/clock.ts';
import { DD, resendDd, sendNextDd } from './conversation.ts';
import { type Core, count, type Neighbor } from './core.ts';
import { currentAge, databaseFor } from './lsdb.ts';

export function receiveDd(core: Core, neighbor: Neighbor, packet: DatabaseDescriptionPacket, now: Instant): void {
  const link = neighbor.interface.link;
  if (link && packet.interfaceMtu > link.mtu) {
    count(core, 'drop.mtu-mismatch');
    return;
  }
  if (neighbor.state === 'Init') core.neighborEvent(neighbor, '2-WayReceived', now);
  switch (neighbor.state) {
    case 'ExStart':
      negotiate(core, neighbor, packet, now);
      return;
    case 'Exchange':
      exchange(core, neighbor, packet, now);
      return;
    case 'Loading':
    case 'Full':
      if (!isDuplicate(neighbor, packet)) core.neighborEvent(neighbor, 'SeqNumberMismatch', now, 'unexpected DD');
      else if (!neighbor.master) resendDd(core, neighbor);
      return;
    default:
      count(core, 'drop.dd-unexpected');
  }
}

function negotiate(core: Core, neighbor: Neighbor, packet: DatabaseDescriptionPacket, now: Instant): void {
  const initial = packet.flags === (DD.I | DD.M | DD.MS) && packet.headers.length === 0;
  if (initial && packet.routerId > core.routerId) {
    neighbor.master = false;
    neighbor.ddSequence = packet.sequence;
  } else if (
    (packet.flags & (DD.I | DD.MS)) === 0 &&
    packet.sequence === neighbor.ddSequence &&
    packet.routerId < core.routerId
  ) {
    neighbor.master = true;
  } else {
    return;
  }
  neighbor.options = packet.options;
  core.neighborEvent(neighbor, 'NegotiationDone', now);
  take(core, neighbor, packet, now);
}

function exchange(core: Core, neighbor: Neighbor, packet: DatabaseDescriptionPacket, now: Instant): void {
  if (isDuplicate(neighbor, packet)) {
    if (!neighbor.master) resendDd(core, neighbor);
    return;
  }
  const mismatch = (reason: string) => core.neighborEvent(neighbor, 'SeqNumberMismatch', now, reason);
  const fromMaster = (packet.flags & DD.MS) !== 0;
  if (fromMaster === neighbor.master) {
    mismatch('DD from the wrong role');
    return;
  }
  if ((packet.flags & DD.I) !== 0) {
    mismatch('DD negotiation began anew');
    return;
  }
  if (packet.options !== neighbor.options) {
    mismatch('DD options changed');
    return;
  }
  const expected = neighbor.master ? neighbor.ddSequence : (neighbor.ddSequence + 1) >>> 0;
  if (packet.sequence !== expected) {
    mismatch('DD sequence number');
    return;
  }
  take(core, neighbor, packet, now);
}

function isDuplicate(neighbor: Neighbor, packet: DatabaseDescriptionPacket): boolean {
  const last = neighbor.lastDd;
  return (
    last !== undefined &&
    last.flags === packet.flags &&
    last.options === packet.options &&
    last.sequence === packet.sequence
  );
}

/** The packet is the next in sequence: note what we lack, then go on as master or answer as slave. */
function take(core: Core, neighbor: Neighbor, packet: DatabaseDescriptionPacket, now: Instant): void {
  neighbor.lastDd = { flags: packet.flags, options: packet.options, sequence: packet.sequence };
  for (const header of packet.headers) {
    const database = databaseFor(core, neighbor.interface, header.type);
    if (!database) {
      // §10.6 demands SeqNumberMismatch; a type that we merely do not know is passed over, or one router with an
      // extension would keep us from ever being Full. It is not asked for.
      count(core, 'drop.lsa-type');
      continue;
    }
    const entry = database.entries.get(lsaKeyText(header));
    if (!entry && lsaAge(header) >= MaxAge) continue;
    if (!entry || compareInstances(header, { ...entry.lsa.header, age: currentAge(entry, now) }) > 0) {
      neighbor.requests.set(lsaKeyText(header), header);
    }
  }
  const theyAreDone = (packet.flags & DD.M) === 0;
  if (neighbor.master) {
    // In answer to the empty first packet there is always one more to send.
    const first = neighbor.sentDd !== undefined && (flagsOf(neighbor) & DD.I) !== 0;
    neighbor.ddSequence = (neighbor.ddSequence + 1) >>> 0;
    if (!first && !neighbor.sentMore && theyAreDone) core.neighborEvent(neighbor, 'ExchangeDone', now);
    else sendNextDd(core, neighbor, now);
  } else {
    neighbor.ddSequence = packet.sequence;
    sendNextDd(core, neighbor, now);
    if (!neighbor.sentMore && theyAreDone) core.neighborEvent(neighbor, 'ExchangeDone', now);
  }
}

function flagsOf(neighbor: Neighbor): number {
  const sent = neighbor.sentDd;
  return sent?.type === 2 ? sent.flags : 0;
}
