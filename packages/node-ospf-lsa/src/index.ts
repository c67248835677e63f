/**
 * OSPFv2 packets and LSAs (RFC 2328; RFC 3101 NSSA, RFC 5250 opaque, RFC 5709 HMAC-SHA) between bytes and plain
 * values, without any I/O.
 *
 * `types.ts` has the values; `reader.ts`, `parser.ts`, `lsa-parser.ts` go from bytes to them, `writer.ts`,
 * `serializer.ts`, `lsa-serializer.ts` back; `checksum.ts`, `auth.ts`, `compare.ts` are what their names say. Two
 * invariants hold throughout: decoding never throws (bad input is a `DecodeError`), and an `Lsa` carries the bytes it
 * came in, so flooding it on is a copy.
 */
export { authenticationProblem, trailerLength } from './auth.ts';
export { lsaChecksum, lsaChecksumValid, packetChecksum } from './checksum.ts';
export { compareInstances, DoNotAge, lsaAge, lsaKeyText, lsaWithAge, withAge } from './compare.ts';
export { decodeLsa, decodeLsaHeader } from './lsa-parser.ts';
export { encodeLsa } from './lsa-serializer.ts';
export { type DecodeOptions, decodePacket } from './parser.ts';
export { encodePacket, packUpdates, type UpdateHeader } from './serializer.ts';
export * from './types.ts';
