import test from 'ava';
import { TOP_LEVEL } from '../../src/hostroutes/machine/claims.ts';
import { HostTable } from '../../src/hostroutes/machine/table.ts';
import type { HostEffect, HostEvent } from '../../src/hostroutes/machine/types.ts';
import type { Prefix } from '../../src/model/address.ts';
import type { ClaimLevel } from '../../src/model/hosts.ts';
import { address, Bench, deltas, heard, mac, policy, probes } from './helpers.ts';

const C = address('10.10.10.1');
const claim = (level: ClaimLevel | undefined, from = 'B'): HostEvent => ({
  type: 'foreignClaim',
  claim: { address: C, level, from },
});

test('R4.5 a host that was displaced from another switch is announced one level better than its claim', (t) => {
  for (const [rival, level] of [
    [undefined, 0],
    [0, 1],
    [1, 2],
    // Nothing is better than the top: one below, so that the next switch finds it free.
    [2, 1],
  ] as const) {
    const bench = new Bench();
    bench.do(claim(rival));
    bench.do(heard('10.10.10.1', 'A1'));
    t.is(bench.model.get(C)?.level, level);
  }
});

test('R4.5 a better rival makes us ask at once, thrice in 150 ms: a silent host is left to it', (t) => {
  const bench = new Bench();
  bench.do(heard('10.10.10.1', 'A1'));
  bench.now += 500;
  t.is(probes(bench.do(claim(1))).length, 1);
  const effects = bench.run(151);
  t.is(probes(effects).length, 2);
  t.like(deltas(effects)[0], { cause: { kind: 'rival' }, delta: { withdrawn: [C] } });
});

test('R4.5 a host that answers stays, at the same level, and is asked four times a second while the rival lasts', (t) => {
  const bench = new Bench();
  bench.do(bench.live('10.10.10.1', 'A1'));
  bench.do(claim(1));
  const asked = probes(bench.run(10_000)).length;
  t.true(asked >= 36 && asked <= 41, `${asked}`);
  t.is(bench.model.get(C)?.level, 0);
  bench.do(claim(undefined));
  t.true(probes(bench.run(10_000)).length <= 3);
});

test('R4.5 failover and way back, faster than claims settle: each finds a better level than the one before', (t) => {
  const tables = { A: new Bench(), B: new Bench() };
  const heardIn = (bench: Bench, rival: ClaimLevel | undefined): ClaimLevel => {
    bench.do({ type: 'portDown', ports: ['A1'], reason: 'carrier lost' });
    bench.do({ type: 'portUp', port: 'A1' });
    bench.do(claim(rival));
    bench.do(heard('10.10.10.1', 'A1'));
    return bench.model.get(C)!.level;
  };
  let last = heardIn(tables.A, undefined);
  for (let round = 0; round < 6; round++) {
    // The link is lost, and B hears the server before A's withdrawal has come round.
    const displaced = last;
    const atB = heardIn(tables.B, displaced);
    // A gateway that is still told both follows the older; on the way back B stands alone, and has to be displaced.
    last = heardIn(tables.A, atB);
    t.true(last > atB, `round ${round}: ${displaced}, ${atB}, ${last}`);
  }
});

test('R4.5 a claim at the top, which none can displace: its host is asked as under a rival until it settles', (t) => {
  const bench = new Bench();
  bench.do(claim(1));
  bench.do(bench.live('10.10.10.1', 'A1'));
  t.is(bench.model.get(C)?.level, 2);
  bench.do(claim(undefined));
  const asked = probes(bench.run(1_950)).length;
  t.true(asked >= 6 && asked <= 8, `${asked}`);
  t.is(bench.model.get(C)?.level, 2);
  bench.run(100);
  t.is(bench.model.get(C)?.level, 0, 'settled');
  t.true(probes(bench.run(10_000)).length <= 3);

  const left = new Bench();
  left.do(claim(1));
  left.do(heard('10.10.10.1', 'A1'));
  left.do(claim(undefined));
  t.like(deltas(left.run(401)), [{ delta: { withdrawn: [C] } }]);
});

test('R4.5 one address behind two switches: said to be a duplicate while both are there, announced no more often', (t) => {
  const bench = new Bench();
  bench.do(bench.live('10.10.10.1', 'A1'));
  bench.do(claim(1));
  const short = bench.run(1_900);
  t.is(bench.table.find(C)?.state, 'reachable', 'a rival may not have noticed yet that its host has left');
  const news = (effects: readonly HostEffect[]) =>
    effects.flatMap((effect) =>
      effect.type === 'changed' && [effect.from, effect.to].includes('duplicate')
        ? [`${effect.from} -> ${effect.to}`]
        : [],
    );
  t.deepEqual(news(short), []);
  const long = bench.run(20_000);
  t.deepEqual(news(long), ['reachable -> duplicate'], 'once');
  t.deepEqual(deltas(long), []);
  t.like(bench.table.find(C), { state: 'duplicate', reason: 'alive on A1, and another switch claims it' });
  t.deepEqual(news(bench.do(claim(undefined))), ['duplicate -> reachable']);
  t.is(bench.table.find(C)?.state, 'reachable');
  bench.do(claim(1));
  bench.run(3_000);
  bench.do({ type: 'portDown', ports: ['A1'], reason: 'carrier lost' });
  t.is(bench.table.find(C)?.state, 'gone');
  bench.do({ type: 'portUp', port: 'A1' });
  bench.do(bench.live('10.10.10.1', 'A1'));
  t.is(bench.table.find(C)?.state, 'reachable');
});

test('a rival that is weaker than we are does nothing', (t) => {
  const bench = new Bench();
  bench.do(claim(0));
  bench.do(heard('10.10.10.1', 'A1'));
  bench.run(10);
  t.deepEqual(bench.do(claim(undefined)), []);
  t.deepEqual(bench.do(claim(0)), []);
  t.is(bench.model.get(C)?.level, 1);
});

test('a raised claim settles back to 0 once no rival was seen for 2 s', (t) => {
  const bench = new Bench();
  bench.do(claim(0, 'B'));
  bench.do(claim(0, 'X'));
  bench.do(bench.live('10.10.10.1', 'A1'));
  bench.do(claim(undefined, 'B'));
  bench.run(20_000);
  t.is(bench.model.get(C)?.level, 1, 'X is still there');
  bench.do(claim(undefined, 'X'));
  bench.run(1_900);
  bench.do(claim(0, 'X'));
  bench.run(5_000);
  t.is(bench.model.get(C)?.level, 1, 'it came back within the time');
  bench.do(claim(undefined, 'X'));
  bench.run(1_999);
  t.is(bench.model.get(C)?.level, 1);
  const [delta] = deltas(bench.run(2));
  t.like(delta, { cause: { kind: 'settled' } });
  t.is(bench.model.get(C)?.level, 0);
});

test('R4.1 active-active: a rival is no reason to give way, at level 0, but to ask the host once', (t) => {
  const bench = new Bench(policy({ activeActive: true }));
  bench.do(claim(2));
  bench.do(bench.live('10.10.10.1', 'A1'));
  bench.run(2_000);
  t.is(probes(bench.log).length, 0);
  t.is(probes(bench.do(claim(1))).length, 1);
  bench.run(4_000);
  t.is(bench.table.counters().verifications, 1, 'a rival that stays is not asked about again');
  t.is(bench.model.get(C)?.level, 0);
  t.deepEqual(bench.table.find(C)?.rivals, [{ from: 'B', level: 1 }]);
});

test('R4.5 active-active: the claim of the other switch does not keep a host that has left this one', (t) => {
  const bench = new Bench(policy({ activeActive: true }));
  bench.do(bench.live('10.10.10.1', 'A1'));
  bench.alive.clear();
  bench.run(1_000);
  bench.do(claim(0));
  const [delta] = deltas(bench.run(200));
  t.like(delta, { delta: { withdrawn: [C] }, cause: { kind: 'silent' } });
});

test('R4.1 active-active for some ports and prefixes: the others have rivals as ever', (t) => {
  const some = { ports: ['A2'], prefixes: ['10.10.10.0/29' as Prefix] };
  const bench = new Bench(policy({ activeActive: some }));
  const rival = (text: string) =>
    ({ type: 'foreignClaim', claim: { address: address(text), level: 0, from: 'B' } }) as const;
  const texts = ['10.10.10.1', '10.10.10.20', '10.10.10.30'];
  for (const text of texts) bench.do(rival(text));
  bench.do(bench.live('10.10.10.1', 'A1'));
  bench.do(bench.live('10.10.10.20', 'A2'));
  bench.do(bench.live('10.10.10.30', 'A1'));
  const levels = () => texts.map((text) => bench.model.get(address(text))?.level);
  t.deepEqual(levels(), [0, 0, 1], 'by prefix, by port, by neither');
  const asked = () => texts.map((text) => probes(bench.log).filter((probe) => probe.address === text).length);
  bench.do({ type: 'foreignClaim', claim: { address: address('10.10.10.30'), level: 1, from: 'B' } });
  bench.run(2_000);
  const [one, two, three] = asked();
  t.deepEqual([one, two], [0, 0]);
  t.true(three! >= 7, 'asked four times a second while the rival lasts');

  t.log('the host moves to a port where it may be active twice: the raised claim is over');
  bench.do(bench.live('10.10.10.30', 'A2'));
  t.deepEqual(levels(), [0, 0, 0]);
  t.log('and back: it has a rival again, at least as strong');
  bench.do(bench.live('10.10.10.30', 'A1'));
  const before = asked()[2]!;
  bench.run(2_000);
  t.true(asked()[2]! - before >= 7);
  t.is(levels()[2], 0, 'a level rises only when a host is learned');

  t.log('a new policy');
  bench.do({ type: 'configure', policy: policy({ activeActive: { ports: ['A1'], prefixes: [] } }) });
  const quiet = asked()[2]!;
  bench.run(2_000);
  t.true(asked()[2]! - quiet <= 1);
});

test("R4.6 active-active: a port's link dies and only its hosts go, here only; nobody is expected back ahead of time", (t) => {
  const door = { interface: 'door', ifindex: 9, mac: mac(9) };
  const some = { ports: ['A1'], prefixes: [] };
  const bench = new Bench(policy({ activeActive: some, returning: { mode: 'always', wait: 300, door } }));
  for (const [text, port] of [
    ['10.10.10.1', 'A1'],
    ['10.10.10.2', 'A2'],
  ] as const)
    bench.do(bench.live(text, port));
  bench.do({ type: 'portDown', ports: ['A1'], reason: 'carrier lost' });
  t.deepEqual([...bench.model.keys()], ['10.10.10.2']);
  bench.do(claim(0));
  t.deepEqual(deltas(bench.do({ type: 'expect', ports: ['A1'] })), []);
  bench.do({ type: 'portUp', port: 'A1' });
  bench.run(100);
  t.is(bench.model.get(C)?.level, 0, 'it answered when its link was back, and takes nothing from B');
});

test('claims of addresses outside the prefixes are not kept, and the table of claims is bounded', (t) => {
  const bench = new Bench(policy({ limits: { perPort: 2, total: 5 } }));
  bench.do({ type: 'foreignClaim', claim: { address: address('192.0.2.1'), level: 0, from: 'B' } });
  t.is(bench.table.counters().foreignClaims, 0);
  for (let index = 1; index < 100; index++) {
    bench.do({ type: 'foreignClaim', claim: { address: address(`10.10.10.${index}`), level: 0, from: 'B' } });
  }
  t.is(bench.table.counters().foreignClaims, 10);
  t.is(bench.table.counters().refused['claim-limit'], 89);
  for (let index = 0; index < 100; index++) {
    bench.do({ type: 'foreignClaim', claim: { address: address('10.10.10.1'), level: 0, from: `from ${index}` } });
  }
  t.is(bench.table.find(address('10.10.10.1')), undefined);
});

/** Deterministic and good enough: mulberry32. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

type Name = 'A' | 'B';

/**
 * Two switches that see each other's claims only through the fabric, some milliseconds late, and servers that are
 * behind one of them at a time. Each leave may be by carrier (told) or in silence; each arrival may be announced by the
 * server or not at all.
 */
class Fabric {
  now = 0;
  readonly random: () => number;
  readonly tables: Record<Name, HostTable>;
  readonly queue: { at: number; order: number; run: () => void }[] = [];
  readonly where = new Map<string, Name | undefined>();
  readonly ports = new Map<string, string>();
  levelsTold = 0;
  #order = 0;

  constructor(seed: number) {
    this.random = seeded(seed);
    const make = () => new HostTable(policy(), this.random);
    this.tables = { A: make(), B: make() };
  }

  later(ms: number, run: () => void): void {
    this.queue.push({ at: this.now + ms, order: this.#order++, run });
  }

  do(name: Name, event: HostEvent): void {
    const other: Name = name === 'A' ? 'B' : 'A';
    for (const effect of this.tables[name].handle(event, this.now)) {
      if (effect.type === 'delta') {
        this.levelsTold += effect.delta.announced.length;
        // One update through the fabric: in order for each sender.
        const delay = 20;
        this.later(delay, () => {
          for (const gone of effect.delta.withdrawn) {
            this.do(other, { type: 'foreignClaim', claim: { address: gone, level: undefined, from: name } });
          }
          for (const route of effect.delta.announced) {
            this.do(other, { type: 'foreignClaim', claim: { address: route.address, level: route.level, from: name } });
          }
        });
      } else if (effect.type === 'probe') {
        this.later(1, () => {
          if (this.where.get(effect.address) === name && this.random() > 0.05) this.hear(effect.address, name);
        });
      }
    }
  }

  hear(text: string, name: Name): void {
    this.do(name, heard(text, this.ports.get(text)!));
  }

  run(ms: number): void {
    const end = this.now + ms;
    for (let turns = 0; ; turns++) {
      if (turns > 200_000) throw new Error('the switches do not come to rest');
      this.queue.sort((a, b) => a.at - b.at || a.order - b.order);
      const deadlines = { A: this.tables.A.nextDeadline(), B: this.tables.B.nextDeadline() };
      const [name, deadline] = (['A', 'B'] as const)
        .map((each) => [each, deadlines[each] ?? Number.POSITIVE_INFINITY] as const)
        .sort((a, b) => a[1] - b[1])[0]!;
      const queued = this.queue[0]?.at ?? Number.POSITIVE_INFINITY;
      if (Math.min(queued, deadline) > end) break;
      this.now = Math.max(this.now, Math.min(queued, deadline));
      if (queued <= deadline) this.queue.shift()!.run();
      else this.do(name, { type: 'tick' });
    }
    this.now = end;
  }

  /** Whom an unmodified gateway follows: the better level. */
  chosen(text: string): Name[] {
    const claims = (['A', 'B'] as const)
      .map((name) => ({ name, route: this.tables[name].announced().find((route) => route.address === text) }))
      .filter((each) => each.route);
    const best = Math.max(...claims.map((each) => each.route!.level));
    return claims.filter((each) => each.route!.level === best).map((each) => each.name);
  }
}

for (let seed = 1; seed <= 12; seed++) {
  test(`R4.5 R4.7 two switches and a fabric, fail over and back again and again, seed ${seed}`, (t) => {
    const fabric = new Fabric(seed);
    const servers = ['10.10.10.1', '10.10.10.2', '10.10.10.4', '10.10.10.5'];
    for (const [index, server] of servers.entries()) {
      fabric.ports.set(server, `A${index + 1}`);
      fabric.where.set(server, 'A');
      fabric.hear(server, 'A');
    }
    fabric.run(1_000);
    for (let round = 0; round < 20; round++) {
      const server = servers[Math.floor(fabric.random() * servers.length)]!;
      const port = fabric.ports.get(server)!;
      const from = fabric.where.get(server)!;
      const to: Name = from === 'A' ? 'B' : 'A';
      const carrier = fabric.random() < 0.5;
      if (carrier) fabric.do(from, { type: 'portDown', ports: [port], reason: 'carrier lost' });
      fabric.where.set(server, to);
      fabric.later(fabric.random() * 100, () => fabric.hear(server, to));
      // A claim at the top can't be displaced: its host is asked four times a second.
      const patience = fabric.tables[from].find(address(server))?.level === TOP_LEVEL ? 400 : 200;
      fabric.run(100 + 20 + patience);
      t.deepEqual(fabric.chosen(server), [to], `round ${round}: followed at once, though nobody told the old switch`);
      if (carrier) fabric.do(from, { type: 'portUp', port });
      // Sometimes time to settle, sometimes none.
      fabric.run(fabric.random() < 0.5 ? 100 : 15_000);
      for (const each of servers) t.deepEqual(fabric.chosen(each), [fabric.where.get(each)], `round ${round}: ${each}`);
    }
    fabric.run(30_000);
    const told = fabric.levelsTold;
    fabric.run(600_000);
    t.is(fabric.levelsTold, told, 'at rest nothing is announced again: no ping-pong of levels');
    for (const server of servers) {
      const holder = fabric.tables[fabric.where.get(server)!].find(address(server));
      t.is(holder?.level, 0, 'settled');
    }
  });
}

test('R4.5 a host that answers behind both switches does not drive their levels up', (t) => {
  const fabric = new Fabric(99);
  fabric.ports.set('10.10.10.1', 'A1');
  fabric.where.set('10.10.10.1', 'A');
  fabric.hear('10.10.10.1', 'A');
  fabric.run(100);
  fabric.hear('10.10.10.1', 'B');
  const told = fabric.levelsTold;
  t.is(told, 2);
  // Both hear it again and again.
  for (let turn = 0; turn < 200; turn++) {
    fabric.hear('10.10.10.1', turn % 2 ? 'A' : 'B');
    fabric.run(45);
  }
  t.is(fabric.levelsTold, told);
  t.deepEqual(fabric.chosen('10.10.10.1'), ['B']);
});
