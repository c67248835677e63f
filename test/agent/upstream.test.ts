import test from 'ava';
import { Upstream } from '../../src/agent/tor/fabric/upstream.ts';
import { VirtualClock } from '../simulation/clock.ts';

function bench(protocol: 'ospf' | 'bgp') {
  const clock = new VirtualClock();
  const table = { complete: false, size: 3 };
  const session = { neighbor: '192.0.2.1', state: 'Established', initialRoutesReceived: true };
  const judged: boolean[] = [];
  const upstream: Upstream = new Upstream({
    clock,
    links: { port: () => undefined, ports: () => [] },
    speakers: {
      ospf: protocol === 'ospf' ? { neighbors: () => [{ state: 'Full' }] } : undefined,
      bgp: protocol === 'bgp' ? { sessions: () => [session], initialRoutesReceived: () => true } : undefined,
    },
    tables: { protocols: () => [protocol], of: () => table },
    outside: undefined,
    onChange: () => judged.push(upstream.readiness().ready),
  } as never);
  const pass = (ms: number): void => {
    const end = clock.now() + ms;
    while (clock.step(end));
  };
  upstream.sessionChanged(protocol, true, clock.now());
  return { table, judged, pass, upstream };
}

for (const protocol of ['ospf', 'bgp'] as const) {
  test(`R4.6 ${protocol}: ports stay shut while the gateway's routes are on their way into the kernel`, (t) => {
    const { table, judged, pass, upstream } = bench(protocol);
    pass(5_000);
    t.false(judged.includes(true));
    t.regex(upstream.readiness().reason, /on their way into the kernel/);
    table.complete = true;
    t.deepEqual(upstream.readiness(), {
      ready: true,
      reason: `${protocol.toUpperCase()}: session up, 3 routes installed`,
    });
  });

  test(`R4.6 ${protocol}: a route that the kernel never takes leaves no port shut`, (t) => {
    const { judged, pass } = bench(protocol);
    pass(9_900);
    t.false(judged.includes(true));
    pass(200);
    t.true(judged.at(-1));
  });

  test(`R4.6 ${protocol}: nor does one that comes when it was ready already`, (t) => {
    const { table, judged, pass } = bench(protocol);
    table.complete = true;
    pass(2_000);
    t.true(judged.at(-1));
    table.complete = false;
    pass(1_000);
    t.false(judged.at(-1));
    pass(7_200);
    t.true(judged.at(-1));
    const asked = judged.length;
    pass(60_000);
    t.is(judged.length, asked, 'asked for no longer');
  });
}

function withBgpForServers(ospf: boolean) {
  const clock = new VirtualClock();
  const upstream = new Upstream({
    clock,
    links: { port: () => undefined, ports: () => [] },
    speakers: {
      ospf: ospf ? { neighbors: () => [{ state: 'Full' }] } : undefined,
      bgp: { sessions: () => [], initialRoutesReceived: () => false },
    },
    tables: { protocols: () => [...(ospf ? ['ospf'] : []), 'bgp'], of: () => ({ complete: true, size: 3 }) },
    outside: undefined,
    onChange: () => undefined,
  } as never);
  const pass = (ms: number): void => {
    const end = clock.now() + ms;
    while (clock.step(end));
  };
  return { clock, upstream, pass };
}

test('R4.6 BGP that is spoken with servers alone keeps no port shut', (t) => {
  t.true(withBgpForServers(false).upstream.readiness().ready);
});

test('R4.6 nor is it waited for beside OSPF', (t) => {
  const { clock, upstream, pass } = withBgpForServers(true);
  t.false(upstream.readiness().ready);
  upstream.sessionChanged('ospf', true, clock.now());
  pass(1_500);
  t.deepEqual(upstream.readiness(), { ready: true, reason: 'OSPF: session up, 3 routes installed' });
  upstream.close();
});
