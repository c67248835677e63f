/**
 * nftables: what comes from a peer to the port of ESP is marked with the peer's number. SPIs say version, fingerprint and life, so those of
 * two peers may be the same; the kernel finds an SA by destination, SPI and mark, not by source.
 */
import type { Address } from '../../../model/address.ts';
import type { Ends } from './projection.ts';

const TABLE = 'peerless_esp';

export const noMarks = (): string => `table ip ${TABLE}\ndelete table ip ${TABLE}\n`;

/** The whole table in place of the one that was there. */
export function marksRuleset({ local, port }: Ends, marks: ReadonlyMap<Address, number>): string {
  const elements = [...marks].map(([address, mark]) => `${address} : 0x${mark.toString(16)}`).join(', ');
  return `${noMarks()}table ip ${TABLE} {
  map peers { type ipv4_addr : mark; elements = { ${elements} } }
  chain in {
    type filter hook prerouting priority raw; policy accept;
    ip daddr ${local} udp dport ${port} meta mark set ip saddr map @peers
  }
}
`;
}
