import type { FilterInstruction } from 'linux-sockets';

// Classic BPF (linux/bpf_common.h) and the ancillary loads of linux/filter.h.
const LOAD_WORD = 0x20;
const LOAD_HALF = 0x28;
const LOAD_BYTE = 0x30;
const AND = 0x54;
const JUMP_EQUAL = 0x15;
const RETURN = 0x06;
const ANCILLARY = 0xfffff000;
const PACKET_TYPE = ANCILLARY + 4;
const VLAN_TAG = ANCILLARY + 44;

const OUTGOING = 4;
const ETHERTYPE_AT = 12;
const ARP_OPERATION_AT = 14 + 6;
const ARP_REPLY = 2;
const NEXT_HEADER_AT = 14 + 6;
const ICMP_TYPE_AT = 14 + 40;

/** Longer than any solicitation with options that matter. */
const SNAP = 512;

const ACCEPT = 'accept';
const DROP = 'drop';
type Target = typeof ACCEPT | typeof DROP | number;
type Line = { code: number; k: number; yes?: Target; no?: Target };

/**
 * `speakers`: all ARP, RARP, solicitations and advertisements; `answers`: ARP replies and advertisements alone; `nothing`:
 * for a socket that only sends.
 */
export type Hearing = 'speakers' | 'answers' | 'nothing';

/**
 * ARP, and ICMPv6 neighbour solicitations and advertisements, that came in. The socket must be bound to all protocols:
 * a bridge takes frames before the handlers of a single protocol see them, and then outgoing frames come too.
 *
 * `tagged`: also frames with a VLAN id. On a routed port these belong to another interface.
 */
export function neighbourFilter(tagged: boolean, hear: Hearing): FilterInstruction[] {
  if (hear === 'nothing') return [{ code: RETURN, jt: 0, jf: 0, k: 0 }];
  const answers = hear === 'answers';
  const lines: Line[] = [
    { code: LOAD_BYTE, k: PACKET_TYPE },
    { code: JUMP_EQUAL, k: OUTGOING, yes: DROP },
    ...(tagged
      ? []
      : [
          { code: LOAD_WORD, k: VLAN_TAG },
          { code: AND, k: 0xfff },
          { code: JUMP_EQUAL, k: 0, no: DROP as Target },
        ]),
    { code: LOAD_HALF, k: ETHERTYPE_AT },
    ...(answers
      ? [
          { code: JUMP_EQUAL, k: 0x0806, yes: 0, no: 2 },
          { code: LOAD_HALF, k: ARP_OPERATION_AT },
          { code: JUMP_EQUAL, k: ARP_REPLY, yes: ACCEPT as Target, no: DROP as Target },
        ]
      : [
          { code: JUMP_EQUAL, k: 0x0806, yes: ACCEPT as Target },
          { code: JUMP_EQUAL, k: 0x8035, yes: ACCEPT as Target },
        ]),
    { code: JUMP_EQUAL, k: 0x86dd, no: DROP },
    { code: LOAD_BYTE, k: NEXT_HEADER_AT },
    { code: JUMP_EQUAL, k: 58, no: DROP },
    { code: LOAD_BYTE, k: ICMP_TYPE_AT },
    ...(answers ? [] : [{ code: JUMP_EQUAL, k: 135, yes: ACCEPT as Target }]),
    { code: JUMP_EQUAL, k: 136, yes: ACCEPT, no: DROP },
  ];
  const accept = lines.length;
  const offset = (target: Target | undefined, from: number) =>
    target === ACCEPT ? accept - from - 1 : target === DROP ? accept - from : (target ?? 0);
  return [
    ...lines.map(({ code, k, yes, no }, from) => ({ code, k, jt: offset(yes, from), jf: offset(no, from) })),
    { code: RETURN, jt: 0, jf: 0, k: SNAP },
    { code: RETURN, jt: 0, jf: 0, k: 0 },
  ];
}
