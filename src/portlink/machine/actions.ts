import type { Instant } from '../../model/clock.ts';
import type { Group } from './group.ts';
import type { Ports } from './ports.ts';
import type { PortLinkEffect, RememberedPort, Side } from './types.ts';

/** Shuts and opens the ports of a group, or pretends to. Only what changes something becomes an effect. */
export class Actions {
  readonly #ports: Ports;

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  /** What the group has shut, or with dryRun would have. */
  ours(group: Group, side: Side): RememberedPort[] {
    if (group.config.dryRun) return [...group.pretended.values()].filter((entry) => entry.side === side);
    return [...this.#ports.shutBy(group.config.name, side)];
  }

  shut(
    group: Group,
    side: Side,
    wanted: readonly string[],
    why: () => string,
    now: Instant,
    effects: PortLinkEffect[],
  ): void {
    const { name, dryRun, spared } = group.config;
    const ports = wanted.filter(
      (port) =>
        this.#ports.canShut(port) &&
        !spared?.includes(port) &&
        !group.overrides.has(port) &&
        !(dryRun && group.pretended.has(port)),
    );
    if (ports.length === 0) return;
    const reason = why();
    for (const port of ports) {
      if (dryRun) group.pretended.set(port, { port, group: name, side, since: now, reason });
      else this.#ports.requestShut(port, name, side, reason, now);
    }
    if (dryRun) {
      effects.push({ type: 'dryRun', group: name, action: 'shut', ports, reason });
      return;
    }
    if (side === 'downlink') effects.push({ type: 'withdraw', group: name, ports, reason });
    effects.push({ type: 'shut', group: name, ports, reason });
  }

  open(group: Group, entries: readonly RememberedPort[], reason: string, effects: PortLinkEffect[]): void {
    const { name, dryRun } = group.config;
    if (!dryRun) {
      this.openPorts(name, entries, reason, effects);
      return;
    }
    if (entries.length === 0) return;
    const ports = entries.map(({ port }) => port);
    for (const port of ports) group.pretended.delete(port);
    effects.push({ type: 'dryRun', group: name, action: 'open', ports, reason });
  }

  /** For real, whatever has become of the group. */
  openPorts(group: string, entries: readonly RememberedPort[], reason: string, effects: PortLinkEffect[]): void {
    const ports: string[] = [];
    for (const { port } of entries) {
      if (!this.#ports.canOpen(port)) continue;
      this.#ports.requestOpen(port);
      ports.push(port);
    }
    if (ports.length > 0) effects.push({ type: 'open', group, ports, reason });
  }
}
