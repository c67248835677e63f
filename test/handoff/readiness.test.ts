/** When a group may open its ports while another daemon speaks: what it has learned, and for how long that is waited for. */
import test from 'ava';
import { makeRoute, type Route } from 'rtnetlink-ts';
import { OutsideRoutes } from '../../src/agent/tor/outside-routes.ts';
import type { Port, PortChange } from '../../src/model/ports.ts';
import { VirtualClock } from '../hostroutes/clock.ts';

const BGP = 186;
const A0 = { name: 'A0', ifindex: 5, adminUp: true, carrier: true, addresses: [] } as unknown as Port;
const silent = () => undefined;
const way = (): Route =>
  makeRoute({ destination: '0.0.0.0/0', protocol: BGP, nextHops: [{ ifindex: 5, gateway: '192.0.2.1' }] });

test('R4.6 R4.10 routes that go again just as they are judged leave no port shut: the wait has an end', async (t) => {
  const clock = new VirtualClock();
  let tell: (event: { before: Route | undefined; after: Route | undefined }) => void = silent;
  let kernel: Route[] = [];
  const judged: boolean[] = [];
  const outside: OutsideRoutes = new OutsideRoutes({
    watch: {
      onRoute: (listener: typeof tell) => {
        tell = listener;
        return silent;
      },
      routes: async () => kernel,
    } as never,
    links: { port: () => A0, portByIndex: () => A0, ports: () => [A0], onChange: () => silent } as never,
    clock,
    log: { debug: silent, info: silent, warn: silent, error: silent },
    prefixes: () => [],
    downlinks: () => ['A1'],
    uplinks: () => ['A0'],
    own: new Set([201]),
    onForeignClaim: silent,
    onChange: () => judged.push(outside.readiness().ready),
  });
  const pass = async (ms: number): Promise<void> => {
    clock.advance(ms);
    await new Promise((resolve) => setImmediate(resolve));
  };
  await pass(100);
  outside.linkChanged({ name: 'A0', before: { ...A0, carrier: false }, after: A0, at: clock.now() } as PortChange);
  await pass(1_000);
  kernel = [way()];
  tell({ before: undefined, after: way() });
  await pass(4_900);
  kernel = [];
  tell({ before: way(), after: undefined });
  judged.length = 0;
  await pass(10_000);
  t.false(judged.includes(true), 'nothing is learned: not yet');
  // Nothing more is ever told.
  await pass(20_000);
  t.true(judged.at(-1), 'but not for ever');
  outside.close();
});
