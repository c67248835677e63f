/** The face of the host table to the agent. */
export * from './driver.ts';
export { NO_MAC } from './machine/shadows.ts';
export { HostTable } from './machine/table.ts';
export type * from './machine/types.ts';
export type * from './options.ts';
export type { SweepPlan } from './sources/sweep.ts';
