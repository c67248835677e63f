import test from 'ava';
import { encodeLsa, type Lsa, type LsaBody, LsaType, type RouterLink, RouterLinkType } from 'node-ospf-lsa';
import { RouteTable } from '../../src/ospf/machine/route-table.ts';
import { computeRoutes, type SpfInterface } from '../../src/ospf/machine/spf.ts';
import { ip } from './simulation.ts';

const US = ip('10.255.0.1');
const G = ip('10.255.0.254');
const FAR = ip('10.255.0.9');

function lsa(type: number, id: string, router: number, body: LsaBody, age = 1): Lsa {
  return encodeLsa(
    { age, options: 2, type, linkStateId: ip(id), advertisingRouter: router, sequence: -0x7fffffff },
    body,
  );
}

const p2p = (to: number, data: string, metric: number): RouterLink => ({
  linkId: to,
  linkData: ip(data),
  type: RouterLinkType.PointToPoint,
  metric,
  tos: [],
});
const transit = (dr: string, data: string, metric: number): RouterLink => ({
  linkId: ip(dr),
  linkData: ip(data),
  type: RouterLinkType.Transit,
  metric,
  tos: [],
});
const stub = (network: string, mask: string, metric: number): RouterLink => ({
  linkId: ip(network),
  linkData: ip(mask),
  type: RouterLinkType.Stub,
  metric,
  tos: [],
});
const router = (id: number, text: string, links: RouterLink[], flags = 2) =>
  lsa(LsaType.Router, text, id, { kind: 'router', flags, links });
const external = (
  id: string,
  mask: string,
  from: number,
  metric: number,
  metricType: 1 | 2 = 2,
  forwarding = '0.0.0.0',
  age = 1,
) =>
  lsa(
    LsaType.AsExternal,
    id,
    from,
    { kind: 'external', mask: ip(mask), metricType, metric, forwardingAddress: ip(forwarding), tag: 0, tos: [] },
    age,
  );

const i0: SpfInterface = {
  name: 'i0',
  address: ip('192.0.2.2'),
  ifindex: 1,
  neighbors: new Map([[G, ip('192.0.2.1')]]),
};
const i1: SpfInterface = {
  name: 'i1',
  address: ip('192.0.2.6'),
  ifindex: 2,
  neighbors: new Map([[G, ip('192.0.2.5')]]),
};

function routes(lsas: Lsa[], externals: Lsa[], interfaces = [i0, i1]) {
  const result = computeRoutes({ routerId: US, areas: [{ id: 0, interfaces, lsas }], externals });
  const table = new RouteTable();
  const changes = table.update(result, () => false);
  return new Map(
    changes.map(({ prefix, metric, nextHops }) => [
      prefix as string,
      `${metric} ${nextHops.map((hop) => `${hop.interface}:${hop.via}`).join(' ')}`,
    ]),
  );
}

const twoLinks = [
  router(US, '10.255.0.1', [
    p2p(G, '192.0.2.2', 10),
    stub('192.0.2.0', '255.255.255.252', 10),
    p2p(G, '192.0.2.6', 10),
    stub('192.0.2.4', '255.255.255.252', 10),
  ]),
  router(G, '10.255.0.254', [
    p2p(US, '192.0.2.1', 10),
    p2p(US, '192.0.2.5', 10),
    stub('192.0.2.0', '255.255.255.252', 10),
    stub('192.0.2.4', '255.255.255.252', 10),
    stub('10.255.0.254', '255.255.255.255', 0),
  ]),
];

test('equal paths over two uplinks are both next hops', (t) => {
  const found = routes(twoLinks, [external('0.0.0.0', '0.0.0.0', G, 5)]);
  t.is(found.get('0.0.0.0/0'), '5 i0:192.0.2.1 i1:192.0.2.5');
  t.is(found.get('10.255.0.254/32'), '10 i0:192.0.2.1 i1:192.0.2.5');
});

test('networks on our own links are left to the kernel', (t) => {
  const found = routes(twoLinks, []);
  t.false(found.has('192.0.2.0/30'));
  t.false(found.has('192.0.2.4/30'));
});

test('a link that only one side names is no link (§16.1 (2b))', (t) => {
  const oneSided = [twoLinks[0]!, router(G, '10.255.0.254', [stub('10.255.0.254', '255.255.255.255', 0)])];
  t.is(routes(oneSided, [external('0.0.0.0', '0.0.0.0', G, 5)]).size, 0);
});

test('E1 before E2; E2 by metric and then by distance; E1 by the sum (§16.4)', (t) => {
  const lsas = [
    router(US, '10.255.0.1', [p2p(G, '192.0.2.2', 10), p2p(FAR, '192.0.2.6', 50)]),
    router(G, '10.255.0.254', [p2p(US, '192.0.2.1', 10)]),
    router(FAR, '10.255.0.9', [p2p(US, '192.0.2.5', 50)]),
  ];
  const hops = [i0, { ...i1, neighbors: new Map([[FAR, ip('192.0.2.5')]]) }];
  const one = (externals: Lsa[]) => routes(lsas, externals, hops).get('10.9.0.0/16');
  const at = (from: number, metric: number, type: 1 | 2) => external('10.9.0.0', '255.255.0.0', from, metric, type);
  t.is(one([at(G, 5, 2), at(FAR, 900, 1)]), '950 i1:192.0.2.5');
  t.is(one([at(G, 20, 2), at(FAR, 19, 2)]), '19 i1:192.0.2.5');
  t.is(one([at(G, 20, 2), at(FAR, 20, 2)]), '20 i0:192.0.2.1');
  t.is(one([at(G, 20, 1), at(FAR, 1, 1)]), '30 i0:192.0.2.1');
});

test('a forwarding address is resolved: on our link directly, else along its route, else not at all', (t) => {
  const to = (forwarding: string) =>
    routes(twoLinks, [external('10.9.0.0', '255.255.0.0', G, 5, 2, forwarding)], [i0]).get('10.9.0.0/16');
  t.is(to('192.0.2.3'), '5 i0:192.0.2.3');
  t.is(to('10.255.0.254'), '5 i0:192.0.2.1');
  t.is(to('203.0.113.1'), undefined);
});

test('what is at MaxAge, at LSInfinity, or from a router out of reach gives no route', (t) => {
  t.is(routes(twoLinks, [external('10.9.0.0', '255.255.0.0', G, 5, 2, '0.0.0.0', 3600)]).get('10.9.0.0/16'), undefined);
  t.is(routes(twoLinks, [external('10.9.0.0', '255.255.0.0', G, 0xffffff)]).get('10.9.0.0/16'), undefined);
  t.is(routes(twoLinks, [external('10.9.0.0', '255.255.0.0', FAR, 5)]).get('10.9.0.0/16'), undefined);
});

test('across a broadcast network the next hop is the router, not the Designated Router', (t) => {
  const network = lsa(LsaType.Network, '192.0.2.1', G, {
    kind: 'network',
    mask: ip('255.255.255.248'),
    attachedRouters: [US, G, FAR],
  });
  const lsas = [
    network,
    router(US, '10.255.0.1', [transit('192.0.2.1', '192.0.2.2', 10)]),
    router(G, '10.255.0.254', [transit('192.0.2.1', '192.0.2.1', 10)]),
    router(FAR, '10.255.0.9', [transit('192.0.2.1', '192.0.2.3', 10), stub('10.7.0.0', '255.255.0.0', 3)]),
  ];
  const found = routes(lsas, [external('0.0.0.0', '0.0.0.0', G, 5)], [i0]);
  t.is(found.get('10.7.0.0/16'), '13 i0:192.0.2.3');
  t.is(found.get('0.0.0.0/0'), '5 i0:192.0.2.1');
  t.false(found.has('192.0.2.0/29'));
});

test('summaries: networks and border routers of other areas (§16.2)', (t) => {
  const summary = (type: number, id: string, mask: string, metric: number) =>
    lsa(type, id, G, { kind: 'summary', mask: ip(mask), metric, tos: [] });
  const lsas = [
    ...twoLinks,
    summary(LsaType.SummaryNetwork, '10.8.0.0', '255.255.0.0', 7),
    summary(LsaType.SummaryNetwork, '10.6.0.0', '255.255.0.0', 0xffffff),
    summary(LsaType.SummaryAsbr, '10.255.0.9', '0.0.0.0', 3),
  ];
  const found = routes(lsas, [external('10.9.0.0', '255.255.0.0', FAR, 5, 1)], [i0]);
  t.is(found.get('10.8.0.0/16'), '17 i0:192.0.2.1');
  t.false(found.has('10.6.0.0/16'));
  t.is(found.get('10.9.0.0/16'), '18 i0:192.0.2.1');
});

test('the table hands out differences, and no route for a host of ours', (t) => {
  const table = new RouteTable();
  const compute = (externals: Lsa[]) =>
    computeRoutes({ routerId: US, areas: [{ id: 0, interfaces: [i0], lsas: twoLinks }], externals });
  const a = external('10.10.10.1', '255.255.255.255', G, 20);
  const b = external('10.10.10.2', '255.255.255.255', G, 20);
  const ours = (network: number) => network === ip('10.10.10.2');
  t.deepEqual(
    table
      .update(compute([a, b]), ours)
      .map(({ prefix }) => prefix as string)
      .sort(),
    ['10.10.10.1/32', '10.255.0.254/32'],
  );
  t.deepEqual(table.update(compute([a, b]), ours), []);
  const gone = table.update(compute([b]), ours);
  t.is(gone.length, 1);
  t.like(gone[0], { prefix: '10.10.10.1/32', nextHops: [] });
});
