/** What the kernel answers to a request: NLMSG_ERROR (code 0 is the acknowledgement) and NLMSG_DONE, with extended text. */
import { NLM_F, NLMSGERR_ATTR } from './constants.ts';
import { AttributeCursor, HEADER_LENGTH, Malformed, type Message } from './message.ts';

export interface Answer {
  /** Positive; 0 means done. */
  readonly errno: number;
  /** The kernel's own words (NETLINK_EXT_ACK), also a warning on success. */
  readonly extack: string | undefined;
  /** Offset of the attribute that was refused, in the request. */
  readonly offset: number | undefined;
}

export function decodeError(message: Message): Answer | Malformed {
  const { bytes, start, end, flags } = message;
  if (end - start < 4 + HEADER_LENGTH) return new Malformed('short message');
  // Without NETLINK_CAP_ACK, or where the kernel does not honour it, the whole request stands before the attributes.
  const echoed = flags & NLM_F.CAPPED ? HEADER_LENGTH : bytes.readUInt32LE(start + 4);
  const attributes = start + 4 + ((echoed + 3) & ~3);
  return withAttributes(message, -bytes.readInt32LE(start), flags & NLM_F.ACK_TLVS ? attributes : end);
}

/** Ends a dump; carries an error code since Linux 4.x, attributes behind it when flagged. */
export function decodeDone(message: Message): Answer | Malformed {
  const { bytes, start, end, flags } = message;
  if (end - start < 4) return { errno: 0, extack: undefined, offset: undefined };
  return withAttributes(message, -bytes.readInt32LE(start), flags & NLM_F.ACK_TLVS ? start + 4 : end);
}

function withAttributes(message: Message, errno: number, start: number): Answer | Malformed {
  let extack: string | undefined;
  let offset: number | undefined;
  const cursor = new AttributeCursor(message.bytes, start, message.end);
  while (cursor.next()) {
    if (cursor.type === NLMSGERR_ATTR.MSG) extack = cursor.text();
    else if (cursor.type === NLMSGERR_ATTR.OFFS) offset = cursor.u32();
  }
  return cursor.malformed ?? { errno: Math.max(0, errno), extack, offset };
}
