/** The handoff table against the kernel: exactly what is announced, whatever others do; and the claims read back. */
import test from 'ava';
import { OutsideRoutes } from '../../src/agent/tor/outside-routes.ts';
import { systemClock } from '../../src/model/clock.ts';
import type { ForeignClaim } from '../../src/model/hosts.ts';
import { HANDOFF_METRIC } from '../../src/netlink/index.ts';
import {
  address,
  announce,
  type Box,
  cable,
  eventually,
  host,
  inBoxes,
  prefix,
  upAndThere,
  withdraw,
  withKernel,
} from '../netlink/helpers.ts';

const routes = (box: Box): string => box.ip('route show table 100').replaceAll(' \n', '\n');
const silent = () => undefined;

for (const reader of ['bird', 'zebra'] as const) {
  test.serial(
    `R4.10 for ${reader} the table holds what is announced when apply returns; the metric is the level`,
    async (t) => {
      await inBoxes(2, async (tor, servers) => {
        cable(tor, 'A1', servers, 'C1');
        cable(tor, 'A2', servers, 'C2');
        await withKernel(tor, async (kernel) => {
          await upAndThere(kernel, 'A1', 'A2');
          const [one, two] = [kernel.port('A1')!, kernel.port('A2')!];
          const table = kernel.handoffTable({ table: 100, reader });
          const report = table.apply(announce(host('10.10.10.2', one), host('10.10.10.3', one), host('fd00::2', one)));
          t.is(report.packets, 3);
          t.true(report.firstByteAt! <= report.lastByteAt!);
          t.is(
            routes(tor),
            '10.10.10.2 dev A1 proto 201 scope link metric 20\n10.10.10.3 dev A1 proto 201 scope link metric 20\n',
          );
          t.regex(tor.ip('-6 route show table 100'), /^fd00::2 dev A1 proto 201 metric 20 /);
          table.apply(announce(host('10.10.10.2', two)));
          table.apply(announce({ ...host('10.10.10.3', one), level: 2 }));
          t.is(
            routes(tor),
            '10.10.10.2 dev A2 proto 201 scope link metric 20\n10.10.10.3 dev A1 proto 201 scope link metric 18\n',
          );
          // Another MAC alone is no news.
          t.is(table.apply(announce(host('10.10.10.2', two, '02:00:00:00:00:77'))).packets, 0);
          table.apply(announce({ ...host('fd00::2', two), level: 1 }));
          t.regex(tor.ip('-6 route show table 100'), /^fd00::2 dev A2 proto 201 metric 19 [^\n]*\n$/);
          t.is(table.apply(withdraw('10.10.10.2', '10.10.10.3', 'fd00::2', '10.10.10.99')).packets, 3);
          t.is(routes(tor), '');
          t.is(tor.ip('-6 route show table 100'), '');
          await table.settled();
          t.deepEqual(table.counters(), { hosts: 0 });
        });
      });
    },
  );
}

test.serial(
  'R4.10 what somebody takes out of the handoff table comes back, and what is not ours is left alone',
  async (t) => {
    await inBoxes(2, async (tor, servers) => {
      cable(tor, 'A1', servers, 'C1');
      tor.ip('route add 10.10.10.99/32 dev lo table 100 proto static');
      await withKernel(tor, async (kernel) => {
        await upAndThere(kernel, 'A1');
        const table = kernel.handoffTable({ table: 100 });
        table.follow(await kernel.watchRoutes());
        table.apply(announce(host('10.10.10.2', kernel.port('A1')!)));
        await table.reconcile([host('10.10.10.2', kernel.port('A1')!)]);
        tor.ip('route del 10.10.10.2/32 table 100');
        await eventually(() => /10\.10\.10\.2 dev A1/.test(routes(tor)));
        // The kernel takes the routes of a port that is shut, and says nothing of it.
        tor.ip('link set A1 down');
        await eventually(() => !/10\.10\.10\.2/.test(routes(tor)));
        tor.ip('link set A1 up');
        await eventually(() => /10\.10\.10\.2 dev A1/.test(routes(tor)));
        await table.leave();
        t.is(routes(tor), '10.10.10.99 dev lo proto static scope link\n');
      });
    });
  },
);

test.serial(
  'R4.10 what an earlier life handed over stays untouched until the hosts are known; then the rest goes',
  async (t) => {
    await inBoxes(2, async (tor, servers) => {
      cable(tor, 'A1', servers, 'C1');
      cable(tor, 'A2', servers, 'C2');
      await withKernel(tor, async (kernel) => {
        await upAndThere(kernel, 'A1', 'A2');
        const [one, two] = [kernel.port('A1')!, kernel.port('A2')!];
        const earlier = kernel.handoffTable({ table: 100 });
        earlier.apply(
          announce(host('10.10.10.1', one), host('10.10.10.2', one), { ...host('10.10.10.3', one), level: 1 }),
        );
        earlier.close();
        const table = kernel.handoffTable({ table: 100 });
        table.follow(await kernel.watchRoutes());
        t.deepEqual((await table.adopt()).sort(), ['10.10.10.1', '10.10.10.2', '10.10.10.3'].map(address));
        t.is(table.apply(announce(host('10.10.10.1', one))).packets, 0);
        table.apply(announce(host('10.10.10.2', two)));
        t.regex(routes(tor), /10\.10\.10\.3/);
        const report = await table.reconcile([host('10.10.10.1', one), host('10.10.10.2', two)]);
        t.deepEqual(report, { kept: 2, added: 0, removed: 1, failed: 0 });
        t.is(
          routes(tor),
          '10.10.10.1 dev A1 proto 201 scope link metric 20\n10.10.10.2 dev A2 proto 201 scope link metric 20\n',
        );
      });
    });
  },
);

test.serial(
  'R4.10 R4.5 host routes that another daemon learned are claims of the other switch, with their level',
  async (t) => {
    await inBoxes(2, async (tor, fabric) => {
      cable(tor, 'A0', fabric, 'GA');
      cable(tor, 'A1', fabric, 'C1');
      tor.ip('address add 192.0.2.2/30 dev A0');
      await withKernel(tor, async (kernel) => {
        await upAndThere(kernel, 'A0', 'A1');
        tor.ip('route add 10.10.10.9/32 via 192.0.2.1 proto bgp metric 20');
        const claims: ForeignClaim[] = [];
        let changes = 0;
        const outside = new OutsideRoutes({
          watch: await kernel.watchRoutes(),
          links: kernel,
          clock: systemClock,
          log: { debug: silent, info: silent, warn: silent, error: silent },
          prefixes: () => [prefix('10.10.10.0/24')],
          downlinks: () => ['A1'],
          uplinks: () => ['A0'],
          own: new Set([201, 202, 203]),
          onForeignClaim: (claim) => claims.push(claim),
          onChange: () => changes++,
        });
        kernel.onChange((change) => outside.linkChanged(change));
        const told = async (level: ForeignClaim['level'], text: string): Promise<void> => {
          await eventually(() => claims.length > 0);
          t.deepEqual(claims, [{ address: address(text), level, from: address('192.0.2.1') }]);
          claims.length = 0;
        };
        await told(0, '10.10.10.9');
        // Ours, a server's, outside, and a subnet: no claims.
        tor.ip('route add 10.10.10.1/32 dev A1 proto 201 metric 1');
        tor.ip('route add 10.10.10.3/32 dev A1 proto bgp');
        tor.ip('route add 198.51.100.1/32 via 192.0.2.1 proto bgp');
        tor.ip('route add 10.10.10.0/25 via 192.0.2.1 proto bgp');
        // In a table beside, as bird.conf of the examples shows what it doesn't use.
        tor.ip(`route add 10.10.10.1/32 via 192.0.2.1 proto bird table 101 metric ${HANDOFF_METRIC - 1}`);
        await told(1, '10.10.10.1');
        // The same claim in a second table is the same claim; it is gone with the last.
        tor.ip('route add 10.10.10.9/32 via 192.0.2.1 proto bird table 101 metric 18');
        await told(2, '10.10.10.9');
        tor.ip('route del 10.10.10.9/32 table 101');
        await told(0, '10.10.10.9');
        t.true(outside.readiness().ready);
        t.false(outside.defaultRoute('A0'));
        tor.ip('route add default via 192.0.2.1 proto bgp');
        await eventually(() => outside.defaultRoute('A0'));
        t.true(changes > 0);
        // A link that is lost takes all of it along; when it is back, what the kernel still has counts again.
        tor.ip('link set A0 down');
        await eventually(() => claims.length === 2);
        t.deepEqual(
          claims.map(({ level }) => level),
          [undefined, undefined],
        );
        claims.length = 0;
        t.deepEqual(outside.readiness(), { ready: false, reason: 'handoff: no uplink is up' });
        tor.ip('link set A0 up');
        tor.ip('route add 10.10.10.9/32 via 192.0.2.1 proto bgp metric 20');
        await told(0, '10.10.10.9');
        outside.close();
      });
    });
  },
);
