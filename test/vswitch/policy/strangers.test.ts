/** Who is listened to on the kernel's VXLAN port. */
import { execFileSync } from 'node:child_process';
import test from 'ava';
import { LinuxSocket } from 'linux-sockets';
import { PUBLIC } from '../../../lab/hosts/index.ts';
import type { Address } from '../../../src/model/address.ts';
import { systemClock } from '../../../src/model/clock.ts';
import type { OverlayRemote } from '../../../src/model/overlay.ts';
import { PolicyProjection } from '../../../src/vswitch-bridge/slowpath/policy/index.ts';
import { quietLog } from '../network/overlay.ts';
import { until, World } from './support/world.ts';

const VXLAN_PORT = 4789;

/** A frame of `mac` to all, in the network of that VNI. */
function tunnelled(vni: number, mac: string): Buffer {
  const header = Buffer.from([8, 0, 0, 0, vni >> 16, (vni >> 8) & 255, vni & 255, 0]);
  const frame = Buffer.alloc(60);
  Buffer.from('ffffffffffff', 'hex').copy(frame);
  Buffer.from(mac.replaceAll(':', ''), 'hex').copy(frame, 6);
  frame.writeUInt16BE(0x88b5, 12);
  return Buffer.concat([header, frame]);
}

test.serial(
  'R1.2: tunnel packets of strangers and of instances reach no network; those of a host that is added do',
  async (t) => {
    t.timeout(60_000);
    const world = await World.up(t, {
      networks: [{ name: 'blue', vni: 100, subnet: '10.200.0.0/16', gateway: '10.200.0.1' }],
      instances: [
        { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
        { name: 'c2', host: 2, network: 'blue', address: '10.200.2.2' },
      ],
    });
    const h1 = world.host('h1');
    const send = (from: string, to: string, mac: string) => {
      const socket = LinuxSocket.open({ family: 2, type: 2, protocol: 17, netns: world.lab.netnsOf(from) });
      socket.send({ data: tunnelled(100, mac), to: { family: 'ipv4', address: to, port: VXLAN_PORT } });
      socket.close();
    };
    const learned = (mac: string) =>
      execFileSync('bridge', ['-n', h1.netns, 'fdb', 'show', 'brport', 'pltn100'], { encoding: 'utf8' }).includes(mac);
    const refused = () => h1.policy.counters().tunnel_of_stranger ?? 0;
    const host = world.lab.addressOf('h1');

    send('h2', host, '02:00:00:00:00:02');
    await until('what another host sends is taken', () => learned('02:00:00:00:00:02'));
    t.is(refused(), 0);
    send('public', host, '02:00:00:00:00:03');
    await until('counted', () => refused() === 1);
    send('c1', '10.200.0.1', '02:00:00:00:00:04');
    await until('counted', () => refused() === 2);
    t.false(learned('02:00:00:00:00:03'));
    t.false(learned('02:00:00:00:00:04'));

    const item: OverlayRemote = { host: PUBLIC.address as Address, network: 'blue', addresses: [], origin: 'control' };
    const state = { ...h1.state, remotes: new Map([...h1.state.remotes, ['blue/public', item]]) };
    await h1.policy.apply(state, [{ kind: 'remote', op: 'added', item }]);
    send('public', host, '02:00:00:00:00:05');
    await until('taken', () => learned('02:00:00:00:00:05'));
    t.is(refused(), 2);
  },
);

test.serial(
  'R1.2: to the port of encrypted packets no instance sends as a host, be it to its own or to another',
  async (t) => {
    t.timeout(60_000);
    const espPort = 4500;
    const world = await World.up(
      t,
      {
        networks: [{ name: 'blue', vni: 100, subnet: '10.200.0.0/16', gateway: '10.200.0.1' }],
        instances: [
          { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
          { name: 'c2', host: 2, network: 'blue', address: '10.200.2.2' },
        ],
      },
      { snat: [['blue', '0.0.0.0/0', '10.20.1.1']] },
    );
    const { lab } = world;
    const h1 = world.host('h1');
    await h1.policy.close({ keep: true });
    h1.policy = await PolicyProjection.open({ clock: systemClock, log: quietLog(), netns: h1.netns, espPort });
    await h1.policy.apply(h1.state, []);
    const heard: string[] = [];
    const sender = LinuxSocket.open({ family: 2, type: 2, protocol: 17, netns: lab.netnsOf('c1') });
    t.teardown(() => sender.close());
    for (const [host, port] of [
      ['h1', espPort],
      ['h2', espPort],
      ['h2', espPort + 1],
    ] as const) {
      const address = lab.addressOf(host);
      const socket = LinuxSocket.open({ family: 2, type: 2, protocol: 17, netns: lab.netnsOf(host) });
      t.teardown(() => socket.close());
      socket.bind({ family: 'ipv4', address, port });
      socket.onReadable(() => {
        for (const { from } of socket.receiveBatch(8))
          heard.push(`${host} ${port}, from ${from?.family === 'ipv4' ? from.address : ''}`);
      });
      sender.send({ data: Buffer.from('as a host'), to: { family: 'ipv4', address, port } });
    }
    await until('another port passes', () => heard.length > 0);
    await until('both are counted', () => {
      const { tunnel_of_instance: sent, tunnel_of_stranger: taken } = h1.policy.counters();
      return sent === 1 && taken === 1;
    });
    t.deepEqual(heard, [`h2 ${espPort + 1}, from 10.20.1.1`]);
  },
);

test.serial(
  'R1.2: in a network that another has laid out, nothing that it sends in the host’s name reaches the tunnels of others or of this host',
  async (t) => {
    t.timeout(60_000);
    const world = await World.up(t, {
      networks: [{ name: 'blue', vni: 100, subnet: '10.200.0.0/16', gateway: '10.200.0.1' }],
      instances: [
        { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
        { name: 'c2', host: 2, network: 'blue', address: '10.200.2.2' },
      ],
    });
    const { lab } = world;
    const [h1, h2] = [world.host('h1'), world.host('h2')];
    const blue = h1.state.networks.get('blue')!;
    const item = { ...blue, origin: 'kernel' as const, devices: { bridge: 'plbr100', tunnel: 'pltn100' } };
    await h1.policy.apply({ ...h1.state, networks: new Map([['blue', item]]) }, [
      { kind: 'network', op: 'added', item },
    ]);
    // The other's own, which is not ours to change.
    world.nft('h1', 'add table ip theirs');
    world.nft('h1', 'add chain ip theirs post { type nat hook postrouting priority 100; policy accept; }');
    world.nft('h1', 'add rule ip theirs post ip saddr 10.200.0.0/16 ip daddr != 10.200.0.0/16 masquerade');
    const before = world.nft('h1', 'list', 'table', 'ip', 'theirs');
    const learned = (netns: string, mac: string) =>
      execFileSync('bridge', ['-n', netns, 'fdb', 'show', 'brport', 'pltn100'], { encoding: 'utf8' }).includes(mac);
    const heard: string[] = [];
    const other = LinuxSocket.open({ family: 2, type: 2, protocol: 17, netns: h2.netns });
    t.teardown(() => other.close());
    other.bind({ family: 'ipv4', address: lab.addressOf('h2'), port: VXLAN_PORT + 1 });
    other.onReadable(() => {
      for (const { from } of other.receiveBatch(8)) heard.push(from?.family === 'ipv4' ? from.address : '');
    });
    const sender = LinuxSocket.open({ family: 2, type: 2, protocol: 17, netns: lab.netnsOf('c1') });
    t.teardown(() => sender.close());
    const send = (host: string, port: number, mac: string) =>
      sender.send({ data: tunnelled(100, mac), to: { family: 'ipv4', address: lab.addressOf(host), port } });
    send('h2', VXLAN_PORT, '02:00:00:00:00:0a');
    send('h1', VXLAN_PORT, '02:00:00:00:00:0b');
    send('h2', VXLAN_PORT + 1, '02:00:00:00:00:0c');
    await until('what is no tunnel of anybody’s passes, in the host’s name', () => heard.length === 1);
    t.deepEqual(heard, [lab.addressOf('h1')]);
    await until('both are counted', () => {
      const { tunnel_of_instance: sent, tunnel_of_stranger: taken } = h1.policy.counters();
      return sent === 1 && taken === 1;
    });
    t.false(learned(h2.netns, '02:00:00:00:00:0a'));
    t.false(learned(h1.netns, '02:00:00:00:00:0b'));
    t.is(world.nft('h1', 'list', 'table', 'ip', 'theirs'), before);
    // When there is none of others any more, nothing of it stays.
    const stands = () => world.nft('h1', 'list', 'table', 'inet', 'peerless').includes('bridges_of_others');
    t.true(stands());
    await h1.policy.apply(h1.state, [{ kind: 'network', op: 'added', item: blue }]);
    t.false(stands());
  },
);
