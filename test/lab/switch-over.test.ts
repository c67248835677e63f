import test from 'ava';
import { judge } from '../../lab/campaign.ts';
import { HOME_FIB } from '../../lab/cases/fib.ts';
import { caseNamed } from '../../lab/cases/index.ts';
import type { Observation } from '../../lab/observer/observer.ts';
import type { ProbeResult } from '../../lab/probe/prober.ts';
import { notTheServers } from '../../lab/switch-over.ts';

const hole = { server: 'C3', count: 2, firstBy: 101, last: 103 };

test('R4.7 a drain: what a server sends between the shutting of its port and its own move is its own loss, nothing else', (t) => {
  t.deepEqual(notTheServers([hole], { C3: 101 }, { C3: 103 }), []);
  t.deepEqual(notTheServers([hole], { C3: 102 }, { C3: 103 }), [
    'C3 lost 2 packets on the way from it, 1.00 ms before its port was shut',
  ]);
  t.deepEqual(notTheServers([hole], { C3: 101 }, { C3: 102.5 }), [
    'C3 lost 2 packets on the way from it, 0.50 ms after it had changed its link',
  ]);
  t.is(notTheServers([hole], { C4: 101 }, { C3: 103 }).length, 1);
  t.is(notTheServers([hole, { ...hole, server: 'C4' }], { C3: 101, C4: 101 }, { C3: 103 }).length, 1);
});

test('judge: holes of the way from the servers, and when each server went to its other link', (t) => {
  const stream = (direction: ProbeResult['direction']): ProbeResult => ({
    server: 'C3',
    family: 4,
    direction,
    sent: 100,
    received: 98,
    lost: 2,
    duplicates: 0,
    reordered: 0,
    outage: 2,
    outageFrom: 100,
    pause: 1,
    holes: 1,
    where: [{ count: 2, firstBy: 101, last: 103 }],
    refused: 0,
  });
  const observations: Observation[] = [
    { at: 90, kind: 'switched', node: 'C3', port: 'eth-a' },
    { at: 101.5, kind: 'link', node: 'C3', port: 'eth-a', up: false },
    { at: 103, kind: 'switched', node: 'C3', port: 'eth-b' },
    { at: 900, kind: 'switched', node: 'C3', port: 'eth-a' },
  ];
  const run = judge({
    labCase: caseNamed('drain'),
    phase: caseNamed('drain').phases[0]!,
    kind: 'peerless',
    lossless: false,
    from: 50,
    before: HOME_FIB,
    after: HOME_FIB,
    expected: HOME_FIB,
    streams: [stream('to-server'), stream('from-server')],
    observations,
    failovers: [],
  });
  t.deepEqual(run.lossesFromServers, [hole]);
  t.deepEqual(run.switchedAt, { C3: 103 });
});
