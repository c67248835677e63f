/**
 * The two checksums of OSPF: the Internet checksum of packets (RFC 1071) and the Fletcher checksum of LSAs
 * (RFC 2328 §12.1.7, RFC 905 Annex B). The latter leaves out the LS age, so that an LSA can age in flight.
 */

/** From here on an LSA is covered by its checksum: everything but the age. */
const COVERED_FROM = 2;
/** Where the checksum stands in the LSA. */
const CHECKSUM_AT = 16;

/**
 * How many octets are added up before the sums are reduced mod 255, so that they stay small integers for the engine:
 * after n octets c1 is at most 255 * n(n+1)/2 + 254n, below 2^30 for n = 2048.
 */
const RUN = 2048;

/** The Fletcher sums [c0, c1] mod 255 of `bytes[from, to)`, packed as `c1 << 8 | c0`. */
function fletcherSums(bytes: Uint8Array, from: number, to: number): number {
  let c0 = 0;
  let c1 = 0;
  for (let start = from; start < to; start += RUN) {
    const end = Math.min(to, start + RUN);
    for (let index = start; index < end; index++) {
      c0 += bytes[index]!;
      c1 += c0;
    }
    c0 %= 255;
    c1 %= 255;
  }
  return (c1 << 8) | c0;
}

/** The checksum that `lsa` should carry; what its checksum field holds now does not matter. */
export function lsaChecksum(lsa: Uint8Array): number {
  const head = fletcherSums(lsa, COVERED_FROM, CHECKSUM_AT);
  const tail = fletcherSums(lsa, CHECKSUM_AT + 2, lsa.length);
  const tailLength = lsa.length - CHECKSUM_AT - 2;
  // Joins the two halves as if two zero octets stood between them.
  const c0 = ((head & 255) + (tail & 255)) % 255;
  const c1 = ((head >> 8) + (head & 255) * (tailLength + 2) + (tail >> 8)) % 255;
  // Zero and 255 are the same mod 255; 255 is written, because a zero octet would mean "no checksum" in RFC 905.
  let x = ((tailLength + 1) * c0 - c1) % 255;
  if (x <= 0) x += 255;
  let y = 510 - c0 - x;
  if (y > 255) y -= 255;
  return (x << 8) | y;
}

/**
 * Whether `bytes[offset, offset + length)` is an LSA with a right checksum. A zero checksum is a failure, not an
 * absent one (RFC 2328 §12.1.7).
 */
export function lsaChecksumValid(bytes: Uint8Array, offset = 0, length = bytes.length - offset): boolean {
  if (length < CHECKSUM_AT + 2 || offset + length > bytes.length) return false;
  if (bytes[offset + CHECKSUM_AT] === 0 && bytes[offset + CHECKSUM_AT + 1] === 0) return false;
  return fletcherSums(bytes, offset + COVERED_FROM, offset + length) === 0;
}

/** Internet checksum of an OSPF packet of `length` octets: the 64-bit authentication field does not count (§D.4). */
export function packetChecksum(bytes: Uint8Array, length: number): number {
  return ~fold(sum16(bytes, 0, 12) + sum16(bytes, 14, 16) + sum16(bytes, 24, length)) & 0xffff;
}

function sum16(bytes: Uint8Array, from: number, to: number): number {
  let sum = 0;
  const even = to - ((to - from) & 1);
  for (let index = from; index < even; index += 2) sum += (bytes[index]! << 8) | bytes[index + 1]!;
  return even < to ? sum + (bytes[even]! << 8) : sum;
}

function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return folded;
}
