import type { FilterInstruction } from 'linux-sockets';
import { type Address, addressBytes, familyOf } from '../../model/address.ts';

// Classic BPF (linux/bpf_common.h) and the ancillary loads of linux/filter.h.
const LOAD_WORD = 0x20;
const LOAD_HALF = 0x28;
const LOAD_BYTE = 0x30;
const AND = 0x54;
const JUMP = 0x05;
const JUMP_EQUAL = 0x15;
const RETURN = 0x06;
const ANCILLARY = 0xfffff000;
const PACKET_TYPE = ANCILLARY + 4;
const VLAN_TAG = ANCILLARY + 44;
const RANDOM = ANCILLARY + 56;

const OUTGOING = 4;
const SNAP = 512;
const ETHERNET = 14;
const ARP_SENDER_AT = ETHERNET + 14;
const NEXT_HEADER_AT = ETHERNET + 6;
const ICMP_TYPE_AT = ETHERNET + 40;
/** The last four octets: enough to tell addresses of one port apart. */
const IPV6_SOURCE_AT = ETHERNET + 8 + 12;
const ND_TARGET_AT = ETHERNET + 40 + 8 + 12;

/** Of frames that speak for addresses not known, one in so many passes; a power of two. */
export const STORM_SAMPLE = 64;
/** The kernel takes 4,096 instructions, and an address is two. */
const MOST_ADDRESSES = 1_900;

/**
 * For a port on which more is spoken than can be listened to: what speaks for one of `known` passes (at most 1,900 of
 * them), of the rest one frame in `STORM_SAMPLE`. The others end in the kernel, without waking anybody.
 */
export function stormFilter(tagged: boolean, known: readonly Address[]): FilterInstruction[] {
  const addresses = known.slice(0, MOST_ADDRESSES);
  const accept = ret(SNAP);
  const drop = ret(0);
  const oneOf = (family: 4 | 6): FilterInstruction[] =>
    addresses.filter((each) => familyOf(each) === family).flatMap((each) => [equal(lastWord(each), 0, 1), accept]);
  const sample = [load(LOAD_WORD, RANDOM), and(STORM_SAMPLE - 1), equal(0, 0, 1), accept, drop];
  const ipv6 = [
    load(LOAD_BYTE, NEXT_HEADER_AT),
    ...unless(58, drop),
    load(LOAD_BYTE, ICMP_TYPE_AT),
    equal(135, 0, 2),
    load(LOAD_WORD, IPV6_SOURCE_AT),
    jump(3),
    ...unless(136, drop),
    load(LOAD_WORD, ND_TARGET_AT),
    ...oneOf(6),
  ];
  // RARP is sampled, whatever else is not IPv6 was never listened to.
  const others = [equal(0x8035, 0, 1), jump(2 + ipv6.length), ...unless(0x86dd, drop), ...ipv6];
  const arp = [load(LOAD_WORD, ARP_SENDER_AT), ...oneOf(4), jump(others.length)];
  return [
    load(LOAD_BYTE, PACKET_TYPE),
    equal(OUTGOING, 0, 1),
    drop,
    ...(tagged ? [] : [load(LOAD_WORD, VLAN_TAG), and(0xfff), ...unless(0, drop)]),
    load(LOAD_HALF, ETHERNET - 2),
    equal(0x0806, 1, 0),
    jump(arp.length),
    ...arp,
    ...others,
    ...sample,
  ];
}

const load = (code: number, k: number): FilterInstruction => ({ code, jt: 0, jf: 0, k });
const and = (k: number): FilterInstruction => ({ code: AND, jt: 0, jf: 0, k });
const ret = (k: number): FilterInstruction => ({ code: RETURN, jt: 0, jf: 0, k });
const jump = (k: number): FilterInstruction => ({ code: JUMP, jt: 0, jf: 0, k });
const equal = (k: number, jt: number, jf: number): FilterInstruction => ({ code: JUMP_EQUAL, jt, jf, k });
const unless = (k: number, otherwise: FilterInstruction): FilterInstruction[] => [equal(k, 1, 0), otherwise];

function lastWord(address: Address): number {
  const bytes = addressBytes(address);
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(bytes.length - 4);
}
