import type { Instant } from '../../model/clock.ts';
import type { Actions } from './actions.ts';
import { type Group, wantedShut } from './group.ts';
import type { Ports } from './ports.ts';
import type { PortLinkEffect, RememberedPort } from './types.ts';

/** In the place of a group's name: no group can be called so. */
export const DRAIN = '(drain)';

/**
 * Ports that are shut for planned work. That wins over every group: none of them opens such a port, and it is no loss to
 * any of them. What is released goes back under the rule of its group: one that stands on a loss keeps the port shut.
 */
export class Drained {
  readonly #ports: Ports;
  readonly #actions: Actions;

  constructor(ports: Ports, actions: Actions) {
    this.#ports = ports;
    this.#actions = actions;
  }

  has(port: string): boolean {
    return this.#ports.shutEntry(port)?.group === DRAIN;
  }

  shut(names: readonly string[], reason: string, now: Instant, effects: PortLinkEffect[]): void {
    const ports: string[] = [];
    for (const port of names) {
      if (this.#ports.shutEntry(port)) this.#ports.reassign(port, DRAIN);
      else if (this.#ports.canShut(port)) {
        this.#ports.requestShut(port, DRAIN, 'downlink', reason, now);
        ports.push(port);
      }
    }
    if (ports.length > 0) effects.push({ type: 'shut', group: DRAIN, ports, reason });
  }

  release(names: readonly string[], groups: readonly Group[], effects: PortLinkEffect[]): void {
    const free: RememberedPort[] = [];
    for (const port of names) {
      const entry = this.#ports.shutEntry(port);
      if (entry?.group !== DRAIN) continue;
      const keeper = groups.find((group) => keepsShut(group, port));
      if (keeper) this.#ports.reassign(port, keeper.config.name);
      else free.push(entry);
    }
    this.#actions.openPorts(DRAIN, free, 'released from the drain', effects);
  }
}

export function keepsShut({ config, state, hold, level, withdrawn }: Group, port: string): boolean {
  if (!config.enabled || config.dryRun) return false;
  if (config.direction === 'downlink' || !config.downlinks.includes(port)) return false;
  if (state === 'recovering' || hold === 'shut') return true;
  // On a loss it shuts so many of its ports (`shut`), and no others.
  return state === 'shut' && (level === 'enough' || withdrawn || wantedShut(config, level).includes(port));
}
