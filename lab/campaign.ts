/** Drives the cases against one kind of ToR: probe, fault, wait for G, verify, mend, wait, verify. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type CasePhase, isLossless, type LabCase } from './cases/case.ts';
import {
  addressesOf,
  expectedFib,
  type Fib,
  fibDifferences,
  homeFib,
  hostsOf,
  sameFib,
  withoutFree,
} from './cases/fib.ts';
import type { Faults } from './faults.ts';
import { gapsOf, lostInGaps } from './gaps.ts';
import { type Hands, handsOf } from './hands.ts';
import type { Helper } from './helper.ts';
import { gatewayFib, type Progress, teamFile, torSettings, waitForHome } from './lab.ts';
import { monotonic } from './monotonic.ts';
import type { Observation } from './observer/observer.ts';
import type { Endpoint, ProbeResult } from './probe/prober.ts';
import { sleep, waitUntil } from './processes.ts';
import type { AgentFailover, PhaseRun } from './results.ts';
import { isOurs, type LabState, type TorKind } from './state.ts';
import type { TeamRecord } from './team/driver.ts';
import { splitFor } from './timeline.ts';
import { TOR_NAMES } from './topology/plan.ts';
import { agentFailovers } from './tor/peerless.ts';

/** Time before the fault in each window, so that what is lost at the edge shows. */
const LEAD = 150;
/**
 * Time after G's routes are as expected, still inside the window: what comes late is lost in it, and the next event
 * doesn't fall on the heels of this one. An OSPF router with default timers keeps to MinLSInterval, 5 s (RFC 2328
 * App. B), BIRD always: a link of G that comes back earlier than that after it went is told late by G, whatever the ToR
 * does, and no real outage is as short.
 */
function trailOf(phase: CasePhase, state: LabState): number {
  const slow = state.protocol !== 'bgp' && (state.lsaTimers === 'default' || state.gateway === 'bird');
  if (phase.adjacencyLost && slow) return Math.max(phase.trail ?? 0, 6000);
  return phase.trail ?? (phase.name === 'back' ? 2000 : 1000);
}
/** After the last stray claim has gone. */
const CALM = 1000;
/** For packets that are still under way when a window ends. */
const SETTLE = 200;
/** Breaking is quick; a way back may have to wait for a protocol's timers. */
const PATIENCE = { first: 15_000, later: 40_000 };

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

const endpointsOf = (labCase: LabCase | undefined): readonly Endpoint[] =>
  hostsOf(labCase)
    .filter(({ probed }) => probed)
    .map(({ name, node, address, address6 }) => ({ name, node, address, address6 }));

export async function measureBaseline(tools: Tools, milliseconds: number): Promise<{ sent: number; lost: number }> {
  await tools.probe.request('begin');
  await sleep(milliseconds);
  const results = await tools.probe.request<ProbeResult[]>('end', SETTLE);
  return { sent: sum(results, (result) => result.sent), lost: sum(results, (result) => result.lost) };
}

/** All phases of a case. The lab is at home before and, unless a problem is told, after. */
export async function runCase(tools: Tools, labCase: LabCase, kind: TorKind): Promise<PhaseRun[]> {
  const { state } = tools;
  const hands = handsOf(state, kind, tools.faults, () => tools.observer.request<string[]>('strayClaims'));
  const results: PhaseRun[] = [];
  try {
    await labCase.prepare?.(hands);
    await tools.probe.request('endpoints', endpointsOf(labCase));
    await tools.observer.request('home', homeFib(state.families, labCase));
    if (labCase.hosts) {
      await waitForHome(state, labCase);
      await sleep(CALM);
    }
    for (const phase of labCase.phases) results.push(await runPhase(tools, labCase, phase, hands));
    if (!sameFib(await gatewayFib(state.name, state.families), homeFib(state.families, labCase))) {
      tools.onProblem(`${kind}: ${labCase.name}: the routes did not come home by themselves`);
      await waitForHome(state, labCase);
    }
    await waitForCalm(tools, labCase, kind);
  } finally {
    if (labCase.hosts) await tools.probe.request('endpoints', endpointsOf(undefined));
    await labCase.restore?.(hands);
  }
  if (labCase.hosts) {
    await waitForHome(state, labCase.home ? { home: labCase.home } : undefined);
    await tools.observer.request('home', homeFib(state.families));
    await tools.observer.request('forgetClaims');
  }
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
  await tellMissed(tools, `${kind}: after ${labCase.name}`);
  if (!calm) tools.onProblem(`${kind}: after ${labCase.name} these claims stay: ${stray.join(', ')}`);
  await sleep(CALM);
}

/** What the observer says is as good as what it has seen. */
async function tellMissed({ observer, onProblem }: Tools, where: string): Promise<void> {
  for (const missed of await observer.request<string[]>('missed')) onProblem(`${where}: ${missed}`);
}

async function runPhase(tools: Tools, labCase: LabCase, phase: CasePhase, hands: Hands): Promise<PhaseRun> {
  const { state, probe, observer, faults } = tools;
  const { kind } = hands;
  const where = `${kind}: ${labCase.name} (${phase.name})`;
  const expected = expectedFib(labCase, phase, state.families);
  const asExpected = (fib: Fib): boolean => sameFib(withoutFree(fib, labCase, phase), expected);
  const before = await gatewayFib(state.name, state.families);
  await observer.request('begin');
  await probe.request('begin');
  const wallClock = Date.now();
  const windowStart = monotonic();
  await sleep(LEAD);
  const from = await phase.act(hands);
  for (const refusal of faults.takeRefusals()) tools.onProblem(`${where}: ${refusal}`);
  const patience = phase.patience ?? (phase === labCase.phases[0] ? PATIENCE.first : PATIENCE.later);
  if (!(await waitUntil(async () => asExpected(await observer.request<Fib>('fib')), patience, 50))) {
    tools.onProblem(`${where}: G's routes are not as expected in time`);
  }
  await sleep(trailOf(phase, state));
  const streams = await probe.request<ProbeResult[]>('end', SETTLE);
  const observations = [
    ...(await observer.request<Observation[]>('report')),
    ...(await teamObservations(state.name, windowStart)),
  ].toSorted((left, right) => left.at - right.at);
  await tellMissed(tools, where);
  const after = await gatewayFib(state.name, state.families);
  const failovers = isOurs(kind) ? await collectFailovers(state, wallClock) : [];
  if (tools.trace !== undefined) {
    const file = join(tools.trace, `${kind}-${labCase.name}-${phase.name}-${Math.round(from)}.json`);
    await writeFile(file, JSON.stringify({ from, before, after, streams, observations, failovers }, undefined, 1));
  }
  const lossless = isLossless(phase, state);
  const judged = judge({
    labCase,
    phase,
    kind,
    lossless,
    from,
    before,
    after: withoutFree(after, labCase, phase),
    expected,
    streams,
    observations,
    failovers,
  });
  const failures = (await phase.verify?.(hands, judged)) ?? [];
  for (const failure of failures) tools.onProgress(`${where}: ${failure}`);
  return { ...judged, failures };
}

interface Evidence {
  readonly labCase: LabCase;
  readonly phase: CasePhase;
  readonly kind: TorKind;
  readonly lossless: boolean;
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
  const { labCase, phase, kind, lossless, from, before, after, expected, streams, observations, failovers } = evidence;
  const names = new Set(phase.concerned ?? labCase.concerned);
  const concerned = (name: string): boolean => names.has(name);
  const hosts = hostsOf(labCase).filter(({ name }) => concerned(name));
  const ours = streams.filter((stream) => concerned(stream.server));
  const others = streams.filter((stream) => !concerned(stream.server));
  const addresses = new Set(hosts.flatMap((host) => addressesOf(host, [4, 6])));
  const changes = observations.filter((seen) => seen.kind === 'fib' && seen.at >= from);
  const last = changes.findLast((seen) => seen.kind === 'fib' && addresses.has(seen.address));
  const flickered = changes.flatMap((seen) =>
    seen.kind === 'fib' && !addresses.has(seen.address) && seen.via.join() !== before[seen.address]?.join()
      ? [seen.address]
      : [],
  );
  const gaps = gapsOf(observations);
  const holesTo = (name: string) =>
    streams.flatMap(({ server, family, direction, where }) =>
      server === name && family === 6 && direction === 'to-server' ? where : [],
    );
  const probed = hosts.filter((host) => host.probed);
  const splits = probed.flatMap((host) => {
    const address = addressesOf(host, [4, 6]).find((each) => expected[each] !== undefined);
    const target = address === undefined ? undefined : expected[address]?.[0];
    const split = target && splitFor(observations, { node: host.node, address: address! }, from, target);
    return split ? [split] : [];
  });
  return {
    case: labCase.name,
    phase: phase.name,
    tor: kind,
    lossless,
    failures: [],
    lost: sum(ours, (stream) => stream.lost),
    lostToServers: sum(ours, (stream) => (stream.direction === 'to-server' ? stream.lost : 0)),
    lostAtGateway: sum(hostsOf(labCase), ({ name, address6 }) =>
      address6 === undefined ? 0 : lostInGaps(address6, holesTo(name), gaps),
    ),
    lossesFromServers: ours.flatMap(({ direction, server, where }) =>
      direction === 'from-server' ? where.map((hole) => ({ ...hole, server })) : [],
    ),
    switchedAt: Object.fromEntries(
      probed.flatMap(({ name, node }) => {
        const lost = observations.find(
          (seen) => seen.kind === 'link' && seen.node === node && !seen.up && seen.at >= from,
        );
        const over =
          lost && observations.find((seen) => seen.kind === 'switched' && seen.node === node && seen.at >= lost.at);
        return over ? [[name, over.at]] : [];
      }),
    ),
    outage: Math.max(0, ...ours.map((stream) => stream.outage)),
    probePause: Math.max(0, ...ours.map((stream) => stream.pause)),
    lostElsewhere: sum(others, (stream) => stream.lost),
    lossesElsewhere: others.flatMap(({ server, direction, where, refused }) =>
      where.map(({ count, firstBy, last }) => {
        const when = `${(firstBy - from).toFixed(1)} to ${(last - from).toFixed(1)} ms`;
        return `${server} ${direction}: ${count} from ${when}${refused > 0 ? ', its own kernel refused some' : ''}`;
      }),
    ),
    duplicates: sum(streams, (stream) => stream.duplicates),
    moved: fibDifferences(withoutFree(before, labCase, phase), after),
    unexpected: fibDifferences(expected, after),
    updates: observations.filter(
      (seen) => (seen.kind === 'announce' || seen.kind === 'withdraw') && addresses.has(seen.address),
    ).length,
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
    if (at < since || nic === undefined) return [];
    if (event === 'garp') return [{ at, kind: 'switched', node: server, port: nic }];
    if (event !== 'link-lost' && event !== 'link-back') return [];
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
