/** The registry of the lab's cases, in the order in which they are driven and shown. */
import { activeActive } from './active-active.ts';
import { agentKill } from './agent-kill.ts';
import { restartBfd, silentUplinkBfd } from './bfd.ts';
import type { LabCase } from './case.ts';
import { CROWDS } from './crowd.ts';
import { drain } from './drain.ts';
import { duplicate } from './duplicate.ts';
import { failbackStale } from './failback-stale.ts';
import { handoffBird, handoffFrr, staticRoutes } from './handoff.ts';
import { many } from './many.ts';
import { CASE_NAMES, type CaseName } from './names.ts';
import { nicDown } from './nic-down.ts';
import { restart } from './restart.ts';
import { serverLink } from './server-link.ts';
import { silentUplink } from './silent-uplink.ts';
import { torDeath } from './tor-death.ts';
import { uplink } from './uplink.ts';
import { vmLink } from './vm-link.ts';
import { vmMove } from './vm-move.ts';

const BY_NAME: Readonly<Record<(typeof CASE_NAMES)[number], LabCase>> = {
  'server-link': serverLink,
  'nic-down': nicDown,
  uplink,
  'tor-death': torDeath,
  'agent-kill': agentKill,
  'vm-link': vmLink,
  'vm-move': vmMove,
  'failback-stale': failbackStale,
  duplicate,
  many,
  'active-active': activeActive,
  restart,
  'silent-uplink': silentUplink,
  'silent-uplink-bfd': silentUplinkBfd,
  'restart-bfd': restartBfd,
  drain,
  'handoff-frr': handoffFrr,
  'handoff-bird': handoffBird,
  static: staticRoutes,
};

export const CASES: readonly LabCase[] = [...CASE_NAMES.map((name) => BY_NAME[name]), ...CROWDS];

export const caseNamed = (name: CaseName): LabCase => CASES.find((each) => each.name === name)!;

export type { CasePhase, LabCase, LabHost, PhaseName } from './case.ts';
export type { Fib } from './fib.ts';
export { CASE_NAMES, type CaseName, CROWD_NAMES } from './names.ts';
