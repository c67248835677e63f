/**
 * Bytes to packets. What comes from the wire is hostile until proven otherwise: every function answers with a value or
 * a `DecodeError`, none throws, and the work is bounded by the octets at hand, never by a count that they claim.
 */
import { HEADER_LENGTH, refusal } from './auth.ts';
import { packetChecksum } from './checksum.ts';
import { decodeLsa, LSA_HEADER_LENGTH, readLsaHeader } from './lsa-parser.ts';
import { Reader } from './reader.ts';
import type {
  Authentication,
  DecodeError,
  DecodeResult,
  Lsa,
  LsaHeader,
  LsaKey,
  OspfPacket,
  PacketHeader,
  U32,
} from './types.ts';

export interface DecodeOptions {
  /**
   * What a packet must prove; several while keys are rolled over (RFC 2328 §D.3). Left out, nothing is verified but
   * the checksum: for someone who only looks on.
   */
  readonly authentication?: Authentication | readonly Authentication[];
}

const VERSION = 2;
const HELLO_LENGTH = 20;
const DESCRIPTION_LENGTH = 8;
const REQUEST_LENGTH = 12;

/**
 * Decodes one OSPF packet, from the OSPF header on (the caller takes off the IP header). Octets behind the packet and
 * its digest are let pass: an LLS block stands there (RFC 5613), or padding of the link.
 */
export function decodePacket(bytes: Uint8Array, options: DecodeOptions = {}): DecodeResult<OspfPacket> {
  if (bytes.length < HEADER_LENGTH) return failure('truncated', `${bytes.length} octets hold no OSPF header`);
  const reader = new Reader(bytes);
  const version = reader.u8();
  if (version !== VERSION) return failure('bad-version', `version ${version}`);
  const type = reader.u8();
  const length = reader.u16();
  if (length < HEADER_LENGTH) return failure('bad-length', `packet length ${length} is less than a header`);
  if (length > bytes.length) return failure('truncated', `packet length ${length}, but ${bytes.length} octets came`);
  const routerId = reader.u32();
  const areaId = reader.u32();
  const checksum = reader.u16();
  const authType = reader.u16();
  let header: PacketHeader = { routerId, areaId, authType };
  if (authType === 2) {
    reader.skip(2);
    const keyId = reader.u8();
    const digestLength = reader.u8();
    if (length + digestLength > bytes.length) {
      return failure('truncated', `a digest of ${digestLength} octets should follow, ${bytes.length - length} did`);
    }
    header = { routerId, areaId, authType, keyId, cryptoSequence: reader.u32() };
  } else if (authType <= 1) {
    // With AuType 2 the checksum is not computed (RFC 2328 §D.4.3); with a type nobody knows it means nothing.
    const computed = packetChecksum(bytes, length);
    if (computed !== checksum) {
      return failure('bad-checksum', `checksum ${hex16(checksum)}, computed ${hex16(computed)}`);
    }
  } else {
    return failure('bad-auth', `AuType ${authType} is unknown`);
  }
  const { authentication } = options;
  if (authentication !== undefined) {
    const accepted = isList(authentication) ? authentication : [authentication];
    const reason = refusal(bytes, length, accepted);
    if (reason !== undefined) return failure('bad-auth', reason);
  }
  return decodeBody(header, type, new Reader(bytes, HEADER_LENGTH, length));
}

function decodeBody(header: PacketHeader, type: number, reader: Reader): DecodeResult<OspfPacket> {
  switch (type) {
    case 1:
      return decodeHello(header, reader);
    case 2:
      return decodeDescription(header, reader);
    case 3:
      return decodeRequest(header, reader);
    case 4:
      return decodeUpdate(header, reader);
    case 5:
      return decodeAck(header, reader);
    default:
      return failure('bad-type', `packet type ${type}`);
  }
}

function decodeHello(header: PacketHeader, reader: Reader): DecodeResult<OspfPacket> {
  const wrong = notListOf('Hello', reader, HELLO_LENGTH, 4);
  if (wrong) return wrong;
  const packet = {
    ...header,
    type: 1 as const,
    networkMask: reader.u32(),
    helloInterval: reader.u16(),
    options: reader.u8(),
    priority: reader.u8(),
    deadInterval: reader.u32(),
    designatedRouter: reader.u32(),
    backupDesignatedRouter: reader.u32(),
  };
  const neighbors: U32[] = [];
  while (reader.remaining > 0) neighbors.push(reader.u32());
  return { ok: true, value: { ...packet, neighbors } };
}

function decodeDescription(header: PacketHeader, reader: Reader): DecodeResult<OspfPacket> {
  const wrong = notListOf('Database Description', reader, DESCRIPTION_LENGTH, LSA_HEADER_LENGTH);
  if (wrong) return wrong;
  const packet = {
    ...header,
    type: 2 as const,
    interfaceMtu: reader.u16(),
    options: reader.u8(),
    flags: reader.u8(),
    sequence: reader.u32(),
  };
  return { ok: true, value: { ...packet, headers: readHeaders(reader) } };
}

function decodeRequest(header: PacketHeader, reader: Reader): DecodeResult<OspfPacket> {
  const wrong = notListOf('Link State Request', reader, 0, REQUEST_LENGTH);
  if (wrong) return wrong;
  const requests: LsaKey[] = [];
  while (reader.remaining > 0) {
    requests.push({ type: reader.u32(), linkStateId: reader.u32(), advertisingRouter: reader.u32() });
  }
  return { ok: true, value: { ...header, type: 3, requests } };
}

function decodeAck(header: PacketHeader, reader: Reader): DecodeResult<OspfPacket> {
  const wrong = notListOf('Link State Acknowledgment', reader, 0, LSA_HEADER_LENGTH);
  if (wrong) return wrong;
  return { ok: true, value: { ...header, type: 5, headers: readHeaders(reader) } };
}

/**
 * RFC 2328 §13 (1): an LSA that is wrong in itself is passed over and the next one examined. Only a length that cannot
 * be believed ends the walk, because then nobody knows where the next one begins.
 */
function decodeUpdate(header: PacketHeader, reader: Reader): DecodeResult<OspfPacket> {
  if (reader.remaining < 4) return failure('bad-length', 'a Link State Update without room for its count');
  const count = reader.u32();
  const lsas: Lsa[] = [];
  const rejected: DecodeError[] = [];
  let index = 0;
  for (; index < count && reader.remaining > 0; index++) {
    if (reader.remaining < LSA_HEADER_LENGTH) {
      rejected.push(failure('truncated', `LSA ${index + 1} of ${count}: ${reader.remaining} octets are left`));
      return { ok: true, value: { ...header, type: 4, lsas, rejected } };
    }
    const { bytes, offset } = reader;
    const length = (bytes[offset + 18]! << 8) | bytes[offset + 19]!;
    if (length < LSA_HEADER_LENGTH || length > reader.remaining) {
      const detail = `LSA ${index + 1} of ${count}: length ${length} with ${reader.remaining} octets left`;
      rejected.push(failure('bad-lsa-length', detail));
      return { ok: true, value: { ...header, type: 4, lsas, rejected } };
    }
    const lsa = decodeLsa(bytes.subarray(offset, offset + length));
    if (lsa.ok) lsas.push(lsa.value);
    else rejected.push(failure(lsa.reason, `LSA ${index + 1} of ${count}: ${lsa.detail}`));
    reader.skip(length);
  }
  if (index < count) rejected.push(failure('truncated', `${count} LSAs were said to come, ${index} did`));
  else if (reader.remaining > 0) {
    rejected.push(failure('bad-length', `${reader.remaining} octets stand behind the last of ${count} LSAs`));
  }
  return { ok: true, value: { ...header, type: 4, lsas, rejected } };
}

function readHeaders(reader: Reader): LsaHeader[] {
  const headers: LsaHeader[] = [];
  while (reader.remaining > 0) headers.push(readLsaHeader(reader));
  return headers;
}

/** Refuses a body that is not `fixed` octets and then a whole number of items. */
function notListOf(name: string, reader: Reader, fixed: number, item: number): DecodeError | undefined {
  const octets = reader.remaining;
  return octets < fixed || (octets - fixed) % item !== 0
    ? failure('bad-length', `a ${name} with a body of ${octets} octets`)
    : undefined;
}

function isList(value: Authentication | readonly Authentication[]): value is readonly Authentication[] {
  return Array.isArray(value);
}

function failure(reason: DecodeError['reason'], detail: string): DecodeError {
  return { ok: false, reason, detail };
}

function hex16(value: number): string {
  return `0x${value.toString(16).padStart(4, '0')}`;
}
