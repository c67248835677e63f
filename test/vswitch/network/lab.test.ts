import test from 'ava';
import { HostLab } from '../../../lab/hosts/index.ts';

let made = 0;
const named = (): string => `nvl${process.pid}x${made++}`;

for (const topology of ['segment', 'routed'] as const) {
  test.serial(
    `a lab of hosts, ${topology}: hosts and the public world reach each other, losses are seen`,
    async (t) => {
      const lab = await HostLab.up({
        name: named(),
        underlay: { topology },
        networks: [{ name: 'blue', vni: 100, subnet: '10.200.0.0/16', gateway: '10.200.0.1' }],
        instances: [{ name: 'c1', host: 1, network: 'blue', address: '10.200.1.2', offloads: false }],
      });
      t.teardown(() => lab.down());
      const udp = await lab.udp('h1', 'h2', { port: 7000, count: 50, size: 1200, wait: 2000 });
      t.like(udp, { sent: 50, received: 50, answered: 50, lost: 0, corrupted: 0 });
      const cut = await lab.udp('h1', 'h2', { port: 7000, count: 64, size: 1000, segment: 32 });
      t.like(cut, { received: 64, lost: 0, corrupted: 0, bytes: 64_000 });
      t.like(await lab.tcp('h1', 'public', { port: 7001, bytes: 3_000_000 }), { outcome: 'done' });
      t.is((await lab.tcp('h1', 'h2', { port: 7001, patience: 300 }, '10.20.1.77')).outcome === 'done', false);
      // No agent: nobody carries it.
      t.like(await lab.udp('c1', 'h2', { port: 7000, count: 5 }), { received: 0, lost: 5 });
    },
  );
}
