/** RFC 5880 §6 by two sessions that talk to each other, and by one that is talked to. */
import test from 'ava';
import fc from 'fast-check';
import { type ControlPacket, DIAGNOSTIC, type SessionState } from '../../src/bfd/codec/packet.ts';
import {
  BfdSession,
  type Remembered,
  type SessionEffect,
  type SessionEvent,
  type SessionSettings,
} from '../../src/bfd/machine/session.ts';

const SETTINGS: SessionSettings = { interval: 100, multiplier: 3 };

const said = (overrides: Partial<ControlPacket> = {}): ControlPacket => ({
  diagnostic: 0,
  state: 'Down',
  poll: false,
  final: false,
  controlPlaneIndependent: false,
  demand: false,
  detectMult: 3,
  myDiscriminator: 77,
  yourDiscriminator: 1,
  desiredMinTxInterval: 100_000,
  requiredMinRxInterval: 100_000,
  requiredMinEchoRxInterval: 0,
  ...overrides,
});

/** One session, its peer's words written by the test. */
class Alone {
  now = 0;
  readonly session: BfdSession;
  sent: ControlPacket[] = [];
  sentAt: number[] = [];
  states: Extract<SessionEffect, { type: 'state' }>[] = [];
  discarded: string[] = [];

  constructor(
    options: { settings?: SessionSettings; random?: () => number; direct?: boolean; remembered?: Remembered } = {},
  ) {
    const { settings = SETTINGS, random = () => 1, direct = true, remembered } = options;
    this.session = new BfdSession({ ...settings, discriminator: 1, random, direct, remembered });
    this.feed({ type: 'path', up: true });
  }

  feed(event: SessionEvent): void {
    for (const effect of this.session.handle(event, this.now)) {
      if (effect.type === 'send') {
        this.sent.push(effect.packet);
        this.sentAt.push(this.now);
      } else if (effect.type === 'state') this.states.push(effect);
      else this.discarded.push(effect.reason);
    }
  }

  hear(overrides: Partial<ControlPacket> = {}): void {
    this.feed({ type: 'packet', packet: said(overrides) });
  }

  /** Runs the timers that are due until then. */
  wait(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const at = this.session.nextDeadline();
      if (at === undefined || at > end) break;
      this.now = Math.max(this.now, at);
      this.feed({ type: 'tick' });
    }
    this.now = end;
  }

  up(): this {
    this.hear();
    this.hear({ state: 'Init' });
    this.hear({ state: 'Up', final: true });
    this.hear({ state: 'Up' });
    return this;
  }

  forget(): void {
    this.sent = [];
    this.sentAt = [];
    this.states = [];
  }
}

/** Two sessions and a wire; `delay` ms each way, nothing passes where `cut`. */
class Pair {
  now = 0;
  readonly ends: readonly [BfdSession, BfdSession];
  readonly states: string[][] = [[], []];
  readonly failures = [0, 0];
  readonly cut = [false, false];
  readonly wire: { at: number; to: number; packet: ControlPacket }[] = [];

  constructor(one: SessionSettings, other: SessionSettings, random: () => number = () => 0.5) {
    this.ends = [
      new BfdSession({ ...one, discriminator: 11, random, direct: true }),
      new BfdSession({ ...other, discriminator: 22, random, direct: true }),
    ];
    for (const index of [0, 1]) this.feed(index, { type: 'path', up: true });
  }

  feed(index: number, event: SessionEvent): void {
    for (const effect of this.ends[index]!.handle(event, this.now)) {
      if (effect.type === 'send') {
        if (!this.cut[index]) this.wire.push({ at: this.now + 1, to: 1 - index, packet: effect.packet });
      } else if (effect.type === 'state') {
        this.states[index]!.push(effect.to);
        if (effect.failure) this.failures[index]!++;
      }
    }
  }

  wait(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const due = [this.wire[0]?.at, ...this.ends.map((each) => each.nextDeadline())];
      const next = Math.min(...due.map((at) => at ?? Number.POSITIVE_INFINITY));
      if (next > end) break;
      this.now = Math.max(this.now, next);
      // Packets first, as the driver does it.
      while (this.wire[0] && this.wire[0].at <= this.now) {
        const { to, packet } = this.wire.shift()!;
        this.feed(to, { type: 'packet', packet });
      }
      for (const index of [0, 1]) this.feed(index, { type: 'tick' });
    }
    this.now = end;
  }

  both = () => this.ends.map(({ state }) => state);
}

test('R4.6 two ends come Up by three packets and agree on their intervals', (t) => {
  const pair = new Pair({ interval: 100, multiplier: 3 }, { interval: 300, multiplier: 5 });
  pair.wait(20);
  t.deepEqual(pair.both(), ['Up', 'Up']);
  pair.wait(2_000);
  t.deepEqual(pair.failures, [0, 0]);
  t.deepEqual(pair.ends[0].intervals, { transmit: 300, detection: 1_500 });
  t.deepEqual(pair.ends[1].intervals, { transmit: 300, detection: 900 });
});

test('R4.6 a wire that is cut in one direction brings both ends down, the one by silence, the other by its word', (t) => {
  const pair = new Pair(SETTINGS, SETTINGS);
  pair.wait(4_000);
  t.deepEqual(pair.both(), ['Up', 'Up']);
  pair.cut[0] = true;
  const cutAt = pair.now;
  while (pair.both().includes('Up') && pair.now < cutAt + 5_000) pair.wait(1);
  t.true(pair.now - cutAt <= 302, `${pair.now - cutAt} ms`);
  t.deepEqual(pair.failures, [1, 1]);
  t.is(pair.ends[1].diagnostic, DIAGNOSTIC.controlDetectionTimeExpired);
  t.is(pair.ends[0].diagnostic, DIAGNOSTIC.neighborSignaledSessionDown);
  pair.wait(3_000);
  t.false(pair.both().includes('Up'));
  pair.cut[0] = false;
  pair.wait(2_100);
  t.deepEqual(pair.both(), ['Up', 'Up']);
});

test('whatever is lost, both ends come Up in the end and stay so', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.boolean(), fc.boolean(), fc.integer({ min: 0, max: 900 })), { maxLength: 12 }),
      fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
      (faults, chances) => {
        const pair = new Pair(SETTINGS, { interval: 50, multiplier: 1 }, () => chances.next().value!);
        for (const [one, other, ms] of faults) {
          pair.cut[0] = one;
          pair.cut[1] = other;
          pair.wait(ms);
        }
        pair.cut[0] = pair.cut[1] = false;
        pair.wait(5_000);
        t.deepEqual(pair.both(), ['Up', 'Up']);
        const before = [...pair.failures];
        pair.wait(5_000);
        t.deepEqual(pair.failures, before);
      },
    ),
    { numRuns: 200 },
  );
});

const TABLE: readonly [SessionState, SessionState, SessionState][] = [
  ['Down', 'AdminDown', 'Down'],
  ['Down', 'Down', 'Init'],
  ['Down', 'Init', 'Up'],
  ['Down', 'Up', 'Down'],
  ['Init', 'AdminDown', 'Down'],
  ['Init', 'Down', 'Init'],
  ['Init', 'Init', 'Up'],
  ['Init', 'Up', 'Up'],
  ['Up', 'AdminDown', 'Down'],
  ['Up', 'Down', 'Down'],
  ['Up', 'Init', 'Up'],
  ['Up', 'Up', 'Up'],
];

for (const [ours, received, next] of TABLE) {
  test(`RFC 5880 §6.8.6: ${received} heard while ${ours} leads to ${next}`, (t) => {
    const end = new Alone();
    if (ours !== 'Down') end.hear();
    if (ours === 'Up') end.hear({ state: 'Init' });
    t.is(end.session.state, ours);
    end.hear({ state: received });
    t.is(end.session.state, next);
    t.is(end.sent.at(-1)!.state, next);
  });
}

test('while it is not Up it speaks once a second at most, and at least three quarters of that', (t) => {
  let chance = 0;
  const end = new Alone({ random: () => (chance = 1 - chance) });
  end.wait(10_000);
  const gaps = end.sentAt.slice(1).map((at, index) => at - end.sentAt[index]!);
  t.true(gaps.length >= 10);
  for (const gap of gaps) t.true(gap >= 750 && gap <= 1_000, `${gap}`);
  for (const packet of end.sent) t.like(packet, { state: 'Down', desiredMinTxInterval: 1_000_000, poll: false });
});

test('jitter: three quarters to the whole; to nine tenths when one packet missed ends the session', (t) => {
  for (const [multiplier, most] of [
    [3, 1],
    [1, 0.9],
  ] as const) {
    for (const random of [0, 0.999999]) {
      const end = new Alone({ settings: { interval: 100, multiplier }, random: () => random }).up();
      end.forget();
      for (let ms = 0; ms < 1_000; ms++) {
        end.wait(1);
        end.hear({ state: 'Up' });
      }
      const gaps = end.sentAt.slice(1).map((at, index) => at - end.sentAt[index]!);
      const expected = 100 * (0.75 + random * (most - 0.75));
      // Looked at once a millisecond.
      for (const gap of gaps) t.true(Math.abs(gap - expected) < 1.1, `${gap} instead of ${expected}`);
    }
  }
});

test('going Up is a change of the interval: it is told by a Poll Sequence that ends with the Final', (t) => {
  const end = new Alone();
  end.hear();
  end.hear({ state: 'Init' });
  t.like(end.sent.at(-1), { state: 'Up', poll: true, desiredMinTxInterval: 100_000, yourDiscriminator: 77 });
  end.hear({ state: 'Up' });
  end.wait(100);
  t.true(end.sent.at(-1)!.poll);
  end.hear({ state: 'Up', final: true });
  end.wait(100);
  t.false(end.sent.at(-1)!.poll);
});

test('a Poll is answered at once with a Final, and never with both bits', (t) => {
  const end = new Alone();
  end.hear({ poll: true });
  t.like(end.sent.at(-1), { state: 'Init', final: true, poll: false });
  end.hear({ state: 'Init', poll: true });
  t.like(end.sent.at(-1), { state: 'Up', final: true, poll: false });
  t.false(end.sent.some(({ poll, final }) => poll && final));
  end.wait(100);
  t.like(end.sent.at(-1), { state: 'Up', final: false, poll: true });
});

test('slower than before only when the peer knows; faster at once', (t) => {
  const end = new Alone().up();
  end.feed({ type: 'configure', settings: { interval: 400, multiplier: 3 } });
  t.like(end.sent.at(-1), { poll: true, desiredMinTxInterval: 400_000, requiredMinRxInterval: 400_000 });
  t.deepEqual(end.session.intervals, { transmit: 100, detection: 1_200 });
  end.hear({ state: 'Up', final: true });
  t.deepEqual(end.session.intervals, { transmit: 400, detection: 1_200 });
  end.hear({ state: 'Up' });
  end.feed({ type: 'configure', settings: { interval: 50, multiplier: 3 } });
  t.like(end.sent.at(-1), { poll: true, desiredMinTxInterval: 50_000, requiredMinRxInterval: 50_000 });
  // The peer still sends as slowly as it was told.
  t.deepEqual(end.session.intervals, { transmit: 100, detection: 1_200 });
  end.hear({ state: 'Up', final: true, requiredMinRxInterval: 10_000, desiredMinTxInterval: 50_000 });
  t.deepEqual(end.session.intervals, { transmit: 50, detection: 150 });
});

test('a second change waits until the Poll Sequence of the first is over', (t) => {
  const end = new Alone().up();
  end.feed({ type: 'configure', settings: { interval: 400, multiplier: 3 } });
  end.feed({ type: 'configure', settings: { interval: 700, multiplier: 3 } });
  t.is(end.sent.at(-1)!.desiredMinTxInterval, 400_000);
  t.false(end.session.settled);
  end.hear({ state: 'Up', final: true });
  t.is(end.sent.at(-1)!.desiredMinTxInterval, 400_000);
  end.hear({ state: 'Up' });
  t.like(end.sent.at(-1), { poll: true, desiredMinTxInterval: 700_000 });
  t.is(end.session.intervals.transmit, 400);
  end.hear({ state: 'Up', final: true });
  t.is(end.session.intervals.transmit, 700);
  t.true(end.session.settled);
});

test('the detection time is the multiplier of the peer times the slower of what it sends and we ask for', (t) => {
  const end = new Alone().up();
  end.hear({ state: 'Up', detectMult: 5, desiredMinTxInterval: 200_000 });
  end.wait(999);
  t.is(end.session.state, 'Up');
  end.wait(1);
  t.is(end.session.state, 'Down');
  t.like(end.states.at(-1), { from: 'Up', to: 'Down', failure: true, reason: 'nothing was heard for 1000 ms' });
  t.like(end.sent.at(-1), { diagnostic: DIAGNOSTIC.controlDetectionTimeExpired, yourDiscriminator: 0 });
});

test('a discriminator that was not heard for a detection time is forgotten, also while Down', (t) => {
  const end = new Alone().up();
  end.hear({ state: 'AdminDown' });
  t.is(end.session.remote.discriminator, 77);
  end.wait(2_000);
  t.is(end.session.remote.discriminator, 0);
  t.is(end.sent.at(-1)!.yourDiscriminator, 0);
});

test('RFC 5882 §3.2: a peer that switches BFD off is Down, and is no failure', (t) => {
  const end = new Alone().up();
  end.hear({ state: 'AdminDown', diagnostic: DIAGNOSTIC.administrativelyDown });
  t.like(end.states.at(-1), { from: 'Up', to: 'Down', failure: false });
  const other = new Alone().up();
  other.hear({ state: 'Down', diagnostic: DIAGNOSTIC.controlDetectionTimeExpired });
  t.like(other.states.at(-1), { from: 'Up', to: 'Down', failure: true });
});

test('Path Down: of a neighbour it means that its session is gone, of a peer many hops away what it says', (t) => {
  for (const direct of [true, false]) {
    const end = new Alone({ direct }).up();
    end.hear({ state: 'Down', diagnostic: DIAGNOSTIC.pathDown });
    t.like(end.states.at(-1), { from: 'Up', to: 'Down', failure: !direct });
    t.is(end.session.switchedOff, direct);
  }
});

test('a peer that begins anew is no failure, whatever it calls it; one that has not heard us is', (t) => {
  for (const [diagnostic, failure] of [
    [DIAGNOSTIC.none, false],
    [DIAGNOSTIC.neighborSignaledSessionDown, false],
    [DIAGNOSTIC.controlDetectionTimeExpired, true],
    [DIAGNOSTIC.forwardingPlaneReset, true],
    [31, false],
  ] as const) {
    const end = new Alone().up();
    end.hear({ state: 'Down', diagnostic });
    t.like(end.states.at(-1), { from: 'Up', to: 'Down', failure });
    end.hear({ state: 'Init' });
    t.is(end.session.state, 'Up');
  }
});

test('what was never Up fails nothing', (t) => {
  const end = new Alone();
  end.hear();
  t.is(end.session.state, 'Init');
  end.wait(10_000);
  t.is(end.session.state, 'Down');
  t.false(end.states.some(({ failure }) => failure));
});

test('a peer that asks for demand mode hears nothing unasked while both are Up', (t) => {
  const end = new Alone().up();
  end.hear({ state: 'Up', demand: true });
  end.forget();
  for (let times = 0; times < 20; times++) {
    end.wait(100);
    end.hear({ state: 'Up', demand: true });
  }
  t.is(end.sent.length, 0);
  end.hear({ state: 'Up', demand: true, poll: true });
  t.like(end.sent, [{ final: true }]);
  end.feed({ type: 'configure', settings: { interval: 200, multiplier: 3 } });
  t.true(end.sent.at(-1)!.poll);
  end.hear({ state: 'Up', demand: true, final: true });
  end.forget();
  end.hear({ state: 'Up' });
  end.wait(400);
  t.true(end.sent.length >= 2);
});

test('a peer that takes no packets gets none unasked', (t) => {
  const end = new Alone().up();
  end.hear({ state: 'Up', requiredMinRxInterval: 0 });
  end.forget();
  for (let times = 0; times < 20; times++) {
    end.wait(100);
    end.hear({ state: 'Up', requiredMinRxInterval: 0 });
  }
  t.is(end.sent.length, 0);
  end.wait(3_000);
  t.is(end.session.state, 'Down');
  t.true(end.sent.length > 0, 'it is looked for again when it has fallen silent');
});

test('a peer that authenticates is refused, and keeps nothing alive', (t) => {
  const end = new Alone().up();
  for (let times = 0; times < 5; times++) {
    end.wait(100);
    end.hear({ state: 'Up', authentication: { type: 'simple', keyId: 1, password: Uint8Array.of(1) } });
  }
  t.is(end.session.state, 'Down');
  t.is(end.discarded.length, 5);
  t.is(end.discarded[0], 'authentication-not-in-use');
});

test('without a path it is silent, and that is no failure of its own', (t) => {
  const end = new Alone().up();
  end.forget();
  end.feed({ type: 'path', up: false });
  t.like(end.states, [{ from: 'Up', to: 'Down', failure: false }]);
  end.wait(5_000);
  t.is(end.sent.length, 0);
  end.feed({ type: 'path', up: true });
  t.like(end.sent, [{ state: 'Down', diagnostic: DIAGNOSTIC.pathDown, yourDiscriminator: 0 }]);
});

test('switched off it says so and stays so', (t) => {
  const end = new Alone().up();
  end.feed({ type: 'disable' });
  t.like(end.sent.at(-1), { state: 'AdminDown', diagnostic: DIAGNOSTIC.administrativelyDown });
  t.like(end.states.at(-1), { to: 'AdminDown', failure: false });
  end.hear();
  t.is(end.session.state, 'AdminDown');
});

test('before a restart the peer agrees to miss nothing for a while, and the next life goes on as if nothing had been', (t) => {
  const end = new Alone().up();
  end.feed({ type: 'stretch', detection: 9_000 });
  t.like(end.sent.at(-1), { poll: true, state: 'Up', desiredMinTxInterval: 3_000_000, requiredMinRxInterval: 100_000 });
  t.false(end.session.settled);
  end.hear({ state: 'Up', final: true });
  t.true(end.session.settled);
  const next = new Alone({ remembered: end.session.remembered! });
  t.like(next.sent, [
    { state: 'Up', poll: true, myDiscriminator: 1, yourDiscriminator: 77, desiredMinTxInterval: 100_000 },
  ]);
  t.false(next.session.confirmed);
  next.hear({ state: 'Up', final: true });
  t.true(next.session.confirmed);
  t.deepEqual(next.states, []);
  next.wait(5_000);
  t.like(next.states, [{ from: 'Up', to: 'Down', failure: true }]);
});

test('an earlier life that the peer knows nothing of is no failure', (t) => {
  const end = new Alone().up();
  const remembered = end.session.remembered!;
  const silent = new Alone({ remembered });
  silent.wait(5_000);
  t.like(silent.states, [{ from: 'Up', to: 'Down', failure: false }]);
  const anew = new Alone({ remembered });
  anew.hear({ yourDiscriminator: 0 });
  t.like(anew.states, [{ from: 'Up', to: 'Down', failure: false }]);
  anew.hear();
  anew.hear({ state: 'Up' });
  t.is(anew.session.state, 'Up');
});
