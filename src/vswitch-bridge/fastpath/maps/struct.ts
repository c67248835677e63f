/**
 * Structures of C as tables of fields, without holes: what stands in a map of the kernel, typed. The order of the fields is
 * the order in memory; the compiled objects' own type information is compared with every table in a test.
 */
import { type Address, addressBytes, formatAddress, formatMac, type Mac, macBytes } from '../../../model/address.ts';

export interface Field<T> {
  readonly size: number;
  read(bytes: Buffer, at: number): T;
  write(bytes: Buffer, at: number, value: T): void;
}

export const u8: Field<number> = {
  size: 1,
  read: (bytes, at) => bytes[at]!,
  write: (bytes, at, value) => {
    bytes[at] = value;
  },
};
export const u16: Field<number> = {
  size: 2,
  read: (bytes, at) => bytes.readUInt16LE(at),
  write: (bytes, at, value) => bytes.writeUInt16LE(value, at),
};
export const u32: Field<number> = {
  size: 4,
  read: (bytes, at) => bytes.readUInt32LE(at),
  write: (bytes, at, value) => bytes.writeUInt32LE(value >>> 0, at),
};
export const u64: Field<bigint> = {
  size: 8,
  read: (bytes, at) => bytes.readBigUInt64LE(at),
  write: (bytes, at, value) => bytes.writeBigUInt64LE(value, at),
};
/** Network order. */
export const be16: Field<number> = {
  size: 2,
  read: (bytes, at) => bytes.readUInt16BE(at),
  write: (bytes, at, value) => bytes.writeUInt16BE(value, at),
};
/** Network order, as a number: masks. */
export const be32: Field<number> = {
  size: 4,
  read: (bytes, at) => bytes.readUInt32BE(at),
  write: (bytes, at, value) => bytes.writeUInt32BE(value >>> 0, at),
};
/** Zero is 0.0.0.0. */
export const ipv4: Field<Address> = {
  size: 4,
  read: (bytes, at) => formatAddress(bytes.subarray(at, at + 4)),
  write: (bytes, at, value) => {
    bytes.set(addressBytes(value), at);
  },
};
export const mac: Field<Mac> = {
  size: 6,
  read: (bytes, at) => formatMac(bytes.subarray(at, at + 6)),
  write: (bytes, at, value) => {
    bytes.set(macBytes(value), at);
  },
};
export const raw = (size: number): Field<Buffer> => ({
  size,
  read: (bytes, at) => Buffer.from(bytes.subarray(at, at + size)),
  write: (bytes, at, value) => {
    bytes.set(value.subarray(0, size), at);
  },
});
export const array = <T>(field: Field<T>, length: number): Field<readonly T[]> => ({
  size: field.size * length,
  read: (bytes, at) => Array.from({ length }, (_, index) => field.read(bytes, at + index * field.size)),
  write: (bytes, at, value) => {
    for (let index = 0; index < Math.min(length, value.length); index += 1) {
      field.write(bytes, at + index * field.size, value[index]!);
    }
  },
});

export type Fields = Readonly<Record<string, Field<unknown>>>;
// biome-ignore lint/suspicious/noExplicitAny: a field of whatever type, from which the type is inferred
type AnyFields = Readonly<Record<string, Field<any>>>;
export type Values<F extends AnyFields> = { readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never };

export interface Struct<F extends AnyFields = AnyFields> extends Field<Values<F>> {
  /** As the C header calls it. */
  readonly name: string;
  readonly offsets: { readonly [K in keyof F]: number };
  readonly fields: F;
  /** What is not given is zero. */
  encode(values: Partial<Values<F>>): Buffer;
  decode(bytes: Buffer, at?: number): Values<F>;
}

export type ValueOf<S> = S extends Struct<infer F> ? Values<F> : never;

export function struct<F extends AnyFields>(name: string, fields: F): Struct<F> {
  const entries = Object.entries(fields);
  const offsets: Record<string, number> = {};
  let size = 0;
  for (const [key, field] of entries) {
    offsets[key] = size;
    size += field.size;
  }
  const decode = (bytes: Buffer, at = 0): Values<F> => {
    const values: Record<string, unknown> = {};
    for (const [key, field] of entries) values[key] = field.read(bytes, at + offsets[key]!);
    return values as Values<F>;
  };
  const write = (bytes: Buffer, at: number, values: Partial<Values<F>>): void => {
    for (const [key, field] of entries) {
      const value = values[key];
      if (value !== undefined) field.write(bytes, at + offsets[key]!, value);
    }
  };
  return {
    name,
    fields,
    offsets: offsets as Struct<F>['offsets'],
    size,
    read: decode,
    write,
    decode,
    encode(values) {
      const bytes = Buffer.alloc(size);
      write(bytes, 0, values);
      return bytes;
    },
  };
}
