import test from 'ava';
import { AF, LinuxSocket, SOCK } from 'linux-sockets';
import { type Change, Subscription } from 'rtnetlink-ts';
import {
  announce,
  cable,
  eventually,
  host,
  inBoxes,
  packetSocket,
  prefix,
  upAndThere,
  withdraw,
  withKernel,
} from './helpers.ts';

const UDP = 17;

test.serial(
  'R4.1 R4.5 host routes and neighbour entries are in the kernel when apply returns: new, moved, withdrawn',
  async (t) => {
    await inBoxes(2, async (tor, servers) => {
      cable(tor, 'A1', servers, 'C1');
      cable(tor, 'A2', servers, 'C2');
      await withKernel(tor, async (kernel) => {
        await upAndThere(kernel, 'A1', 'A2');
        const [one, two] = [kernel.port('A1')!, kernel.port('A2')!];
        const routes = kernel.hostRoutes();
        const report = routes.apply(
          announce(host('10.10.10.2', one), host('10.10.10.3', one, '02:00:00:00:00:03'), host('fd00::2', one)),
        );
        t.is(report.packets, 6);
        t.true(report.firstByteAt! <= report.lastByteAt!);
        t.regex(tor.ip('route show proto 201'), /^10\.10\.10\.2 dev A1 scope link metric 1 \n10\.10\.10\.3 dev A1/);
        t.regex(tor.ip('-6 route show proto 201'), /^fd00::2 dev A1 metric 1/);
        t.regex(tor.ip('neigh show 10.10.10.2'), /dev A1 lladdr 02:00:00:00:00:02 extern_learn REACHABLE proto 201/);
        t.regex(tor.ip('neigh show fd00::2'), /dev A1 lladdr 02:00:00:00:00:02 extern_learn REACHABLE/);

        // One VM moves, the other address of the port stays (R4.5).
        routes.apply(announce(host('10.10.10.2', two)));
        t.regex(tor.ip('route show proto 201'), /^10\.10\.10\.2 dev A2 scope link metric 1 \n10\.10\.10\.3 dev A1/);
        t.regex(
          tor.ip('neigh show 10.10.10.2'),
          /^10.10.10.2 dev A2 lladdr 02:00:00:00:00:02 \S+ REACHABLE proto 201 \n$/,
        );

        // The same host with another claim level alone is no news for the kernel.
        t.is(routes.apply(announce({ ...host('10.10.10.2', two), level: 2 })).packets, 0);

        const gone = routes.apply(withdraw('10.10.10.2', '10.10.10.99', 'fd00::2'));
        t.is(gone.packets, 4);
        t.regex(tor.ip('route show proto 201'), /^10\.10\.10\.3 dev A1[^\n]*\n$/);
        t.is(tor.ip('-6 route show proto 201'), '');
        t.is(tor.ip('neigh show 10.10.10.2'), '');
        await routes.settled();
        t.deepEqual(
          Object.entries(routes.counters()).filter(([, count]) => count > 0),
          [['hosts', 1]],
        );
      });
    });
  },
);

test.serial('the first packet to a host that has just come waits for no address resolution', async (t) => {
  await inBoxes(2, async (tor, server) => {
    cable(tor, 'A1', server, 'C1');
    const listener = packetSocket(server, 'C1');
    t.teardown(() => listener.close());
    await withKernel(tor, async (kernel) => {
      await upAndThere(kernel, 'A1');
      tor.ip('addr add 192.0.2.1/32 dev lo');
      kernel.hostRoutes().apply(announce(host('10.10.10.2', kernel.port('A1')!)));
      const sender = LinuxSocket.open({ family: AF.INET, type: SOCK.DGRAM, protocol: UDP, netns: tor.netns });
      t.teardown(() => sender.close());
      sender.send({ data: Buffer.from('first'), to: { family: 'ipv4', address: '10.10.10.2', port: 9 } });
      const frames: Buffer[] = [];
      const aboutHost = () => frames.filter((frame) => frame.readUInt16BE(12) === 0x0806 || frame.includes('first'));
      await eventually(() => {
        frames.push(...listener.receiveBatch().map(({ data }) => data));
        return aboutHost().length > 0;
      });
      t.is(aboutHost()[0]!.readUInt16BE(12), 0x0800, 'IPv4 at once, no ARP before it');
      t.is(aboutHost()[0]!.toString('hex', 0, 6), '020000000002');
    });
  });
});

test.serial('a port that is down refuses its hosts: counted, no harm, and mended when it comes up', async (t) => {
  await inBoxes(2, async (tor, servers) => {
    cable(tor, 'A1', servers, 'C1');
    cable(tor, 'A2', servers, 'C2');
    await withKernel(tor, async (kernel) => {
      await upAndThere(kernel, 'A1', 'A2');
      const routes = kernel.hostRoutes();
      const port = kernel.port('A1')!;
      tor.ip('link set A1 down');
      routes.apply(announce(host('10.10.10.2', port), host('10.10.10.7', kernel.port('A2')!)));
      await routes.settled();
      t.true(routes.counters()['RTM_NEWROUTE ENETDOWN']! > 0);
      t.regex(tor.ip('route show proto 201'), /^10.10.10.7 dev A2[^\n]*\n$/);
      await eventually(() => kernel.port('A1')!.adminUp === false);
      tor.ip('link set A1 up');
      await eventually(() => tor.ip('route show proto 201').includes('10.10.10.2 dev A1'));

      // The kernel drops the routes of a port that is set down, without telling; withdrawn then, there is nothing left.
      tor.ip('link set A1 down');
      t.notRegex(tor.ip('route show proto 201'), /10.10.10.2/);
      routes.apply(withdraw('10.10.10.2'));
      await routes.settled();
      t.is(routes.counters()['RTM_DELROUTE ESRCH'], 1);
      tor.ip('link set A1 up');
      await upAndThere(kernel, 'A1');
      t.notRegex(tor.ip('route show proto 201'), /10.10.10.2/);
    });
  });
});

test.serial(
  'a restarted agent adopts its routes: equal ones are not touched, stale ones go, missing ones come',
  async (t) => {
    await inBoxes(2, async (tor, servers) => {
      cable(tor, 'A1', servers, 'C1');
      cable(tor, 'A2', servers, 'C2');
      tor.ip('route add 10.10.10.50/32 dev A1 proto static');
      await withKernel(tor, async (kernel) => {
        await upAndThere(kernel, 'A1', 'A2');
        const port = kernel.port('A1')!;
        const routes = kernel.hostRoutes();
        routes.apply(
          announce(...['10.10.10.2', '10.10.10.3', '10.10.10.4', 'fd00::2', 'fd00::3'].map((each) => host(each, port))),
        );
        await routes.ensureUnreachable([prefix('10.10.10.0/24')]);
      });
      await withKernel(tor, async (kernel) => {
        const [one, two] = [kernel.port('A1')!, kernel.port('A2')!];
        const routes = kernel.hostRoutes();
        t.deepEqual(
          (await routes.adopt()).map(({ address, ifindex }) => [address as string, ifindex]).sort(),
          ['10.10.10.2', '10.10.10.3', '10.10.10.4', 'fd00::2', 'fd00::3'].map((each) => [each, one.ifindex]),
        );
        const watcher = await Subscription.open({ netns: tor.netns, kinds: ['route'] });
        t.teardown(() => watcher.close());
        const touched: Change[] = [];
        watcher.onChange((change) => touched.push(change));
        const report = await routes.reconcile([
          host('10.10.10.2', one),
          host('10.10.10.3', two),
          host('10.10.10.9', two),
          host('fd00::2', one),
        ]);
        t.deepEqual(report, { kept: 2, added: 2, removed: 2, failed: 0 });
        const ours = tor.ip('route show proto 201') + tor.ip('-6 route show proto 201');
        t.deepEqual(
          ours.split('\n').map((line) => line.split(' ').slice(0, 3).join(' ')),
          [
            'unreachable 10.10.10.0/24 metric',
            '10.10.10.2 dev A1',
            '10.10.10.3 dev A2',
            '10.10.10.9 dev A2',
            'fd00::2 dev A1',
            '',
          ],
        );
        t.is(tor.ip('neigh show 10.10.10.4'), '');
        t.regex(tor.ip('neigh show 10.10.10.3'), /^10.10.10.3 dev A2[^\n]*\n$/);
        await eventually(() => JSON.stringify(touched).includes('10.10.10.4/32'));
        t.false(JSON.stringify(touched).includes('10.10.10.2/32'), 'an equal route was touched');
        t.regex(tor.ip('route show'), /10.10.10.50 dev A1 proto static/);
      });
    });
  },
);

test.serial('what apply brings while a reconciliation is under way stays in force', async (t) => {
  await inBoxes(2, async (tor, servers) => {
    cable(tor, 'A1', servers, 'C1');
    await withKernel(tor, async (kernel) => {
      await upAndThere(kernel, 'A1');
      const port = kernel.port('A1')!;
      const routes = kernel.hostRoutes();
      const wanted = Array.from({ length: 1200 }, (_, index) => host(`10.10.${index >> 8}.${index & 255}`, port));
      const reconciled = routes.reconcile(wanted);
      routes.apply({ withdrawn: [wanted[1199]!.address, wanted[0]!.address], announced: [host('10.99.0.1', port)] });
      await reconciled;
      await routes.settled();
      const installed = (await routes.adopt()).map(({ address }) => address as string);
      t.is(installed.length, 1199);
      t.true(installed.includes('10.99.0.1'));
      t.false(installed.includes('10.10.4.175') || installed.includes('10.10.0.0'));
    });
  });
});

test.serial(
  'R4.7 unreachable routes stand for the prefixes while we serve them and are gone when we leave',
  async (t) => {
    await inBoxes(2, async (tor, servers) => {
      cable(tor, 'A1', servers, 'C1');
      tor.ip('addr add 192.0.2.1/24 dev A1');
      tor.ip('route add default via 192.0.2.254');
      await withKernel(tor, async (kernel) => {
        await upAndThere(kernel, 'A1');
        const routes = kernel.hostRoutes();
        await routes.ensureUnreachable([prefix('10.10.10.0/24'), prefix('10.10.20.0/24'), prefix('fd00:10::/64')]);
        routes.apply(announce(host('10.10.10.2', kernel.port('A1')!)));
        t.throws(() => tor.ip('route get 10.10.10.99'), { message: /No route to host|unreachable/ });
        t.regex(tor.ip('route get 10.10.10.2'), /dev A1/);
        t.regex(tor.ip('-6 route show proto 201'), /^unreachable fd00:10::\/64/);
        await routes.ensureUnreachable([prefix('10.10.10.0/24')]);
        t.regex(tor.ip('route get 10.10.20.99'), /via 192.0.2.254/);
        t.is(tor.ip('-6 route show proto 201'), '');

        await routes.leave({ keepHosts: true });
        t.regex(tor.ip('route show proto 201'), /^10.10.10.2 dev A1[^\n]*\n$/);
        await routes.leave();
        t.is(tor.ip('route show proto 201'), '');
        t.is(tor.ip('neigh show 10.10.10.2'), '');
        t.regex(tor.ip('route get 10.10.10.99'), /via 192.0.2.254/);
      });
    });
  },
);

test.serial('R4.2 another table and protocol number for a daemon that takes the routes over', async (t) => {
  await inBoxes(2, async (tor, servers) => {
    cable(tor, 'A1', servers, 'C1');
    await withKernel(tor, async (kernel) => {
      await upAndThere(kernel, 'A1');
      const routes = kernel.hostRoutes({ table: 1234, protocol: 77, metric: 5 });
      routes.apply(announce(host('10.10.10.2', kernel.port('A1')!)));
      t.regex(tor.ip('route show table 1234'), /^10.10.10.2 dev A1 proto 77 scope link metric 5/);
      t.is(tor.ip('route show proto 201'), '');
      await routes.leave();
      t.is(tor.ip('route show table 1234'), '');
    });
  });
});
