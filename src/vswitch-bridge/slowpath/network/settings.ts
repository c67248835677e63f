/** Which settings the layout needs, and why. */
import { familyOf } from '../../../model/address.ts';
import type { OverlayNetwork } from '../../../model/overlay.ts';
import type { LayoutObject } from './objects.ts';

/** Without these the rules of networks don't hold, whoever has laid them out. */
export const POLICY_SETTINGS: Readonly<Record<string, string>> = {
  // Bridged packets pass the rules of the ip and inet families, since this bridge family has no conntrack.
  'bridge/bridge-nf-call-iptables': '1',
  'bridge/bridge-nf-call-ip6tables': '1',
  // A connection that comes back from the fast path has sequence numbers that conntrack has not seen.
  'netfilter/nf_conntrack_tcp_be_liberal': '1',
};

export function namespaceSettings(
  networks: readonly OverlayNetwork[],
  ambiguousGateways: boolean,
): Record<string, string> {
  const six = networks.some(({ subnet, gateway }) => gateway !== undefined && familyOf(subnet) === 6);
  return {
    'ipv4/ip_forward': '1',
    ...(six ? { 'ipv6/conf/all/forwarding': '1' } : {}),
    ...POLICY_SETTINGS,
    // "Go to my neighbour directly" is wrong where the neighbour is behind a tunnel, or a service.
    'ipv4/conf/all/send_redirects': '0',
    // Errors come from the gateway of the network that the packet came by, so that they find back to it.
    'ipv4/icmp_errors_use_inbound_ifaddr': '1',
    // Answers of a gateway that several networks have find back by their mark alone.
    ...(ambiguousGateways ? { 'ipv4/fwmark_reflect': '1', 'ipv6/fwmark_reflect': '1' } : {}),
  };
}

/** `answersArp`: the kernel answers for what is routed elsewhere, since nothing of layer 2 reaches there. */
export function deviceSettings(object: LayoutObject, six: boolean, answersArp: boolean): Record<string, string> {
  if (object.kind !== 'bridge' && object.kind !== 'tunnel') return {};
  const { name } = object;
  return {
    [`ipv4/conf/${name}/rp_filter`]: '0',
    [`ipv4/conf/${name}/send_redirects`]: '0',
    // Who asks for an instance asks as the gateway, not as the underlay.
    [`ipv4/conf/${name}/arp_announce`]: '2',
    ...(object.kind === 'bridge' && answersArp ? { [`ipv4/conf/${name}/proxy_arp`]: '1' } : {}),
    ...(object.kind === 'bridge' && six ? {} : { [`ipv6/conf/${name}/disable_ipv6`]: '1' }),
  };
}
