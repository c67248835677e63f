/**
 * The messages of the kernel's connection table (nfnetlink, subsystem conntrack) that are needed here: a dump with a
 * filter, and a deletion. Unlike rtnetlink, values stand in network byte order.
 * Source: include/uapi/linux/netfilter/{nfnetlink,nfnetlink_conntrack,nf_conntrack_common}.h.
 */
import { type Address, formatAddress } from '../../../../../model/address.ts';

export const NLMSG = { NOOP: 1, ERROR: 2, DONE: 3 } as const;
const NLM_F = { REQUEST: 1, ACK: 4, DUMP: 0x300 } as const;
export const NLM_F_DUMP_INTR = 0x10;
/** (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_* */
export const CT = { NEW: 0x100, GET: 0x101, DELETE: 0x102 } as const;
const CTA = {
  TUPLE_ORIG: 1,
  TUPLE_REPLY: 2,
  STATUS: 3,
  PROTOINFO: 4,
  MARK: 8,
  ID: 12,
  ZONE: 18,
  MARK_MASK: 21,
} as const;
const CTA_STATUS_MASK = 26;
const TUPLE = { IP: 1, PROTO: 2 } as const;
const PROTO = { NUMBER: 1, SOURCE_PORT: 2, DESTINATION_PORT: 3 } as const;
const PROTOINFO_TCP = 1;
const TCP_STATE = 1;
const NESTED = 0x8000;
const TYPE_MASK = 0x3fff;
const HEADER = 16;
/** nlmsghdr and nfgenmsg. */
const PREAMBLE = HEADER + 4;

/** IPS_* */
export const STATUS = { SEEN_REPLY: 1 << 1, ASSURED: 1 << 2, SOURCE_NAT: 1 << 4, DESTINATION_NAT: 1 << 5 } as const;
/** TCP_CONNTRACK_* */
export const TCP = { NONE: 0, SYN_SENT: 1, SYN_RECV: 2, ESTABLISHED: 3, FIN_WAIT: 4 } as const;

export interface Tuple {
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export interface TrackedConnection {
  readonly family: 4 | 6;
  readonly original: Tuple;
  readonly reply: Tuple;
  /** IPS_* */
  readonly status: number;
  readonly mark: number;
  /** Of both directions; undefined when it is zone 0, or that of one direction alone. */
  readonly zone: number | undefined;
  /** TCP_CONNTRACK_*; undefined for other protocols. */
  readonly tcpState: number | undefined;
  /** The attributes that name this very connection to the kernel, as it wrote them. */
  readonly name: Buffer;
}

export type MalformedReason = 'short message' | 'bad attribute' | 'missing tuple' | 'bad address';

export class Malformed {
  readonly reason: MalformedReason;
  constructor(reason: MalformedReason) {
    this.reason = reason;
  }
}

export interface DumpFilter {
  readonly family?: 4 | 6;
  readonly mark?: { readonly value: number; readonly mask: number };
  /** Only those with all of these bits of the status. Ignored before Linux 5.16. */
  readonly status?: number;
}

export function encodeDump(sequence: number, { family, mark, status }: DumpFilter): Buffer {
  const attributes: Buffer[] = [];
  if (mark) attributes.push(word(CTA.MARK, mark.value), word(CTA.MARK_MASK, mark.mask));
  if (status !== undefined) attributes.push(word(CTA.STATUS, status), word(CTA_STATUS_MASK, status));
  return message(CT.GET, NLM_F.REQUEST | NLM_F.DUMP, sequence, family, attributes);
}

export const encodeDeletion = (sequence: number, { family, name }: TrackedConnection): Buffer =>
  message(CT.DELETE, NLM_F.REQUEST | NLM_F.ACK, sequence, family, [name]);

/** `bytes` from `start` to `end` is one message of type CT.NEW, header included. */
export function decodeConnection(bytes: Buffer, start: number, end: number): TrackedConnection | Malformed {
  if (end - start < PREAMBLE) return new Malformed('short message');
  const family = bytes[start + HEADER] === 10 ? 6 : 4;
  let original: Tuple | Malformed | undefined;
  let reply: Tuple | Malformed | undefined;
  let status = 0;
  let mark = 0;
  let zone: number | undefined;
  let tcpState: number | undefined;
  const name: Buffer[] = [];
  const whole = attributes(bytes, start + PREAMBLE, end, (type, from, to) => {
    const length = to - from;
    if (type === CTA.TUPLE_ORIG) original = decodeTuple(bytes, from, to);
    else if (type === CTA.TUPLE_REPLY) reply = decodeTuple(bytes, from, to);
    else if (type === CTA.STATUS && length >= 4) status = bytes.readUInt32BE(from);
    else if (type === CTA.MARK && length >= 4) mark = bytes.readUInt32BE(from);
    else if (type === CTA.ZONE && length >= 2) zone = bytes.readUInt16BE(from);
    else if (type === CTA.PROTOINFO) tcpState = decodeTcpState(bytes, from, to);
    if (type === CTA.TUPLE_ORIG || type === CTA.ZONE || type === CTA.ID) {
      name.push(bytes.subarray(from - 4, from - 4 + align(length + 4)));
    }
  });
  if (!whole) return new Malformed('bad attribute');
  if (original === undefined || reply === undefined) return new Malformed('missing tuple');
  if (original instanceof Malformed) return original;
  if (reply instanceof Malformed) return reply;
  return { family, original, reply, status, mark, zone, tcpState, name: Buffer.concat(name) };
}

function decodeTuple(bytes: Buffer, start: number, end: number): Tuple | Malformed {
  let source: Address | undefined;
  let destination: Address | undefined;
  let protocol = 0;
  let sourcePort = 0;
  let destinationPort = 0;
  let wrong: MalformedReason | undefined;
  const whole = attributes(bytes, start, end, (type, from, to) => {
    const inner = attributes(bytes, from, to, (field, first, last) => {
      if (type === TUPLE.IP) {
        // CTA_IP_V4_SRC, V4_DST, V6_SRC, V6_DST.
        if (field < 1 || field > 4) return;
        if (last - first !== (field <= 2 ? 4 : 16)) wrong = 'bad address';
        else if (field % 2 === 1) source = formatAddress(bytes.subarray(first, last));
        else destination = formatAddress(bytes.subarray(first, last));
      } else if (type === TUPLE.PROTO) {
        if (field === PROTO.NUMBER && last - first >= 1) protocol = bytes[first]!;
        else if (field === PROTO.SOURCE_PORT && last - first >= 2) sourcePort = bytes.readUInt16BE(first);
        else if (field === PROTO.DESTINATION_PORT && last - first >= 2) destinationPort = bytes.readUInt16BE(first);
      }
    });
    // CTA_TUPLE_ZONE is no nest.
    if (!inner && (type === TUPLE.IP || type === TUPLE.PROTO)) wrong ??= 'bad attribute';
  });
  if (!whole) return new Malformed('bad attribute');
  if (wrong) return new Malformed(wrong);
  if (source === undefined || destination === undefined) return new Malformed('bad address');
  return { source, destination, protocol, sourcePort, destinationPort };
}

function decodeTcpState(bytes: Buffer, start: number, end: number): number | undefined {
  let state: number | undefined;
  attributes(bytes, start, end, (type, from, to) => {
    if (type !== PROTOINFO_TCP) return;
    attributes(bytes, from, to, (field, first, last) => {
      if (field === TCP_STATE && last - first >= 1) state = bytes[first]!;
    });
  });
  return state;
}

/** @returns false when a length points nowhere; what came before was visited */
function attributes(
  bytes: Buffer,
  start: number,
  end: number,
  visit: (type: number, from: number, to: number) => void,
): boolean {
  for (let at = start; at < end; ) {
    if (end - at < 4) return false;
    const length = bytes.readUInt16LE(at);
    if (length < 4 || length > end - at) return false;
    visit(bytes.readUInt16LE(at + 2) & TYPE_MASK, at + 4, at + length);
    at += align(length);
  }
  return true;
}

const align = (length: number): number => (length + 3) & ~3;

function word(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(8, 0);
  bytes.writeUInt16LE(type & ~NESTED, 2);
  bytes.writeUInt32BE(value >>> 0, 4);
  return bytes;
}

function message(type: number, flags: number, sequence: number, family: 4 | 6 | undefined, parts: Buffer[]): Buffer {
  const head = Buffer.alloc(PREAMBLE);
  const bytes = Buffer.concat([head, ...parts]);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt16LE(flags, 6);
  bytes.writeUInt32LE(sequence >>> 0, 8);
  bytes[HEADER] = family === undefined ? 0 : family === 6 ? 10 : 2;
  return bytes;
}
