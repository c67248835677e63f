/** Makes a lab of hosts real with iproute2. */
import { existsSync, readdirSync } from 'node:fs';
import { run } from '../processes.ts';
import { batch, PLAIN_BRIDGE, sysctl } from '../topology/build.ts';
import { fabricOf, type PlannedHost, type PlannedInstance, PUBLIC, publicOf, type UnderlayTopology } from './plan.ts';

/** Equal ifindexes in two namespaces delay the kernel's carrier events of veths: every device of a lab has its own. */
let nextIndex = 1000 + (process.pid % 4000) * 500;
const index = (): number => nextIndex++;

const QUIET = ['net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1'];

export async function makeNamespace(netns: string, settings: readonly string[] = []): Promise<void> {
  await run(['ip', 'netns', 'add', netns]);
  await sysctl(netns, [...QUIET, ...settings]);
  await batch(netns, ['link set lo up']);
}

export async function removeNamespaces(lab: string): Promise<void> {
  if (!existsSync('/run/netns')) return;
  for (const netns of readdirSync('/run/netns')) {
    if (netns.startsWith(`${lab}-`)) await run(['ip', 'netns', 'delete', netns]);
  }
}

/** The segment's bridge or the router, and the public world behind it. */
export async function buildFabric(
  lab: string,
  hosts: readonly PlannedHost[],
  topology: UnderlayTopology,
  mtu: number,
  offloads: boolean,
): Promise<void> {
  const fabric = fabricOf(lab);
  const outside = publicOf(lab);
  await makeNamespace(fabric, ['net.ipv4.ip_forward=1', 'net.ipv4.conf.all.send_redirects=0']);
  await makeNamespace(outside);
  await batch(fabric, [
    ...hosts.flatMap((host) => [
      `link add ${host.name} index ${index()} mtu ${mtu} type veth peer name ${host.device} index ${index()} address ${host.mac} mtu ${mtu} netns ${host.netns}`,
    ]),
    ...(topology === 'segment'
      ? [
          `link add br0 index ${index()} mtu ${mtu} ${PLAIN_BRIDGE}`,
          ...hosts.map((host) => `link set ${host.name} master br0`),
          `address add ${hosts[0]!.gateway}/${hosts[0]!.prefixLength} dev br0`,
          'link set br0 up',
        ]
      : hosts.map((host) => `address add ${host.gateway}/${host.prefixLength} dev ${host.name}`)),
    ...hosts.map((host) => `link set ${host.name} up`),
    `link add public index ${index()} mtu ${mtu} type veth peer name eth0 index ${index()} mtu ${mtu} netns ${outside}`,
    `address add ${PUBLIC.gateway}/${PUBLIC.prefixLength} dev public`,
    'link set public up',
  ]);
  await batch(outside, [
    `address add ${PUBLIC.address}/${PUBLIC.prefixLength} dev eth0`,
    'link set eth0 up',
    `route add default via ${PUBLIC.gateway}`,
  ]);
  for (const host of hosts) {
    await batch(host.netns, [
      `address add ${host.address}/${host.prefixLength} dev ${host.device}`,
      `link set ${host.device} up`,
      `route add default via ${host.gateway}`,
    ]);
    if (!offloads) {
      await withoutOffloads(host.netns, host.device);
      await withoutOffloads(fabric, host.name);
    }
  }
}

/** The instance's own side is as a container's: an address, a default route, nothing that knows of us. */
export async function buildInstance(instance: PlannedInstance, host: PlannedHost): Promise<void> {
  const { netns, mtu } = instance;
  await makeNamespace(netns);
  await batch(host.netns, [
    `link add ${instance.interface} index ${index()} mtu ${mtu} type veth peer name eth0 index ${index()} address ${instance.mac} mtu ${mtu} netns ${netns}`,
    `link set ${instance.interface} up`,
  ]);
  await batch(netns, [
    `address add ${instance.address}/${instance.prefixLength} dev eth0`,
    'link set eth0 up',
    ...(instance.gateway ? [`route add default via ${instance.gateway}`] : []),
  ]);
  if (!instance.offloads) {
    await withoutOffloads(netns, 'eth0');
    await withoutOffloads(host.netns, instance.interface);
  }
}

const OFFLOADS = 'tx off rx off sg off tso off gso off gro off tx-udp-segmentation off'.split(' ');

const withoutOffloads = (netns: string, device: string): Promise<string> =>
  run(['ip', 'netns', 'exec', netns, 'ethtool', '-K', device, ...OFFLOADS]);
