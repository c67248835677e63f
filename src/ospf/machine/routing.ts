/** When routes are computed, from what, and who hears of them. */
import { type Lsa, lsaAge, MaxAge } from 'node-ospf-lsa';
import type { Instant } from '../../model/clock.ts';
import type { ForeignClaim } from '../../model/hosts.ts';
import { type Core, count, type Interface } from './core.ts';
import { isSet } from './deadlines.ts';
import { computeRoutes } from './spf.ts';

/** At once after a quiet time, then ever further apart (ms). */
const SpfHoldMin = 10;
const SpfHoldMax = 200;

export const reportClaim = (core: Core) => (claim: ForeignClaim) => {
  core.effects.push({ kind: 'claim', claim });
};

export function scheduleSpf(core: Core, now: Instant): void {
  if (isSet(core.spfTimer)) return;
  if (now - core.spfAt > SpfHoldMax) core.spfHold = 0;
  core.deadlines.set(core.spfTimer, Math.max(now, core.spfAt + core.spfHold));
}

export function runSpf(core: Core, now: Instant): void {
  core.spfHold = Math.min(SpfHoldMax, Math.max(SpfHoldMin, core.spfHold * 2));
  core.spfAt = now;
  count(core, 'spf.runs');
  const result = computeRoutes({
    routerId: core.routerId,
    areas: Array.from(core.areas.values(), (area) => ({
      id: area.id,
      interfaces: area.interfaces.filter(({ state }) => state !== 'Down').map(spfInterface),
      lsas: lsasOf(area.database.entries.values()),
    })),
    externals: lsasOf(core.external.entries.values()),
  });
  core.claims.reachability((router) => result.reachable.has(router), reportClaim(core));
  const own = new Set(Array.from(core.hosts.values(), ({ id }) => id));
  const changes = core.routes.update(result, (network, mask) => mask === 0xffffffff && own.has(network));
  if (changes.length > 0) core.effects.push({ kind: 'routes', changes });
}

function spfInterface(iface: Interface) {
  const full = [...iface.neighbors.values()].filter(({ state }) => state === 'Full');
  return {
    name: iface.name,
    address: iface.link!.address,
    ifindex: iface.link!.ifindex,
    neighbors: new Map(full.map(({ routerId, address }) => [routerId, address])),
  };
}

function* lsasOf(entries: Iterable<{ readonly lsa: Lsa }>) {
  for (const { lsa } of entries) if (lsaAge(lsa.header) < MaxAge) yield lsa;
}
