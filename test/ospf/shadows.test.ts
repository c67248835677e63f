/** Shadows: announced worse than anything, heard as no claim; what claims say besides. */
import test from 'ava';
import type { ForeignClaim, ForeignShadow } from '../../src/model/hosts.ts';
import type { OspfAnnounce } from '../../src/ospf/index.ts';
import { drainMetric, hostMetric, shadowMetric } from '../../src/ospf/machine/metrics.ts';
import { allFull, host, ip, type Router, shadow, twoSwitches } from './simulation.ts';

const FORMS: readonly OspfAnnounce[] = [
  { as: 'external', metric: 20, metricType: 2 },
  { as: 'external', metric: 20, metricType: 1 },
  { as: 'stub-link', metric: 20, metricType: 2 },
];
const formOf = ({ as, metricType }: OspfAnnounce): string => (as === 'external' ? `E${metricType}` : as);

const H1 = '10.10.10.1';
const at = (router: Router): string | undefined =>
  router.routes
    .get(`${H1}/32`)
    ?.nextHops.map(({ via }) => via)
    .join();
const TO_A = '192.0.2.2';
const TO_B = '192.0.2.6';

const sayClaim = ({ address, level, leaving, endpoint }: ForeignClaim): string =>
  `${address} claim ${level}${leaving ? ' leaving' : ''}${endpoint ? ` at ${endpoint}` : ''}`;
const sayShadow = ({ address, up, endpoint }: ForeignShadow): string =>
  `${address} shadow ${up ? 'up' : 'down'}${endpoint ? ` at ${endpoint}` : ''}`;
const news = (router: Router, from = 0): string[] =>
  router.effects.slice(from).flatMap((effect) => {
    if (effect.kind === 'claim') return [sayClaim(effect.claim)];
    return effect.kind === 'shadow' ? [sayShadow(effect.shadow)] : [];
  });
const routesHeard = (router: Router, from = 0): string[] =>
  router.effects.slice(from).flatMap((effect) => {
    if (effect.kind !== 'host-route') return [];
    const { address, routerId, portIndex, shadow: standsBy, up } = effect.route;
    return [`${address} ${routerId} ${portIndex} ${standsBy ? 'shadow ' : ''}${up ? 'up' : 'down'}`];
  });
const instance = (router: Router): number | undefined =>
  router.machine.core.external.entries.get(`5/${ip(H1)}/${router.id}`)?.lsa.header.sequence;

for (const announce of FORMS) {
  test(`a shadow loses against a real host and against a drained one (${formOf(announce)})`, (t) => {
    const { world, g, a, b } = twoSwitches({ announce });
    b.announce(shadow(H1));
    world.until('Full everywhere', () => allFull(g, a, b));
    world.run(2000);
    t.is(at(g), TO_B, 'better than nothing');
    a.announce(host(H1));
    world.run(2000);
    t.is(at(g), TO_A);
    a.handle({ kind: 'drain', on: true });
    world.run(2000);
    t.is(at(g), TO_A, 'drained, and still better than a shadow');
    a.handle({ kind: 'drain', on: false });
    world.run(2000);
    a.withdraw(H1);
    world.until('the shadow is all there is', () => at(g) === TO_B);
    b.announce(host(H1));
    world.run(3000);
    t.is(g.routes.get(`${H1}/32`)!.metric < 100, true, 'real now, at an ordinary metric');
    b.announce(shadow(H1));
    world.run(3000);
    t.is(g.routes.get(`${H1}/32`)!.metric >= 0xffff, true, 'and a shadow again');
    b.withdraw(H1);
    world.until('gone', () => at(g) === undefined);
  });

  test(`a shadow is no claim of the other switch, and no claim makes one (${formOf(announce)})`, (t) => {
    const { world, g, a, b } = twoSwitches({ announce });
    world.until('Full everywhere', () => allFull(g, a, b));
    world.run(2000);
    b.announce(shadow(H1));
    world.run(2000);
    t.deepEqual(news(a), [`${H1} shadow up at ${TO_B}`]);
    b.announce(host(H1));
    world.run(2000);
    t.deepEqual(news(a).slice(1), [`${H1} claim 0 at ${TO_B}`, `${H1} shadow down`]);
    const seen = a.effects.length;
    b.announce(shadow(H1));
    world.run(2000);
    t.deepEqual(news(a, seen), [`${H1} claim undefined`, `${H1} shadow up at ${TO_B}`]);
    b.crash();
    world.run(6000);
    t.deepEqual(news(a, seen).slice(2), [`${H1} shadow down`]);
  });

  test(`claims say that their switch is being drained (${formOf(announce)})`, (t) => {
    const { world, g, a, b } = twoSwitches({ announce });
    world.until('Full everywhere', () => allFull(g, a, b));
    world.run(2000);
    a.announce(host(H1, 1));
    world.run(2000);
    a.handle({ kind: 'drain', on: true });
    world.run(2000);
    a.handle({ kind: 'drain', on: false });
    world.run(2000);
    t.deepEqual(news(b), [`${H1} claim 1 at ${TO_A}`, `${H1} claim 0 leaving at ${TO_A}`, `${H1} claim 1 at ${TO_A}`]);
  });
}

test('metrics: real before drained before shadow, with room for the way there', (t) => {
  for (const as of ['external', 'nssa', 'stub-link'] as const) {
    for (const metric of [0, 1, 20, 0x7fff, 0xffff, 0xfffffe]) {
      const announce = { as, metric, metricType: 1 } as const;
      const real = [0, 1, 2].map((level) => hostMetric(announce, host(H1, level as 0 | 1 | 2), false));
      t.true(Math.max(...real) < drainMetric(announce), `${real}`);
      t.is(drainMetric(announce), hostMetric(announce, host(H1), true));
      t.true(drainMetric(announce) + 16 <= shadowMetric(as));
      t.is(shadowMetric(as), hostMetric(announce, shadow(H1), true));
    }
  }
});

test('R4.8 another port is said anew at once, with stub links it is not', (t) => {
  for (const announce of [FORMS[0]!, FORMS[2]!]) {
    const { world, g, a, b } = twoSwitches({ announce });
    a.announce({ ...host(H1), portIndex: 7 });
    world.until('Full everywhere', () => allFull(g, a, b));
    world.run(2000);
    const named = announce.as === 'external';
    t.deepEqual(routesHeard(g), [`${H1} 10.255.0.1 ${named ? 7 : undefined} up`]);
    const before = a.sent.length;
    a.announce({ ...host(H1), portIndex: 7, mac: host('10.10.10.9').mac });
    t.is(a.sent.length, before, 'the same words');
    a.announce({ ...host(H1), portIndex: 8 });
    world.run(20);
    t.is(a.sent.length > before, named);
    t.deepEqual(routesHeard(g).slice(1), named ? [`${H1} 10.255.0.1 8 up`] : []);
    const { portIndex: _, ...plain } = { ...host(H1), portIndex: 8, ifindex: 12 };
    a.announce(plain);
    world.run(2000);
    t.deepEqual(routesHeard(g).slice(2), named ? [`${H1} 10.255.0.1 12 up`] : []);
  }
});

test('R4.8 a gateway hears every /32 of each switch, shadows as such, and whose switch died', (t) => {
  const { world, g, a, b } = twoSwitches({ prefixes: [] });
  a.announce(host(H1));
  b.announce({ ...shadow(H1), portIndex: 11 }, host('10.20.0.1'));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(2000);
  t.deepEqual(routesHeard(g).sort(), [
    `${H1} 10.255.0.1 9 up`,
    `${H1} 10.255.0.2 undefined shadow up`,
    '10.20.0.1 10.255.0.2 9 up',
  ]);
  t.deepEqual(news(g), [], 'claims are for what is inside prefixes');
  const seen = g.effects.length;
  b.withdraw('10.20.0.1');
  world.run(2000);
  t.deepEqual(routesHeard(g, seen), ['10.20.0.1 10.255.0.2 9 down']);
  a.crash();
  world.run(6000);
  t.deepEqual(routesHeard(g, seen).slice(1), [`${H1} 10.255.0.1 9 down`]);
});

test('a shadow that becomes real within a second of its announcement is at the gateway when the second is over', (t) => {
  // MinLSArrival without exceptions, as FRR has it; RxmtInterval would show.
  const { world, g, a, b } = twoSwitches({ retransmit: 60_000 });
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(3000);
  b.announce(shadow(H1));
  world.run(300);
  b.announce(host(H1));
  const took = world.until('real at the gateway', () => (g.routes.get(`${H1}/32`)?.metric ?? 1e9) < 100);
  t.true(took < 720, `${took} ms after it was said`);
  world.run(3000);
  b.announce(shadow(H1));
  world.run(2000);
  b.announce(host(H1));
  t.true(world.until('at once', () => g.routes.get(`${H1}/32`)!.metric < 100) <= 3);
});

test('what a switch stands by for it reaches through the fabric; what it has, it does not', (t) => {
  const { world, g, a, b } = twoSwitches();
  a.announce(host(H1));
  b.announce(shadow(H1));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(2000);
  t.is(at(b), '192.0.2.5');
  b.announce(host(H1));
  world.until('its own', () => at(b) === undefined);
  b.announce(shadow(H1));
  world.until('through the fabric again', () => at(b) === '192.0.2.5');
  t.not(instance(b), undefined);
});

test('the endpoint of a claim is an address of a link to another router, and moves with it', (t) => {
  const { world, g, a, b } = twoSwitches();
  a.announce(host(H1));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(2000);
  t.is(news(b).at(-1), `${H1} claim 0 at ${TO_A}`);
  const seen = b.effects.length;
  a.down(0);
  world.run(100);
  const link = { ifindex: 1, mtu: 1500, address: ip('192.0.2.3'), prefixLength: 29 };
  a.handle({ kind: 'link', interface: 'i0', link });
  world.run(15_000);
  t.is(news(b, seen).at(-1), `${H1} claim 0 at 192.0.2.3`);
});
