/** Names and numbers that the parts of the ruleset share, and that others may look for in the kernel. */
import type { OverlayNetwork, OverlayState } from '../../../../model/overlay.ts';
import { bridgeName, GENEVE_PORT, tunnelName, VXLAN_PORT } from '../../network/names.ts';

/** The devices of a network that packets are seen on. */
export interface NetworkDevices {
  readonly bridge: string;
  /** Ports of the bridge that lead to other hosts. */
  readonly tunnels: readonly string[];
  /** Tunnels that the host routes into: no bridge has them as a port. */
  readonly routed: readonly string[];
}

export function devicesOf(state: Pick<OverlayState, 'remotes'>, network: OverlayNetwork): NetworkDevices {
  const { vni, encapsulation, devices } = network;
  // Of another's layout nobody knows whether it bridges into its tunnel or routes (as flannel does).
  const foreign = devices?.tunnel === undefined ? [] : [devices.tunnel];
  if (devices) return { bridge: devices.bridge, tunnels: foreign, routed: foreign };
  const bridge = bridgeName(vni);
  if (encapsulation === 'vxlan') return { bridge, tunnels: [tunnelName(vni)], routed: [] };
  const each = [...state.remotes.values()]
    .filter((remote) => remote.network === network.name)
    .map(({ host }) => tunnelName(vni, host));
  return encapsulation === 'ipip' ? { bridge, tunnels: [], routed: each } : { bridge, tunnels: each, routed: [] };
}

/** skb->mark: ours in the highest four bits, then the class. The lower 24 bits are the fast path's. */
export const MARK_OURS = 0x7000_0000;
export const MARK_OURS_MASK = 0xf000_0000;
export const MARK_CLASS_MASK = 0xff00_0000;
export const CLASS = { instance: 0x7100_0000, tunnel: 0x7200_0000, underlay: 0x7300_0000, host: 0x7400_0000 } as const;

/**
 * Of the connection (`ct mark`): the class of the packet that opened it, and the VNI of the network it came from. It
 * outlives the packet, so that a reply is judged by the same rules.
 */
export const openerMark = (openedBy: keyof typeof CLASS, vni: number): number => (CLASS[openedBy] | vni) >>> 0;

export const hex = (value: number): string => `0x${(value >>> 0).toString(16).padStart(8, '0')}`;

/** Priorities of our chains, beside the kernel's own: conntrack -200, DNAT -100, SNAT 100. */
export const PRIORITY = { zone: -300, judge: -150, rate: -145, dnat: -100, forward: 0, snat: 100, leave: 110 } as const;

/** Packets that no rule of the user's accounts for, by reason. */
export const COUNTERS = {
  invalid: 'invalid',
  untracked: 'untracked',
  deniedOut: 'default_out',
  deniedIn: 'default_in',
  outside: 'outside_initiated',
  withoutSource: 'leaves_without_snat',
  tunnelOfInstance: 'tunnel_of_instance',
  stranger: 'tunnel_of_stranger',
  noBackend: 'service_without_backend',
  noService: 'no_such_service',
  neighbours: 'neighbours_at_tunnel',
  reflected: 'reflected',
} as const;

/** The set of bridges that others have laid out; absent where there is none. */
export const OTHERS_BRIDGES = 'bridges_of_others';

/** Where tunnels of this host's networks end, those of others' layouts among them. */
export const tunnelPorts = (state: OverlayState): string => {
  const others = [...state.networks.values()].flatMap(({ port }) => port ?? []);
  return [...new Set([VXLAN_PORT, GENEVE_PORT, ...others])].join(', ');
};
