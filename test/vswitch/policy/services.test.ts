/** Virtual addresses and sources on the real kernel. */
import test from 'ava';
import { run } from '../../../lab/processes.ts';
import { rule, service } from './support/state.ts';
import { until, World } from './support/world.ts';

const BLUE = { name: 'blue', vni: 100, subnet: '10.200.0.0/16', gateway: '10.200.0.1' };
const GREEN = { name: 'green', vni: 200, subnet: '10.201.0.0/16', gateway: '10.201.0.1' };
const INSTANCES = [
  { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
  { name: 'c2', host: 1, network: 'blue', address: '10.200.1.3' },
  { name: 'c3', host: 2, network: 'blue', address: '10.200.2.2' },
  { name: 'g1', host: 1, network: 'green', address: '10.201.1.2' },
];
const VIP = '10.200.255.10';

/** Who answered `count` connections of `from` to the service, by instance. */
async function drawn(world: World, from: string, backends: readonly string[], count: number): Promise<number[]> {
  const { lab } = world;
  for (const name of backends) await lab.station(name).request('listenUdp', { port: 8080, echo: true });
  try {
    for (let each = 0; each < count; each++) {
      await lab.station(from).request('sendUdp', { to: VIP, port: 80, count: 1, size: 64, interval: 0, wait: 3000 });
    }
    const totals: number[] = [];
    for (const name of backends) {
      const { received, duplicates } = await lab
        .station(name)
        .request<{ received: number; duplicates: number }>('receiptOf', { port: 8080, close: false });
      totals.push(received + duplicates);
    }
    return totals;
  } finally {
    for (const name of backends) await lab.station(name).request('receiptOf', { port: 8080, close: true });
  }
}

test.serial('R1.2: a service gives to backends here and on another host, at random; also to itself', async (t) => {
  const world = await World.up(t, { networks: [BLUE, GREEN], instances: INSTANCES });
  const { lab } = world;
  const all = ['10.200.1.2:8080', '10.200.1.3:8080', '10.200.2.2:8080'];
  const services = [service('web', 'blue', `${VIP}:80`, all, { protocol: 'udp' })];
  await world.set({ services });
  // From a neighbour, from another host, from another network; c1 draws itself now and then.
  for (const from of ['c1', 'c3', 'g1']) {
    const totals = await drawn(world, from, ['c1', 'c2', 'c3'], 30);
    t.is(
      totals.reduce((sum, each) => sum + each, 0),
      30,
      `${from}: ${totals}`,
    );
    t.true(
      totals.every((each) => each >= 1),
      `${from}: ${totals}`,
    );
  }
  // A client that is its own backend: the whole way there and back.
  const own = [service('self', 'blue', `${VIP}:80`, ['10.200.1.2:8080'])];
  await world.set({ services: own });
  await lab.station('c1').request('listenTcp', { port: 8080 });
  const answer = await lab.station('c1').request('sendTcp', { to: VIP, port: 80, bytes: 300_000, patience: 5000 });
  t.like(answer, { outcome: 'done' });
  t.like(await lab.station('g1').request('sendTcp', { to: VIP, port: 80, bytes: 300_000, patience: 5000 }), {
    outcome: 'done',
  });
  t.like(await lab.station('c3').request('sendTcp', { to: VIP, port: 80, bytes: 3_000_000, patience: 5000 }), {
    outcome: 'done',
  });
  await lab.station('c1').request('closeTcp', { port: 8080 });
  // What is no service on that address is not the host's either.
  t.like(await lab.station('c3').request('sendTcp', { to: VIP, port: 22, bytes: 10, patience: 3000 }), {
    outcome: 'refused',
  });
  // Rules see the address that was asked for (R1.2: before any rewriting).
  const deny = rule({
    name: 'no-web',
    direction: 'out',
    from: '10.200.2.2',
    to: VIP,
    protocol: 'tcp',
    ports: [80],
    action: 'deny',
  });
  await world.set({ services: own, policy: { rules: [deny] } });
  await lab.station('c1').request('listenTcp', { port: 8080 });
  t.like(await lab.station('c3').request('sendTcp', { to: VIP, port: 80, patience: 700 }), { outcome: 'timeout' });
  t.is(await world.tcp('c3', 'c1', 8081), 'done');
  t.like(await lab.station('g1').request('sendTcp', { to: VIP, port: 80, patience: 3000 }), { outcome: 'done' });
});

test.serial('R1.2: least loaded: new connections go to who has fewest', async (t) => {
  const world = await World.up(t, { networks: [BLUE], instances: INSTANCES.slice(0, 3) });
  const backends = ['10.200.1.3:8080', '10.200.2.2:8080'];
  // c2 has twenty connections that it got when it was alone.
  await world.set({ services: [service('web', 'blue', `${VIP}:80`, backends.slice(0, 1), { protocol: 'udp' })] });
  t.deepEqual(await drawn(world, 'c1', ['c2'], 20), [20]);
  await world.set({
    services: [service('web', 'blue', `${VIP}:80`, backends, { protocol: 'udp', balance: 'least-loaded' })],
  });
  const { policy } = world.host('h1');
  // Two of them may have drawn one port.
  await until('they are counted, and the kernel has what follows from it', () => {
    const { connections, weight } = policy.backends().get('blue/web')![0]!;
    return connections! >= 18 && weight === 0;
  });
  t.deepEqual(await drawn(world, 'c1', ['c2', 'c3'], 15), [0, 15]);
  await until('the others are counted', () => policy.backends().get('blue/web')![1]!.connections! >= 13);
  const [first, second] = policy.backends().get('blue/web')!;
  t.true(second!.weight > first!.weight);
});

test.serial(
  'R1.2: a backend that does not answer gets nothing, its clients move on; all dead is a refusal',
  async (t) => {
    const world = await World.up(t, { networks: [BLUE], instances: INSTANCES.slice(0, 3) });
    const { lab } = world;
    // Long for who answers late on a busy machine; a port that is closed says so at once.
    const healthCheck = { interval: 200, timeout: 3000, retries: 2 };
    for (const name of ['c2', 'c3']) await lab.station(name).request('listenTcp', { port: 8080 });
    const services = [service('web', 'blue', `${VIP}:80`, ['10.200.1.3:8080', '10.200.2.2:8080'], { healthCheck })];
    await world.set({ services });
    const { policy } = world.host('h1');
    const health = () =>
      policy
        .backends()
        .get('blue/web')!
        .map(({ healthy }) => healthy);
    /** As the kernel has them. */
    const weights = () =>
      policy
        .backends()
        .get('blue/web')!
        .map(({ weight }) => weight);
    // Here and (asked in the name of an instance) on another host; nothing wrong is concluded meanwhile.
    await until('probes', () => policy.counters()['health.probes']! >= 8);
    t.deepEqual(health(), [true, true]);
    const ask = (bytes = 1000) =>
      lab.station('c1').request<{ outcome: string }>('sendTcp', { to: VIP, port: 80, bytes, patience: 1500 });
    for (let each = 0; each < 6; each++) t.is((await ask()).outcome, 'done');

    await lab.station('c3').request('closeTcp', { port: 8080 });
    await until('c3 is out', () => health()[1] === false && !weights()[1]);
    for (let each = 0; each < 12; each++) t.is((await ask()).outcome, 'done');
    await lab.station('c2').request('closeTcp', { port: 8080 });
    await until('c2 is out', () => health()[0] === false && !weights()[0]);
    t.is((await ask()).outcome, 'refused');
    t.true(policy.warnings().some((each) => /no backend answers/.test(each)));
    await policy.refresh();
    t.true(policy.counters().service_without_backend! >= 1);

    await lab.station('c3').request('listenTcp', { port: 8080 });
    await until('c3 is back', () => health()[1] === true && weights()[1]! > 0);
    for (let each = 0; each < 4; each++) t.is((await ask()).outcome, 'done');
    t.true(world.host('h1').said.some((each) => /does not answer/.test(each)));
  },
);

test.serial(
  'R1.2 R3.8: connections to a backend that is taken out are ended: UDP clients move on at once',
  async (t) => {
    const world = await World.up(t, { networks: [BLUE], instances: INSTANCES.slice(0, 3) });
    const { lab } = world;
    const withBackends = (...backends: string[]) => ({
      services: [service('dns', 'blue', `${VIP}:53`, backends, { protocol: 'udp' as const })],
    });
    await world.set(withBackends('10.200.1.3:8080'));
    for (const name of ['c2', 'c3']) await lab.station(name).request('listenUdp', { port: 8080, echo: true });
    const talk = lab
      .station('c1')
      .request<{ answered: number }>('sendUdp', { to: VIP, port: 53, count: 300, size: 100, interval: 5, wait: 500 });
    const first = () => lab.station('c2').request<{ received: number }>('receiptOf', { port: 8080, close: false });
    await until('it flows', async () => (await first()).received > 20);
    await world.set(withBackends('10.200.2.2:8080'));
    const { answered } = await talk;
    const there = await lab.station('c3').request<{ received: number }>('receiptOf', { port: 8080, close: true });
    t.true(there.received > 50, `${there.received} reached the other`);
    t.true(answered >= 295, `${answered}`);
    t.true(world.host('h1').policy.counters()['conntrack.ended']! >= 1);
    // TCP: the client is told, and need not wait for a backend that is gone.
    const tcpBackend = (backend: string) => ({ services: [service('web', 'blue', `${VIP}:80`, [backend])] });
    for (const name of ['c2', 'c3']) await lab.station(name).request('listenTcp', { port: 8081 });
    await world.set(tcpBackend('10.200.1.3:8081'));
    const long = lab
      .station('c1')
      .request<{ outcome: string }>('sendTcp', { to: VIP, port: 80, bytes: 4_000_000_000, patience: 15_000 });
    const { policy } = world.host('h1');
    const before = policy.counters()['conntrack.ended']!;
    const carried = async () => {
      const shown = await run(lab.inside('h1', ['ip', '-s', 'link', 'show', 'veth-c1']));
      return Number(/RX:.*\n\s+(\d+)/.exec(shown)?.[1]);
    };
    const idle = await carried();
    await until('it flows', async () => (await carried()) > idle + 1_000_000);
    await world.set(tcpBackend('10.200.2.2:8081'));
    t.is((await long).outcome, 'failed');
    t.is(policy.counters()['conntrack.ended'], before + 1);
    for (const name of ['c2', 'c3']) await lab.station(name).request('closeTcp', { port: 8081 });
  },
);

test.serial(
  'R1.2: the source of what leaves by its destination; without one nothing leaves, and is counted',
  async (t) => {
    const world = await World.up(t, { networks: [BLUE, GREEN], instances: INSTANCES });
    const { lab } = world;
    await lab.ip('h1', 'address add 10.20.1.77/24 dev eth0');
    const asSeen = async (from: string): Promise<string> => {
      const { from: seen } = await lab.tcp(from, 'public', { port: 7300, bytes: 1000, patience: 2000 });
      return seen.split(':')[0]!;
    };
    await world.set({
      snat: [
        ['blue', '0.0.0.0/0', '10.20.1.1'],
        ['blue', '198.51.100.0/24', '10.20.1.77'],
        ['blue', '198.51.100.128/25', '10.20.1.1'],
      ],
    });
    t.is(await asSeen('c1'), '10.20.1.77');
    t.is(await lab.ping('c1', '198.51.100.10', 2), 2);
    t.is(await asSeen('g1'), '', 'green has no source');
    const { policy } = world.host('h1');
    await policy.refresh();
    t.true(policy.counters().leaves_without_snat! >= 1);
    await world.set({ snat: [['blue', '0.0.0.0/0', '10.20.1.1']] });
    t.is(await asSeen('c1'), '10.20.1.1');
  },
);

for (const offloads of [true, false]) {
  test.serial(
    `R1.2: payloads come unchanged through a service and a source, segmented or not, offloads ${offloads ? 'on' : 'off'}`,
    async (t) => {
      const world = await World.up(t, { offloads, networks: [BLUE, GREEN], instances: INSTANCES });
      const { lab } = world;
      const snat = [['blue', '0.0.0.0/0', '10.20.1.1']] as [string, string, string][];
      for (const backend of ['c2', 'c3', 'c1']) {
        const to = lab.addressOf(backend);
        const services = [
          service('udp', 'blue', `${VIP}:80`, [`${to}:7500`], { protocol: 'udp' }),
          service('tcp', 'blue', `${VIP}:80`, [`${to}:7501`]),
        ];
        await world.set({ services, snat });
        for (const from of ['c1', 'g1']) {
          const station = lab.station(from);
          await lab.station(backend).request('listenUdp', { port: 7500, echo: true });
          const segments = { to: VIP, port: 80, count: 128, size: 1000, segment: 32, interval: 5, wait: 2000 };
          t.like(await station.request('sendUdp', segments), { answered: 128 }, `${from} ${backend}`);
          t.like(
            await lab.station(backend).request('receiptOf', { port: 7500, close: true }),
            { received: 128, corrupted: 0 },
            `${from} ${backend}`,
          );
          await lab.station(backend).request('listenTcp', { port: 7501 });
          t.like(await station.request('sendTcp', { to: VIP, port: 80, bytes: 3_000_000 }), { outcome: 'done' });
          await lab.station(backend).request('closeTcp', { port: 7501 });
        }
      }
      const out = { port: 7600, count: 128, size: 1000, segment: 32, interval: 5, wait: 2000 };
      t.like(await lab.udp('c1', 'public', out), { lost: 0, answered: 128, corrupted: 0 });
      t.is((await lab.tcp('c1', 'public', { port: 7601, bytes: 3_000_000 })).outcome, 'done');
    },
  );
}
