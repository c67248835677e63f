/**
 * Addresses, prefixes and MACs as branded canonical text.
 *
 * Why text and not numbers: the value is a Map key, a log field, a JSON value and a configuration value at once, and
 * IPv4 and IPv6 share one type. Codecs convert at the wire with the functions below, and announcers keep the encoded
 * NLRI beside each host, so the path from a link event to the wire converts nothing.
 */

declare const brand: unique symbol;

/** Canonical text: dotted quad, or IPv6 per RFC 5952. */
export type Address = string & { readonly [brand]: 'Address' };
/** Canonical text `address/length`, host bits zero. */
export type Prefix = string & { readonly [brand]: 'Prefix' };
/** Lower-case, colon separated, six octets. */
export type Mac = string & { readonly [brand]: 'Mac' };

export type Family = 4 | 6;

const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

/** Parses either family; undefined when `text` is not an address (leading zeros in a quad are refused). */
export function parseAddress(text: string): Address | undefined {
  const bytes = text.includes(':') ? parseIpv6(text) : parseIpv4(text);
  return bytes && formatAddress(bytes);
}

/** 4 or 16 bytes, network order. */
export function addressBytes(address: Address): Uint8Array {
  const bytes = address.includes(':') ? parseIpv6(address) : parseIpv4(address);
  if (!bytes) throw new TypeError(`not an address: ${address}`);
  return bytes;
}

/** @throws TypeError unless `bytes` has 4 or 16 octets */
export function formatAddress(bytes: Uint8Array): Address {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}` as Address;
  if (bytes.length === 16) return formatIpv6(bytes) as Address;
  throw new TypeError(`an address has 4 or 16 octets, not ${bytes.length}`);
}

export function familyOf(value: Address | Prefix): Family {
  return value.includes(':') ? 6 : 4;
}

/** The IPv4 address as an unsigned 32-bit integer. */
export function ipv4ToNumber(address: Address): number {
  const value = readIpv4(address);
  if (value < 0) throw new TypeError(`not IPv4: ${address}`);
  return value;
}

export function ipv4FromNumber(value: number): Address {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}` as Address;
}

/** Parses `address/length`; undefined when malformed or when host bits are set. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf('/');
  const lengthText = text.slice(slash + 1);
  const address = slash > 0 ? parseAddress(text.slice(0, slash)) : undefined;
  if (!address || !/^\d{1,3}$/.test(lengthText)) return undefined;
  const bytes = addressBytes(address);
  const length = Number(lengthText);
  if (length > bytes.length * 8) return undefined;
  for (let bit = length; bit < bytes.length * 8; bit++) {
    if (bytes[bit >> 3]! & (0x80 >> (bit & 7))) return undefined;
  }
  return `${address}/${length}` as Prefix;
}

export function makePrefix(bytes: Uint8Array, length: number): Prefix {
  const masked = Uint8Array.from(bytes);
  for (let bit = length; bit < masked.length * 8; bit++) masked[bit >> 3]! &= ~(0x80 >> (bit & 7));
  return `${formatAddress(masked)}/${length}` as Prefix;
}

/** The host route of an address: /32 or /128. */
export function hostPrefix(address: Address): Prefix {
  return `${address}/${familyOf(address) === 4 ? 32 : 128}` as Prefix;
}

export function prefixAddress(prefix: Prefix): Address {
  return prefix.slice(0, prefix.indexOf('/')) as Address;
}

export function prefixLength(prefix: Prefix): number {
  return Number(prefix.slice(prefix.indexOf('/') + 1));
}

export function prefixContains(prefix: Prefix, address: Address): boolean {
  const length = prefixLength(prefix);
  const outer4 = readIpv4(prefix, prefix.indexOf('/'));
  const inner4 = readIpv4(address);
  if (outer4 >= 0 || inner4 >= 0) {
    return outer4 >= 0 && inner4 >= 0 && (length === 0 || (outer4 ^ inner4) >>> (32 - length) === 0);
  }
  const outer = addressBytes(prefixAddress(prefix));
  const inner = addressBytes(address);
  const whole = length >> 3;
  for (let index = 0; index < whole; index++) if (outer[index] !== inner[index]) return false;
  const rest = length & 7;
  if (rest === 0) return true;
  const mask = (0xff << (8 - rest)) & 0xff;
  return (outer[whole]! & mask) === (inner[whole]! & mask);
}

export function parseMac(text: string): Mac | undefined {
  const lower = text.toLowerCase();
  return MAC.test(lower) ? (lower as Mac) : undefined;
}

/** Two digits for each octet: every frame that is heard or sent has MACs, and thousands come in a second. */
const HEX = Array.from({ length: 256 }, (_, octet) => octet.toString(16).padStart(2, '0'));

export function formatMac(bytes: Uint8Array): Mac {
  return macAt(bytes, 0);
}

/** Of the six octets from `start`. */
export function macAt(bytes: Uint8Array, start: number): Mac {
  const octet = (index: number): string => HEX[bytes[start + index]!]!;
  return `${octet(0)}:${octet(1)}:${octet(2)}:${octet(3)}:${octet(4)}:${octet(5)}` as Mac;
}

export function macBytes(mac: Mac): Uint8Array {
  const bytes = new Uint8Array(6);
  writeMac(mac, bytes, 0);
  return bytes;
}

/** Six octets from `start` on. */
export function writeMac(mac: Mac, into: Uint8Array, start: number): void {
  for (let index = 0; index < 6; index++) {
    into[start + index] = (hexDigit(mac.charCodeAt(3 * index)) << 4) | hexDigit(mac.charCodeAt(3 * index + 1));
  }
}

/** Four octets from `start` on. @throws TypeError when it is not IPv4 */
export function writeIpv4(address: Address, into: Uint8Array, start: number): void {
  const value = ipv4ToNumber(address);
  into[start] = value >>> 24;
  into[start + 1] = value >>> 16;
  into[start + 2] = value >>> 8;
  into[start + 3] = value;
}

/** Of lower-case text. */
const hexDigit = (code: number): number => (code < 58 ? code - 48 : code - 87);

function parseIpv4(text: string): Uint8Array | undefined {
  const value = readIpv4(text);
  return value < 0 ? undefined : Uint8Array.of(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
}

/** As an unsigned number; -1: `text`, up to `end`, is no dotted quad, or has leading zeros. */
function readIpv4(text: string, end = text.length): number {
  let value = 0;
  let octet = -1;
  let dots = 0;
  for (let index = 0; index < end; index++) {
    const code = text.charCodeAt(index);
    if (code === 46) {
      if (octet < 0 || ++dots > 3) return -1;
      value = value * 256 + octet;
      octet = -1;
    } else {
      if (code < 48 || code > 57 || octet === 0) return -1;
      octet = octet < 0 ? code - 48 : octet * 10 + code - 48;
      if (octet > 255) return -1;
    }
  }
  return dots === 3 && octet >= 0 ? value * 256 + octet : -1;
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0]!);
  const tail = halves.length === 2 ? parseGroups(halves[1]!) : [];
  if (!head || !tail) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...new Array<number>(halves.length === 2 ? missing : 0).fill(0), ...tail];
  const bytes = new Uint8Array(16);
  groups.forEach((group, index) => {
    bytes[index * 2] = group >> 8;
    bytes[index * 2 + 1] = group & 255;
  });
  return bytes;
}

function parseGroups(text: string): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    if (part.includes('.')) {
      const quad = index === parts.length - 1 ? parseIpv4(part) : undefined;
      if (!quad) return undefined;
      groups.push((quad[0]! << 8) | quad[1]!, (quad[2]! << 8) | quad[3]!);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
      groups.push(Number.parseInt(part, 16));
    }
  }
  return groups;
}

/** RFC 5952 §4: lower case, no leading zeros, the longest run of two or more zero groups as `::`. */
function formatIpv6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, index) => (bytes[index * 2]! << 8) | bytes[index * 2 + 1]!);
  let start = -1;
  let length = 1;
  for (let index = 0; index < 8; ) {
    let end = index;
    while (end < 8 && groups[end] === 0) end++;
    if (end - index > length) {
      start = index;
      length = end - index;
    }
    index = end === index ? index + 1 : end;
  }
  const text = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(':');
  return start < 0 ? text(0, 8) : `${text(0, start)}::${text(start + length, 8)}`;
}
