/** What a lab of hosts consists of, as plain data: names, addresses and devices, before anything is made. */

/** How the hosts reach each other: one segment, or each behind a router of its own subnet. */
export type UnderlayTopology = 'segment' | 'routed';

export interface HostLabOptions {
  /** Prefix of every namespace: lower-case letters and digits, at most 20; unique on the machine. */
  readonly name: string;
  /** How many hosts, 1 to 9; default 2. Or those that stand already: no fabric is made then, and no public world. */
  readonly hosts?: number | readonly StandingHost[];
  readonly networks?: readonly LabNetwork[];
  readonly instances?: readonly LabInstance[];
  readonly underlay?: {
    readonly topology?: UnderlayTopology;
    /** Of every underlay link; default 1500. */
    readonly mtu?: number;
  };
  /** Default true: checksum and segmentation offloads of all veths, underlay and instances alike. */
  readonly offloads?: boolean;
  /** MTU of instances that name none; default 1450. */
  readonly mtu?: number;
}

export interface LabNetwork {
  readonly name: string;
  readonly vni: number;
  /** `address/length`. */
  readonly subnet: string;
  readonly gateway?: string;
  readonly encapsulation?: 'vxlan' | 'gre' | 'geneve' | 'ipip';
}

export interface LabInstance {
  /** Unique in the lab, at most 10 characters: the host's side is `veth-NAME`. */
  readonly name: string;
  /** 1 for h1. */
  readonly host: number;
  readonly network: string;
  readonly address: string;
  readonly mtu?: number;
  readonly offloads?: boolean;
}

export interface PlannedHost {
  /** `h1`, `h2` ... */
  readonly name: string;
  readonly number: number;
  /** Name in /run/netns. */
  readonly netns: string;
  /** Its underlay device. */
  readonly device: string;
  readonly address: string;
  readonly prefixLength: number;
  /** Where it sends what is for elsewhere. */
  readonly gateway: string;
  readonly mac: string;
}

/** A namespace that has its underlay; who made it removes it. */
export type StandingHost = Omit<PlannedHost, 'name' | 'number'>;

export interface PlannedInstance extends Required<LabInstance> {
  readonly netns: string;
  /** Host's side. */
  readonly interface: string;
  readonly mac: string;
  readonly gateway: string | undefined;
  readonly prefixLength: number;
}

/** The whole world beyond the fabric, with one address in it. */
export const PUBLIC = { address: '198.51.100.10', gateway: '198.51.100.1', prefixLength: 24 } as const;
export const UNDERLAY_DEVICE = 'eth0';

export const fabricOf = (lab: string): string => `${lab}-fabric`;
export const publicOf = (lab: string): string => `${lab}-public`;

export function planHost(lab: string, number: number, topology: UnderlayTopology): PlannedHost {
  const own = topology === 'segment' ? `10.20.1.${number}` : `10.20.${number}.1`;
  return {
    name: `h${number}`,
    number,
    netns: `${lab}-h${number}`,
    device: UNDERLAY_DEVICE,
    address: own,
    prefixLength: 24,
    gateway: topology === 'segment' ? '10.20.1.254' : `10.20.${number}.254`,
    mac: `02:20:00:00:00:0${number}`,
  };
}

export function planInstance(
  lab: string,
  instance: LabInstance,
  networks: readonly LabNetwork[],
  options: Pick<HostLabOptions, 'mtu' | 'offloads'>,
): PlannedInstance {
  const network = networks.find(({ name }) => name === instance.network);
  if (!network) throw new Error(`instance ${instance.name}: no network named ${instance.network}`);
  if (instance.name.length > 10) throw new Error(`instance ${instance.name}: at most 10 characters`);
  const octets = instance.address.split('.').map(Number);
  return {
    mtu: options.mtu ?? 1450,
    offloads: options.offloads ?? true,
    ...instance,
    netns: `${lab}-${instance.name}`,
    interface: `veth-${instance.name}`,
    // As container networks do it: the address says the MAC; the network's number keeps overlapping ones apart.
    mac: `0a:${octet(network.vni & 255)}:${octets.map(octet).join(':')}`,
    gateway: network.gateway,
    prefixLength: Number(network.subnet.split('/')[1]),
  };
}

const octet = (value: number): string => value.toString(16).padStart(2, '0');
