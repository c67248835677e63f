import type { Instant } from '../../model/clock.ts';
import type { Actions } from './actions.ts';
import { keepsShut } from './drained.ts';
import type { Group } from './group.ts';
import type { Ports } from './ports.ts';
import type { PortLinkEffect, RememberedPort } from './types.ts';

/** In the place of a group's name: no group can be called so. */
export const BOUNCE = '(bounce)';

/**
 * Ports that are shut to be opened again as soon as the kernel has shut them: what takes its time is their opening, which
 * comes after the fabric has been told of their hosts. It is no loss to any group, and none is asked; but a group that
 * would shut nothing, or stands on a loss by then, has its way.
 */
export class Bounced {
  readonly #ports: Ports;
  readonly #actions: Actions;

  constructor(ports: Ports, actions: Actions) {
    this.#ports = ports;
    this.#actions = actions;
  }

  has(port: string): boolean {
    return this.#ports.shutEntry(port)?.group === BOUNCE;
  }

  shut(names: readonly string[], reason: string, groups: readonly Group[], now: Instant): PortLinkEffect[] {
    const ports = names.filter((port) => this.#ports.canShut(port) && !groups.some((group) => keepsOpen(group, port)));
    if (ports.length === 0) return [];
    for (const port of ports) this.#ports.requestShut(port, BOUNCE, 'downlink', reason, now);
    return [{ type: 'shut', group: BOUNCE, ports, reason }];
  }

  /**
   * Those that the kernel has shut, or could not. Also what an earlier life left, at once: when it ended it had told the
   * fabric of their hosts, and by a graceful restart that still leads to us.
   */
  release(groups: readonly Group[], effects: PortLinkEffect[]): void {
    const free: RememberedPort[] = [];
    for (const entry of [...this.#ports.shutBy(BOUNCE, 'downlink')]) {
      if (!this.#ports.isAnswered(entry.port)) continue;
      const keeper = groups.find((group) => keepsShut(group, entry.port));
      if (keeper) this.#ports.reassign(entry.port, keeper.config.name);
      else free.push(entry);
    }
    this.#actions.openPorts(BOUNCE, free, 'to be opened when the fabric has been told of its hosts', effects);
  }
}

/** Also of a port that an operator has opened against the group. */
function keepsOpen({ config, hold, overrides }: Group, port: string): boolean {
  if (!config.enabled || !config.downlinks.includes(port)) return false;
  return config.dryRun || hold === 'open' || overrides.has(port) || config.spared?.includes(port) === true;
}
