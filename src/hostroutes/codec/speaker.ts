import type { Address, Mac } from '../../model/address.ts';
import { ARP_LENGTH, type ArpError, decodeArp, encodeArp } from './arp.ts';
import { BROADCAST, ETHERNET_HEADER, ETHERTYPE, ethertypeOf, makeFrame, sourceMac } from './ethernet.ts';
import { decodeNd, encodeNd, type NdError, type NdPacket, ndLength, solicitedNode, UNSPECIFIED } from './nd.ts';

/** Who says of itself "I am this address", in either family. */
export interface Speaker {
  readonly address: Address;
  readonly mac: Mac;
  /** Said to all without being asked. */
  readonly gratuitous: boolean;
}

/**
 * Well-formed frames that tell nothing: a host that only asks whether an address is free (ARP probe of RFC 5227, DAD of
 * RFC 4862), and link-local addresses.
 */
export type Silent = 'address-probe' | 'link-local' | 'not-ours';
export type FrameError = 'frame-short' | ArpError | NdError;

export type Spoken = { readonly speaker: Speaker } | { readonly silent: Silent } | { readonly error: FrameError };

/** `frame` starts at the Ethernet header; a VLAN tag was taken off by the kernel. */
export function whoSpeaks(frame: Uint8Array): Spoken {
  if (frame.length < ETHERNET_HEADER) return { error: 'frame-short' };
  switch (ethertypeOf(frame)) {
    case ETHERTYPE.arp:
      return arpSpeaker(frame);
    case ETHERTYPE.ipv6:
      return ndSpeaker(frame);
    default:
      return { silent: 'not-ours' };
  }
}

function arpSpeaker(frame: Uint8Array): Spoken {
  const packet = decodeArp(frame.subarray(ETHERNET_HEADER));
  if (typeof packet === 'string') return { error: packet };
  if (packet.senderAddress === '0.0.0.0') return { silent: 'address-probe' };
  return {
    speaker: {
      address: packet.senderAddress,
      mac: packet.senderMac,
      gratuitous: packet.senderAddress === packet.targetAddress,
    },
  };
}

function ndSpeaker(frame: Uint8Array): Spoken {
  const packet = decodeNd(frame.subarray(ETHERNET_HEADER));
  if (typeof packet === 'string') return { error: packet };
  const solicitation = packet.type === 'solicitation';
  const address = solicitation ? packet.source : packet.target;
  if (address === UNSPECIFIED) return { silent: 'address-probe' };
  if (/^fe[89ab]/.test(address)) return { silent: 'link-local' };
  return {
    speaker: { address, mac: packet.linkLayer ?? sourceMac(frame), gratuitous: !solicitation && !packet.solicited },
  };
}

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
