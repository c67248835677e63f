import test from 'ava';
import fc from 'fast-check';
import type { HostEvent, HostPolicy } from '../../src/hostroutes/machine/types.ts';
import type { ClaimLevel, ForeignClaim } from '../../src/model/hosts.ts';
import { address, Bench, deltas, heard, mac, policy } from './helpers.ts';

const C4 = address('10.10.10.2');
const door = { interface: 'door', ifindex: 9, mac: mac(9) };
const shadow = { hold: 3_000, door };
const standingBy = (overrides: Partial<HostPolicy> = {}) => policy({ shadow, ...overrides });

const claim = (
  text: string,
  level: ClaimLevel | undefined,
  more: Partial<ForeignClaim> = {},
): Extract<HostEvent, { type: 'foreignClaim' }> => ({
  type: 'foreignClaim',
  claim: { address: address(text), level, from: '10.255.0.1', ...more },
});

function claimed(bench: Bench, text = '10.10.10.2', more: Partial<ForeignClaim> = {}): Bench {
  bench.do(claim(text, 0, more));
  bench.run(1_100);
  return bench;
}

const isShadow = (bench: Bench, text = '10.10.10.2'): boolean => bench.model.get(address(text))?.shadow === true;

test('R4.5 a host that the other switch announces is announced here as a shadow, whose packets wait', (t) => {
  const bench = new Bench(standingBy());
  bench.do(claim('10.10.10.2', 0));
  t.deepEqual([...bench.model], [], 'not in the moment of the claim: the gateway is busy with that');
  bench.run(1_100);
  t.deepEqual(bench.model.get(C4), { address: C4, ...door, level: 0, shadow: true });
  t.like(bench.table.find(C4), {
    state: 'shadow',
    port: '',
    source: 'fabric',
    reason: 'announced by 10.255.0.1',
    since: 2_000,
  });
  t.deepEqual(
    bench.table.hosts().map((view) => view.address),
    [C4],
  );
  t.like(bench.table.counters(), { hosts: 0, shadows: 1, shadowsBegun: 1 });
});

test('R4.5 of many shadows behind one port of the other switch the first that is heard leads, once in hold', (t) => {
  const bench = new Bench(standingBy());
  const many = Array.from({ length: 17 }, (_, index) => `10.10.10.${20 + index}`);
  const few = ['10.10.10.2', '10.10.10.3'];
  const said = (texts: readonly string[], portIndex: number) => {
    for (const text of texts) bench.do(claim(text, 0, { portIndex }));
    bench.run(1_100);
  };
  const leads = (text: string) => bench.table.leads(address(text), bench.now);
  said(many, 7);
  said(few, 8);
  t.is(bench.model.get(address(many[0]!))?.group, '10.255.0.1/7');
  t.false(leads(few[0]!), 'as fast one by one');
  t.true(leads(many[3]!));
  t.false(leads(many[4]!));
  bench.run(3_100);
  t.true(leads(many[4]!));
  bench.do(bench.live(many[4]!, 'A2'));
  bench.run(3_100);
  t.false(leads(many[4]!), 'no shadow any more');
  t.true(leads(many[5]!), 'sixteen are left');
  said([many[6]!], 8);
  t.is(bench.model.get(address(many[6]!))?.group, '10.255.0.1/8', 'behind another port there');
  bench.run(3_100);
  t.false(leads(many[5]!), 'fifteen');
});

test('nothing is stood by for unless that is asked for', (t) => {
  const bench = claimed(new Bench(policy()));
  t.deepEqual([...bench.model], []);
  t.is(bench.table.nextDeadline(), undefined);
});

test('R4.5 the claim goes: the shadow stays for hold, and the host that is heard is a real one at once', (t) => {
  const bench = claimed(new Bench(standingBy()));
  bench.do(claim('10.10.10.2', undefined));
  bench.run(2_900);
  t.true(isShadow(bench));
  const [delta] = deltas(bench.do(bench.live('10.10.10.2', 'A2')));
  t.deepEqual(delta?.delta.withdrawn, []);
  t.like(delta?.delta.announced[0], { address: C4, interface: 'A2', level: 0, shadow: undefined });
  t.like(bench.table.find(C4), { state: 'reachable', port: 'A2' });
  t.like(bench.table.counters(), { hosts: 1, shadows: 0, shadowsServed: 1 });
  bench.run(10_000);
  t.like(bench.table.find(C4), { state: 'reachable', port: 'A2' }, 'the hold is forgotten with the shadow');
});

test('R4.5 heard while the other still claims it: announced above that claim', (t) => {
  const bench = claimed(new Bench(standingBy()));
  bench.do(bench.live('10.10.10.2', 'A2'));
  t.like(bench.model.get(C4), { level: 1, interface: 'A2', shadow: undefined });
});

test('a host that nobody announces any more and that is not heard is withdrawn after hold', (t) => {
  const bench = claimed(new Bench(standingBy()));
  bench.do(claim('10.10.10.2', undefined));
  const effects = bench.run(3_100);
  t.deepEqual(bench.model.size, 0);
  t.like(deltas(effects).at(-1), { delta: { withdrawn: [C4], announced: [] }, cause: { kind: 'shadowEnded' } });
  t.like(bench.table.find(C4), {
    state: 'gone',
    reason: 'no other switch announces it any more, and it was not heard here',
  });
  t.is(bench.table.nextDeadline(), undefined, 'nothing is left to do');
});

test('the claim comes back within hold: the shadow is as if it had never gone', (t) => {
  const bench = claimed(new Bench(standingBy()));
  bench.do(claim('10.10.10.2', undefined));
  bench.run(1_000);
  bench.do(claim('10.10.10.2', 1));
  bench.run(10_000);
  t.true(isShadow(bench));
  t.is(bench.table.find(C4)?.reason, 'announced by 10.255.0.1');
  t.is(bench.table.counters().shadowsBegun, 1);
});

test('R4.6 a switch that could not serve a host does not stand by for it: all ports blocked, or down', (t) => {
  const ports = ['A1', 'A2', 'A3', 'A4'];
  const bench = claimed(new Bench(standingBy()));
  bench.do({ type: 'blockPorts', ports, blocked: true, reason: 'shut by group fabric' });
  bench.run(50);
  t.is(bench.model.size, 0);
  t.like(bench.table.find(C4), { state: 'gone', reason: 'no port of ours could serve it now' });
  bench.do({ type: 'blockPorts', ports, blocked: false, reason: '' });
  bench.run(1_200);
  t.true(isShadow(bench), 'and again when they are open');
  bench.do({ type: 'portDown', ports, reason: 'carrier lost' });
  bench.run(50);
  t.is(bench.model.size, 0);
  bench.do({ type: 'portUp', port: 'A3' });
  bench.run(1_200);
  t.true(isShadow(bench), 'one port is enough');
});

test('R4.5 its own port decides for a host that was here before', (t) => {
  const bench = new Bench(standingBy());
  bench.do(heard('10.10.10.2', 'A2'));
  bench.do({ type: 'portDown', ports: ['A2'], reason: 'carrier lost' });
  bench.do(claim('10.10.10.2', 0));
  bench.run(2_000);
  t.false(bench.model.has(C4), 'its link to us is down');
  bench.do({ type: 'portUp', port: 'A2' });
  bench.run(2_000);
  t.true(isShadow(bench));
  t.deepEqual(
    bench.table.remembered('A2').map((each) => each.address),
    [C4],
    'and is remembered there all the while',
  );
});

test('R4.5 there and back: who is real and who stands by changes three times, and no level climbs', (t) => {
  const [A, B] = [new Bench(standingBy()), new Bench(standingBy())];
  const tell = (from: Bench, to: Bench, name: string) => {
    const route = from.model.get(C4);
    to.do(claim('10.10.10.2', route && !route.shadow ? route.level : undefined, { from: name }));
  };
  const both = (ms: number) => {
    for (let passed = 0; passed < ms; passed += 50) {
      A.run(50);
      B.run(50);
      tell(A, B, 'A');
      tell(B, A, 'B');
    }
  };
  A.do(A.live('10.10.10.2', 'A2'));
  both(2_000);
  const real = (bench: Bench): boolean => bench.model.get(C4)?.shadow === undefined && bench.model.has(C4);
  t.deepEqual([real(A), isShadow(B)], [true, true]);
  for (let round = 0; round < 3; round++) {
    A.alive.clear();
    A.do({ type: 'portDown', ports: ['A2'], reason: 'carrier lost' });
    B.do(B.live('10.10.10.2', 'A2'));
    both(4_000);
    t.deepEqual([A.model.has(C4), real(B)], [false, true], `there, round ${round}`);
    B.alive.clear();
    A.do({ type: 'portUp', port: 'A2' });
    A.do(A.live('10.10.10.2', 'A2'));
    both(4_000);
    t.deepEqual([real(A), isShadow(B)], [true, true], `back, round ${round}`);
    t.is(A.model.get(C4)?.level, 0);
  }
});

test('two switches that know a host only from each other let go of it', (t) => {
  const [A, B] = [claimed(new Bench(standingBy())), claimed(new Bench(standingBy()))];
  // What the speakers tell of a shadow is no claim.
  for (const bench of [A, B]) {
    bench.do(claim('10.10.10.2', undefined));
    bench.run(3_100);
    t.is(bench.model.size, 0);
  }
});

test('planned work at the other switch: its hosts get no new shadow, and keep the one that they have', (t) => {
  const bench = claimed(new Bench(standingBy()));
  bench.do(claim('10.10.10.2', 0, { leaving: true }));
  bench.do(claim('10.10.10.3', 0, { leaving: true }));
  bench.run(5_000);
  t.true(isShadow(bench));
  t.false(bench.model.has(address('10.10.10.3')));
  bench.do(claim('10.10.10.3', 0));
  bench.run(1_100);
  t.true(isShadow(bench, '10.10.10.3'), 'the work is over');
});

test('shadow.twin: a claim that names another router is not stood by for', (t) => {
  const twin = address('10.255.0.1');
  const bench = claimed(new Bench(standingBy({ shadow: { ...shadow, twin } })), '10.10.10.2', {
    routerId: address('10.255.0.7'),
  });
  t.is(bench.model.size, 0);
  claimed(bench, '10.10.10.3', { routerId: twin });
  claimed(bench, '10.10.10.4');
  t.deepEqual([isShadow(bench, '10.10.10.3'), isShadow(bench, '10.10.10.4')], [true, true]);
});

test('bindings: only where one of the ports to which a host is bound could serve it', (t) => {
  const bindings = [{ address: C4, ports: ['A1'] }];
  const bench = new Bench(standingBy({ bindings }));
  bench.do({ type: 'portDown', ports: ['A1'], reason: 'carrier lost' });
  claimed(bench);
  t.is(bench.model.size, 0);
  bench.do({ type: 'portUp', port: 'A1' });
  bench.run(1_200);
  t.true(isShadow(bench));
});

test('outside the prefixes, our own address, the subnet itself: none of these', (t) => {
  const bench = new Bench(standingBy());
  for (const text of ['10.10.11.2', '10.10.10.254', '10.10.10.0', '10.10.10.255']) claimed(bench, text);
  t.is(bench.model.size, 0);
});

test('limits: shadows do not count for a port, count in total, and give way to real hosts', (t) => {
  const bench = new Bench(standingBy({ limits: { perPort: 2, total: 3 } }));
  for (const last of [1, 2, 3, 4]) bench.do(claim(`10.10.10.${last}`, 0));
  bench.run(1_100);
  t.is(bench.model.size, 3);
  t.true(bench.table.counters().shadowsRefused >= 1);
  const [delta] = deltas(bench.do(bench.live('10.10.10.9', 'A1')));
  t.is(delta?.delta.withdrawn.length, 1);
  t.like(bench.table.counters(), { hosts: 1, shadows: 2, shadowsDisplaced: 1 });
  // A host that is a shadow itself takes nobody's room.
  const { address: own } = bench.table.hosts().find(({ state }) => state === 'shadow')!;
  bench.do(bench.live(own, 'A1'));
  t.like(bench.table.counters(), { hosts: 2, shadows: 1, shadowsDisplaced: 1 });
  bench.alive.clear();
  bench.do({ type: 'portDown', ports: ['A1'], reason: 'carrier lost' });
  bench.run(2_000);
  t.is(bench.table.counters().shadows, 3, 'there is room again');
});

test('damping: a host whose shadow ends in vain again and again is stood by for later each time', (t) => {
  const bench = new Bench(standingBy());
  const waits: number[] = [];
  for (let round = 0; round < 5; round++) {
    const began = bench.now;
    bench.do(claim('10.10.10.2', 0));
    while (!isShadow(bench)) bench.run(500);
    waits.push(bench.now - began);
    bench.do(claim('10.10.10.2', undefined));
    bench.run(3_100);
    t.is(bench.model.size, 0);
  }
  for (let round = 1; round < waits.length; round++) t.true(waits[round]! >= waits[round - 1]!, waits.join());
  t.true(waits.at(-1)! > 5 * waits[0]!, waits.join());
});

test('a host expected back is announced as a real one, and is a shadow again when it stays away', (t) => {
  const bench = new Bench(standingBy({ returning: { mode: 'always', wait: 300, door } }));
  bench.do(heard('10.10.10.2', 'A2'));
  bench.do({ type: 'portDown', ports: ['A2'], reason: 'carrier lost' });
  bench.do(claim('10.10.10.2', 0));
  bench.do({ type: 'portUp', port: 'A2' });
  bench.run(1_500);
  t.true(isShadow(bench));
  bench.do({ type: 'expect', ports: ['A2'] });
  t.like(bench.model.get(C4), { level: 1, shadow: undefined });
  t.is(bench.table.counters().shadows, 0);
  bench.run(500);
  t.false(bench.model.has(C4), 'it did not come');
  bench.run(1_500);
  t.true(isShadow(bench));
});

test('a host that did not come back after planned work is a shadow like any other, also for the next reload', (t) => {
  const returning = { mode: 'always' as const, wait: 300, door };
  const bench = new Bench(standingBy({ returning }));
  bench.do(heard('10.10.10.2', 'A2'));
  bench.do({ type: 'leave', ports: ['A2'], reason: 'drain' });
  bench.do(claim('10.10.10.2', 1));
  bench.do({ type: 'expect', ports: ['A2'] });
  bench.do({ type: 'blockPorts', ports: ['A2'], blocked: false, reason: 'drain' });
  t.deepEqual(bench.table.expected(['A2']), [C4]);
  bench.run(3_100);
  t.true(isShadow(bench));
  t.like(bench.table.counters(), { leaving: 0, shadows: 1 });
  bench.do({ type: 'configure', policy: standingBy({ returning, ports: ['A1'] }) });
  bench.do({ type: 'configure', policy: standingBy({ returning, ports: ['A1', 'A2'] }) });
  bench.run(3_100);
  t.true(isShadow(bench), 'nobody took its route away');
  t.is(bench.table.counters().shadows, 1);
});

test('thousands of claims cost no turn of the loop much, and one turn tells of many', (t) => {
  const bench = new Bench(standingBy({ prefixes: ['10.10.0.0/16' as never] }));
  for (let index = 0; index < 10_000; index++) bench.do(claim(`10.10.${1 + (index >> 8)}.${index & 255}`, 0));
  const told = deltas(bench.run(5_000));
  t.true(bench.model.size > 9_800);
  t.true(told.every(({ delta }) => delta.announced.length <= 256));
  t.true(told.length < 60, `${told.length} deltas`);
});

const PORTS = ['A1', 'A2'];
const text = fc.integer({ min: 1, max: 4 }).map((last) => `10.10.10.${last}`);
const ports = fc.subarray(PORTS, { minLength: 1 });
const somePolicy = fc
  .record({ ports, total: fc.integer({ min: 1, max: 4 }), on: fc.boolean(), returns: fc.boolean() })
  .map(({ ports: names, total, on, returns }) =>
    policy({
      ports: names,
      limits: { perPort: 3, total },
      ...(on ? { shadow } : {}),
      ...(returns ? { returning: { mode: 'always' as const, wait: 300, door } } : {}),
    }),
  );
const event: fc.Arbitrary<HostEvent> = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(text, fc.constantFrom(...PORTS)).map(([host, port]) => heard(host, port)) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('portDown' as const), ports, reason: fc.constant('down') }) },
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constant('portUp' as const), port: fc.constantFrom(...PORTS) }),
  },
  fc.record({ type: fc.constant('blockPorts' as const), ports, blocked: fc.boolean(), reason: fc.constant('group') }),
  fc.record({ type: fc.constant('leave' as const), ports, reason: fc.constant('drain') }),
  fc.record({
    type: fc.constant('left' as const),
    addresses: fc.array(text.map(address), { maxLength: 4 }),
    turned: fc.boolean(),
  }),
  { weight: 2, arbitrary: fc.record({ type: fc.constant('expect' as const), ports }) },
  {
    weight: 8,
    arbitrary: fc
      .tuple(text, fc.constantFrom(undefined, 0 as const, 1 as const), fc.boolean())
      .map(([host, level, leaving]): HostEvent => claim(host, level, leaving ? { leaving } : {})),
  },
  somePolicy.map((configured): HostEvent => ({ type: 'configure', policy: configured })),
);

test('invariants of shadows: what the deltas add up to, limits, and no shadow longer than hold without a claim', (t) => {
  fc.assert(
    fc.property(
      somePolicy,
      fc.array(fc.tuple(event, fc.constantFrom(0, 0, 30, 1_100, 3_100)), { minLength: 1, maxLength: 60, size: 'max' }),
      (start, story) => {
        const bench = new Bench(start);
        let rules = start;
        const unclaimed = new Map<string, number>();
        const claims = new Set<string>();
        for (const [each, wait] of story) {
          bench.do(each);
          if (each.type === 'configure') rules = each.policy;
          if (each.type === 'foreignClaim') {
            const key = each.claim.address;
            if (each.claim.level !== undefined) {
              claims.add(key);
              unclaimed.delete(key);
            } else if (claims.delete(key)) unclaimed.set(key, bench.now);
          }
          bench.run(wait);
          const announced = new Map(bench.table.announced().map((route) => [route.address, route]));
          if (announced.size !== bench.model.size) return false;
          for (const [key, route] of bench.model) if (announced.get(key) !== route) return false;
          const states = new Map(bench.table.hosts().map((view) => [view.address, view.state]));
          for (const [key, route] of announced) {
            if ((route.shadow === true) !== (states.get(key) === 'shadow')) return false;
            const since = unclaimed.get(key);
            if (route.shadow && !claims.has(key) && (since === undefined || bench.now - since > 3_050)) return false;
            if (route.shadow && !rules.shadow && wait > 0) return false;
          }
          for (const [key, state] of states) if (!announced.has(key) && state === 'shadow') return false;
          const { hosts, shadows } = bench.table.counters();
          if (shadows !== [...announced.values()].filter((route) => route.shadow).length) return false;
          if (wait > 0 && shadows > 0 && hosts + shadows > rules.limits.total) return false;
        }
        return true;
      },
    ),
    { numRuns: 400 },
  );
  t.pass();
});
