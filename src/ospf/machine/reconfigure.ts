/**
 * The configuration read anew, while everything runs. What differs is changed, and nothing else is touched: an adjacency
 * begins anew only where area, kind of network, or stub nature of the area say that it is another one. Intervals are in the
 * next hello; a neighbour that is not changed within RouterDeadInterval will no longer agree.
 */
import { ipv4ToNumber } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { OspfInterfaceOptions } from '../face.ts';
import { addInterface, DEFAULT, isNssa, priorityOf, removeInterface, wholeSeconds } from './areas.ts';
import type { Core, Interface, LsdbEntry, MachineSettings } from './core.ts';
import { factPlacesChanged } from './facts.ts';
import { announceHost, bookFlushes, withdrawHosts } from './hosts.ts';
import { flush } from './origination.ts';
import { scheduleSpf } from './routing.ts';
import { originateRouterLsa, routerChanged } from './topology.ts';

export function reconfigure(core: Core, settings: MachineSettings, now: Instant): void {
  const { announce, observer } = core.options;
  if (settings.observer) {
    withdrawHosts(core, [...core.hosts.keys()]);
    bookFlushes(core, now);
  }
  // What may be absent is, unless it comes.
  core.options = { ...core.options, originateDefault: undefined, observer: undefined, ...settings };
  if (observer !== settings.observer) for (const area of core.areas.values()) routerChanged(area, true);
  const wanted = new Map(settings.interfaces.map((each) => [each.name, each]));
  for (const iface of [...core.interfaces.values()]) {
    const options = wanted.get(iface.name);
    if (options && isSameNetwork(core, iface, options)) adjust(core, iface, options, now);
    else removeInterface(core, iface, now);
  }
  for (const each of settings.interfaces) if (!core.interfaces.has(each.name)) addInterface(core, each);
  if (announce.as !== settings.announce.as) announceOtherwise(core, now);
  else if (announce.metric !== settings.announce.metric || announce.metricType !== settings.announce.metricType) {
    for (const record of core.hosts.values()) announceHost(core, record, now);
  }
  core.defaultDue = true;
  factPlacesChanged(core, now);
  core.claims.configure(settings.announce, settings.prefixes, core.claimSink);
  scheduleSpf(core, now);
}

function isSameNetwork(core: Core, iface: Interface, options: OspfInterfaceOptions): boolean {
  const { area, network } = iface;
  return area.id === ipv4ToNumber(options.area) && network === options.network && area.nssa === isNssa(core, area.id);
}

function adjust(core: Core, iface: Interface, options: OspfInterfaceOptions, now: Instant): void {
  const cost = options.cost ?? DEFAULT.cost;
  if (iface.cost !== cost) {
    iface.cost = cost;
    routerChanged(iface.area, true);
  }
  iface.rxmtInterval = options.retransmit ?? DEFAULT.retransmit;
  const hello = wholeSeconds(options.hello);
  const dead = wholeSeconds(options.dead);
  const priority = priorityOf(core, options);
  const intervals = iface.helloInterval !== hello || iface.deadInterval !== dead;
  const elections = iface.priority !== priority;
  if (!intervals && !elections) return;
  iface.helloInterval = hello;
  iface.deadInterval = dead;
  iface.priority = priority;
  if (iface.state === 'Down') return;
  if (intervals) {
    for (const { inactivityTimer } of iface.neighbors.values()) core.deadlines.set(inactivityTimer, now + dead * 1000);
  }
  if (elections && iface.network === 'broadcast') core.interfaceEvent(iface, 'NeighborChange', now);
  core.deadlines.set(iface.helloTimer, now);
}

/** In another kind of LSA: the new ones first, so that nobody is without an announcement in between. */
function announceOtherwise(core: Core, now: Instant): void {
  const former: LsdbEntry[] = [];
  for (const record of core.hosts.values()) {
    former.push(...record.entries);
    record.entries = [];
    announceHost(core, record, now);
  }
  for (const area of core.areas.values()) originateRouterLsa(core, area, now);
  for (const entry of former) flush(core, entry, now);
}
