/** Areas and interfaces as the configuration names them: how they come to be, and how they go. */
import { ipv4ToNumber } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { OspfInterfaceOptions } from '../face.ts';
import type { Area, Core, Interface } from './core.ts';
import { deadline } from './deadlines.ts';
import { sendDelayedAcks } from './flooding.ts';
import { sendGoodbye, sendHello } from './hello.ts';
import { drop, newDatabase } from './lsdb.ts';
import { originateRouterLsa } from './topology.ts';

export const wholeSeconds = (ms: number): number => Math.max(1, Math.round(ms / 1000));
export const DEFAULT = { cost: 10, priority: 1, retransmit: 5000 } as const;

/** §3.6: the backbone cannot be a stub area of any kind. */
export function isNssa(core: Core, area: number): boolean {
  return core.options.announce.as === 'nssa' && area !== 0;
}

/** §9.4: with 0 one is never elected. */
export const priorityOf = (core: Core, { priority }: OspfInterfaceOptions): number =>
  core.options.observer ? 0 : (priority ?? DEFAULT.priority);

export function addInterface(core: Core, options: OspfInterfaceOptions): void {
  const areaId = ipv4ToNumber(options.area);
  let area = core.areas.get(areaId);
  if (!area) {
    const created: Area = {
      id: areaId,
      address: options.area,
      nssa: isNssa(core, areaId),
      interfaces: [],
      database: newDatabase('area', options.area),
      routerLsaDirty: false,
      routerLsaUrgent: false,
      routerLsaAt: Number.NEGATIVE_INFINITY,
      routerLsaTimer: deadline((at) => {
        if (!core.leaving) originateRouterLsa(core, created, at);
      }),
      inheritedStubs: new Map(),
    };
    area = created;
    core.areas.set(areaId, area);
  }
  const iface: Interface = {
    name: options.name,
    area,
    network: options.network,
    cost: options.cost ?? DEFAULT.cost,
    priority: priorityOf(core, options),
    helloInterval: wholeSeconds(options.hello),
    deadInterval: wholeSeconds(options.dead),
    rxmtInterval: options.retransmit ?? DEFAULT.retransmit,
    authentication: options.authentication ?? { type: 'none' },
    link: undefined,
    state: 'Down',
    designatedRouter: 0,
    backupDesignatedRouter: 0,
    neighbors: new Map(),
    database: newDatabase('link', options.name),
    floodQueue: new Set(),
    delayedAcks: [],
    lastHelloAt: Number.NEGATIVE_INFINITY,
    helloTimer: deadline((at) => {
      core.deadlines.set(iface.helloTimer, at + iface.helloInterval * 1000);
      sendHello(core, iface, at);
    }),
    waitTimer: deadline((at) => core.interfaceEvent(iface, 'WaitTimer', at)),
    ackTimer: deadline(() => sendDelayedAcks(core, iface)),
  };
  area.interfaces.push(iface);
  core.interfaces.set(iface.name, iface);
}

/** Its neighbours are told, and it is as if it had never been; so is its area, when this was the last of it. */
export function removeInterface(core: Core, iface: Interface, now: Instant): void {
  const { area } = iface;
  sendGoodbye(core, iface);
  core.interfaceEvent(iface, 'InterfaceDown', now);
  core.interfaces.delete(iface.name);
  area.interfaces.splice(area.interfaces.indexOf(iface), 1);
  if (area.interfaces.length > 0) return;
  for (const entry of [...area.database.entries.values()]) drop(core, entry, now);
  core.deadlines.cancel(area.routerLsaTimer);
  core.areas.delete(area.id);
}
