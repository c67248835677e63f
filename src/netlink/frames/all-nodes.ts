import type { Address, Mac } from '../../model/address.ts';
import { addressBytes } from '../../model/address.ts';
import { ETHERNET_HEADER, ETHERTYPE, makeFrame } from './ethernet.ts';
import { ALL_NODES, icmpChecksum } from './nd.ts';

const IPV6_HEADER = 40;
const ECHO = 8;
const ECHO_REQUEST = 128;
const ALL_NODES_MAC = '33:33:00:00:00:01' as Mac;

/**
 * An ICMPv6 echo request (RFC 4443 §4.1) from `source` to all nodes on the link. Whoever answers asks for our MAC first,
 * from the address with which he will answer: of our prefix, when `source` is (RFC 6724 §5, rule 8).
 */
export function allNodesEcho(source: Address, mac: Mac): Uint8Array {
  const frame = makeFrame(ALL_NODES_MAC, mac, ETHERTYPE.ipv6, IPV6_HEADER + ECHO);
  const bytes = frame.subarray(ETHERNET_HEADER, ETHERNET_HEADER + IPV6_HEADER + ECHO);
  bytes[0] = 0x60;
  bytes[5] = ECHO;
  bytes[6] = 58;
  bytes[7] = 1;
  bytes.set(addressBytes(source), 8);
  bytes.set(addressBytes(ALL_NODES), 24);
  bytes[IPV6_HEADER] = ECHO_REQUEST;
  const sum = icmpChecksum(bytes, ECHO);
  bytes[IPV6_HEADER + 2] = sum >> 8;
  bytes[IPV6_HEADER + 3] = sum & 255;
  return frame;
}
