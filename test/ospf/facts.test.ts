/** Port facts: their octets, and how the machines carry them. */
import test from 'ava';
import fc from 'fast-check';
import { encodeLsa } from 'node-ospf-lsa';
import type { HeardFact } from '../../src/model/port-facts.ts';
import {
  decodeFactData,
  encodeFactData,
  factId,
  fits,
  isFactId,
  MAX_FACT_OCTETS,
  MAX_KEY_OCTETS,
  opaqueIdOf,
} from '../../src/ospf/codec/facts.ts';
import { decodeRouteTag, encodeRouteTag } from '../../src/ospf/codec/route-tag.ts';
import { HeardFacts } from '../../src/ospf/machine/heard-facts.ts';
import { keptBy, nextLife } from './lives.ts';
import { allFull, host, ip, type Router, type RouterOptions, twoSwitches, Wire, World } from './simulation.ts';

const octets = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const fact = (key: string, value: string, index?: number) => ({
  key: octets(key),
  value: octets(value),
  ...(index === undefined ? {} : { index }),
});
const say = (router: Router, ...facts: ReturnType<typeof fact>[]): void => router.handle({ kind: 'facts', facts });

const read = ({ routerId, key, value, reason }: HeardFact): string =>
  `${routerId} ${Buffer.from(key)}=${value ? Buffer.from(value) : `(${reason})`}`;
const heard = (router: Router, from = 0): string[] =>
  router.effects.slice(from).flatMap((effect) => (effect.kind === 'fact' ? [read(effect.fact)] : []));

/** How often each of its facts was said anew. */
const sequences = (router: Router): number[] =>
  [...router.machine.core.external.entries.values()]
    .filter(({ self, lsa }) => self && lsa.header.age < 3600 && isFactId(lsa.header.linkStateId))
    .map(({ lsa }) => lsa.header.sequence + 0x7fffffff);

const key = fc.uint8Array({ minLength: 1, maxLength: MAX_KEY_OCTETS });

test('R4.9 octets of a fact: what is written is read, whole words on the wire', (t) => {
  fc.assert(
    fc.property(key, fc.uint8Array({ maxLength: MAX_FACT_OCTETS - MAX_KEY_OCTETS }), (name, value) => {
      const data = encodeFactData({ key: name, value });
      t.is(data.length % 4, 0);
      const decoded = decodeFactData(data);
      t.true(typeof decoded === 'object' && Buffer.compare(decoded.key, name) === 0);
      t.true(typeof decoded === 'object' && Buffer.compare(decoded.value, value) === 0);
    }),
  );
});

test('R4.9 octets of a fact: anything else is a typed error, and nothing is read beyond the end', (t) => {
  const reasons = new Set<string>();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (data) => {
      const decoded = decodeFactData(data);
      if (typeof decoded === 'string') reasons.add(decoded);
      else t.deepEqual(encodeFactData(decoded).length, data.length);
    }),
    { numRuns: 2000, examples: [[Uint8Array.of(0, 1, 0, 0, 65, 0, 0, 0, 0, 0, 0, 0)], [Uint8Array.of(0, 0, 0, 0)]] },
  );
  t.deepEqual([...reasons].sort(), ['bad-key-length', 'bad-padding', 'truncated']);
});

test('R4.9 the opaque id is the low 24 bits of the ifindex, or comes of the key', (t) => {
  t.is(factId(opaqueIdOf({ key: octets('k'), index: 7 })), 0xc9000007);
  t.is(factId(opaqueIdOf({ key: octets('k'), index: 0x1000007 })), 0xc9000007);
  fc.assert(
    fc.property(key, (name) => {
      const id = opaqueIdOf({ key: name });
      t.true(id >= 0 && id <= 0xffffff && isFactId(factId(id)));
    }),
  );
  t.false(isFactId(0x03000000), 'a Grace-LSA');
  t.true(fits({ key: octets('k'), value: new Uint8Array(MAX_FACT_OCTETS - 1) }));
  t.false(fits({ key: octets('k'), value: new Uint8Array(MAX_FACT_OCTETS) }));
  t.false(fits({ key: new Uint8Array(), value: octets('v') }));
});

test('R4.8 route tags: port and shadow there and back, those of others are none of ours', (t) => {
  fc.assert(
    fc.property(fc.nat({ max: 0x7fffffff }), fc.boolean(), (portIndex, shadow) => {
      const index = portIndex > 0xffffff || portIndex === 0 ? undefined : portIndex;
      t.deepEqual(decodeRouteTag(encodeRouteTag({ portIndex, shadow })), { portIndex: index, shadow });
    }),
  );
  t.is(encodeRouteTag({ portIndex: 9, shadow: false }), 0x50000009);
  t.is(encodeRouteTag({ portIndex: 9, shadow: true }), 0x58000009);
  for (const tag of [0, 65001, 0x40000009, 0x60000009, 0xffffffff]) t.is(decodeRouteTag(tag), undefined);
});

test('R4.8 R4.9 a fact passes a gateway to another switch; a change, a withdrawal', (t) => {
  const { world, g, a, b } = twoSwitches();
  say(a, fact('A2', 'up', 7), fact('A1', 'up', 6));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(3000);
  const both = ['10.255.0.1 A1=up', '10.255.0.1 A2=up'];
  t.deepEqual(heard(g).sort(), both);
  t.deepEqual(heard(b).sort(), both);
  t.deepEqual(heard(a), [], 'nobody hears of himself');
  const seen = b.effects.length;
  say(a, fact('A2', 'down', 7), fact('A1', 'up', 6));
  world.run(20);
  t.deepEqual(heard(b, seen), ['10.255.0.1 A2=down']);
  world.run(2000);
  say(a, fact('A2', 'down', 7));
  world.run(20);
  t.deepEqual(heard(b, seen), ['10.255.0.1 A2=down', '10.255.0.1 A1=(withdrawn)']);
  t.deepEqual(sequences(a), [1], 'one flush, and no instance without a change');
  say(a, fact('A2', 'down', 7));
  t.deepEqual(sequences(a), [1]);
});

test('R4.9 two changes within MinLSArrival: the newest is said when the second is over, there and back again is not', (t) => {
  const { world, g, a, b } = twoSwitches();
  say(a, fact('A2', 'one'));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(5000);
  const seen = b.effects.length;
  say(a, fact('A2', 'two'));
  world.run(100);
  for (const value of ['three', 'four']) {
    say(a, fact('A2', value));
    world.run(100);
  }
  t.deepEqual(heard(b, seen), ['10.255.0.1 A2=two']);
  world.run(800);
  t.deepEqual(heard(b, seen), ['10.255.0.1 A2=two', '10.255.0.1 A2=four']);
  say(a, fact('A2', 'five'));
  say(a, fact('A2', 'four'));
  world.run(3000);
  t.deepEqual(heard(b, seen).length, 2);
  t.deepEqual(sequences(a), [2]);
});

test('R4.9 a gateway that was slow to read takes the second word for too early: it is said again soon', (t) => {
  const { world, wireA, g, a, b } = twoSwitches({ retransmit: 60_000 });
  say(a, fact('A2', 'one'));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(5000);
  wireA.delay = 80;
  say(a, fact('A2', 'two'));
  world.run(90);
  wireA.delay = 1;
  say(a, fact('A2', 'three'));
  world.run(930);
  t.is(heard(b).at(-1), '10.255.0.1 A2=two');
  t.true((g.machine.core.counters.get('drop.min-ls-arrival') ?? 0) > 0);
  world.run(600);
  t.is(heard(b).at(-1), '10.255.0.1 A2=three');
});

test('R4.7 R4.9 facts of a dead switch are facts no more, whatever the database still holds', (t) => {
  const { world, g, a, b } = twoSwitches();
  say(a, fact('A2', 'up'));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(2000);
  const kept = keptBy(a, world);
  a.crash();
  world.run(6000);
  t.deepEqual(heard(b), ['10.255.0.1 A2=up', '10.255.0.1 A2=(router unreachable)']);
  t.true([...b.machine.core.external.entries.values()].some(({ lsa }) => isFactId(lsa.header.linkStateId)));
  const again = nextLife(world, a, undefined);
  again.up();
  say(again, fact('A2', 'down'));
  world.run(10_000);
  t.is(heard(b).at(-1), '10.255.0.1 A2=down');
  t.true(kept.lsas.length > 0);
});

test('R4.9 a restart: facts that are said again stand without a flush, the others go when the host table has settled', (t) => {
  const { world, g, a, b } = twoSwitches();
  say(a, fact('A1', 'up', 6), fact('A2', 'up', 7));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(5000);
  const kept = keptBy(a, world);
  a.crash();
  const seen = b.effects.length;
  world.run(500);
  const again = nextLife(world, a, kept);
  world.run(500);
  say(again, fact('A1', 'up', 6));
  world.run(2000);
  t.deepEqual(heard(b, seen), []);
  again.handle({ kind: 'settled' });
  world.run(3000);
  t.deepEqual(heard(b, seen), ['10.255.0.1 A2=(withdrawn)']);
  t.deepEqual(sequences(again), [0], 'the instance of the earlier life');
});

test('R4.9 a restart without a memory: facts that the neighbours still have are taken up as well', (t) => {
  const { world, g, a, b } = twoSwitches();
  say(a, fact('A1', 'up', 6), fact('A2', 'up', 7));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(5000);
  a.crash();
  world.run(100);
  const again = nextLife(world, a, undefined);
  again.up();
  say(again, fact('A1', 'up', 6));
  world.until('Full again', () => again.states()[0] === 'Full' && allFull(g, again));
  world.run(1000);
  const values = (router: Router): string[] => heard(router).filter((line) => line.startsWith('10.255.0.1 A2'));
  t.false(values(b).some((line) => line.includes('withdrawn')));
  world.run(9000);
  t.is(values(b).at(-1), '10.255.0.1 A2=(withdrawn)', 'not said again within the time to settle');
  t.is(
    heard(b)
      .filter((line) => line.startsWith('10.255.0.1 A1'))
      .at(-1),
    '10.255.0.1 A1=up',
  );
});

test('R4.9 NSSAs carry no type 11: there a fact is of type 10', (t) => {
  const world = new World(3);
  const wire = new Wire('point-to-point');
  const options: RouterOptions = { announce: { as: 'nssa', metric: 20, metricType: 2 } };
  const ends = ['192.0.2.1', '192.0.2.2'].map((address) => ({ wire, address, prefixLength: 30, area: '0.0.0.1' }));
  const g = world.router('G', '10.255.0.254', [ends[0]!], options);
  const a = world.router('A', '10.255.0.1', [ends[1]!], options);
  for (const router of [g, a]) router.up();
  say(a, fact('A2', 'up'));
  world.until('Full', () => allFull(g, a));
  world.run(3000);
  t.deepEqual(heard(g), ['10.255.0.1 A2=up']);
  t.is(g.machine.core.external.entries.size, 0);
  const types = g.database().filter((line) => line.includes(' 10/'));
  t.is(types.length, 1);
  say(a);
  world.run(20);
  t.is(heard(g).at(-1), '10.255.0.1 A2=(withdrawn)');
});

test('R4.9 in an area that becomes an NSSA the facts are said anew, of the type that goes there', (t) => {
  const { world, g, a, b } = twoSwitches();
  say(a, fact('A2', 'up'));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(2000);
  const { interfaces } = a.machine.core.options;
  const area = { ...interfaces[0]!, area: '0.0.0.1' as (typeof interfaces)[0]['area'] };
  a.handle({
    kind: 'configure',
    settings: { interfaces: [area], announce: { as: 'nssa', metric: 20, metricType: 2 }, prefixes: [] },
  });
  const lsas = a.database().filter((line) => / 1[01]\//.test(line));
  t.deepEqual(
    lsas.map((line) => line.slice(0, 11)),
    ['0.0.0.1 10/'],
  );
});

test('a neighbour without the O bit is sent no facts, and the adjacency is none the worse', (t) => {
  const { world, g, a, b } = twoSwitches();
  say(a, fact('A2', 'up'));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(2000);
  for (const iface of g.machine.core.interfaces.values()) {
    for (const neighbor of iface.neighbors.values()) neighbor.options &= ~0x40;
  }
  const seen = b.effects.length;
  say(a, fact('A2', 'down'));
  world.run(8000);
  t.deepEqual(heard(g).at(-1), '10.255.0.1 A2=down');
  t.deepEqual(heard(b, seen), []);
  t.true(allFull(g, a, b));
});

test('too long, too many: left out and counted, the others are said', (t) => {
  const { world, g, a, b } = twoSwitches();
  world.until('Full everywhere', () => allFull(g, a, b));
  const many = Array.from({ length: 5000 }, (_, index) => fact(`p${index}`, 'up', index + 1));
  say(a, { key: octets('x'), value: new Uint8Array(MAX_FACT_OCTETS) }, ...many);
  t.is(a.machine.core.counters.get('facts.too-long'), 1);
  t.is(a.machine.core.counters.get('facts.too-many'), 5000 - 4096);
  world.run(3000);
  t.is(heard(b).length, 4096);
});

test('two keys of one ifindex, two that hash alike: each has its LSA', (t) => {
  const { world, g, a, b } = twoSwitches();
  world.until('Full everywhere', () => allFull(g, a, b));
  say(a, fact('A1', 'up', 7), fact('A2', 'up', 7 + 0x1000000));
  world.run(3000);
  t.deepEqual(heard(b).sort(), ['10.255.0.1 A1=up', '10.255.0.1 A2=up']);
});

test('octets that are no fact are counted; one key in two LSAs stands as long as one of them does', (t) => {
  const facts = new HeardFacts();
  const seen: string[] = [];
  const report = (each: HeardFact) => seen.push(read(each));
  const lsa = (id: number, data: Uint8Array, type = 11) =>
    encodeLsa(
      { age: 1, options: 2, type, linkStateId: factId(id), advertisingRouter: ip('10.255.0.2'), sequence: 1 },
      { kind: 'opaque', data },
    );
  const data = (value: string) => encodeFactData({ key: octets('A1'), value: octets(value) });
  t.is(facts.lsaChanged('1', undefined, lsa(1, octets('abc')), report), 'truncated');
  t.is(facts.lsaChanged('1', undefined, lsa(1, data('x')), report), 'unjudged');
  t.deepEqual(seen, [], 'not before SPF has found the router');
  facts.reachability(new Set([ip('10.255.0.2')]), report);
  facts.lsaChanged('2', undefined, lsa(2, data('y')), report);
  facts.lsaChanged('2', lsa(2, data('y')), undefined, report);
  facts.lsaChanged('1', lsa(1, data('x')), lsa(1, octets('abc')), report);
  t.deepEqual(seen, ['10.255.0.2 A1=x', '10.255.0.2 A1=y', '10.255.0.2 A1=x', '10.255.0.2 A1=(withdrawn)']);
  facts.lsaChanged('3', undefined, lsa(3, data('z'), 9), report);
  t.is(seen.length, 4, 'link-local LSAs are no facts');
});

test('facts are refreshed with LSRefreshTime, and outlive MaxAge', (t) => {
  const { world, g, a, b } = twoSwitches({ hello: 20_000, dead: 80_000 });
  say(a, fact('A2', 'up'));
  a.announce(host('10.10.10.1'));
  world.until('Full everywhere', () => allFull(g, a, b), 300_000);
  world.run(4_000_000);
  t.deepEqual(heard(b), ['10.255.0.1 A2=up']);
  t.true(sequences(a)[0]! >= 2);
});

test('R4.9 whatever is lost or repeated, and whoever dies between: in the end each hears what was said last', (t) => {
  const step = fc.record({
    ports: fc.subarray(['A1', 'A2', 'A3']),
    value: fc.constantFrom('up', 'down', 'shut'),
    wait: fc.constantFrom(0, 10, 300, 1100),
    dies: fc.constantFrom<'no' | 'remembers' | 'forgets'>('no', 'no', 'no', 'no', 'remembers', 'forgets'),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 10 }), fc.nat(), (steps, seed) => {
      const { world, wireA, wireB, g, a, b } = twoSwitches({ retransmit: 1000 }, seed);
      let speaker = a;
      let said: ReturnType<typeof fact>[] = [];
      const heardBy = new Map([g, b].map((router) => [router, router.effects]));
      for (const wire of [wireA, wireB]) Object.assign(wire, { loss: 0.1, duplication: 0.1 });
      for (const { ports, value, wait, dies } of steps) {
        if (dies !== 'no') {
          const kept = dies === 'remembers' ? keptBy(speaker, world) : undefined;
          speaker.crash();
          speaker = nextLife(world, speaker, kept);
          speaker.up();
        }
        said = ports.map((port, index) => fact(port, value, index + 1));
        say(speaker, ...said);
        world.run(wait);
      }
      speaker.handle({ kind: 'settled' });
      for (const wire of [wireA, wireB]) Object.assign(wire, { loss: 0, duplication: 0 });
      world.run(60_000);
      for (const [router, effects] of heardBy) {
        const last = new Map<string, string>();
        for (const effect of effects) {
          if (effect.kind !== 'fact') continue;
          const name = `${Buffer.from(effect.fact.key)}`;
          if (effect.fact.value) last.set(name, `${Buffer.from(effect.fact.value)}`);
          else last.delete(name);
        }
        const expected = new Map(said.map(({ key: name, value }) => [`${Buffer.from(name)}`, `${Buffer.from(value)}`]));
        t.deepEqual(new Map([...last].sort()), new Map([...expected].sort()), router.name);
      }
    }),
    { numRuns: 60 },
  );
});
