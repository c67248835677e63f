/**
 * The configuration: schema, loading, differences for a reload, changes written back.
 *
 * A text goes through four steps: YAML (`load.ts`), shape and single values (`schema.ts`, whose words are in
 * `scalars.ts`), how values fit together (`checks.ts`, with a file of `checks/` for each section) and secrets. What any of
 * them finds becomes a problem with its place in the file (`problem.ts`); none hides another's. What passes exists twice:
 * as *settings*, the file's own words with all defaults, for people and for comparing; and resolved (`resolve.ts`,
 * `types.ts`), for the domains.
 */
export { formerWorkerSockets, formerXfrmDirectories, workerSocket, xfrmDirectory } from './beside-socket.ts';
export { type ConfigDiff, diffConfig } from './diff.ts';
export { isOfAnotherBox, type Loaded, loadConfig, missingPorts, parseConfig, type Refused } from './load.ts';
export { type LoginPort, managementProblems, type PortAtRisk, portsAtRisk } from './management-port.ts';
export { type ItemOf, type OverlayFileEdit, planOverlayEdit, readItem, readPolicy } from './overlay-edit.ts';
export { formatProblem, type Problem } from './problem.ts';
export { speakerConfig } from './roles.ts';
export { formatDuration, parseDuration } from './scalars.ts';
export { formatRate, protocolName } from './scalars-host.ts';
export { type GroupSettings, groupSchema, jsonSchema, type Settings } from './schema.ts';
export type * from './types.ts';
export { vrfProblems } from './vrf.ts';
export {
  ChangedMeanwhile,
  type GroupEdit,
  type PlannedEdit,
  type PortLinkEdit,
  planEdit,
  type RefusedEdit,
  saveConfig,
} from './write-back.ts';
