import type { Address, Mac } from '../../model/address.ts';
import {
  type ArpError,
  arpSender,
  decodeNd,
  decodeRarp,
  ETHERNET_HEADER,
  ETHERTYPE,
  ethertypeOf,
  type NdError,
  sourceMac,
  UNSPECIFIED,
} from '../../netlink/frames/index.ts';
import type { Evidence } from '../machine/types.ts';

/** Who says of itself "I am this address", in either family. */
export interface Speaker {
  readonly address: Address;
  readonly mac: Mac;
  /** Said to all without being asked. */
  readonly gratuitous: boolean;
  readonly how: Evidence;
}

/**
 * Well-formed frames that tell nothing: a host that only asks whether an address is free (ARP probe of RFC 5227, DAD of
 * RFC 4862), and link-local addresses.
 */
export type Silent = 'address-probe' | 'link-local' | 'not-ours';
export type FrameError = 'frame-short' | ArpError | NdError;

/** `station`: a MAC says that it is there, and no address (RARP). */
export type Spoken =
  | { readonly speaker: Speaker }
  | { readonly station: Mac }
  | { readonly silent: Silent }
  | { readonly error: FrameError };

/** `frame` starts at the Ethernet header; a VLAN tag was taken off by the kernel. */
export function whoSpeaks(frame: Uint8Array): Spoken {
  if (frame.length < ETHERNET_HEADER) return { error: 'frame-short' };
  switch (ethertypeOf(frame)) {
    case ETHERTYPE.arp:
      return arpSpeaker(frame);
    case ETHERTYPE.ipv6:
      return ndSpeaker(frame);
    case ETHERTYPE.rarp:
      return rarpStation(frame);
    default:
      return { silent: 'not-ours' };
  }
}

function arpSpeaker(frame: Uint8Array): Spoken {
  const sender = arpSender(frame, ETHERNET_HEADER);
  if (typeof sender === 'string') return { error: sender };
  const { address, mac, gratuitous, reply } = sender;
  if (address === '0.0.0.0') return { silent: 'address-probe' };
  return {
    speaker: { address, mac, gratuitous, how: gratuitous ? 'arp-gratuitous' : reply ? 'arp-reply' : 'arp-request' },
  };
}

function rarpStation(frame: Uint8Array): Spoken {
  const packet = decodeRarp(frame.subarray(ETHERNET_HEADER));
  return typeof packet === 'string' ? { error: packet } : { station: packet.senderMac };
}

function ndSpeaker(frame: Uint8Array): Spoken {
  const packet = decodeNd(frame.subarray(ETHERNET_HEADER));
  if (typeof packet === 'string') return { error: packet };
  const solicitation = packet.type === 'solicitation';
  const address = solicitation ? packet.source : packet.target;
  if (address === UNSPECIFIED) return { silent: 'address-probe' };
  if (/^fe[89ab]/.test(address)) return { silent: 'link-local' };
  const gratuitous = !solicitation && !packet.solicited;
  const how = solicitation ? 'nd-solicitation' : gratuitous ? 'nd-unsolicited' : 'nd-advertisement';
  return { speaker: { address, mac: packet.linkLayer ?? sourceMac(frame), gratuitous, how } };
}
