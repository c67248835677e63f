import test from 'ava';
import { elect } from '../../src/ospf/machine/election.ts';
import { INTERFACE_TABLE, interfaceTransition } from '../../src/ospf/machine/interface.ts';
import { NEIGHBOR_TABLE, neighborTransition } from '../../src/ospf/machine/neighbor.ts';
import { ip } from './simulation.ts';

// RFC 2328 §10.3, read off the text: state, event, adjacency wanted, next state, what happens to the neighbour.
const neighborRows = [
  ['Down', 'HelloReceived', true, 'Init', 'restart inactivity timer'],
  ['Init', 'HelloReceived', true, 'Init', 'restart inactivity timer'],
  ['Full', 'HelloReceived', true, 'Full', 'restart inactivity timer'],
  ['Init', '2-WayReceived', true, 'ExStart', 'begin negotiation'],
  ['Init', '2-WayReceived', false, '2-Way', 'none'],
  ['2-Way', '2-WayReceived', true, '2-Way', 'none'],
  ['Exchange', '2-WayReceived', true, 'Exchange', 'none'],
  ['ExStart', 'NegotiationDone', true, 'Exchange', 'begin exchange'],
  ['Exchange', 'ExchangeDone', true, 'Loading', 'begin loading'],
  ['Loading', 'LoadingDone', true, 'Full', 'none'],
  ['2-Way', 'AdjOK?', true, 'ExStart', 'begin negotiation'],
  ['2-Way', 'AdjOK?', false, '2-Way', 'none'],
  ['Full', 'AdjOK?', true, 'Full', 'none'],
  ['Full', 'AdjOK?', false, '2-Way', 'clear lists'],
  ['ExStart', 'AdjOK?', false, '2-Way', 'clear lists'],
  ['Exchange', 'SeqNumberMismatch', true, 'ExStart', 'restart negotiation'],
  ['Loading', 'SeqNumberMismatch', true, 'ExStart', 'restart negotiation'],
  ['Full', 'SeqNumberMismatch', true, 'ExStart', 'restart negotiation'],
  ['Exchange', 'BadLSReq', true, 'ExStart', 'restart negotiation'],
  ['Loading', 'BadLSReq', true, 'ExStart', 'restart negotiation'],
  ['Full', 'BadLSReq', true, 'ExStart', 'restart negotiation'],
  ['2-Way', '1-WayReceived', true, 'Init', 'clear lists'],
  ['Full', '1-WayReceived', true, 'Init', 'clear lists'],
  ['Init', '1-WayReceived', true, 'Init', 'none'],
  ['Init', 'KillNbr', true, 'Down', 'clear all'],
  ['Full', 'KillNbr', true, 'Down', 'clear all'],
  ['Exchange', 'InactivityTimer', true, 'Down', 'clear all'],
  ['Loading', 'LLDown', true, 'Down', 'clear all'],
] as const;

for (const [state, event, adjacent, next, action] of neighborRows) {
  test(`neighbour ${state} + ${event}${adjacent ? '' : ' (no adjacency wanted)'} -> ${next}`, (t) => {
    t.deepEqual(neighborTransition(state, event, adjacent), { state: next, action });
  });
}

test('events that mean nothing in a state have no row', (t) => {
  t.is(neighborTransition('Down', '2-WayReceived', true), undefined);
  t.is(neighborTransition('Init', 'NegotiationDone', true), undefined);
  t.is(neighborTransition('ExStart', 'SeqNumberMismatch', true), undefined);
  t.is(neighborTransition('Full', 'LoadingDone', true), undefined);
  t.is(neighborTransition('2-Way', 'ExchangeDone', true), undefined);
});

test('from every neighbour state the loss of the neighbour leads Down', (t) => {
  for (const state of Object.keys(NEIGHBOR_TABLE) as (keyof typeof NEIGHBOR_TABLE)[]) {
    for (const event of ['KillNbr', 'InactivityTimer', 'LLDown'] as const) {
      t.is(neighborTransition(state, event, true)?.state, 'Down');
    }
  }
});

const interfaceRows = [
  ['Down', 'InterfaceUp', 'point-to-point', 1, { action: 'start', state: 'Point-to-point' }],
  ['Down', 'InterfaceUp', 'broadcast', 1, { action: 'start', state: 'Waiting' }],
  ['Down', 'InterfaceUp', 'broadcast', 0, { action: 'start', state: 'DR Other' }],
  ['Waiting', 'BackupSeen', 'broadcast', 1, { action: 'elect' }],
  ['Waiting', 'WaitTimer', 'broadcast', 1, { action: 'elect' }],
  ['Waiting', 'NeighborChange', 'broadcast', 1, undefined],
  ['DR', 'NeighborChange', 'broadcast', 1, { action: 'elect' }],
  ['Backup', 'NeighborChange', 'broadcast', 1, { action: 'elect' }],
  ['DR Other', 'NeighborChange', 'broadcast', 1, { action: 'elect' }],
  ['Point-to-point', 'NeighborChange', 'point-to-point', 1, undefined],
  ['Full' as 'DR', 'InterfaceUp', 'broadcast', 1, undefined],
  ['Down', 'InterfaceDown', 'broadcast', 1, undefined],
] as const;

for (const [state, event, network, priority, expected] of interfaceRows) {
  test(`interface ${state} + ${event} on ${network}, priority ${priority}`, (t) => {
    t.deepEqual(interfaceTransition(state, event, network, priority), expected);
  });
}

test('from every interface state but Down, InterfaceDown resets', (t) => {
  for (const state of Object.keys(INTERFACE_TABLE) as (keyof typeof INTERFACE_TABLE)[]) {
    if (state === 'Down') continue;
    t.deepEqual(interfaceTransition(state, 'InterfaceDown', 'broadcast', 1), { action: 'reset', state: 'Down' });
  }
});

/** [host part of the address, priority, declared DR, declared Backup]; the router id follows the address. */
type Row = readonly [number, number, number, number];
const at = (n: number) => (n === 0 ? 0 : ip(`192.0.2.${n}`));
const candidate = ([n, priority, dr, backup]: Row) => ({
  routerId: ip(`10.255.0.${n}`),
  address: at(n),
  priority,
  designatedRouter: at(dr),
  backupDesignatedRouter: at(backup),
});

const elections: [string, Row, Row[], number, number, string][] = [
  ['alone: we are DR, nobody is Backup', [1, 1, 0, 0], [], 1, 0, 'DR'],
  // §9.4 (4) repeats the calculation only for who gains or loses a role: the other one hears of it first.
  ['two newcomers, seen by the lesser: the other is both for now', [1, 1, 0, 0], [[2, 1, 0, 0]], 2, 2, 'DR Other'],
  ['... and once the other has declared itself, we are Backup', [1, 1, 2, 2], [[2, 1, 2, 1]], 2, 1, 'Backup'],
  ['two newcomers, seen by the higher router id: DR, the other Backup', [2, 1, 0, 0], [[1, 1, 0, 0]], 2, 1, 'DR'],
  ['priority counts before the router id', [1, 9, 0, 0], [[2, 1, 0, 0]], 1, 2, 'DR'],
  ['priority 0 never takes a role', [9, 0, 1, 0], [[1, 1, 1, 0]], 1, 0, 'DR Other'],
  [
    'a DR that stands is not displaced',
    [9, 9, 0, 0],
    [
      [1, 1, 1, 2],
      [2, 1, 1, 2],
    ],
    1,
    2,
    'DR Other',
  ],
  ['a newcomer to a network without Backup takes it', [9, 9, 0, 0], [[1, 1, 1, 0]], 1, 9, 'Backup'],
  [
    'the DR is gone: Backup becomes DR, the best other becomes Backup',
    [2, 1, 1, 2],
    [
      [3, 1, 1, 2],
      [4, 5, 1, 2],
    ],
    2,
    4,
    'DR',
  ],
  [
    'the same, seen by who becomes Backup',
    [4, 5, 1, 2],
    [
      [2, 1, 2, 2],
      [3, 1, 1, 2],
    ],
    2,
    4,
    'Backup',
  ],
  ['two that both claim DR after a split: the better one wins', [1, 1, 1, 0], [[2, 1, 2, 0]], 2, 1, 'Backup'],
];

for (const [title, self, others, dr, backup, state] of elections) {
  test(`election: ${title}`, (t) => {
    t.deepEqual(elect(candidate(self), others.map(candidate)), {
      designatedRouter: at(dr),
      backupDesignatedRouter: at(backup),
      state: state as 'DR',
    });
  });
}
