/**
 * What a speaker writes down for its next life, as bytes. Pure: reading and writing are `memory.ts` of the folder above.
 *
 * A file is a log: eight octets of magic and version; the *pulse*, 24 octets that are overwritten in place; then records
 * that are only ever appended, each with its length, its kind and a CRC. A later record of the same thing replaces the
 * earlier one. A record that the end of the file cuts off was being written when the process died, and what it says was not
 * acknowledged to anybody yet; anything else that does not hold together makes the whole file useless.
 */
import { crc32 } from 'node:zlib';
import { decodeLsa, type Lsa, type LsaKey, lsaKeyText, type U32 } from 'node-ospf-lsa';
import { z } from 'zod';
import type { Instant } from '../../model/clock.ts';

/** The version is the last octet; what other versions wrote is not read. */
const MAGIC = Buffer.from('PLOSPF\0\x01', 'latin1');
export const PULSE_AT = MAGIC.length;
const PULSE_LENGTH = 24;
const RECORDS_AT = PULSE_AT + PULSE_LENGTH;
/** Length, kind; then the payload and its CRC. */
const FRAME = 5;
const KIND = { identity: 1, adjacencies: 2, lsa: 3, gone: 4 } as const;
/** Type-5 and type-11 LSAs belong to no area. */
const AS = 1;
const AREA = 0;

const u32 = z.int().min(0).max(0xffffffff);

const identity = z.object({ boot: z.string(), routerId: u32 });
/** Who wrote it: instants are of this boot of the machine. */
export type Identity = z.infer<typeof identity>;

const adjacency = z.object({
  interface: z.string(),
  area: u32,
  nssa: z.boolean(),
  network: z.enum(['point-to-point', 'broadcast']),
  helloInterval: u32,
  deadInterval: u32,
  address: u32,
  prefixLength: z.int().min(0).max(32),
  state: z.enum(['Point-to-point', 'DR Other', 'Backup', 'DR']),
  designatedRouter: u32,
  backupDesignatedRouter: u32,
  neighbors: z.array(
    z.object({
      routerId: u32,
      address: u32,
      state: z.enum(['2-Way', 'Full']),
      priority: z.int().min(0).max(255),
      options: z.int().min(0).max(255),
      designatedRouter: u32,
      backupDesignatedRouter: u32,
    }),
  ),
});
/** An interface with its neighbours in a settled state, numbers as on the wire. */
export type KeptAdjacency = z.infer<typeof adjacency>;

export type KeptScope = { readonly kind: 'area'; readonly id: U32 } | { readonly kind: 'as' };

export interface KeptLsa {
  readonly scope: KeptScope;
  readonly lsa: Lsa;
  /** When it had the age that its bytes state. */
  readonly installedAt: Instant;
}

export interface Pulse {
  /** When the writer was last known to be alive and saying hello. */
  readonly at: Instant;
  /** Until when its neighbours were asked to wait for it (RFC 3623); 0: they were not. */
  readonly graceUntil: Instant;
  /** The last cryptographic sequence number that was used. */
  readonly cryptoSequence: U32;
}

export interface Kept extends Identity {
  /** Of the adjacencies: those that only a neighbour that was asked to wait can still have. */
  readonly late?: readonly KeptAdjacency[];
  readonly pulse: Pulse;
  readonly adjacencies: readonly KeptAdjacency[];
  readonly lsas: readonly KeptLsa[];
}

export type Unreadable = 'foreign' | 'version' | 'damaged';
export type DecodedMemory =
  | { readonly ok: true; readonly value: Kept }
  | { readonly ok: false; readonly reason: Unreadable; readonly detail: string };

export function encodeStart(who: Identity, pulse: Pulse): Buffer {
  return Buffer.concat([MAGIC, encodePulse(pulse), record(KIND.identity, Buffer.from(JSON.stringify(who)))]);
}

/** To be written at PULSE_AT. */
export function encodePulse({ at, graceUntil, cryptoSequence }: Pulse): Buffer {
  const bytes = Buffer.alloc(PULSE_LENGTH);
  bytes.writeDoubleBE(at, 0);
  bytes.writeDoubleBE(graceUntil, 8);
  bytes.writeUInt32BE(cryptoSequence, 16);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 20)), 20);
  return bytes;
}

export function encodeAdjacencies(adjacencies: readonly KeptAdjacency[]): Buffer {
  return record(KIND.adjacencies, Buffer.from(JSON.stringify(adjacencies)));
}

export function encodeLsaRecord(scope: KeptScope, raw: Uint8Array, installedAt: Instant): Buffer {
  // Ten thousand of them are written in one go: each is one allocation.
  const length = 13 + raw.length;
  const bytes = Buffer.allocUnsafe(FRAME + length + 4);
  writeScope(bytes, scope, FRAME);
  bytes.writeDoubleBE(installedAt, FRAME + 5);
  bytes.set(raw, FRAME + 13);
  return seal(bytes, KIND.lsa);
}

export function encodeGone(scope: KeptScope, key: LsaKey): Buffer {
  const payload = Buffer.alloc(14);
  writeScope(payload, scope);
  payload.writeUInt8(key.type, 5);
  payload.writeUInt32BE(key.linkStateId, 6);
  payload.writeUInt32BE(key.advertisingRouter, 10);
  return record(KIND.gone, payload);
}

function record(kind: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(FRAME + payload.length + 4);
  bytes.set(payload, FRAME);
  return seal(bytes, kind);
}

/** Puts the frame around the payload that stands in its place. */
function seal(bytes: Buffer, kind: number): Buffer {
  const end = bytes.length - 4;
  bytes.writeUInt32BE(end - FRAME, 0);
  bytes.writeUInt8(kind, 4);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, end)), end);
  return bytes;
}

function writeScope(bytes: Buffer, scope: KeptScope, at = 0): void {
  bytes.writeUInt8(scope.kind === 'as' ? AS : AREA, at);
  bytes.writeUInt32BE(scope.kind === 'as' ? 0 : scope.id, at + 1);
}

export function decodeMemory(input: Uint8Array): DecodedMemory {
  const bytes = Buffer.from(input.buffer, input.byteOffset, input.length);
  if (bytes.length < MAGIC.length || !bytes.subarray(0, 7).equals(MAGIC.subarray(0, 7))) {
    return failure('foreign', 'it is not a memory of an OSPF speaker');
  }
  if (bytes[7] !== MAGIC[7]) return failure('version', `it is of version ${bytes[7]}`);
  if (
    bytes.length < RECORDS_AT ||
    bytes.readUInt32BE(PULSE_AT + 20) !== crc32(bytes.subarray(PULSE_AT, PULSE_AT + 20))
  ) {
    return failure('damaged', 'its pulse does not hold together');
  }
  const pulse: Pulse = {
    at: bytes.readDoubleBE(PULSE_AT),
    graceUntil: bytes.readDoubleBE(PULSE_AT + 8),
    cryptoSequence: bytes.readUInt32BE(PULSE_AT + 16),
  };
  let who: Identity | undefined;
  let adjacencies: readonly KeptAdjacency[] = [];
  const lsas = new Map<string, KeptLsa>();
  for (let at = RECORDS_AT; at + FRAME <= bytes.length; ) {
    const end = at + FRAME + bytes.readUInt32BE(at);
    if (end + 4 > bytes.length) break;
    if (bytes.readUInt32BE(end) !== crc32(bytes.subarray(at + 4, end))) {
      return failure('damaged', `the record at ${at} does not hold together`);
    }
    const payload = bytes.subarray(at + FRAME, end);
    switch (bytes[at + 4]) {
      case KIND.identity:
        who = json(identity, payload);
        break;
      case KIND.adjacencies: {
        const read = json(z.array(adjacency), payload);
        if (!read) return failure('damaged', `the adjacencies at ${at} are not what they should be`);
        adjacencies = read;
        break;
      }
      case KIND.lsa: {
        const read = readLsa(payload);
        if (!read) return failure('damaged', `the LSA at ${at} is not one`);
        lsas.set(place(read.scope, read.lsa.header), read);
        break;
      }
      case KIND.gone:
        if (payload.length !== 14) return failure('damaged', `the record at ${at} has the wrong length`);
        lsas.delete(
          place(readScope(payload), {
            type: payload.readUInt8(5),
            linkStateId: payload.readUInt32BE(6),
            advertisingRouter: payload.readUInt32BE(10),
          }),
        );
        break;
      default:
        return failure('damaged', `the record at ${at} is of an unknown kind`);
    }
    at = end + 4;
  }
  if (!who) return failure('damaged', 'it does not say whose it is');
  return { ok: true, value: { ...who, pulse, adjacencies, lsas: [...lsas.values()] } };
}

function readLsa(payload: Buffer): KeptLsa | undefined {
  if (payload.length < 13) return undefined;
  const decoded = decodeLsa(payload.subarray(13));
  if (!decoded.ok || decoded.value.raw.length !== payload.length - 13) return undefined;
  return { scope: readScope(payload), lsa: decoded.value, installedAt: payload.readDoubleBE(5) };
}

function readScope(payload: Buffer): KeptScope {
  return payload[0] === AS ? { kind: 'as' } : { kind: 'area', id: payload.readUInt32BE(1) };
}

const place = (scope: KeptScope, key: LsaKey): string => `${scope.kind === 'as' ? 'as' : scope.id} ${lsaKeyText(key)}`;

function json<T>(schema: z.ZodType<T>, payload: Buffer): T | undefined {
  try {
    return schema.safeParse(JSON.parse(payload.toString('utf8'))).data;
  } catch {
    return undefined;
  }
}

const failure = (reason: Unreadable, detail: string): DecodedMemory => ({ ok: false, reason, detail });
