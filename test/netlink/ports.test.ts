import test from 'ava';
import { Rtnetlink } from 'rtnetlink-ts';
import { systemClock } from '../../src/model/clock.ts';
import type { PortChange } from '../../src/model/ports.ts';
import { Kernel } from '../../src/netlink/index.ts';
import { cable, eventually, inBoxes, tap, upAndThere, withKernel } from './helpers.ts';

test.serial('ports are told as they come, change, are renamed and go, with their addresses', async (t) => {
  await inBoxes(2, async (tor, server) => {
    cable(tor, 'A1', server, 'C1');
    await withKernel(tor, async (kernel) => {
      const changes: PortChange[] = [];
      const before = systemClock.now();
      kernel.onChange((change) => changes.push(change));
      const known = kernel.port('A1')!;
      t.like(known, { name: 'A1', kind: 'veth', mtu: 1500, master: 0 });
      t.is(kernel.portByIndex(known.ifindex), known);
      cable(tor, 'A2', server, 'C2');
      await upAndThere(kernel, 'A2');
      t.is(changes[0]?.before, undefined);
      t.is(changes[0]?.name, 'A2');
      t.true(changes.every(({ at }) => at >= before && at <= systemClock.now()));

      tor.ip('addr add 192.0.2.1/24 dev A2');
      await eventually(() => kernel.port('A2')!.addresses.some(({ address }) => address === '192.0.2.1'));
      tor.ip('addr del 192.0.2.1/24 dev A2');
      await eventually(() => !kernel.port('A2')!.addresses.some(({ address }) => address === '192.0.2.1'));

      tor.ip('link add br0 type bridge');
      tor.ip('link set A2 master br0');
      await eventually(
        () => kernel.port('br0') !== undefined && kernel.port('A2')!.master === kernel.port('br0')!.ifindex,
      );
      tor.ip('link set A2 nomaster');
      await eventually(() => kernel.port('A2')?.master === 0);
      t.true(kernel.port('A2')!.adminUp, 'leaving its bridge, the port does not go');

      server.ip('link set C2 down');
      await eventually(() => kernel.port('A2')!.carrier === false);
      t.true(kernel.port('A2')!.adminUp);

      tor.ip('link set A2 down');
      changes.length = 0;
      tor.ip('link set A2 name B7');
      await eventually(() => kernel.port('B7') !== undefined);
      t.is(kernel.port('A2'), undefined);
      t.true(changes.some(({ name, after }) => name === 'A2' && !after));
      t.true(changes.some(({ name, before: was }) => name === 'B7' && !was));

      tor.ip('link del B7');
      await eventually(() => kernel.port('B7') === undefined);
      t.is(changes.at(-1)?.after, undefined);
      t.deepEqual([...kernel.ports()].map(({ name }) => name).sort(), ['A1', 'br0', 'lo'].sort());
    });
  });
});

test.serial(
  'R4.6 one batch shuts all ports before setAdmin returns, a port that is not there hinders no other',
  async (t) => {
    await inBoxes(2, async (tor, server) => {
      const names = Array.from({ length: 20 }, (_, index) => `A${index + 1}`);
      for (const name of names) cable(tor, name, server, `C${name}`);
      await withKernel(tor, async (kernel) => {
        await upAndThere(kernel, ...names);
        const other = Rtnetlink.open({ netns: tor.netns });
        t.teardown(() => other.close());
        const shut: string[] = [];
        kernel.onChange(({ name, after }) => {
          if (after && !after.adminUp) shut.push(name);
        });
        const promise = kernel.setAdmin(['A1', 'nowhere', ...names.slice(1)], false);
        // Nothing was awaited yet: the kernel has done all of it.
        for (const name of names) t.false(other.getLinkNow({ name })!.up, name);
        await t.throwsAsync(promise, { instanceOf: AggregateError, message: /nowhere: no such port/ });
        await eventually(() => new Set(shut).size === names.length);
        await eventually(() => /NO-CARRIER/.test(server.ip('link show CA1')));

        await kernel.setAdmin(names, true);
        await upAndThere(kernel, ...names);
        await eventually(() => /LOWER_UP/.test(server.ip('link show CA20')));
      });
    });
  },
);

test.serial('a refused port is named', async (t) => {
  await inBoxes(2, async (tor, server) => {
    cable(tor, 'A1', server, 'C1');
    cable(tor, 'A2', server, 'C2');
    await withKernel(tor, async (kernel) => {
      // In the same turn: the mirror does not know yet that the port has gone.
      tor.ip('link del A1');
      await t.throwsAsync(kernel.setAdmin(['A1', 'A2'], false), { message: 'A1: RTM_SETLINK: ENODEV' });
      await eventually(() => kernel.port('A2')!.adminUp === false);
    });
  });
});

test.serial('R4.5 a second carrier loss within a second is seen long before the kernel tells of it', async (t) => {
  await inBoxes(1, async (tor) => {
    const cables = ['A1', 'A2'].map((name) => tap(tor, name));
    t.teardown(() => {
      for (const each of cables) each.close();
    });
    await withKernel(tor, async (kernel) => {
      kernel.watchCarriers(['A1', 'A2']);
      await upAndThere(kernel, 'A1', 'A2');
      const lostAt = new Map<string, number>();
      kernel.onChange(({ name, before, after, at }) => {
        if (before?.carrier && after?.carrier === false) lostAt.set(name, at);
      });
      cables[0]!.setCarrier(false);
      await eventually(() => lostAt.has('A1'));
      await new Promise((resolve) => setTimeout(resolve, 100));
      const pulled = systemClock.now();
      cables[1]!.setCarrier(false);
      await eventually(() => lostAt.has('A2'));
      const late = lostAt.get('A2')! - pulled;
      t.log(`seen after ${late.toFixed(1)} ms`);
      // The kernel holds the second event back until a second after the first.
      t.true(late < 700);
      t.true(kernel.counters().carrierFoundLate! > 0, 'found by reading, not told');

      // And back, and lost again, on the same port.
      cables[1]!.setCarrier(true);
      await upAndThere(kernel, 'A2');
      lostAt.clear();
      const again = systemClock.now();
      cables[1]!.setCarrier(false);
      await eventually(() => lostAt.has('A2'));
      t.true(lostAt.get('A2')! - again < 700);
    });
  });
});

test.serial('ports that stand on others are told of without delay, and their carriers are not read', async (t) => {
  await inBoxes(2, async (tor, server) => {
    // Another ifindex than its peer's: that is how the kernel knows.
    tor.ip('link add spare type veth');
    cable(tor, 'A1', server, 'C1');
    await withKernel(tor, async (kernel) => {
      kernel.watchCarriers(['A1']);
      await upAndThere(kernel, 'A1');
      const rounds = kernel.counters().carrierRounds!;
      for (const way of ['down', 'up'] as const) {
        server.ip(`link set C1 ${way}`);
        await eventually(() => kernel.port('A1')!.carrier === (way === 'up'));
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      t.true(kernel.counters().carrierRounds! - rounds <= 4, 'one look for each event, and nothing to read');
      t.is(kernel.counters().carrierFoundLate, 0);
    });
  });
});

test.serial(
  'R4.5 a carrier loss that events of other namespaces hold back is seen where idle reading is on',
  async (t) => {
    await inBoxes(2, async (tor, stranger) => {
      const own = tap(tor, 'A1');
      const others = tap(stranger, 'x1');
      t.teardown(() => {
        own.close();
        others.close();
      });
      const run = async (kernel: Kernel) => {
        kernel.watchCarriers(['A1']);
        await upAndThere(kernel, 'A1');
        const watcher = await Kernel.open({ netns: stranger.netns });
        t.teardown(() => watcher.close());
        others.setCarrier(false);
        await eventually(() => !watcher.port('x1')!.carrier);
        let lostAt: number | undefined;
        kernel.onChange(({ after, at }) => {
          if (after?.carrier === false) lostAt ??= at;
        });
        const pulled = systemClock.now();
        own.setCarrier(false);
        await eventually(() => lostAt !== undefined);
        t.true(lostAt! - pulled < 700);
        t.true(kernel.counters().carrierFoundLate! > 0, 'found by reading, not told');
      };
      await withKernel(tor, run, { idleCarrierInterval: 20 });
    });
  },
);

test.serial('the reading of carriers goes on for a second after the last event, and ends', async (t) => {
  await inBoxes(1, async (tor) => {
    const cable1 = tap(tor, 'A1');
    t.teardown(() => cable1.close());
    await withKernel(tor, async (kernel) => {
      kernel.watchCarriers(['A1', 'not-there']);
      await upAndThere(kernel, 'A1');
      cable1.setCarrier(false);
      await eventually(() => !kernel.port('A1')!.carrier);
      const lost = systemClock.now();
      let before: number;
      do {
        before = kernel.counters().carrierRounds!;
        await new Promise((resolve) => setTimeout(resolve, 300));
      } while (kernel.counters().carrierRounds !== before);
      t.true(before > 5);
      t.true(systemClock.now() - lost > 1000);
    });
  });
});
