/** R4.10: what the agent hands over, FRR and BIRD announce, with the examples that are shipped. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { hostMetric } from '../../src/agent/tor/handoff.ts';
import type { HostDelta, HostRoute } from '../../src/model/hosts.ts';
import { Kernel } from '../../src/netlink/index.ts';
import { announce, host, withdraw } from '../netlink/helpers.ts';
import { Bench, birdExample, EXAMPLES, GATEWAY_FRR, type Protocol, until } from './bench.ts';

async function withBench(
  daemon: 'frr' | 'bird',
  protocol: Protocol,
  run: (bench: Bench, kernel: Kernel) => Promise<void>,
): Promise<void> {
  const bench = new Bench();
  try {
    const gateway = join(bench.directory, 'gateway.conf');
    const speaker = protocol === 'bgp' ? 'bgpd' : 'ospfd';
    writeFileSync(gateway, GATEWAY_FRR[protocol]);
    await bench.frr(bench.g, gateway, ['zebra', speaker]);
    if (daemon === 'frr') await bench.frr(bench.a, join(EXAMPLES, 'frr.conf'), ['zebra', speaker]);
    else await bench.bird(bench.a, birdExample(protocol));
    const kernel = await Kernel.open({ netns: bench.a });
    try {
      await run(bench, kernel);
    } finally {
      kernel.close();
    }
  } finally {
    await bench.down();
  }
}

for (const daemon of ['frr', 'bird'] as const) {
  for (const protocol of ['bgp', 'ospf'] as const) {
    test.serial(
      `R4.10 R4.2 ${daemon} announces by ${protocol} exactly the /32s that stand in the handoff table, and withdraws them`,
      async (t) => {
        await withBench(daemon, protocol, async (bench, kernel) => {
          const [one, two] = [kernel.port('A1')!, kernel.port('A2')!];
          const reader = daemon === 'frr' ? 'zebra' : 'bird';
          const routes = kernel.hostRoutes({
            metric: hostMetric({ kernel: { handoffTable: 100, handoffReader: reader } }),
          });
          const table = kernel.handoffTable({ table: 100, reader });
          const apply = (delta: HostDelta): void => {
            if (delta.announced.length > 0) routes.apply(delta);
            table.apply(delta);
            if (delta.announced.length === 0) routes.apply(delta);
          };
          const via = (...hosts: string[]) => hosts.map((each) => `${each} 192.0.2.2`);
          const settles = (what: string, ...hosts: string[]): Promise<number> =>
            until(() => bench.gatewayHosts().join() === via(...hosts).join(), what);
          // Neither the subnet nor a route that is no host's is announced.
          bench.ip(bench.a, 'route add unreachable 10.10.10.0/24 metric 4278198272');
          bench.ip(bench.a, 'route add 10.10.10.64/26 dev A1 table 100 proto 201');
          bench.ip(bench.a, 'route add 198.51.100.7/32 dev A1 table 100 proto 201');
          apply(announce(host('10.10.10.1', one), host('10.10.10.2', two)));
          await settles('both hosts', '10.10.10.1', '10.10.10.2');

          const withdrawn = await lasts(
            () => apply(withdraw('10.10.10.2')),
            () => settles('a withdrawal', '10.10.10.1'),
          );
          const announced = await lasts(
            () => apply(announce(host('10.10.10.2', two))),
            () => settles('an announcement', '10.10.10.1', '10.10.10.2'),
          );
          t.log(`in G's kernel: withdrawal ${withdrawn} ms, announcement ${announced} ms`);

          // A move and a stronger claim change nothing of where G sends.
          const raised: HostRoute = { ...host('10.10.10.2', one), level: 1 };
          apply(announce(raised));
          if (protocol === 'bgp') {
            await until(
              () => /"origin":"EGP"/.test(bench.vtysh(bench.g, 'show bgp ipv4 10.10.10.2/32 json').replace(/\s/g, '')),
              'EGP',
            );
          } else if (daemon === 'bird') {
            await until(
              () => /Metric: 19/.test(bench.vtysh(bench.g, 'show ip ospf database external 10.10.10.2')),
              'metric 19',
            );
          }
          t.deepEqual(bench.gatewayHosts(), via('10.10.10.1', '10.10.10.2'));
          // Ten moves, back and forth, and nothing is forgotten.
          for (let move = 0; move < 10; move++) apply(announce(host('10.10.10.2', move % 2 ? one : two)));
          await new Promise((resolve) => setTimeout(resolve, 500));
          await settles('both after all', '10.10.10.1', '10.10.10.2');
          apply(withdraw('10.10.10.1', '10.10.10.2'));
          await settles('all withdrawn');
          await table.settled();
          t.deepEqual(table.counters(), { hosts: 0 });
        });
      },
    );
  }
}

async function lasts(act: () => void, done: () => Promise<number>): Promise<string> {
  const start = performance.now();
  act();
  await done();
  return (performance.now() - start).toFixed(1);
}
