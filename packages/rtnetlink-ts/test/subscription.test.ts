import { execFileSync } from 'node:child_process';
import test from 'ava';
import { LinuxSocket, SystemCallError } from 'linux-sockets';
import {
  AF,
  type Change,
  makeRoute,
  NetlinkError,
  NTF,
  NUD,
  Rtnetlink,
  requests,
  Subscription,
  vethPeer,
} from 'rtnetlink-ts';
import { READ } from '../src/kinds.ts';
import { eventually, inNamespace } from './helpers.ts';

const macOf = (index: number) =>
  `02:00:00:${[index >> 16, (index >> 8) & 255, index & 255].map((octet) => octet.toString(16).padStart(2, '0')).join(':')}`;
const hostOf = (index: number) => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`;

test.serial('each kind of object is told as it comes, changes and goes', async (t) => {
  await inNamespace(async (netns, ip) => {
    const kinds = ['link', 'address', 'neighbour', 'fdb', 'route', 'rule', 'nexthop'] as const;
    const subscription = await Subscription.open({ netns, kinds });
    t.teardown(() => subscription.close());
    const told: Change[] = [];
    subscription.onChange((change) => told.push(change));
    const story = (kind: Change['kind'], about: string) =>
      told
        .filter((change) => change.kind === kind && JSON.stringify(change.after ?? change.before).includes(about))
        .map(({ before, after }) => (before ? (after ? 'change' : 'gone') : 'new'));
    ip('link add br0 type bridge');
    ip('link add A1 type veth peer name C1');
    ip('link set A1 master br0');
    for (const name of ['br0', 'A1', 'C1']) ip(`link set ${name} up`);
    ip('addr add 192.0.2.1/24 dev C1');
    ip(`neigh add 192.0.2.2 lladdr ${macOf(2)} dev C1 nud stale`);
    execFileSync('bridge', ['-n', netns, 'fdb', 'add', macOf(9), 'dev', 'A1', 'master', 'static']);
    ip('route add 10.0.0.0/8 via 192.0.2.2');
    ip('rule add iif A1 table 1000 priority 100');
    ip('nexthop add id 7 via 192.0.2.2 dev C1');
    ip('nexthop del id 7');
    ip('rule del priority 100');
    ip('route del 10.0.0.0/8');
    execFileSync('bridge', ['-n', netns, 'fdb', 'del', macOf(9), 'dev', 'A1', 'master']);
    ip('neigh del 192.0.2.2 dev C1');
    ip('addr del 192.0.2.1/24 dev C1');
    ip('link set A1 nomaster');
    ip('link del A1');
    await eventually(() => story('link', '"C1"').includes('gone') && story('link', '"A1"').includes('gone'));
    t.deepEqual(story('route', '10.0.0.0/8'), ['new', 'gone']);
    t.deepEqual(story('rule', '"priority":100').at(-1), 'gone');
    t.deepEqual(story('nexthop', '"id":7'), ['new', 'gone']);
    t.deepEqual(story('fdb', macOf(9)), ['new', 'gone']);
    t.is(story('neighbour', '192.0.2.2').at(0), 'new');
    t.is(story('neighbour', '192.0.2.2').at(-1), 'gone');
    t.deepEqual(story('address', '192.0.2.1'), ['new', 'gone']);
    // Leaving the bridge is a change of the port, not its end.
    t.deepEqual(story('link', '"A1"').filter((event) => event === 'gone').length, 1);
    t.true(told.some((change) => change.kind === 'link' && change.after?.name === 'A1' && change.after.bridgePort));
    t.false(told.some(({ resync }) => resync));
    t.deepEqual(subscription.counters.malformed, {});
  });
});

test.serial(
  'a rule goes although its interface came or went meanwhile, of which the kernel says nothing',
  async (t) => {
    await inNamespace(async (netns, ip) => {
      ip('rule add iif A1 table 1000 priority 100');
      const subscription = await Subscription.open({ netns, kinds: ['rule'] });
      t.teardown(() => subscription.close());
      const told: string[] = [];
      subscription.onChange(({ before, after }) => told.push(before ? (after ? 'change' : 'gone') : 'new'));
      ip('link add A1 type veth peer name C1');
      ip('rule del priority 100');
      ip('rule add iif A1 table 1000 priority 101');
      ip('link del A1');
      ip('rule del priority 101');
      await eventually(() => told.length >= 3);
      t.deepEqual(told, ['gone', 'new', 'gone']);
    });
  },
);

test('a kernel without IPv6 has no rules of it; rules that can not be read just now are not taken for none', async (t) => {
  const rule = { family: AF.INET, priority: 100 };
  const without = (code: string, errno: number) =>
    ({
      dumpRules: async ({ family }: { readonly family: number }) => {
        if (family === AF.INET) return [rule];
        throw new NetlinkError({ code, errno, extack: undefined, request: 'RTM_GETRULE' });
      },
    }) as unknown as Rtnetlink;
  t.deepEqual(await READ.rule(without('EAFNOSUPPORT', 97)), [rule]);
  t.deepEqual(await READ.rule(without('EOPNOTSUPP', 95)), [rule]);
  await t.throwsAsync(READ.rule(without('ENOBUFS', 105)), { message: /ENOBUFS/ });
});

test.serial(
  '50,000 neighbours added and removed behind a blocked subscriber: overruns, and nothing is missed in the end',
  async (t) => {
    await inNamespace(async (netns) => {
      const writer = Rtnetlink.open({ netns });
      t.teardown(() => writer.close());
      await writer.addLink({ name: 'A1', kind: 'veth', kindData: vethPeer({ name: 'C1' }) });
      for (const name of ['A1', 'C1']) await writer.setLink({ name, up: true });
      const { ifindex } = (await writer.getLink({ name: 'A1' }))!;
      const subscription = await Subscription.open({ netns, kinds: ['neighbour'], receiveBuffer: 128 * 1024 });
      t.teardown(() => subscription.close());
      const heard = new Map<string, string | undefined>();
      subscription.onChange(({ before, after }) => {
        const neighbour = (after ?? before) as { family: number; destination: string; linkAddress: string };
        if (neighbour.family === AF.INET) heard.set(neighbour.destination, after && neighbour.linkAddress);
      });
      const entry = (index: number, mac = index) => ({
        family: AF.INET,
        ifindex,
        destination: hostOf(index),
        linkAddress: macOf(mac),
        state: NUD.REACHABLE,
        // Counts against no garbage collection threshold.
        flags: NTF.EXT_LEARNED,
      });
      let resyncsTold = 0;
      subscription.onResync(() => resyncsTold++);
      const sight: string[] = [];
      subscription.onLost((reason) => sight.push(reason));
      subscription.onResync(() => sight.push('seen'));
      const count = 50_000;
      // sendNow works everything off before it returns: the subscriber's process is blocked meanwhile.
      const added = writer.sendNow(
        Array.from({ length: count }, (_, index) => requests.setNeighbour(entry(index + 1))),
      );
      t.deepEqual((await added).refused, []);
      await eventually(() => subscription.table('neighbour').size >= count);
      // Notifications alone may have told of the last ones while what was lost is still being read.
      await subscription.synchronized();
      t.true(subscription.counters.overruns > 0, 'the flood was to overrun the buffer');
      t.true(subscription.counters.resyncs > 1);
      // The first picture, read by open, is none.
      t.is(resyncsTold, subscription.counters.resyncs - 1);
      // A loss is told once, and ends with the resync that makes it good, however often the dump is spoiled.
      t.true(sight.length >= 2 && sight.length % 2 === 0);
      for (const [index, told] of sight.entries()) {
        t.is(told, index % 2 === 0 ? 'the kernel dropped notifications' : 'seen');
      }

      const overruns = subscription.counters.overruns;
      const removed = writer.sendNow(
        Array.from({ length: count }, (_, index) =>
          index % 2 === 0
            ? requests.deleteNeighbour({ family: AF.INET, ifindex, destination: hostOf(index + 1) })
            : requests.setNeighbour(entry(index + 1, index + 2)),
        ),
      );
      t.deepEqual((await removed).refused, []);
      await eventually(() => subscription.counters.overruns > overruns);
      await subscription.synchronized();
      const settled = async () => {
        const kernel = new Map(
          (await writer.dumpNeighbours({ family: AF.INET })).map((each) => [each.destination, each.linkAddress]),
        );
        const mirror = new Map(
          [...subscription.table('neighbour').values()]
            .filter(({ family }) => family === AF.INET)
            .map((each) => [each.destination, each.linkAddress]),
        );
        return { kernel, mirror };
      };
      const { kernel, mirror } = await settled();
      const own = [...kernel.keys()].filter((destination) => destination?.startsWith('10.'));
      t.is(own.length, count / 2);
      t.is(mirror.size, kernel.size);
      t.deepEqual(
        [...kernel].filter(([destination, mac]) => mirror.get(destination) !== mac),
        [],
      );
      // Listeners were told every difference: what they heard adds up to the same table.
      for (const [destination, mac] of heard) t.is(mac, kernel.get(destination));
      t.is([...heard.values()].filter((mac) => mac !== undefined).length, kernel.size);
    });
  },
);

test.serial('a replaced device route leaves nothing behind in the mirror', async (t) => {
  await inNamespace(async (netns, ip) => {
    const subscription = await Subscription.open({ netns, kinds: ['route'] });
    const rtnetlink = Rtnetlink.open({ netns });
    t.teardown(() => subscription.close());
    t.teardown(() => rtnetlink.close());
    ip('link add A1 type veth peer name A2');
    for (const name of ['A1', 'A2']) ip(`link set ${name} up`);
    const [one, other] = await Promise.all([rtnetlink.getLink({ name: 'A1' }), rtnetlink.getLink({ name: 'A2' })]);
    const host = (ifindex: number) => makeRoute({ destination: '10.10.10.2/32', metric: 1, nextHops: [{ ifindex }] });
    const mirrored = () =>
      [...subscription.table('route').values()]
        .filter(({ destination }) => destination === '10.10.10.2/32')
        .map(({ nextHops }) => nextHops[0]?.ifindex);
    await rtnetlink.setRoute(host(one!.ifindex));
    await eventually(() => mirrored()[0] === one!.ifindex);
    await rtnetlink.setRoute(host(other!.ifindex));
    await eventually(() => mirrored().includes(other!.ifindex));
    t.deepEqual(mirrored(), [other!.ifindex]);
    await rtnetlink.deleteRoute(host(other!.ifindex));
    await eventually(() => mirrored().length === 0);
    t.pass();
  });
});

test.serial('whatever changes while overruns are mended, the mirror ends as the kernel', async (t) => {
  await inNamespace(async (netns) => {
    const writer = Rtnetlink.open({ netns });
    t.teardown(() => writer.close());
    await writer.addLink({ name: 'A1', kind: 'veth', kindData: vethPeer({ name: 'C1' }) });
    for (const name of ['A1', 'C1']) await writer.setLink({ name, up: true });
    const { ifindex } = (await writer.getLink({ name: 'A1' }))!;
    const subscription = await Subscription.open({ netns, kinds: ['neighbour', 'route'], receiveBuffer: 16 * 1024 });
    t.teardown(() => subscription.close());
    let seed = 20261121;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    const request = () => {
      const index = random(1500) + 1;
      const destination = hostOf(index);
      const route = makeRoute({ destination: `${destination}/32`, metric: random(2), nextHops: [{ ifindex }] });
      const neighbour = { family: AF.INET, ifindex, destination };
      const written = { ...neighbour, linkAddress: macOf(random(99)), state: NUD.REACHABLE, flags: NTF.EXT_LEARNED };
      switch (random(4)) {
        case 0:
          return requests.setNeighbour(written);
        case 1:
          return requests.deleteNeighbour(neighbour);
        case 2:
          return requests.setRoute(route);
        default:
          return requests.deleteRoute(route);
      }
    };
    for (let round = 0; round < 60; round++) {
      await writer.batch(Array.from({ length: random(800) + 1 }, request));
      // Turns in which notifications are read and dumps go on, between floods.
      for (let turn = random(6); turn > 0; turn--) await new Promise((resolve) => setTimeout(resolve, random(4)));
    }
    t.true(subscription.counters.overruns > 1);
    const kernel = async () => [
      ...(await writer.dumpNeighbours({ family: AF.INET })).map((each) => `${each.destination} ${each.linkAddress}`),
      ...(await writer.dumpRoutes({ family: AF.INET })).map(
        (each) => `${each.destination} ${each.metric} ${each.table}`,
      ),
    ];
    const mirror = () => [
      ...[...subscription.table('neighbour').values()]
        .filter(({ family }) => family === AF.INET)
        .map((each) => `${each.destination} ${each.linkAddress}`),
      ...[...subscription.table('route').values()]
        .filter(({ family }) => family === AF.INET)
        .map((each) => `${each.destination} ${each.metric} ${each.table}`),
    ];
    const expected = (await kernel()).sort();
    t.true(expected.length > 1000);
    await eventually(() => mirror().length === expected.length && mirror().sort().join() === expected.join());
    t.pass();
  });
});

test.serial('a socket that fails is replaced: the loss is told, and what happened meanwhile is found', async (t) => {
  await inNamespace(async (netns) => {
    const writer = Rtnetlink.open({ netns });
    t.teardown(() => writer.close());
    await writer.addLink({ name: 'A1', kind: 'veth', kindData: vethPeer({ name: 'C1' }) });
    const errors: unknown[] = [];
    const subscription = await Subscription.open({ netns, kinds: ['link'], onError: (error) => errors.push(error) });
    t.teardown(() => subscription.close());
    const sight: string[] = [];
    subscription.onLost((reason) => sight.push(reason));
    subscription.onResync(() => sight.push('seen'));
    const working = LinuxSocket.prototype.receiveBatch;
    LinuxSocket.prototype.receiveBatch = () => {
      throw new SystemCallError('recvmmsg', 5);
    };
    try {
      subscription.readNow();
    } finally {
      LinuxSocket.prototype.receiveBatch = working;
    }
    t.deepEqual(sight, ['the socket failed: EIO']);
    await writer.setLink({ name: 'A1', up: true });
    await subscription.synchronized();
    t.deepEqual(sight, ['the socket failed: EIO', 'seen']);
    t.is(errors.length, 1);
    const a1 = () => [...subscription.table('link').values()].find(({ name }) => name === 'A1');
    t.true(a1()?.up);
    await writer.setLink({ name: 'A1', up: false });
    await eventually(() => a1()?.up === false);
    t.pass('and the new socket hears');
  });
});
