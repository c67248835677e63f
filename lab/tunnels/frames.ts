import type { Address, Mac } from '../../src/model/address.ts';
import {
  ARP_LENGTH,
  type ArpPacket,
  decodeArp,
  ETHERNET_HEADER,
  ETHERTYPE,
  encodeArp,
  ethertypeOf,
  makeFrame,
} from '../../src/netlink/frames/index.ts';

/** The ARP request in a frame; undefined: there is none. */
export function arpRequestIn(frame: Uint8Array): ArpPacket | undefined {
  if (ethertypeOf(frame) !== ETHERTYPE.arp) return undefined;
  const arp = decodeArp(frame.subarray(ETHERNET_HEADER));
  return typeof arp !== 'string' && arp.operation === 'request' ? arp : undefined;
}

/** "`address` is at `mac`", to one or to all. */
export function answer(mac: Mac, address: Address, to: Mac, toAddress: Address): Uint8Array {
  const frame = makeFrame(to, mac, ETHERTYPE.arp, ARP_LENGTH);
  const reply = { operation: 'reply', senderMac: mac, senderAddress: address } as const;
  encodeArp({ ...reply, targetMac: to, targetAddress: toAddress }, frame, ETHERNET_HEADER);
  return frame;
}
