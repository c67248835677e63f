/** The faults of the lab as data: who is concerned, and where G's host routes must point afterwards. */
import { homeOf, SERVERS, type ServerName, type TorName } from './topology/plan.ts';

export type CaseName = 'server-link' | 'nic-down' | 'uplink' | 'tor-death' | 'agent-kill';
export type Phase = 'fault' | 'back';

export interface LabCase {
  readonly name: CaseName;
  readonly title: string;
  /** Servers whose traffic may suffer; all others must lose nothing. */
  readonly concerned: readonly ServerName[];
  /** Where the routes of the concerned servers lead after the fault; undefined: nowhere. */
  readonly leadsTo: TorName | undefined;
}

const AT_HOME_ON_A = SERVERS.filter((server) => homeOf(server) === 'A').map(({ name }) => name);

export const CASES: readonly LabCase[] = [
  { name: 'server-link', title: 'server link down (A2, fig. 7)', concerned: ['C4'], leadsTo: 'B' },
  { name: 'nic-down', title: 'NIC down at the server (C4)', concerned: ['C4'], leadsTo: 'B' },
  { name: 'uplink', title: 'uplink down (G-A, fig. 10)', concerned: AT_HOME_ON_A, leadsTo: 'B' },
  { name: 'tor-death', title: 'ToR A loses power', concerned: AT_HOME_ON_A, leadsTo: 'B' },
  { name: 'agent-kill', title: "A's agent killed (SIGKILL)", concerned: AT_HOME_ON_A, leadsTo: undefined },
];

/** Address -> the ToRs that G's FIB names for it. */
export type Fib = Readonly<Record<string, readonly TorName[]>>;

export const HOME_FIB: Fib = Object.fromEntries(SERVERS.map((server) => [server.address, [homeOf(server)]]));

export function expectedFib(labCase: LabCase, phase: Phase): Fib {
  if (phase === 'back') return HOME_FIB;
  return Object.fromEntries(
    SERVERS.map((server) => {
      if (!labCase.concerned.includes(server.name)) return [server.address, [homeOf(server)]];
      return [server.address, labCase.leadsTo ? [labCase.leadsTo] : []];
    }),
  );
}

export const sameFib = (left: Fib, right: Fib): boolean => fibDifferences(left, right).length === 0;

/** Addresses that lead elsewhere in `right` than in `left`. */
export function fibDifferences(left: Fib, right: Fib): string[] {
  const addresses = new Set([...Object.keys(left), ...Object.keys(right)]);
  return [...addresses]
    .filter((address) => (left[address] ?? []).toSorted().join() !== (right[address] ?? []).toSorted().join())
    .toSorted();
}
