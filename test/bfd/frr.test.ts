/** BFD with FRR's bfdd at the other end of a cable. */
import test from 'ava';
import { systemClock } from '../../src/model/clock.ts';
import { Bench, type Frr, ip, sleep, until } from './bench.ts';

const bfdd = (peer: string, more = '') => `hostname G
bfd
 peer ${peer}
  detect-multiplier 10
  transmit-interval 60
  receive-interval 80
${more}  no shutdown
 !
!
`;
const V4 = bfdd('192.0.2.2 interface ge0');
const status = (frr: Frr): string | undefined => frr.bfd()[0]?.status;

test.serial(
  'R4.6 FRR: Up on both sides with the slower of the intervals; silence brings it down, and it comes back',
  async (t) => {
    t.timeout(180_000);
    const bench = new Bench();
    t.teardown(() => bench.close());
    const frr = await bench.frr({ bfdd: V4 });
    await bench.start({ peers: [{}], interval: 50, multiplier: 40 });
    await bench.up();
    await until('FRR sees it up', () => status(frr) === 'up');
    await until('intervals', () => {
      const { transmitInterval, detectionTime } = bench.session();
      return transmitInterval === 80 && detectionTime === 600;
    });
    t.like(bench.session(), {
      state: 'Up',
      remoteState: 'Up',
      transmitInterval: 80,
      detectionTime: 600,
      remoteMultiplier: 10,
      failures: 0,
      seenUp: true,
    });
    await until('FRR knows our intervals', () => {
      const peer = frr.bfd()[0];
      return peer?.['remote-transmit-interval'] === 50 && peer['remote-receive-interval'] === 50;
    });
    t.is(frr.bfd()[0]?.['remote-detect-multiplier'], 40);

    const at = bench.silence('egress', 'ingress');
    await bench.down();
    const change = bench.changes.find(({ from }) => from === 'Up')!;
    t.like(change, { from: 'Up', to: 'Down', failure: true, peer: '192.0.2.1', interface: 'A0' });
    t.regex(change.reason, /nothing was heard for 600 ms/);
    t.log(`Down ${(change.at - at).toFixed(0)} ms after the last packet`);
    await until('FRR sees it down', () => status(frr) === 'down');
    bench.speak();
    await bench.up();
    await until('FRR sees it up again', () => status(frr) === 'up');

    ip('-n', bench.gateway, 'link', 'set', 'ge0', 'down');
    await bench.down();
    t.like(bench.session(), { reason: 'the interface is down', failures: 1 });
    ip('-n', bench.gateway, 'link', 'set', 'ge0', 'up');
    await bench.up();
    t.is(bench.session().failures, 1);
  },
);

test.serial('R4.6 FRR: a link that is dead in one direction brings both ends down', async (t) => {
  t.timeout(120_000);
  const bench = new Bench();
  t.teardown(() => bench.close());
  const frr = await bench.frr({ bfdd: V4 });
  await bench.start({ peers: [{}], multiplier: 5 });
  await bench.up();
  bench.silence('ingress');
  await bench.down();
  t.like(
    bench.changes.find(({ from }) => from === 'Up'),
    { failure: true, reason: 'the peer says: Control Detection Time Expired' },
  );
  t.is(bench.session().diagnostic, 'Neighbor Signaled Session Down');
  t.is(bench.session().remoteDiagnostic, 'Control Detection Time Expired');
  await until('FRR sees it down', () => status(frr) === 'down');
});

test.serial('R4.6 FRR: IPv6 by link-local addresses', async (t) => {
  t.timeout(120_000);
  const bench = new Bench();
  t.teardown(() => bench.close());
  const frr = await bench.frr({ bfdd: bfdd('fe80::ff:fe00:2 local-address fe80::ff:fe00:1 interface ge0') });
  await bench.start({ peers: [{ address: 'fe80::ff:fe00:1' as never }] });
  await bench.up('fe80::ff:fe00:1');
  await until('FRR sees it up', () => status(frr) === 'up');
  bench.silence('egress');
  await bench.down('fe80::ff:fe00:1');
  t.true(bench.changes.some(({ failure }) => failure));
});

test.serial('R4.6 FRR: many hops away (RFC 5883)', async (t) => {
  t.timeout(120_000);
  const bench = new Bench();
  t.teardown(() => bench.close());
  ip('-n', bench.gateway, 'address', 'add', '10.255.0.1/32', 'dev', 'lo');
  ip('-n', bench.tor, 'address', 'add', '10.255.0.2/32', 'dev', 'lo');
  ip('-n', bench.tor, 'route', 'add', '10.255.0.1', 'via', '192.0.2.1');
  ip('-n', bench.gateway, 'route', 'add', '10.255.0.2', 'via', '192.0.2.2');
  const frr = await bench.frr({ bfdd: bfdd('10.255.0.2 multihop local-address 10.255.0.1') });
  await bench.start({
    peers: [{ address: '10.255.0.1' as never, interface: undefined, localAddress: '10.255.0.2' as never }],
  });
  await bench.up('10.255.0.1');
  await until('FRR sees it up', () => status(frr) === 'up');
  bench.silence('egress', 'ingress');
  await bench.down('10.255.0.1');
  t.true(bench.changes.some(({ failure }) => failure));
});

test.serial('R4.6 a packet that was forwarded once is no word of a neighbour (RFC 5881 §5)', async (t) => {
  t.timeout(120_000);
  const bench = new Bench();
  t.teardown(() => bench.close());
  const frr = await bench.frr({ bfdd: bfdd('192.0.2.2 interface ge0') });
  await bench.start({ peers: [{}] });
  await bench.up();
  await until('FRR sees it up', () => status(frr) === 'up');
  // Takes FRR's TTL of 255 down by one, as a router on the way would.
  bench.inside(
    bench.gateway,
    '/usr/sbin/nft',
    'add table ip t; add chain ip t o { type filter hook postrouting priority 0; }',
  );
  bench.inside(bench.gateway, '/usr/sbin/nft', 'add rule ip t o udp dport 3784 ip ttl set 254');
  await bench.down();
  t.true(bench.changes.some(({ failure }) => failure));
  t.true(bench.speaker.counters()['discarded.ttl']! > 0);
});

test.serial('R4.6 FRR: what either end switches off is no failure', async (t) => {
  t.timeout(120_000);
  const bench = new Bench();
  t.teardown(() => bench.close());
  const frr = await bench.frr({ bfdd: V4 });
  await bench.start({ peers: [{}] });
  await bench.up();
  frr.show('configure', 'bfd', 'peer 192.0.2.2 interface ge0', 'shutdown');
  await bench.down();
  t.like(
    bench.changes.find(({ from }) => from === 'Up'),
    { failure: false, reason: 'the peer has switched it off' },
  );
  t.like(bench.session(), { remoteState: 'AdminDown', seenUp: false });
  frr.show('configure', 'bfd', 'peer 192.0.2.2 interface ge0', 'no shutdown');
  await bench.up();
  await until('FRR sees it up', () => status(frr) === 'up');
  bench.configure({ peers: [] });
  t.deepEqual(bench.speaker.sessions(), []);
  await until('FRR heard it', () => frr.bfd()[0]?.['remote-diagnostic'] === 'administratively down');
});

test.serial('R4.6 a loop that was busy longer than the detection time has missed nothing', async (t) => {
  t.timeout(120_000);
  const bench = new Bench();
  t.teardown(() => bench.close());
  await bench.frr({ bfdd: V4 });
  await bench.start({ peers: [{}], interval: 50, multiplier: 40 });
  await bench.up();
  await until('intervals', () => bench.session().detectionTime === 600);
  await sleep(500);
  for (let times = 0; times < 3; times++) {
    const end = systemClock.now() + 1_200;
    while (systemClock.now() < end);
    await sleep(50);
    t.is(bench.session().state, 'Up');
  }
  t.is(bench.session().failures, 0);
});

test.serial(
  'R4.7 FRR: a restart that was announced is not noticed, and the next life is as quick to see a silence',
  async (t) => {
    t.timeout(180_000);
    const bench = new Bench();
    t.teardown(() => bench.close());
    const frr = await bench.frr({ bfdd: V4 });
    // Longer than a busy machine may keep this process from speaking.
    const setup = { peers: [{}], multiplier: 35 };
    await bench.start(setup);
    await bench.up();
    await until('FRR sees it up', () => status(frr) === 'up');
    const since = () => JSON.stringify(JSON.parse(frr.show('show bfd peers counters json'))[0]['session-down']);
    const before = since();
    await bench.speaker.pause();
    bench.kill();
    // Longer than the 3.5 s that FRR had agreed on.
    await sleep(4_000);
    t.is(status(frr), 'up');
    bench.changes.length = 0;
    await bench.start(setup);
    t.is(bench.session().state, 'Up');
    await until('FRR knows our interval again', () => frr.bfd()[0]?.['remote-transmit-interval'] === 100);
    await until('intervals', () => bench.session().detectionTime === 1_000);
    t.is(since(), before);
    t.deepEqual(bench.changes, []);
    await until('it is confirmed', () => bench.session().received > 0);
    // A crash, and the next life is there before FRR has missed it.
    bench.kill();
    await bench.start(setup);
    t.is(bench.session().state, 'Up');
    await until('it is confirmed', () => bench.session().received > 0);
    t.is(since(), before);
    t.deepEqual(bench.changes, []);
    bench.silence('egress', 'ingress');
    await bench.down();
    t.true(bench.changes.some(({ failure }) => failure));
  },
);
