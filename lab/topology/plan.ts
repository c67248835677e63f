/**
 * The worked example (figures 7 and 10) as data: who exists, which port is cabled to which, who has which address.
 * Nothing here touches the machine; `build.ts` makes it real in network namespaces, `../containers` in containers.
 *
 * A cable is more than a veth pair, because such a pair can't lose carrier without somebody's port being shut by an
 * operator, and the ends of a real cable lose it together. To a server:
 *
 *     A2 (veth, in A) === wA2 (its peer, in the wires namespace) --- eth-a (macvlan passthru on wA2, in C4)
 *
 * `wA2` down takes the carrier of A2 and of eth-a in the same microseconds and leaves both administratively up (a
 * broken cable); `A2` down takes the carrier of eth-a (a switch port shut); `eth-a` and `wA2` down is a NIC shut.
 * To G, where FRR's zebra can't stand a macvlan (8.4 dies of one that comes up):
 *
 *     A0 (veth, in A) === wA0 >-- tc redirect --< wGA === GA (veth, in G)
 *
 * with `wA0` and `wGA` taken down in one message to the kernel.
 *
 * Every device has an ifindex that no other device of the lab has: the kernel reports a carrier change at once only
 * when a device's ifindex differs from its peer's (linkwatch's notion of a stacked device); two namespaces number
 * from 2 upwards, and equal numbers make events come up to a second late.
 */
export type ServerName = 'C1' | 'C2' | 'C3' | 'C4';
export type TorName = 'A' | 'B';
export type NodeName = 'G' | TorName | ServerName | 'X';
export type NicName = 'eth-a' | 'eth-b';
export type Protocol = 'ospf' | 'bgp' | 'both';
export type Family = 4 | 6;

export interface Server {
  readonly name: ServerName;
  readonly address: string;
  readonly address6: string;
  /** MAC of the team. */
  readonly mac: string;
  readonly primary: NicName;
  /** Port number on both switches: C4 is behind A2 and B2. */
  readonly slot: 1 | 2 | 3 | 4;
}

export interface Cable {
  /** Devices in the wires namespace whose administrative state is the state of the cable. */
  readonly wires: readonly { readonly name: string; readonly ifindex: number }[];
  readonly near: { readonly node: TorName; readonly port: string; readonly ifindex: number };
  readonly far: { readonly node: ServerName | 'G'; readonly port: string; readonly ifindex: number };
  readonly kind: 'uplink' | 'server';
  /** Up while the cable is whole: where the switches have lasers (`--ports sonic`), which a whole cable needs as well. */
  readonly whole: { readonly name: string; readonly ifindex: number };
}

export const SERVERS: readonly Server[] = [
  {
    name: 'C3',
    address: '10.10.10.1',
    address6: '2001:db8:10::1',
    mac: '02:00:00:00:00:03',
    primary: 'eth-a',
    slot: 1,
  },
  {
    name: 'C4',
    address: '10.10.10.2',
    address6: '2001:db8:10::2',
    mac: '02:00:00:00:00:04',
    primary: 'eth-a',
    slot: 2,
  },
  {
    name: 'C1',
    address: '10.10.10.4',
    address6: '2001:db8:10::4',
    mac: '02:00:00:00:00:01',
    primary: 'eth-b',
    slot: 3,
  },
  {
    name: 'C2',
    address: '10.10.10.5',
    address6: '2001:db8:10::5',
    mac: '02:00:00:00:00:02',
    primary: 'eth-b',
    slot: 4,
  },
];

export const SUBNET = '10.10.10.0/24';
export const SUBNET6 = '2001:db8:10::/64';
/** Where the addresses of a case with very many are. */
export const CROWD_NETWORK = '10.20.0.0/16';
const INSIDE = { 4: ['10.10.10.', '10.20.'], 6: ['2001:db8:10::'] } as const;

/** An address that hosts of the lab may have. */
export const isHostAddress = (address: string, family: Family): boolean =>
  INSIDE[family].some((beginning) => address.startsWith(beginning)) && !address.includes('/');

export const GATEWAY_ADDRESS = '10.10.10.254';
export const GATEWAY_ADDRESS6 = '2001:db8:10::fe';
/** Both ToRs answer for the gateway with one MAC, so that a server that moves needs no new neighbour entry. */
export const GATEWAY_MAC = '00:00:5e:00:01:0a';
/** Name of the SVI with `ports: bridge`. */
export const BRIDGE = 'br0';

export const CLIENT = {
  address: '198.51.100.10',
  prefixLength: 24,
  gateway: '198.51.100.1',
  address6: '2001:db8:51::10',
  gateway6: '2001:db8:51::1',
} as const;

export const TORS: Readonly<
  Record<
    TorName,
    {
      routerId: string;
      asn: number;
      uplink: string;
      address: string;
      peer: string;
      /** The uplink's IPv6 addresses, ours and G's, in a /64. */
      address6: string;
      peer6: string;
      gatewayPort: string;
    }
  >
> = {
  A: {
    routerId: '10.255.0.1',
    asn: 65001,
    uplink: 'A0',
    address: '192.0.2.2',
    peer: '192.0.2.1',
    address6: '2001:db8:a::2',
    peer6: '2001:db8:a::1',
    gatewayPort: 'GA',
  },
  B: {
    routerId: '10.255.0.2',
    asn: 65002,
    uplink: 'B0',
    address: '192.0.2.6',
    peer: '192.0.2.5',
    address6: '2001:db8:b::2',
    peer6: '2001:db8:b::1',
    gatewayPort: 'GB',
  },
};

export const GATEWAY = { routerId: '10.255.0.254', asn: 65000 } as const;

export const TOR_NAMES: readonly TorName[] = ['A', 'B'];
export const NODES: readonly NodeName[] = ['G', 'A', 'B', 'C1', 'C2', 'C3', 'C4', 'X'];

const FIRST_IFINDEX = 1001;

export const CABLES: readonly Cable[] = TOR_NAMES.flatMap((tor, side) =>
  [0, 1, 2, 3, 4].map((slot): Cable => {
    const base = FIRST_IFINDEX + side * 100 + slot * 10;
    const port = `${tor}${slot}`;
    const server = SERVERS.find((candidate) => candidate.slot === slot);
    return {
      wires: [
        { name: `w${port}`, ifindex: base + 1 },
        ...(server ? [] : [{ name: `w${TORS[tor].gatewayPort}`, ifindex: base + 3 }]),
      ],
      near: { node: tor, port, ifindex: base },
      far: server
        ? { node: server.name, port: tor === 'A' ? 'eth-a' : 'eth-b', ifindex: base + 2 }
        : { node: 'G', port: TORS[tor].gatewayPort, ifindex: base + 2 },
      kind: server ? 'server' : 'uplink',
      whole: { name: `ok${port}`, ifindex: base + 4 },
    };
  }),
);

export const downlinksOf = (tor: TorName): string[] => [1, 2, 3, 4].map((slot) => `${tor}${slot}`);

export function cableAt(port: string): Cable {
  const cable = CABLES.find((candidate) => candidate.near.port === port);
  if (!cable) throw new Error(`no cable at port ${port}`);
  return cable;
}

/** An argument of the lab's programs: `4`, `6` or `4,6`. */
export const familiesFrom = (text = '4'): Family[] => text.split(',').map((family) => (family === '6' ? 6 : 4));

/** The ToR that a server's primary link leads to. */
export const homeOf = (server: Server): TorName => (server.primary === 'eth-a' ? 'A' : 'B');

/** Names of the lab's own namespaces, so that several labs stand side by side. */
export const namespaceOf = (lab: string, node: string): string => `${lab}-${node}`;
