import test from 'ava';
import fc from 'fast-check';
import { DrainMachine } from '../../src/agent/tor/drain/machine.ts';
import type { DrainEffect, DrainEvent, DrainMemory, DrainOrder } from '../../src/agent/tor/drain/types.ts';
import { type Address, parseAddress } from '../../src/model/address.ts';

const address = (text: string): Address => parseAddress(text)!;
const C3 = address('10.10.10.1');
const C4 = address('10.10.10.2');

const ORDER: DrainOrder = { ports: ['A1', 'A2'], whole: true, pause: 1_000, timeout: 5_000, force: false };

/** A switch around the machine: ports that shut and open 5 ms after they are asked, hosts, and a clock that jumps. */
class Bench {
  readonly machine: DrainMachine;
  now = 0;
  readonly hosts = new Map<string, Address[]>([
    ['A1', [C3]],
    ['A2', [C4]],
  ]);
  readonly open = new Set(['A1', 'A2']);
  readonly claimed = new Set<Address>();
  readonly untold = new Set<Address>();
  readonly waiting = new Map<Address, number>();
  readonly log: string[] = [];
  readonly news: string[] = [];
  low = false;
  /** Ports that don't obey. */
  stubborn = new Set<string>();
  /** Ports that their group wants shut. */
  groupKeeps = new Set<string>();
  #due: { at: number; run: () => void }[] = [];

  constructor(lag = 100) {
    this.machine = new DrainMachine({ lag });
  }

  handle(event: DrainEvent): void {
    for (const effect of this.machine.handle(event, this.now)) this.#perform(effect);
  }

  later(delay: number, run: () => void): void {
    this.#due.push({ at: this.now + delay, run });
  }

  /** Another switch announces it. */
  claim(host: Address, claimed = true): void {
    if (claimed) this.claimed.add(host);
    else this.claimed.delete(host);
    this.handle({ type: 'claim', address: host, claimed });
  }

  run(milliseconds: number): void {
    const end = this.now + milliseconds;
    for (;;) {
      const due = this.#due.toSorted((a, b) => a.at - b.at)[0];
      const tick = this.machine.nextDeadline();
      const at = Math.min(due?.at ?? end, tick ?? end, end);
      if (at >= end) break;
      this.now = Math.max(this.now, at);
      if (due && due.at <= this.now) {
        this.#due = this.#due.filter((each) => each !== due);
        due.run();
      } else this.#tick();
    }
    this.now = end;
  }

  #tick(): void {
    const seen = this.machine.looksFor().map(({ address: host }) => {
      const port = [...this.hosts].find(([name, hosts]) => this.open.has(name) && hosts.includes(host))?.[0];
      const leaving = this.machine.state(port ?? '') === 'moving' ? undefined : port;
      return [host, { waiting: this.waiting.get(host) ?? 0, port: leaving }] as const;
    });
    this.handle({ type: 'tick', seen: new Map(seen) });
  }

  #perform(effect: DrainEffect): void {
    switch (effect.type) {
      case 'prefer':
        this.low = effect.low;
        this.log.push(effect.low ? 'lower' : 'raise');
        break;
      case 'begin': {
        const { port } = effect;
        this.log.push(`shut ${port}`);
        const hosts = (this.hosts.get(port) ?? []).map((host) => {
          return { address: host, claimed: this.claimed.has(host), told: !this.untold.has(host) };
        });
        this.handle({ type: 'begun', port, open: true, hosts });
        if (!this.stubborn.has(port)) this.later(5, () => this.#set(port, false));
        break;
      }
      case 'left':
        this.log.push(`left ${effect.addresses.join(' ')}${effect.turned ? '' : ' (not turned)'}`);
        break;
      case 'reopen':
        this.log.push(`open ${effect.port}`);
        if (this.groupKeeps.has(effect.port)) {
          this.handle({ type: 'given', port: effect.port, reason: 'group fabric keeps it shut' });
        } else this.later(5, () => this.#set(effect.port, true));
        break;
      case 'free':
        this.log.push(`free ${effect.port}`);
        break;
      case 'news':
        this.news.push(effect.message);
    }
  }

  #set(port: string, open: boolean): void {
    if (open) this.open.add(port);
    else this.open.delete(port);
    this.handle({ type: 'port', port, open });
  }
}

test('R4.7 drain: preference first, then port by port, each when the last is seen elsewhere', (t) => {
  const bench = new Bench();
  bench.handle({ type: 'drain', order: ORDER });
  t.deepEqual(bench.log, ['lower']);
  bench.run(999);
  t.deepEqual(bench.log, ['lower'], 'the fabric has time to take in the lower preference');
  bench.run(500);
  t.deepEqual(bench.log, ['lower', 'shut A1'], 'nobody else has C3 yet');
  bench.claim(C3);
  bench.run(200);
  t.deepEqual(bench.log, ['lower', 'shut A1', `left ${C3}`]);
  t.is(bench.machine.state('A1'), 'shut');
  bench.run(1_000);
  bench.claim(C4);
  bench.run(2_000);
  t.deepEqual(bench.log.slice(3), ['shut A2', `left ${C4}`]);
  t.is(bench.machine.phase, 'drained');
  t.deepEqual(bench.machine.shutPorts(), ['A1', 'A2']);
});

test('R4.7 drain: hosts of which nobody is told are not waited for, and not taken for moved', (t) => {
  const bench = new Bench();
  bench.untold.add(C3);
  bench.handle({ type: 'drain', order: ORDER });
  bench.run(1_600);
  t.deepEqual(bench.log, ['lower', 'shut A1', `left ${C3} (not turned)`], 'but not before its port is shut');
  t.is(bench.machine.state('A1'), 'shut');
  t.true(
    bench.news.some((news) => news.includes('0 of 1 hosts seen elsewhere')),
    bench.news.join('\n'),
  );
  bench.run(1_000);
  bench.claim(C4);
  bench.run(2_000);
  t.is(bench.machine.phase, 'drained');
});

test('R4.7 undrain: the preference is normal before the first port opens, and they open one by one', (t) => {
  const bench = new Bench();
  bench.handle({ type: 'drain', order: { ...ORDER, pause: 0 } });
  for (const host of [C3, C4]) bench.later(100, () => bench.claim(host));
  bench.later(300, () => bench.claim(C4));
  bench.run(3_000);
  t.is(bench.machine.phase, 'drained');
  bench.log.length = 0;
  bench.handle({ type: 'undrain', order: ORDER });
  t.deepEqual(bench.log, ['raise', 'open A1']);
  bench.run(900);
  t.deepEqual(bench.log, ['raise', 'open A1']);
  bench.run(1_500);
  t.deepEqual(bench.log, ['raise', 'open A1', 'open A2']);
  t.is(bench.machine.phase, 'none');
  t.false(bench.low);
});

test('a flow that falls silent says that the gateway has turned; one that goes on, that it has not', (t) => {
  const bench = new Bench(1_200);
  bench.handle({ type: 'drain', order: { ...ORDER, ports: ['A1'], whole: false } });
  let packets = 0;
  let flowing = true;
  const flow = (): void => {
    if (!flowing) return;
    bench.waiting.set(C3, ++packets);
    bench.later(5, flow);
  };
  flow();
  bench.run(100);
  bench.claim(C3);
  bench.run(700);
  t.deepEqual(bench.log, ['shut A1'], 'packets still come here');
  flowing = false;
  bench.run(200);
  t.deepEqual(bench.log, ['shut A1', `left ${C3}`], 'long before the 1.2 s that a gateway may take');
});

test('without a flow the slowest gateway is waited for', (t) => {
  const bench = new Bench(1_200);
  bench.handle({ type: 'drain', order: { ...ORDER, ports: ['A1'], whole: false } });
  bench.run(100);
  bench.claim(C3);
  bench.run(1_150);
  t.deepEqual(bench.log, ['shut A1']);
  bench.run(100);
  t.deepEqual(bench.log, ['shut A1', `left ${C3}`]);
});

test('a host without another path: its port is opened again and kept, and the others go on', (t) => {
  const bench = new Bench();
  bench.handle({ type: 'drain', order: ORDER });
  bench.run(1_000 + 5_100);
  t.deepEqual(bench.log, ['lower', 'shut A1', 'open A1']);
  t.regex(bench.news.join('\n'), /no other path seen for 10\.10\.10\.1 \(A1\): A1 is opened again/);
  bench.run(100);
  t.is(bench.machine.state('A1'), 'kept', 'its host was heard there');
  bench.run(1_000);
  bench.claim(C4);
  bench.run(1_000);
  t.is(bench.machine.phase, 'partial');
  t.deepEqual(bench.machine.shutPorts(), ['A2']);
  t.regex(bench.news.at(-1)!, /A1: no other path seen for 10\.10\.10\.1 \(A1\)/);
  const [view] = bench.machine.views(bench.now, () => 'A1');
  t.deepEqual([view!.unmoved, view!.moved], [[C3], 0]);
  bench.handle({ type: 'undrain', order: ORDER });
  bench.run(3_000);
  t.is(bench.machine.phase, 'none');
});

test('a host that is heard nowhere, not even after its port was opened again, is given up', (t) => {
  const bench = new Bench();
  bench.handle({ type: 'drain', order: { ...ORDER, ports: ['A1'], whole: false } });
  bench.run(1_000);
  bench.hosts.set('A1', []);
  bench.run(4_500);
  t.deepEqual(bench.log, ['shut A1', 'open A1']);
  bench.run(5_000);
  t.deepEqual(bench.log, ['shut A1', 'open A1', `left ${C3} (not turned)`]);
  t.is(bench.machine.state('A1'), 'kept');
});

test("a port that its group wants shut by now is the group's, and nobody waits for its hosts", (t) => {
  const bench = new Bench();
  bench.groupKeeps.add('A1');
  bench.handle({ type: 'drain', order: { ...ORDER, ports: ['A1'], whole: false } });
  bench.run(6_000);
  t.deepEqual(bench.log, ['shut A1', 'open A1', `left ${C3} (not turned)`]);
  t.is(bench.machine.phase, 'partial');
  t.regex(bench.news.at(-1)!, /A1: group fabric keeps it shut/);
});

test('with force such a port stays shut, and its host is given up', (t) => {
  const bench = new Bench();
  bench.handle({ type: 'drain', order: { ...ORDER, ports: ['A1'], force: true } });
  bench.run(8_000);
  t.deepEqual(bench.log, ['lower', 'shut A1', `left ${C3} (not turned)`]);
  t.is(bench.machine.phase, 'drained');
  t.regex(bench.news.join('\n'), /no other path seen for 10\.10\.10\.1 \(A1\); shut all the same/);
});

test('a host that others announce already (active-active) is withdrawn once its port is shut', (t) => {
  const bench = new Bench();
  bench.claimed.add(C3);
  bench.handle({ type: 'drain', order: { ...ORDER, ports: ['A1'], whole: false } });
  bench.run(200);
  t.deepEqual(bench.log, ['shut A1', `left ${C3} (not turned)`]);
  t.is(bench.machine.phase, 'drained');
});

test('a stop ends it after the port that is under way; a drain goes on from there', (t) => {
  const bench = new Bench();
  bench.handle({ type: 'drain', order: ORDER });
  bench.run(1_100);
  bench.handle({ type: 'stop' });
  t.is(bench.machine.phase, 'draining', 'A1 is under way');
  bench.claim(C3);
  bench.run(3_000);
  t.is(bench.machine.phase, 'partial');
  t.deepEqual(bench.machine.shutPorts(), ['A1']);
  t.regex(bench.news.at(-1)!, /not begun: A2/);
  bench.handle({ type: 'drain', order: ORDER });
  bench.later(1_000, () => bench.claim(C4));
  bench.run(4_000);
  t.is(bench.machine.phase, 'drained');
  t.deepEqual(
    bench.log.filter((line) => line.startsWith('shut')),
    ['shut A1', 'shut A2'],
  );
});

test('an undrain in the midst of a drain begins when the port under way is done', (t) => {
  const bench = new Bench();
  bench.handle({ type: 'drain', order: ORDER });
  bench.run(1_100);
  bench.handle({ type: 'undrain', order: ORDER });
  t.deepEqual(bench.log, ['lower', 'shut A1']);
  bench.claim(C3);
  bench.run(3_000);
  t.deepEqual(bench.log, ['lower', 'shut A1', `left ${C3}`, 'raise', 'open A1']);
  t.is(bench.machine.phase, 'none');
});

test('a port that can not be shut is kept, and said', (t) => {
  const bench = new Bench();
  bench.stubborn.add('A1');
  bench.handle({ type: 'drain', order: { ...ORDER, ports: ['A1'] } });
  bench.run(1_200);
  bench.handle({ type: 'trouble', port: 'A1', reason: 'shutting A1 failed: EPERM' });
  t.is(bench.machine.phase, 'partial');
  t.is(bench.machine.state('A1'), 'kept');
  t.deepEqual(
    bench.log,
    ['lower', 'shut A1', `left ${C3} (not turned)`, 'free A1'],
    'nothing waits for its host any more',
  );
});

for (const type of ['undrain', 'drain'] as const) {
  test(`a port that can not be shut carries its servers, also when the next ${type} follows at once`, (t) => {
    const bench = new Bench();
    bench.stubborn.add('A1');
    bench.handle({ type: 'drain', order: { ...ORDER, ports: ['A1'] } });
    bench.run(1_200);
    bench.handle({ type, order: ORDER });
    t.false(bench.log.includes('free A1'), 'the port that is under way comes first');
    bench.handle({ type: 'trouble', port: 'A1', reason: 'shutting A1 failed: EPERM' });
    t.not(bench.machine.state('A1'), 'kept', 'the next order has begun');
    t.deepEqual(bench.log.slice(1, 4), ['shut A1', `left ${C3} (not turned)`, 'free A1']);
  });
}

test('a drained port that somebody opens carries servers again', (t) => {
  const bench = new Bench();
  bench.handle({ type: 'drain', order: { ...ORDER, ports: ['A1'], force: true } });
  bench.run(10_000);
  t.is(bench.machine.phase, 'drained');
  bench.handle({ type: 'port', port: 'A1', open: true });
  t.false(bench.log.includes('free A1'));
  bench.handle({ type: 'trouble', port: 'A1', reason: 'A1 was opened by somebody else' });
  t.is(bench.log.at(-1), 'free A1');
  t.is(bench.machine.state('A1'), 'kept');
});

test('a restart: what was drained stays drained, what was under way is not', (t) => {
  const bench = new Bench();
  bench.handle({ type: 'drain', order: ORDER });
  bench.run(1_100);
  bench.claim(C3);
  bench.run(1_500);
  const memory = JSON.parse(JSON.stringify({ ...bench.machine.memory(), since: 0 })) as DrainMemory;
  t.deepEqual(
    memory.ports.map(({ port, state }) => `${port} ${state}`),
    ['A1 shut', 'A2 moving'],
  );
  const next = new Bench();
  next.handle({ type: 'restore', memory, at: -1_000 });
  t.deepEqual(next.log, ['lower']);
  t.deepEqual(next.machine.shutPorts(), ['A1']);
  t.is(next.machine.phase, 'partial');
  next.run(10_000);
  t.deepEqual(next.log, ['lower'], 'nothing happens by itself');
  next.open.delete('A1');
  next.handle({ type: 'undrain', order: ORDER });
  next.run(3_000);
  t.deepEqual(next.log, ['lower', 'raise', 'open A1']);
  t.is(next.machine.phase, 'none');
});

test('R4.7 whatever is ordered and seen: every host that began to leave has left or is back, and rest is reached', (t) => {
  const step = fc.oneof(
    fc.record({ do: fc.constantFrom('drain', 'undrain', 'stop'), force: fc.boolean(), whole: fc.boolean() }),
    fc.record({ do: fc.constant('claim'), host: fc.constantFrom(C3, C4), claimed: fc.boolean() }),
    fc.record({ do: fc.constant('trouble'), port: fc.constantFrom('A1', 'A2') }),
    fc.record({ do: fc.constant('wait'), for: fc.integer({ min: 1, max: 7_000 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      const bench = new Bench();
      const owed = new Map<Address, string>();
      const watch = (): void => {
        for (const line of bench.log.splice(0)) {
          const [what, ...rest] = line.split(' ');
          if (what === 'shut') for (const host of bench.hosts.get(rest[0]!)!) owed.set(host, rest[0]!);
          if (what === 'left') for (const host of rest) owed.delete(host as Address);
          if (what === 'open') for (const host of bench.hosts.get(rest[0]!)!) owed.delete(host);
        }
      };
      for (const each of steps) {
        if ('host' in each) bench.claim(each.host, each.claimed);
        else if ('port' in each) bench.handle({ type: 'trouble', port: each.port, reason: 'refused' });
        else if ('for' in each) bench.run(each.for);
        else if (each.do === 'stop') bench.handle({ type: 'stop' });
        else
          bench.handle({
            type: each.do as 'drain' | 'undrain',
            order: { ...ORDER, force: each.force, whole: each.whole },
          });
        watch();
      }
      bench.run(60_000);
      watch();
      if (!['none', 'drained', 'partial'].includes(bench.machine.phase)) throw new Error(bench.machine.phase);
      if (bench.machine.nextDeadline() !== undefined) throw new Error('it never rests');
      if (owed.size > 0) throw new Error(`nobody cares for ${[...owed.keys()].join(' ')}`);
    }),
    { numRuns: 400 },
  );
  t.pass();
});
