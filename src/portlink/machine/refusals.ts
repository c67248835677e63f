import { BOUNCE } from './bounced.ts';
import { DRAIN } from './drained.ts';
import type { PortLinkEffect, PortLinkGroupConfig } from './types.ts';

/** The kernel has refused to shut or open these ports: an alarm of each group that has some, and of who keeps them beside. */
export function refusals(
  ports: readonly string[],
  groups: readonly PortLinkGroupConfig[],
  keeperOf: (port: string) => string | undefined,
  reason: string,
): PortLinkEffect[] {
  const concerned = groups.filter(({ downlinks, uplinks, shutUplinks }) =>
    ports.some((port) => downlinks.includes(port) || (shutUplinks && uplinks.includes(port))),
  );
  return [
    ...concerned.map(({ name }): PortLinkEffect => ({ type: 'alarm', group: name, reason })),
    ...[DRAIN, BOUNCE].flatMap((keeper): PortLinkEffect[] => {
      const kept = ports.filter((port) => keeperOf(port) === keeper);
      return kept.length > 0 ? [{ type: 'alarm', group: keeper, ports: kept, reason }] : [];
    }),
  ];
}
