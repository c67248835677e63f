/** Decodes captures for the tests that look at real speakers' packets. */
import type { Authentication, Lsa, OspfPacket } from '../../src/index.ts';
import { decodePacket } from '../../src/index.ts';
import { readOspf } from './pcap.ts';

export interface Seen {
  readonly packet: OspfPacket;
  readonly bytes: Uint8Array;
}

/** Every packet of the capture, decoded; throws with the reason when one is refused. */
export function decodeCapture(pcap: Uint8Array, authentication?: Authentication): Seen[] {
  return readOspf(pcap).map(({ ospf, source }, index) => {
    const result = decodePacket(ospf, authentication ? { authentication } : {});
    if (!result.ok) throw new Error(`packet ${index + 1} from ${source}: ${result.reason}, ${result.detail}`);
    return { packet: result.value, bytes: ospf };
  });
}

export function lsasOf(seen: readonly Seen[]): Lsa[] {
  return seen.flatMap(({ packet }) => (packet.type === 4 ? packet.lsas : []));
}

/** `packet 1` ... `packet 5` and `lsa 1` ... `lsa 11`, as far as they occur. */
export function kindsOf(seen: readonly Seen[]): Set<string> {
  const kinds = new Set(seen.map(({ packet }) => `packet ${packet.type}`));
  for (const lsa of lsasOf(seen)) kinds.add(`lsa ${lsa.header.type}`);
  return kinds;
}
