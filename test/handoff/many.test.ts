/** Another daemon may have the routes of a whole fabric: a link that takes them along must not keep the loop for seconds. */
import test from 'ava';
import type { Route } from 'rtnetlink-ts';
import { OutsideRoutes } from '../../src/agent/tor/outside-routes.ts';
import type { Port, PortChange } from '../../src/model/ports.ts';
import type { RouteEvent, RouteWatch } from '../../src/netlink/index.ts';
import { VirtualClock } from '../hostroutes/clock.ts';
import { prefix } from '../netlink/helpers.ts';

const silent = () => undefined;
const open: Port = {
  name: 'A0',
  ifindex: 2,
  mac: undefined,
  mtu: 1500,
  adminUp: true,
  carrier: true,
  master: 0,
  kind: undefined,
  addresses: [],
};

const routeTo = (destination: string): Route =>
  ({
    family: 2,
    destination,
    table: 254,
    protocol: 186,
    type: 1,
    metric: 20,
    nextHops: [{ ifindex: 2, gateway: '192.0.2.1' }],
  }) as never;

test('R4.10 many routes that go together are one change, and a default route among them is told at once', async (t) => {
  const clock = new VirtualClock();
  let port = open;
  let changes = 0;
  let tell: (event: RouteEvent) => void = silent;
  const routes = Array.from({ length: 1_000 }, (_, index) => routeTo(`10.99.${index >> 6}.${(index & 63) * 4}/30`));
  const watch = {
    onRoute: (listener: typeof tell) => {
      tell = listener;
      return silent;
    },
    routes: async () => routes,
  } as unknown as RouteWatch;
  const outside = new OutsideRoutes({
    watch,
    links: {
      port: () => port,
      portByIndex: () => port,
      ports: () => [port],
      onChange: () => silent,
    },
    clock,
    log: { debug: silent, info: silent, warn: silent, error: silent },
    prefixes: () => [prefix('10.10.10.0/24')],
    downlinks: () => ['A1'],
    uplinks: () => ['A0'],
    own: new Set([201, 202, 203]),
    onForeignClaim: silent,
    onChange: () => {
      changes++;
    },
  });
  clock.advance(0);
  await new Promise(setImmediate);
  t.is(outside.counters().learned, 1_000);
  clock.advance(10);
  changes = 0;

  for (const before of routes.slice(0, 500)) tell({ before, after: undefined });
  t.is(changes, 0);
  clock.advance(0);
  t.is(changes, 1);

  tell({ before: undefined, after: routeTo('0.0.0.0/0') });
  t.is(changes, 2);
  t.true(outside.defaultRoute('A0'));

  const change: PortChange = { name: 'A0', before: open, after: { ...open, carrier: false }, at: clock.now() };
  port = change.after!;
  outside.linkChanged(change);
  t.is(changes, 3, 'the default route');
  t.false(outside.defaultRoute('A0'));
  clock.advance(0);
  t.is(changes, 4, 'the 500 others');
  t.is(outside.counters().learned, 0);
  outside.close();
});
