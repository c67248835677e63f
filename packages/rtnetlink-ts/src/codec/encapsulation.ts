/** Lightweight tunnels of next hops (linux/lwtunnel.h); what the types here do not know stays bytes. */
import { AttributeCursor, attributeBytes, Malformed } from './message.ts';
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

/** For a route or a next-hop object onto a device in `external` mode: `encap ip id ID src SOURCE dst DESTINATION`. */
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

/**
 * What `ipTunnel` made, as the kernel repeats it (it adds flags, and a `ttl` and `tos` of 0 where none were given);
 * undefined for encapsulations of other kinds.
 */
export function readIpTunnel(encapsulation: { type: number; data: Uint8Array }): IpTunnel | Malformed | undefined {
  const { type, data } = encapsulation;
  if (type !== LWTUNNEL_ENCAP.IP && type !== LWTUNNEL_ENCAP.IP6) return undefined;
  const octets = type === LWTUNNEL_ENCAP.IP ? 4 : 16;
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
  const cursor = new AttributeCursor(bytes, 0, bytes.length);
  let id = 0;
  let source: string | undefined;
  let destination: string | undefined;
  let ttl = 0;
  let tos = 0;
  while (cursor.next()) {
    if (cursor.type === LWTUNNEL_IP.ID) id = readId(cursor);
    else if (cursor.type === LWTUNNEL_IP.DST) destination = cursor.address(octets);
    else if (cursor.type === LWTUNNEL_IP.SRC) source = cursor.address(octets);
    else if (cursor.type === LWTUNNEL_IP.TTL) ttl = cursor.u8();
    else if (cursor.type === LWTUNNEL_IP.TOS) tos = cursor.u8();
  }
  if (cursor.malformed) return cursor.malformed;
  if (source === undefined || destination === undefined) return new Malformed('missing attribute');
  return { id, source, destination, ...(ttl ? { ttl } : {}), ...(tos ? { tos } : {}) };
}

/** 64 bits in network order; keys that tunnels have are 32 bits and less. */
function readId(cursor: AttributeCursor): number {
  const { bytes, start, end } = cursor.range;
  if (end - start !== 8) {
    cursor.fail('bad attribute length');
    return 0;
  }
  return Number(bytes.readBigUInt64BE(start));
}
