/**
 * The lab of the worked example (document 004, figures 7 and 10): gateway G, switches A and B without a link between
 * them, servers C1-C4 each with a team of two links, a client X behind G; faults, a probe, and a table of what each
 * fault cost.
 *
 * `topology/` says what there is and builds it; `gateway/` and `tor/` hold what runs on G, A and B; `team/` is the
 * servers' bonding; `probe/` and `observer/` measure, in processes of their own; `faults.ts` breaks and mends;
 * `cases/` says what is broken and what must come of it; `campaign.ts` and `run-cases.ts` drive. Everything of a lab lives in namespaces named after it and in
 * `/run/peerless-lab/NAME`.
 */
export { malformedPackets } from './capture.ts';
export { CASE_NAMES, CASES, type CaseName, type Fib, type LabCase, type PhaseName } from './cases/index.ts';
export {
  DEFAULT_NAME,
  gatewayFib,
  type LabUpOptions,
  type LabUpResult,
  labDown,
  labUp,
  type Progress,
} from './lab.ts';
export type { AgentFailover, LabResult, PhaseRun, Row } from './results.ts';
export { type LabRunOptions, labRun } from './run-cases.ts';
export type { GatewayKind, TorKind } from './state.ts';
export { renderTable } from './table.ts';
export type { PortMode } from './topology/build.ts';
export type { Protocol } from './topology/plan.ts';
export { passed, verdicts } from './verdicts.ts';
