import type { Address, Mac, Prefix } from '../../model/address.ts';
import { familyOf, prefixAddress, prefixContains } from '../../model/address.ts';
import type { Port } from '../../model/ports.ts';
import type { Asker } from '../../netlink/frames/index.ts';
import type { HostPolicy } from '../machine/types.ts';
import type { HostKernel } from '../options.ts';
import type { SweepPlace } from './sweep.ts';

/**
 * Where the hosts of a port are routed: on the port itself or, for a member of a bridge or bond, on its master; where a
 * bridge carries VLANs, on the VLAN interface that has an address in the host's prefix.
 */
export class Placement {
  readonly #kernel: HostKernel;
  #policy: HostPolicy;
  #downlinks: ReadonlySet<string>;
  /** VLAN interfaces with an address in a prefix; worked out anew when any port changed. */
  #vlanInterfaces: readonly { port: Port; prefix: Prefix }[] | undefined;

  constructor(kernel: HostKernel, policy: HostPolicy) {
    this.#kernel = kernel;
    this.#policy = policy;
    this.#downlinks = new Set(policy.ports);
  }

  configure(policy: HostPolicy): void {
    this.#policy = policy;
    this.#downlinks = new Set(policy.ports);
    this.portsChanged();
  }

  portsChanged(): void {
    this.#vlanInterfaces = undefined;
  }

  isDownlink(name: string): boolean {
    return this.#downlinks.has(name);
  }

  isBridged(port: Port): boolean {
    return this.#bridgeOf(port) !== undefined;
  }

  /** The interface that a host route for `address` behind `port` points to. */
  routedOn(port: Port, address: Address): Port {
    const bridge = this.#bridgeOf(port);
    if (!bridge) return this.#masterOf(port, 'bond') ?? this.#masterOf(port, 'team') ?? port;
    const vlans = this.#vlans();
    if (vlans.length === 0 || this.#addressIn(bridge, this.#prefixOf(address))) return bridge;
    return vlans.find(({ prefix }) => prefixContains(prefix, address))?.port ?? bridge;
  }

  /** Where the kernel keeps the neighbours behind `port`, and for the members of a bridge those of the other members. */
  neighbourInterfaces(port: Port): readonly Port[] {
    const bridge = this.#bridgeOf(port);
    if (bridge) return [bridge, ...this.#vlans().map((vlan) => vlan.port)];
    return [this.#masterOf(port, 'bond') ?? this.#masterOf(port, 'team') ?? port];
  }

  /** Where all hosts of `prefixes` behind these ports can be asked: each routed interface once. */
  sweepPlaces(ports: Iterable<Port>): SweepPlace[] {
    const places = new Map<string, SweepPlace>();
    for (const port of ports) {
      for (const prefix of this.#policy.prefixes) {
        const place = { interface: this.routedOn(port, prefixAddress(prefix)).name, prefix };
        places.set(`${place.interface} ${prefix}`, place);
      }
    }
    return [...places.values()];
  }

  /** Our own address in a prefix, as seen on this interface. */
  addressIn(port: Port, prefix: Prefix): Address | undefined {
    return this.#addressIn(port, prefix);
  }

  /** As whom a host behind `port` is asked; undefined when the interface has no Ethernet address. */
  asker(port: Port, target: Address): Asker | undefined {
    const routed = this.routedOn(port, target);
    const mac = routed.mac ?? port.mac;
    if (!mac) return undefined;
    const address =
      this.#addressIn(routed, this.#prefixOf(target)) ??
      (familyOf(target) === 6 ? routed.addresses.find((each) => /^fe[89ab]/.test(each.address))?.address : undefined);
    return address ? { mac, address } : { mac };
  }

  /** The downlink behind which the kernel's neighbour on interface `ifindex` is; undefined: not one of ours. */
  downlinkOf(ifindex: number, mac: Mac): Port | undefined {
    const port = this.#kernel.portByIndex(ifindex);
    if (!port) return undefined;
    if (this.#downlinks.has(port.name)) return port;
    if (port.kind !== 'bridge' && port.kind !== 'vlan') return undefined;
    const bridges = port.kind === 'bridge' ? [ifindex] : this.#bridges();
    for (const bridge of bridges) {
      const member = this.#kernel.fdb.portOf(mac, bridge);
      if (member && this.#downlinks.has(member.name)) return member;
    }
    return undefined;
  }

  #bridgeOf(port: Port): Port | undefined {
    return this.#masterOf(port, 'bridge');
  }

  #masterOf(port: Port, kind: string): Port | undefined {
    const master = port.master === 0 ? undefined : this.#kernel.portByIndex(port.master);
    return master?.kind === kind ? master : undefined;
  }

  #bridges(): Set<number> {
    const bridges = new Set<number>();
    for (const name of this.#downlinks) {
      const port = this.#kernel.port(name);
      const bridge = port && this.#bridgeOf(port);
      if (bridge) bridges.add(bridge.ifindex);
    }
    return bridges;
  }

  #vlans(): readonly { port: Port; prefix: Prefix }[] {
    this.#vlanInterfaces ??= Array.from(this.#kernel.ports())
      .filter((port) => port.kind === 'vlan')
      .flatMap((port) =>
        this.#policy.prefixes.filter((prefix) => this.#addressIn(port, prefix)).map((prefix) => ({ port, prefix })),
      );
    return this.#vlanInterfaces;
  }

  #prefixOf(address: Address): Prefix | undefined {
    return this.#policy.prefixes.find((prefix) => prefixContains(prefix, address));
  }

  #addressIn(port: Port, prefix: Prefix | undefined): Address | undefined {
    return prefix && port.addresses.find((each) => prefixContains(prefix, each.address))?.address;
  }
}
