import test from 'ava';
import { judge } from '../../lab/campaign.ts';
import { expectedFib, fibDifferences, HOME_FIB, hostsOf, sameFib } from '../../lab/cases/fib.ts';
import { CASES, type CaseName, caseNamed } from '../../lab/cases/index.ts';
import type { Observation } from '../../lab/observer/observer.ts';
import type { ProbeResult } from '../../lab/probe/prober.ts';
import type { PhaseRun } from '../../lab/results.ts';
import { summarise } from '../../lab/run-cases.ts';
import { splitFor } from '../../lab/timeline.ts';
import { SERVERS } from '../../lab/topology/plan.ts';
import { passed, verdicts } from '../../lab/verdicts.ts';

const phaseOf = (name: CaseName, phase: string) => caseNamed(name).phases.find((each) => each.name === phase)!;
const fibAfter = (name: CaseName, phase: string) => expectedFib(caseNamed(name), phaseOf(name, phase));

test('R4.5 figure 7: only 10.10.10.2/32 is expected to move', (t) => {
  t.deepEqual(fibDifferences(HOME_FIB, fibAfter('server-link', 'fault')), ['10.10.10.2']);
});

test('R4.6 figure 10: C3 and C4 are expected to move, and all four /32s point to B', (t) => {
  const expected = fibAfter('uplink', 'fault');
  t.deepEqual(fibDifferences(HOME_FIB, expected), ['10.10.10.1', '10.10.10.2']);
  t.true(Object.values(expected).every((via) => via.join() === 'B'));
});

test('every way back leads home', (t) => {
  for (const labCase of CASES) {
    if (labCase.standard) t.true(sameFib(expectedFib(labCase, labCase.phases.at(-1)!), HOME_FIB), labCase.name);
  }
});

test('every case has phases with names of their own, and what it names is there', (t) => {
  for (const labCase of CASES) {
    const names = labCase.phases.map(({ name }) => name);
    t.true(names.length > 0, labCase.name);
    t.is(new Set(names).size, names.length, labCase.name);
    const hosts = new Set(hostsOf(labCase).map(({ name }) => name));
    for (const phase of labCase.phases) {
      const named = [...Object.keys(phase.leads ?? {}), ...(phase.concerned ?? labCase.concerned)];
      for (const host of named) t.true(hosts.has(host), `${labCase.name} ${phase.name}: ${host}`);
    }
  }
});

test('a route that is missing and one that leads nowhere are the same', (t) => {
  t.true(sameFib({ '10.10.10.1': [] }, {}));
  t.deepEqual(fibDifferences({ '10.10.10.1': ['A', 'B'] }, { '10.10.10.1': ['A'] }), ['10.10.10.1']);
});

const C4 = { node: 'C4', address: SERVERS.find(({ name }) => name === 'C4')!.address };

const failover: readonly Observation[] = [
  { at: 90, kind: 'announce', tor: 'B', protocol: 'ospf', address: '10.10.10.2' },
  { at: 101, kind: 'link', node: 'C4', port: 'eth-a', up: false },
  { at: 101.2, kind: 'link', node: 'A', port: 'A2', up: false },
  { at: 101.4, kind: 'arp', tor: 'B', port: 'B2', address: '10.10.10.2' },
  { at: 101.5, kind: 'withdraw', tor: 'A', protocol: 'ospf', address: '10.10.10.2' },
  { at: 102, kind: 'announce', tor: 'B', protocol: 'ospf', address: '10.10.10.2' },
  { at: 105, kind: 'fib', address: '10.10.10.2', via: [] },
  { at: 112, kind: 'fib', address: '10.10.10.2', via: ['B'] },
];

test('the split of a failover: to the server, the server, us, G', (t) => {
  const split = splitFor(failover, C4, 100, 'B')!;
  const rounded = Object.fromEntries(Object.entries(split).map(([name, value]) => [name, Math.round(value * 10) / 10]));
  t.deepEqual(rounded, { toServer: 1, server: 0.4, us: 0.6, gateway: 10 });
});

test('no split without G, and no stage that was not seen', (t) => {
  t.is(splitFor(failover.slice(0, -1), C4, 100, 'B'), undefined);
  const withoutArp = failover.filter(({ kind }) => kind !== 'arp');
  t.deepEqual(Object.keys(splitFor(withoutArp, C4, 100, 'B')!), ['toServer', 'gateway']);
});

const streamOf = (server: ProbeResult['server'], lost: number): ProbeResult => ({
  server,
  family: 4,
  direction: 'to-server',
  sent: 100,
  received: 100 - lost,
  lost,
  duplicates: 0,
  reordered: 0,
  outage: lost,
  outageFrom: undefined,
  pause: 1,
  holes: lost > 0 ? 1 : 0,
  where: lost > 0 ? [{ count: lost, firstBy: 101, last: 100 + lost }] : [],
  refused: 0,
});

const evidence = {
  labCase: caseNamed('server-link'),
  phase: phaseOf('server-link', 'fault'),
  kind: 'peerless',
  lossless: false,
  from: 100,
  before: HOME_FIB,
  after: fibAfter('server-link', 'fault'),
  expected: fibAfter('server-link', 'fault'),
  streams: [streamOf('C4', 12), streamOf('C3', 0)],
  observations: failover,
  failovers: [],
} as const;

test('judge: what moved, what was lost, how long it took', (t) => {
  t.like(judge(evidence), {
    lost: 12,
    outage: 12,
    lostElsewhere: 0,
    moved: ['10.10.10.2'],
    unexpected: [],
    flickered: [],
    converged: 12,
  });
});

test('judge: loss of a server not concerned, a route that moved too, one that flickered', (t) => {
  const result = judge({
    ...evidence,
    after: { ...evidence.after, '10.10.10.1': ['B'] },
    streams: [streamOf('C4', 12), streamOf('C3', 3)],
    observations: [...failover, { at: 113, kind: 'fib', address: '10.10.10.4', via: ['A', 'B'] }],
  });
  t.is(result.lostElsewhere, 3);
  t.deepEqual(result.lossesElsewhere, ['C3 to-server: 3 from 1.0 to 3.0 ms']);
  t.deepEqual(result.moved, ['10.10.10.1', '10.10.10.2']);
  t.deepEqual(result.unexpected, ['10.10.10.1']);
  t.deepEqual(result.flickered, ['10.10.10.4']);
});

test('summarise: one row a case, phase and ToR; one wrong run makes the row wrong', (t) => {
  const good = judge(evidence);
  const rows = summarise([good, { ...good, outage: 20, unexpected: ['10.10.10.1'] }, { ...good, tor: 'frr' }]);
  t.is(rows.length, 2);
  t.like(rows[0], { tor: 'peerless', runs: 2, asExpected: false, outage: { median: 16, min: 12, max: 20 } });
  t.like(rows[1], { tor: 'frr', runs: 1, asExpected: true });
});

test('verdicts: a lossless phase passes or fails, others only fail; ours alone decides', (t) => {
  const still = { ...judge({ ...evidence, lossless: true }), lost: 0 };
  const rowsOf = (...runs: PhaseRun[]) => summarise(runs);
  const saying = (...runs: PhaseRun[]) => verdicts(rowsOf(...runs)).map(({ pass, text }) => `${pass} ${text}`);
  t.deepEqual(saying(judge(evidence)), []);
  t.deepEqual(saying(still, still), ['true server-link fault: nobody lost a packet']);
  t.deepEqual(saying(still, { ...still, lost: 1 }), ['false server-link fault: packets lost in 1 of 2 runs']);
  t.deepEqual(saying({ ...still, lostElsewhere: 2 }), [
    'false server-link fault: packets lost in 1 of 1 runs; 2 packets lost by hosts that are not concerned',
  ]);
  t.deepEqual(saying({ ...still, unexpected: ['10.10.10.1'] }), [
    'false server-link fault: routes did not come out as expected',
  ]);
  t.deepEqual(saying({ ...still, failures: ['no event'] }), ['false server-link fault: no event']);
  const result = (run: PhaseRun) => ({ rows: rowsOf(run) });
  t.true(passed(result(still)));
  t.false(passed(result({ ...still, lost: 1 })));
  t.true(passed(result({ ...still, lost: 1, tor: 'frr' })));
});
