/** Lightweight tunnels of next hops (linux/lwtunnel.h); what the types here do not know stays bytes. */
import { attributeBytes } from './message.ts';
import { addressBytes, isIpv6 } from './text.ts';

export const LWTUNNEL_ENCAP = { MPLS: 1, IP: 2, ILA: 3, IP6: 4, SEG6: 5, BPF: 6, SEG6_LOCAL: 7 } as const;
const LWTUNNEL_IP = { ID: 1, DST: 2, SRC: 3, TTL: 4, TOS: 5 } as const;

export interface IpTunnel {
  /** The tunnel's key, a VNI for vxlan. */
  readonly id: number;
  readonly source: string;
  readonly destination: string;
  readonly ttl?: number;
  readonly tos?: number;
}

/** For a route onto a device in `external` mode: `encap ip id ID src SOURCE dst DESTINATION`. */
export function ipTunnel(tunnel: IpTunnel): { type: number; data: Uint8Array } {
  const id = new Uint8Array(8);
  new DataView(id.buffer).setBigUint64(0, BigInt(tunnel.id));
  return {
    type: isIpv6(tunnel.destination) ? LWTUNNEL_ENCAP.IP6 : LWTUNNEL_ENCAP.IP,
    data: attributeBytes((writer) => {
      writer.attributeBytes(LWTUNNEL_IP.ID, id);
      writer.attributeBytes(LWTUNNEL_IP.DST, addressBytes(tunnel.destination));
      writer.attributeBytes(LWTUNNEL_IP.SRC, addressBytes(tunnel.source));
      if (tunnel.ttl !== undefined) writer.attributeU8(LWTUNNEL_IP.TTL, tunnel.ttl);
      if (tunnel.tos !== undefined) writer.attributeU8(LWTUNNEL_IP.TOS, tunnel.tos);
    }),
  };
}
