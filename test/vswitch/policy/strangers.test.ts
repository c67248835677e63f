/** Who is listened to on the kernel's VXLAN port. */
import { execFileSync } from 'node:child_process';
import test from 'ava';
import { LinuxSocket } from 'linux-sockets';
import { PUBLIC } from '../../../lab/hosts/index.ts';
import type { Address } from '../../../src/model/address.ts';
import type { OverlayRemote } from '../../../src/model/overlay.ts';
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
