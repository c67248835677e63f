/** Next hops of uplinks: who is asked when, and what silence means. No sockets, no time but what the tests let pass. */
import test from 'ava';
import fc from 'fast-check';
import type { Address, Mac } from '../../src/model/address.ts';
import {
  ANSWER_WAIT,
  MISSES,
  MOST_HOPS,
  type NextHopEffect,
  type NextHopEvent,
  NextHopProbes,
  PROBE_INTERVAL,
  RETRY,
  type SeenHop,
} from '../../src/portlink/nexthop/machine.ts';

const G = '192.0.2.1' as Address;
const OTHER = '192.0.2.9' as Address;
const G6 = 'fe80::1' as Address;
const MAC = '02:00:00:00:00:fe' as Mac;
const NEW_MAC = '02:00:00:00:00:fd' as Mac;

type Probe = Extract<NextHopEffect, { type: 'probe' }>;

/** An uplink, and a wire whose answers take `delay` ms. */
class Bench {
  now = 0;
  readonly machine = new NextHopProbes();
  readonly probes: (Probe & { at: number })[] = [];
  readonly verdicts: { at: number; ok: boolean; reason: string }[] = [];
  /** Who answers, with which MAC. */
  readonly living = new Map<string, Mac>();
  delay = 1;
  /** The uplink's queue has no room. */
  full = false;
  #onTheWay: { at: number; address: Address; mac: Mac }[] = [];

  static watching(...hops: Address[]): Bench {
    const bench = new Bench();
    bench.send({ type: 'link', port: 'A0', up: true });
    bench.hops(...hops);
    return bench;
  }

  hops(...hops: Address[]): void {
    this.send({ type: 'hops', port: 'A0', hops, configured: false });
  }

  send(event: NextHopEvent): void {
    const unsent: Address[] = [];
    for (const effect of this.machine.handle(event, this.now)) {
      if (effect.type === 'verdict') this.verdicts.push({ at: this.now, ok: effect.ok, reason: effect.reason });
      else if (this.full) unsent.push(effect.address);
      else {
        this.probes.push({ ...effect, at: this.now });
        const mac = this.living.get(effect.address);
        if (mac && (effect.mac === undefined || effect.mac === mac)) {
          this.#onTheWay.push({ at: this.now + this.delay, address: effect.address, mac });
        }
      }
    }
    for (const address of unsent) this.send({ type: 'unsent', port: 'A0', address, full: true });
  }

  run(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      this.#onTheWay.sort((a, b) => a.at - b.at);
      const answer = this.#onTheWay[0]?.at ?? Number.POSITIVE_INFINITY;
      const due = this.machine.nextDeadline() ?? Number.POSITIVE_INFINITY;
      const next = Math.min(answer, due);
      if (next > end) break;
      this.now = Math.max(this.now, next);
      if (answer <= due) {
        const { address, mac } = this.#onTheWay.shift()!;
        this.send({ type: 'answer', port: 'A0', address, mac });
      } else this.send({ type: 'tick' });
    }
    this.now = end;
  }

  /** What is on its way is lost too. */
  cut(): void {
    this.living.clear();
    this.#onTheWay = [];
  }

  get verdict() {
    return this.machine.verdict('A0')!;
  }
}

test('R4.6 a silent next hop is judged dead within a second, by name and number of questions', (t) => {
  for (let phase = 0; phase < PROBE_INTERVAL; phase += 5) {
    const bench = Bench.watching(G);
    bench.living.set(G, MAC);
    bench.run(2_000 + phase);
    t.deepEqual(bench.verdict, { ok: true, reason: '192.0.2.1 answers' });
    const cutAt = bench.now;
    bench.cut();
    bench.run(1_000);
    const last = bench.verdicts.at(-1)!;
    t.deepEqual(
      { ok: last.ok, reason: last.reason },
      { ok: false, reason: '192.0.2.1 did not answer 3 ARP requests (600 ms)' },
    );
    t.true(last.at - cutAt >= MISSES * ANSWER_WAIT - 1, `${last.at - cutAt} ms`);
    t.true(last.at - cutAt <= PROBE_INTERVAL + MISSES * ANSWER_WAIT, `${last.at - cutAt} ms`);
  }
});

test('R4.6 the first answer ends the silence', (t) => {
  const bench = Bench.watching(G);
  bench.living.set(G, MAC);
  bench.run(1_000);
  bench.cut();
  bench.run(30_000);
  t.false(bench.verdict.ok);
  bench.living.set(G, MAC);
  bench.run(PROBE_INTERVAL + 1);
  t.true(bench.verdict.ok);
});

test('R4.4 a next hop that was never heard is no reason to act, however long it is silent', (t) => {
  const bench = Bench.watching(G);
  bench.run(60_000);
  t.deepEqual(bench.verdict, { ok: true, reason: 'not judged: 192.0.2.1 was never heard' });
  t.true(bench.verdicts.every(({ ok }) => ok));
  const unknown = Bench.watching();
  unknown.run(60_000);
  t.deepEqual(unknown.verdict, { ok: true, reason: 'not judged: no next hop is known' });
  t.is(unknown.probes.length, 0);
});

test('asked by broadcast until the MAC is known, then by unicast, every 250 ms', (t) => {
  const bench = Bench.watching(G);
  t.deepEqual(
    bench.probes.map(({ at, mac }) => [at, mac]),
    [[0, undefined]],
  );
  bench.living.set(G, MAC);
  bench.run(1_010);
  t.deepEqual(
    bench.probes.slice(1).map(({ at, mac }) => [at, mac]),
    [250, 500, 750, 1000].map((at) => [at, at === 250 ? undefined : MAC]),
  );
});

test('another box that takes the address over is found before the hop is given up', (t) => {
  const bench = Bench.watching(G);
  bench.living.set(G, MAC);
  bench.run(1_000);
  bench.cut();
  bench.living.set(G, NEW_MAC);
  bench.run(5_000);
  t.true(bench.verdicts.every(({ ok }) => ok));
  t.is(bench.probes.at(-1)!.mac, NEW_MAC);
});

test('R4.6 what was alive is not forgotten because the protocol above gave it up', (t) => {
  const bench = Bench.watching(G);
  bench.living.set(G, MAC);
  bench.run(1_000);
  bench.cut();
  bench.run(500);
  bench.hops();
  bench.run(500);
  t.false(bench.verdict.ok);
  bench.run(60_000);
  t.false(bench.verdict.ok);
  bench.living.set(OTHER, NEW_MAC);
  bench.hops(OTHER);
  bench.run(10);
  t.deepEqual(bench.verdict, { ok: true, reason: '192.0.2.9 answers' });
  t.deepEqual(
    bench.machine.seen().map(({ address }) => address),
    [OTHER],
  );
});

test('the configuration says whom to ask: what it does not name is forgotten at once', (t) => {
  const bench = Bench.watching(G);
  bench.living.set(G, MAC);
  bench.run(1_000);
  bench.cut();
  bench.run(1_000);
  t.false(bench.verdict.ok);
  bench.send({ type: 'hops', port: 'A0', hops: [OTHER], configured: true });
  t.deepEqual(bench.verdict, { ok: true, reason: 'not judged: 192.0.2.9 was never heard' });
});

test('R4.6 of several next hops one living is enough', (t) => {
  const bench = Bench.watching(G, G6, OTHER);
  bench.living.set(G, MAC).set(G6, MAC);
  bench.run(1_000);
  bench.living.delete(G);
  bench.run(5_000);
  t.true(bench.verdict.ok);
  bench.cut();
  bench.run(1_000);
  t.deepEqual(bench.verdict, {
    ok: false,
    reason:
      '192.0.2.1 did not answer 3 ARP requests (600 ms), fe80::1 did not answer 3 neighbour solicitations (600 ms)',
  });
});

test('R4.6 after a loss of carrier the hop must show itself again', (t) => {
  const bench = Bench.watching(G);
  bench.living.set(G, MAC);
  bench.run(1_000);
  bench.send({ type: 'link', port: 'A0', up: false });
  t.deepEqual(bench.verdict, { ok: false, reason: 'the port is down' });
  t.is(bench.machine.nextDeadline(), undefined);
  const asked = bench.probes.length;
  bench.run(10_000);
  t.is(bench.probes.length, asked, 'nobody is asked through a port that is down');
  bench.cut();
  bench.send({ type: 'link', port: 'A0', up: true });
  t.deepEqual(bench.verdict, { ok: false, reason: '192.0.2.1 has not answered since the link came up' });
  bench.living.set(G, MAC);
  bench.run(PROBE_INTERVAL + 2);
  t.true(bench.verdict.ok);
});

test('R4.7 a hop that an earlier life of the agent heard counts: its silence is one', (t) => {
  const first = Bench.watching(G);
  first.living.set(G, MAC);
  first.run(300);
  const hops = first.machine.seen();
  t.deepEqual(hops, [{ port: 'A0', address: G, mac: MAC }] satisfies SeenHop[]);
  const bench = new Bench();
  bench.send({ type: 'restore', hops });
  bench.send({ type: 'link', port: 'A0', up: true });
  bench.hops(G);
  bench.run(MISSES * ANSWER_WAIT + 1);
  t.false(bench.verdict.ok);
});

test('a question that could not be sent is not held against the hop', (t) => {
  const bench = Bench.watching(G);
  bench.living.set(G, MAC);
  bench.run(1_000);
  bench.cut();
  for (let round = 0; round < 40; round++) {
    bench.run(50);
    bench.send({ type: 'unsent', port: 'A0', address: G, full: false });
  }
  t.true(bench.verdict.ok);
});

test('R4.6 a burst that fills the queue is not held against the hop: the question is put again soon', (t) => {
  const bench = Bench.watching(G);
  bench.living.set(G, MAC);
  bench.run(1_000);
  // Room for one moment between two bursts of nearly the time that a hop has for its answer.
  for (let burst = 0; burst < 20; burst++) {
    bench.full = true;
    bench.run(ANSWER_WAIT - 2 * RETRY);
    bench.full = false;
    bench.run(2 * RETRY);
  }
  t.deepEqual(
    bench.verdicts.filter(({ ok }) => !ok),
    [],
  );
  const gaps = bench.probes.slice(1).map(({ at }, index) => at - bench.probes[index]!.at);
  t.true(Math.max(...gaps) <= PROBE_INTERVAL + ANSWER_WAIT, `${Math.max(...gaps)} ms`);
});

test('R4.6 an uplink whose queue is never emptied is dead, though later than one that is silent', (t) => {
  const bench = Bench.watching(G);
  bench.living.set(G, MAC);
  bench.run(1_000);
  const full = bench.now;
  bench.full = true;
  bench.run(5_000);
  t.false(bench.verdict.ok);
  const after = bench.verdicts.at(-1)!.at - full;
  t.true(after > MISSES * ANSWER_WAIT, `${after} ms`);
  t.true(after <= PROBE_INTERVAL + MISSES * 2 * (ANSWER_WAIT + RETRY), `${after} ms`);
  bench.full = false;
  bench.run(2 * PROBE_INTERVAL);
  t.true(bench.verdict.ok, 'and lives again by itself');
});

test('an answer from nobody we know, or on a port that is down, changes nothing', (t) => {
  const bench = Bench.watching(G);
  bench.send({ type: 'answer', port: 'A0', address: OTHER, mac: MAC });
  bench.send({ type: 'answer', port: 'A7', address: G, mac: MAC });
  bench.send({ type: 'link', port: 'A0', up: false });
  bench.send({ type: 'answer', port: 'A0', address: G, mac: MAC });
  t.deepEqual(bench.machine.seen(), []);
});

const ADDRESSES = [G, OTHER, G6, '192.0.2.77' as Address];
const anyEvent: fc.Arbitrary<NextHopEvent | { readonly type: 'pass'; readonly ms: number }> = fc.oneof(
  fc.record({
    type: fc.constant('hops' as const),
    port: fc.constant('A0'),
    hops: fc.subarray(ADDRESSES),
    configured: fc.boolean(),
  }),
  fc.record({ type: fc.constant('link' as const), port: fc.constant('A0'), up: fc.boolean() }),
  fc.record({
    type: fc.constant('answer' as const),
    port: fc.constant('A0'),
    address: fc.constantFrom(...ADDRESSES),
    mac: fc.constantFrom(MAC, NEW_MAC),
  }),
  fc.record({
    type: fc.constant('unsent' as const),
    port: fc.constant('A0'),
    address: fc.constantFrom(...ADDRESSES),
    full: fc.boolean(),
  }),
  fc.record({ type: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 2_000 }) }),
);

test('R4.4 R4.6 whatever happens: bounded asking, no verdict without a life before, and silence within its time', (t) => {
  fc.assert(
    fc.property(fc.array(anyEvent, { maxLength: 60 }), (events) => {
      const bench = new Bench();
      const heard = new Set<Address>();
      let up = false;
      for (const event of events) {
        const before = bench.probes.length;
        if (event.type === 'pass') {
          bench.run(event.ms);
          const most = MOST_HOPS * Math.ceil(event.ms / ANSWER_WAIT + 1);
          if (bench.probes.length - before > most) return false;
        } else {
          bench.send(event);
          if (event.type === 'link') up = event.up;
          if (event.type === 'answer' && up) heard.add(event.address);
        }
        const verdict = bench.machine.verdict('A0');
        if (!verdict) continue;
        // Never an act of ignorance.
        if (!verdict.ok && up && heard.size === 0) return false;
        if (!up && verdict.ok) return false;
        const due = bench.machine.nextDeadline();
        if (due !== undefined && due > bench.now + PROBE_INTERVAL) return false;
      }
      // In the end nobody answers: a second later an uplink that was alive is dead, unless all that lived was replaced.
      if (!up) return true;
      bench.run(1_000);
      const seen = bench.machine.seen();
      return bench.machine.verdict('A0')?.ok !== true || seen.length === 0;
    }),
    { numRuns: 2_000 },
  );
  t.pass();
});

test('R4.4 a hop that the configuration named and names no more is forgotten, whoever else is known', (t) => {
  for (const others of [[], [OTHER]] as Address[][]) {
    const bench = Bench.watching();
    bench.living.set(G, MAC);
    bench.send({ type: 'hops', port: 'A0', hops: [G], configured: true });
    bench.run(2_000);
    t.true(bench.machine.verdict('A0')!.ok);
    bench.hops(...others);
    bench.living.delete(G);
    bench.run(5_000);
    t.true(bench.machine.verdict('A0')!.ok, bench.machine.verdict('A0')!.reason);
    t.deepEqual(bench.machine.seen(), []);
  }
});
