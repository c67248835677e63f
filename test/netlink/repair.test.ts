import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import test from 'ava';
import { AF, type Route } from 'rtnetlink-ts';
import { findRepair, Kernel, removeRepair } from '../../src/netlink/index.ts';
import { address, eventually, inBoxes } from './helpers.ts';
import {
  backUp,
  backupsOf,
  counts,
  disown,
  type Fabric,
  inFabric,
  optionsFor,
  own,
  ping,
  plug,
  SERVER,
  setting,
  startSwitch,
  sysctl,
  TO_A,
  TO_B,
  use,
} from './repair-fabric.ts';

test.serial('R4.5 the server link fails and the gateway is never told: A reaches the server through B', async (t) => {
  await inFabric(async (fabric, a, b) => {
    await own(a);
    await backUp(a);
    t.deepEqual(ping(fabric), { v4: 5, v6: 5 }, 'by its own link');
    t.is(counts(fabric.a, 'rep0').tx, 0);

    await plug(fabric, 'eth1');
    await own(b);
    t.deepEqual(ping(fabric), { v4: 5, v6: 5 }, 'the kernel alone: A has done nothing yet');
    t.is(counts(fabric.a, 'rep0').tx, 10);
    t.is(counts(fabric.b, 'rep0').rx, 10);

    await disown(a);
    t.deepEqual(ping(fabric), { v4: 5, v6: 5 }, 'A has withdrawn the host');
    a.path.remove(address(SERVER.v4));
    a.path.remove(address(SERVER.v6));
    a.path.flush();
    await eventually(() => backupsOf(fabric).length === 0);
    t.deepEqual(ping(fabric, 100, 2), { v4: 0, v6: 0 }, 'without the backup G would have had to move');
  });
});

test.serial('R4.5 one VM behind a port whose carrier stays: with its route gone the backup is next', async (t) => {
  await inFabric(async (fabric, a, b) => {
    await own(a);
    await backUp(a);
    await own(b);
    await disown(a);
    // The server still has both links here, as the host of a VM has.
    fabric.server.ip('link set eth1 up');
    await eventually(() => !fabric.b.ip('link show B2').includes('NO-CARRIER'));
    t.deepEqual(ping(fabric), { v4: 5, v6: 5 });
    t.is(counts(fabric.b, 'rep0').rx, 10);
  });
});

test.serial('R4.5 both links of the server are dead: one pass through the tunnel, then nothing', async (t) => {
  await inFabric(async (fabric, a, b) => {
    // Each has a backup over the other, as if each had lost the server while the other stood by.
    await own(a);
    await backUp(a, TO_B);
    await own(b);
    await backUp(b, TO_A);
    use(fabric.server, undefined);
    await eventually(() => !a.kernel.port('A2')!.carrier && !b.kernel.port('B2')!.carrier);
    const before = { g1: counts(fabric.g, 'g1'), g2: counts(fabric.g, 'g2') };
    t.deepEqual(ping(fabric), { v4: 0, v6: 0 });
    for (const [name, each] of [
      ['A', a],
      ['B', b],
    ] as const) {
      const { arrived, sent } = each.path.counters();
      t.deepEqual({ arrived, sent }, name === 'A' ? { arrived: 0, sent: 10 } : { arrived: 10, sent: 0 }, name);
    }
    // To A, from A as tunnelled, to B; a few of neighbour discovery besides.
    t.true(counts(fabric.g, 'g1').tx - before.g1.tx < 20);
    t.true(counts(fabric.g, 'g2').tx - before.g2.tx < 20);
    t.true(counts(fabric.g, 'g2').rx - before.g2.rx < 10, 'nothing comes back from B');

    await disown(a);
    await disown(b);
    t.deepEqual(ping(fabric, 100, 2), { v4: 0, v6: 0 });
    t.like(b.path.counters(), { arrived: 14, sent: 0 }, 'with both routes gone nothing goes round either');
  });
});

test.serial('R4.5 whole packets of 1,500 octets that may not be fragmented pass a fabric of 1,500', async (t) => {
  await inFabric(async (fabric, a, b) => {
    await own(a);
    await backUp(a);
    await plug(fabric, 'eth1');
    await own(b);
    t.deepEqual(ping(fabric, 1500), { v4: 5, v6: 5 });
    t.deepEqual(ping(fabric, 1500), { v4: 5, v6: 5 }, 'no path MTU was learned either');
    for (const port of ['g1', 'g2']) fabric.g.ip(`link set ${port} mtu 1536`);
    fabric.a.ip('link set A0 mtu 1536');
    fabric.b.ip('link set B0 mtu 1536');
    const before = counts(fabric.a, 'A0').tx;
    t.deepEqual(ping(fabric, 1500), { v4: 5, v6: 5 });
    t.true(counts(fabric.a, 'A0').tx - before < 15, 'and in one piece where the fabric has 36 octets more');
  });
});

test.serial('R4.5 a filter of the reverse path that is loose everywhere does not stop what comes out', async (t) => {
  await inFabric(async (fabric, a, b) => {
    sysctl(fabric.b, 'net.ipv4.conf.all.rp_filter=2');
    await own(a);
    await backUp(a);
    await plug(fabric, 'eth1');
    await own(b);
    t.deepEqual(ping(fabric), { v4: 5, v6: 5 });
  });
});

test.serial('R4.5 the other end has another address: one message moves all backups', async (t) => {
  await inFabric(async (fabric, a, b) => {
    await own(a);
    await backUp(a, { ...TO_B, destination: address('192.0.2.99') });
    await plug(fabric, 'eth1');
    await own(b);
    t.deepEqual(ping(fabric, 100, 2), { v4: 0, v6: 0 });
    a.path.setTunnel('twin', TO_B);
    t.deepEqual(ping(fabric), { v4: 5, v6: 5 });
  });
});

test.serial('R4.5 killed and started again: the backups stand, and are known to the next life', async (t) => {
  await inFabric(async (fabric, a, b) => {
    await own(a);
    await backUp(a);
    a.kernel.close();
    await plug(fabric, 'eth1');
    await own(b);
    t.deepEqual(ping(fabric), { v4: 5, v6: 5 }, 'nobody is there on A');

    const next = await startSwitch(fabric.a, 'A2', a.store);
    try {
      t.deepEqual([...next.path.adopted].sort(), [SERVER.v4, SERVER.v6]);
      t.deepEqual(ping(fabric), { v4: 5, v6: 5 }, 'taken over as it was');
      await backUp(next);
      t.is(next.path.counters()['RTM_NEWROUTE EEXIST'], undefined);
      next.path.remove(address(SERVER.v4));
      next.path.flush();
      await eventually(() => !next.path.has(address(SERVER.v4)));
      t.is(backupsOf(fabric).length, 1, 'IPv6 is left');

      t.is(setting(fabric.a, 'ipv4', 'A2'), '1');
      await next.path.leave();
      t.is(setting(fabric.a, 'ipv4', 'A2'), '0');
      t.is(setting(fabric.a, 'ipv6', 'A2'), '0');
      t.deepEqual(backupsOf(fabric), []);
      t.false(fabric.a.ip('link show').includes('rep0'));
      t.false(fabric.a.ip('rule show').includes('rep0'));
      t.false(fabric.a.ip('-6 rule show').includes('rep0'));
    } finally {
      next.kernel.close();
    }
  });
});

test.serial(
  'R4.5 somebody sets the device down, or deletes it: it is made again with all that led over it',
  async (t) => {
    await inFabric(async (fabric, a, b) => {
      await own(a);
      await backUp(a);
      await plug(fabric, 'eth1');
      await own(b);
      for (const offence of ['link set rep0 down', 'link del rep0']) {
        fabric.a.ip(offence);
        const there = (): boolean => {
          try {
            return backupsOf(fabric).length === 2;
          } catch {
            return false;
          }
        };
        await eventually(there);
        t.deepEqual(ping(fabric), { v4: 5, v6: 5 }, offence);
      }
    });
  },
);

test.serial('R4.5 what a dead agent left of the repair path is found, and removed', async (t) => {
  await inFabric(async (fabric, a) => {
    await own(a);
    await backUp(a);
    a.kernel.close();
    const box = await Kernel.open({ netns: fabric.a.netns });
    try {
      const found = await findRepair(box.rtnetlink, 205);
      t.is(found.backups.routes.length, 2);
      t.is(found.backups.objects.length, 2);
      t.is(found.exitRoutes.length, 2);
      t.is(found.rules.length, 6);
      t.deepEqual(
        found.devices.map(({ name }) => name),
        ['rep0'],
      );
      await removeRepair(box.rtnetlink, found);
      const left = await findRepair(box.rtnetlink, 205);
      t.deepEqual(left, { backups: { objects: [], routes: [] }, exitRoutes: [], rules: [], devices: [] });
      const routes: Route[] = await box.rtnetlink.dumpRoutes({ family: AF.INET, protocol: 201 });
      t.is(routes.length, 1, 'and nothing else');
    } finally {
      box.close();
    }
  });
});

test.serial('R4.5 a device of that name that is not ours is left alone', async (t) => {
  await inBoxes(1, async (box) => {
    box!.ip('link add rep0 type vxlan external gpe dstport 4790');
    const kernel = await Kernel.open({ netns: box!.netns });
    try {
      await t.throwsAsync(kernel.repairPath(optionsFor({})), { message: /rep0 is there already, and is not ours/ });
      t.true(box!.ip('link show').includes('rep0'));
    } finally {
      kernel.close();
    }
  });
});

/** Many more than what ports send of their own meanwhile (ARP, ND, MLD). */
const INJECTED = 50;

/** G sends into B's tunnel as an intruder would, by a device of its own. */
function inject({ g }: Fabric, to: string): void {
  g.ip('rule add iif lo lookup 77 priority 1');
  g.ip(`route add ${to}/32 table 77 encap ip id 7 src 192.0.2.5 dst 192.0.2.6 dev evil0`);
  try {
    execFileSync('ip', ['netns', 'exec', g.netns, 'ping', '-q', '-c', String(INJECTED), '-i', '0.002', '-W', '1', to]);
  } catch {
    // It is what arrives at the other end that counts.
  } finally {
    g.ip('rule del priority 1');
    g.ip('route flush table 77');
  }
}

test.serial(
  'R4.5 who injects packets reaches hosts behind this switch; with the filter of the docs nobody but the twin does',
  async (t) => {
    await inFabric(async (fabric, a, b) => {
      const { g } = fabric;
      await plug(fabric, 'eth1');
      await own(b);
      g.ip('link add evil0 type vxlan external gpe dstport 4790');
      g.ip('link set evil0 up');
      const delivered = (): number => counts(fabric.b, 'B2').tx;
      const forwarded = (): number => counts(fabric.b, 'B0').tx;

      let before = delivered();
      inject(fabric, SERVER.v4);
      t.true(delivered() - before >= INJECTED, 'a host behind the switch');
      before = forwarded();
      inject(fabric, '203.0.113.7');
      t.true(forwarded() - before < INJECTED, 'nothing is sent on into the fabric');
      t.is(b.path.counters().arrived, 2 * INJECTED);

      const docs = readFileSync(new URL('../../docs/shadow.md', import.meta.url), 'utf8');
      const filter = /```[a-z]*\n(table inet peerless \{[\s\S]*?)```/.exec(docs)![1]!;
      // The example is for A: the other end is B's there.
      const rules = filter.replace('192.0.2.6', '192.0.2.2').replace('"A0"', '"B0"');
      execFileSync('ip', ['netns', 'exec', fabric.b.netns, '/usr/sbin/nft', '-f', '-'], { input: rules });
      before = delivered();
      inject(fabric, SERVER.v4);
      t.true(delivered() - before < INJECTED, 'the filter');
      t.is(b.path.counters().arrived, 2 * INJECTED);

      await own(a);
      await backUp(a);
      t.deepEqual(ping(fabric), { v4: 5, v6: 5 }, 'and what A sends passes');
    });
  },
);
