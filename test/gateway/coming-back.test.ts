/** R4.8: what a gateway's agent that was killed knew of its ways and its hosts, as the next one finds it. */
import test from 'ava';
import { makeRoute, type Route } from 'rtnetlink-ts';
import { KernelRoutes } from '../../src/agent/gateway/kernel-routes.ts';
import { GatewayMap, type RouteHop } from '../../src/gateway/index.ts';
import type { PortMap } from '../../src/gateway/machine/map.ts';
import type { Address } from '../../src/model/address.ts';
import type { LinkState, Port } from '../../src/model/ports.ts';
import type { RouteEvent } from '../../src/netlink/index.ts';
import { VirtualClock } from '../simulation/clock.ts';
import { Example, HISTORY, routerIdOf, SERVERS, START, UPLINK } from './support/example.ts';

const C4 = '10.10.10.2' as Address;
const VIA = '192.0.2.1' as Address;
const GROUP = 213385217;
const SILENT = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const PORT: Port = {
  ...{ name: 'ga', ifindex: 7, mac: undefined, mtu: 1500, adminUp: true, carrier: true },
  ...{ master: 0, kind: undefined, addresses: [] },
};
const LINKS: LinkState = {
  port: () => PORT,
  portByIndex: (ifindex) => (ifindex === PORT.ifindex ? PORT : undefined),
  ports: () => [PORT],
  onChange: () => () => {},
};
/** As the kernel names a route over a group when `nexthop_compat_mode` is 0. */
const ROUTE: Route = makeRoute({ destination: `${C4}/32`, table: 254, metric: 20, nextHops: [], nextHopId: GROUP });

function bench() {
  const clock = new VirtualClock();
  const ways: string[] = [];
  let listener: (event: RouteEvent) => void = () => {};
  const box = { hops: [] as { ifindex: number; via: Address }[], reading: (): void => {} };
  const routes = new KernelRoutes({
    watch: {
      onRoute: (hear) => {
        listener = hear;
        return () => {};
      },
      routes: async () => {
        box.reading();
        return [ROUTE];
      },
    },
    ...{ links: LINKS, clock, log: SILENT, table: 254 },
    hopsOf: (id) => (id === GROUP ? box.hops : []),
    onWay: (address, hops: readonly RouteHop[]) => ways.push(`${address} ${hops.map(({ via }) => via).join()}`),
  });
  return { clock, routes, ways, box, tell: (event: RouteEvent) => listener(event) };
}

test('R4.8 routes that change while they are read are known before anybody is heard', async (t) => {
  const { clock, routes, ways, box, tell } = bench();
  box.hops = [{ ifindex: 7, via: VIA }];
  let changes = 2;
  const other = makeRoute({ destination: '10.10.10.9/32', table: 254, nextHops: [{ ifindex: 7 }] });
  box.reading = () => {
    if (changes-- > 0) tell({ before: undefined, after: other });
  };
  await routes.start();
  t.true(ways.includes(`${C4} ${VIA}`));
  routes.close();
  t.is(clock.pending, 0);
});

test('R4.8 a route that is read before its next-hop group is known leads somewhere as soon as it is', async (t) => {
  const { routes, ways, box } = bench();
  await routes.start();
  t.deepEqual(ways, [`${C4} `]);
  box.hops = [{ ifindex: 7, via: VIA }];
  routes.moved();
  t.deepEqual(ways.slice(1), [`${C4} ${VIA}`]);
  routes.close();
});

test('R4.8 the sessions come back in any order, the routes are taken away and put back: it is the same stay', (t) => {
  const example = new Example().begin();
  example.wait(60_000);
  example.restart(5_000);
  const { since } = example.row(C4);
  example.nearEnd('A', true);
  example.nearEnd('B', true);
  example.route(C4, 'A');
  example.flush();
  example.say('B', 100);
  example.flush();
  // Replaced: two words of the kernel, one after the other.
  example.route(C4, undefined);
  example.route(C4, 'A');
  example.flush();
  // Gone and back before anybody was heard.
  example.route(C4, undefined);
  example.wait(100);
  example.route(C4, 'A');
  example.wait(100);
  // The route of the host comes before the facts of its switch, and is said anew in one breath.
  example.host('A', C4, 2);
  example.host('A', C4, 2, { up: false });
  example.host('A', C4, 2);
  example.flush();
  example.say('A', 100);
  example.say('A', 2);
  example.wait(60_000);
  t.is(example.text(C4), 'up ga up A A0 up A2 up');
  t.is(example.row(C4).since, since);
});

/** A map whose disk takes its time, and what was written when. */
function onDisk(takes: number) {
  const clock = new VirtualClock();
  const written: { readonly at: number; readonly text: string }[] = [];
  const map = new GatewayMap({
    ...{ history: HISTORY, clock, wallClock: () => START, log: SILENT, onNews: () => {} },
    store: {
      read: () => undefined,
      write: async (values) => {
        const text = JSON.stringify([...values]);
        await new Promise<void>((resolve) => clock.schedule(clock.now() + takes, resolve));
        written.push({ at: clock.now(), text });
      },
    },
  });
  const pass = async (ms: number) => {
    for (const end = clock.now() + ms; clock.now() < end; ) {
      const until = Math.min(end, clock.now() + 10);
      while (clock.step(until));
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { clock, map, written, pass };
}

for (const [takes, until] of [
  [400, 1_000],
  [3_000, 3_000],
] as const) {
  test(`R4.8 a disk that takes ${takes} ms: what changes is written ${until} ms later, not twenty times as long`, async (t) => {
    const { clock, map, written, pass } = onDisk(takes);
    const heard = (up: boolean) =>
      map.handle({
        ...{ type: 'host', source: 'bgp' },
        route: { address: C4, routerId: routerIdOf('A'), portIndex: 2, shadow: false, up },
      });
    heard(true);
    await pass(10_000);
    t.is(written.length, 1);
    const changed = clock.now();
    heard(false);
    await pass(10_000);
    t.is(written.length, 2);
    const later = written[1]!.at - changed;
    t.true(later <= until + takes + 50, `${later} ms`);
    t.true(later >= until + takes, `${later} ms: the disk has its rest`);
    await map.close();
  });
}

test('R4.8 a better reason for what has happened is written, too, although nothing else has changed', async (t) => {
  const { map, written, pass } = onDisk(0);
  const example = new Example();
  const handle: PortMap['handle'] = (event) => map.handle(event);
  example.map = { handle, flush: () => {} } as unknown as PortMap;
  example.begin();
  await pass(3_000);
  example.say('A', UPLINK, { addresses: [] });
  example.nearEnd('A', false);
  for (const { address, home, port } of SERVERS) {
    if (home !== 'A') continue;
    example.host('A', address, port, { up: false });
    example.route(address, undefined);
  }
  await pass(3_000);
  const { length } = written;
  t.notRegex(JSON.stringify(map.row(C4)), /lost carrier here/);
  example.say('A', UPLINK);
  await pass(1_500);
  t.regex(JSON.stringify(map.row(C4)), /ga lost carrier here/);
  t.is(written.length, length + 1);
  t.regex(written.at(-1)!.text, /"why":"ga lost carrier here, the way to A A0"/);
  await map.close();
});
