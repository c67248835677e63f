/** BFD with BIRD at the other end of a cable. */
import test from 'ava';
import { Bench, type Bird, ip, sleep, until } from './bench.ts';

const bfd = (
  neighbor: string,
  more = '',
  intervals = 'min rx interval 80 ms; min tx interval 60 ms',
) => `router id 10.255.0.254;
protocol device {}
protocol direct { ipv4; ipv6; }
protocol bfd {
  interface "ge0" { ${intervals}; idle tx interval 1 s; multiplier 10; };
  ${neighbor}
}
${more}
`;
const V4 = 'neighbor 192.0.2.2 dev "ge0" local 192.0.2.1;';
const state = (bird: Bird): string | undefined => bird.bfd().get('192.0.2.2')?.state;

test.serial(
  'R4.6 BIRD: Up on both sides with the slower of the intervals; silence brings it down, and it comes back',
  async (t) => {
    t.timeout(180_000);
    const bench = new Bench();
    t.teardown(() => bench.close());
    const bird = await bench.bird(bfd(V4));
    await bench.start({ peers: [{}], interval: 50, multiplier: 40 });
    await bench.up();
    await until('BIRD sees it up', () => state(bird) === 'Up');
    await until('intervals', () => {
      const { transmitInterval, detectionTime } = bench.session();
      return transmitInterval === 80 && detectionTime === 600;
    });
    t.is(bench.session().remoteMultiplier, 10);
    await until('BIRD knows our intervals', () => bird.bfd().get('192.0.2.2')?.timeout === 3.2);
    const at = bench.silence('egress');
    await bench.down();
    const change = bench.changes.find(({ from }) => from === 'Up')!;
    t.like(change, { to: 'Down', failure: true });
    t.regex(change.reason, /nothing was heard for 600 ms/);
    t.log(`Down ${(change.at - at).toFixed(0)} ms after the last packet`);
    await until('BIRD sees it down', () => state(bird) === 'Down');
    bench.speak();
    await bench.up();
    await until('BIRD sees it up again', () => state(bird) === 'Up');
  },
);

test.serial('R4.6 BIRD: an interval that changes on either side is negotiated without a gap', async (t) => {
  t.timeout(120_000);
  const bench = new Bench();
  t.teardown(() => bench.close());
  const bird = await bench.bird(bfd(V4));
  await bench.start({ peers: [{}] });
  await bench.up();
  await until('BIRD sees it up', () => state(bird) === 'Up');
  bench.configure({ peers: [{}], interval: 400, multiplier: 10 });
  await until('slower here', () => bird.bfd().get('192.0.2.2')?.timeout === 4);
  await until('slower there', () => bench.session().detectionTime === 4_000);
  bench.configure({ peers: [{}], interval: 50, multiplier: 30 });
  await until('quicker here', () => bird.bfd().get('192.0.2.2')?.timeout === 2.4);
  await until('quicker there', () => bench.session().detectionTime === 600);
  bird.reconfigure(bfd(V4, '', 'min rx interval 200 ms; min tx interval 300 ms'));
  await until('slower by BIRD', () => bench.session().detectionTime === 3_000);
  t.is(bench.session().transmitInterval, 200);
  await sleep(1_500);
  t.is(bench.session().failures, 0);
  t.is(bench.changes.filter(({ from }) => from === 'Up').length, 0);
});

test.serial('R4.6 BIRD: IPv6 by link-local addresses', async (t) => {
  t.timeout(120_000);
  const bench = new Bench();
  t.teardown(() => bench.close());
  const bird = await bench.bird(bfd('neighbor fe80::ff:fe00:2 dev "ge0" local fe80::ff:fe00:1;'));
  await bench.start({ peers: [{ address: 'fe80::ff:fe00:1' as never }] });
  await bench.up('fe80::ff:fe00:1');
  await until('BIRD sees it up', () => bird.bfd().get('fe80::ff:fe00:2')?.state === 'Up');
  bench.silence('egress');
  await bench.down('fe80::ff:fe00:1');
  t.true(bench.changes.some(({ failure }) => failure));
});

test.serial('R4.6 BIRD: many hops away (RFC 5883)', async (t) => {
  t.timeout(120_000);
  const bench = new Bench();
  t.teardown(() => bench.close());
  ip('-n', bench.gateway, 'address', 'add', '10.255.0.1/32', 'dev', 'lo');
  ip('-n', bench.tor, 'address', 'add', '10.255.0.2/32', 'dev', 'lo');
  ip('-n', bench.tor, 'route', 'add', '10.255.0.1', 'via', '192.0.2.1');
  ip('-n', bench.gateway, 'route', 'add', '10.255.0.2', 'via', '192.0.2.2');
  const bird = await bench.bird(bfd('neighbor 10.255.0.2 local 10.255.0.1 multihop on;'));
  await bench.start({
    peers: [{ address: '10.255.0.1' as never, interface: undefined, localAddress: '10.255.0.2' as never }],
  });
  await bench.up('10.255.0.1');
  await until('BIRD sees it up', () => bird.bfd().get('10.255.0.2')?.state === 'Up');
  bench.silence('egress');
  await bench.down('10.255.0.1');
  t.true(bench.changes.some(({ failure }) => failure));
});

test.serial('R4.7 BIRD: a restart that was announced is not noticed; switching off is told', async (t) => {
  t.timeout(180_000);
  const bench = new Bench();
  t.teardown(() => bench.close());
  const bird = await bench.bird(bfd(V4));
  await bench.start({ peers: [{}] });
  await bench.up();
  await until('BIRD sees it up', () => state(bird) === 'Up');
  const since = () =>
    bird
      .show('show bfd sessions')
      .split('\n')
      .find((line) => line.includes('192.0.2.2'))
      ?.split(/\s+/)[3];
  const before = since();
  await bench.speaker.pause();
  bench.kill();
  await sleep(4_000);
  t.is(state(bird), 'Up');
  bench.changes.length = 0;
  await bench.start({ peers: [{}] });
  await until('BIRD knows our interval again', () => bird.bfd().get('192.0.2.2')?.timeout === 2);
  await until('intervals', () => bench.session().detectionTime === 1_000);
  t.is(since(), before);
  t.deepEqual(bench.changes, []);
  bench.configure({ peers: [] });
  await until('BIRD sees it down', () => state(bird) === 'Down');
});

test.serial(
  'R4.7 BIRD: after a crash a session falls and comes back, and what was known of it is no failure',
  async (t) => {
    t.timeout(120_000);
    const bench = new Bench();
    t.teardown(() => bench.close());
    const bird = await bench.bird(bfd(V4));
    await bench.start({ peers: [{}] });
    await bench.up();
    await until('BIRD sees it up', () => state(bird) === 'Up');
    bench.kill();
    await until('BIRD sees it down', () => state(bird) === 'Down');
    bench.changes.length = 0;
    await bench.start({ peers: [{}] });
    await until('BIRD sees it up again', () => state(bird) === 'Up');
    await bench.up();
    t.false(bench.changes.some(({ failure }) => failure));
    t.is(bench.session().failures, 0);
  },
);
