/** The registry of the lab's cases, in the order in which they are driven and shown. */
import { agentKill } from './agent-kill.ts';
import type { LabCase } from './case.ts';
import { CASE_NAMES, type CaseName } from './names.ts';
import { nicDown } from './nic-down.ts';
import { restart } from './restart.ts';
import { serverLink } from './server-link.ts';
import { torDeath } from './tor-death.ts';
import { uplink } from './uplink.ts';

const BY_NAME: Readonly<Record<CaseName, LabCase>> = {
  'server-link': serverLink,
  'nic-down': nicDown,
  uplink,
  'tor-death': torDeath,
  'agent-kill': agentKill,
  restart,
};

export const CASES: readonly LabCase[] = CASE_NAMES.map((name) => BY_NAME[name]);

export const caseNamed = (name: CaseName): LabCase => BY_NAME[name];

export type { CasePhase, LabCase, LabHost, PhaseName } from './case.ts';
export type { Fib } from './fib.ts';
export { CASE_NAMES, type CaseName } from './names.ts';
