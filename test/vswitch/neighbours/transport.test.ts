import test from 'ava';
import fc from 'fast-check';
import type { Address, Mac } from '../../../src/model/address.ts';
import { TransportTable } from '../../../src/vswitch-bridge/neighbours/machine/transport.ts';
import type {
  NeighbourChange,
  TransportEffect,
  TransportEvent,
} from '../../../src/vswitch-bridge/neighbours/machine/types.ts';

const IFINDEX = 3;
const at = (text: string) => text as Address;
const mac = (text: string) => text as Mac;
const R1 = at('10.20.1.2');
const R2 = at('10.20.9.2');
const GATEWAY = at('10.20.1.254');
const M1 = mac('02:00:00:00:00:01');
const M2 = mac('02:00:00:00:00:02');

/** The table with a clock of its own; answers of the route are given at once by `routes`. */
class Player {
  readonly table: TransportTable;
  readonly routes = new Map<Address, Address>();
  now = 0;
  asks: { at: number; address: Address; mac: Mac | undefined }[] = [];
  changes: (NeighbourChange & { at: number })[] = [];
  order: string[] = [];

  constructor(proactive = true, poll = 5_000) {
    this.table = new TransportTable({ proactive, poll, retry: 300, attempts: 3 });
  }

  play(event: TransportEvent): void {
    this.#take(this.table.handle(event, this.now));
  }

  /** Runs until `until`, deadlines met exactly. */
  run(until: number): void {
    for (let next = this.table.nextDeadline(); next !== undefined && next <= until; next = this.table.nextDeadline()) {
      this.now = Math.max(this.now, next);
      this.play({ kind: 'time' });
    }
    this.now = until;
  }

  add(tunnel: string, remote: Address): void {
    this.play({ kind: 'tunnel-added', tunnel, remote });
  }

  heard(address: Address, from: Mac, confirms = true, weak = false): void {
    this.play({ kind: 'heard', ifindex: IFINDEX, address, mac: from, confirms, weak });
  }

  #take(effects: readonly TransportEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'ask') {
        this.asks.push({ at: this.now, address: effect.address, mac: effect.mac });
        this.order.push('ask');
      } else if (effect.kind === 'changed') {
        this.changes.push({ ...effect.change, at: this.now });
        this.order.push(`${effect.change.op} ${effect.change.why}`);
      } else {
        const address = this.routes.get(effect.remote);
        const hop = address === undefined ? undefined : { ifindex: IFINDEX, address };
        this.play({ kind: 'route', remote: effect.remote, hop });
      }
    }
  }
}

function player(proactive = true, poll = 5_000): Player {
  const result = new Player(proactive, poll);
  result.routes.set(R1, R1);
  result.routes.set(R2, GATEWAY);
  return result;
}

test('R2.1 a new tunnel is asked for at once; another one to the same address is not added again', (t) => {
  const p = player();
  p.add('a', R1);
  p.add('b', R1);
  t.deepEqual(p.asks, [{ at: 0, address: R1, mac: undefined }]);
  t.is(p.table.view(0).length, 1);
  t.deepEqual(p.table.view(0)[0]!.tunnels, ['a', 'b']);
});

test('R2.1 the entry goes with its last tunnel', (t) => {
  const p = player();
  p.add('a', R1);
  p.add('b', R1);
  p.heard(R1, M1);
  p.play({ kind: 'tunnel-removed', tunnel: 'a' });
  t.is(p.table.view(0).length, 1);
  p.play({ kind: 'tunnel-removed', tunnel: 'b' });
  t.is(p.table.view(0).length, 0);
  t.deepEqual(
    p.changes.map(({ op, why }) => `${op} ${why}`),
    ['set added', 'removed unused'],
  );
  p.run(60_000);
  t.is(p.asks.length, 1);
});

test('R2.1 without an answer the question is repeated to all, then at each poll', (t) => {
  const p = player();
  p.add('a', R1);
  p.run(11_000);
  t.deepEqual(
    p.asks.map((ask) => ask.at),
    [0, 300, 600, 5_900, 6_200, 6_500],
  );
  t.true(p.asks.every((ask) => ask.mac === undefined));
  t.is(p.table.view(p.now)[0]!.state, 'failed');
});

test('R2.1 what is known is asked again by unicast before the kernel would call it stale, whatever the poll', (t) => {
  for (const poll of [5_000, 60_000]) {
    const p = player(true, poll);
    p.add('a', R1);
    p.heard(R1, M1);
    for (let round = 0; round < 5; round++) {
      const before = p.asks.length;
      p.run(p.now + Math.min(poll, 10_000));
      t.is(p.asks.length, before + 1);
      t.is(p.asks.at(-1)!.mac, M1);
      p.heard(R1, M1);
      t.is(p.table.view(p.now)[0]!.state, 'reachable');
    }
    t.deepEqual(
      p.changes.map(({ why }) => why),
      ['added', ...Array.from({ length: 5 }, () => 'confirmed')],
    );
  }
});

test('R2.1 who does not answer alone is asked by broadcast, and has failed after that', (t) => {
  const p = player();
  p.add('a', R1);
  p.heard(R1, M1);
  p.run(5_000 + 5 * 300);
  t.deepEqual(
    p.asks.slice(1).map((ask) => ask.mac),
    [M1, M1, undefined, undefined, undefined],
  );
  t.is(p.changes.at(-1)!.why, 'failed');
  t.is(p.changes.at(-1)!.to.mac, M1);
  t.is(p.table.neighbourOf(R1)!.mac, undefined);
});

test('R2.2 differences are only what was added or changed', (t) => {
  const p = player();
  p.add('a', R1);
  p.heard(R1, M1);
  p.heard(at('10.20.1.77'), M2);
  p.heard(R1, M1, false);
  t.is(p.changes.length, 1);
  p.heard(R1, M2);
  t.like(p.changes[1], { op: 'set', why: 'changed', to: { mac: M2, remotes: [R1] } });
});

test('R2.2 a MAC that nobody confirmed is written as stale and asked about at once', (t) => {
  const p = player();
  p.add('a', R1);
  p.heard(R1, M1, false);
  t.like(p.changes[0], { op: 'set', reachable: false });
  p.run(p.now);
  t.is(p.asks.at(-1)!.mac, M1);
});

test('R2.1 an advertisement without override changes nothing, but is asked about', (t) => {
  const p = player();
  p.add('a', R1);
  p.heard(R1, M1);
  p.heard(R1, M2, true, true);
  t.is(p.changes.length, 1);
  t.is(p.table.neighbourOf(R1)!.mac, M1);
  p.run(p.now);
  t.is(p.asks.at(-1)!.mac, M1);
});

test('R2.1 remotes behind one gateway share its entry; a route that changes moves them', (t) => {
  const p = player();
  const other = at('10.20.10.2');
  p.routes.set(other, GATEWAY);
  p.add('a', R2);
  p.add('b', other);
  t.is(p.asks.length, 1);
  p.heard(GATEWAY, M1);
  t.deepEqual(p.changes[0]!.to.remotes, [R2, other]);
  p.play({ kind: 'route', remote: R2, hop: { ifindex: IFINDEX, address: R1 } });
  t.deepEqual(
    p.changes.slice(1).map(({ op, why, to }) => [op, why, to.remotes]),
    [['removed', 'unused', [R2]]],
  );
  t.is(p.asks.at(-1)!.address, R1);
  p.heard(R1, M2);
  t.is(p.table.neighbourOf(R2)!.mac, M2);
  t.is(p.table.neighbourOf(other)!.mac, M1);
  p.play({ kind: 'route', remote: other, hop: { ifindex: IFINDEX, address: R1 } });
  t.like(p.changes.at(-1), { op: 'set', why: 'added', to: { mac: M2, remotes: [other] } });
  t.is(p.table.view(p.now).length, 1);
});

test('R2.1 a remote without a route is asked for when there is one', (t) => {
  const p = player();
  p.routes.clear();
  p.add('a', R1);
  t.is(p.asks.length, 0);
  t.deepEqual(p.table.unroutable(), [R1]);
  p.play({ kind: 'route', remote: R1, hop: { ifindex: IFINDEX, address: R1 } });
  t.is(p.asks.length, 1);
});

test('a link that changed: all its headers are dropped before the first question, in one call', (t) => {
  const p = player();
  p.add('a', R1);
  p.add('b', R2);
  p.heard(R1, M1);
  p.heard(GATEWAY, M2);
  p.order = [];
  p.play({ kind: 'link', ifindex: IFINDEX, up: true });
  t.deepEqual(p.order, ['removed invalidated', 'removed invalidated', 'ask', 'ask']);
  t.true(p.asks.slice(-2).every((ask) => ask.mac === undefined));
});

test('a link that is down is not asked; all are when it comes back', (t) => {
  const p = player();
  p.add('a', R1);
  p.heard(R1, M1);
  p.play({ kind: 'link', ifindex: IFINDEX, up: false });
  p.run(30_000);
  t.is(p.asks.length, 1);
  t.is(p.table.view(p.now)[0]!.state, 'down');
  p.heard(R1, M1);
  t.is(p.table.neighbourOf(R1)!.mac, undefined);
  p.play({ kind: 'link', ifindex: IFINDEX, up: true });
  t.deepEqual(p.asks.at(-1), { at: 30_000, address: R1, mac: undefined });
});

test('after a change of the link the questions follow quickly: the first may have left by no port; they are not counted', (t) => {
  const p = player();
  p.add('a', R1);
  p.heard(R1, M1);
  p.asks = [];
  p.play({ kind: 'link', ifindex: IFINDEX, up: true });
  p.run(1_300);
  t.deepEqual(
    p.asks.map((ask) => ask.at),
    [0, 10, 30, 70, 150, 310, 610, 910],
  );
  t.is(p.table.view(p.now)[0]!.state, 'failed');
});

test('R2.5 with mechanism 1 off nobody is asked until a packet waits; then at once, and no poll follows', (t) => {
  const p = player(false);
  p.add('a', R1);
  p.run(60_000);
  t.is(p.asks.length, 0);
  p.play({ kind: 'demand', remote: R1 });
  p.play({ kind: 'demand', remote: R1 });
  t.deepEqual(p.asks, [{ at: 60_000, address: R1, mac: undefined }]);
  p.heard(R1, M1);
  t.is(p.changes.length, 1);
  p.run(600_000);
  t.is(p.asks.length, 1);
  p.play({ kind: 'kernel', ifindex: IFINDEX, address: R1, mac: undefined });
  t.like(p.changes.at(-1), { op: 'removed' });
  p.play({ kind: 'demand', remote: R1 });
  t.is(p.asks.length, 2);
});

test('R2.3 a packet that waits though its neighbour is known: the entry is written again', (t) => {
  const p = player();
  p.add('a', R1);
  p.heard(R1, M1);
  p.play({ kind: 'demand', remote: R1 });
  t.like(p.changes.at(-1), { op: 'set', why: 'confirmed', reachable: true });
});

test('R2.2 a kernel that loses the entry gets it back, but not in a loop', (t) => {
  const p = player();
  p.add('a', R1);
  p.heard(R1, M1);
  for (let count = 0; count < 10; count++) p.play({ kind: 'kernel', ifindex: IFINDEX, address: R1, mac: undefined });
  t.is(p.changes.length, 2);
  p.now += 1_500;
  p.play({ kind: 'kernel', ifindex: IFINDEX, address: R1, mac: undefined });
  t.is(p.changes.length, 3);
});

test('R2.2 a MAC that the kernel learned first is taken over', (t) => {
  const p = player();
  p.add('a', R1);
  p.play({ kind: 'kernel', ifindex: IFINDEX, address: R1, mac: M1 });
  t.like(p.changes[0], { op: 'set', why: 'added', reachable: false });
  p.play({ kind: 'kernel', ifindex: IFINDEX, address: R1, mac: M1 });
  t.is(p.changes.length, 1);
});

test('R2.1 R2.2 whatever happens, sinks that follow the differences hold what the table holds', (t) => {
  const address = fc.constantFrom(R1, R2, GATEWAY, at('10.20.1.3'));
  const macs = fc.constantFrom(M1, M2);
  const ifindex = fc.constantFrom(3, 4);
  const tunnel = fc.constantFrom('a', 'b', 'c', 'd');
  const event: fc.Arbitrary<TransportEvent | { kind: 'wait'; ms: number }> = fc.oneof(
    fc.record({ kind: fc.constant('tunnel-added' as const), tunnel, remote: address }),
    fc.record({ kind: fc.constant('tunnel-removed' as const), tunnel }),
    fc.record({
      kind: fc.constant('route' as const),
      remote: address,
      hop: fc.option(fc.record({ ifindex, address }), { nil: undefined }),
    }),
    fc.record({
      kind: fc.constant('heard' as const),
      ifindex,
      address,
      mac: macs,
      confirms: fc.boolean(),
      weak: fc.boolean(),
    }),
    fc.record({
      kind: fc.constant('kernel' as const),
      ifindex,
      address,
      mac: fc.option(macs, { nil: undefined }),
    }),
    fc.record({ kind: fc.constant('link' as const), ifindex, up: fc.boolean() }),
    fc.record({ kind: fc.constant('demand' as const), remote: address }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 8_000 }) }),
  );
  fc.assert(
    fc.property(fc.boolean(), fc.array(event, { maxLength: 60 }), (proactive, events) => {
      const p = player(proactive);
      const sink = new Map<Address, string>();
      const follow = () => {
        for (const change of p.changes.splice(0)) {
          for (const remote of change.to.remotes) {
            if (change.op === 'set') sink.set(remote, `${change.to.ifindex} ${change.to.address} ${change.to.mac}`);
            else sink.delete(remote);
          }
        }
      };
      for (const each of events) {
        if (each.kind === 'wait') p.run(p.now + each.ms);
        else p.play(each);
        follow();
        const expected = new Map<Address, string>();
        for (const view of p.table.view(p.now)) {
          if (view.mac === undefined) continue;
          for (const remote of view.remotes) expected.set(remote, `${view.ifindex} ${view.address} ${view.mac}`);
        }
        if (sink.size !== expected.size || [...expected].some(([remote, text]) => sink.get(remote) !== text))
          return false;
        if (p.table.view(p.now).some(({ remotes }) => remotes.length === 0)) return false;
      }
      return true;
    }),
  );
  t.pass();
});
