/** `labRun`: every case, every kind of ToR, as often as asked, on a lab that stands. */
import { mkdirSync } from 'node:fs';
import { measureBaseline, runCase, type Tools } from './campaign.ts';
import { type Capture, startCapture } from './capture.ts';
import { fits, isVariant, type LabCase } from './cases/case.ts';
import { CASES, type CaseName } from './cases/index.ts';
import { Faults } from './faults.ts';
import { Helper } from './helper.ts';
import { changeTors, DEFAULT_NAME, type Progress } from './lab.ts';
import { makeNeighbourRoom } from './neighbour-room.ts';
import { sleep } from './processes.ts';
import type { AgentFailover, LabResult, PhaseRun, Row } from './results.ts';
import { loadState, type TorKind } from './state.ts';
import { medianOf, type Spread, spread } from './statistics.ts';
import type { Split } from './timeline.ts';

export interface LabRunOptions {
  readonly name?: string;
  /** How often each case is driven. Default 3. */
  readonly runs?: number;
  /** Default: the standard ones. They are driven in the order of CASES; those that need ToRs of their own come last. */
  readonly cases?: readonly CaseName[];
  /** The same cases with other ToRs too, in the same run. */
  readonly compare?: readonly TorKind[];
  /** Overrides which kinds of ToR are driven; default `peerless` and those of `compare`. */
  readonly tors?: readonly TorKind[];
  /** Directory for one pcap file a port of G, without the probe's packets. */
  readonly capture?: string;
  /** Directory for everything that was observed, one JSON file a phase. */
  readonly trace?: string;
  /** The ToRs keep what the last case gave them: for who takes the lab down next, or drives the same case again. */
  readonly keepSettings?: boolean;
  readonly onProgress?: Progress;
}

/** @throws Error when the lab doesn't stand or a part of it stops working */
export async function labRun(options: LabRunOptions = {}): Promise<LabResult> {
  const { name = DEFAULT_NAME, runs = 3, onProgress = () => undefined } = options;
  const state = loadState(name);
  const cases = CASES.filter(({ name, standard }) => (options.cases ? options.cases.includes(name) : standard));
  const kinds = options.tors ?? [...new Set<TorKind>(['peerless', ...(options.compare ?? [])])];
  if (kinds.includes('frr') && state.families.includes(6)) {
    throw new Error("today's practice is IPv4 alone (its redistributor knows no other): use a lab with --family 4");
  }
  if (kinds.includes('frr') && state.ports === 'sonic') {
    throw new Error("today's practice shuts ports in the kernel: use a lab with other --ports");
  }
  const problems: string[] = [];
  const results: PhaseRun[] = [];
  const baseline: { tor: TorKind; sent: number; lost: number }[] = [];
  const probe = Helper.start('./probe/main', import.meta.url, [name, state.families.join(',')]);
  const observer = Helper.start('./observer/main', import.meta.url, [name, state.families.join(',')]);
  const faults = new Faults(name, state.ports === 'sonic');
  let capture: Capture | undefined;
  let emptyRoom: (() => void) | undefined;
  try {
    emptyRoom = makeNeighbourRoom(Math.max(0, ...cases.map(({ hosts }) => hosts?.length ?? 0)));
    if (options.capture !== undefined) capture = await startCapture(name, options.capture);
    const onProblem = (problem: string): void => {
      problems.push(problem);
      onProgress(`PROBLEM: ${problem}`);
    };
    if (options.trace !== undefined) mkdirSync(options.trace, { recursive: true });
    const tools: Tools = { state, probe, observer, faults, onProgress, onProblem, trace: options.trace };
    for (const tor of kinds) {
      const fit = cases.filter((labCase) => isFit(labCase, tor, tools));
      await furnish(tools, tor, fit.every(isVariant) ? fit[0] : undefined);
      const idle = await measureBaseline(tools, 2000);
      baseline.push({ tor, ...idle });
      onProgress(`${tor}: idle lab: ${idle.sent} packets, ${idle.lost} lost`);
      if (idle.lost > 0) onProblem(`${tor}: the idle lab lost ${idle.lost} packets`);
      const drive = async (labCase: LabCase, round: number): Promise<void> => {
        const phases = await runCase(tools, labCase, tor);
        results.push(...phases);
        for (const phase of phases) onProgress(`${tor} ${round}/${runs} ${describe(phase)}`);
      };
      for (let round = 1; round <= runs; round++) {
        for (const labCase of fit) if (!isVariant(labCase)) await drive(labCase, round);
      }
      for (const labCase of fit.filter(isVariant)) {
        await furnish(tools, tor, labCase);
        for (let round = 1; round <= runs; round++) await drive(labCase, round);
      }
      if (state.variant !== undefined && !options.keepSettings) await furnish(tools, tor, undefined);
    }
  } finally {
    emptyRoom?.();
    faults.close();
    await Promise.all([probe.stop(), observer.stop(), capture?.stop()]);
  }
  return {
    lab: name,
    protocol: state.protocol,
    gateway: state.ownGateway,
    containers: state.containers !== undefined,
    ports: state.ports,
    families: state.families,
    updelay: state.updelay,
    baseline,
    floor: gatewayFloor(results),
    rows: summarise(results),
    runs: results,
    problems,
  };
}

/** The ToRs that a case needs; nothing is done when they stand already. */
async function furnish({ state, observer, onProgress }: Tools, tor: TorKind, variant: LabCase | undefined) {
  if (state.tor !== tor || state.variant !== variant?.name) await changeTors(state, tor, onProgress, variant);
  await observer.request('forgetClaims');
  await sleep(1000);
}

function isFit(labCase: LabCase, tor: TorKind, { state, onProgress }: Tools): boolean {
  const reason = fits(labCase, tor) ? labCase.unfit?.(state) : `not with ${tor} as the ToRs`;
  if (reason !== undefined) onProgress(`${labCase.name} is left out: ${reason}`);
  return reason === undefined;
}

/**
 * G's time from an announcement to its FIB after a fault: no adjacency has to come up first, and no older claim has to
 * go.
 */
function gatewayFloor(results: readonly PhaseRun[]): Spread | undefined {
  const faults = results.filter(({ phase }) => phase === 'fault');
  return spread(faults.flatMap(({ splits }) => splits.flatMap(({ gateway }) => gateway ?? [])));
}

const describe = (phase: PhaseRun): string =>
  `${phase.case} ${phase.phase}: ${phase.lost} lost, outage ${phase.outage.toFixed(1)} ms, moved ${phase.moved.length > 8 ? `${phase.moved.length} addresses` : phase.moved.join(' ') || 'nothing'}${phase.lossesElsewhere.map((loss) => `; also lost: ${loss}`).join('')}`;

/** Pure: one row for each case, phase and kind of ToR, in the order in which they were first driven. */
export function summarise(results: readonly PhaseRun[]): Row[] {
  const groups = Map.groupBy(results, ({ case: name, phase, tor }) => `${tor} ${name} ${phase}`);
  return [...groups.values()].map((group): Row => {
    const first = group[0]!;
    const stage = (pick: keyof Split) =>
      spread(group.flatMap(({ splits }) => splits.flatMap((split) => split[pick] ?? [])));
    return {
      case: first.case,
      phase: first.phase,
      tor: first.tor,
      runs: group.length,
      lost: spread(group.map(({ lost }) => lost))!,
      outage: spread(group.map(({ outage }) => outage))!,
      lostElsewhere: group.reduce((total, { lostElsewhere }) => total + lostElsewhere, 0),
      asExpected: group.every(({ unexpected, flickered }) => unexpected.length === 0 && flickered.length === 0),
      lossless: group.some(({ lossless }) => lossless),
      lossyRuns: group.filter(
        ({ lossless, lost, lostElsewhere, lostAtGateway }) => lossless && lost + lostElsewhere > lostAtGateway,
      ).length,
      failures: [...new Set(group.flatMap(({ failures }) => failures))],
      moved: first.moved,
      converged: spread(group.flatMap(({ converged }) => converged ?? [])),
      toServer: stage('toServer'),
      server: stage('server'),
      us: stage('us'),
      gateway: stage('gateway'),
      failovers: ofMedianRun(group),
    };
  });
}

function ofMedianRun(group: readonly PhaseRun[]): readonly AgentFailover[] {
  const median = medianOf(group.map(({ outage }) => outage))!;
  const nearest = group.toSorted((left, right) => Math.abs(left.outage - median) - Math.abs(right.outage - median))[0]!;
  return nearest.failovers;
}
