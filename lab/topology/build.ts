/** Makes the plan real with iproute2, and takes away what it made. */
import { existsSync, readdirSync } from 'node:fs';
import { run } from '../processes.ts';
import {
  BRIDGE,
  CABLES,
  CLIENT,
  downlinksOf,
  type Family,
  GATEWAY,
  GATEWAY_ADDRESS,
  GATEWAY_ADDRESS6,
  GATEWAY_MAC,
  NODES,
  namespaceOf,
  SERVERS,
  TOR_NAMES,
  TORS,
  type TorName,
} from './plan.ts';

/** `sonic`: routed, and shut and opened through SONiC's databases (`../tor/sonic`). */
export type PortMode = 'routed' | 'bridge' | 'sonic';

/**
 * No STP, no IGMP snooping: a team and a plain access switch have neither. Without a forward delay no timer moves a
 * port from listening, where the team has put it, to forwarding.
 */
export const PLAIN_BRIDGE = 'type bridge stp_state 0 forward_delay 0 mcast_snooping 0';

/** Namespaces that exist already (a container's, linked into /run/netns) are used as they are. */
export async function buildTopology(lab: string, ports: PortMode, families: readonly Family[] = [4]): Promise<void> {
  const six = families.includes(6);
  const four = families.includes(4);
  const names = [...NODES, 'wires'] as const;
  const make = async (node: (typeof names)[number]): Promise<void> => {
    const namespace = namespaceOf(lab, node);
    if (!existsSync(`/run/netns/${namespace}`)) await run(['ip', 'netns', 'add', namespace]);
    await sysctl(namespace, [
      ...familySysctls(families),
      'net.ipv4.conf.all.rp_filter=0',
      'net.ipv4.conf.default.rp_filter=0',
      ...(isRouter(node) ? ROUTER_SYSCTLS : []),
      ...(six && isRouter(node) ? ['net.ipv6.conf.all.forwarding=1'] : []),
    ]);
  };
  await Promise.all(names.map(make));
  await layCables(lab, ports === 'sonic');
  for (const tor of TOR_NAMES) await furnishTor(lab, tor, ports, families);
  await furnishGateway(lab, families);
  for (const server of SERVERS) {
    await batch(namespaceOf(lab, server.name), [
      'link set lo up',
      `link add bond0 address ${server.mac} ${PLAIN_BRIDGE}`,
      // A port that always forwards: between two links the bridge itself would lose its carrier, and the kernel, slow
      // to tell of such changes, would refuse the server's packets for up to a second after the new link carries.
      'link add keep type veth peer name keep0',
      'link set keep0 up',
      'link set keep master bond0',
      'link set keep type bridge_slave isolated on learning off flood off',
      'link set keep up',
      ...(['eth-a', 'eth-b'] as const).flatMap((nic) => [
        `link set ${nic} master bond0`,
        // Unknown destinations go to whichever port forwards: nothing learnt has to be forgotten at a switch-over.
        `link set ${nic} type bridge_slave isolated on learning off flood on`,
        `link set ${nic} up`,
      ]),
      'link set bond0 up',
      ...(four ? [`address add ${server.address}/24 dev bond0`, `route add default via ${GATEWAY_ADDRESS}`] : []),
      ...(six ? hostAddress6(server.address6, 'bond0') : []),
    ]);
  }
  await batch(namespaceOf(lab, 'X'), [
    'link set lo up',
    'link set eth0 up',
    ...(four
      ? [`address add ${CLIENT.address}/${CLIENT.prefixLength} dev eth0`, `route add default via ${CLIENT.gateway}`]
      : []),
    ...(six ? [`address add ${CLIENT.address6}/64 dev eth0 nodad`, `route add ::/0 via ${CLIENT.gateway6}`] : []),
  ]);
}

const isRouter = (node: string): boolean => node === 'G' || node === 'A' || node === 'B';

/** Router solicitations and MLD would only be noise in the captures. */
const NO_IPV6_SYSCTLS = ['net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1'];

/**
 * Addresses by hand and at once, and kept while a port is shut: without `keep_addr_on_down` the kernel forgets the
 * gateway's address of every port that a group shuts.
 */
const IPV6_SYSCTLS = ['all', 'default'].flatMap((which) => [
  `net.ipv6.conf.${which}.accept_dad=0`,
  `net.ipv6.conf.${which}.accept_ra=0`,
  `net.ipv6.conf.${which}.keep_addr_on_down=1`,
]);

export const familySysctls = (families: readonly Family[]): readonly string[] =>
  families.includes(6) ? IPV6_SYSCTLS : NO_IPV6_SYSCTLS;

/** On-link is the gateway alone, as where a router's advertisement has no L flag: neighbours are behind two switches. */
export const hostAddress6 = (address: string, device: string): string[] => [
  `address add ${address}/64 dev ${device} nodad noprefixroute`,
  `route add ${GATEWAY_ADDRESS6}/128 dev ${device}`,
  `route add ::/0 via ${GATEWAY_ADDRESS6} dev ${device}`,
];

const ROUTER_SYSCTLS = [
  'net.ipv4.ip_forward=1',
  'net.ipv4.conf.all.send_redirects=0',
  'net.ipv4.conf.default.send_redirects=0',
];

async function layCables(lab: string, lasers: boolean): Promise<void> {
  const wires = namespaceOf(lab, 'wires');
  await batch(wires, [
    'link set lo up',
    ...(lasers
      ? CABLES.flatMap(({ whole: { name, ifindex } }) => [
          `link add ${name} index ${ifindex} ${PLAIN_BRIDGE}`,
          `link set ${name} up`,
        ])
      : []),
    ...CABLES.flatMap(({ wires: [wire, farWire], near, far }) => [
      `link add ${wire!.name} index ${wire!.ifindex} type veth peer name ${near.port} index ${near.ifindex} netns ${namespaceOf(lab, near.node)}`,
      farWire
        ? `link add ${farWire.name} index ${farWire.ifindex} type veth peer name ${far.port} index ${far.ifindex} netns ${namespaceOf(lab, far.node)}`
        : `link add link ${wire!.name} name ${far.port} index ${far.ifindex} netns ${namespaceOf(lab, far.node)} type macvlan mode passthru`,
    ]),
    ...CABLES.flatMap((cable) => cable.wires.map(({ name }) => `link set ${name} up`)),
  ]);
  await run(
    ['tc', '-n', wires, '-batch', '-'],
    CABLES.filter((cable) => cable.wires.length === 2)
      .flatMap(({ wires: [left, right] }) => [
        ...redirect(left!.name, right!.name),
        ...redirect(right!.name, left!.name),
      ])
      .join(''),
  );
  await batch(namespaceOf(lab, 'G'), [
    `link add GX index 1901 type veth peer name eth0 index 1902 netns ${namespaceOf(lab, 'X')}`,
  ]);
}

const redirect = (from: string, to: string): string[] => [
  `qdisc add dev ${from} clsact\n`,
  `filter add dev ${from} ingress protocol all u32 match u32 0 0 action mirred egress redirect dev ${to}\n`,
];

async function furnishTor(lab: string, tor: TorName, ports: PortMode, families: readonly Family[]): Promise<void> {
  const [four, six] = [families.includes(4), families.includes(6)];
  const namespace = namespaceOf(lab, tor);
  const { routerId, uplink, address, address6 } = TORS[tor];
  const downlinks = downlinksOf(tor);
  const gateways = ports === 'bridge' ? [BRIDGE] : downlinks;
  await batch(namespace, [
    'link set lo up',
    ...(four ? [`address add ${routerId}/32 dev lo`, `address add ${address}/30 dev ${uplink}`] : []),
    ...(six ? [`address add ${address6}/64 dev ${uplink} nodad`] : []),
    `link set ${uplink} up`,
    ...(ports === 'bridge'
      ? [
          `link add ${BRIDGE} address ${GATEWAY_MAC} ${PLAIN_BRIDGE}`,
          ...downlinks.map((port) => `link set ${port} master ${BRIDGE}`),
          `link set ${BRIDGE} up`,
        ]
      : downlinks.map((port) => `link set ${port} address ${GATEWAY_MAC}`)),
    // A /32: the ToR has no connected subnet that it might announce or believe in.
    ...(four ? gateways.map((name) => `address add ${GATEWAY_ADDRESS}/32 dev ${name}`) : []),
    ...(six ? gateways.map((name) => `address add ${GATEWAY_ADDRESS6}/128 dev ${name} nodad`) : []),
    ...downlinks.map((port) => `link set ${port} up`),
  ]);
  await sysctl(
    namespace,
    gateways.flatMap((name) => [
      // Servers of one subnet sit behind two switches: each ARPs for the others and gets the switch.
      `net.ipv4.conf.${name}.proxy_arp=1`,
      `net.ipv4.neigh.${name}.proxy_delay=0`,
      `net.ipv4.conf.${name}.arp_accept=1`,
      `net.ipv4.conf.${name}.rp_filter=0`,
    ]),
  );
}

async function furnishGateway(lab: string, families: readonly Family[]): Promise<void> {
  const [four, six] = [families.includes(4), families.includes(6)];
  await batch(namespaceOf(lab, 'G'), [
    'link set lo up',
    ...(four ? [`address add ${GATEWAY.routerId}/32 dev lo`] : []),
    ...TOR_NAMES.flatMap((tor) => [
      ...(four ? [`address add ${TORS[tor].peer}/30 dev ${TORS[tor].gatewayPort}`] : []),
      ...(six ? [`address add ${TORS[tor].peer6}/64 dev ${TORS[tor].gatewayPort} nodad`] : []),
      `link set ${TORS[tor].gatewayPort} up`,
    ]),
    ...(four ? [`address add ${CLIENT.gateway}/${CLIENT.prefixLength} dev GX`] : []),
    ...(six ? [`address add ${CLIENT.gateway6}/64 dev GX nodad`] : []),
    'link set GX up',
  ]);
}

/** Removes every namespace of the lab, a case's own among them, and with it every device. */
export async function removeTopology(lab: string): Promise<void> {
  const namespaces = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
  const ours = namespaces.filter((namespace) => namespace.startsWith(namespaceOf(lab, '')));
  await Promise.all(ours.map((namespace) => run(['ip', 'netns', 'delete', namespace])));
}

/** One process for many commands of iproute2; the first that fails ends it. */
export const batch = (namespace: string, lines: readonly string[]): Promise<string> =>
  run(['ip', '-n', namespace, '-batch', '-'], `${lines.join('\n')}\n`);

export const sysctl = (namespace: string, settings: readonly string[]): Promise<string> =>
  run(['ip', 'netns', 'exec', namespace, 'sysctl', '-q', '-w', ...settings]);
