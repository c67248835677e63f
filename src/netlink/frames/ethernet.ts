import type { Mac } from '../../model/address.ts';
import { formatMac, writeMac } from '../../model/address.ts';

export const ETHERNET_HEADER = 14;
export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, rarp: 0x8035, ipv6: 0x86dd } as const;
const VLAN_TAG = 0x8100;

/** The frame with an IEEE 802.1Q tag. */
export function tagged(frame: Uint8Array, vlan: number): Uint8Array {
  const result = new Uint8Array(frame.length + 4);
  result.set(frame.subarray(0, 12));
  result.set([VLAN_TAG >> 8, VLAN_TAG & 255, (vlan >> 8) & 15, vlan & 255], 12);
  result.set(frame.subarray(12), 16);
  return result;
}

export const BROADCAST = 'ff:ff:ff:ff:ff:ff' as Mac;

export function ethertypeOf(frame: Uint8Array): number {
  return (frame[12]! << 8) | frame[13]!;
}

export function sourceMac(frame: Uint8Array): Mac {
  return formatMac(frame.subarray(6, 12));
}

/** A frame with room for `payload` octets, padded to the Ethernet minimum of 60 (without FCS). */
export function makeFrame(to: Mac, from: Mac, ethertype: number, payload: number): Uint8Array {
  // Of Node's pool: an array of its own is put on the heap when a system call gets it, which costs as much as the sending.
  const frame = Buffer.allocUnsafe(Math.max(60, ETHERNET_HEADER + payload)).fill(0);
  writeMac(to, frame, 0);
  writeMac(from, frame, 6);
  frame[12] = ethertype >> 8;
  frame[13] = ethertype & 255;
  return frame;
}
