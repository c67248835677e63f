/** What a run found out: one row for each case, phase and kind of ToR. */
import type { CaseName, PhaseName } from './cases/case.ts';
import type { Hole } from './probe/streams.ts';
import type { TorKind } from './state.ts';
import type { Spread } from './statistics.ts';
import type { Split } from './timeline.ts';
import type { Family, Protocol } from './topology/plan.ts';

export interface ServerLoss extends Hole {
  readonly server: string;
}

/** How a kind of ToR is called in tables and in what is told. */
export const TOR_TITLE: Readonly<Record<TorKind, string>> = {
  peerless: 'peerless',
  shadow: '+ shadow',
  repair: '+ shadow, repair',
  router: '+ G = peerless',
  frr: 'FRR (today)',
};

/** One fault or one way back, once. */
export interface PhaseRun {
  readonly case: CaseName;
  readonly phase: PhaseName;
  readonly tor: TorKind;
  /** Nobody may lose a packet in it. */
  readonly lossless: boolean;
  /** What is wrong beside routes and loss, by the case's own look. */
  readonly failures: readonly string[];
  /** Packets of the concerned servers that were lost, both directions. */
  readonly lost: number;
  /** Those of them that went from the client to the servers. */
  readonly lostToServers: number;
  /** Those of all servers that fell into a gap of G's own making (gaps.ts). */
  readonly lostAtGateway: number;
  /** What went the other way and was lost, hole by hole. */
  readonly lossesFromServers: readonly ServerLoss[];
  /** By server: when its team first sent by the other link after it had seen one go; ms of CLOCK_MONOTONIC. */
  readonly switchedAt: Readonly<Record<string, number>>;
  /** The longest outage of a concerned server, ms. */
  readonly outage: number;
  /** The probe's longest pause, ms: the machine was busy, and an outage may be shorter by so much than it was. */
  readonly probePause: number;
  /** Packets lost by servers that have nothing to do with it. */
  readonly lostElsewhere: number;
  /** Where and when they did, in plain words, ms from the fault. */
  readonly lossesElsewhere: readonly string[];
  readonly duplicates: number;
  /** Addresses whose way changed, as G's FIB shows them at the end. */
  readonly moved: readonly string[];
  /** Addresses that moved and should not have, or should have and did not. */
  readonly unexpected: readonly string[];
  /** What the fabric was told of the concerned hosts: announcements and withdrawals at G's ports, of both ToRs. */
  readonly updates: number;
  /** Addresses that changed for a moment only and should not have. */
  readonly flickered: readonly string[];
  /** From the fault to the last change of G's FIB for a concerned server, ms. */
  readonly converged: number | undefined;
  readonly splits: readonly Split[];
  /** The agents' own account of the failover. */
  readonly failovers: readonly AgentFailover[];
}

export interface AgentFailover {
  readonly agent: 'A' | 'B';
  readonly cause: string;
  readonly steps: readonly { readonly name: string; readonly us: number }[];
}

export interface Row {
  readonly case: CaseName;
  readonly phase: PhaseName;
  readonly tor: TorKind;
  readonly runs: number;
  readonly lost: Spread;
  readonly outage: Spread;
  readonly lostElsewhere: number;
  readonly asExpected: boolean;
  readonly lossless: boolean;
  /** Runs of a lossless phase in which somebody lost a packet. */
  readonly lossyRuns: number;
  readonly failures: readonly string[];
  readonly moved: readonly string[];
  readonly converged: Spread | undefined;
  /** Stages of the failover, see timeline.ts. */
  readonly toServer: Spread | undefined;
  readonly server: Spread | undefined;
  readonly us: Spread | undefined;
  readonly gateway: Spread | undefined;
  /** Of the run with the median outage. */
  readonly failovers: readonly AgentFailover[];
}

export interface LabResult {
  readonly lab: string;
  readonly protocol: Protocol;
  readonly gateway: string;
  readonly containers: boolean;
  readonly ports: string;
  readonly families: readonly Family[];
  readonly updelay: number;
  /** Packets sent and lost on the idle lab, before any case. */
  readonly baseline: readonly { readonly tor: TorKind; readonly sent: number; readonly lost: number }[];
  /** G's own time from an announcement at its port to its FIB, ms, over all phases in which it was seen. */
  readonly floor: Spread | undefined;
  readonly rows: readonly Row[];
  readonly runs: readonly PhaseRun[];
  /** What went wrong without ending the run, in plain words. */
  readonly problems: readonly string[];
}
