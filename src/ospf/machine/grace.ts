/**
 * The planned restart: a last hello, so that the neighbours' patience begins anew, and Grace-LSAs (RFC 3623) for those that
 * honour them (BIRD does by itself, FRR with `graceful-restart helper enable`): they keep the adjacency even beyond
 * RouterDeadInterval. Who is back within that takes the adjacencies up (`resume.ts`) and ends the grace; who is back later
 * restarts as the RFC has it: adjacencies are formed anew, and meanwhile our router and network LSAs stay as the earlier life
 * left them, for a change of them ends the neighbours' patience.
 */
import { encodeLsa, InitialSequenceNumber, LsaType, lsaWithAge, MaxAge, Options, type U32 } from 'node-ospf-lsa';
import type { Instant } from '../../model/clock.ts';
import { type Core, count, type Interface } from './core.ts';
import { deadline } from './deadlines.ts';
import { flood } from './flooding.ts';
import { sendHello } from './hello.ts';
import { areaOptions, install, removeIfDone } from './lsdb.ts';
import { originate } from './origination.ts';
import { networkChanged, routerChanged } from './topology.ts';

/** RFC 3623 Appendix A: opaque type 3, opaque id 0. */
const GRACE: U32 = 0x03000000;
const TLV = { gracePeriod: 1, reason: 2, address: 3 } as const;
/** "Software restart": also what an upgrade is, to who looks at it. */
const SOFTWARE_RESTART = 1;

export function pause(core: Core, seconds: number, now: Instant): void {
  for (const iface of core.interfaces.values()) {
    sendHello(core, iface, now);
    if (seconds === 0 || !hasHelper(iface)) continue;
    const body = { kind: 'opaque', data: graceData(iface, seconds) } as const;
    originate(core, iface.database, LsaType.OpaqueLink, GRACE, areaOptions(iface.area), body, now);
  }
}

/** Grace-LSAs that a neighbour has not acknowledged. */
export function ungranted(core: Core): number {
  let sum = 0;
  for (const iface of core.interfaces.values()) {
    for (const entry of iface.database.entries.values()) if (entry.self) sum += entry.pending;
  }
  return sum;
}

/** §2.2: until these interfaces have a neighbour that is Full, or the time is over. */
export function beginGrace(core: Core, interfaces: readonly Interface[], until: Instant): void {
  const waiting = new Set(interfaces);
  core.restarting = { waiting, timer: deadline((at) => allGraceEnded(core, interfaces, at)) };
  core.deadlines.set(core.restarting.timer, until);
  count(core, 'resume.by-grace', waiting.size);
}

/** A neighbour on this interface is Full. */
export function graceEnded(core: Core, iface: Interface, now: Instant): void {
  if (!core.restarting?.waiting.delete(iface)) return;
  endGrace(core, iface, now);
  if (core.restarting.waiting.size === 0) allGraceEnded(core, [], now);
}

/** §2.3: from now on we speak for ourselves again. */
function allGraceEnded(core: Core, late: readonly Interface[], now: Instant): void {
  if (!core.restarting) return;
  core.deadlines.cancel(core.restarting.timer);
  for (const iface of late) if (core.restarting.waiting.has(iface) && iface.link) endGrace(core, iface, now);
  core.restarting = undefined;
  for (const iface of core.interfaces.values()) networkChanged(core, iface, now);
  for (const area of core.areas.values()) routerChanged(area, true);
}

/** §2.3: we are back, and the neighbours need not wait any longer. It is the first instance that is flushed: a life makes one. */
export function endGrace(core: Core, iface: Interface, now: Instant): void {
  const header = {
    age: 0,
    options: areaOptions(iface.area),
    type: LsaType.OpaqueLink,
    linkStateId: GRACE,
    advertisingRouter: core.routerId,
    sequence: InitialSequenceNumber,
  };
  const lsa = encodeLsa(header, { kind: 'opaque', data: graceData(iface, 0) });
  const entry = install(core, iface.database, lsaWithAge(lsa, MaxAge), now, false);
  if (!entry) return;
  flood(core, entry, now);
  removeIfDone(core, entry, now);
}

/** The neighbour takes opaque LSAs at all. */
function hasHelper(iface: Interface): boolean {
  for (const { state, options } of iface.neighbors.values()) {
    if (state === 'Full' && (options & Options.O) !== 0) return true;
  }
  return false;
}

function graceData(iface: Interface, seconds: number): Uint8Array {
  const broadcast = iface.network === 'broadcast';
  const data = Buffer.alloc(broadcast ? 24 : 16);
  data.writeUInt16BE(TLV.gracePeriod, 0);
  data.writeUInt16BE(4, 2);
  data.writeUInt32BE(seconds, 4);
  data.writeUInt16BE(TLV.reason, 8);
  data.writeUInt16BE(1, 10);
  data.writeUInt8(SOFTWARE_RESTART, 12);
  if (broadcast) {
    data.writeUInt16BE(TLV.address, 16);
    data.writeUInt16BE(4, 18);
    data.writeUInt32BE(iface.link!.address, 20);
  }
  return new Uint8Array(data);
}
