import type { Actions } from './actions.ts';
import { BOUNCE } from './bounced.ts';
import { DRAIN } from './drained.ts';
import type { Group } from './group.ts';
import type { Ports } from './ports.ts';
import type { PortLinkEffect, RememberedPort } from './types.ts';

/** Ports whose group is gone, or let them go, pass to a group that has them now, or are opened. */
export function openOrphans(
  groups: ReadonlyMap<string, Group>,
  ports: Ports,
  actions: Actions,
  effects: PortLinkEffect[],
): void {
  let orphans: Map<string, RememberedPort[]> | undefined;
  for (const entry of ports.shutEntries()) {
    const { port, side } = entry;
    const owns = ({ config }: Group) =>
      config.enabled &&
      !config.dryRun &&
      !config.spared?.includes(port) &&
      (side === 'uplink' ? config.uplinks : config.downlinks).includes(port);
    const own = groups.get(entry.group);
    if (entry.group === DRAIN || entry.group === BOUNCE || (own && owns(own))) continue;
    const heir = [...groups.values()].find(owns);
    if (heir) {
      ports.reassign(port, heir.config.name);
      continue;
    }
    orphans ??= new Map();
    orphans.set(entry.group, [...(orphans.get(entry.group) ?? []), entry]);
  }
  for (const [name, entries] of orphans ?? []) {
    const config = groups.get(name)?.config;
    let reason = `no group has ${entries.length > 1 ? 'these ports' : 'this port'} any more`;
    if (config && !config.enabled) reason = 'the group is disabled';
    else if (config?.dryRun) reason = 'the group only pretends (dryRun)';
    else if (entries.some(({ port }) => config?.spared?.includes(port))) reason = 'an operator is logged in through it';
    actions.openPorts(name, entries, reason, effects);
  }
}
