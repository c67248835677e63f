/** Rules on the real kernel: who gets through, on one host and on two. */
import { execFileSync } from 'node:child_process';
import test from 'ava';
import { rule, service } from './support/state.ts';
import { until, World } from './support/world.ts';

const BLUE = { name: 'blue', vni: 100, subnet: '10.200.0.0/16', gateway: '10.200.0.1' };
const GREEN = { name: 'green', vni: 200, subnet: '10.201.0.0/16', gateway: '10.201.0.1' };
const INSTANCES = [
  { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
  { name: 'c2', host: 1, network: 'blue', address: '10.200.1.3' },
  { name: 'c3', host: 2, network: 'blue', address: '10.200.2.2' },
  { name: 'g1', host: 1, network: 'green', address: '10.201.1.2' },
  { name: 'g3', host: 2, network: 'green', address: '10.201.2.2' },
];

test.serial('R1.2 R1.6 R3.7 R3.8: deny list, allow list, specificity, flags, directions, who may open', async (t) => {
  const world = await World.up(t, { networks: [BLUE, GREEN], instances: INSTANCES });
  const { lab } = world;
  const everywhere = [
    ['c1', 'c2'],
    ['c1', 'c3'],
    ['c1', 'g1'],
    ['c1', 'g3'],
    ['g3', 'c2'],
  ] as const;
  // Nothing is in the way where no rule is.
  for (const [from, to] of everywhere) {
    t.is(await world.tcp(from, to), 'done', `${from} ${to}`);
    t.is(await world.udp(from, to), 10, `${from} ${to}`);
  }
  t.is(await lab.ping('c1', '10.200.0.1', 2), 2);

  // A deny list: one port of one instance, for whoever asks from wherever; the rest stays.
  const deny = rule({
    name: 'no-7001',
    direction: 'in',
    to: '10.200.1.3',
    protocol: 'tcp',
    ports: [7001],
    action: 'deny',
  });
  await world.set({ policy: { rules: [deny] } });
  for (const from of ['c1', 'c3', 'g1', 'g3']) {
    t.is(await world.tcp(from, 'c2', 7001), 'timeout', from);
    t.is(await world.tcp(from, 'c2', 7003), 'done', from);
    t.is(await world.udp(from, 'c2', 7001), 10, from);
  }
  t.is(await world.tcp('c2', 'c3', 7001), 'done');
  const { policy } = world.host('h1');
  await until('the rule has counted', async () => {
    await policy.refresh();
    return policy.ruleCounters().get('no-7001')!.packets >= 4;
  });

  // The most specific decides: one client is let in.
  const exception = rule({
    ...deny,
    name: 'but',
    from: '10.200.2.2/32',
    to: '10.200.1.3/32',
    protocol: 6,
    ports: [7001],
    action: 'allow',
  });
  await world.set({ policy: { rules: [deny, exception] } });
  t.is(await world.tcp('c3', 'c2', 7001), 'done');
  t.is(await world.tcp('c1', 'c2', 7001), 'timeout');
  t.is(world.host('h1').policy.counters()['loads.whole'], 1, 'rules come as differences');

  // An allow list: what no rule names is dropped, on the way out of an instance and on the way into one.
  await world.set({
    policy: {
      default: 'deny',
      rules: [
        rule({ name: 'ask', direction: 'out', from: '10.200.1.2', protocol: 'tcp', action: 'allow' }),
        rule({ name: 'answer', direction: 'in', to: '10.200.0.0/16', protocol: 'tcp', ports: [7001], action: 'allow' }),
        rule({ name: 'echo', from: '10.200.0.0/16', to: '10.200.0.0/16', protocol: 'icmp', action: 'allow' }),
      ],
    },
  });
  for (const to of ['c2', 'c3']) {
    t.is(await world.tcp('c1', to, 7001), 'done', to);
    t.is(await world.tcp('c1', to, 7003), 'timeout', to);
    t.is(await world.udp('c1', to, 7001), 0, to);
    t.is(await lab.ping('c1', lab.addressOf(to), 2), 2, to);
  }
  t.is(await world.tcp('c2', 'c1', 7001), 'timeout', 'nothing lets it out');
  t.is(await world.tcp('c3', 'c1', 7001), 'timeout', 'nothing lets it out there');
  t.is(await world.tcp('c1', 'g3', 7001), 'timeout', 'nothing lets it in there');

  // TCP flags: connections that stand go on, none begins.
  await world.set({
    policy: {
      rules: [
        rule({
          name: 'no-syn',
          direction: 'in',
          to: '10.200.1.3',
          tcpFlags: { set: ['syn'], of: ['syn', 'ack'] },
          action: 'deny',
        }),
      ],
    },
  });
  t.is(await world.tcp('c1', 'c2'), 'timeout');
  t.is(await world.tcp('c3', 'c2'), 'timeout');
  t.is(await world.tcp('c2', 'c3'), 'done', 'its own SYN is no SYN to it, nor is the answer');
  t.is(await world.udp('c1', 'c2'), 10);

  // Who may open: from inside to elsewhere, never the other way.
  await world.set({ policy: { initiate: 'inside' }, snat: [['blue', '0.0.0.0/0', '10.20.1.1']] });
  t.is(await world.tcp('c1', 'c2'), 'done');
  t.is(await world.tcp('c1', 'c3'), 'done');
  for (const to of ['g1', 'g3']) t.is(await world.tcp('c1', to), 'timeout', to);
  t.is(await world.tcp('g3', 'c2'), 'timeout');
  t.is(await world.tcp('c1', 'public'), 'done');

  // From the public side: routed to the host.
  await world.set({});
  const { fabric } = lab;
  execFileSync('ip', ['-n', fabric, 'route', 'add', '10.200.0.0/16', 'via', '10.20.1.1']);
  t.is(await world.tcp('public', 'c1'), 'done');
  t.is(await world.tcp('public', 'c1', 7003), 'done');
  const fence = rule({
    name: 'fence',
    direction: 'in',
    from: '198.51.100.0/24',
    protocol: 'tcp',
    ports: [7001],
    action: 'deny',
  });
  await world.set({ policy: { rules: [fence] } });
  t.is(await world.tcp('public', 'c1', 7001), 'timeout');
  t.is(await world.tcp('public', 'c1', 7003), 'done');
  await world.set({ policy: { initiate: 'inside' } });
  t.is(await world.tcp('public', 'c1', 7003), 'timeout');

  await world.set({});
  for (const [from, to] of everywhere) t.is(await world.tcp(from, to), 'done', `${from} ${to}`);
  t.deepEqual(world.host('h1').said, []);
});

test.serial('R3.8: a deny inserted in mid-connection acts on the next packet, in either direction', async (t) => {
  const world = await World.up(t, { networks: [BLUE], instances: INSTANCES.slice(0, 3) });
  const { lab } = world;
  for (const to of ['c2', 'c3']) {
    const port = 7005;
    const rules = [
      rule({
        name: 'cut',
        direction: 'in',
        from: '10.200.1.2',
        to: lab.addressOf(to),
        protocol: 'tcp',
        ports: [port],
        action: 'deny',
      }),
    ];
    const host = to === 'c2' ? 'h1' : 'h2';
    const answer = lab.tcp('c1', to, { port, bytes: 400_000_000, patience: 4000 });
    const { policy } = world.host(host);
    await new Promise((resolve) => setTimeout(resolve, 150));
    await world.set({ policy: { rules } }, host);
    await policy.refresh();
    const early = policy.ruleCounters().get('cut')!.packets;
    t.is((await answer).outcome, 'timeout', to);
    await until('what is sent again is dropped too', async () => {
      await policy.refresh();
      return policy.ruleCounters().get('cut')!.packets > early;
    });
    await world.set({}, host);
    t.is(await world.tcp('c1', to, port), 'done', to);
  }
});

test.serial(
  'R1.1 R1.2: networks of equal addresses keep their connections, rules and public replies apart',
  async (t) => {
    const RED = { name: 'red', vni: 300, subnet: '10.200.0.0/16', gateway: '10.200.0.1' };
    const world = await World.up(t, {
      networks: [BLUE, RED],
      instances: [
        { name: 'b1', host: 1, network: 'blue', address: '10.200.1.2' },
        { name: 'r1', host: 1, network: 'red', address: '10.200.1.2' },
        { name: 'b2', host: 1, network: 'blue', address: '10.200.1.3' },
        { name: 'r2', host: 1, network: 'red', address: '10.200.1.3' },
        { name: 'r3', host: 2, network: 'red', address: '10.200.2.3' },
      ],
    });
    const { lab } = world;
    const snat = [
      ['blue', '0.0.0.0/0', '10.20.1.1'],
      ['red', '0.0.0.0/0', '10.20.1.1'],
    ] as [string, string, string][];
    const rules = [
      rule({ name: 'red-only', network: 'red', direction: 'in', to: '10.200.1.3', protocol: 'tcp', action: 'deny' }),
    ];
    await world.set({ policy: { rules }, snat });
    t.is(await world.tcp('b1', 'b2'), 'done');
    t.is(await world.tcp('r1', 'r2'), 'timeout');
    t.is(await world.tcp('r3', 'r2'), 'timeout');
    t.is(await world.tcp('r3', 'r1'), 'done');
    // The same five-tuple at the same time, in each network its own connection.
    const both = (from: string, to: string) =>
      lab.udp(from, to, { port: 7100, count: 20, size: 100, sourcePort: 7101, wait: 1000 });
    const [blue, red] = await Promise.all([both('b1', 'b2'), both('r1', 'r2')]);
    t.like(blue, { answered: 20, lost: 0 });
    t.like(red, { answered: 20, lost: 0 });
    // One public address for both, even from one source port.
    await lab.station('public').request('listenUdp', { port: 7200, echo: true });
    const out = (from: string) =>
      lab.station(from).request<{ answered: number }>('sendUdp', {
        to: '198.51.100.10',
        port: 7200,
        count: 20,
        sourcePort: 7201,
        wait: 1500,
        interval: 5,
      });
    const [first, second] = await Promise.all([out('b1'), out('r1')]);
    // Where both take that port in the same moment, on two processors, the kernel drops the first packet of one.
    t.true(first.answered + second.answered >= 39, `${first.answered} and ${second.answered}`);
    const { from } = await lab.station('public').request<{ from: string[] }>('receiptOf', { port: 7200, close: true });
    t.is(from.length, 2, 'the kernel gave one of them another port');
    t.true(from.every((each) => each.startsWith('10.20.1.1:')));
    for (const name of ['b1', 'r1', 'r3']) t.is(await lab.ping(name, '10.200.0.1', 2), 2, name);
    // One service address in both: each finds its own backend.
    const services = ['blue', 'red'].map((of) =>
      service('web', of, '10.200.255.10:80', ['10.200.1.3:8080'], { protocol: 'udp' }),
    );
    await world.set({ services, snat });
    for (const name of ['b2', 'r2']) await lab.station(name).request('listenUdp', { port: 8080, echo: true });
    for (const name of ['b1', 'r1']) {
      const sent = { to: '10.200.255.10', port: 80, count: 10, sourcePort: 8000, wait: 1000 };
      t.like(await lab.station(name).request('sendUdp', sent), { answered: 10 }, name);
    }
    for (const name of ['b2', 'r2']) {
      t.like(await lab.station(name).request('receiptOf', { port: 8080, close: true }), { received: 10 }, name);
    }
  },
);
