/**
 * Addresses as canonical text (dotted quad; IPv6 per RFC 5952), prefixes as `address/length`, link-layer addresses as
 * colon separated lower-case octets: usable as Map keys and readable in logs, converted at the wire only.
 */

/** @throws TypeError when `text` is no address; 4 or 16 octets */
export function addressBytes(text: string): Uint8Array {
  const bytes = text.includes(':') ? ipv6Bytes(text) : ipv4Bytes(text);
  if (!bytes) throw new TypeError(`not an address: ${text}`);
  return bytes;
}

/** `bytes` from `start`, 4 or 16 octets. */
export function addressText(bytes: Uint8Array, start: number, length: number): string {
  if (length === 4) return `${bytes[start]}.${bytes[start + 1]}.${bytes[start + 2]}.${bytes[start + 3]}`;
  return ipv6Text(bytes, start);
}

/** @throws TypeError when malformed */
export function splitPrefix(prefix: string): { address: Uint8Array; length: number } {
  const slash = prefix.indexOf('/');
  const address = addressBytes(slash < 0 ? prefix : prefix.slice(0, slash));
  const bits = address.length * 8;
  const length = slash < 0 ? bits : Number(prefix.slice(slash + 1));
  if (!Number.isInteger(length) || length < 0 || length > bits) throw new TypeError(`not a prefix: ${prefix}`);
  return { address, length };
}

export const isIpv6 = (text: string): boolean => text.includes(':');

/** Any link-layer length: 6 octets for Ethernet, 4 or 16 for tunnels. */
export function linkAddressText(bytes: Uint8Array, start: number, end: number): string {
  let text = '';
  for (let index = start; index < end; index++) text += (index > start ? ':' : '') + HEX[bytes[index]!];
  return text;
}

export function linkAddressBytes(text: string): Uint8Array {
  const octets = (text.length + 1) / 3;
  let wellFormed = Number.isInteger(octets) && octets > 0;
  const bytes = new Uint8Array(wellFormed ? octets : 0);
  for (let index = 0; index < bytes.length; index++) {
    const at = 3 * index;
    const value = (hexDigit(text.charCodeAt(at)) << 4) | hexDigit(text.charCodeAt(at + 1));
    if (value < 0 || (at + 2 < text.length && text.charCodeAt(at + 2) !== COLON)) wellFormed = false;
    bytes[index] = value;
  }
  if (!wellFormed) throw new TypeError(`not a link-layer address: ${text}`);
  return bytes;
}

const COLON = 58;

/** -1: it is none. */
function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const letter = code | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}

const HEX = Array.from({ length: 256 }, (_, value) => value.toString(16).padStart(2, '0'));

function ipv4Bytes(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(4);
  let octet = -1;
  let filled = 0;
  for (let index = 0; index <= text.length; index++) {
    const code = index < text.length ? text.charCodeAt(index) : 46;
    if (code === 46) {
      if (octet < 0 || octet > 255 || filled > 3) return undefined;
      bytes[filled++] = octet;
      octet = -1;
    } else if (code >= 48 && code <= 57) {
      octet = octet < 0 ? code - 48 : octet * 10 + code - 48;
    } else return undefined;
  }
  return filled === 4 ? bytes : undefined;
}

function ipv6Bytes(text: string): Uint8Array | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = groupsOf(halves[0]!);
  const tail = halves.length === 2 ? groupsOf(halves[1]!) : [];
  if (!head || !tail) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const bytes = new Uint8Array(16);
  for (const [index, group] of head.entries()) writeGroup(bytes, index, group);
  for (const [index, group] of tail.entries()) writeGroup(bytes, 8 - tail.length + index, group);
  return bytes;
}

function writeGroup(bytes: Uint8Array, index: number, group: number): void {
  bytes[index * 2] = group >> 8;
  bytes[index * 2 + 1] = group & 255;
}

function groupsOf(text: string): number[] | undefined {
  if (text === '') return [];
  const parts = text.split(':');
  const groups: number[] = [];
  for (const [index, part] of parts.entries()) {
    if (part.includes('.')) {
      const quad = index === parts.length - 1 ? ipv4Bytes(part) : undefined;
      if (!quad) return undefined;
      groups.push((quad[0]! << 8) | quad[1]!, (quad[2]! << 8) | quad[3]!);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups.push(Number.parseInt(part, 16));
    else return undefined;
  }
  return groups;
}

function ipv6Text(bytes: Uint8Array, start: number): string {
  const group = (index: number) => (bytes[start + index * 2]! << 8) | bytes[start + index * 2 + 1]!;
  let zerosAt = -1;
  let zeros = 1;
  for (let index = 0; index < 8; index++) {
    let end = index;
    while (end < 8 && group(end) === 0) end++;
    if (end - index > zeros) {
      zerosAt = index;
      zeros = end - index;
    }
    if (end > index) index = end;
  }
  let text = '';
  for (let index = 0; index < 8; index++) {
    if (index === zerosAt) {
      text += '::';
      index += zeros - 1;
    } else text += (text === '' || text.endsWith(':') ? '' : ':') + group(index).toString(16);
  }
  return text;
}
