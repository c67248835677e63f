/** Messages about security associations: XFRM_MSG_NEWSA, DELSA, GETSA. */
import { AttributeCursor, Malformed, type Message, type MessageWriter } from 'rtnetlink-ts';
import type { Address } from '../../../../model/address.ts';
import {
  AEAD_NAME,
  ICV_BITS,
  SIZE,
  UDP_ENCAP_ESPINUDP,
  XFRM_MODE_TRANSPORT,
  XFRM_STATE_ESN,
  XFRMA,
} from './constants.ts';
import {
  getAddress,
  getSelector,
  IPPROTO_ESP,
  linuxFamily,
  type Mark,
  markBytes,
  putAddress,
  putId,
  putNoLimits,
  putSelector,
  type SaId,
  type Selector,
  saIdBytes,
} from './structures.ts';

/** 32 octets of AES key, 4 of salt (RFC 4106 §8.1). */
export const KEY_LENGTH = 36;

/** An SA of ESP in transport mode with AES-256-GCM and extended sequence numbers. */
export interface Association extends SaId {
  readonly source: Address;
  readonly reqid: number;
  /** 36 octets. The caller zeroes it. */
  readonly key: Uint8Array;
  readonly selector: Selector;
  /** ESP in UDP (RFC 3948). */
  readonly encapsulation?: { readonly sourcePort: number; readonly destinationPort: number };
  /** Packets; a multiple of 32. */
  readonly window: number;
  /** Last 64-bit numbers: sent, received. */
  readonly sequence: { readonly sent: bigint; readonly received: bigint };
  /** The mark that a packet has once it has come through. */
  readonly setMark?: Mark;
  /** XFRM interface; absent: none. */
  readonly interfaceId?: number;
}

/** As the kernel tells of one. */
export interface ListedAssociation extends Association {
  readonly traffic: {
    readonly bytes: bigint;
    readonly packets: bigint;
    /** Refused: outside of the window, and with a wrong ICV. */
    readonly replayed: number;
    readonly forged: number;
  };
}

/** @throws RangeError for a key or window of another size */
export function writeAssociation(writer: MessageWriter, sa: Association): void {
  const { source, destination, spi, key, window, sequence, encapsulation, mark, setMark, interfaceId } = sa;
  if (key.length !== KEY_LENGTH) throw new RangeError(`a key has ${KEY_LENGTH} octets`);
  if (window < 32 || window > 4096 || window % 32 !== 0) throw new RangeError(`a window of ${window}`);
  const info = Buffer.alloc(SIZE.SA);
  putSelector(info, 0, sa.selector);
  putId(info, 56, destination, spi);
  putAddress(info, 80, source);
  putNoLimits(info, 96);
  info.writeUInt32LE(sa.reqid, 208);
  info.writeUInt16LE(linuxFamily(destination), 212);
  info[214] = XFRM_MODE_TRANSPORT;
  info[216] = XFRM_STATE_ESN;
  writer.octets(info);
  const algorithm = Buffer.alloc(SIZE.ALGORITHM + KEY_LENGTH);
  algorithm.write(AEAD_NAME, 'latin1');
  algorithm.writeUInt32LE(KEY_LENGTH * 8, 64);
  algorithm.writeUInt32LE(ICV_BITS, 68);
  algorithm.set(key, SIZE.ALGORITHM);
  writer.attributeBytes(XFRMA.ALG_AEAD, algorithm);
  algorithm.fill(0);
  if (encapsulation) {
    const bytes = Buffer.alloc(SIZE.ENCAPSULATION);
    bytes.writeUInt16LE(UDP_ENCAP_ESPINUDP, 0);
    bytes.writeUInt16BE(encapsulation.sourcePort, 2);
    bytes.writeUInt16BE(encapsulation.destinationPort, 4);
    writer.attributeBytes(XFRMA.ENCAP, bytes);
  }
  writer.attributeBytes(XFRMA.REPLAY_ESN_VAL, replayBytes(window, sequence.sent, sequence.received));
  if (mark) writer.attributeBytes(XFRMA.MARK, markBytes(mark));
  if (interfaceId !== undefined) writer.attributeU32(XFRMA.IF_ID, interfaceId);
  if (setMark) {
    writer.attributeU32(XFRMA.SET_MARK, setMark.value);
    writer.attributeU32(XFRMA.SET_MARK_MASK, setMark.mask);
  }
}

/** For DELSA and GETSA of one. */
export function writeAssociationId(writer: MessageWriter, id: SaId): void {
  writer.octets(saIdBytes(id));
  if (id.mark) writer.attributeBytes(XFRMA.MARK, markBytes(id.mark));
}

/** For a dump of all of ESP. */
export function writeAssociationDump(writer: MessageWriter): void {
  writer.attributeU8(XFRMA.PROTO, IPPROTO_ESP);
}

/** struct xfrm_replay_state_esn; the bitmap that is left out is empty. */
function replayBytes(window: number, sent: bigint, received: bigint): Buffer {
  const words = window / 32;
  const bytes = Buffer.alloc(SIZE.REPLAY);
  bytes.writeUInt32LE(words, 0);
  bytes.writeUInt32LE(Number(sent & 0xffff_ffffn), 4);
  bytes.writeUInt32LE(Number(received & 0xffff_ffffn), 8);
  bytes.writeUInt32LE(Number(sent >> 32n), 12);
  bytes.writeUInt32LE(Number(received >> 32n), 16);
  bytes.writeUInt32LE(window, 20);
  return bytes;
}

/** undefined: an SA of another kind than ours. */
export function readAssociation(message: Message): ListedAssociation | undefined | Malformed {
  const { bytes, start, end } = message;
  if (end - start < SIZE.SA) return new Malformed('short message');
  const family = bytes.readUInt16LE(start + 212);
  const selector = getSelector(bytes, start);
  const destination = getAddress(bytes, start + 56, family);
  const source = getAddress(bytes, start + 80, family);
  const attributes = readAttributes(new AttributeCursor(bytes, start + SIZE.SA, end));
  if (attributes instanceof Malformed) return attributes;
  const { key, replay } = attributes;
  const ours =
    bytes[start + 76] === IPPROTO_ESP &&
    bytes[start + 214] === XFRM_MODE_TRANSPORT &&
    (bytes[start + 216]! & XFRM_STATE_ESN) !== 0;
  if (!ours || !selector || destination === undefined || source === undefined || !key || !replay) return undefined;
  const { encapsulation, mark, setMark, interfaceId } = attributes;
  return {
    source,
    destination,
    spi: bytes.readUInt32BE(start + 72),
    reqid: bytes.readUInt32LE(start + 208),
    key,
    selector,
    ...replay,
    ...(encapsulation ? { encapsulation } : {}),
    ...(mark ? { mark } : {}),
    ...(setMark ? { setMark } : {}),
    ...(interfaceId === undefined ? {} : { interfaceId }),
    traffic: {
      bytes: bytes.readBigUInt64LE(start + 160),
      packets: bytes.readBigUInt64LE(start + 168),
      replayed: bytes.readUInt32LE(start + 196),
      forged: bytes.readUInt32LE(start + 200),
    },
  };
}

interface Attributes {
  key?: Uint8Array;
  replay?: Pick<Association, 'window' | 'sequence'>;
  encapsulation?: NonNullable<Association['encapsulation']>;
  mark?: Mark;
  setMark?: Mark;
  interfaceId?: number;
}

function readAttributes(cursor: AttributeCursor): Attributes | Malformed {
  const found: Attributes = {};
  let markValue: number | undefined;
  let markMask = 0xffffffff;
  while (cursor.next()) {
    const { bytes, start, end } = cursor.range;
    switch (cursor.type) {
      case XFRMA.ALG_AEAD:
        if (end - start < SIZE.ALGORITHM) return new Malformed('short attribute');
        if (!bytes.toString('latin1', start, start + 64).startsWith(`${AEAD_NAME}\0`)) break;
        if (bytes.readUInt32LE(start + 64) !== KEY_LENGTH * 8 || bytes.readUInt32LE(start + 68) !== ICV_BITS) break;
        if (end - start !== SIZE.ALGORITHM + KEY_LENGTH) return new Malformed('bad attribute length');
        found.key = Uint8Array.from(bytes.subarray(start + SIZE.ALGORITHM, end));
        break;
      case XFRMA.REPLAY_ESN_VAL: {
        if (end - start < SIZE.REPLAY) return new Malformed('short attribute');
        const word = (index: number) => BigInt(bytes.readUInt32LE(start + index * 4));
        found.replay = {
          window: bytes.readUInt32LE(start + 20),
          sequence: { sent: (word(3) << 32n) | word(1), received: (word(4) << 32n) | word(2) },
        };
        break;
      }
      case XFRMA.ENCAP:
        if (end - start < SIZE.ENCAPSULATION) return new Malformed('short attribute');
        if (bytes.readUInt16LE(start) !== UDP_ENCAP_ESPINUDP) break;
        found.encapsulation = {
          sourcePort: bytes.readUInt16BE(start + 2),
          destinationPort: bytes.readUInt16BE(start + 4),
        };
        break;
      case XFRMA.MARK:
        if (end - start < 8) return new Malformed('short attribute');
        found.mark = { value: bytes.readUInt32LE(start), mask: bytes.readUInt32LE(start + 4) };
        break;
      case XFRMA.SET_MARK:
        markValue = cursor.u32();
        break;
      case XFRMA.SET_MARK_MASK:
        markMask = cursor.u32();
        break;
      case XFRMA.IF_ID:
        found.interfaceId = cursor.u32();
        break;
    }
  }
  if (cursor.malformed) return cursor.malformed;
  if (markValue !== undefined) found.setMark = { value: markValue, mask: markMask };
  return found;
}

/** Of XFRM_MSG_DELSA as a notification. */
export function readAssociationId(message: Message): SaId | undefined | Malformed {
  const { bytes, start, end } = message;
  if (end - start < SIZE.SA_ID) return new Malformed('short message');
  const destination = getAddress(bytes, start, bytes.readUInt16LE(start + 20));
  if (destination === undefined || bytes[start + 22] !== IPPROTO_ESP) return undefined;
  return { destination, spi: bytes.readUInt32BE(start + 16) };
}
