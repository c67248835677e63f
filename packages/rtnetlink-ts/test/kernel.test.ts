import test from 'ava';
import {
  AF,
  BR_STATE,
  bridgeData,
  FR_ACT,
  ipTunnel,
  makeRoute,
  NetlinkError,
  NTF,
  NUD,
  RTN,
  Rtnetlink,
  readIpTunnel,
  requests,
  Subscription,
  vxlanData,
} from 'rtnetlink-ts';
import { eventually, inNamespace, vethPair } from './helpers.ts';

const IFA_F_NODAD = 0x02;
const MAC = '02:00:00:00:00:02';

const ownAddress = (ifindex: number, address: string) => ({
  family: address.includes(':') ? AF.INET6 : AF.INET,
  ifindex,
  address,
  prefixLength: address.includes(':') ? 64 : 24,
  scope: 0,
  flags: 0,
});

test.serial('links: a pair, a bridge and its port, a vxlan device are made, changed, read and removed', async (t) => {
  await inNamespace(async (netns, ip) => {
    const rtnetlink = Rtnetlink.open({ netns });
    t.teardown(() => rtnetlink.close());
    const [one] = await vethPair(rtnetlink, 'A1', 'C1');
    t.like(one, { name: 'A1', kind: 'veth', up: true, carrier: true });
    await rtnetlink.addLink({
      name: 'br0',
      kind: 'bridge',
      up: true,
      kindData: bridgeData({ ageingSeconds: 60, spanningTree: false }),
    });
    const bridge = (await rtnetlink.getLink({ name: 'br0' }))!;
    await rtnetlink.setLink({ ifindex: one.ifindex, master: bridge.ifindex, mtu: 9000, alias: 'to C1' });
    await rtnetlink.setBridgePort(one.ifindex, { isolated: true, learning: false });
    const port = (await rtnetlink.getLink({ name: 'A1' }))!;
    t.like(port, {
      mtu: 9000,
      master: bridge.ifindex,
      alias: 'to C1',
      bridgePort: { isolated: true, learning: false },
    });
    await rtnetlink.setBridgePort(one.ifindex, { isolated: false, state: BR_STATE.DISABLED });
    t.like(rtnetlink.getLinkNow({ ifindex: one.ifindex })?.bridgePort, { isolated: false, state: BR_STATE.DISABLED });
    t.deepEqual(
      (await rtnetlink.dumpBridgePorts()).map(({ name }) => name),
      ['A1'],
    );
    t.deepEqual(
      (await rtnetlink.dumpLinks({ master: bridge.ifindex })).map(({ name }) => name),
      ['A1'],
    );
    t.regex(ip('-d link show br0'), /ageing_time 6000 .*stp_state 0|stp_state 0 .*ageing_time 6000/);

    const settings = { id: 100, local: '10.0.0.1', group: '10.0.0.2', port: 4790, learning: false };
    await rtnetlink.addLink({ name: 'vx0', kind: 'vxlan', kindData: vxlanData(settings) });
    t.regex(ip('-d link show vx0'), /vxlan id 100 remote 10.0.0.2 local 10.0.0.1 .*dstport 4790.*nolearning/);

    await rtnetlink.setLink({ ifindex: one.ifindex, up: true });
    const [asked, other] = [one.ifindex, (await rtnetlink.getLink({ name: 'C1' }))!.ifindex];
    const each = [asked, 9_999, other, bridge.ifindex];
    const carriers = each.map((ifindex) => rtnetlink.getLinkNow({ ifindex })?.carrier);
    t.deepEqual(rtnetlink.carriersNow(each), carriers);
    t.is(carriers[1], undefined, 'there is no such link');
    t.deepEqual(rtnetlink.carriersNow(Array.from({ length: 100 }, () => each).flat()).slice(-4), carriers);
    t.deepEqual(rtnetlink.carriersNow([]), []);
    t.is(rtnetlink.counters.stray, 0);

    await rtnetlink.deleteLink({ ifindex: one.ifindex });
    t.is(await rtnetlink.getLink({ name: 'A1' }), undefined);
    t.is(await rtnetlink.getLink({ name: 'C1' }), undefined);
  });
});

test.serial('addresses and neighbours, IPv4 and IPv6, are added, read and removed', async (t) => {
  await inNamespace(async (netns, ip) => {
    const rtnetlink = Rtnetlink.open({ netns });
    t.teardown(() => rtnetlink.close());
    const [{ ifindex }] = await vethPair(rtnetlink, 'A1', 'C1');
    await rtnetlink.addAddress(ownAddress(ifindex, '10.0.0.1'));
    await rtnetlink.addAddress(ownAddress(ifindex, 'fd00::1'));
    const addresses = (await rtnetlink.dumpAddresses({ ifindex })).map(({ address }) => address);
    t.true(addresses.includes('10.0.0.1') && addresses.includes('fd00::1') && !addresses.includes('127.0.0.1'));
    for (const [family, destination] of [[AF.INET, '10.0.0.2'] as const, [AF.INET6, 'fd00::2'] as const]) {
      const state = NUD.REACHABLE;
      await rtnetlink.setNeighbour({ family, ifindex, destination, linkAddress: MAC, state, flags: NTF.EXT_LEARNED });
      const [found] = (await rtnetlink.dumpNeighbours({ ifindex, family })).filter(
        (each) => each.destination === destination,
      );
      t.like(found, { linkAddress: MAC, state, flags: NTF.EXT_LEARNED });
      t.regex(ip(`neigh show ${destination} dev A1`), new RegExp(`${MAC} extern_learn REACHABLE`));
      await rtnetlink.deleteNeighbour({ family, ifindex, destination });
      t.is(ip(`neigh show ${destination} dev A1`), '');
    }
    await rtnetlink.deleteAddress(ownAddress(ifindex, '10.0.0.1'));
    t.notRegex(ip('addr show dev A1'), /10\.0\.0\.1/);
  });
});

test.serial('the forwarding database of a bridge is read by bridge and by port', async (t) => {
  await inNamespace(async (netns) => {
    const rtnetlink = Rtnetlink.open({ netns });
    t.teardown(() => rtnetlink.close());
    await rtnetlink.addLink({ name: 'br0', kind: 'bridge', up: true });
    const bridge = (await rtnetlink.getLink({ name: 'br0' }))!.ifindex;
    const ports: number[] = [];
    for (const name of ['A1', 'A2']) {
      const [{ ifindex }] = await vethPair(rtnetlink, name, `C${name}`);
      await rtnetlink.setLink({ ifindex, master: bridge });
      ports.push(ifindex);
    }
    const entry = { family: AF.BRIDGE, linkAddress: MAC, state: NUD.NOARP, flags: NTF.MASTER };
    await rtnetlink.setNeighbour({ ...entry, ifindex: ports[0]! });
    const of = async (filter: { bridge?: number; ifindex?: number }) =>
      (await rtnetlink.dumpFdb(filter)).filter((each) => each.linkAddress === MAC).map(({ ifindex }) => ifindex);
    t.deepEqual(await of({ bridge }), [ports[0]!]);
    t.deepEqual(await of({ ifindex: ports[0]! }), [ports[0]!]);
    t.deepEqual(await of({ ifindex: ports[1]! }), []);
    await rtnetlink.setNeighbour({ ...entry, ifindex: ports[1]! });
    t.deepEqual(await of({ bridge }), [ports[1]!]);
    await rtnetlink.deleteNeighbour({ ...entry, ifindex: ports[1]! });
    t.deepEqual(await of({}), []);
  });
});

test.serial('routes with one, several and no next hops, next-hop objects, look-ups', async (t) => {
  await inNamespace(async (netns, ip) => {
    const rtnetlink = Rtnetlink.open({ netns });
    t.teardown(() => rtnetlink.close());
    const [{ ifindex }] = await vethPair(rtnetlink, 'A1', 'C1');
    await rtnetlink.addAddress(ownAddress(ifindex, '10.0.0.1'));
    await rtnetlink.addAddress(ownAddress(ifindex, 'fd00::1'));
    const hops = [{ gateway: '10.0.0.2' }, { gateway: '10.0.0.3', weight: 3 }];
    const multipath = makeRoute({ destination: '10.1.0.0/16', protocol: 202, metric: 20, nextHops: hops });
    await rtnetlink.setRoute(multipath);
    await rtnetlink.setRoute(
      makeRoute({
        destination: 'fd01::/64',
        protocol: 202,
        nextHops: [{ gateway: 'fd00::2' }, { gateway: 'fd00::3' }],
      }),
    );
    await rtnetlink.setRoute(makeRoute({ destination: '10.2.0.9/32', protocol: 201, nextHops: [{ ifindex }] }));
    await rtnetlink.setRoute(
      makeRoute({ destination: '10.3.0.0/16', protocol: 201, type: RTN.BLACKHOLE, nextHops: [] }),
    );
    await rtnetlink.setRoute(makeRoute({ destination: '10.4.0.0/16', nextHops: [{ gateway: 'fd00::2', ifindex }] }));
    await rtnetlink.setRoute(
      makeRoute({ destination: '10.5.0.0/16', table: 1000, nextHops: [{ ifindex }], mtu: 1400 }),
    );

    t.deepEqual(
      (await rtnetlink.dumpRoutes({ family: AF.INET, protocol: 201 })).map(({ destination, type }) => [
        destination,
        type,
      ]),
      [
        ['10.2.0.9/32', RTN.UNICAST],
        ['10.3.0.0/16', RTN.BLACKHOLE],
      ],
    );
    const [six] = await rtnetlink.dumpRoutes({ family: AF.INET6, protocol: 202 });
    t.deepEqual(
      six?.nextHops.map(({ gateway }) => gateway),
      ['fd00::2', 'fd00::3'],
    );
    t.like((await rtnetlink.dumpRoutes({ family: AF.INET, table: 1000 }))[0], {
      destination: '10.5.0.0/16',
      mtu: 1400,
    });
    t.deepEqual(await rtnetlink.dumpRoutes({ family: AF.INET, table: 4711 }), []);
    t.regex(ip('route show 10.4.0.0/16'), /via inet6 fd00::2 dev A1/);
    t.regex(ip('route show 10.1.0.0/16'), /via 10.0.0.2 dev A1 weight 1.*via 10.0.0.3 dev A1 weight 3/s);

    t.true(['10.0.0.2', '10.0.0.3'].includes((await rtnetlink.getRoute('10.1.2.3'))!.nextHops[0]!.gateway!));
    t.is((await rtnetlink.getRoute('10.1.2.3', { match: true }))!.destination, '10.1.0.0/16');
    t.true(['10.0.0.2', '10.0.0.3'].includes(rtnetlink.getRouteNow('10.1.2.3')!.nextHops[0]!.gateway!));
    t.is(rtnetlink.getRouteNow('192.0.2.9'), undefined);
    t.like(await rtnetlink.getRoute('fd00::77'), { family: AF.INET6, nextHops: [{ ifindex }] });
    await t.throwsAsync(rtnetlink.getRoute('192.0.2.9'), { instanceOf: NetlinkError, code: 'ENETUNREACH' });

    await rtnetlink.setNextHop({ id: 5, family: AF.INET, protocol: 201, gateway: '10.0.0.2', ifindex });
    await rtnetlink.setNextHop({ id: 6, family: AF.UNSPEC, protocol: 201, group: [{ id: 5, weight: 2 }] });
    await rtnetlink.setRoute(makeRoute({ destination: '10.6.0.0/16', nextHops: [], nextHopId: 6 }));
    t.like((await rtnetlink.dumpNextHops({ groupsOnly: true }))[0], { id: 6, group: [{ id: 5, weight: 2 }] });
    t.is((await rtnetlink.dumpNextHops({ ifindex })).length, 1);
    t.regex(ip('route show 10.6.0.0/16'), /nhid 6/);
    await rtnetlink.deleteNextHop(6);
    t.is(ip('route show 10.6.0.0/16'), '');

    await rtnetlink.deleteRoute({ ...multipath, nextHops: [] });
    t.is(ip('route show 10.1.0.0/16'), '');
  });
});

test.serial('a route into a tunnel is what ip route calls encap ip', async (t) => {
  await inNamespace(async (netns, ip) => {
    const rtnetlink = Rtnetlink.open({ netns });
    t.teardown(() => rtnetlink.close());
    const kindData = vxlanData({ external: true, gpe: true, port: 4790 });
    await rtnetlink.addLink({ name: 'rep0', kind: 'vxlan', kindData });
    await rtnetlink.setLink({ name: 'rep0', up: true });
    const { ifindex } = (await rtnetlink.getLink({ name: 'rep0' }))!;
    const encapsulation = ipTunnel({ id: 7, source: '10.255.0.1', destination: '10.255.0.2' });
    const route = makeRoute({ destination: '10.10.10.2/32', nextHops: [{ ifindex, encapsulation }] });
    await rtnetlink.setRoute(route);
    t.regex(ip('route show'), /^10.10.10.2 +encap ip id 7 src 10.255.0.1 dst 10.255.0.2 .*dev rep0/);
    const [read] = await rtnetlink.dumpRoutes({ family: AF.INET, oif: ifindex });
    t.is(read!.nextHops[0]!.encapsulation!.type, encapsulation.type);
    // What was read can be written back.
    await rtnetlink.deleteRoute(read!);
    await rtnetlink.setRoute(read!, 'create');
    t.regex(ip('route show'), /encap ip id 7 src 10.255.0.1 dst 10.255.0.2/);
  });
});

test.serial(
  'next-hop objects: one message moves all routes of one, also into a tunnel; groups, black holes',
  async (t) => {
    await inNamespace(async (netns, ip) => {
      const rtnetlink = Rtnetlink.open({ netns });
      t.teardown(() => rtnetlink.close());
      const subscription = await Subscription.open({ netns, kinds: ['nexthop'] });
      t.teardown(() => subscription.close());
      const told: string[] = [];
      subscription.onChange(({ kind, before, after }) => {
        if (kind === 'nexthop') told.push(`${(after ?? before)!.id} ${before ? (after ? 'change' : 'gone') : 'new'}`);
      });
      await rtnetlink.addLink({
        name: 'rep0',
        kind: 'vxlan',
        kindData: vxlanData({ external: true, gpe: true, port: 4790 }),
      });
      await rtnetlink.setLink({ name: 'rep0', up: true });
      const rep0 = (await rtnetlink.getLink({ name: 'rep0' }))!.ifindex;
      const [{ ifindex }] = await vethPair(rtnetlink, 'A1', 'C1');
      await rtnetlink.addAddress(ownAddress(ifindex, '192.0.2.1'));
      await rtnetlink.addAddress({ ...ownAddress(ifindex, 'fd00::1'), flags: IFA_F_NODAD });

      const four = { id: 4, family: AF.INET, protocol: 201, gateway: '192.0.2.2', ifindex };
      const six = { id: 6, family: AF.INET6, protocol: 201, gateway: 'fd00::2', ifindex };
      const pair = [four, { ...four, id: 5, gateway: '192.0.2.3' }];
      for (const each of [...pair, six]) await rtnetlink.setNextHop(each, 'create');
      await t.throwsAsync(rtnetlink.setNextHop(four, 'create'), { code: 'EEXIST' });
      const group = { id: 9, family: AF.UNSPEC, protocol: 201, group: pair.map(({ id }) => ({ id, weight: 1 })) };
      await rtnetlink.setNextHop(group);
      const hosts = Array.from({ length: 300 }, (_, index) => `10.1.${index >> 8}.${index & 255}/32`);
      const routes = [
        ...hosts.map((destination) => makeRoute({ destination, nextHops: [], nextHopId: 4 })),
        makeRoute({ destination: 'fd01::/64', nextHops: [], nextHopId: 6 }),
        makeRoute({ destination: '10.9.0.0/16', nextHops: [], nextHopId: 9 }),
      ];
      t.deepEqual((await rtnetlink.batch(routes.map((route) => requests.setRoute(route)))).refused, []);
      const all = await rtnetlink.dumpNextHops();
      t.deepEqual(
        all.map(({ id, protocol }) => [id, protocol]),
        [4, 5, 6, 9].map((id) => [id, 201]),
      );
      t.like(all[2], six);
      t.is(
        (await rtnetlink.dumpRoutes({ family: AF.INET6, oif: ifindex, table: 254 })).find((each) => each.nextHopId)
          ?.nextHopId,
        6,
      );

      const tunnel = { id: 7, source: '10.255.0.1', destination: '10.255.0.2', ttl: 64 };
      for (const family of [AF.INET, AF.INET6]) {
        const id = family === AF.INET ? 4 : 6;
        await rtnetlink.setNextHop(
          { id, family, protocol: 201, ifindex: rep0, encapsulation: ipTunnel(tunnel) },
          'change',
        );
      }
      t.regex(ip('nexthop show id 4'), /encap ip id 7 src 10.255.0.1 dst 10.255.0.2 ttl 64 .*dev rep0/);
      for (const object of [4, 6]) {
        const [read] = (await rtnetlink.dumpNextHops({ ifindex: rep0 })).filter(({ id }) => id === object);
        t.deepEqual(readIpTunnel(read!.encapsulation!), tunnel);
      }
      const moved = await rtnetlink.dumpRoutes({ family: AF.INET, oif: rep0 });
      t.is(moved.filter(({ nextHopId }) => nextHopId === 4).length, hosts.length);
      t.is(
        (await rtnetlink.dumpRoutes({ family: AF.INET6, oif: rep0, table: 254 })).find((each) => each.nextHopId)
          ?.nextHopId,
        6,
      );

      const nothing = { id: 4, family: AF.INET, protocol: 201, blackhole: true };
      await t.throwsAsync(rtnetlink.setNextHop(nothing), { code: 'EINVAL', message: /member of a group/ });
      await rtnetlink.deleteNextHop(9);
      await rtnetlink.setNextHop(nothing);
      await t.throwsAsync(rtnetlink.getRoute('10.1.0.7'), { code: 'EINVAL' });
      t.like(
        (await rtnetlink.dumpNextHops()).find(({ id }) => id === 4),
        { blackhole: true },
      );

      await t.throwsAsync(rtnetlink.setNextHop({ ...four, id: 44 }, 'change'), { code: 'ENOENT' });
      await t.throwsAsync(rtnetlink.deleteNextHop(44), { code: 'ENOENT' });
      for (const { id } of [...pair, six]) await rtnetlink.deleteNextHop(id);
      t.notRegex(ip('route show') + ip('-6 route show'), /nhid/);
      await eventually(() => told.filter((each) => each.endsWith('gone')).length >= 4);
      t.deepEqual(
        told.filter((each) => each.startsWith('6 ')),
        ['6 new', '6 change', '6 gone'],
      );
    });
  },
);

test.serial('rules are added, read and removed', async (t) => {
  await inNamespace(async (netns, ip) => {
    const rtnetlink = Rtnetlink.open({ netns });
    t.teardown(() => rtnetlink.close());
    const rule = {
      family: AF.INET,
      action: FR_ACT.TO_TBL,
      table: 1000,
      priority: 100,
      inputInterface: 'rep0',
      source: '10.0.0.0/8',
    };
    await rtnetlink.addRule(rule);
    const found = (await rtnetlink.dumpRules({ family: AF.INET })).find(({ priority }) => priority === 100);
    t.like(found, rule);
    t.regex(ip('rule show'), /100:\s+from 10.0.0.0\/8 iif rep0 .*lookup 1000/);
    // What comes out of the tunnel and is not in the table goes no further.
    const nothing = {
      family: AF.INET6,
      action: FR_ACT.BLACKHOLE,
      table: 0,
      priority: 101,
      inputInterface: 'rep0',
      protocol: 201,
    };
    await rtnetlink.addRule(nothing);
    t.like(
      (await rtnetlink.dumpRules({ family: AF.INET6 })).find(({ priority }) => priority === 101),
      nothing,
    );
    t.regex(ip('-6 rule show'), /101:\s+from all iif rep0 .*blackhole/);
    await t.throwsAsync(rtnetlink.addRule(nothing), { code: 'EEXIST' });
    for (const each of [rule, nothing]) await rtnetlink.deleteRule(each);
    t.notRegex(ip('rule show') + ip('-6 rule show'), /rep0/);
    await t.throwsAsync(rtnetlink.deleteRule(rule), { code: 'ENOENT' });
  });
});
