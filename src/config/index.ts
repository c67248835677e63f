/** The configuration: schema, loading, differences for a reload, changes written back. */
export { type ConfigDiff, diffConfig } from './diff.ts';
export { type Loaded, loadConfig, missingPorts, parseConfig, type Refused } from './load.ts';
export { formatProblem, type Problem } from './problem.ts';
export { formatDuration, parseDuration } from './scalars.ts';
export { type GroupSettings, groupSchema, jsonSchema, type Settings } from './schema.ts';
export type * from './types.ts';
export {
  type GroupEdit,
  type PlannedEdit,
  type PortLinkEdit,
  planEdit,
  type RefusedEdit,
  saveConfig,
} from './write-back.ts';
