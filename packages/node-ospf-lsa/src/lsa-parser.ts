/** Bytes to LSAs (RFC 2328 §A.4, RFC 3101, RFC 5250). Answers with a value or a `DecodeError`; never throws. */
import { lsaChecksumValid } from './checksum.ts';
import { Reader } from './reader.ts';
import type {
  DecodeError,
  DecodeResult,
  ExternalBody,
  Lsa,
  LsaBody,
  LsaHeader,
  NetworkBody,
  RouterBody,
  RouterLink,
  SummaryBody,
  U32,
} from './types.ts';
import { LsaType } from './types.ts';

export const LSA_HEADER_LENGTH = 20;

/** Reads the header alone and believes its length field; the rest of the LSA need not be there. */
export function decodeLsaHeader(bytes: Uint8Array, offset = 0): DecodeResult<LsaHeader> {
  if (bytes.length - offset < LSA_HEADER_LENGTH) return failure('truncated', 'too short for an LSA header');
  return { ok: true, value: readLsaHeader(new Reader(bytes, offset)) };
}

/**
 * Decodes one LSA. `bytes` may go on behind it. The checksum is verified, the body must fill the length exactly;
 * `raw` is a copy (and the body's `data` a view of it), so the receive buffer may be used again.
 */
export function decodeLsa(bytes: Uint8Array): DecodeResult<Lsa> {
  if (bytes.length < LSA_HEADER_LENGTH) return failure('truncated', 'too short for an LSA header');
  const length = (bytes[18]! << 8) | bytes[19]!;
  if (length < LSA_HEADER_LENGTH) return failure('bad-lsa-length', `LSA length ${length} is less than a header`);
  if (length > bytes.length) return failure('truncated', `LSA length ${length}, but ${bytes.length} octets came`);
  if (!lsaChecksumValid(bytes, 0, length)) return failure('bad-lsa-checksum', 'the Fletcher sums are not zero');
  const raw = new Uint8Array(bytes.subarray(0, length));
  const reader = new Reader(raw);
  const header = readLsaHeader(reader);
  const body = readBody(header.type, reader);
  if (body) return { ok: true, value: { header, body, raw } };
  return failure('bad-lsa-length', `${length} octets do not make a whole LSA of type ${header.type}`);
}

/** 20 octets must be there. */
export function readLsaHeader(reader: Reader): LsaHeader {
  return {
    age: reader.u16(),
    options: reader.u8(),
    type: reader.u8(),
    linkStateId: reader.u32(),
    advertisingRouter: reader.u32(),
    sequence: reader.i32(),
    checksum: reader.u16(),
    length: reader.u16(),
  };
}

/** undefined: the octets left do not fit the type. */
function readBody(type: number, reader: Reader): LsaBody | undefined {
  switch (type) {
    case LsaType.Router:
      return readRouter(reader);
    case LsaType.Network:
      return readNetwork(reader);
    case LsaType.SummaryNetwork:
    case LsaType.SummaryAsbr:
      return readSummary(reader);
    case LsaType.AsExternal:
    case LsaType.Nssa:
      return readExternal(reader);
    case LsaType.OpaqueLink:
    case LsaType.OpaqueArea:
    case LsaType.OpaqueAs:
      return { kind: 'opaque', data: reader.rest() };
    default:
      return { kind: 'unknown', data: reader.rest() };
  }
}

function readRouter(reader: Reader): RouterBody | undefined {
  if (reader.remaining < 4) return undefined;
  const flags = reader.u8();
  reader.skip(1);
  const count = reader.u16();
  const links: RouterLink[] = [];
  for (let index = 0; index < count; index++) {
    if (reader.remaining < 12) return undefined;
    const linkId = reader.u32();
    const linkData = reader.u32();
    const type = reader.u8();
    const tosCount = reader.u8();
    const metric = reader.u16();
    if (reader.remaining < tosCount * 4) return undefined;
    const tos: { tos: number; metric: number }[] = [];
    for (let item = 0; item < tosCount; item++) {
      const value = reader.u8();
      reader.skip(1);
      tos.push({ tos: value, metric: reader.u16() });
    }
    links.push({ linkId, linkData, type, metric, tos });
  }
  return reader.remaining === 0 ? { kind: 'router', flags, links } : undefined;
}

function readNetwork(reader: Reader): NetworkBody | undefined {
  if (reader.remaining < 4 || reader.remaining % 4 !== 0) return undefined;
  const mask = reader.u32();
  const attachedRouters: U32[] = [];
  while (reader.remaining > 0) attachedRouters.push(reader.u32());
  return { kind: 'network', mask, attachedRouters };
}

function readSummary(reader: Reader): SummaryBody | undefined {
  if (reader.remaining < 8 || reader.remaining % 4 !== 0) return undefined;
  const mask = reader.u32();
  reader.skip(1);
  const metric = reader.u24();
  const tos: { tos: number; metric: number }[] = [];
  while (reader.remaining > 0) tos.push({ tos: reader.u8(), metric: reader.u24() });
  return { kind: 'summary', mask, metric, tos };
}

function readExternal(reader: Reader): ExternalBody | undefined {
  if (reader.remaining < 16 || (reader.remaining - 4) % 12 !== 0) return undefined;
  const mask = reader.u32();
  const metricType = reader.u8() & 0x80 ? 2 : 1;
  const metric = reader.u24();
  const forwardingAddress = reader.u32();
  const tag = reader.u32();
  const tos: ExternalBody['tos'][number][] = [];
  while (reader.remaining > 0) {
    const first = reader.u8();
    tos.push({
      metricType: first & 0x80 ? 2 : 1,
      tos: first & 0x7f,
      metric: reader.u24(),
      forwardingAddress: reader.u32(),
      tag: reader.u32(),
    });
  }
  return { kind: 'external', mask, metricType, metric, forwardingAddress, tag, tos };
}

function failure(reason: DecodeError['reason'], detail: string): DecodeError {
  return { ok: false, reason, detail };
}
