import { DRAIN } from './drained.ts';
import type { Group } from './group.ts';
import type { Ports } from './ports.ts';
import type { GroupState, GroupView } from './types.ts';
import type { Verdicts } from './verdicts.ts';

/** All that a group's state is explained by. */
export interface Knowledge {
  readonly verdicts: Verdicts;
  readonly ports: Ports;
  readonly upstream: { readonly ready: boolean; readonly reason: string };
  readonly blind: boolean;
}

/** One sentence: why a group is, or goes, in `state`. */
export function why(group: Group, state: GroupState, { verdicts, upstream }: Knowledge): string {
  if (state === 'disabled' || state === 'held') return group.reason;
  if (state === 'startup') return 'the agent has just started';
  if (group.withdrawn) return 'every downlink is lost';
  const uplinks = verdicts.sentence(group.config);
  if (state === 'recovering') {
    return `${uplinks}; waiting for ${upstream.ready ? 'recoveryDelay' : `upstream: ${upstream.reason}`}`;
  }
  if (state === 'shut' && group.level === 'enough') return `${uplinks}; autoRecover is off: release the group`;
  return uplinks;
}

export function viewOf(group: Group, knowledge: Knowledge): GroupView {
  const { config, state } = group;
  const { verdicts, ports, blind } = knowledge;
  const frozen = blind && state !== 'disabled' && state !== 'held' ? 'frozen, nothing is known of the ports; ' : '';
  return {
    name: config.name,
    description: config.description,
    state,
    ...(group.hold ? { held: group.hold } : {}),
    since: group.since,
    reason: frozen + why(group, state, knowledge),
    dryRun: config.dryRun,
    uplinks: config.uplinks.map((port) =>
      verdicts.view(port, config.upWhen, ports.shutEntry(port)?.group === config.name),
    ),
    downlinks: config.downlinks.map((port) => {
      const known = ports.get(port);
      // While the fabric is told before it is opened it is still shut, and by us.
      const entry = ports.shutEntry(port) ?? ports.openingEntry(port);
      return {
        port,
        adminUp: known?.adminUp ?? false,
        carrier: known?.carrier ?? false,
        shutByUs: entry !== undefined,
        ...(ports.shutEntry(port)?.group === DRAIN ? { drained: true as const } : {}),
        ...(entry ? { since: entry.since } : {}),
      };
    }),
    config,
  };
}
