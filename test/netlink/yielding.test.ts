import { execFileSync } from 'node:child_process';
import test from 'ava';
import type { HostRoute } from '../../src/model/hosts.ts';
import {
  address,
  announce,
  type Box,
  cable,
  eventually,
  inBoxes,
  mac,
  upAndThere,
  withdraw,
  withKernel,
} from './helpers.ts';

const FABRIC = 20_100;
const PROTOCOL = 201;
const HOST = '10.10.10.2';
const run = (box: Box, ...words: string[]): string =>
  execFileSync('ip', ['-n', box.netns, ...words], { encoding: 'utf8' }).trim();
const routeGet = (box: Box, ...words: string[]): string => run(box, 'route', 'get', HOST, ...words).split('\n')[0]!;

test.serial("R4.7 a route that yields is for what comes from the fabric, and nobody else's", async (t) => {
  await inBoxes(3, async (g, b, server) => {
    cable(b!, 'B0', g!, 'g2');
    cable(b!, 'B2', server!, 'eth0');
    cable(b!, 'B1', g!, 'g1');
    execFileSync('ip', ['netns', 'exec', b!.netns, 'sysctl', '-qw', 'net.ipv4.ip_forward=1']);
    for (const setting of ['all', 'B0', 'B1'])
      execFileSync('ip', ['netns', 'exec', b!.netns, 'sysctl', '-qw', `net.ipv4.conf.${setting}.rp_filter=0`]);
    b!.ip('addr add 192.0.2.6/30 dev B0');
    b!.ip('addr add 10.10.10.254/32 dev B1');
    await withKernel(b!, async (kernel) => {
      await upAndThere(kernel, 'B0', 'B1', 'B2');
      b!.ip(`route add ${HOST}/32 via 192.0.2.5 metric 20`);
      b!.ip('route add 198.51.100.0/24 dev B0');
      b!.ip('route add 10.10.10.1/32 dev B1');
      const heardOf: boolean[] = [];
      const strictHeard: boolean[] = [];
      const rules = kernel.fabricRules({
        ...{ table: FABRIC, protocol: PROTOCOL },
        onReady: (ready) => heardOf.push(ready),
        onStrict: (strict) => strictHeard.push(strict),
      });
      await rules.configure(['B0']);
      t.true(rules.ready);
      t.false(rules.strict());
      t.false(rules.strict());
      t.is(
        rules.counters()['rp_filter.readings'],
        1,
        'the files of a thousand interfaces are not read for each question',
      );
      execFileSync('ip', ['netns', 'exec', b!.netns, 'sysctl', '-qw', 'net.ipv4.conf.B2.rp_filter=1']);
      t.true(rules.strict(), 'known at once, whoever was first to look');
      execFileSync('ip', ['netns', 'exec', b!.netns, 'sysctl', '-qw', 'net.ipv4.conf.B2.rp_filter=0']);
      await eventually(() => strictHeard.length > 0);
      t.deepEqual(strictHeard, [false], 'told to who has not asked');
      const hosts = kernel.hostRoutes({ protocol: PROTOCOL, fabricTable: FABRIC });
      const { ifindex } = kernel.port('B2')!;
      const route: HostRoute = {
        ...{ address: address(HOST), interface: 'B2', ifindex },
        mac: mac('02:00:00:00:00:02'),
        level: 0,
      };
      const fromFabric = () => routeGet(b!, 'from', '198.51.100.7', 'iif', 'B0');
      const fromServer = () => routeGet(b!, 'from', '10.10.10.1', 'iif', 'B1');
      const neighbour = () => run(b!, 'neigh', 'show', HOST, 'dev', 'B2');

      hosts.apply(announce(route));
      await hosts.settled();
      t.regex(fromFabric(), /dev B2/);
      t.regex(fromServer(), /dev B2/);
      hosts.apply(announce({ ...route, yields: true }));
      await hosts.settled();
      t.regex(fromFabric(), /dev B2/, 'what G still sends is delivered, and does not go back to it');
      t.regex(fromServer(), /via 192\.0\.2\.5 dev B0/);
      t.regex(routeGet(b!), /via 192\.0\.2\.5 dev B0/);
      t.regex(neighbour(), /02:00:00:00:00:02/);
      t.like(await hosts.reconcile([{ ...route, yields: true }]), { kept: 1, added: 0, removed: 0, failed: 0 });

      hosts.apply(announce(route));
      await hosts.settled();
      t.regex(fromServer(), /dev B2/);
      t.is(run(b!, 'route', 'show', 'table', `${FABRIC}`), '');
      hosts.apply(announce({ ...route, yields: true }));
      await hosts.settled();
      t.like(await hosts.reconcile([route]), { added: 1, removed: 1, failed: 0 });
      t.regex(fromServer(), /dev B2/);
      hosts.apply(announce({ ...route, yields: true }));
      hosts.apply(withdraw(HOST));
      await hosts.settled();
      t.is(run(b!, 'route', 'show', 'table', `${FABRIC}`), '');
      t.regex(fromFabric(), /via 192\.0\.2\.5/);

      t.log('rules follow the uplinks, and go with us');
      b!.ip('rule add iif B9 lookup 20100 priority 20009');
      await rules.configure(['B1', 'B0']);
      await eventually(
        () =>
          run(b!, 'rule')
            .split('\n')
            .filter((line) => line.includes('proto 201')).length === 2,
      );
      await rules.leave();
      t.deepEqual(
        run(b!, 'rule')
          .split('\n')
          .filter((line) => line.includes('20100')).length,
        1,
        "nobody else's",
      );
      t.deepEqual(heardOf, [true, false, true]);
    });
  });
});
