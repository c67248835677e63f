import test from 'ava';
import { type Change, Subscription } from 'rtnetlink-ts';
import type { LearnedRoute } from '../../src/model/hosts.ts';
import { address, type Box, cable, eventually, inBoxes, prefix, upAndThere, withKernel } from './helpers.ts';

const route = (to: string, ...via: (string | [string, string])[]): LearnedRoute => ({
  prefix: prefix(to),
  metric: 20,
  nextHops: via.map((hop) =>
    typeof hop === 'string' ? { via: address(hop) } : { via: address(hop[0]), interface: hop[1] },
  ),
});

function twoUplinks(gateway: Box, tors: Box): void {
  for (const [name, subnet] of [
    ['A0', '192.0.2'],
    ['B0', '198.51.100'],
  ]) {
    cable(gateway, name!, tors, `${name}t`);
    gateway.ip(`addr add ${subnet}.1/24 dev ${name}`);
  }
  gateway.ip('addr add fd00:2::1/64 dev A0 nodad');
  gateway.ip('addr add fd00:5::1/64 dev B0 nodad');
}

test.serial('R4.3 learned routes with one and several next hops are installed, replaced and removed', async (t) => {
  await inBoxes(2, async (gateway, tors) => {
    twoUplinks(gateway, tors);
    await withKernel(gateway, async (kernel) => {
      await upAndThere(kernel, 'A0', 'B0');
      const routes = kernel.learnedRoutes({ protocol: 203 });
      const soon = routes.installed(prefix('10.10.10.2/32'));
      routes.update([
        route('10.10.10.2/32', '192.0.2.2'),
        route('10.10.10.3/32', '192.0.2.2', ['198.51.100.2', 'B0']),
        route('fd00:10::2/128', 'fd00:2::2', 'fd00:5::2'),
        route('10.10.10.4/32', ['169.254.7.7', 'A0']),
      ]);
      await soon;
      await routes.installed(prefix('fd00:10::2/128'));
      t.true(routes.isInstalled(prefix('10.10.10.3/32')));
      const shown = gateway.ip('route show proto 203');
      t.regex(shown, /^10.10.10.2 via 192.0.2.2 dev A0 metric 20 $/m);
      t.regex(
        shown,
        /^10.10.10.3 metric 20 \n\s+nexthop via 192.0.2.2 dev A0 weight 1 \n\s+nexthop via 198.51.100.2 dev B0/m,
      );
      t.regex(shown, /^10.10.10.4 via 169.254.7.7 dev A0 metric 20 onlink/m);
      t.regex(
        gateway.ip('-6 route show proto 203'),
        /^fd00:10::2 metric 20 .*\n\s+nexthop via fd00:2::2 dev A0.*\n\s+nexthop via fd00:5::2 dev B0/m,
      );

      routes.update([route('10.10.10.2/32', '198.51.100.2'), route('10.10.10.3/32')]);
      t.regex(gateway.ip('route show 10.10.10.2'), /^10.10.10.2 via 198.51.100.2 dev B0/);
      t.is(gateway.ip('route show 10.10.10.3'), '');
      await routes.installed(prefix('10.10.10.2/32'));
      t.false(routes.isInstalled(prefix('10.10.10.3/32')));
      t.like(routes.counters(), { installed: 3, waiting: 0 });

      const never = routes.installed(prefix('10.10.10.77/32'));
      await routes.leave();
      await t.throwsAsync(never, { message: /closed/ });
      t.is(gateway.ip('route show proto 203') + gateway.ip('-6 route show proto 203'), '');
    });
  });
});

test.serial('a next hop whose port is down is left out at once and comes back with the port', async (t) => {
  await inBoxes(2, async (gateway, tors) => {
    twoUplinks(gateway, tors);
    gateway.ip('route add 10.10.10.2/32 via 198.51.100.9 metric 900');
    await withKernel(gateway, async (kernel) => {
      await upAndThere(kernel, 'A0', 'B0');
      const routes = kernel.learnedRoutes({ protocol: 202 });
      routes.update([route('10.10.10.2/32', '192.0.2.2'), route('10.10.10.3/32', '192.0.2.2', '198.51.100.2')]);
      await routes.installed(prefix('10.10.10.3/32'));

      let whenTold: string | undefined;
      kernel.onChange(({ name, after }) => {
        if (name === 'A0' && after?.carrier === false) whenTold ??= gateway.ip('route show 10.10.10.2 proto 202');
      });
      tors.ip('link set A0t down');
      await eventually(() => !kernel.port('A0')!.carrier);
      t.regex(whenTold!, /via 192.0.2.2/, 'whoever listens to ports comes before our work in the kernel');
      // The whole route goes, so that the worse one serves.
      t.regex(gateway.ip('route get 10.10.10.2'), /via 198.51.100.9/);
      t.regex(gateway.ip('route show 10.10.10.3'), /^10.10.10.3 via 198.51.100.2 dev B0/);
      await routes.installed(prefix('10.10.10.3/32'));
      t.false(routes.isInstalled(prefix('10.10.10.2/32')));

      const back = routes.installed(prefix('10.10.10.2/32'));
      tors.ip('link set A0t up');
      await back;
      t.regex(gateway.ip('route get 10.10.10.2'), /via 192.0.2.2 dev A0/);
      t.regex(
        gateway.ip('route show 10.10.10.3'),
        /nexthop via 192.0.2.2 dev A0 weight 1 \n\s+nexthop via 198.51.100.2/,
      );

      // Set down, the kernel drops the routes by itself and tells nobody.
      gateway.ip('link set A0 down');
      await eventually(() => !kernel.port('A0')!.adminUp);
      gateway.ip('link set A0 up');
      await eventually(() => /A0/.test(gateway.ip('route show 10.10.10.2 proto 202')));
      await eventually(() => /A0 weight/.test(gateway.ip('route show 10.10.10.3')));
      // The kernel has them before its answers are read.
      await eventually(() => routes.counters().installed === 2 && routes.counters().waiting === 0);
    });
  });
});

test.serial(
  'a route that the kernel refuses waits, and is installed when the way to its next hop appears',
  async (t) => {
    await inBoxes(2, async (gateway, tors) => {
      twoUplinks(gateway, tors);
      await withKernel(gateway, async (kernel) => {
        await upAndThere(kernel, 'A0', 'B0');
        const routes = kernel.learnedRoutes({ protocol: 203, table: 100, metric: 7 });
        routes.update([route('10.10.10.2/32', '203.0.113.2'), route('10.10.10.3/32', ['192.0.2.2', 'Z9'])]);
        await eventually(() => routes.counters()['RTM_NEWROUTE ENETUNREACH'] === 1);
        t.like(routes.counters(), { installed: 0, waiting: 2 });
        gateway.ip('addr add 203.0.113.1/24 dev A0');
        await routes.installed(prefix('10.10.10.2/32'));
        t.regex(gateway.ip('route show table 100'), /^10.10.10.2 via 203.0.113.2 dev A0 proto 203 metric 7/);
        const later = routes.installed(prefix('10.10.10.3/32'));
        gateway.ip('link set B0 down');
        gateway.ip('link set B0 name Z9');
        gateway.ip('addr add 192.0.2.3/30 dev Z9');
        gateway.ip('link set Z9 up');
        await later;
        t.regex(gateway.ip('route show table 100'), /10.10.10.3 via 192.0.2.2 dev Z9/);
        routes.close();
      });
    });
  },
);

test.serial('a restarted agent keeps the routes, and reconciles them without touching equal ones', async (t) => {
  await inBoxes(2, async (gateway, tors) => {
    twoUplinks(gateway, tors);
    await withKernel(gateway, async (kernel) => {
      await upAndThere(kernel, 'A0', 'B0');
      const routes = kernel.learnedRoutes({ protocol: 203 });
      routes.update([
        route('10.10.10.2/32', '192.0.2.2', '198.51.100.2'),
        route('10.10.10.3/32', '192.0.2.2'),
        route('10.10.10.4/32', '192.0.2.2'),
        route('fd00:10::2/128', 'fd00:2::2'),
      ]);
      await routes.installed(prefix('fd00:10::2/128'));
      routes.close();
    });
    await withKernel(gateway, async (kernel) => {
      const watcher = await Subscription.open({ netns: gateway.netns, kinds: ['route'] });
      t.teardown(() => watcher.close());
      const touched: Change[] = [];
      watcher.onChange((change) => touched.push(change));
      const routes = kernel.learnedRoutes({ protocol: 203 });
      const adopted = await routes.adopt();
      t.is(adopted.length, 4);
      t.deepEqual(
        adopted.find((each) => each.prefix === '10.10.10.3/32'),
        route('10.10.10.3/32', ['192.0.2.2', 'A0']),
      );
      const report = await routes.reconcile([
        route('10.10.10.2/32', '192.0.2.2', '198.51.100.2'),
        route('10.10.10.3/32', '198.51.100.2'),
        route('10.10.10.5/32', '192.0.2.2'),
        route('fd00:10::2/128', 'fd00:2::2'),
      ]);
      t.deepEqual(report, { kept: 2, added: 2, removed: 1, failed: 0 });
      t.true(routes.isInstalled(prefix('10.10.10.2/32')));
      t.regex(gateway.ip('route show proto 203'), /10.10.10.3 via 198.51.100.2 dev B0[^\n]*\n10.10.10.5 via 192.0.2.2/);
      t.is(gateway.ip('route show 10.10.10.4'), '');
      await eventually(() => JSON.stringify(touched).includes('10.10.10.4/32'));
      t.false(/10\.10\.10\.2\/32|fd00:10::2/.test(JSON.stringify(touched)), 'an equal route was touched');
      await routes.leave();
    });
  });
});

test.serial('a whole table of routes is written in portions and all of it is acknowledged', async (t) => {
  await inBoxes(2, async (gateway, tors) => {
    twoUplinks(gateway, tors);
    await withKernel(gateway, async (kernel) => {
      await upAndThere(kernel, 'A0', 'B0');
      const routes = kernel.learnedRoutes({ protocol: 203 });
      const all = Array.from({ length: 5000 }, (_, index) =>
        route(`10.${index >> 8}.${index & 255}.0/24`, '192.0.2.2'),
      );
      routes.update(all);
      t.true(gateway.ip('route show proto 203').split('\n').length < 2000);
      await Promise.all(all.map((each) => routes.installed(each.prefix)));
      t.is(gateway.ip('route show proto 203').split('\n').length, 5001);
      await routes.leave();
      t.is(gateway.ip('route show proto 203'), '');
    });
  });
});
