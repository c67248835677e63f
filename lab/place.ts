/** Where a node's programs run: a network namespace, or a container that has the namespace. */
import { type NodeName, namespaceOf } from './topology/plan.ts';

export interface Place {
  readonly node: NodeName;
  /** Name in /run/netns; for a container a link to its network namespace. */
  readonly namespace: string;
}

export const placeOf = (lab: string, node: NodeName): Place => ({ node, namespace: namespaceOf(lab, node) });

export const inside = (place: Place, command: readonly string[]): string[] => [
  'ip',
  'netns',
  'exec',
  place.namespace,
  ...command,
];
