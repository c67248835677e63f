/** What happens to an interface: its link, the rows of its table, the election (RFC 2328 §9.3, §9.4). */
import type { Instant } from '../../model/clock.ts';
import type { InterfaceState } from '../face.ts';
import { AllDRouters, atLeast, type Core, type Interface, type InterfaceEvent, type Link } from './core.ts';
import { elect } from './election.ts';
import { sendHello } from './hello.ts';
import { forwardingChanged } from './hosts.ts';
import { interfaceTransition } from './interface.ts';
import { drop } from './lsdb.ts';
import { scheduleSpf } from './routing.ts';
import { flushNetwork, networkChanged, routerChanged } from './topology.ts';

export function linkEvent(core: Core, name: string, link: Link | undefined, now: Instant): void {
  const iface = core.interfaces.get(name);
  if (!iface) return;
  const before = iface.link;
  if (before && link && sameLink(before, link)) return;
  if (before) core.interfaceEvent(iface, 'InterfaceDown', now);
  iface.link = link;
  if (link) core.interfaceEvent(iface, 'InterfaceUp', now);
  forwardingChanged(core, iface.area, now);
}

function sameLink(a: Link, b: Link): boolean {
  return a.ifindex === b.ifindex && a.mtu === b.mtu && a.address === b.address && a.prefixLength === b.prefixLength;
}

export function interfaceEvent(core: Core, iface: Interface, event: InterfaceEvent, now: Instant): void {
  const row = interfaceTransition(iface.state, event, iface.network, iface.priority);
  if (!row) return;
  switch (row.action) {
    case 'start':
      setInterfaceState(core, iface, row.state!, now);
      core.deadlines.set(iface.helloTimer, now);
      if (row.state === 'Waiting') core.deadlines.set(iface.waitTimer, now + iface.deadInterval * 1000);
      return;
    case 'elect':
      holdElection(core, iface, now);
      return;
    case 'reset':
      reset(core, iface, now);
      return;
  }
}

function reset(core: Core, iface: Interface, now: Instant): void {
  const address = iface.link?.address;
  const wasDr = iface.state === 'DR';
  setInterfaceState(core, iface, 'Down', now);
  for (const neighbor of [...iface.neighbors.values()]) {
    core.neighborEvent(neighbor, 'KillNbr', now, 'InterfaceDown');
  }
  for (const timer of [iface.helloTimer, iface.waitTimer, iface.ackTimer]) core.deadlines.cancel(timer);
  iface.delayedAcks = [];
  iface.floodQueue.clear();
  iface.designatedRouter = 0;
  iface.backupDesignatedRouter = 0;
  for (const entry of [...iface.database.entries.values()]) drop(core, entry, now);
  if (wasDr && address !== undefined) flushNetwork(core, iface, address, now);
  iface.link = undefined;
}

export function setInterfaceState(core: Core, iface: Interface, state: InterfaceState, now: Instant): void {
  const from = iface.state;
  if (from === state) return;
  iface.state = state;
  const listens = (each: InterfaceState) => each === 'DR' || each === 'Backup';
  if (listens(from) !== listens(state)) {
    const joined = listens(state);
    core.effects.push({ kind: 'membership', interface: iface.name, group: AllDRouters, joined });
  }
  core.effects.push({
    kind: 'log',
    level: 'info',
    fields: { interface: iface.name, from, to: state },
    message: 'OSPF interface',
  });
  routerChanged(iface.area);
  if (from === 'Down' || state === 'Down') scheduleSpf(core, now);
}

/** §9.4. */
function holdElection(core: Core, iface: Interface, now: Instant): void {
  const address = iface.link!.address;
  core.deadlines.cancel(iface.waitTimer);
  const others = [...iface.neighbors.values()].filter(({ state }) => atLeast(state, '2-Way'));
  const elected = elect(
    {
      routerId: core.routerId,
      address,
      priority: iface.priority,
      designatedRouter: iface.designatedRouter,
      backupDesignatedRouter: iface.backupDesignatedRouter,
    },
    others,
  );
  const same =
    elected.designatedRouter === iface.designatedRouter &&
    elected.backupDesignatedRouter === iface.backupDesignatedRouter;
  iface.designatedRouter = elected.designatedRouter;
  iface.backupDesignatedRouter = elected.backupDesignatedRouter;
  setInterfaceState(core, iface, elected.state, now);
  if (same) return;
  routerChanged(iface.area);
  // §9.4 (7): adjacencies that are now wanted, and those that are not any more.
  for (const neighbor of others) core.neighborEvent(neighbor, 'AdjOK?', now);
  networkChanged(core, iface, now);
  sendHello(core, iface, now);
}
