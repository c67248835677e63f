import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import type { MapHistoryView, MapRowView, MapSwitchView } from '../../src/agent/map-api.ts';
import { HISTORY_COLUMNS, mapColumns, mapLines, SWITCH_COLUMNS } from '../../src/cli/map-text.ts';
import { table } from '../../src/cli/table.ts';
import type { Address, Mac } from '../../src/model/address.ts';

const PEERLESS = new URL('../../bin/peerless', import.meta.url).pathname;
const time = '2026-01-01T10:00:00.000Z';
const port = (name: string, state: 'up' | 'down' | 'shut' = 'up') => ({ port: name, state, since: time, why: '' });
const a = (text: string) => text as Address;

const row: MapRowView = {
  address: a('10.10.10.2'),
  state: 'up',
  since: time,
  why: 'announced by B',
  nextHops: [{ port: 'GB', via: a('192.0.2.6') }],
  places: [
    {
      routerId: a('10.255.0.2'),
      switchName: 'B',
      switchState: 'heard',
      state: 'up',
      since: time,
      why: 'announced by B',
      old: false,
      gatewayPort: port('GB'),
      uplink: port('B0'),
      downlink: port('B2'),
      macs: ['02:00:00:00:00:04' as Mac, '02:00:00:00:00:05' as Mac],
    },
    {
      routerId: a('10.255.0.1'),
      switchName: 'A\u001b[2J',
      switchState: 'heard',
      state: 'down',
      since: time,
      why: 'A2 lost carrier',
      old: true,
      gatewayPort: port('GA'),
      uplink: port('A0'),
      downlink: port('A2', 'down'),
      macs: [],
      lldp: { systemName: 'hv1', portId: 'eth0' },
    },
  ],
};

test('R4.8: an address with its places below each other; what is up needs no word, strangers no terminal', (t) => {
  const text = table(mapColumns([row]), mapLines([row]));
  const [head, now, before] = text.split('\n').map((line) => line.split(/ {2,}/));
  t.deepEqual(head, ['ADDRESS', 'STATE', 'SINCE', 'HERE', 'SWITCH', 'UPLINK', 'PORT', 'SERVER', 'WHY']);
  t.deepEqual(now?.toSpliced(2, 1), [
    '10.10.10.2',
    'up',
    'GB',
    'B',
    'B0',
    'B2',
    '02:00:00:00:00:04 and 1 more',
    'announced by B',
  ]);
  t.deepEqual(before?.toSpliced(2, 1), [
    '',
    'down (old)',
    'GA',
    'A?[2J',
    'A0',
    'A2 down',
    'hv1 eth0',
    'A2 lost carrier',
  ]);
});

test('two switches that call themselves alike are told apart', (t) => {
  const [one, other] = row.places as [MapRowView['places'][0], MapRowView['places'][0]];
  const alike = { ...row, places: [one, { ...other, switchName: 'B' }] };
  const text = table(mapColumns([alike]), mapLines([alike]));
  t.regex(text, /B \(10\.255\.0\.2\)[\s\S]*B \(10\.255\.0\.1\)/);
});

const history: MapHistoryView[] = [
  { kind: 'gateway', time, port: 'GA', to: 'down', why: 'GA lost carrier' },
  { kind: 'switch', time, routerId: a('10.255.0.1'), switchName: 'A', to: 'lost', why: 'session lost' },
  {
    kind: 'port',
    time,
    routerId: a('10.255.0.1'),
    switchName: 'A',
    port: 'A2',
    role: 'downlink',
    from: 'up',
    to: 'down',
    why: 'A2 lost carrier',
  },
  {
    kind: 'host',
    time,
    routerId: a('10.255.0.1'),
    switchName: 'A',
    address: a('10.10.10.2'),
    port: 'A2',
    uplink: 'A0',
    gatewayPort: 'GA',
    from: 'up',
    to: 'down',
    why: 'A2 lost carrier',
  },
];
const switches: MapSwitchView[] = [
  { routerId: a('10.255.0.1'), name: 'A', state: 'lost', since: time, why: 'session lost', ports: 5, addresses: 0 },
];

test('history and switches', (t) => {
  const lines = table(HISTORY_COLUMNS, history).split('\n');
  t.regex(lines[1]!, / gateway +GA +down +GA lost carrier$/);
  t.regex(lines[2]!, / switch +A +lost +session lost$/);
  t.regex(lines[3]!, / port +A A2 +up -> down +A2 lost carrier$/);
  t.regex(lines[4]!, / 10\.10\.10\.2 +GA A0 A A2 +up -> down +A2 lost carrier$/);
  t.regex(table(SWITCH_COLUMNS, switches), /A +10\.255\.0\.1 +lost +\S+ +5 +0 +session lost/);
});

/** Answers in a thread of its own, since the command is waited for in this one. */
function answering(answers: Readonly<Record<string, unknown>>): { socket: string; close(): Promise<unknown> } {
  const socket = join(tmpdir(), `peerless-map-${process.pid}.sock`);
  rmSync(socket, { force: true });
  const code = `
    const { createServer } = require('node:http'), { workerData } = require('node:worker_threads');
    createServer((q, r) => {
      const known = workerData.answers[q.url];
      r.writeHead(known === undefined ? 404 : 200, { 'content-type': 'application/json' });
      r.end(JSON.stringify(known ?? { error: { message: 'no such path: ' + q.url } }));
    }).listen(workerData.socket);`;
  const worker = new Worker(code, { eval: true, workerData: { answers, socket } });
  return { socket, close: () => worker.terminate() };
}

test.serial('R4.8: exit 1 for an address that nobody knows, 2 for what is none; JSON as it was answered', (t) => {
  const agent = answering({
    '/v1/map': [row],
    '/v1/map?address=10.10.10.2': [row],
    '/v1/map?address=10.9.9.9': [],
    '/v1/map/history?address=10.10.10.2': history,
    '/v1/map/history?address=10.9.9.9': [],
    '/v1/map/switches': switches,
  });
  const map = (...words: string[]) =>
    spawnSync(PEERLESS, ['map', ...words, '--socket', agent.socket], {
      encoding: 'utf8',
      env: { ...process.env, NO_COLOR: '1' },
    });
  try {
    const plain = map();
    t.is(plain.status, 0, plain.stderr);
    t.regex(plain.stdout, /10\.10\.10\.2 +up/);
    t.deepEqual(JSON.parse(map('10.10.10.2', '--json').stdout), [row] as unknown);
    t.deepEqual(JSON.parse(map('10.10.10.2', '--history', '--json').stdout), history as unknown);
    t.regex(map('--switches').stdout, /ROUTER ID/);
    for (const words of [['10.9.9.9'], ['10.9.9.9', '--history']]) {
      const unknown = map(...words);
      t.is(unknown.status, 1);
      t.regex(unknown.stderr, /10\.9\.9\.9 is not in the map/);
    }
    t.is(map('10.9.9').status, 2);
    t.is(map('10.9.9.9', '--switches').status, 2);
    t.is(map('--history', '--switches').status, 2);
  } finally {
    agent.close();
  }
});

test.serial('an agent that is a switch has no map, and says so', (t) => {
  const agent = answering({});
  try {
    const { status, stderr } = spawnSync(PEERLESS, ['map', '--socket', agent.socket], { encoding: 'utf8' });
    t.is(status, 1);
    t.regex(stderr, /this agent keeps no map\nAsk the one with role: gateway/);
    const hosts = spawnSync(PEERLESS, ['hosts', '--socket', agent.socket], { encoding: 'utf8' });
    t.is(hosts.status, 1);
    t.regex(hosts.stderr, /no such path: \/v1\/hosts\nThis agent has another role/);
  } finally {
    agent.close();
  }
});
