/** A port that is shut by its admin state has its IPv6 addresses when it opens again. */
import { execFileSync } from 'node:child_process';
import test from 'ava';
import { BorrowedSetting } from '../../src/netlink/borrowed-setting.ts';
import { GuardMemory } from '../../src/netlink/frames/index.ts';
import type { Kernel } from '../../src/netlink/index.ts';
import { keptAddresses } from '../../src/netlink/index.ts';
import { readSetting } from '../../src/netlink/port-setting.ts';
import { type Box, cable, eventually, inBoxes, upAndThere, withKernel } from './helpers.ts';

function memory() {
  let text: string | undefined;
  const store = {
    read: () => text,
    write(fresh: string) {
      text = fresh;
    },
  };
  const open = () =>
    new GuardMemory({
      store,
      boot: 'this',
      onError: (error) => {
        throw error;
      },
    });
  return open;
}

const gateway = '2001:db8::fe';
const setting = ({ netns }: Box, port: string) =>
  readSetting(`/proc/sys/net/ipv6/conf/${port}/keep_addr_on_down`, netns);
const has = (box: Box, port: string) => box.ip(`-6 addr show dev ${port}`).includes(gateway);

async function shutAndOpen(kernel: Kernel, ...ports: string[]): Promise<void> {
  await kernel.setAdmin(ports, false);
  await eventually(() => ports.every((name) => kernel.port(name)?.adminUp === false));
  await kernel.setAdmin(ports, true);
  await upAndThere(kernel, ...ports);
}

test.serial('R4.6 a gateway address of IPv6 is there again when its port reopens', async (t) => {
  await inBoxes(2, async (tor, server) => {
    for (const name of ['A0', 'A1', 'A2', 'A3']) cable(tor, name, server, `C${name}`);
    const remembered = memory();
    await withKernel(
      tor,
      async (kernel) => {
        await upAndThere(kernel, 'A1', 'A2', 'A3');
        tor.ip(`addr add ${gateway}/64 dev A1 nodad`);
        tor.ip(`addr add ${gateway}/128 dev A3 nodad`);
        await eventually(() => kernel.port('A1')!.addresses.some(({ address }) => address === gateway));
        tor.ip(`addr add ${gateway}/128 dev A0 nodad`);
        execFileSync('ip', ['netns', 'exec', tor.netns, 'sysctl', '-qw', 'net.ipv6.conf.A0.keep_addr_on_down=-1']);
        await eventually(() => kernel.port('A0')!.addresses.some(({ address }) => address === gateway));
        const kept = kernel.keepAddresses(remembered());
        kept.follow(['A0', 'A1', 'A2', 'A4']);
        t.is(setting(tor, 'A0'), '-1', 'somebody has said no');
        t.deepEqual(
          ['A1', 'A2', 'A3'].map((port) => setting(tor, port)),
          ['1', '0', '0'],
          'ports without such an address, and ports of others, are as they were',
        );
        tor.ip(`addr add ${gateway}/128 dev A2 nodad`);
        cable(tor, 'A4', server, 'CA4');
        tor.ip(`addr add ${gateway}/128 dev A4 nodad`);
        await eventually(() => setting(tor, 'A2') === '1' && setting(tor, 'A4') === '1');
        await shutAndOpen(kernel, 'A1', 'A2', 'A3', 'A4');
        for (const port of ['A1', 'A2', 'A4']) t.true(has(tor, port), port);
        t.false(has(tor, 'A3'), 'the kernel takes them otherwise');

        await kernel.setAdmin(['A1'], false);
        kept.close();
        const next = kernel.keepAddresses(remembered());
        next.follow(['A1', 'A2']);
        t.deepEqual([setting(tor, 'A1'), setting(tor, 'A4')], ['1', '0'], 'whom it does not shut any more');
        next.leave();
        t.deepEqual([setting(tor, 'A1'), setting(tor, 'A2')], ['0', '0']);
        await kernel.setAdmin(['A1'], true);
        await upAndThere(kernel, 'A1');
        t.true(has(tor, 'A1'), 'what was shut by then');
      },
      { shutting: { method: 'admin' } },
    );
  });
});

test.serial('what an agent that was killed has set is put back by who comes to clean up', async (t) => {
  await inBoxes(1, async (tor) => {
    tor.ip('link add A1 type veth peer name B1');
    tor.ip(`addr add ${gateway}/128 dev A1 nodad`);
    const remembered = memory();
    await withKernel(tor, async (kernel) => {
      const kept = kernel.keepAddresses(remembered());
      kept.follow(['A1']);
      t.is(setting(tor, 'A1'), '1');
      kept.close();
    });
    const left = remembered();
    t.deepEqual(left.ports, ['A1']);
    keptAddresses(left, tor.netns).uncover();
    t.is(setting(tor, 'A1'), '0');
    t.deepEqual(remembered().ports, []);
  });
});

test.serial('R4.6 what can not be set is not remembered either: there is nothing to clean up', async (t) => {
  await inBoxes(1, async ({ netns }) => {
    const remembered = memory();
    // Nobody may write it, as nothing below a /proc/sys that is read-only.
    const unwritable = new BorrowedSetting('mc_forwarding', ['ipv4'], remembered(), netns);
    unwritable.cover('lo', 1);
    t.true(unwritable.isCovered('lo', 1), 'nor is it tried again and again');
    t.deepEqual(remembered().ports, []);
    new BorrowedSetting('keep_addr_on_down', ['ipv6'], remembered(), netns).cover('lo', 1);
    t.deepEqual(remembered().ports, ['lo']);
  });
});
