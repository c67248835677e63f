import type { Address } from '../../model/address.ts';
import { addressBytes, formatAddress } from '../../model/address.ts';
import { UPDATE } from './errors.ts';
import type { AsSegment, LargeCommunity, Origin, PathAttributes, SegmentType, Treatment } from './messages.ts';
import { AS_TRANS } from './messages.ts';
import { Reader } from './reader.ts';
import { Writer } from './writer.ts';

/**
 * Path attributes with a value of their own; MP_REACH_NLRI and MP_UNREACH_NLRI carry routes and are in `update.ts`.
 * One row an attribute: its flags, what RFC 7606 §7 makes of a malformed one, how it is read and written.
 */
export const FLAG = { optional: 0x80, transitive: 0x40, partial: 0x20, extendedLength: 0x10 } as const;

export const ATTRIBUTE = {
  ORIGIN: 1,
  AS_PATH: 2,
  NEXT_HOP: 3,
  MULTI_EXIT_DISC: 4,
  LOCAL_PREF: 5,
  ATOMIC_AGGREGATE: 6,
  AGGREGATOR: 7,
  COMMUNITIES: 8,
  ORIGINATOR_ID: 9,
  CLUSTER_LIST: 10,
  MP_REACH_NLRI: 14,
  MP_UNREACH_NLRI: 15,
  EXTENDED_COMMUNITIES: 16,
  AS4_PATH: 17,
  AS4_AGGREGATOR: 18,
  LARGE_COMMUNITIES: 32,
  /** RFC 2042: development. Read in `update.ts`, and only where facts of ports were agreed on. */
  PORT_FACT: 255,
} as const;

const WELL_KNOWN = FLAG.transitive;
const OPTIONAL = FLAG.optional;
const OPTIONAL_TRANSITIVE = FLAG.optional | FLAG.transitive;

export interface AttributeContext {
  readonly fourOctetAs: boolean;
}

/** RFC 6793's two attributes exist on the wire only: the reader of the UPDATE merges them into the others. */
export interface WireAttributes extends PathAttributes {
  as4Path?: readonly AsSegment[];
  as4Aggregator?: { readonly asn: number; readonly address: Address };
}

export interface AttributeRow {
  readonly name: string;
  readonly flags: number;
  readonly malformed: Treatment;
  /** RFC 7606 §7.5, §7.9, §7.10: discarded unread when an external neighbour sends it. */
  readonly internalOnly?: boolean;
  /** Subcode of the NOTIFICATION; attribute length error (5) when absent. */
  readonly subcode?: number;
  /** False when malformed. */
  read(value: Uint8Array, into: WireAttributes, context: AttributeContext): boolean;
}

const withdraw = 'treat-as-withdraw';
const discard = 'attribute-discard';

export const ATTRIBUTES = new Map<number, AttributeRow>([
  [
    ATTRIBUTE.ORIGIN,
    {
      name: 'origin',
      flags: WELL_KNOWN,
      malformed: withdraw,
      subcode: UPDATE.invalidOrigin,
      read(value, into) {
        if (value.length !== 1 || value[0]! > 2) return false;
        into.origin = value[0] as Origin;
        return true;
      },
    },
  ],
  [
    ATTRIBUTE.AS_PATH,
    {
      name: 'as_path',
      flags: WELL_KNOWN,
      malformed: withdraw,
      subcode: UPDATE.malformedAsPath,
      read(value, into, context) {
        const path = readAsPath(value, context.fourOctetAs);
        if (path) into.asPath = path;
        return path !== undefined;
      },
    },
  ],
  [
    ATTRIBUTE.NEXT_HOP,
    {
      name: 'next_hop',
      flags: WELL_KNOWN,
      malformed: withdraw,
      read(value, into) {
        if (value.length !== 4) return false;
        into.nextHop = formatAddress(value);
        return true;
      },
    },
  ],
  [
    ATTRIBUTE.MULTI_EXIT_DISC,
    {
      name: 'multi_exit_disc',
      flags: OPTIONAL,
      malformed: withdraw,
      read(value, into) {
        if (value.length !== 4) return false;
        into.med = new Reader(value).u32();
        return true;
      },
    },
  ],
  [
    ATTRIBUTE.LOCAL_PREF,
    {
      name: 'local_pref',
      flags: WELL_KNOWN,
      malformed: withdraw,
      internalOnly: true,
      read(value, into) {
        if (value.length !== 4) return false;
        into.localPreference = new Reader(value).u32();
        return true;
      },
    },
  ],
  [
    ATTRIBUTE.ATOMIC_AGGREGATE,
    {
      name: 'atomic_aggregate',
      flags: WELL_KNOWN,
      malformed: discard,
      read(value, into) {
        if (value.length !== 0) return false;
        into.atomicAggregate = true;
        return true;
      },
    },
  ],
  [
    ATTRIBUTE.AGGREGATOR,
    {
      name: 'aggregator',
      flags: OPTIONAL_TRANSITIVE,
      malformed: discard,
      read(value, into, context) {
        if (value.length !== (context.fourOctetAs ? 8 : 6)) return false;
        const reader = new Reader(value);
        const asn = context.fourOctetAs ? reader.u32() : reader.u16();
        into.aggregator = { asn, address: formatAddress(reader.take(4)) };
        return true;
      },
    },
  ],
  [
    ATTRIBUTE.COMMUNITIES,
    {
      name: 'communities',
      flags: OPTIONAL_TRANSITIVE,
      malformed: withdraw,
      subcode: UPDATE.optionalAttribute,
      read(value, into) {
        if (value.length === 0 || value.length % 4 !== 0) return false;
        into.communities = readMany(value, (reader) => reader.u32());
        return true;
      },
    },
  ],
  [
    ATTRIBUTE.ORIGINATOR_ID,
    {
      name: 'originator_id',
      flags: OPTIONAL,
      malformed: withdraw,
      internalOnly: true,
      read(value, into) {
        if (value.length !== 4) return false;
        into.originatorId = formatAddress(value);
        return true;
      },
    },
  ],
  [
    ATTRIBUTE.CLUSTER_LIST,
    {
      name: 'cluster_list',
      flags: OPTIONAL,
      malformed: withdraw,
      internalOnly: true,
      read(value, into) {
        if (value.length === 0 || value.length % 4 !== 0) return false;
        into.clusterList = readMany(value, (reader) => formatAddress(reader.take(4)));
        return true;
      },
    },
  ],
  [
    ATTRIBUTE.EXTENDED_COMMUNITIES,
    {
      name: 'extended_communities',
      flags: OPTIONAL_TRANSITIVE,
      malformed: withdraw,
      subcode: UPDATE.optionalAttribute,
      read(value, into) {
        if (value.length === 0 || value.length % 8 !== 0) return false;
        into.extendedCommunities = Uint8Array.from(value);
        return true;
      },
    },
  ],
  [
    ATTRIBUTE.AS4_PATH,
    {
      name: 'as4_path',
      flags: OPTIONAL_TRANSITIVE,
      malformed: discard, // RFC 6793 §6
      read(value, into, context) {
        if (context.fourOctetAs) return false;
        const path = readAsPath(value, true);
        if (!path) return false;
        // RFC 6793 §6: confederation segments don't belong here and are left out.
        into.as4Path = path.filter((segment) => segment.type === 'AS_SEQUENCE' || segment.type === 'AS_SET');
        return true;
      },
    },
  ],
  [
    ATTRIBUTE.AS4_AGGREGATOR,
    {
      name: 'as4_aggregator',
      flags: OPTIONAL_TRANSITIVE,
      malformed: discard,
      read(value, into, context) {
        if (context.fourOctetAs || value.length !== 8) return false;
        const reader = new Reader(value);
        into.as4Aggregator = { asn: reader.u32(), address: formatAddress(reader.take(4)) };
        return true;
      },
    },
  ],
  [
    ATTRIBUTE.LARGE_COMMUNITIES,
    {
      name: 'large_communities',
      flags: OPTIONAL_TRANSITIVE,
      malformed: withdraw,
      subcode: UPDATE.optionalAttribute,
      read(value, into) {
        if (value.length === 0 || value.length % 12 !== 0) return false;
        into.largeCommunities = readMany(value, (reader): LargeCommunity => [reader.u32(), reader.u32(), reader.u32()]);
        return true;
      },
    },
  ],
]);

function readMany<T>(value: Uint8Array, one: (reader: Reader) => T): T[] {
  const reader = new Reader(value);
  const items: T[] = [];
  while (reader.remaining > 0) items.push(one(reader));
  return items;
}

const SEGMENT_TYPES: readonly SegmentType[] = ['AS_SET', 'AS_SEQUENCE', 'AS_CONFED_SEQUENCE', 'AS_CONFED_SET'];

/** RFC 7606 §7.2: an unknown type, a segment of no ASes, and an overrun are malformed. */
function readAsPath(value: Uint8Array, fourOctet: boolean): AsSegment[] | undefined {
  const reader = new Reader(value);
  const segments: AsSegment[] = [];
  while (reader.remaining > 0) {
    const type = SEGMENT_TYPES[reader.u8() - 1];
    const count = reader.u8();
    if (!type || count === 0) return undefined;
    const asns: number[] = [];
    for (let index = 0; index < count; index++) asns.push(fourOctet ? reader.u32() : reader.u16());
    if (reader.overrun) return undefined;
    segments.push({ type, asns });
  }
  return segments;
}

function writeAsPath(segments: readonly AsSegment[], fourOctet: boolean): Uint8Array {
  const writer = new Writer(64);
  for (const segment of segments) {
    writer.u8(SEGMENT_TYPES.indexOf(segment.type) + 1).u8(segment.asns.length);
    for (const asn of segment.asns) {
      if (fourOctet) writer.u32(asn);
      else writer.u16(asn > 0xffff ? AS_TRANS : asn);
    }
  }
  return writer.done();
}

const needsFourOctets = (path: readonly AsSegment[]): boolean =>
  path.some((segment) => segment.asns.some((asn) => asn > 0xffff));

export function writeAttribute(writer: Writer, flags: number, type: number, value: Uint8Array): void {
  if (value.length > 255)
    writer
      .u8(flags | FLAG.extendedLength)
      .u8(type)
      .u16(value.length);
  else writer.u8(flags).u8(type).u8(value.length);
  writer.put(value);
}

const u32Bytes = (...values: number[]): Uint8Array => {
  const writer = new Writer(values.length * 4);
  for (const value of values) writer.u32(value);
  return writer.done();
};

const aggregatorBytes = (asn: number, address: Address, fourOctet: boolean): Uint8Array => {
  const writer = new Writer(8);
  if (fourOctet) writer.u32(asn);
  else writer.u16(asn > 0xffff ? AS_TRANS : asn);
  return writer.put(addressBytes(address)).done();
};

/** In ascending order of type (RFC 4271 §5). `nextHop` is the classic NEXT_HOP, so give it for IPv4 only. */
export function writeAttributes(writer: Writer, attributes: PathAttributes, context: AttributeContext): void {
  const { origin, asPath, nextHop, med, localPreference, aggregator } = attributes;
  const put = (type: number, flags: number, value: Uint8Array) => writeAttribute(writer, flags, type, value);
  if (origin !== undefined) put(ATTRIBUTE.ORIGIN, WELL_KNOWN, Uint8Array.of(origin));
  if (asPath) put(ATTRIBUTE.AS_PATH, WELL_KNOWN, writeAsPath(asPath, context.fourOctetAs));
  if (nextHop) put(ATTRIBUTE.NEXT_HOP, WELL_KNOWN, addressBytes(nextHop));
  if (med !== undefined) put(ATTRIBUTE.MULTI_EXIT_DISC, OPTIONAL, u32Bytes(med));
  if (localPreference !== undefined) put(ATTRIBUTE.LOCAL_PREF, WELL_KNOWN, u32Bytes(localPreference));
  if (attributes.atomicAggregate) put(ATTRIBUTE.ATOMIC_AGGREGATE, WELL_KNOWN, new Uint8Array(0));
  if (aggregator) {
    const value = aggregatorBytes(aggregator.asn, aggregator.address, context.fourOctetAs);
    put(ATTRIBUTE.AGGREGATOR, OPTIONAL_TRANSITIVE, value);
  }
  if (attributes.communities?.length) {
    put(ATTRIBUTE.COMMUNITIES, OPTIONAL_TRANSITIVE, u32Bytes(...attributes.communities));
  }
  if (attributes.originatorId) put(ATTRIBUTE.ORIGINATOR_ID, OPTIONAL, addressBytes(attributes.originatorId));
  if (attributes.clusterList?.length) {
    put(ATTRIBUTE.CLUSTER_LIST, OPTIONAL, Buffer.concat(attributes.clusterList.map(addressBytes)));
  }
  if (attributes.extendedCommunities?.length) {
    put(ATTRIBUTE.EXTENDED_COMMUNITIES, OPTIONAL_TRANSITIVE, attributes.extendedCommunities);
  }
  if (!context.fourOctetAs) {
    if (asPath && needsFourOctets(asPath)) {
      put(ATTRIBUTE.AS4_PATH, OPTIONAL_TRANSITIVE, writeAsPath(asPath, true));
    }
    if (aggregator && aggregator.asn > 0xffff) {
      const value = aggregatorBytes(aggregator.asn, aggregator.address, true);
      put(ATTRIBUTE.AS4_AGGREGATOR, OPTIONAL_TRANSITIVE, value);
    }
  }
  if (attributes.largeCommunities?.length) {
    put(ATTRIBUTE.LARGE_COMMUNITIES, OPTIONAL_TRANSITIVE, u32Bytes(...attributes.largeCommunities.flat()));
  }
  for (const raw of attributes.unknown ?? []) put(raw.type, raw.flags & ~FLAG.extendedLength, raw.value);
}
