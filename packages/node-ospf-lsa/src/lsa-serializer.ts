/** LSAs to bytes (RFC 2328 §A.4, RFC 3101, RFC 5250), with length and checksum computed. */
import { lsaChecksum } from './checksum.ts';
import { LSA_HEADER_LENGTH } from './lsa-parser.ts';
import { writeLsaHeader } from './serializer.ts';
import type { Lsa, LsaBody, LsaFields } from './types.ts';
import { LsaType } from './types.ts';
import { Writer } from './writer.ts';

const MAX_LSA = 65_535;

const KIND_OF_TYPE: Readonly<Record<number, LsaBody['kind']>> = {
  [LsaType.Router]: 'router',
  [LsaType.Network]: 'network',
  [LsaType.SummaryNetwork]: 'summary',
  [LsaType.SummaryAsbr]: 'summary',
  [LsaType.AsExternal]: 'external',
  [LsaType.Nssa]: 'external',
  [LsaType.OpaqueLink]: 'opaque',
  [LsaType.OpaqueArea]: 'opaque',
  [LsaType.OpaqueAs]: 'opaque',
};

/**
 * Makes an LSA ready to be flooded: header completed, `raw` as it goes on the wire.
 * @throws TypeError when the body is not one of the header's type; RangeError when the LSA would exceed 65,535 octets
 */
export function encodeLsa(fields: LsaFields, body: LsaBody): Lsa {
  const expected = KIND_OF_TYPE[fields.type] ?? 'unknown';
  if (body.kind !== expected) throw new TypeError(`an LSA of type ${fields.type} has no ${body.kind} body`);
  const length = LSA_HEADER_LENGTH + bodyLength(body);
  if (length > MAX_LSA) throw new RangeError(`an LSA of ${length} octets is longer than its length field can say`);
  const writer = new Writer(length);
  writeLsaHeader(writer, { ...fields, checksum: 0, length });
  writeBody(writer, body);
  const raw = writer.bytes;
  const checksum = lsaChecksum(raw);
  raw[16] = checksum >>> 8;
  raw[17] = checksum;
  const { age, options, type, linkStateId, advertisingRouter, sequence } = fields;
  const header = { age, options, type, linkStateId, advertisingRouter, sequence, checksum, length };
  return { header, body, raw };
}

function bodyLength(body: LsaBody): number {
  switch (body.kind) {
    case 'router':
      return body.links.reduce((sum, link) => sum + 12 + link.tos.length * 4, 4);
    case 'network':
      return 4 + body.attachedRouters.length * 4;
    case 'summary':
      return 8 + body.tos.length * 4;
    case 'external':
      return 16 + body.tos.length * 12;
    default:
      return body.data.length;
  }
}

function writeBody(writer: Writer, body: LsaBody): void {
  switch (body.kind) {
    case 'router':
      writer.u8(body.flags);
      writer.u8(0);
      writer.u16(body.links.length);
      for (const link of body.links) {
        writer.u32(link.linkId);
        writer.u32(link.linkData);
        writer.u8(link.type);
        if (link.tos.length > 255) throw new RangeError(`a link with ${link.tos.length} TOS metrics, at most 255 fit`);
        writer.u8(link.tos.length);
        writer.u16(link.metric);
        for (const { tos, metric } of link.tos) {
          writer.u8(tos);
          writer.u8(0);
          writer.u16(metric);
        }
      }
      break;
    case 'network':
      writer.u32(body.mask);
      for (const router of body.attachedRouters) writer.u32(router);
      break;
    case 'summary':
      writer.u32(body.mask);
      writer.u8(0);
      writer.u24(body.metric);
      for (const { tos, metric } of body.tos) {
        writer.u8(tos);
        writer.u24(metric);
      }
      break;
    case 'external':
      writer.u32(body.mask);
      writer.u8(body.metricType === 2 ? 0x80 : 0);
      writer.u24(body.metric);
      writer.u32(body.forwardingAddress);
      writer.u32(body.tag);
      for (const { metricType, tos, metric, forwardingAddress, tag } of body.tos) {
        writer.u8((metricType === 2 ? 0x80 : 0) | tos);
        writer.u24(metric);
        writer.u32(forwardingAddress);
        writer.u32(tag);
      }
      break;
    default:
      writer.raw(body.data);
  }
}
