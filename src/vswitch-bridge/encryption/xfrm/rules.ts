/**
 * nftables beside XFRM, in one table.
 *
 * - What comes from a peer to the port of ESP is marked with the peer's number. SPIs say version, fingerprint and life, so those of two peers
 *   may be the same; the kernel finds an SA by destination, SPI and mark, not by source.
 * - A second lock: VXLAN that no ESP is planned for, or that came without, is dropped here too. Whoever flushes the policies of the
 *   namespace (`ip xfrm policy flush`, another IPsec program that is stopped) opens no gap.
 */
import type { Address } from '../../../model/address.ts';
import { type Ends, VXLAN_PORT } from './projection.ts';

export const TABLE = { family: 'ip', name: 'peerless_esp' } as const;
const ours = `table ${TABLE.family} ${TABLE.name}`;

export const noRules = (): string => `${ours}\ndelete ${ours}\n`;

/** The whole table in place of the one that was there. */
export function rulesFor({ local, port }: Ends, marks: ReadonlyMap<Address, number>): string {
  const list = [...marks].map(([address, mark]) => `${address} : 0x${mark.toString(16)}`).join(', ');
  return `${noRules()}${ours} {
  map peers { type ipv4_addr : mark;${list === '' ? '' : ` elements = { ${list} }`} }
  chain marked {
    type filter hook prerouting priority raw; policy accept;
    ip daddr ${local} udp dport ${port} meta mark set ip saddr map @peers
  }
  chain in {
    type filter hook input priority filter; policy accept;
    ip daddr ${local} udp dport ${VXLAN_PORT} meta ipsec missing counter drop
  }
  chain out {
    type filter hook output priority filter; policy accept;
    ip saddr ${local} udp dport ${VXLAN_PORT} rt ipsec missing counter drop
  }
}
`;
}
