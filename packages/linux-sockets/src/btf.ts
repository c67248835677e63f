/*
 * BTF (the type information of a BPF object): only what is needed to find variables by name and to compare structures
 * with a codec. Kernel documentation, Documentation/bpf/btf.rst.
 */

/** A member of a structure or a variable of a section; bytes. */
export interface BtfField {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  /** Name of its type when that is a structure or a union. */
  readonly struct?: string;
}

export interface BtfStruct {
  readonly name: string;
  readonly size: number;
  /** Members of nameless structures and unions stand among them. Bit fields: the byte in which they begin. */
  readonly fields: readonly BtfField[];
}

export interface Btf {
  /** By name: structures and unions. */
  readonly structs: ReadonlyMap<string, BtfStruct>;
  /** By name of the section (`.rodata`, `.data`, `.bss`): its variables. */
  readonly sections: ReadonlyMap<string, BtfStruct>;
  /** By name of the enumerator. */
  readonly enumerators: ReadonlyMap<string, number>;
}

const KIND = {
  int: 1,
  pointer: 2,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  typedef: 8,
  volatile: 9,
  const: 10,
  restrict: 11,
  functionPrototype: 13,
  variable: 14,
  dataSection: 15,
  float: 16,
  declarationTag: 17,
  typeTag: 18,
  enum64: 19,
} as const;

interface Type {
  readonly kind: number;
  readonly name: string;
  readonly vlen: number;
  readonly flag: boolean;
  readonly sizeOrType: number;
  /** Where what follows the common twelve bytes begins. */
  readonly at: number;
}

/** @throws RangeError when it is cut off or is not BTF */
export function parseBtf(raw: Buffer): Btf {
  if (raw.length < 24 || raw.readUInt16LE(0) !== 0xeb9f) throw new RangeError('not BTF of a little-endian machine');
  const header = raw.readUInt32LE(4);
  const typesAt = header + raw.readUInt32LE(8);
  const typesEnd = typesAt + raw.readUInt32LE(12);
  const stringsAt = header + raw.readUInt32LE(16);
  const text = (offset: number) => {
    const at = stringsAt + offset;
    return raw.toString('latin1', at, raw.indexOf(0, at));
  };
  const types: (Type | undefined)[] = [undefined];
  for (let at = typesAt; at < typesEnd; ) {
    const info = raw.readUInt32LE(at + 4);
    const kind = (info >>> 24) & 0x1f;
    const vlen = info & 0xffff;
    const type: Type = {
      kind,
      vlen,
      name: text(raw.readUInt32LE(at)),
      flag: info >>> 31 === 1,
      sizeOrType: raw.readUInt32LE(at + 8),
      at: at + 12,
    };
    types.push(type);
    at += 12 + trailing(kind, vlen);
  }
  return describe(raw, types, text);
}

function trailing(kind: number, vlen: number): number {
  switch (kind) {
    case KIND.int:
    case KIND.variable:
    case KIND.declarationTag:
      return 4;
    case KIND.array:
      return 12;
    case KIND.struct:
    case KIND.union:
    case KIND.dataSection:
    case KIND.enum64:
      return 12 * vlen;
    case KIND.enum:
    case KIND.functionPrototype:
      return 8 * vlen;
    default:
      return 0;
  }
}

function describe(raw: Buffer, types: readonly (Type | undefined)[], text: (offset: number) => string): Btf {
  const plain = (id: number): Type | undefined => {
    let type = types[id];
    while (
      type &&
      (type.kind === KIND.typedef ||
        type.kind === KIND.volatile ||
        type.kind === KIND.const ||
        type.kind === KIND.restrict ||
        type.kind === KIND.typeTag ||
        type.kind === KIND.variable)
    ) {
      type = types[type.sizeOrType];
    }
    return type;
  };
  const sizeOf = (id: number): number => {
    const type = plain(id);
    if (!type) return 0;
    if (type.kind === KIND.pointer) return 8;
    if (type.kind === KIND.array) return sizeOf(raw.readUInt32LE(type.at)) * raw.readUInt32LE(type.at + 8);
    return type.sizeOrType;
  };
  const isAggregate = (type: Type | undefined) => type?.kind === KIND.struct || type?.kind === KIND.union;
  const fieldsOf = (type: Type, base: number): BtfField[] => {
    const fields: BtfField[] = [];
    for (let at = type.at; at < type.at + 12 * type.vlen; at += 12) {
      const name = text(raw.readUInt32LE(at));
      const id = raw.readUInt32LE(at + 4);
      const bits = raw.readUInt32LE(at + 8);
      const offset = base + ((type.flag ? bits & 0xffffff : bits) >>> 3);
      const inner = plain(id);
      if (name === '' && inner && isAggregate(inner)) fields.push(...fieldsOf(inner, offset));
      else
        fields.push({
          name,
          offset,
          size: sizeOf(id),
          ...(inner && isAggregate(inner) ? { struct: inner.name } : {}),
        });
    }
    return fields;
  };
  const structs = new Map<string, BtfStruct>();
  const sections = new Map<string, BtfStruct>();
  const enumerators = new Map<string, number>();
  for (const type of types) {
    if (!type) continue;
    if (isAggregate(type) && type.name !== '') {
      structs.set(type.name, { name: type.name, size: type.sizeOrType, fields: fieldsOf(type, 0) });
    } else if (type.kind === KIND.dataSection) {
      const fields: BtfField[] = [];
      for (let at = type.at; at < type.at + 12 * type.vlen; at += 12) {
        const variable = types[raw.readUInt32LE(at)];
        if (variable)
          fields.push({ name: variable.name, offset: raw.readUInt32LE(at + 4), size: raw.readUInt32LE(at + 8) });
      }
      sections.set(type.name, { name: type.name, size: type.sizeOrType, fields });
    } else if (type.kind === KIND.enum) {
      for (let at = type.at; at < type.at + 8 * type.vlen; at += 8) {
        enumerators.set(text(raw.readUInt32LE(at)), raw.readInt32LE(at + 4));
      }
    }
  }
  return { structs, sections, enumerators };
}
