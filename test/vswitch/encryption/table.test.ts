import { readFileSync } from 'node:fs';
import test from 'ava';
import type { ControlPacket, PeerState } from '../../../src/vswitch-bridge/encryption/codec/control.ts';
import { type KeyId, shorten } from '../../../src/vswitch-bridge/encryption/codec/identity.ts';
import type { PeerEffect, PeerEvent } from '../../../src/vswitch-bridge/encryption/machine/events.ts';
import { PeerMachine } from '../../../src/vswitch-bridge/encryption/machine/peer.ts';
import { DEFAULT_SETTINGS, type Policy } from '../../../src/vswitch-bridge/encryption/machine/settings.ts';
import { EVENTS, STATES, TABLE, type TableEvent } from '../../../src/vswitch-bridge/encryption/machine/table.ts';
import { diagram, drawing } from './drawing.ts';
import { key, seeded } from './world.ts';

const id = (version: number): KeyId => {
  const { fingerprint } = key(version, version);
  return { version, fingerprint };
};
const FLOW = { lastSent: 0, lastTcp: undefined, lastOther: 0 };

/** One machine, and its peer played by hand. */
class Bench {
  now = 1000;
  readonly machine: PeerMachine;
  readonly #salt = new Uint8Array(16).fill(9);
  #counter = 0n;
  #challenge: Uint8Array | undefined;
  #sent = 0n;
  effects: PeerEffect[] = [];

  constructor(policy: Policy, octets = seeded(3)) {
    const random = (length: number) => Uint8Array.from({ length }, () => 1 + Math.floor(octets() * 255));
    const settings = { ...DEFAULT_SETTINGS, policy };
    this.machine = new PeerMachine({ settings, instance: new Uint8Array(8).fill(1), random });
  }

  handle(event: PeerEvent): PeerEffect[] {
    const effects = this.machine.handle(event, this.now);
    for (const effect of effects) {
      if (effect.type !== 'control') continue;
      this.#sent = effect.packet.counter;
      this.#challenge = effect.packet.challenge ?? this.#challenge;
    }
    this.effects.push(...effects);
    return effects;
  }

  pass(time: number): void {
    const end = this.now + time;
    for (;;) {
      const next = this.machine.nextDeadline();
      if (next === undefined || next > end) break;
      this.now = Math.max(this.now, next);
      this.handle({ type: 'tick', flow: FLOW });
    }
    this.now = end;
  }

  /** What the peer says; it has heard all that we have said. */
  hear(
    fields: Partial<ControlPacket> & { readonly held: readonly KeyId[] },
    trust: 'authenticated' | 'unauthenticated' = 'authenticated',
  ) {
    const packet: ControlPacket = {
      kind: 'version',
      off: false,
      reply: false,
      state: 'valid',
      counter: ++this.#counter,
      instance: new Uint8Array(8).fill(2),
      salt: this.#salt,
      peerSalt: this.machine.salt,
      challenge: undefined,
      response: this.#challenge,
      heard: this.#sent,
      ...fields,
    };
    return this.handle({ type: 'control', packet, trust });
  }

  /** Both have V1, and have agreed on salts. */
  agree(held = [id(1)]): void {
    this.handle({ type: 'keys', held });
    this.hear({ held });
  }

  /** Dedicated packets since, that ask to be acknowledged. */
  said(run: () => void): ControlPacket[] {
    this.pass(100);
    this.effects = [];
    run();
    this.pass(30);
    return this.effects.flatMap((effect) => (effect.type === 'control' && effect.packet.reply ? [effect.packet] : []));
  }
}

/** A machine in this state that has nothing to say. */
function reach(state: PeerState, policy: Policy): Bench {
  const bench = new Bench(policy);
  bench.agree();
  if (policy === 'overlap' && state !== 'valid') {
    bench.handle({ type: 'keys', held: [id(2)] });
    bench.pass(100);
    bench.hear({ held: [id(1)] });
  } else if (state === 'invalid-notify') {
    bench.handle({ type: 'unreadable', key: shorten(id(2)), flow: FLOW });
    bench.pass(100);
    bench.hear({ held: [id(2)] });
  } else if (state === 'invalid') {
    bench.hear({ held: [id(2)], off: true });
    bench.hear({ held: [id(2)] });
  }
  bench.pass(100);
  return bench;
}

const CAUSES: Readonly<Record<TableEvent, (bench: Bench) => unknown>> = {
  'encrypted-equal': (bench) => bench.handle({ type: 'readable', key: id(1) }),
  'encrypted-differs': (bench) => bench.handle({ type: 'unreadable', key: shorten(id(2)), flow: FLOW }),
  'encrypted-lagging': (bench) => bench.handle({ type: 'unreadable', key: shorten(id(7)), flow: FLOW }),
  'plain-equal': (bench) => bench.handle({ type: 'plain', key: shorten(id(1)), off: false }),
  'plain-differs': (bench) => bench.hear({ held: [id(2)], state: 'invalid' }),
  'off-equal': (bench) => bench.hear({ held: [id(1)], off: true }),
  'off-differs': (bench) => bench.hear({ held: [id(2)], off: true }),
  'said-equal': (bench) => bench.hear({ held: [id(1)] }),
  'said-differs': (bench) => bench.hear({ held: [id(2)] }),
  doubt: (bench) => bench.handle({ type: 'forged' }),
  'own-key': (bench) => bench.handle({ type: 'keys', held: [id(3), id(1)] }),
  'keys-gone': (bench) => bench.handle({ type: 'keys', held: [] }),
  'common-lost': (bench) => bench.handle({ type: 'keys', held: [id(3)] }),
  unanswered: (bench) => {
    bench.handle({ type: 'held' });
    bench.now += 1000;
    bench.handle({ type: 'tick', flow: FLOW });
  },
};

/** By policies and rules of the machine these can't come about; their rows change nothing. */
const IMPOSSIBLE = new Set([
  // `overlap` is out of `valid` only while no version is common, and has nothing that leads to `invalid`.
  'invalid-notify encrypted-lagging',
  'invalid encrypted-lagging',
  'invalid common-lost',
  // What is `invalid` sends in plain text: nothing waits.
  'invalid unanswered',
]);

for (const state of STATES) {
  for (const event of EVENTS) {
    const pair = `${state} ${event}`;
    if (IMPOSSIBLE.has(pair)) {
      test(`R0.3 ${state}, ${event}: can't come about, and changes nothing`, (t) =>
        t.is(TABLE[state][event].to, state));
      continue;
    }
    const { to, actions } = TABLE[state][event];
    test(`R0.3 ${state}, ${event} → ${[to, ...actions].join(', ')}`, (t) => {
      const overlap = event === 'encrypted-lagging' || event === 'common-lost';
      let bench = reach(state, overlap ? 'overlap' : 'available');
      if (event === 'unanswered') {
        bench = new Bench('available');
        bench.handle({ type: 'keys', held: [id(1)] });
        if (state === 'invalid-notify') bench.handle({ type: 'unreadable', key: shorten(id(2)), flow: FLOW });
      }
      t.is(bench.machine.state, state, 'the test got there');
      const said = bench.said(() => CAUSES[event](bench));
      t.is(bench.machine.state, to);
      if (event === 'unanswered' || (event === 'common-lost' && state === 'invalid-notify')) return;
      t.is(said.length > 0, actions.length > 0, `${said.length} dedicated packets`);
      if (actions.includes('tell')) t.true(said[0]!.off);
    });
  }
}

test('the start is defined: valid, data held until both ends have adopted salts', (t) => {
  const bench = new Bench('overlap');
  t.is(bench.machine.state, 'valid');
  const effects = bench.handle({ type: 'keys', held: [id(1)] });
  t.deepEqual(bench.machine.choice, { mode: 'hold' });
  t.true(effects.some((effect) => effect.type === 'control' && effect.packet.kind === 'hello'));
  bench.hear({ held: [id(1)] });
  t.is(bench.machine.choice.mode, 'encrypt');
});

for (const policy of ['available', 'overlap', 'strict'] as const) {
  test(`R0.4 an end without keys at the start: ${policy}`, (t) => {
    const bench = new Bench(policy);
    bench.handle({ type: 'keys', held: [] });
    t.is(bench.machine.state, 'invalid-notify');
    t.deepEqual(
      bench.machine.choice,
      policy === 'available' ? { mode: 'plain', newest: undefined, off: true } : { mode: 'hold' },
    );
  });
}

test('R0.5 what triggers the dedicated notification, and what does not wait', (t) => {
  const trigger = (flow: { lastSent?: number; lastTcp?: number; lastOther?: number }) => {
    const bench = new Bench('available');
    bench.agree([id(1)]);
    // The peer's newest is known to be another, so plain text may carry the indication.
    bench.hear({ held: [id(2), id(1)] });
    bench.pass(100);
    bench.effects = [];
    const at = (age: number | undefined) => (age === undefined ? undefined : bench.now - age);
    const ages = { lastSent: at(flow.lastSent), lastTcp: at(flow.lastTcp), lastOther: at(flow.lastOther) };
    bench.handle({ type: 'unreadable', key: shorten(id(2)), flow: ages });
    return {
      bench,
      notified: () => bench.effects.flatMap((effect) => (effect.type === 'notified' ? [effect.trigger] : [])),
    };
  };
  t.deepEqual(trigger({}).notified(), ['unreliable'], 'nothing is known of the flow');
  t.deepEqual(trigger({ lastSent: 5, lastTcp: 5, lastOther: 50 }).notified(), ['unreliable']);
  t.deepEqual(trigger({ lastSent: 5000, lastTcp: 5 }).notified(), ['one-way']);

  const carried = trigger({ lastSent: 5, lastTcp: 5 });
  t.deepEqual(carried.notified(), [], 'data goes back: it carries the indication');
  carried.bench.now += 20;
  carried.bench.handle({ type: 'tick', flow: { lastSent: carried.bench.now - 1, lastTcp: 0, lastOther: undefined } });
  t.deepEqual(carried.notified(), []);
  t.deepEqual(carried.bench.machine.choice, { mode: 'plain', newest: id(1), off: true });

  const silent = trigger({ lastSent: 5, lastTcp: 5 });
  silent.bench.now += 20;
  silent.bench.handle({ type: 'tick', flow: { lastSent: 0, lastTcp: 0, lastOther: undefined } });
  t.deepEqual(silent.notified(), ['one-way'], 'and if none went back within 20 ms, a packet of its own does');
});

test('R0.6 a stale notification, or one that nothing authenticates, changes nothing', (t) => {
  const bench = new Bench('available');
  bench.agree();
  const stale = bench.hear({ held: [id(2)], off: true, counter: 1n });
  t.deepEqual(
    stale.filter(({ type }) => type === 'discard'),
    [{ type: 'discard', reason: 'replayed' }],
  );
  const unproved = bench.hear({ held: [id(2)], off: true, response: new Uint8Array(8) }, 'unauthenticated');
  t.true(unproved.some((effect) => effect.type === 'discard' && effect.reason === 'unproved'));
  t.is(bench.machine.state, 'valid');
  // It has met our version while it was under way: R0.7 keeps the ends from standing at invalid and valid for ever.
  bench.hear({ held: [id(1)], off: true });
  t.is(bench.machine.state, 'valid');
});

test('R0.6 without a common key: only the answer to our own challenge counts, only in available, once a second', (t) => {
  for (const policy of ['available', 'overlap', 'strict'] as const) {
    const bench = new Bench(policy);
    bench.agree();
    bench.handle({ type: 'forged' });
    bench.pass(150);
    const effects = bench.hear({ held: [id(2)], off: true }, 'unauthenticated');
    const [change] = effects.filter((effect) => effect.type === 'state');
    t.true(change?.type === 'state' && change.unauthenticated);
    t.is(bench.machine.choice.mode, policy === 'available' ? 'plain' : 'hold');
    bench.hear({ held: [id(1)] });
    t.is(bench.machine.state, 'valid');
    bench.handle({ type: 'forged' });
    bench.pass(150);
    const again = bench.hear({ held: [id(2)], off: true }, 'unauthenticated');
    t.true(again.some((effect) => effect.type === 'discard' && effect.reason === 'rate-limited'));
    t.is(bench.machine.state, 'valid');
  }
});

test('R0.4 packets of a version that nobody has, one after the other: data is held for one round trip, not for all of them', (t) => {
  const bench = new Bench('available');
  bench.agree();
  let changes = 0;
  for (let packet = 0; packet < 50; packet++) {
    const effects = bench.handle({ type: 'unreadable', key: { version: 9, fp12: packet }, flow: FLOW });
    changes += effects.filter(({ type }) => type === 'state').length;
    bench.pass(1);
    bench.hear({ held: [id(1)] });
    t.is(bench.machine.state, 'valid');
    bench.pass(10);
  }
  t.is(changes, 1);
  // The peer's own word that it has another version counts at once.
  bench.hear({ held: [id(2), id(1)] });
  bench.handle({ type: 'unreadable', key: shorten(id(2)), flow: FLOW });
  t.is(bench.machine.state, 'invalid-notify');
});

test('an agent that restarts says anew what is accepted, also where plain text was', (t) => {
  const bench = new Bench('available');
  bench.agree();
  bench.hear({ held: [id(2)], off: true });
  const random = (length: number) => new Uint8Array(length).fill(1);
  const settings = { ...DEFAULT_SETTINGS, policy: 'available' as const };
  const next = new PeerMachine({ settings, instance: new Uint8Array(8).fill(1), random, memo: bench.machine.memo() });
  t.is(next.state, 'invalid');
  t.deepEqual(next.salt, bench.machine.salt);
  const effects = next.handle({ type: 'keys', held: [id(2)] }, bench.now);
  t.deepEqual(
    effects.filter(({ type }) => type === 'accept-plain'),
    [{ type: 'accept-plain', accept: false }],
  );
});

test('docs/encryption.md shows the table that runs', (t) => {
  const page = readFileSync(new URL('../../../docs/encryption.md', import.meta.url), 'utf8');
  t.true(page.includes(drawing()), `the table has changed:\n${drawing()}`);
  t.true(page.includes(diagram()), `the drawing has changed:\n${diagram()}`);
});
