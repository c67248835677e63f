/** Learned routes with backups over next-hop objects, in the real kernel. */
import test from 'ava';
import { type Change, Rtnetlink, Subscription } from 'rtnetlink-ts';
import type { LearnedRoute } from '../../src/model/hosts.ts';
import type { BackedRouteInstaller } from '../../src/netlink/index.ts';
import { address, type Box, cable, eventually, inBoxes, prefix, upAndThere, withKernel } from './helpers.ts';
import { Prober } from './prober.ts';

const hops = (text: string) =>
  text.split(' ').map((each) => {
    const [via, port] = each.split('%');
    return { via: address(via!), ...(port ? { interface: port } : {}) };
  });

const route = (to: string, via: string, backup?: string): LearnedRoute => ({
  prefix: prefix(to),
  metric: 20,
  nextHops: via === '' ? [] : hops(via),
  ...(backup === undefined ? {} : { backup: hops(backup) }),
});

const A = '192.0.2.2';
const B = '198.51.100.2';
const A6 = 'fd00:2::2';
const B6 = 'fd00:5::2';

/** Two switches behind two ports of the gateway, and servers behind both of them. */
function twoSwitches(gateway: Box, ...switches: Box[]): void {
  for (const [index, [name, subnet, subnet6]] of (
    [
      ['A0', '192.0.2', 'fd00:2'],
      ['B0', '198.51.100', 'fd00:5'],
    ] as const
  ).entries()) {
    const box = switches[index % switches.length]!;
    // With equal indexes on both sides the kernel would tell of a lost carrier late.
    gateway.ip(
      `link add ${name} index ${10 + index} type veth peer name ${name}t index ${20 + index} netns ${box.netns}`,
    );
    gateway.ip(`link set ${name} up`);
    box.ip(`link set ${name}t up`);
    gateway.ip(`addr add ${subnet}.1/24 dev ${name}`);
    gateway.ip(`addr add ${subnet6}::1/64 dev ${name} nodad`);
    box.ip(`addr add ${subnet}.2/24 dev ${name}t`);
    box.ip(`addr add ${subnet6}::2/64 dev ${name}t nodad`);
  }
}

const lines = (text: string) => text.split('\n').filter((line) => line !== '').length;
const way = (gateway: Box, to: string) =>
  /dev (\S+)/.exec(gateway.ip(`${to.includes(':') ? '-6 ' : ''}route get ${to}`))?.[1];
const host = (index: number) => `10.${20 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;
const all = (routes: BackedRouteInstaller, wanted: readonly LearnedRoute[]) =>
  Promise.all(wanted.map((each) => routes.installed(each.prefix)));

test.serial(
  'R4.3 a route and its backup stand side by side over next-hop groups, are replaced and removed',
  async (t) => {
    await inBoxes(2, async (gateway, tors) => {
      twoSwitches(gateway, tors);
      await withKernel(gateway, async (kernel) => {
        await upAndThere(kernel, 'A0', 'B0');
        const routes = kernel.backedRoutes({ protocol: 203 });
        const wanted = [
          route('10.10.10.2/32', A, B),
          route('10.10.10.3/32', `${A} ${B}%B0`),
          route('10.10.10.4/32', '169.254.7.7%A0'),
          route('10.10.10.5/32', A, B),
          route('fd00:10::2/128', A6, B6),
        ];
        routes.update(wanted);
        await all(routes, wanted);
        t.is(way(gateway, '10.10.10.2'), 'A0');
        t.is(way(gateway, 'fd00:10::2'), 'A0');
        t.is(lines(gateway.ip('route show proto 203')), 6);
        t.is(lines(gateway.ip('-6 route show proto 203')), 2);
        t.regex(gateway.ip('nexthop show'), /via 169.254.7.7 dev A0 .*onlink/);
        // Equal pairs share their groups: A|B, B, A+B, unnumbered, A6|B6, B6.
        t.like(routes.counters(), { installed: 5, waiting: 0, backed: 3, groups: 6, nextHops: 5 });
        t.is(
          gateway.ip('route show 10.10.10.2').match(/nhid \d+/)![0],
          gateway.ip('route show 10.10.10.5').match(/nhid \d+/)![0],
        );

        routes.update([route('10.10.10.2/32', B), route('10.10.10.3/32', '')]);
        t.is(way(gateway, '10.10.10.2'), 'B0');
        t.is(gateway.ip('route show 10.10.10.3'), '');
        t.like(routes.counters(), { installed: 4, backed: 2, groups: 5 });
        const objects = gateway.ip('nexthop show');
        routes.update([route('10.10.10.2/32', B), route('10.10.10.5/32', A, B)]);
        t.is(gateway.ip('nexthop show'), objects);

        const never = routes.installed(prefix('10.10.10.77/32'));
        await routes.leave();
        await t.throwsAsync(never, { message: /closed/ });
        t.is(gateway.ip('route show proto 203') + gateway.ip('-6 route show proto 203'), '');
        t.is(gateway.ip('nexthop show'), '');
      });
    });
  },
);

test.serial(
  'R4.6 carrier loss with 1,000 routes: their backups serve with no message from us, and they come back',
  async (t) => {
    await inBoxes(2, async (gateway, tors) => {
      twoSwitches(gateway, tors);
      tors.ip(`addr add ${host(7)}/32 dev lo`);
      tors.ip('addr add fd00:10::7/128 dev lo');
      await withKernel(gateway, async (kernel) => {
        await upAndThere(kernel, 'A0', 'B0');
        const routes = kernel.backedRoutes({ protocol: 203 });
        const wanted = Array.from({ length: 1000 }, (_, index) => [
          route(`${host(index)}/32`, A, B),
          route(`fd00:10::${index.toString(16)}/128`, A6, B6),
        ]).flat();
        routes.update(wanted);
        await all(routes, wanted);
        const watcher = await Subscription.open({ netns: gateway.netns, kinds: ['route', 'nexthop'] });
        t.teardown(() => watcher.close());
        const told: Change[] = [];
        watcher.onChange((change) => told.push(change));
        const four = new Prober(gateway, tors, host(7));
        const six = new Prober(gateway, tors, 'fd00:10::7');
        for (const probe of [four, six]) t.teardown(() => probe.close());
        await eventually(() => four.received > 50 && six.received > 50);

        tors.ip('link set A0t down');
        await eventually(() => !kernel.port('A0')!.carrier);
        t.is(way(gateway, host(7)), 'B0');
        t.is(way(gateway, 'fd00:10::7'), 'B0');
        t.is(lines(gateway.ip('route show proto 203')), 1000);
        t.is(lines(gateway.ip('-6 route show proto 203')), 1000);
        t.like(routes.counters(), { dropped: 2000, groups: 2, nextHops: 2 });
        const until = [four.received + 50, six.received + 50];
        await eventually(() => four.received > until[0]! && six.received > until[1]!);
        const lost = [await four.stop(), await six.stop()];
        t.log(`lost of a 1 ms probe: IPv4 ${lost[0]} of ${four.sent}, IPv6 ${lost[1]} of ${six.sent}`);
        t.true(
          lost.every((each) => each < 30),
          `${lost}`,
        );
        await eventually(() => routes.counters().installed === 2000);
        const ours = told.filter(
          ({ kind, after }) => kind === 'nexthop' || (kind === 'route' && after?.protocol === 203),
        );
        t.deepEqual(ours, [], 'we have written something');

        tors.ip('link set A0t up');
        tors.ip('addr replace fd00:2::2/64 dev A0t nodad');
        await eventually(() => kernel.port('A0')!.carrier && routes.counters().backed === 2000);
        t.is(way(gateway, host(7)), 'A0');
        t.is(way(gateway, 'fd00:10::7'), 'A0');
        t.is(lines(gateway.ip('route show proto 203')), 2000);
        t.is(lines(gateway.ip('-6 route show proto 203')), 2000);
        t.like(routes.counters(), { installed: 2000, waiting: 0, groups: 4 });

        // The speaker decides while the port is down: what it says is written, and stays when the port is back.
        gateway.ip('link set A0 down');
        await eventually(() => !kernel.port('A0')!.adminUp);
        routes.update(wanted.slice(0, 2).map(({ prefix: to }, index) => route(to, index === 0 ? B : B6)));
        await all(routes, wanted.slice(0, 2));
        gateway.ip('link set A0 up');
        gateway.ip('addr replace fd00:2::1/64 dev A0 nodad');
        await eventually(() => routes.counters().backed === 1998);
        t.is(way(gateway, host(0)), 'B0');
        t.is(way(gateway, host(1)), 'A0');
        await routes.leave();
      });
    });
  },
);

test.serial('R4.7 a next hop that died behind a port that is up: 10,000 routes are moved by one message', async (t) => {
  await inBoxes(2, async (gateway, tors) => {
    twoSwitches(gateway, tors);
    tors.ip(`addr add ${host(9_999)}/32 dev lo`);
    await withKernel(gateway, async (kernel) => {
      await upAndThere(kernel, 'A0', 'B0');
      const routes = kernel.backedRoutes({ protocol: 203 });
      const wanted = Array.from({ length: 10_000 }, (_, index) => route(`${host(index)}/32`, A, B));
      routes.update(wanted);
      t.true(lines(gateway.ip('route show proto 203')) < 4000, 'written in portions');
      await all(routes, wanted);
      const probe = new Prober(gateway, tors, host(9_999));
      t.teardown(() => probe.close());
      await eventually(() => probe.received > 50);

      const report = routes.switchOver(address(A));
      t.deepEqual(report, { messages: 1, refused: 0, routes: 10_000 });
      for (const index of [0, 4_711, 9_999]) t.is(way(gateway, host(index)), 'B0');
      t.is(lines(gateway.ip('route show proto 203')), 20_000);
      t.deepEqual(routes.switchOver(address(A)), { messages: 0, refused: 0, routes: 0 });

      // The speaker follows: no prefix is without a route while the table is cleaned up.
      const watcher = await Subscription.open({ netns: gateway.netns, kinds: ['route'] });
      t.teardown(() => watcher.close());
      const after = wanted.map(({ prefix: to }) => route(to, B));
      routes.update(after);
      for (let index = 0; !routes.isInstalled(prefix(`${host(9_999)}/32`)); index += 997) {
        t.true(watcher.table('route').size >= 10_000);
        t.is(way(gateway, host(index % 10_000)), 'B0');
        await new Promise((resolve) => setImmediate(resolve));
      }
      await all(routes, after);
      t.like(routes.counters(), {
        installed: 10_000,
        backed: 0,
        groups: 1,
        nextHops: 1,
        switchOvers: 1,
        switched: 10_000,
      });

      routes.restore(address(A));
      routes.update(wanted);
      await all(routes, wanted);
      await eventually(() => routes.counters().backed === 10_000);
      t.is(way(gateway, host(4_711)), 'A0');
      t.is(await probe.stop(), 0, 'lost, although no way ever broke');
      await routes.leave();
    });
  });
});

test.serial(
  'a switch-over needs one message for each pair, takes what is left of several next hops, and ends',
  async (t) => {
    await inBoxes(2, async (gateway, tors) => {
      twoSwitches(gateway, tors);
      cable(gateway, 'C0', tors, 'C0t');
      gateway.ip('addr add 203.0.113.1/24 dev C0');
      await withKernel(gateway, async (kernel) => {
        await upAndThere(kernel, 'A0', 'B0', 'C0');
        const routes = kernel.backedRoutes({ protocol: 203 });
        const wanted = [
          route('10.10.10.1/32', A, B),
          route('10.10.10.2/32', A, '203.0.113.2'),
          route('10.10.10.3/32', `${A} ${B}`, '203.0.113.2'),
          route('10.10.10.4/32', A),
          route('10.10.10.5/32', B, A),
          route('10.10.10.6/32', A, B),
        ];
        routes.update(wanted);
        await all(routes, wanted);
        t.deepEqual(routes.switchOver(address(A), 'Z9'), { messages: 0, refused: 0, routes: 0 });
        t.deepEqual(routes.switchOver(address(A), 'A0'), { messages: 3, refused: 0, routes: 4 });
        const ways = () => [1, 2, 3, 4, 5, 6].map((last) => way(gateway, `10.10.10.${last}`));
        // Nothing better is known for .4: the speaker decides.
        t.deepEqual(ways(), ['B0', 'C0', 'B0', 'A0', 'B0', 'B0']);

        // A new route of the speaker's, while it holds: not by A either.
        routes.update([route('10.10.10.7/32', A, B)]);
        t.is(way(gateway, '10.10.10.7'), 'B0');
        // Its port fails too.
        gateway.ip('link set B0 down');
        await eventually(() => !kernel.port('B0')!.adminUp);
        t.is(way(gateway, '10.10.10.3'), 'C0');
        gateway.ip('link set B0 up');
        await eventually(() => kernel.port('B0')!.carrier && way(gateway, '10.10.10.3') === 'B0');

        routes.restore(address(A));
        t.like(ways(), { 0: 'A0', 1: 'A0', 3: 'A0', 4: 'B0', 5: 'A0' });
        t.is(way(gateway, '10.10.10.7'), 'A0');
        t.like(routes.counters(), { installed: 7, waiting: 0 });
        await routes.leave();
      });
    });
  },
);

test.serial(
  'a restarted gateway knows the routes of its earlier life: they stay, can be switched over, and are reconciled',
  async (t) => {
    await inBoxes(2, async (gateway, tors) => {
      twoSwitches(gateway, tors);
      const before = [
        route('10.10.10.2/32', `${A} ${B}`),
        route('10.10.10.3/32', A, B),
        route('10.10.10.4/32', A, B),
        route('fd00:10::2/128', A6, B6),
      ];
      await withKernel(gateway, async (kernel) => {
        await upAndThere(kernel, 'A0', 'B0');
        const routes = kernel.backedRoutes({ protocol: 203 });
        routes.update(before);
        await all(routes, before);
        routes.close();
      });
      gateway.ip('route add 10.10.10.6/32 via 192.0.2.2 proto 203 metric 20');
      await withKernel(gateway, async (kernel) => {
        const watcher = await Subscription.open({ netns: gateway.netns, kinds: ['route', 'nexthop'] });
        t.teardown(() => watcher.close());
        const touched: Change[] = [];
        watcher.onChange((change) => touched.push(change));
        const routes = kernel.backedRoutes({ protocol: 203 });
        const adopted = await routes.adopt();
        t.is(adopted.length, 4);
        t.deepEqual(
          adopted.find((each) => each.prefix === '10.10.10.3/32'),
          route('10.10.10.3/32', `${A}%A0`, `${B}%B0`),
        );
        routes.update([route('10.10.10.5/32', A, B)]);
        t.is(way(gateway, '10.10.10.4'), 'A0', 'nobody has said anything of it yet');
        t.like(routes.switchOver(address(A)), { messages: 2, refused: 0 });
        t.is(way(gateway, '10.10.10.4'), 'B0');
        routes.restore(address(A));
        t.is(way(gateway, '10.10.10.4'), 'A0');
        const report = await routes.reconcile([
          route('10.10.10.2/32', `${A} ${B}`),
          route('10.10.10.3/32', A, B),
          route('10.10.10.5/32', A, B),
          route('10.10.10.6/32', A, B),
          route('fd00:10::2/128', A6, B6),
        ]);
        t.deepEqual(report, { kept: 4, added: 1, removed: 1, failed: 0 });
        t.is(gateway.ip('route show 10.10.10.4'), '');
        t.regex(gateway.ip('route show 10.10.10.6'), /nhid .* metric 20.*\n.*nhid .* metric 21/);
        await eventually(() => JSON.stringify(touched).includes('10.10.10.4/32'));
        t.false(/10\.10\.10\.[23]\/32|fd00:10::2/.test(JSON.stringify(touched)), 'an equal route was touched');
        t.like(routes.counters(), { installed: 5, groups: 5, nextHops: 4 });
        await routes.leave();
      });
      t.is(gateway.ip('nexthop show') + gateway.ip('route show proto 203'), '');
    });
  },
);

test.serial('a route whose next hop can not be used yet waits, its backup serves, and the way appears', async (t) => {
  await inBoxes(2, async (gateway, tors) => {
    twoSwitches(gateway, tors);
    await withKernel(gateway, async (kernel) => {
      await upAndThere(kernel, 'A0', 'B0');
      const routes = kernel.backedRoutes({ protocol: 203, table: 100, metric: 7 });
      routes.update([
        route('10.10.10.2/32', '203.0.113.2', B),
        route('10.10.10.3/32', '192.0.2.2%Z9'),
        route('10.10.10.4/32', 'fd00:77::1%A0'),
      ]);
      await routes.installed(prefix('10.10.10.2/32'));
      t.regex(gateway.ip('route show table 100'), /^10.10.10.2 nhid \d+ proto 203 metric 8/);
      t.like(routes.counters(), { installed: 1, waiting: 2, groups: 1 });
      t.is(routes.counters()['RTM_NEWNEXTHOP EHOSTUNREACH'], 1);
      gateway.ip('addr add 203.0.113.1/24 dev A0');
      await eventually(() => /10.10.10.2 nhid \d+ proto 203 metric 7/.test(gateway.ip('route show table 100')));
      gateway.ip('addr add fd00:77::2/64 dev A0 nodad');
      await routes.installed(prefix('10.10.10.4/32'));
      const later = routes.installed(prefix('10.10.10.3/32'));
      gateway.ip('link set B0 down');
      gateway.ip('link set B0 name Z9');
      gateway.ip('addr add 192.0.2.3/30 dev Z9');
      gateway.ip('link set Z9 up');
      await later;
      t.regex(gateway.ip('nexthop show dev Z9'), /via 192.0.2.2/);
      routes.close();
    });
  });
});

test.serial(
  'what somebody else takes out of the kernel is found and put back when notifications were lost',
  async (t) => {
    await inBoxes(2, async (gateway, tors) => {
      twoSwitches(gateway, tors);
      await withKernel(gateway, async (kernel) => {
        await upAndThere(kernel, 'A0', 'B0');
        const rtnetlink = Rtnetlink.open({ netns: gateway.netns });
        t.teardown(() => rtnetlink.close());
        const routes = kernel.backedRoutes({ protocol: 203 });
        const wanted = [route('10.10.10.2/32', A, B), route('fd00:10::2/128', A6, B6)];
        routes.update(wanted);
        await all(routes, wanted);
        for (const { id } of await rtnetlink.dumpNextHops()) await rtnetlink.deleteNextHop(id).catch(() => {});
        t.is(gateway.ip('route show proto 203'), '');
        // A new route over a group that is gone: the refusal tells that our picture is wrong.
        routes.update([...wanted, route('10.10.10.3/32', A, B)]);
        await eventually(() => routes.counters().installed === 3 && lines(gateway.ip('route show proto 203')) === 4);
        t.is(lines(gateway.ip('-6 route show proto 203')), 2);
        await routes.leave();
      });
    });
  },
);
