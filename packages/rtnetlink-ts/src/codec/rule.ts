/** Policy rules (`struct fib_rule_hdr`). */
import { AF, FR_ACT, FRA, RT_TABLE } from './constants.ts';
import { AttributeCursor, Malformed, type Message, type MessageWriter } from './message.ts';
import { splitPrefix } from './text.ts';

const FIB_RULE_HDR = 12;

export interface Rule {
  readonly family: number;
  readonly priority?: number;
  /** FR_ACT_*; looking a table up unless said otherwise. */
  readonly action: number;
  readonly table: number;
  readonly source?: string;
  readonly destination?: string;
  readonly inputInterface?: string;
  readonly outputInterface?: string;
  readonly mark?: number;
  readonly markMask?: number;
  readonly tos?: number;
  readonly protocol?: number;
  /** Target priority of FR_ACT_GOTO. */
  readonly goto?: number;
  readonly suppressPrefixLength?: number;
  readonly l3mdev?: boolean;
  /** FIB_RULE_*: inversion and what the kernel reports (detached interfaces). */
  readonly flags?: number;
}

export function encodeRule(writer: MessageWriter, rule: Rule): void {
  const destination = rule.destination === undefined ? undefined : splitPrefix(rule.destination);
  const source = rule.source === undefined ? undefined : splitPrefix(rule.source);
  writer.u8(rule.family);
  writer.u8(destination?.length ?? 0);
  writer.u8(source?.length ?? 0);
  writer.u8(rule.tos ?? 0);
  writer.u8(rule.table < 256 ? rule.table : RT_TABLE.COMPAT);
  writer.u16(0);
  writer.u8(rule.action);
  writer.u32(rule.flags ?? 0);
  if (destination) writer.attributeBytes(FRA.DST, destination.address);
  if (source) writer.attributeBytes(FRA.SRC, source.address);
  if (rule.inputInterface !== undefined) writer.attributeText(FRA.IIFNAME, rule.inputInterface);
  if (rule.outputInterface !== undefined) writer.attributeText(FRA.OIFNAME, rule.outputInterface);
  if (rule.priority !== undefined) writer.attributeU32(FRA.PRIORITY, rule.priority);
  if (rule.mark !== undefined) writer.attributeU32(FRA.FWMARK, rule.mark);
  if (rule.markMask !== undefined) writer.attributeU32(FRA.FWMASK, rule.markMask);
  if (rule.goto !== undefined) writer.attributeU32(FRA.GOTO, rule.goto);
  if (rule.suppressPrefixLength !== undefined) writer.attributeU32(FRA.SUPPRESS_PREFIXLEN, rule.suppressPrefixLength);
  if (rule.table >= 256) writer.attributeU32(FRA.TABLE, rule.table);
  if (rule.l3mdev) writer.attributeU8(FRA.L3MDEV, 1);
  if (rule.protocol !== undefined) writer.attributeU8(FRA.PROTOCOL, rule.protocol);
}

/** A dump asks for one family. */
export function encodeRuleFilter(writer: MessageWriter, filter: { family: number }): void {
  writer.u32(filter.family);
  writer.u32(0);
  writer.u32(0);
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

export function decodeRule(message: Message): Rule | Malformed {
  const { bytes, start, end } = message;
  if (end - start < FIB_RULE_HDR) return new Malformed('short message');
  const family = bytes[start]!;
  if (family !== AF.INET && family !== AF.INET6) return new Malformed('unsupported family');
  const octets = family === AF.INET ? 4 : 16;
  const cursor = new AttributeCursor(bytes, start + FIB_RULE_HDR, end);
  const flags = bytes.readUInt32LE(start + 8);
  const tos = bytes[start + 3]!;
  const rule: Writable<Rule> = {
    family,
    action: bytes[start + 7] || FR_ACT.UNSPEC,
    table: bytes[start + 4]!,
    ...(tos ? { tos } : {}),
    ...(flags ? { flags } : {}),
  };
  while (cursor.next()) {
    switch (cursor.type) {
      case FRA.DST:
        rule.destination = `${cursor.address(octets)}/${bytes[start + 1]}`;
        break;
      case FRA.SRC:
        rule.source = `${cursor.address(octets)}/${bytes[start + 2]}`;
        break;
      case FRA.IIFNAME:
        rule.inputInterface = cursor.text();
        break;
      case FRA.OIFNAME:
        rule.outputInterface = cursor.text();
        break;
      case FRA.PRIORITY:
        rule.priority = cursor.u32();
        break;
      case FRA.FWMARK:
        rule.mark = cursor.u32();
        break;
      case FRA.FWMASK:
        rule.markMask = cursor.u32();
        break;
      case FRA.GOTO:
        rule.goto = cursor.u32();
        break;
      case FRA.SUPPRESS_PREFIXLEN:
        readSuppression(cursor, rule);
        break;
      case FRA.TABLE:
        rule.table = cursor.u32();
        break;
      case FRA.L3MDEV:
        if (cursor.u8()) rule.l3mdev = true;
        break;
      case FRA.PROTOCOL:
        rule.protocol = cursor.u8();
        break;
    }
  }
  return cursor.malformed ?? rule;
}

/** The kernel writes all ones when nothing is suppressed. */
function readSuppression(cursor: AttributeCursor, rule: Writable<Rule>): void {
  const length = cursor.u32();
  if (length !== 0xffffffff) rule.suppressPrefixLength = length;
}
