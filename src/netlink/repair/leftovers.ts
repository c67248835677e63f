import { AF, type Route, type Rtnetlink, type Rule, requests } from 'rtnetlink-ts';
import { type Counters, sendPaced } from '../installing.ts';
import { type FoundBackups, findBackups, removeBackups } from './backups.ts';
import { REPAIR_ALIAS } from './device.ts';
import { findExitRules } from './exit.ts';

/** What the repair path of an agent that is not there any more has left in the kernel, but the settings of interfaces. */
export interface RepairLeftovers {
  readonly backups: FoundBackups;
  /** Hosts, for what came out of the tunnel. */
  readonly exitRoutes: readonly Route[];
  readonly rules: readonly Rule[];
  /** By our mark, whatever it is called. */
  readonly devices: readonly { readonly name: string; readonly ifindex: number }[];
}

type Reading = Pick<Rtnetlink, 'dumpRoutes' | 'dumpNextHops' | 'dumpRules' | 'dumpLinks'>;

/** Rejects when the kernel can't be read. */
export async function findRepair(rtnetlink: Reading, protocol: number): Promise<RepairLeftovers> {
  const backups = await findBackups(rtnetlink, protocol);
  const exitRoutes: Route[] = [];
  for (const family of [AF.INET, AF.INET6]) {
    const ours = await rtnetlink.dumpRoutes({ family, protocol });
    exitRoutes.push(...ours.filter(({ nextHopId }) => nextHopId === undefined));
  }
  const links = await rtnetlink.dumpLinks({ kind: 'vxlan' });
  return {
    backups,
    exitRoutes,
    rules: await findExitRules(rtnetlink, protocol),
    devices: links.filter(({ alias }) => alias === REPAIR_ALIAS).map(({ name, ifindex }) => ({ name, ifindex })),
  };
}

export async function removeRepair(
  rtnetlink: Pick<Rtnetlink, 'sendNow' | 'deleteLink' | 'deleteRule'>,
  { backups, exitRoutes, rules, devices }: RepairLeftovers,
  counters: Counters = {},
): Promise<void> {
  await removeBackups(rtnetlink, backups, counters);
  // Before the rules: what still comes in by it would be looked up where everything is.
  for (const { ifindex } of devices) await rtnetlink.deleteLink({ ifindex });
  for (const rule of rules) await rtnetlink.deleteRule(rule);
  await sendPaced(rtnetlink, exitRoutes, (route) => [requests.deleteRoute(route)], counters);
}
