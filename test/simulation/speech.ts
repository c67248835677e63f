/** What whoever has an address says on the wire: ARP for IPv4, ND for IPv6. */
import type { Address, Mac } from '../../src/model/address.ts';
import {
  BROADCAST,
  decodeArp,
  decodeNd,
  ETHERNET_HEADER,
  ETHERTYPE,
  encodeArp,
  encodeNd,
  ethertypeOf,
  makeFrame,
  type NdPacket,
  ndLength,
  solicitedNode,
  sourceMac,
} from '../../src/netlink/frames/index.ts';

/** Who has an address. */
export interface Speaker {
  readonly address: Address;
  readonly mac: Mac;
}

export const GATEWAY_4 = '10.10.10.254' as Address;
export const GATEWAY_6 = '2001:db8:10::fe' as Address;
const ALL_NODES = 'ff02::1' as Address;
const ALL_NODES_MAC = '33:33:00:00:00:01' as Mac;

const isSix = (address: Address): boolean => address.includes(':');

/** Unasked, to all. */
export function gratuitous(vm: Speaker): Uint8Array {
  if (!isSix(vm.address)) return arp('reply', vm, vm.address, BROADCAST);
  return nd('advertisement', vm, { destination: ALL_NODES, target: vm.address, solicited: false }, ALL_NODES_MAC);
}

export function asksGateway(vm: Speaker): Uint8Array {
  if (!isSix(vm.address)) return arp('request', vm, GATEWAY_4, BROADCAST);
  const group = solicitedNode(GATEWAY_6);
  return nd('solicitation', vm, { destination: group.address, target: GATEWAY_6, solicited: false }, group.mac);
}

/** undefined: it was not asked. */
export function answerOf(vm: Speaker, frame: Uint8Array): Uint8Array | undefined {
  const to = destinationMac(frame);
  if (isSix(vm.address)) {
    if (ethertypeOf(frame) !== ETHERTYPE.ipv6) return undefined;
    const packet = decodeNd(frame.subarray(ETHERNET_HEADER));
    if (typeof packet === 'string' || packet.type !== 'solicitation' || packet.target !== vm.address) return undefined;
    if (to !== vm.mac && to !== solicitedNode(vm.address).mac) return undefined;
    // Who asks without an address is answered to all (RFC 4861 §7.2.4).
    if (packet.source === '::')
      return nd('advertisement', vm, { destination: ALL_NODES, target: vm.address, solicited: false }, ALL_NODES_MAC);
    const asker = { destination: packet.source, target: vm.address, solicited: true };
    return nd('advertisement', vm, asker, sourceMac(frame));
  }
  if (ethertypeOf(frame) !== ETHERTYPE.arp) return undefined;
  const packet = decodeArp(frame.subarray(ETHERNET_HEADER));
  if (typeof packet === 'string' || packet.operation !== 'request') return undefined;
  if (vm.address !== packet.targetAddress || (to !== BROADCAST && to !== vm.mac)) return undefined;
  return arp('reply', vm, packet.senderAddress, packet.senderMac);
}

function destinationMac(frame: Uint8Array): Mac {
  return Buffer.from(frame.subarray(0, 6))
    .toString('hex')
    .replace(/(..)(?!$)/g, '$1:') as Mac;
}

function arp(operation: 'request' | 'reply', vm: Speaker, target: Address, to: Mac): Uint8Array {
  const frame = makeFrame(to, vm.mac, ETHERTYPE.arp, 28);
  encodeArp(
    {
      operation,
      senderMac: vm.mac,
      senderAddress: vm.address,
      targetMac: operation === 'request' ? ('00:00:00:00:00:00' as Mac) : to,
      targetAddress: target,
    },
    frame,
    ETHERNET_HEADER,
  );
  return frame;
}

function nd(
  type: NdPacket['type'],
  vm: Speaker,
  { destination, target, solicited }: { destination: Address; target: Address; solicited: boolean },
  to: Mac,
): Uint8Array {
  const packet: NdPacket = {
    type,
    source: vm.address,
    destination,
    target,
    linkLayer: vm.mac,
    router: false,
    solicited,
    override: true,
  };
  const frame = makeFrame(to, vm.mac, ETHERTYPE.ipv6, ndLength(packet));
  encodeNd(packet, frame, ETHERNET_HEADER);
  return frame;
}
