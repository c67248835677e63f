import { spawnSync } from 'node:child_process';
import test from 'ava';
import { NUD } from 'rtnetlink-ts';
import type { FdbEvent, NeighbourEvent } from '../../src/netlink/index.ts';
import {
  address,
  announce,
  cable,
  eventually,
  frameFrom,
  host,
  inBoxes,
  mac,
  packetSocket,
  upAndThere,
  withKernel,
} from './helpers.ts';

const SERVER_MAC = '02:00:00:00:01:02';

test.serial(
  'R4.1 a server that talks to the switch is discovered as a neighbour on its port, and lost with its link',
  async (t) => {
    await inBoxes(2, async (tor, server) => {
      cable(tor, 'A1', server, 'C1');
      tor.ip('addr add 10.10.10.254/24 dev A1');
      server.ip(`link set C1 address ${SERVER_MAC}`);
      server.ip('addr add 10.10.10.2/24 dev C1');
      await withKernel(tor, async (kernel) => {
        await upAndThere(kernel, 'A1');
        const { ifindex } = kernel.port('A1')!;
        const heard: NeighbourEvent[] = [];
        kernel.neighbours.onNeighbour((event) => heard.push(event));
        spawnSync('ip', ['netns', 'exec', server.netns, 'ping', '-c1', '-W1', '10.10.10.254']);
        await eventually(() => heard.some((event) => event.address === '10.10.10.2' && event.usable));
        const event = heard.find((each) => each.address === '10.10.10.2' && each.usable)!;
        t.like(event, { ifindex, mac: SERVER_MAC, deleted: false, own: false });
        t.like(kernel.neighbours.get(ifindex, address('10.10.10.2')), { mac: SERVER_MAC, usable: true });
        t.true([...kernel.neighbours.all(ifindex)].some((each) => each.address === '10.10.10.2'));
        t.is([...kernel.neighbours.all(ifindex + 100)].length, 0);
        t.true((await kernel.neighbours.read(ifindex)).some((each) => each.address === '10.10.10.2'));

        server.ip('link set C1 down');
        await eventually(() => heard.some((each) => each.address === '10.10.10.2' && each.deleted));
        t.is(kernel.neighbours.get(ifindex, address('10.10.10.2')), undefined);
        t.false(heard.at(-1)!.usable);
      });
    });
  },
);

test.serial('entries that we wrote are told apart, multicast entries are not told', async (t) => {
  await inBoxes(2, async (tor, server) => {
    cable(tor, 'A1', server, 'C1');
    await withKernel(tor, async (kernel) => {
      await upAndThere(kernel, 'A1');
      const heard: NeighbourEvent[] = [];
      kernel.neighbours.onNeighbour((event) => heard.push(event));
      const port = kernel.port('A1')!;
      kernel.hostRoutes().apply(announce(host('10.10.10.2', port)));
      tor.ip('neigh add 10.10.10.3 lladdr 02:00:00:00:00:03 dev A1 nud stale');
      await eventually(() => heard.some((event) => event.address === '10.10.10.3'));
      t.like(
        heard.find((event) => event.address === '10.10.10.2'),
        { own: true, state: NUD.REACHABLE },
      );
      t.like(
        heard.find((event) => event.address === '10.10.10.3'),
        { own: false, state: NUD.STALE },
      );
      t.false(heard.some((event) => event.address.startsWith('ff02') || event.address.startsWith('224.')));
    });
  });
});

test.serial('R4.1 the bridge port behind which a MAC was heard is known, and a move is followed', async (t) => {
  await inBoxes(2, async (tor, servers) => {
    cable(tor, 'A1', servers, 'C1');
    cable(tor, 'A2', servers, 'C2');
    tor.ip('link add br0 type bridge');
    for (const port of ['A1', 'A2']) tor.ip(`link set ${port} master br0`);
    tor.ip('link set br0 up');
    const senders = ['C1', 'C2'].map((name) => packetSocket(servers, name));
    t.teardown(() => {
      for (const sender of senders) sender.close();
    });
    await withKernel(tor, async (kernel) => {
      await upAndThere(kernel, 'A1', 'A2', 'br0');
      const moves: FdbEvent[] = [];
      kernel.fdb.onFdb((event) => moves.push(event));
      const bridge = kernel.port('br0')!.ifindex;
      const where = () => kernel.fdb.portOf(mac(SERVER_MAC), bridge)?.name;
      t.is(where(), undefined);
      const frame = frameFrom(SERVER_MAC);
      // The ports forward when the bridge has let them.
      await eventually(() => {
        senders[0]!.send({ data: frame });
        return where() === 'A1';
      });
      await eventually(() => {
        senders[1]!.send({ data: frame });
        return where() === 'A2';
      });
      const about = moves.filter((event) => event.mac === SERVER_MAC);
      t.like(about[0], { bridge, before: undefined, after: kernel.port('A1')!.ifindex });
      t.like(about.at(-1), { before: kernel.port('A1')!.ifindex, after: kernel.port('A2')!.ifindex });
      t.is(kernel.fdb.portOf(kernel.port('A1')!.mac!, bridge), undefined, "the switch's own address is behind no port");

      servers.ip('link set C2 down');
      await eventually(() => where() === undefined);
      t.is(moves.findLast((event) => event.mac === SERVER_MAC)?.after, undefined);
    });
    // A new agent finds what the bridge has learned before.
    senders[0]!.send({ data: frameFrom(SERVER_MAC) });
    await withKernel(tor, async (kernel) => {
      await eventually(() => kernel.fdb.portOf(mac(SERVER_MAC), kernel.port('br0')!.ifindex)?.name === 'A1');
      t.pass();
    });
  });
});
