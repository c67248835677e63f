import type { Address, Mac } from '../../model/address.ts';
import { ARP_LENGTH, decodeArp, encodeArp } from './arp.ts';
import { BROADCAST, ETHERNET_HEADER, ETHERTYPE, ethertypeOf, makeFrame } from './ethernet.ts';
import { encodeNd, type NdPacket, ndLength, solicitedNode, UNSPECIFIED } from './nd.ts';

/** As whom we ask: the gateway's address on the interface, so that the host's own table is not led astray. */
export interface Asker {
  readonly mac: Mac;
  /** Absent: the interface has no fitting address, and the question is an ARP probe (RFC 5227 §2.1.1) or DAD. */
  readonly address?: Address;
}

/** The frame that asks `target` whether it is there: to `mac` alone, or to all when it is not known. */
export function question(target: Address, mac: Mac | undefined, asker: Asker): Uint8Array {
  return target.includes(':') ? solicitation(target, mac, asker) : arpRequest(target, mac, asker);
}

function arpRequest(target: Address, mac: Mac | undefined, asker: Asker): Uint8Array {
  const frame = makeFrame(mac ?? BROADCAST, asker.mac, ETHERTYPE.arp, ARP_LENGTH);
  const packet = {
    operation: 'request' as const,
    senderMac: asker.mac,
    senderAddress: asker.address ?? ('0.0.0.0' as Address),
    targetMac: '00:00:00:00:00:00' as Mac,
    targetAddress: target,
  };
  encodeArp(packet, frame, ETHERNET_HEADER);
  return frame;
}

function solicitation(target: Address, mac: Mac | undefined, asker: Asker): Uint8Array {
  const group = solicitedNode(target);
  // Without a source the packet must go to the group (RFC 4861 §7.1.1); the frame may still go to one host.
  const destination = mac && asker.address ? target : group.address;
  const packet: NdPacket = {
    type: 'solicitation',
    source: asker.address ?? UNSPECIFIED,
    destination,
    target,
    ...(asker.address ? { linkLayer: asker.mac } : {}),
    router: false,
    solicited: false,
    override: false,
  };
  const frame = makeFrame(mac ?? group.mac, asker.mac, ETHERTYPE.ipv6, ndLength(packet));
  encodeNd(packet, frame, ETHERNET_HEADER);
  return frame;
}

/** The reply with `mac` to an ARP request for what is `ours` to answer; undefined: it is none, or asks for itself. */
export function answer(asked: Uint8Array, mac: Mac, ours: (target: Address) => boolean): Uint8Array | undefined {
  if (ethertypeOf(asked) !== ETHERTYPE.arp) return undefined;
  const request = decodeArp(asked.subarray(ETHERNET_HEADER));
  if (typeof request === 'string' || request.operation !== 'request') return undefined;
  const { senderMac, senderAddress, targetAddress } = request;
  if (senderAddress === targetAddress || !ours(targetAddress)) return undefined;
  const frame = makeFrame(senderMac, mac, ETHERTYPE.arp, ARP_LENGTH);
  const reply = { operation: 'reply', senderMac: mac, senderAddress: targetAddress } as const;
  encodeArp({ ...reply, targetMac: senderMac, targetAddress: senderAddress }, frame, ETHERNET_HEADER);
  return frame;
}
