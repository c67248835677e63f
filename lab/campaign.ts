/** Drives the cases against one kind of ToR: probe, fault, wait for G, verify, mend, wait, verify. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expectedFib, type Fib, fibDifferences, HOME_FIB, type LabCase, type Phase, sameFib } from './cases.ts';
import type { Faults, Victim } from './faults.ts';
import type { Helper } from './helper.ts';
import { gatewayFib, type Progress, startTor, teamFile, torSettings, waitForHome } from './lab.ts';
import { monotonic } from './monotonic.ts';
import type { Observation } from './observer/observer.ts';
import type { ProbeResult } from './probe/prober.ts';
import { gone, sleep, waitUntil } from './processes.ts';
import type { AgentFailover, PhaseRun } from './results.ts';
import type { LabState, TorKind } from './state.ts';
import type { TeamRecord } from './team/driver.ts';
import { splitFor } from './timeline.ts';
import { SERVERS, TOR_NAMES } from './topology/plan.ts';
import { agentFailovers } from './tor/peerless.ts';

/** Time before the fault in each window, so that what is lost at the edge shows. */
const LEAD = 150;
/**
 * Time after G's routes are as expected, still inside the window: what comes late is lost in it, and the next event
 * doesn't fall on the heels of this one. An OSPF router with default timers keeps to MinLSInterval, 5 s (RFC 2328
 * App. B), BIRD always: a link of G that comes back earlier than that after it went is told late by G, whatever the ToR
 * does, and no real outage is as short.
 */
function trailOf(labCase: LabCase, phase: Phase, state: LabState): number {
  if (phase === 'back') return 2000;
  const concernsAdjacency = labCase.name === 'uplink' || labCase.name === 'tor-death';
  const slow = state.protocol !== 'bgp' && (state.lsaTimers === 'default' || state.gateway === 'bird');
  return concernsAdjacency && slow ? 6000 : 1000;
}
/** After the last stray claim has gone. */
const CALM = 1000;
/** For packets that are still under way when a window ends. */
const SETTLE = 200;
const PATIENCE: Readonly<Record<Phase, number>> = { fault: 15_000, back: 40_000 };

export interface Tools {
  readonly state: LabState;
  readonly probe: Helper;
  readonly observer: Helper;
  readonly faults: Faults;
  readonly onProgress: Progress;
  /** Folder for what was observed, one file a phase. */
  readonly trace: string | undefined;
  readonly onProblem: (problem: string) => void;
}

export async function measureBaseline(tools: Tools, milliseconds: number): Promise<{ sent: number; lost: number }> {
  await tools.probe.request('begin');
  await sleep(milliseconds);
  const results = await tools.probe.request<ProbeResult[]>('end', SETTLE);
  return { sent: sum(results, (result) => result.sent), lost: sum(results, (result) => result.lost) };
}

/** The fault and its way back. The lab is at home before and, unless a problem is told, after. */
export async function runCase(tools: Tools, labCase: LabCase, kind: TorKind): Promise<PhaseRun[]> {
  const victim = victimOf(tools.state, kind);
  const results: PhaseRun[] = [];
  for (const phase of ['fault', 'back'] as const) {
    results.push(await runPhase(tools, labCase, phase, kind, victim));
  }
  if (!sameFib(await gatewayFib(tools.state.name), HOME_FIB)) {
    tools.onProblem(`${kind}: ${labCase.name}: the routes did not come home by themselves`);
    await waitForHome(tools.state.name);
  }
  await waitForCalm(tools, labCase, kind);
  return results;
}

/**
 * A case begins when the one before is over: the other ToR may still claim, at a worse metric, what has gone home, and
 * a second fault inside that time is another fault (FRR as G then waits for its timer of a second).
 */
async function waitForCalm(tools: Tools, labCase: LabCase, kind: TorKind): Promise<void> {
  let stray: string[] = [];
  const calm = await waitUntil(
    async () => {
      stray = await tools.observer.request<string[]>('strayClaims');
      return stray.length === 0;
    },
    20_000,
    100,
  );
  if (!calm) tools.onProblem(`${kind}: after ${labCase.name} these claims stay: ${stray.join(', ')}`);
  await sleep(CALM);
}

const victimOf = (state: LabState, kind: TorKind): Victim => ({
  processes: () => state.torProcesses.A,
  start: async (afterBoot) => {
    if (!(await gone(state.torProcesses.A, 5000))) throw new Error('killed processes are still there');
    await startTor(state, 'A', kind, afterBoot);
  },
});

async function runPhase(
  tools: Tools,
  labCase: LabCase,
  phase: Phase,
  kind: TorKind,
  victim: Victim,
): Promise<PhaseRun> {
  const { state, probe, observer, faults } = tools;
  const expected = expectedFib(labCase, phase);
  const before = await gatewayFib(state.name);
  await observer.request('begin');
  await probe.request('begin');
  const wallClock = Date.now();
  const windowStart = monotonic();
  await sleep(LEAD);
  const from = await (phase === 'fault' ? faults.inject(labCase.name, victim) : faults.mend(labCase.name, victim));
  for (const refusal of faults.takeRefusals()) tools.onProblem(`${labCase.name}: ${refusal}`);
  const there = await waitUntil(async () => sameFib(await observer.request<Fib>('fib'), expected), PATIENCE[phase], 50);
  if (!there) tools.onProblem(`${kind}: ${labCase.name} (${phase}): G's routes are not as expected in time`);
  await sleep(trailOf(labCase, phase, state));
  const streams = await probe.request<ProbeResult[]>('end', SETTLE);
  const observations = [
    ...(await observer.request<Observation[]>('report')),
    ...(await teamObservations(state.name, windowStart)),
  ].toSorted((left, right) => left.at - right.at);
  const after = await gatewayFib(state.name);
  const failovers = kind === 'peerless' ? await collectFailovers(state, wallClock) : [];
  if (tools.trace !== undefined) {
    const file = join(tools.trace, `${kind}-${labCase.name}-${phase}-${Math.round(from)}.json`);
    await writeFile(file, JSON.stringify({ from, before, after, streams, observations, failovers }, undefined, 1));
  }
  return judge({ labCase, phase, kind, from, before, after, expected, streams, observations, failovers });
}

interface Evidence {
  readonly labCase: LabCase;
  readonly phase: Phase;
  readonly kind: TorKind;
  readonly from: number;
  readonly before: Fib;
  readonly after: Fib;
  readonly expected: Fib;
  readonly streams: readonly ProbeResult[];
  readonly observations: readonly Observation[];
  readonly failovers: readonly AgentFailover[];
}

/** Pure: what the evidence of one phase says. */
export function judge(evidence: Evidence): PhaseRun {
  const { labCase, phase, kind, from, before, after, expected, streams, observations, failovers } = evidence;
  const concerned = (name: string): boolean => labCase.concerned.some((server) => server === name);
  const ours = streams.filter((stream) => concerned(stream.server));
  const others = streams.filter((stream) => !concerned(stream.server));
  const addresses = SERVERS.filter(({ name }) => concerned(name)).map(({ address }) => address);
  const changes = observations.filter((seen) => seen.kind === 'fib' && seen.at >= from);
  const last = changes.findLast((seen) => seen.kind === 'fib' && addresses.includes(seen.address));
  const flickered = changes.flatMap((seen) =>
    seen.kind === 'fib' && !addresses.includes(seen.address) && seen.via.join() !== before[seen.address]?.join()
      ? [seen.address]
      : [],
  );
  const splits = SERVERS.filter(({ name }) => concerned(name)).flatMap((server) => {
    const target = expected[server.address]?.[0];
    const split = target && splitFor(observations, server, from, target);
    return split ? [split] : [];
  });
  return {
    case: labCase.name,
    phase,
    tor: kind,
    lost: sum(ours, (stream) => stream.lost),
    lostToServers: sum(ours, (stream) => (stream.direction === 'to-server' ? stream.lost : 0)),
    outage: Math.max(0, ...ours.map((stream) => stream.outage)),
    probePause: Math.max(0, ...ours.map((stream) => stream.pause)),
    lostElsewhere: sum(others, (stream) => stream.lost),
    duplicates: sum(streams, (stream) => stream.duplicates),
    moved: fibDifferences(before, after),
    unexpected: fibDifferences(expected, after),
    flickered: [...new Set(flickered)],
    converged: last && last.at - from,
    splits,
    failovers,
  };
}

/** What the servers' teams saw of their links: they are the first to know. */
async function teamObservations(lab: string, since: number): Promise<Observation[]> {
  const lines = (await readFile(teamFile(lab), 'utf8')).split('\n').filter((line) => line !== '');
  return lines.flatMap((line): Observation[] => {
    const { at, server, event, nic } = JSON.parse(line) as TeamRecord;
    if (at < since || nic === undefined || (event !== 'link-lost' && event !== 'link-back')) return [];
    return [{ at, kind: 'link', node: server, port: nic, up: event === 'link-back' }];
  });
}

/** The agents' own failovers since `wallClock`; an agent that is dead has nothing to tell. */
async function collectFailovers(state: LabState, wallClock: number): Promise<AgentFailover[]> {
  const found: AgentFailover[] = [];
  for (const tor of TOR_NAMES) {
    try {
      const views = await agentFailovers(torSettings(state, tor).directory, 20);
      for (const { time, cause, steps } of views) {
        if (Date.parse(time) >= wallClock) found.push({ agent: tor, cause, steps });
      }
    } catch (error) {
      if (state.torProcesses[tor].length > 0 && !isDead(error)) throw error;
    }
  }
  return found;
}

const isDead = (error: unknown): boolean =>
  ['ENOENT', 'ECONNREFUSED', 'ECONNRESET'].includes((error as NodeJS.ErrnoException).code ?? '');

const sum = <T>(items: readonly T[], value: (item: T) => number): number =>
  items.reduce((total, item) => total + value(item), 0);
