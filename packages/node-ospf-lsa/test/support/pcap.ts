/** The little of the pcap format that these tests need: Ethernet or raw IPv4 captures read, raw IPv4 ones written. */

export const LinkTypeEthernet = 1;
export const LinkTypeRawIp = 101;

export interface CapturedPacket {
  readonly source: string;
  /** What follows the IP header; link padding cut off by the IP total length. */
  readonly ospf: Uint8Array;
}

/** The OSPF packets (IP protocol 89) of a capture. A record cut off at the end (capture still running) ends it. */
export function readOspf(pcap: Uint8Array): CapturedPacket[] {
  if (pcap.length < 24) return [];
  const view = new DataView(pcap.buffer, pcap.byteOffset, pcap.byteLength);
  const little = view.getUint32(0, true) === 0xa1b2c3d4;
  if (!little && view.getUint32(0) !== 0xa1b2c3d4) throw new Error('not a pcap file of microseconds');
  const linkType = view.getUint32(20, little);
  const ipAt = { [LinkTypeEthernet]: 14, [LinkTypeRawIp]: 0 }[linkType];
  if (ipAt === undefined) throw new Error(`link type ${linkType}`);
  const packets: CapturedPacket[] = [];
  for (let at = 24; at + 16 <= pcap.length; ) {
    const captured = view.getUint32(at + 8, little);
    const original = view.getUint32(at + 12, little);
    const frame = pcap.subarray(at + 16, at + 16 + captured);
    if (frame.length < captured) break;
    if (captured !== original) throw new Error('the snap length cut a packet');
    at += 16 + captured;
    const ip = frame.subarray(ipAt);
    if (ip[0]! >> 4 !== 4 || ip[9] !== 89) continue;
    const total = (ip[2]! << 8) | ip[3]!;
    if (((ip[6]! << 8) | ip[7]!) & 0x3fff) throw new Error('a fragment: the capture should have none');
    packets.push({ source: ip.subarray(12, 16).join('.'), ospf: ip.subarray((ip[0]! & 15) * 4, total) });
  }
  return packets;
}

/** A raw-IP capture of OSPF packets sent from 192.0.2.1 to AllSPFRouters. */
export function writeOspf(packets: readonly Uint8Array[]): Uint8Array {
  const records: Uint8Array[] = [];
  const head = new DataView(new ArrayBuffer(24));
  head.setUint32(0, 0xa1b2c3d4);
  head.setUint16(4, 2);
  head.setUint16(6, 4);
  head.setUint32(16, 262_144);
  head.setUint32(20, LinkTypeRawIp);
  records.push(new Uint8Array(head.buffer));
  for (const [index, packet] of packets.entries()) {
    const record = new Uint8Array(16 + 20 + packet.length);
    const view = new DataView(record.buffer);
    view.setUint32(0, index);
    view.setUint32(8, 20 + packet.length);
    view.setUint32(12, 20 + packet.length);
    record.set([0x45, 0xc0, 0, 0, 0, 0, 0, 0, 1, 89, 0, 0, 192, 0, 2, 1, 224, 0, 0, 5], 16);
    view.setUint16(18, 20 + packet.length);
    let sum = 0;
    for (let at = 16; at < 36; at += 2) sum += view.getUint16(at);
    view.setUint16(26, ~((sum & 0xffff) + (sum >>> 16)));
    record.set(packet, 36);
    records.push(record);
  }
  return Buffer.concat(records);
}
