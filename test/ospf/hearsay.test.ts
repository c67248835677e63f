/** Somebody with an adjacency speaks in another router's name. */
import test from 'ava';
import { encodeLsa, InitialSequenceNumber, type Lsa, LsaType } from 'node-ospf-lsa';
import { address, allFull, host, ip, type Router, twoSwitches, type World } from './simulation.ts';

const HOST = '10.10.10.2';
const PREFIX = `${HOST}/32`;
const A = '10.255.0.1';

interface Scene {
  readonly world: World;
  readonly g: Router;
  readonly a: Router;
  readonly b: Router;
}

function scene(): Scene {
  const { world, g, a, b } = twoSwitches();
  a.announce(host('10.10.10.1'));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(5_000);
  return { world, g, a, b };
}

/** An external LSA of a host in A's name; `above`: newer than this one. */
const inTheNameOfA = (text: string, above: Lsa | undefined, metric: number): Lsa =>
  encodeLsa(
    {
      ...{ age: 1, options: 2, type: LsaType.AsExternal, linkStateId: ip(text), advertisingRouter: ip(A) },
      sequence: above ? above.header.sequence + 1 : InitialSequenceNumber,
    },
    { kind: 'external', mask: 0xffffffff, metricType: 2, metric, forwardingAddress: 0, tag: 0, tos: [] },
  );

/** As if B had sent it to G. */
function fromB({ g }: Scene, lsa: Lsa): void {
  const header = { routerId: ip('10.255.0.2'), areaId: 0, authType: 0 };
  g.handle({
    kind: 'packet',
    interface: 'i1',
    source: ip('192.0.2.6'),
    destination: 0xe0000005,
    packet: { type: 4, ...header, lsas: [lsa] },
  });
}

const warnings = ({ g }: Scene) =>
  g.effects.flatMap((effect) => (effect.kind === 'log' && effect.message.includes('forged') ? [effect.fields] : []));
const counted = ({ g }: Scene) => g.machine.core.counters.get('contested.of-neighbor') ?? 0;
const known = ({ g }: Scene, text: string) =>
  g.machine.core.external.entries.get(`${LsaType.AsExternal}/${ip(text)}/${ip(A)}`)?.lsa;

test('R4.8 a host that is forged in the name of a living switch goes at once, and G says by whom it came', (t) => {
  const it = scene();
  fromB(it, inTheNameOfA(HOST, undefined, 20));
  it.world.run(50);
  t.true(it.g.routes.has(PREFIX), 'OSPF believes it');
  it.world.until('A has taken it back', () => !it.g.routes.has(PREFIX));
  t.is(counted(it), 1);
  t.deepEqual(warnings(it), [{ router: A, by: '10.255.0.2', type: LsaType.AsExternal, linkStateId: HOST }]);
});

test('so does a host of the switch that somebody announces worse, and who goes on is told of once a minute', (t) => {
  const it = scene();
  for (let round = 1; round <= 3; round++) {
    const before = known(it, '10.10.10.1');
    fromB(it, inTheNameOfA('10.10.10.1', before, 999));
    it.world.until('A says it again', () => {
      const body = known(it, '10.10.10.1')?.body;
      return body?.kind === 'external' && body.metric !== 999;
    });
    it.world.run(10_000);
    t.is(counted(it), round);
  }
  t.is(warnings(it).length, 1);
  t.is(it.g.routes.get('10.10.10.1/32')?.nextHops[0]?.via, address('192.0.2.2'));
});

test("a switch's own words that were faster another way are no forgery, nor is what it says later", (t) => {
  const it = scene();
  const { lsa } = (() => {
    // What A is about to say itself, word for word.
    it.a.announce(host(HOST));
    return { lsa: [...it.a.machine.core.external.entries.values()].map((each) => each.lsa) };
  })();
  const own = lsa.find(({ header }) => header.linkStateId === ip(HOST))!;
  fromB(it, own);
  it.world.run(100);
  t.true(it.g.routes.has(PREFIX));
  it.world.run(60_000);
  it.a.withdraw(HOST);
  it.world.until('withdrawn', () => !it.g.routes.has(PREFIX));
  t.is(counted(it), 0);
  t.deepEqual(warnings(it), []);
});

test('what a switch has said itself is its word, whoever was faster: it may change its mind at once', (t) => {
  const it = scene();
  it.a.announce(host(HOST));
  const own = [...it.a.machine.core.external.entries.values()].find(({ lsa }) => lsa.header.linkStateId === ip(HOST))!;
  fromB(it, own.lsa);
  it.world.run(1_500);
  it.a.withdraw(HOST);
  it.world.until('withdrawn', () => !it.g.routes.has(PREFIX));
  t.is(counted(it), 0);
  t.deepEqual(warnings(it), []);
});
