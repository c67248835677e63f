/** ARP for IPv4 over Ethernet (RFC 826), as whole frames to the broadcast address. */
export function arpRequest(mac: string, address: string, target: string): Buffer {
  const frame = Buffer.alloc(42);
  const hardware = Buffer.from(mac.replaceAll(':', ''), 'hex');
  frame.fill(0xff, 0, 6);
  hardware.copy(frame, 6);
  frame.writeUInt16BE(0x0806, 12);
  frame.writeUInt16BE(1, 14);
  frame.writeUInt16BE(0x0800, 16);
  frame[18] = 6;
  frame[19] = 4;
  frame.writeUInt16BE(1, 20);
  hardware.copy(frame, 22);
  Buffer.from(address.split('.').map(Number)).copy(frame, 28);
  Buffer.from(target.split('.').map(Number)).copy(frame, 38);
  return frame;
}

/** What the kernel sends when a bond changes its active link (NETDEV_NOTIFY_PEERS): a request for the own address. */
export const gratuitousArp = (mac: string, address: string): Buffer => arpRequest(mac, address, address);
