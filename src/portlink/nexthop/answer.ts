import type { Address, Mac } from '../../model/address.ts';
import { formatMac } from '../../model/address.ts';
import {
  type ArpError,
  decodeArp,
  decodeNd,
  ETHERNET_HEADER,
  ETHERTYPE,
  ethertypeOf,
  type NdError,
} from '../../netlink/frames/index.ts';

export interface Answer {
  readonly address: Address;
  readonly mac: Mac;
}

export type AnswerError = 'frame-short' | ArpError | NdError;
export type Heard =
  | { readonly answer: Answer }
  | { readonly silent: 'not-an-answer' | 'not-to-us' }
  | { readonly error: AnswerError };

/**
 * Whether `frame` answers a question that `us` asked. What a neighbour says to all unasked (gratuitous ARP, unsolicited
 * advertisements) is no answer: it only shows that one direction works.
 *
 * `probing`: we had no address to ask from, so that an advertisement comes to all (RFC 4861 §7.2.4).
 */
export function answerIn(frame: Uint8Array, us: Mac, probing: boolean): Heard {
  if (frame.length < ETHERNET_HEADER) return { error: 'frame-short' };
  const type = ethertypeOf(frame);
  if (type !== ETHERTYPE.arp && type !== ETHERTYPE.ipv6) return { silent: 'not-an-answer' };
  const payload = frame.subarray(ETHERNET_HEADER);
  const toUs = formatMac(frame.subarray(0, 6)) === us;
  if (type === ETHERTYPE.arp) {
    const packet = decodeArp(payload);
    if (typeof packet === 'string') return { error: packet };
    if (packet.operation !== 'reply') return { silent: 'not-an-answer' };
    if (!toUs) return { silent: 'not-to-us' };
    return { answer: { address: packet.senderAddress, mac: packet.senderMac } };
  }
  const packet = decodeNd(payload);
  if (typeof packet === 'string') return { error: packet };
  if (packet.type !== 'advertisement') return { silent: 'not-an-answer' };
  if (!probing && !(toUs && packet.solicited)) return { silent: 'not-to-us' };
  return { answer: { address: packet.target, mac: packet.linkLayer ?? formatMac(frame.subarray(6, 12)) } };
}
