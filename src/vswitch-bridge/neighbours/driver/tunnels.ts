/**
 * The kernel's own tunnels, whoever made them: devices of the kinds vxlan, gre, geneve and ipip, the remote address that
 * a device has for itself, and, of vxlan devices, the forwarding database: which MAC is behind which remote address, and
 * to whom frames for unknown ones go.
 */
import { IFLA_VXLAN, type Link, type Neighbour, type Subscription } from 'rtnetlink-ts';
import { type Address, formatAddress, type Mac, parseAddress } from '../../../model/address.ts';

export interface TunnelDevice {
  readonly ifindex: number;
  readonly name: string;
  readonly kind: string;
  /** Its own end; absent: the route decides. */
  readonly local: Address | undefined;
  /** Its one other end. */
  readonly remote: Address | undefined;
  /** The other end comes with each packet. */
  readonly external: boolean;
}

export interface TunnelEvents {
  device(device: TunnelDevice): void;
  deviceGone(ifindex: number): void;
  /** `remote` undefined: the entry went. */
  address(ifindex: number, mac: Mac, remote: Address | undefined): void;
  /** Where frames for unknown MACs and groups go; all of them. */
  flood(ifindex: number, remotes: readonly Address[]): void;
  /** The first, or the last, mention of `remote` on this device. */
  remote(device: TunnelDevice, remote: Address, present: boolean): void;
}

/** Attributes of IFLA_INFO_DATA: local and remote address, external. */
interface Numbers {
  readonly local: readonly number[];
  readonly remote: readonly number[];
  readonly external: number;
}

const GRE: Numbers = { local: [6], remote: [7], external: 18 };
const IPTUN: Numbers = { local: [2], remote: [3], external: 19 };
const KINDS: Readonly<Record<string, Numbers>> = {
  vxlan: {
    local: [IFLA_VXLAN.LOCAL, IFLA_VXLAN.LOCAL6],
    remote: [IFLA_VXLAN.GROUP, IFLA_VXLAN.GROUP6],
    external: IFLA_VXLAN.COLLECT_METADATA,
  },
  geneve: { local: [], remote: [2, 7], external: 6 },
  gre: GRE,
  gretap: GRE,
  ip6gre: GRE,
  ip6gretap: GRE,
  ipip: IPTUN,
  sit: IPTUN,
  ip6tnl: IPTUN,
};

const ALL_ZERO = '00:00:00:00:00:00';

interface Known {
  device: TunnelDevice;
  readonly addresses: Map<string, Address>;
  readonly flood: Set<Address>;
  readonly mentions: Map<Address, number>;
}

/** As long as the subscription lives; what is there already is told before this returns. */
export function followKernelTunnels(subscription: Subscription, events: TunnelEvents): void {
  new KernelTunnels(subscription, events).start();
}

class KernelTunnels {
  readonly #subscription: Subscription;
  readonly #events: TunnelEvents;
  readonly #known = new Map<number, Known>();

  constructor(subscription: Subscription, events: TunnelEvents) {
    this.#subscription = subscription;
    this.#events = events;
  }

  start(): void {
    const subscription = this.#subscription;
    for (const link of subscription.table('link').values()) this.#link(link);
    for (const entry of subscription.table('fdb').values()) this.#entry(undefined, entry);
    subscription.onChange((change) => {
      if (change.kind === 'link') {
        if (change.after) this.#link(change.after);
        else if (change.before) this.#gone(change.before.ifindex);
      } else if (change.kind === 'fdb') this.#entry(change.before, change.after);
    });
  }

  #link(link: Link): void {
    const numbers = link.kind === undefined ? undefined : KINDS[link.kind];
    if (!numbers) return;
    const device = describe(link, numbers);
    const known = this.#known.get(link.ifindex);
    if (known && same(known.device, device)) return;
    if (known) this.#gone(link.ifindex);
    const fresh: Known = { device, addresses: new Map(), flood: new Set(), mentions: new Map() };
    this.#known.set(link.ifindex, fresh);
    this.#events.device(device);
    if (device.remote !== undefined) {
      fresh.flood.add(device.remote);
      this.#mention(fresh, device.remote, 1);
      this.#events.flood(link.ifindex, [...fresh.flood]);
    }
    // What was told of it before it was a tunnel, or under its old name.
    for (const [mac, remote] of known?.addresses ?? []) this.#setAddress(fresh, mac, remote);
  }

  #gone(ifindex: number): void {
    const known = this.#known.get(ifindex);
    if (!known) return;
    this.#known.delete(ifindex);
    for (const remote of known.mentions.keys()) this.#events.remote(known.device, remote, false);
    this.#events.deviceGone(ifindex);
  }

  #entry(before: Neighbour | undefined, after: Neighbour | undefined): void {
    const entry = (after ?? before)!;
    const known = this.#known.get(entry.ifindex);
    const remote = parseAddress(entry.destination ?? '');
    // Those of the bridge that the device is a port of have no destination.
    if (!known || remote === undefined || entry.linkAddress === undefined || isGroup(remote)) return;
    const mac = entry.linkAddress;
    if (mac === ALL_ZERO) this.#setFlood(known, remote, after !== undefined);
    else if (after) this.#setAddress(known, mac, remote);
    // A MAC that has moved to another end is told as one new entry; the old one's end is not its end.
    else if (known.addresses.get(mac) === remote) this.#setAddress(known, mac, undefined);
  }

  #setFlood(known: Known, remote: Address, present: boolean): void {
    if (known.flood.has(remote) === present) return;
    if (present) known.flood.add(remote);
    else known.flood.delete(remote);
    this.#mention(known, remote, present ? 1 : -1);
    this.#events.flood(known.device.ifindex, [...known.flood]);
  }

  #setAddress(known: Known, mac: string, remote: Address | undefined): void {
    const before = known.addresses.get(mac);
    if (before === remote) return;
    if (remote === undefined) known.addresses.delete(mac);
    else {
      known.addresses.set(mac, remote);
      this.#mention(known, remote, 1);
    }
    this.#events.address(known.device.ifindex, mac as Mac, remote);
    if (before !== undefined) this.#mention(known, before, -1);
  }

  #mention(known: Known, remote: Address, difference: 1 | -1): void {
    const before = known.mentions.get(remote) ?? 0;
    const after = before + difference;
    if (after > 0) known.mentions.set(remote, after);
    else known.mentions.delete(remote);
    if (before === 0) this.#events.remote(known.device, remote, true);
    else if (after === 0) this.#events.remote(known.device, remote, false);
  }
}

function describe(link: Link, numbers: Numbers): TunnelDevice {
  const attributes = attributesOf(link.kindData);
  const address = (types: readonly number[]): Address | undefined => {
    for (const type of types) {
      const bytes = attributes.get(type);
      if ((bytes?.length === 4 || bytes?.length === 16) && bytes.some((octet) => octet !== 0))
        return formatAddress(bytes);
    }
    return undefined;
  };
  const remote = address(numbers.remote);
  const external = attributes.get(numbers.external);
  return {
    ifindex: link.ifindex,
    name: link.name,
    kind: link.kind!,
    local: address(numbers.local),
    // A group's members are not asked by ARP.
    remote: remote !== undefined && isGroup(remote) ? undefined : remote,
    // A flag without a value, or an octet.
    external: external !== undefined && (external.length === 0 || external[0] !== 0),
  };
}

/** `struct nlattr`: length with header, type, value, padded to four octets. What is malformed ends the list. */
function attributesOf(data: Uint8Array | undefined): ReadonlyMap<number, Uint8Array> {
  const result = new Map<number, Uint8Array>();
  if (!data) return result;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  for (let at = 0; at + 4 <= data.length; ) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > data.length) break;
    result.set(view.getUint16(at + 2, true) & 0x3fff, data.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return result;
}

const isGroup = (address: Address): boolean =>
  address.includes(':') ? address.startsWith('ff') : Number.parseInt(address, 10) >= 224;

const same = (one: TunnelDevice, other: TunnelDevice): boolean =>
  one.name === other.name &&
  one.kind === other.kind &&
  one.local === other.local &&
  one.remote === other.remote &&
  one.external === other.external;
