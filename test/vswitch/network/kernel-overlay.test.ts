/** Networks that somebody else has laid out are read as they are, and left so. */
import { execFileSync } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { NTF, NUD, vxlanData } from 'rtnetlink-ts';
import { HostLab } from '../../../lab/hosts/index.ts';
import { waitUntil } from '../../../lab/processes.ts';
import type { Prefix } from '../../../src/model/address.ts';
import { addressBytes, ipv4FromNumber, makePrefix, prefixAddress, prefixContains } from '../../../src/model/address.ts';
import { systemClock } from '../../../src/model/clock.ts';
import { KernelOverlayWatch, NetworkProjection } from '../../../src/vswitch-bridge/slowpath/network/index.ts';
import {
  coveringPrefix,
  type KernelOverlay,
  type KernelTables,
  kernelOverlay,
} from '../../../src/vswitch-bridge/slowpath/network/kernel-overlay.ts';
import { flannelLab, handMadeBridge } from './layouts-of-others.ts';
import { overlay, quietLog } from './overlay.ts';

let made = 0;
const named = (): string => `nvk${process.pid}x${made++}`;

const picture = (netns: string): string =>
  ['link', 'address', 'route show table all', 'rule', 'neigh']
    .map((what) => execFileSync('ip', ['-n', netns, '-o', ...what.split(' ')], { encoding: 'utf8' }))
    .map((text) =>
      text
        .replaceAll(/(REACHABLE|STALE|DELAY|PROBE)/g, 'KNOWN')
        .replaceAll(/valid_lft.*|qlen.*|state (UP|UNKNOWN)/g, ''),
    )
    .join('\n');

/** Sooner or later: what has just been laid out carries nothing until the kernel has come to the carriers of its ports. */
const reached = (lab: HostLab, from: string, address: string): Promise<boolean> =>
  waitUntil(async () => (await lab.ping(from, address)) === 1, 15_000);

async function flannel(t: ExecutionContext): Promise<HostLab> {
  const lab = await flannelLab(named());
  t.teardown(() => lab.down());
  return lab;
}

test.serial(
  'R1.1: flannel’s network is read as one network, its instances and remotes, and goes on as it was',
  async (t) => {
    const lab = await flannel(t);
    const { netns } = lab.host('h1');
    const seen: KernelOverlay[] = [];
    const watch = await KernelOverlayWatch.open({
      clock: systemClock,
      log: quietLog(),
      netns,
      onChange: (now) => seen.push(now),
    });
    t.teardown(() => watch.close());
    t.like(watch.overlay.networks, [
      {
        name: 'flannel.1',
        vni: 1,
        subnet: '10.244.0.0/22',
        gateway: '10.244.1.1',
        encapsulation: 'vxlan',
        port: 8472,
        origin: 'kernel',
        devices: { bridge: 'cni0', tunnel: 'flannel.1' },
      },
    ] as never);
    t.deepEqual(watch.overlay.remotes as unknown, [
      { host: '10.20.1.2', network: 'flannel.1', addresses: ['10.244.2.0/24'], origin: 'kernel' },
    ]);
    t.deepEqual([...watch.overlay.silent].sort(), ['veth-p1', 'veth-p2']);
    t.true(await reached(lab, 'p1', '10.244.2.5'));
    t.true(await waitUntil(() => watch.overlay.instances.length === 1, 10_000));
    const { mac, interface: device } = lab.instance('p1');
    t.deepEqual(watch.overlay.instances as unknown, [
      { name: device, network: 'flannel.1', address: '10.244.1.5', mac, interface: device, origin: 'kernel' },
    ]);
    t.is(seen.length > 0, true);
    // Taken over, and left alone.
    const before = picture(netns);
    const { networks, instances, remotes } = watch.overlay;
    const state = overlay({ networks, instances, remotes });
    const projection = await NetworkProjection.open({ clock: systemClock, log: quietLog(), netns, state });
    t.teardown(() => projection.close());
    t.deepEqual(projection.view().problems, []);
    t.is(picture(netns), before);
    t.is(await lab.ping('p1', '10.244.2.5', 2), 2);
    await projection.close({ purge: true });
    t.is(picture(netns), before);
  },
);

test.serial(
  'a hand-made bridge with a tunnel in it: remotes from its forwarding database, with what was learned of them',
  async (t) => {
    const lab = await HostLab.up({
      name: named(),
      networks: [{ name: 'hand', vni: 9, subnet: '10.9.0.0/16', gateway: '10.9.0.1' }],
      instances: [
        { name: 'x1', host: 1, network: 'hand', address: '10.9.1.2' },
        { name: 'x2', host: 2, network: 'hand', address: '10.9.2.2' },
      ],
    });
    t.teardown(() => lab.down());
    await handMadeBridge(lab);
    const read = async (): Promise<KernelOverlay> => {
      const { netns } = lab.host('h1');
      const watch = await KernelOverlayWatch.open({
        clock: systemClock,
        log: quietLog(),
        netns,
        onChange: () => undefined,
      });
      watch.close();
      return watch.overlay;
    };
    const before = await read();
    t.like(before.networks[0], {
      name: 'vx9',
      vni: 9,
      subnet: '10.9.0.0/16' as Prefix,
      devices: { bridge: 'br-hand', tunnel: 'vx9' },
    });
    t.deepEqual(
      before.remotes.map(({ host, addresses }) => `${host} ${addresses}`),
      ['10.20.1.2 '],
    );
    t.true(await reached(lab, 'h1', '10.9.2.2'));
    t.true(await reached(lab, 'h1', '10.9.1.2'));
    const after = await read();
    t.deepEqual(
      after.remotes.map(({ host, addresses }) => `${host} ${addresses}`),
      ['10.20.1.2 10.9.2.2/32'],
    );
    t.deepEqual(
      after.instances.map(({ name, address }) => `${name} ${address}`),
      ['veth-x1 10.9.1.2'],
    );
  },
);

test('the bridge that the tunnel itself leaves by is not that of the instances, though its subnet is as large', (t) => {
  const link = (ifindex: number, name: string, kind: string, more: object = {}) => ({ ifindex, name, kind, ...more });
  const address = (ifindex: number, text: string) => ({ ifindex, address: text, prefixLength: 24 });
  const found = (settings: object) =>
    kernelOverlay({
      links: [
        link(2, 'br0', 'bridge'),
        link(3, 'flannel.1', 'vxlan', { kindData: vxlanData({ id: 1, ...settings }) }),
        link(4, 'cni0', 'bridge'),
      ],
      addresses: [address(2, '10.20.1.1'), address(4, '10.244.1.1')],
      neighbours: [{ ifindex: 3, destination: '10.244.2.0', linkAddress: '0a:f1:00:00:00:02', state: NUD.PERMANENT }],
      fdb: [{ ifindex: 3, linkAddress: '0a:f1:00:00:00:02', destination: '10.20.1.2', flags: NTF.SELF }],
      routes: [{ destination: '10.244.2.0/24', nextHops: [{ ifindex: 3, gateway: '10.244.2.0' }] }],
    } as unknown as KernelTables).networks.map(({ devices }) => devices?.bridge);
  t.deepEqual(found({ local: '10.20.1.1' }), ['cni0']);
  t.deepEqual(found({ link: 2 }), ['cni0']);
});

test('what covers prefixes holds each, and half of it does not', (t) => {
  const prefix = fc
    .tuple(fc.nat(0xffff_ffff), fc.integer({ min: 8, max: 32 }))
    .map(([value, length]) => makePrefix(addressBytes(ipv4FromNumber(value)), length));
  fc.assert(
    fc.property(fc.array(prefix, { minLength: 1, maxLength: 5 }), (prefixes) => {
      const whole = coveringPrefix(prefixes)!;
      const length = Number(whole.split('/')[1]);
      t.true(
        prefixes.every((each) => prefixContains(whole, prefixAddress(each)) && Number(each.split('/')[1]) >= length),
      );
      if (length === 32 || prefixes.some((each) => each === whole)) return;
      const half = makePrefix(addressBytes(prefixAddress(prefixes[0]!)), length + 1);
      t.false(prefixes.every((each) => prefixContains(half, prefixAddress(each))));
    }),
  );
  t.is(coveringPrefix([]), undefined);
  t.is(coveringPrefix(['10.0.0.0/8', '2001:db8::/32'] as Prefix[]), undefined);
});
