/** Neighbour discovery of IPv6 (RFC 4861) as whole Ethernet frames. */
const SOLICITATION = 135;
const ADVERTISEMENT = 136;
const OVERRIDE = 0x20000000;
const SOURCE_LINK_LAYER = 1;
const TARGET_LINK_LAYER = 2;

/** What the kernel sends when a bond changes its active link: to all nodes, Override set, not solicited. */
export const unsolicitedAdvertisement = (mac: string, address: string): Buffer =>
  frame(mac, addressOctets(address), ALL_NODES, ADVERTISEMENT, OVERRIDE, addressOctets(address), TARGET_LINK_LAYER);

export const neighbourSolicitation = (mac: string, address: string, target: string): Buffer =>
  frame(mac, addressOctets(address), solicitedNode(target), SOLICITATION, 0, addressOctets(target), SOURCE_LINK_LAYER);

const ALL_NODES = Buffer.from('ff020000000000000000000000000001', 'hex');

function solicitedNode(address: string): Buffer {
  const group = Buffer.from('ff0200000000000000000001ff000000', 'hex');
  addressOctets(address).copy(group, 13, 13);
  return group;
}

function frame(
  mac: string,
  source: Buffer,
  destination: Buffer,
  type: number,
  flags: number,
  target: Buffer,
  option: number,
): Buffer {
  const hardware = Buffer.from(mac.replaceAll(':', ''), 'hex');
  const message = Buffer.alloc(32);
  message[0] = type;
  message.writeUInt32BE(flags, 4);
  target.copy(message, 8);
  message[24] = option;
  message[25] = 1;
  hardware.copy(message, 26);
  message.writeUInt16BE(checksum(source, destination, message), 2);
  const header = Buffer.alloc(54);
  // RFC 2464 §7: the last four octets of a multicast address, after 33:33.
  header.writeUInt16BE(0x3333, 0);
  destination.copy(header, 2, 12);
  hardware.copy(header, 6);
  header.writeUInt16BE(0x86dd, 12);
  header.writeUInt32BE(0x60000000, 14);
  header.writeUInt16BE(message.length, 18);
  header[20] = 58;
  // RFC 4861 §7.1: anything else has passed a router and is discarded.
  header[21] = 255;
  source.copy(header, 22);
  destination.copy(header, 38);
  return Buffer.concat([header, message]);
}

/** RFC 4443 §2.3. */
function checksum(source: Buffer, destination: Buffer, message: Buffer): number {
  const pseudo = Buffer.alloc(8);
  pseudo.writeUInt32BE(message.length, 0);
  pseudo[7] = 58;
  let sum = 0;
  for (const part of [source, destination, pseudo, message]) {
    for (let at = 0; at < part.length; at += 2) sum += part.readUInt16BE(at);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** @param address without an embedded IPv4 address */
export function addressOctets(address: string): Buffer {
  const [head = '', tail = ''] = address.split('::');
  const groups = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  const before = groups(head);
  const after = groups(tail);
  const octets = Buffer.alloc(16);
  for (const [index, group] of before.entries()) octets.writeUInt16BE(group, index * 2);
  for (const [index, group] of after.entries()) octets.writeUInt16BE(group, 16 - (after.length - index) * 2);
  return octets;
}

/** The shortest form of RFC 5952. */
export function addressText(octets: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, index) => octets.readUInt16BE(index * 2).toString(16));
  let best = { start: 0, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === '0') length++;
    if (length > best.length) best = { start, length };
  }
  if (best.length === 1) return groups.join(':');
  return `${groups.slice(0, best.start).join(':')}::${groups.slice(best.start + best.length).join(':')}`;
}

/** Whose neighbour discovery says something about itself: the source of a solicitation, the target of an advertisement. */
export function discoverySpeaker(packet: Buffer): string | undefined {
  if (packet.length < 64 || packet[6] !== 58) return undefined;
  if (packet[40] === ADVERTISEMENT) return addressText(packet.subarray(48, 64));
  return packet[40] === SOLICITATION ? addressText(packet.subarray(8, 24)) : undefined;
}
