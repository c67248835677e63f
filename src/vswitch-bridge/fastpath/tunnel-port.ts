/**
 * The programs know tunnel packets by one UDP port: 4789, or, where all VXLAN networks of this host have been laid out by
 * another with another port (flannel's is 8472), that one. Networks with any other port stay with the slow path.
 */
import type { OverlayNetwork } from '../../model/overlay.ts';

const VXLAN_PORT = 4789;

type Network = Pick<OverlayNetwork, 'name' | 'encapsulation' | 'port'>;

const portOf = ({ port = VXLAN_PORT }: Network): number => port;
const isVxlan = ({ encapsulation }: Network): boolean => encapsulation === 'vxlan';

export function tunnelPort(networks: Iterable<Network>): number {
  const [first = VXLAN_PORT, ...others] = new Set([...networks].filter(isVxlan).map(portOf));
  return others.length === 0 ? first : VXLAN_PORT;
}

/** Names of the networks that have another. */
export function withAnotherPort(networks: Iterable<Network>): string[] {
  const all = [...networks];
  const ours = tunnelPort(all);
  return all.filter((network) => isVxlan(network) && portOf(network) !== ours).map(({ name }) => name);
}
