/** What others lay out on two hosts, by the kernel's own means: as flannel does it, and as a script does. */
import { HostLab, type LabInstance, type LabNetwork } from '../../../lab/hosts/index.ts';
import { run } from '../../../lab/processes.ts';

const subnetOf = (host: number): string => `10.244.${host}.0/24`;
const macOf = (host: number): string => `0a:f1:00:00:00:0${host}`;

export interface More {
  readonly networks: readonly LabNetwork[];
  readonly instances: readonly LabInstance[];
}

/** On each host a bridge with the host's share of the network, one vxlan device, a route to the other host's share. */
export async function flannelLab(name: string, more: More = { networks: [], instances: [] }): Promise<HostLab> {
  const lab = await HostLab.up({
    name,
    networks: [
      ...[1, 2].map((host) => ({
        name: `pods${host}`,
        vni: host,
        subnet: subnetOf(host),
        gateway: `10.244.${host}.1`,
      })),
      ...more.networks,
    ],
    instances: [
      { name: 'p1', host: 1, network: 'pods1', address: '10.244.1.5' },
      { name: 'p2', host: 1, network: 'pods1', address: '10.244.1.6' },
      { name: 'p3', host: 2, network: 'pods2', address: '10.244.2.5' },
      ...more.instances,
    ],
  });
  try {
    for (const { name: host, number, address, netns } of lab.hosts) {
      const other = 3 - number;
      await lab.ip(
        host,
        // As the bridge plugin of CNI has it: not that of whichever port is there.
        `link add cni0 address 0a:58:0a:f4:0${number}:01 type bridge`,
        'link set cni0 up',
        `address add 10.244.${number}.1/24 dev cni0`,
        ...lab.instances.flatMap(({ network, interface: port }) =>
          network === `pods${number}` ? [`link set ${port} master cni0`] : [],
        ),
        `link add flannel.1 address ${macOf(number)} type vxlan id 1 local ${address} dev eth0 nolearning dstport 8472`,
        'link set flannel.1 up',
        `address add 10.244.${number}.0/32 dev flannel.1`,
        `neigh add 10.244.${other}.0 lladdr ${macOf(other)} dev flannel.1 nud permanent`,
        `route add ${subnetOf(other)} via 10.244.${other}.0 dev flannel.1 onlink`,
      );
      await fdb(netns, 'add', macOf(other), 'flannel.1', `10.20.1.${other}`);
      await run(lab.inside(host, ['sysctl', '-q', '-w', 'net.ipv4.ip_forward=1']));
    }
    return lab;
  } catch (error) {
    await lab.down();
    throw error;
  }
}

/** Instances `x1` and `x2` of a lab on one segment: a bridge on each host, with a tunnel to the other as a port. */
export async function handMadeBridge(lab: HostLab, port = 4789): Promise<void> {
  for (const { name, number, address, netns } of lab.hosts) {
    await lab.ip(
      name,
      'link add br-hand type bridge',
      'link set br-hand up',
      `link add vx9 type vxlan id 9 local ${address} dstport ${port}`,
      'link set vx9 master br-hand',
      'link set vx9 up',
      `link set veth-x${number} master br-hand`,
      `address add 10.9.0.${number}/16 dev br-hand`,
    );
    await fdb(netns, 'append', '00:00:00:00:00:00', 'vx9', `10.20.1.${3 - number}`);
  }
}

const fdb = (netns: string, how: 'add' | 'append', mac: string, device: string, host: string): Promise<string> =>
  run(['bridge', '-n', netns, 'fdb', how, mac, 'dev', device, 'dst', host, 'self', 'permanent']);
