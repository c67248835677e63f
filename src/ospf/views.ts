/** The machine's state for `show` commands. */
import { ipv4FromNumber } from '../model/address.ts';
import type { Instant } from '../model/clock.ts';
import type { InterfaceView, LsaView, NeighborView } from './face.ts';
import type { Core, Database, Interface } from './machine/core.ts';
import { isSet } from './machine/deadlines.ts';
import { currentAge } from './machine/lsdb.ts';

export function neighborViews(core: Core, now: Instant): NeighborView[] {
  const views: NeighborView[] = [];
  for (const iface of core.interfaces.values()) {
    for (const neighbor of iface.neighbors.values()) {
      views.push({
        interface: iface.name,
        area: iface.area.address,
        routerId: ipv4FromNumber(neighbor.routerId),
        address: ipv4FromNumber(neighbor.address),
        state: neighbor.state,
        since: neighbor.since,
        priority: neighbor.priority,
        designatedRouter: ipv4FromNumber(neighbor.designatedRouter),
        backupDesignatedRouter: ipv4FromNumber(neighbor.backupDesignatedRouter),
        deadIn: isSet(neighbor.inactivityTimer) ? Math.max(0, neighbor.inactivityTimer.at - now) : 0,
        retransmissions: neighbor.retransmit.size,
        requests: neighbor.requests.size,
      });
    }
  }
  return views;
}

export function lsaViews(core: Core, now: Instant): LsaView[] {
  const views: LsaView[] = [];
  const add = (database: Database, where: Pick<LsaView, 'area' | 'interface'>) => {
    for (const entry of database.entries.values()) {
      const { type, linkStateId, advertisingRouter, sequence, checksum, length, options } = entry.lsa.header;
      views.push({
        ...where,
        type,
        linkStateId: ipv4FromNumber(linkStateId),
        advertisingRouter: ipv4FromNumber(advertisingRouter),
        sequence,
        age: currentAge(entry, now),
        checksum,
        length,
        options,
        selfOriginated: entry.self,
      });
    }
  };
  for (const area of core.areas.values()) add(area.database, { area: area.address });
  for (const iface of core.interfaces.values()) {
    add(iface.database, { area: iface.area.address, interface: iface.name });
  }
  add(core.external, {});
  return views;
}

export function interfaceViews(core: Core): InterfaceView[] {
  return Array.from(core.interfaces.values(), (iface) => ({
    name: iface.name,
    area: iface.area.address,
    network: iface.network,
    state: iface.state,
    address: iface.link && ipv4FromNumber(iface.link.address),
    prefixLength: iface.link?.prefixLength,
    mtu: iface.link?.mtu ?? 0,
    cost: iface.cost,
    hello: iface.helloInterval * 1000,
    dead: iface.deadInterval * 1000,
    designatedRouter: ipv4FromNumber(iface.designatedRouter),
    backupDesignatedRouter: ipv4FromNumber(iface.backupDesignatedRouter),
    neighbors: iface.neighbors.size,
    full: fullNeighbors(iface),
  }));
}

export function adjacencyUp(core: Core, name: string): boolean {
  const iface = core.interfaces.get(name);
  return iface !== undefined && fullNeighbors(iface) > 0;
}

function fullNeighbors(iface: Interface): number {
  let full = 0;
  for (const neighbor of iface.neighbors.values()) if (neighbor.state === 'Full') full++;
  return full;
}
