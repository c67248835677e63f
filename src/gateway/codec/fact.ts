/**
 * A port fact as octets (docs/wire.md). The key names the port, and stays the same for as long as the port is: version,
 * router id, ifindex. The value is a version and then TLVs, one octet for the type and one for the length; types that are
 * not known are skipped, so that a newer switch can say more to an older gateway.
 */
import { type Address, addressBytes, formatAddress, formatMac, type Mac, macBytes } from '../../model/address.ts';
import type { CarriedFact, PortFact } from '../../model/port-facts.ts';
import { octetsText, textOctets } from './text.ts';

export const VERSION = 1;
const KEY_LENGTH = 9;
/** Addresses, and MACs, that one fact carries; the others are left out. */
export const MOST_ADDRESSES = 16;
export const MOST_MACS = 16;
/** Octets of a value that are looked at; `encodeFact` stays below. */
export const LONGEST_VALUE = 2048;

const TLV = {
  switchName: 1,
  port: 2,
  role: 3,
  state: 4,
  since: 5,
  reason: 6,
  address: 7,
  macs: 8,
  lldpSystem: 9,
  lldpPort: 10,
} as const;

/** Octets of texts, as they are written; up to 255 are read. */
const LONGEST = { name: 64, reason: 200, lldp: 128 } as const;

/** Index + 1 is what is on the wire. */
const ROLES = ['uplink', 'downlink'] as const;
const STATES = ['up', 'down', 'shut'] as const;

/** 9999-12-31: what a Date, and an ISO time of four digits, can say. */
const LATEST = 253_402_300_799_999;

export type KeyError = 'key-length' | 'key-version';
export type ValueError =
  | 'value-empty'
  | 'value-version'
  | 'value-too-long'
  | 'tlv-truncated'
  | 'tlv-length'
  | 'tlv-repeated'
  | 'too-many-addresses'
  | 'text-not-utf8'
  | 'role-unknown'
  | 'state-unknown'
  | 'since-impossible'
  | 'port-missing'
  | 'role-missing'
  | 'state-missing'
  | 'since-missing';
export type FactError = KeyError | ValueError;

export interface FactKey {
  readonly routerId: Address;
  readonly ifindex: number;
}

/** What a value says; the key says whose it is. */
export type FactValue = Omit<PortFact, keyof FactKey>;

export function encodeKey({ routerId, ifindex }: FactKey): Uint8Array {
  const octets = new Uint8Array(KEY_LENGTH);
  octets[0] = VERSION;
  octets.set(addressBytes(routerId), 1);
  new DataView(octets.buffer).setUint32(5, ifindex);
  return octets;
}

export function decodeKey(key: Uint8Array): FactKey | KeyError {
  if (key.length === 0 || key[0] !== VERSION) return key.length === 0 ? 'key-length' : 'key-version';
  if (key.length !== KEY_LENGTH) return 'key-length';
  const view = new DataView(key.buffer, key.byteOffset, key.length);
  return { routerId: formatAddress(key.subarray(1, 5)), ifindex: view.getUint32(5) };
}

/** Texts are cleaned and cut to their bounds, addresses and MACs beyond theirs left out. */
export function encodeFact(fact: PortFact): CarriedFact {
  return { key: encodeKey(fact), value: encodeValue(fact), index: fact.ifindex };
}

function encodeValue(fact: FactValue): Uint8Array {
  const octets: number[] = [VERSION];
  const tlv = (type: number, value: Iterable<number>): void => {
    const at = octets.push(type, 0) - 1;
    octets.push(...value);
    octets[at] = octets.length - at - 1;
  };
  const text = (type: number, value: string, most: number): void => {
    const encoded = textOctets(value, most);
    if (encoded.length > 0) tlv(type, encoded);
  };
  text(TLV.switchName, fact.switchName, LONGEST.name);
  tlv(TLV.port, textOctets(fact.port, LONGEST.name));
  tlv(TLV.role, [ROLES.indexOf(fact.role) + 1]);
  tlv(TLV.state, [STATES.indexOf(fact.state) + 1]);
  tlv(TLV.since, sinceOctets(fact.since));
  text(TLV.reason, fact.reason, LONGEST.reason);
  for (const address of fact.addresses.slice(0, MOST_ADDRESSES)) tlv(TLV.address, addressBytes(address));
  const macs = fact.macs.slice(0, MOST_MACS);
  if (macs.length > 0)
    tlv(
      TLV.macs,
      macs.flatMap((mac) => [...macBytes(mac)]),
    );
  if (fact.lldp) {
    tlv(TLV.lldpSystem, textOctets(fact.lldp.systemName, LONGEST.lldp));
    tlv(TLV.lldpPort, textOctets(fact.lldp.portId, LONGEST.lldp));
  }
  return Uint8Array.from(octets);
}

function sinceOctets(since: number): Uint8Array {
  const octets = new Uint8Array(8);
  new DataView(octets.buffer).setBigUint64(0, BigInt(Math.min(Math.max(0, Math.trunc(since)), LATEST)));
  return octets;
}

export function decodeFact(key: Uint8Array, value: Uint8Array): PortFact | FactError {
  const whose = decodeKey(key);
  if (typeof whose === 'string') return whose;
  const said = decodeValue(value);
  return typeof said === 'string' ? said : { ...whose, ...said };
}

/** What was read of the TLVs so far. */
class Heard {
  switchName: string | undefined;
  port: string | undefined;
  role: PortFact['role'] | undefined;
  state: PortFact['state'] | undefined;
  since: number | undefined;
  reason: string | undefined;
  readonly addresses: Address[] = [];
  macs: Mac[] | undefined;
  lldpSystem: string | undefined;
  lldpPort: string | undefined;
}

function decodeValue(value: Uint8Array): FactValue | ValueError {
  if (value.length === 0) return 'value-empty';
  if (value[0] !== VERSION) return 'value-version';
  if (value.length > LONGEST_VALUE) return 'value-too-long';
  const heard = new Heard();
  for (let at = 1; at < value.length; ) {
    if (at + 2 > value.length) return 'tlv-truncated';
    const type = value[at]!;
    const end = at + 2 + value[at + 1]!;
    if (end > value.length) return 'tlv-truncated';
    const error = takeTlv(heard, type, value.subarray(at + 2, end));
    if (error) return error;
    at = end;
  }
  return complete(heard);
}

function takeTlv(heard: Heard, type: number, octets: Uint8Array): ValueError | undefined {
  switch (type) {
    case TLV.switchName:
      return takeText(heard, 'switchName', octets);
    case TLV.port:
      return takeText(heard, 'port', octets);
    case TLV.reason:
      return takeText(heard, 'reason', octets);
    case TLV.lldpSystem:
      return takeText(heard, 'lldpSystem', octets);
    case TLV.lldpPort:
      return takeText(heard, 'lldpPort', octets);
    case TLV.role:
      if (heard.role !== undefined) return 'tlv-repeated';
      if (octets.length !== 1) return 'tlv-length';
      heard.role = ROLES[octets[0]! - 1];
      return heard.role === undefined ? 'role-unknown' : undefined;
    case TLV.state:
      if (heard.state !== undefined) return 'tlv-repeated';
      if (octets.length !== 1) return 'tlv-length';
      heard.state = STATES[octets[0]! - 1];
      return heard.state === undefined ? 'state-unknown' : undefined;
    case TLV.since:
      return takeSince(heard, octets);
    case TLV.address:
      if (octets.length !== 4 && octets.length !== 16) return 'tlv-length';
      if (heard.addresses.length === MOST_ADDRESSES) return 'too-many-addresses';
      heard.addresses.push(formatAddress(octets));
      return undefined;
    case TLV.macs:
      return takeMacs(heard, octets);
    default:
      return undefined;
  }
}

type TextKey = 'switchName' | 'port' | 'reason' | 'lldpSystem' | 'lldpPort';

function takeText(heard: Heard, key: TextKey, octets: Uint8Array): ValueError | undefined {
  if (heard[key] !== undefined) return 'tlv-repeated';
  heard[key] = octetsText(octets);
  return heard[key] === undefined ? 'text-not-utf8' : undefined;
}

function takeSince(heard: Heard, octets: Uint8Array): ValueError | undefined {
  if (heard.since !== undefined) return 'tlv-repeated';
  if (octets.length !== 8) return 'tlv-length';
  const since = new DataView(octets.buffer, octets.byteOffset, 8).getBigUint64(0);
  if (since > LATEST) return 'since-impossible';
  heard.since = Number(since);
  return undefined;
}

function takeMacs(heard: Heard, octets: Uint8Array): ValueError | undefined {
  if (heard.macs !== undefined) return 'tlv-repeated';
  const count = octets.length / 6;
  if (!Number.isInteger(count) || count === 0) return 'tlv-length';
  if (count > MOST_MACS) return 'too-many-addresses';
  heard.macs = Array.from({ length: count }, (_, index) => formatMac(octets.subarray(index * 6, index * 6 + 6)));
  return undefined;
}

function complete(heard: Heard): FactValue | ValueError {
  const { switchName = '', port, role, state, since, reason = '', addresses, macs = [], lldpSystem, lldpPort } = heard;
  if (port === undefined || port === '') return 'port-missing';
  if (role === undefined) return 'role-missing';
  if (state === undefined) return 'state-missing';
  if (since === undefined) return 'since-missing';
  const lldp =
    lldpSystem === undefined && lldpPort === undefined
      ? {}
      : { lldp: { systemName: lldpSystem ?? '', portId: lldpPort ?? '' } };
  return { switchName, port, role, state, since, reason, addresses, macs, ...lldp };
}
