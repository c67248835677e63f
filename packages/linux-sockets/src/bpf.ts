/*
 * BPF programs: object files loaded by libbpf (a library of the machine, looked for when it is first needed), programs put on
 * devices, everything pinned and found again. Attaching happens in the network namespace that the thread is in.
 *
 * Descriptors are closed when `close` says so, never by the garbage collector's leave: what is not pinned is gone then.
 */
import { closeSync, readFileSync } from 'node:fs';
import { BpfMap } from './bpf-map.ts';
import { type Btf, parseBtf } from './btf.ts';
import { checked, SystemCallError } from './errors.ts';
import { type BpfHandle, native } from './native.ts';

/** Where a program stands on a device; enum bpf_attach_type of tcx. */
export const TCX = { ingress: 46, egress: 47 } as const;
export type TcDirection = keyof typeof TCX;

const COMMAND = {
  pin: 6,
  get: 7,
  programById: 13,
  linkCreate: 28,
  linkUpdate: 29,
  linkDetach: 34,
} as const;
const LIBBPF_ERRORS = ['LIBELF', 'FORMAT', 'KVERSION', 'ENDIAN', 'INTERNAL', 'RELOC', 'LOAD', 'VERIFY', 'PROG2BIG'];

/** libbpf refused; `log` is what it had to say, the verifier's words among it. */
export class BpfError extends SystemCallError {
  readonly log: string;

  constructor(what: string, result: number, log: string) {
    const name = LIBBPF_ERRORS[-result - 4000];
    const why = name === undefined ? what : `${what} (libbpf: ${name})`;
    super('bpf', -result, log === '' ? why : `${why}\n${log.trimEnd()}\n`);
    this.log = log;
  }
}

function accepted(result: number, what: string): number {
  const log = native.bpfLog();
  if (result < 0) throw new BpfError(what, result, log);
  return result;
}

/** The version of libbpf, or why object files can't be loaded on this machine. */
export function bpfLibrary(): { readonly version: string } | { readonly problem: string } {
  const [version, problem] = native.bpfLibrary();
  if (version !== '') return { version };
  return { problem: `libbpf.so.1 can't be used: ${problem} (Debian: apt-get install libbpf1)` };
}

export interface BpfOpenOptions {
  /** Shown by the kernel's tools. */
  readonly name?: string;
  /** First values of constants (`const volatile`, section `.rodata`), by name; numbers are written little-endian. */
  readonly constants?: Readonly<Record<string, number | bigint | Uint8Array>>;
  /** Entries, by name of the map. */
  readonly maxEntries?: Readonly<Record<string, number>>;
  /** Maps that exist already and are to be used in place of new ones. Type, sizes and entries must be equal. */
  readonly reuse?: Readonly<Record<string, BpfMap>>;
  /** Programs that are not loaded. */
  readonly leaveOut?: readonly string[];
}

export interface BpfMapShape {
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
}

/** An object file, opened and, after `load`, in the kernel. Owns the descriptors of its programs and maps. */
export class BpfObject {
  readonly #handle: BpfHandle;
  #loaded = false;
  #btf: Btf | undefined;

  private constructor(handle: BpfHandle) {
    this.#handle = handle;
  }

  /**
   * @param file the object's bytes, or its path
   * @throws BpfError (ENOSYS: no libbpf on this machine), RangeError for constants that the object doesn't have
   */
  static open(file: Uint8Array | string, options: BpfOpenOptions = {}): BpfObject {
    const library = bpfLibrary();
    if ('problem' in library) throw new BpfError(library.problem, -38, '');
    const bytes = typeof file === 'string' ? readFileSync(file) : file;
    const handle = native.bpfOpen(bytes, options.name ?? 'object');
    if (typeof handle === 'number') {
      accepted(handle, `open ${typeof file === 'string' ? file : 'object'}`);
      throw new TypeError('the addon answered a number for an object');
    }
    const object = new BpfObject(handle);
    try {
      object.#configure(options);
    } catch (error) {
      object.close();
      throw error;
    }
    return object;
  }

  /** Types and variables that the object describes. */
  get btf(): Btf {
    this.#btf ??= parseBtf(native.bpfBtf(this.#handle));
    return this.#btf;
  }

  shapes(): BpfMapShape[] {
    return native
      .bpfMaps(this.#handle)
      .map(([name, , , type, keySize, valueSize, maxEntries]) => ({ name, type, keySize, valueSize, maxEntries }));
  }

  programNames(): string[] {
    return native.bpfPrograms(this.#handle).map(([name]) => name);
  }

  /** @throws BpfError with the verifier's log */
  load(): this {
    native.bpfLog();
    accepted(native.bpfLoad(this.#handle), 'load');
    this.#loaded = true;
    return this;
  }

  /** Of a loaded object; lives as long as the object does. @throws RangeError when there is none */
  map(name: string): BpfMap {
    const found = this.#loaded ? native.bpfMaps(this.#handle).find((map) => map[0] === name) : undefined;
    if (!found || found[2] < 0) throw new RangeError(`the loaded object has no map ${name}`);
    return new BpfMap(found[2], false);
  }

  /** Of a loaded object; lives as long as the object does. @throws RangeError when there is none */
  program(name: string): BpfProgram {
    const found = this.#loaded ? native.bpfPrograms(this.#handle).find((program) => program[0] === name) : undefined;
    if (!found || found[2] < 0) throw new RangeError(`the loaded object has no program ${name}`);
    return new BpfProgram(found[2], name);
  }

  close(): void {
    native.bpfClose(this.#handle);
    this.#loaded = false;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #configure({ constants, maxEntries = {}, reuse = {}, leaveOut = [] }: BpfOpenOptions): void {
    for (const [map, entries] of Object.entries(maxEntries)) {
      accepted(native.bpfSetMap(this.#handle, map, entries, -1), `entries of ${map}`);
    }
    for (const [map, existing] of Object.entries(reuse)) {
      accepted(native.bpfSetMap(this.#handle, map, 0, existing.fd), `use ${map}`);
    }
    for (const program of leaveOut) accepted(native.bpfAutoload(this.#handle, program, 0), `leave ${program} out`);
    if (constants) this.#setConstants(constants);
  }

  #setConstants(constants: Readonly<Record<string, number | bigint | Uint8Array>>): void {
    const section = this.btf.sections.get('.rodata');
    const map = this.shapes().find(({ name }) => name.endsWith('.rodata'));
    if (!section || !map) throw new RangeError('the object has no constants');
    const content = native.bpfInitial(this.#handle, map.name, undefined) as Buffer;
    for (const [name, value] of Object.entries(constants)) {
      const field = section.fields.find((candidate) => candidate.name === name);
      if (!field) throw new RangeError(`the object has no constant ${name}`);
      if (typeof value === 'object') {
        if (value.length !== field.size) throw new RangeError(`${name} has ${field.size} bytes, not ${value.length}`);
        content.set(value, field.offset);
      } else {
        if (field.size > 8) throw new RangeError(`${name} has ${field.size} bytes and takes no number`);
        const bytes = Buffer.alloc(8);
        bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)));
        content.set(bytes.subarray(0, field.size), field.offset);
      }
    }
    accepted(native.bpfInitial(this.#handle, map.name, content) as number, 'constants');
  }
}

export interface BpfRun {
  /** What the program returned. */
  readonly result: number;
  /** The packet as it left the program. */
  readonly data: Buffer;
  /** `struct __sk_buff` as it left the program, when one was given. */
  readonly context: Buffer;
  /** ns for each run. */
  readonly duration: number;
}

/** A loaded program. Belongs to its object, or, when it was found by a pin or an id, to whoever asked: then `close` it. */
export class BpfProgram {
  readonly name: string;
  readonly fd: number;

  constructor(fd: number, name: string) {
    this.fd = fd;
    this.name = name;
  }

  static pinned(path: string): BpfProgram {
    const fd = checked(native.bpfPath(COMMAND.get, path, 0, 0), 'bpf', `get ${path}`);
    return new BpfProgram(fd, path.slice(path.lastIndexOf('/') + 1));
  }

  static byId(id: number): BpfProgram {
    const fd = checked(native.bpfById(COMMAND.programById, id), 'bpf', `program ${id}`);
    const info = programInfo(fd);
    return new BpfProgram(fd, info.name);
  }

  /** @param tag hash of the instructions: equal programs have equal tags */
  info(): { readonly id: number; readonly tag: string; readonly name: string } {
    return programInfo(this.fd);
  }

  /** What the kernel has counted of it while `kernel.bpf_stats_enabled` was 1: how often it ran, and how long together. */
  statistics(): { readonly runs: number; readonly nanoseconds: number } {
    const info = Buffer.alloc(RUN_COUNT + 8);
    checked(native.bpfInfo(this.fd, info), 'bpf', 'program info');
    return { runs: Number(info.readBigUInt64LE(RUN_COUNT)), nanoseconds: Number(info.readBigUInt64LE(RUN_TIME)) };
  }

  pin(path: string): void {
    checked(native.bpfPath(COMMAND.pin, path, this.fd, 0), 'bpf', `pin ${path}`);
  }

  /**
   * Runs it on a packet without a device (BPF_PROG_TEST_RUN).
   * @param context `struct __sk_buff`, of which the kernel takes mark, priority, ifindex (of a device that is up), cb, gso_*
   */
  run(data: Uint8Array, { context, repeat = 1 }: { context?: Uint8Array; repeat?: number } = {}): BpfRun {
    const out = Buffer.alloc(data.length + 512);
    const contextOut = context ? Buffer.alloc(context.length) : undefined;
    const figures = Buffer.alloc(16);
    checked(native.bpfRun(this.fd, data, out, context, contextOut, repeat, figures), 'bpf', `run ${this.name}`);
    return {
      result: figures.readUInt32LE(0),
      data: out.subarray(0, figures.readUInt32LE(4)),
      context: contextOut ? contextOut.subarray(0, figures.readUInt32LE(12)) : Buffer.alloc(0),
      duration: figures.readUInt32LE(8),
    };
  }

  close(): void {
    closeSync(this.fd);
  }
}

/** Offsets in `struct bpf_prog_info`. */
const RUN_TIME = 192;
const RUN_COUNT = 200;

function programInfo(fd: number) {
  const info = Buffer.alloc(80);
  checked(native.bpfInfo(fd, info), 'bpf', 'program info');
  const name = info.subarray(64, 80);
  const end = name.indexOf(0);
  return {
    id: info.readUInt32LE(4),
    tag: info.toString('hex', 8, 16),
    name: name.toString('latin1', 0, end < 0 ? name.length : end),
  };
}

/** A program on a device by tcx: a link that lives as long as its descriptor or its pin does, at most as long as the device. */
export class BpfLink {
  #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** @throws SystemCallError: EINVAL on kernels without tcx (before 6.6) */
  static attach(program: BpfProgram, ifindex: number, direction: TcDirection): BpfLink {
    const fd = native.bpfLink(COMMAND.linkCreate, program.fd, ifindex, TCX[direction]);
    return new BpfLink(checked(fd, 'bpf', `${program.name} on ${direction} of device ${ifindex}`));
  }

  /** @throws SystemCallError, ENOENT when nothing is pinned there */
  static pinned(path: string): BpfLink {
    return new BpfLink(checked(native.bpfPath(COMMAND.get, path, 0, 0), 'bpf', `get ${path}`));
  }

  /** Another program takes the place between two packets. */
  update(program: BpfProgram): void {
    checked(native.bpfLink(COMMAND.linkUpdate, this.#fd, program.fd, 0), 'bpf', `update link to ${program.name}`);
  }

  /** `ifindex` 0: the device is gone, and the link will never work again. */
  info(): { readonly id: number; readonly program: number; readonly ifindex: number; readonly attachType: number } {
    const info = Buffer.alloc(64);
    checked(native.bpfInfo(this.#fd, info), 'bpf', 'link info');
    return {
      id: info.readUInt32LE(4),
      program: info.readUInt32LE(8),
      ifindex: info.readUInt32LE(16),
      attachType: info.readUInt32LE(20),
    };
  }

  pin(path: string): void {
    checked(native.bpfPath(COMMAND.pin, path, this.#fd, 0), 'bpf', `pin ${path}`);
  }

  /** Takes the program from the device, whoever else holds the link. */
  detach(): void {
    checked(native.bpfLink(COMMAND.linkDetach, this.#fd, 0, 0), 'bpf', 'detach link');
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}

/** A classifier's place in a device's clsact queue, for kernels without tcx: survives its process without a pin. */
export interface ClsactFilter {
  readonly ifindex: number;
  readonly direction: TcDirection;
  /** Who it is; another program under the same two numbers replaces this one. */
  readonly handle: number;
  readonly priority: number;
}

const point = (direction: TcDirection) => (direction === 'ingress' ? 1 : 2);

/** @throws BpfError */
export function attachClsact(program: BpfProgram, { ifindex, direction, handle, priority }: ClsactFilter): void {
  native.bpfLog();
  accepted(native.bpfTc(1, ifindex, point(direction), program.fd, handle, priority), `clsact of device ${ifindex}`);
}

/** Whether it was there. @throws BpfError */
export function detachClsact({ ifindex, direction, handle, priority }: ClsactFilter): boolean {
  native.bpfLog();
  const result = native.bpfTc(0, ifindex, point(direction), -1, handle, priority);
  if (result === -2 || result === -22 || result === -19) {
    native.bpfLog();
    return false;
  }
  accepted(result, `clsact of device ${ifindex}`);
  return true;
}

/** Takes the whole queue with every filter on it. @throws BpfError */
export function removeClsact(ifindex: number): void {
  native.bpfLog();
  accepted(native.bpfTc(2, ifindex, 3, -1, 0, 0), `clsact of device ${ifindex}`);
}

/** Ids of the programs on a device by tcx, in the order in which they run. @throws SystemCallError */
export function tcxPrograms(ifindex: number, direction: TcDirection): number[] {
  const ids = Buffer.alloc(4 * 64);
  const count = checked(native.bpfQuery(ifindex, TCX[direction], ids), 'bpf', `programs of device ${ifindex}`);
  return Array.from({ length: Math.min(count, 64) }, (_, at) => ids.readUInt32LE(at * 4));
}
