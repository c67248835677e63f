import { formatAddress } from '../../model/address.ts';
import { readOptionalParameters } from './capabilities.ts';
import type { BgpError } from './errors.ts';
import { bgpError, CODE, HEADER } from './errors.ts';
import type { Frame } from './framer.ts';
import type { Message, OpenMessage } from './messages.ts';
import { MESSAGE_TYPE } from './messages.ts';
import { Reader } from './reader.ts';
import type { UpdateContext } from './update.ts';
import { readUpdate } from './update.ts';

/** Least body by type: the framer has checked it, but not every caller has a framer. */
const LEAST_BODY: Record<number, number> = { 1: 10, 2: 4, 3: 2, 4: 0, 5: 4 };

/** Decodes one framed message. `context` matters for UPDATEs only. Never throws. */
export function parseMessage(frame: Frame, context: UpdateContext): Message | BgpError {
  if (frame.body.length < (LEAST_BODY[frame.type] ?? 0))
    return bgpError(CODE.header, HEADER.badLength, 'header_length');
  switch (frame.type) {
    case MESSAGE_TYPE.UPDATE:
      return readUpdate(frame.body, context);
    case MESSAGE_TYPE.KEEPALIVE:
      return { type: 'KEEPALIVE' };
    case MESSAGE_TYPE.OPEN:
      return readOpen(frame.body);
    case MESSAGE_TYPE.NOTIFICATION:
      return {
        type: 'NOTIFICATION',
        code: frame.body[0]!,
        subcode: frame.body[1]!,
        data: Uint8Array.from(frame.body.subarray(2)),
      };
    case MESSAGE_TYPE['ROUTE-REFRESH']: {
      const reader = new Reader(frame.body);
      const afi = reader.u16();
      const subtype = reader.u8();
      return { type: 'ROUTE-REFRESH', afi, safi: reader.u8(), subtype };
    }
    default:
      return bgpError(CODE.header, HEADER.badType, 'header_type', Uint8Array.of(frame.type));
  }
}

function readOpen(body: Uint8Array): OpenMessage | BgpError {
  const reader = new Reader(body);
  const version = reader.u8();
  const myAs = reader.u16();
  const holdTime = reader.u16();
  const identifier = formatAddress(reader.take(4));
  const capabilities = readOptionalParameters(reader);
  if ('type' in capabilities) return capabilities;
  return { type: 'OPEN', version, myAs, holdTime, identifier, capabilities };
}
