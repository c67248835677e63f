/** `upWhen: [default-route]` where the default route is somebody else's, against the kernel. */
import test from 'ava';
import { ForeignDefaults } from '../../src/agent/tor/foreign-defaults.ts';
import { Handoff } from '../../src/agent/tor/handoff.ts';
import { systemClock } from '../../src/model/clock.ts';
import { cable, eventually, inBoxes, upAndThere, withKernel } from '../netlink/helpers.ts';

const silent = () => undefined;
const log = { debug: silent, info: silent, warn: silent, error: silent };

test.serial(
  "R4.4 upWhen default-route: anybody's default route through an uplink counts, while the uplink is up",
  async (t) => {
    await inBoxes(2, async (tor, fabric) => {
      cable(tor, 'A0', fabric, 'G0');
      cable(tor, 'A9', fabric, 'G9');
      tor.ip('address add 192.0.2.1/31 dev A0');
      tor.ip('address add 192.0.2.3/31 dev A9');
      await withKernel(tor, async (kernel) => {
        await upAndThere(kernel, 'A0', 'A9');
        tor.ip('route add default via 192.0.2.0 metric 10');
        // One of our own speakers is judged by what it has learned.
        tor.ip('route add default via 192.0.2.2 proto 203 metric 20');
        tor.ip('route add unreachable default metric 4000');
        let changes = 0;
        const defaults = new ForeignDefaults({
          watch: () => kernel.watchRoutes(),
          links: kernel,
          clock: systemClock,
          log,
          own: new Set([201, 202, 203]),
          onChange: () => changes++,
        });
        kernel.onChange((change) => defaults.linkChanged(change));
        const through = () => ['A0', 'A9'].filter((port) => defaults.through(port)).join(' ');
        const until = (expected: string) => eventually(() => through() === expected);
        t.is(through(), '', 'nobody has asked');
        await defaults.configure(true);
        t.is(through(), 'A0', 'what was there before');

        changes = 0;
        tor.ip('route del default metric 10');
        await until('');
        t.true(changes > 0, 'the groups are asked again');
        tor.ip('route add default proto bgp nexthop via 192.0.2.0 nexthop via 192.0.2.2');
        await until('A0 A9');
        // One of its ways goes, and comes back with its port: the kernel says nothing of either.
        for (const [port, other] of [
          ['A0', 'A9'],
          ['A9', 'A0'],
        ] as const) {
          tor.ip(`link set ${port} down`);
          await until(other);
          tor.ip(`link set ${port} up`);
          await until('A0 A9');
        }
        tor.ip('route replace default proto bgp via 192.0.2.2');
        await until('A9');
        tor.ip('address add 2001:db8::1/64 dev A9 nodad');
        tor.ip('-6 route add default via 2001:db8::2');
        tor.ip('route del default proto bgp');
        tor.ip('route add default via 192.0.2.0 proto bird table 100');
        await until('A0 A9');
        tor.ip('-6 route del default');
        await until('A0');

        // Without a carrier nobody gets anywhere by it; the kernel keeps it, and it counts again.
        fabric.ip('link set G0 down');
        await until('');
        fabric.ip('link set G0 up');
        await until('A0');
        // Of a port that is set down the kernel takes the routes, and says nothing.
        tor.ip('link set A0 down');
        await until('');
        tor.ip('link set A0 up');
        await upAndThere(kernel, 'A0');
        t.is(through(), '', 'the route is gone');
        tor.ip('route add default via 192.0.2.0');
        await until('A0');

        await defaults.configure(false);
        t.is(through(), '');
        await defaults.configure(true);
        t.is(through(), 'A0', 'asked for again by a reload');
        defaults.close();
      });
    });
  },
);

test('R4.4 upWhen default-route: where the kernel would not be watched, the next reload asks it again', async (t) => {
  const answers = ['refused', 'watched'];
  const errors: string[] = [];
  const handoff = new Handoff({
    config: () => ({
      kernel: { handoffTable: null, handoffReader: 'bird', protocol: 201 },
      hostRoutes: { policy: { prefixes: [] } },
      portLink: [{ upWhen: ['default-route'] }],
    }),
    kernel: {
      watchRoutes: async () => {
        if (answers.shift() !== 'watched') throw new Error('EMFILE');
        return { routes: async () => [], onRoute: () => silent, close: silent };
      },
    },
    ...{ hosts: {}, clock: systemClock, log, onForeignClaim: silent },
    onFabricChange: () => errors.push('read'),
    onError: (_: string, { message }: Error) => errors.push(message),
  } as never);
  await handoff.start();
  handoff.configure();
  await eventually(() => errors.length === 2);
  t.deepEqual(errors, ['EMFILE', 'read']);
  await handoff.stop();
});
