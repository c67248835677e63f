import test from 'ava';
import { judge } from '../../lab/campaign.ts';
import { CASES, expectedFib, fibDifferences, HOME_FIB, sameFib } from '../../lab/cases.ts';
import type { Observation } from '../../lab/observer/observer.ts';
import type { ProbeResult } from '../../lab/probe/prober.ts';
import { summarise } from '../../lab/run-cases.ts';
import { splitFor } from '../../lab/timeline.ts';
import { SERVERS } from '../../lab/topology/plan.ts';

const named = (name: string) => CASES.find((labCase) => labCase.name === name)!;

test('R4.5 figure 7: only 10.10.10.2/32 is expected to move', (t) => {
  t.deepEqual(fibDifferences(HOME_FIB, expectedFib(named('server-link'), 'fault')), ['10.10.10.2']);
});

test('R4.6 figure 10: C3 and C4 are expected to move, and all four /32s point to B', (t) => {
  const expected = expectedFib(named('uplink'), 'fault');
  t.deepEqual(fibDifferences(HOME_FIB, expected), ['10.10.10.1', '10.10.10.2']);
  t.true(Object.values(expected).every((via) => via.join() === 'B'));
});

test('every way back leads home', (t) => {
  for (const labCase of CASES) t.true(sameFib(expectedFib(labCase, 'back'), HOME_FIB), labCase.name);
});

test('a route that is missing and one that leads nowhere are the same', (t) => {
  t.true(sameFib({ '10.10.10.1': [] }, {}));
  t.deepEqual(fibDifferences({ '10.10.10.1': ['A', 'B'] }, { '10.10.10.1': ['A'] }), ['10.10.10.1']);
});

const C4 = SERVERS.find(({ name }) => name === 'C4')!;

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
  refused: 0,
});

const evidence = {
  labCase: named('server-link'),
  phase: 'fault',
  kind: 'peerless',
  from: 100,
  before: HOME_FIB,
  after: expectedFib(named('server-link'), 'fault'),
  expected: expectedFib(named('server-link'), 'fault'),
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
