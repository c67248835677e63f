/** Where a node's programs run: a network namespace, or a container that has the namespace. */
import { PODMAN, startInContainer } from './containers/podman.ts';
import { type ProcessRecord, run, startDetached } from './processes.ts';
import type { Container, LabState } from './state.ts';
import { type NodeName, namespaceOf } from './topology/plan.ts';

export interface Place {
  readonly node: NodeName;
  /** Name in /run/netns; for a container its network namespace. */
  readonly namespace: string;
  readonly container?: Container;
}

export function placeOf(state: Pick<LabState, 'name' | 'containers'>, node: NodeName): Place {
  const namespace = namespaceOf(state.name, node);
  const container = state.containers?.find(({ name }) => name === namespace);
  return { node, namespace, ...(container && { container }) };
}

/** A host's program in the node's network. */
export const inNetwork = (place: Place, command: readonly string[]): string[] => [
  ...['ip', 'netns', 'exec', place.namespace],
  ...command,
];

/** Runs one of the node's own programs to its end. */
export const runIn = (place: Place, command: readonly string[]): Promise<string> =>
  run(place.container ? [...PODMAN, 'exec', place.container.name, ...command] : inNetwork(place, command));

/** Leaves one of the node's own programs running. */
export const startIn = (
  place: Place,
  name: string,
  command: readonly string[],
  logFile: string,
): Promise<ProcessRecord> =>
  place.container
    ? startInContainer(place.container, name, command, logFile)
    : startDetached(name, inNetwork(place, command), logFile);
