import test from 'ava';
import { bgpError, CODE, UPDATE } from '../../src/bgp/codec/errors.ts';
import type { Message, OpenMessage, UpdateMessage } from '../../src/bgp/codec/messages.ts';
import { collisionWinner } from '../../src/bgp/machine/open.ts';
import type { Effect, SessionConfig } from '../../src/bgp/machine/session.ts';
import { ceaseNotification, Session, shutdownCommunication } from '../../src/bgp/machine/session.ts';
import type { State } from '../../src/bgp/machine/state.ts';
import type { Address } from '../../src/model/address.ts';

const CONFIG: SessionConfig = {
  localAs: 65001,
  remoteAs: 65000,
  routerId: '10.255.0.1' as Address,
  hold: 3000,
  keepalive: 1000,
  connectRetry: 5000,
  passive: false,
  incoming: false,
  random: () => 1,
};

const OPEN: OpenMessage = {
  type: 'OPEN',
  version: 4,
  myAs: 65000,
  holdTime: 9,
  identifier: '10.255.0.254' as Address,
  capabilities: [
    { code: 'multiprotocol', afi: 1, safi: 1 },
    { code: 'route-refresh' },
    { code: 'four-octet-as', asn: 65000 },
  ],
};
const UPDATE_MESSAGE: UpdateMessage = {
  type: 'UPDATE',
  withdrawn: [],
  reach: [],
  attributes: {},
  problems: [],
  endOfRib: 4,
};

/** Effects as short words: what is asserted below. */
const brief = (effects: Effect[]) =>
  effects.map((effect) => {
    if (effect.type === 'send') {
      const { message } = effect;
      return message.type === 'NOTIFICATION' ? `NOTIFICATION ${message.code}/${message.subcode}` : message.type;
    }
    if (effect.type === 'transition') return `${effect.from}>${effect.to}`;
    return effect.type;
  });

const received = (message: Message | ReturnType<typeof bgpError>) => ({ type: 'Received', message }) as const;

/** A session brought into a state the ordinary way. */
function inState(state: State, config: Partial<SessionConfig> = {}, now = 0): Session {
  const session = new Session(
    { ...CONFIG, ...config, incoming: state === 'Active' || (config.incoming ?? false) },
    now,
  );
  if (state === 'Idle' || state === 'Active') return session;
  session.handle({ type: 'Start' }, now);
  if (state === 'Connect') return session;
  session.handle({ type: 'Tcp_CR_Acked' }, now);
  if (state === 'OpenSent') return session;
  session.handle(received(OPEN), now);
  if (state === 'OpenConfirm') return session;
  session.handle(received({ type: 'KEEPALIVE' }), now);
  return session;
}

test('the way up: Idle, Connect, OpenSent, OpenConfirm, Established', (t) => {
  const session = new Session(CONFIG, 0);
  t.deepEqual(brief(session.handle({ type: 'Start' }, 0)), ['connect', 'Idle>Connect']);
  t.deepEqual(brief(session.handle({ type: 'Tcp_CR_Acked' }, 1)), ['OPEN', 'Connect>OpenSent']);
  t.deepEqual(brief(session.handle(received(OPEN), 2)), ['KEEPALIVE', 'OpenSent>OpenConfirm']);
  t.deepEqual(brief(session.handle(received({ type: 'KEEPALIVE' }), 3)), ['OpenConfirm>Established']);
  t.deepEqual(brief(session.handle(received(UPDATE_MESSAGE), 4)), ['deliver']);
  t.is(session.negotiated?.hold, 3000);
  t.is(session.negotiated?.keepalive, 1000);
});

test('a connection that came in begins in Active', (t) => {
  const session = new Session({ ...CONFIG, incoming: true }, 0);
  t.deepEqual(brief(session.handle({ type: 'TcpConnectionConfirmed' }, 0)), ['OPEN', 'Active>OpenSent']);
  t.deepEqual(brief(session.handle({ type: 'TcpConnectionFails', reason: 'reset' }, 1)), ['close', 'OpenSent>Idle']);
  t.is(session.nextDeadline(), undefined, 'it does not start itself again');
});

test('a passive neighbour listens and never connects', (t) => {
  const session = new Session({ ...CONFIG, passive: true }, 0);
  t.deepEqual(brief(session.handle({ type: 'Start' }, 0)), ['Idle>Active']);
  t.is(session.nextDeadline(), undefined);
});

const cease = ceaseNotification(2);
const rows: [state: State, event: Parameters<Session['handle']>[0], effects: string[]][] = [
  ['Idle', received(OPEN), []],
  ['Idle', { type: 'TcpConnectionFails', reason: '' }, []],
  ['Connect', { type: 'ManualStop', notification: cease }, ['close', 'Connect>Idle']],
  ['Connect', { type: 'TcpConnectionFails', reason: 'refused' }, ['close', 'Connect>Idle']],
  ['Connect', { type: 'InterfaceDown', interface: 'A0' }, ['close', 'Connect>Idle']],
  ['Connect', { type: 'InterfaceUp' }, ['close', 'connect']],
  ['Idle', { type: 'InterfaceUp' }, ['connect', 'Idle>Connect']],
  ['OpenSent', { type: 'ManualStop', notification: cease }, ['NOTIFICATION 6/2', 'close', 'OpenSent>Idle']],
  ['OpenSent', received({ type: 'KEEPALIVE' }), ['NOTIFICATION 5/1', 'close', 'OpenSent>Idle']],
  ['OpenSent', received(UPDATE_MESSAGE), ['NOTIFICATION 5/1', 'close', 'OpenSent>Idle']],
  ['OpenSent', received({ ...OPEN, version: 3 }), ['NOTIFICATION 2/1', 'close', 'OpenSent>Idle']],
  ['OpenSent', received({ ...OPEN, myAs: 1, capabilities: [] }), ['NOTIFICATION 2/2', 'close', 'OpenSent>Idle']],
  ['OpenSent', received({ ...OPEN, identifier: '0.0.0.0' as Address }), ['NOTIFICATION 2/3', 'close', 'OpenSent>Idle']],
  ['OpenSent', received({ ...OPEN, holdTime: 2 }), ['NOTIFICATION 2/6', 'close', 'OpenSent>Idle']],
  ['OpenSent', { type: 'OpenCollisionDump' }, ['NOTIFICATION 6/7', 'close', 'OpenSent>Idle']],
  ['OpenConfirm', received(UPDATE_MESSAGE), ['NOTIFICATION 5/2', 'close', 'OpenConfirm>Idle']],
  ['OpenConfirm', { type: 'OpenCollisionDump' }, ['NOTIFICATION 6/7', 'close', 'OpenConfirm>Idle']],
  [
    'OpenConfirm',
    received({ type: 'NOTIFICATION', code: 6, subcode: 7, data: new Uint8Array() }),
    ['close', 'OpenConfirm>Idle'],
  ],
  ['Established', received(OPEN), ['NOTIFICATION 5/3', 'close', 'Established>Idle']],
  [
    'Established',
    received(bgpError(CODE.update, UPDATE.invalidNetworkField, 'x')),
    ['NOTIFICATION 3/10', 'close', 'Established>Idle'],
  ],
  ['Established', received(bgpError(CODE.header, 1, 'x')), ['NOTIFICATION 1/1', 'close', 'Established>Idle']],
  [
    'Established',
    received({ type: 'NOTIFICATION', code: 6, subcode: 2, data: new Uint8Array() }),
    ['close', 'Established>Idle'],
  ],
  ['Established', { type: 'InterfaceDown', interface: 'A0' }, ['NOTIFICATION 6/0', 'close', 'Established>Idle']],
  ['Established', { type: 'SendHoldTimer_Expires' }, ['NOTIFICATION 8/0', 'close', 'Established>Idle']],
  ['Established', { type: 'Start' }, []],
  ['Established', { type: 'InterfaceUp' }, []],
  ['Established', received({ type: 'ROUTE-REFRESH', afi: 1, safi: 1, subtype: 0 }), ['deliver']],
];
for (const [index, [state, event, effects]] of rows.entries()) {
  const what = event.type === 'Received' ? event.message.type : event.type;
  test(`row ${index}: ${what} in ${state}`, (t) => {
    t.deepEqual(brief(inState(state).handle(event, 10)), effects);
  });
}

test('the hold timer ends a silent session with 4/0; every message restarts it', (t) => {
  const session = inState('Established');
  t.deepEqual(brief(session.expire(2999)), ['KEEPALIVE']);
  session.handle(received(UPDATE_MESSAGE), 2999);
  t.deepEqual(brief(session.expire(5998)), ['KEEPALIVE']);
  t.deepEqual(brief(session.expire(5999)), ['NOTIFICATION 4/0', 'close', 'Established>Idle']);
});

test('the keepalive timer fires once a second, earlier by the jitter', (t) => {
  t.is(inState('Established').nextDeadline(), 1000);
  t.is(inState('Established', { random: () => 0 }).nextDeadline(), 750);
});

test('hold time 0: neither timer runs', (t) => {
  const session = inState('Established', { hold: 0 });
  t.is(session.negotiated?.hold, 0);
  t.is(session.nextDeadline(), undefined);
});

test('the smaller hold time counts, and keepalives come three times in it', (t) => {
  const session = inState('Established', { hold: 90_000, keepalive: 30_000 });
  t.is(session.negotiated?.hold, 9000);
  t.is(session.negotiated?.keepalive, 3000);
});

test('a neighbour that says nothing after TCP is given up', (t) => {
  const session = inState('OpenSent');
  t.deepEqual(brief(session.expire(10_000)), ['NOTIFICATION 4/0', 'close', 'OpenSent>Idle']);
});

test('pauses between attempts double up to the ceiling, and start anew when the link comes up', (t) => {
  const session = new Session(CONFIG, 0);
  session.handle({ type: 'Start' }, 0);
  const pauses: number[] = [];
  let now = 0;
  for (let attempt = 0; attempt < 8; attempt++) {
    session.handle({ type: 'TcpConnectionFails', reason: 'refused' }, now);
    const next = session.nextDeadline()!;
    pauses.push(next - now);
    now = next;
    session.expire(now);
  }
  t.deepEqual(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
  session.handle({ type: 'InterfaceUp' }, now);
  for (const expected of [100, 200, 200, 200, 200]) {
    session.handle({ type: 'TcpConnectionFails', reason: 'refused' }, now);
    t.is(session.nextDeadline()! - now, expected);
    now = session.nextDeadline()!;
    session.expire(now);
  }
});

test('a connection attempt ends with the connect retry timer, sooner when the link has just come up', (t) => {
  const session = inState('Connect');
  t.is(session.nextDeadline(), 5000);
  t.deepEqual(brief(session.expire(5000)), ['close', 'connect']);
  session.handle({ type: 'InterfaceUp' }, 6000);
  t.is(session.nextDeadline(), 6500);
});

test('a loss of the link waits for the link, with the longest pause as a net', (t) => {
  const session = inState('Established');
  session.handle({ type: 'InterfaceDown', interface: 'A0' }, 20_000);
  t.is(session.nextDeadline(), 25_000);
  t.deepEqual(brief(session.handle({ type: 'InterfaceUp' }, 20_100)), ['connect', 'Idle>Connect']);
});

test('a manual stop is final', (t) => {
  const session = inState('Established');
  session.handle({ type: 'ManualStop', notification: cease }, 10);
  t.is(session.nextDeadline(), undefined);
});

test('RFC 4271 §6.8, RFC 6286: the connection of the higher identifier survives, then of the higher AS', (t) => {
  t.is(collisionWinner(CONFIG, '10.255.0.254' as Address), 'theirs');
  t.is(collisionWinner(CONFIG, '10.0.0.1' as Address), 'ours');
  t.is(collisionWinner(CONFIG, CONFIG.routerId), 'ours');
});

test('RFC 8203: the shutdown communication, cut at 255 octets and at a whole character', (t) => {
  const message = ceaseNotification(2, 'wartung äöü');
  t.is(shutdownCommunication(message), 'wartung äöü');
  const long = ceaseNotification(2, 'ä'.repeat(200));
  t.is(long.data[0], 254);
  t.is(shutdownCommunication(long), 'ä'.repeat(127));
  t.is(shutdownCommunication({ ...message, data: message.data.subarray(0, 3) }), undefined);
});
