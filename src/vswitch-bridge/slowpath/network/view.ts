/** The layout as an operator reads it. */
import type { Address } from '../../../model/address.ts';
import { tunnelMtu } from './desired.ts';
import type { Layout } from './layout.ts';
import { bridgeName } from './names.ts';
import type { Devices } from './writer.ts';

export interface NetworkView {
  readonly name: string;
  readonly vni: number;
  readonly bridge: string;
  readonly tunnels: readonly string[];
  /** Absent: it is not routed. */
  readonly table?: number;
  /** A network whose subnet overlaps: for that neither is routed to any other network. */
  readonly overlaps?: string;
  /** The largest packet of an instance that crosses the underlay in one piece. */
  readonly tunnelMtu: number;
  readonly instances: readonly InstanceView[];
}

export interface InstanceView {
  readonly name: string;
  readonly device: string;
  /** `waiting`: there is no such device. `elsewhere`: it is in another bridge. */
  readonly state: 'joined' | 'waiting' | 'elsewhere' | 'down';
  readonly ifindex?: number;
  readonly mtu?: number;
  /** Its packets are larger than the tunnel's: in pieces, or refused by "fragmentation needed". */
  readonly oversize?: true;
}

export interface LayoutView {
  readonly underlay: Address;
  readonly networks: readonly NetworkView[];
  /** What the kernel refused, in words. */
  readonly problems: readonly string[];
}

export function viewOf(layout: Layout, devices: Devices, problems: readonly string[]): LayoutView {
  const { state, domains, objects } = layout;
  const tunnels = [...objects.values()].filter((object) => object.kind === 'tunnel');
  const networks = layout.networks.map((network): NetworkView => {
    const { name, vni } = network;
    const bridge = bridgeName(vni);
    const table = layout.tableOf(network);
    const overlaps = domains.isolated.get(name);
    const mtu = tunnelMtu(network, state.underlay, { mtuOf: (device) => devices.byName(device)?.mtu });
    const master = devices.byName(bridge)?.ifindex;
    const instances = [...state.instances.values()]
      .filter((instance) => instance.network === name && instance.origin !== 'kernel')
      .map((instance): InstanceView => {
        const link = devices.byName(instance.interface);
        const base = { name: instance.name, device: instance.interface };
        if (!link) return { ...base, state: 'waiting' };
        const where = link.master !== master ? 'elsewhere' : link.up ? 'joined' : 'down';
        const oversize = link.mtu > mtu ? ({ oversize: true } as const) : {};
        return { ...base, state: where, ifindex: link.ifindex, mtu: link.mtu, ...oversize };
      });
    return {
      name,
      vni,
      bridge,
      tunnels: tunnels.filter((tunnel) => tunnel.vni === vni).map((tunnel) => tunnel.name),
      ...(table === undefined ? {} : { table }),
      ...(overlaps === undefined ? {} : { overlaps }),
      tunnelMtu: mtu,
      instances,
    };
  });
  return { underlay: state.underlay.address, networks, problems };
}
