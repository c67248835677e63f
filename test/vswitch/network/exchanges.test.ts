/** The layout of two hosts on the real kernel, and what passes through it. */
import test, { type ExecutionContext } from 'ava';
import { HostLab, type HostLabOptions, type PlannedInstance } from '../../../lab/hosts/index.ts';
import { waitUntil } from '../../../lab/processes.ts';
import { systemClock } from '../../../src/model/clock.ts';
import { NetworkProjection } from '../../../src/vswitch-bridge/slowpath/network/index.ts';
import { layOut, overlay, overlayOf, quietLog } from './overlay.ts';

let made = 0;

async function inLab(
  t: ExecutionContext,
  options: Omit<HostLabOptions, 'name'>,
): Promise<{ lab: HostLab; projections: Map<string, NetworkProjection> }> {
  const lab = await HostLab.up({ name: `nve${process.pid}x${made++}`, ...options });
  t.teardown(() => lab.down());
  const projections = await layOut(lab);
  t.teardown(async () => {
    for (const projection of projections.values()) await projection.close();
  });
  for (const projection of projections.values()) t.deepEqual(projection.view().problems, []);
  // A bridge's new ports carry nothing until the kernel has come to their carriers.
  const ready = ({ name, gateway }: PlannedInstance) =>
    waitUntil(async () => (await lab.ping(name, gateway!)) === 1, 15_000);
  t.true((await Promise.all(lab.instances.map(ready))).every(Boolean), 'each instance reaches its gateway');
  return { lab, projections };
}

const BLUE = { name: 'blue', vni: 100, subnet: '10.200.0.0/16', gateway: '10.200.0.1' };
const GREEN = { name: 'green', vni: 200, subnet: '10.201.0.0/16', gateway: '10.201.0.1' };
const RED = { name: 'red', vni: 300, subnet: '10.200.0.0/16', gateway: '10.200.0.1' };

test.serial('R1.1 R1.2 R1.5 R1.6: one network on one host and on two, by the kernel alone', async (t) => {
  const { lab } = await inLab(t, {
    networks: [BLUE],
    instances: [
      { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
      { name: 'c2', host: 1, network: 'blue', address: '10.200.1.3' },
      { name: 'c3', host: 2, network: 'blue', address: '10.200.2.2' },
    ],
  });
  t.is(await lab.ping('c1', '10.200.0.1', 3), 3);
  t.is(await lab.ping('c3', '10.200.0.1', 3), 3);
  for (const [from, to] of [
    ['c1', 'c2'],
    ['c1', 'c3'],
    ['c3', 'c2'],
  ] as const) {
    t.like(await lab.udp(from, to, { port: 7000, count: 100, size: 1200, wait: 2000 }), { lost: 0, answered: 100 });
    t.like(await lab.tcp(from, to, { port: 7001, bytes: 3_000_000 }), { outcome: 'done' });
    const cut = await lab.udp(from, to, { port: 7002, count: 128, size: 1000, segment: 32 });
    t.like(cut, { lost: 0, corrupted: 0, bytes: 128_000 });
  }
});

test.serial('R1.1: two networks of equal subnets and gateways stand side by side and never meet', async (t) => {
  const { lab, projections } = await inLab(t, {
    networks: [BLUE, RED],
    instances: [
      { name: 'b1', host: 1, network: 'blue', address: '10.200.1.2' },
      { name: 'b2', host: 2, network: 'blue', address: '10.200.2.2' },
      { name: 'r1', host: 1, network: 'red', address: '10.200.1.2' },
      { name: 'r2', host: 2, network: 'red', address: '10.200.2.2' },
      { name: 'r3', host: 1, network: 'red', address: '10.200.1.9' },
    ],
  });
  t.deepEqual(
    projections
      .get('h1')!
      .view()
      .networks.map(({ name, overlaps }) => [name, overlaps]),
    [
      ['blue', 'red'],
      ['red', 'blue'],
    ],
  );
  for (const name of ['b1', 'b2', 'r1', 'r2', 'r3']) t.is(await lab.ping(name, '10.200.0.1', 2), 2, name);
  // Each listens under the same address: who hears, and how often, says which network it came by.
  for (const [from, to, other] of [
    ['b1', 'b2', 'r2'],
    ['r1', 'r2', 'b2'],
  ] as const) {
    await lab.station(other).request('listenUdp', { port: 7000, echo: true });
    t.like(await lab.udp(from, to, { port: 7000, count: 50, wait: 2000 }), { lost: 0, answered: 50 });
    t.like(await lab.station(other).request('receiptOf', { port: 7000, close: true }), { received: 0 });
  }
  // In one network only.
  t.is(await lab.ping('b1', '10.200.1.9', 2), 0);
  t.is(await lab.ping('b2', '10.200.1.9', 2), 0);
  t.is(await lab.ping('r2', '10.200.1.9', 2), 2);
});

test.serial(
  'R1.2 R1.5: routed to another network, on one host and on two, without a question across the tunnel',
  async (t) => {
    const { lab } = await inLab(t, {
      networks: [BLUE, GREEN],
      instances: [
        { name: 'b1', host: 1, network: 'blue', address: '10.200.1.2' },
        { name: 'b2', host: 2, network: 'blue', address: '10.200.2.2' },
        { name: 'g1', host: 1, network: 'green', address: '10.201.1.2' },
        { name: 'g2', host: 2, network: 'green', address: '10.201.2.2' },
      ],
    });
    for (const [from, to] of [
      ['b1', 'g1'],
      ['b1', 'g2'],
      ['g1', 'b2'],
    ] as const) {
      t.like(await lab.udp(from, to, { port: 7000, count: 100, size: 1200, wait: 2000 }), { lost: 0, answered: 100 });
      t.like(await lab.tcp(from, to, { port: 7001, bytes: 3_000_000 }), { outcome: 'done' });
      const cut = await lab.udp(from, to, { port: 7002, count: 128, size: 1000, segment: 32 });
      t.like(cut, { lost: 0, corrupted: 0, bytes: 128_000 });
    }
    // The gateway says which hop refuses.
    t.is(await lab.ping('b1', '10.201.2.2', 1, ['-t', '1']), 0);
    t.is(await lab.ping('b1', '10.201.2.2', 1, ['-t', '4']), 1);
  },
);

for (const offloads of [true, false]) {
  test.serial(
    `R1.2 R1.6: instances of larger MTU than the tunnel's are not black-holed, offloads ${offloads ? 'on' : 'off'}`,
    async (t) => {
      const { lab, projections } = await inLab(t, {
        offloads,
        mtu: 1500,
        networks: [BLUE, GREEN],
        instances: [
          { name: 'b1', host: 1, network: 'blue', address: '10.200.1.2' },
          { name: 'b2', host: 2, network: 'blue', address: '10.200.2.2' },
          { name: 'b3', host: 1, network: 'blue', address: '10.200.1.3' },
          { name: 'g2', host: 2, network: 'green', address: '10.201.2.2' },
        ],
      });
      const [view] = projections.get('h1')!.view().networks;
      t.is(view!.tunnelMtu, 1450);
      t.like(view!.instances[0], { state: 'joined', mtu: 1500, oversize: true });
      for (const to of ['b2', 'b3', 'g2']) {
        t.like(await lab.tcp('b1', to, { port: 7001, bytes: 2_000_000 }), { outcome: 'done' }, to);
        const address = lab.addressOf(to);
        // DF: the sender learns what fits. Without DF: it arrives, in pieces on the way.
        await lab.ping('b1', address, 1, ['-s', '1472', '-M', 'do']);
        t.is(await lab.ping('b1', address, 3, ['-s', '1472', '-M', 'dont']), 3, to);
        t.is(await lab.ping('b1', address, 2, ['-s', '4000']), 2, to);
      }
    },
  );
}

test.serial(
  'R1.6: flows go on while the agent is away and when it is back; a lost interface joins again by itself',
  async (t) => {
    const { lab, projections } = await inLab(t, {
      networks: [BLUE],
      instances: [
        { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
        { name: 'c2', host: 2, network: 'blue', address: '10.200.2.2' },
      ],
    });
    t.is(await lab.ping('c1', '10.200.2.2', 1), 1);
    const flow = lab.udp('c1', 'c2', { port: 7000, count: 600, interval: 2, wait: 3000 });
    await projections.get('h1')!.close();
    const { netns } = lab.host('h1');
    const state = overlay(overlayOf(lab, 'h1'));
    projections.set('h1', await NetworkProjection.open({ clock: systemClock, log: quietLog(), netns, state }));
    t.like(await flow, { sent: 600, lost: 0, answered: 600 });

    // The instance's pair is deleted and made anew, as when a container is started again.
    await lab.removeInstance('c1');
    await lab.addInstance({ name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' });
    t.true(await waitUntil(async () => (await lab.ping('c1', '10.200.2.2', 1)) === 1, 15_000));
    await lab.ip('h2', 'link set eth0 down');
    t.is(await lab.ping('c1', '10.200.2.2', 1), 0);
    await lab.ip('h2', 'link set eth0 up');
    t.true(await waitUntil(async () => (await lab.ping('c1', '10.200.2.2', 1)) === 1, 15_000));
    t.like(await lab.tcp('c1', 'c2', { port: 7001, bytes: 3_000_000 }), { outcome: 'done' });
    for (const projection of projections.values()) t.deepEqual(projection.view().problems, []);
  },
);
