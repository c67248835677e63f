/** R4.5: the neighbour entries behind the waiting room's door, on a kernel where IPv6 is switched off and on. */
import { execFileSync } from 'node:child_process';
import test from 'ava';
import { address, eventually, inBoxes, withKernel } from './helpers.ts';

test('R4.5 where IPv6 is switched off nothing of it is asked for; when it comes, and its hosts, they find the waiting room', (t) =>
  inBoxes(1, async (box) => {
    const { netns, ip } = box!;
    const switchOff = (value: 0 | 1) => {
      for (const name of ['all', 'default']) {
        const setting = `net.ipv6.conf.${name}.disable_ipv6=${value}`;
        execFileSync('ip', ['netns', 'exec', netns, 'sysctl', '-qw', setting]);
      }
    };
    switchOff(1);
    await withKernel(box!, async (kernel) => {
      const room = await kernel.waitingRoom(() => undefined);
      const table = kernel.shadowTable({ table: 20_101, protocol: 204, door: room.door });
      const entries = () => ip(`neigh show dev ${room.door.interface} nud permanent`);
      const refused = () => Object.keys(table.counters()).filter((name) => name.startsWith('RTM_'));
      try {
        await table.start(['A0']);
        table.apply([], [{ address: address('10.10.10.1') }]);
        await table.settled();
        t.deepEqual(refused(), []);
        t.regex(entries(), /^192\.0\.0\.8 lladdr 02:00:00:00:00:01 \S*\s*PERMANENT/);
        t.notRegex(entries(), /fe80/);

        t.log('an IPv6 host before IPv6: it is there as soon as the kernel takes it');
        table.apply([], [{ address: address('2001:db8::1') }]);
        await table.settled();
        t.deepEqual(refused(), ['RTM_NEWNEIGH EINVAL', 'RTM_NEWROUTE EACCES']);
        switchOff(0);
        const isThere = () =>
          /fe80::1 lladdr 02:00:00:00:00:01/.test(entries()) &&
          ip('-6 route show table 20101').includes('2001:db8::1 via fe80::1');
        await eventually(isThere);
        t.true(isThere());
        await table.leave();
      } finally {
        await room.close();
      }
    });
  }));
