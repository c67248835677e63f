/*
 * The addon as TypeScript sees it, and where it is found. The file stands in prebuilds/, beside both src/ and dist/, so
 * the same relative path serves sources and build. A single executable extracts the addon and names it in
 * LINUX_SOCKETS_ADDON before this module is evaluated.
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** Opaque: owns a descriptor and its readiness. */
export type Handle = object & { readonly brand: unique symbol };

/** Results below zero are negated errnos, except where void. */
export interface Native {
  adopt(fd: number, callback: (events: number) => void): Handle;
  poll(handle: Handle, events: number): number;
  setReferenced(handle: Handle, referenced: boolean): number;
  close(handle: Handle, keepDescriptor: boolean): number;
  socket(family: number, type: number, protocol: number): number;
  bind(fd: number, address: Uint8Array): number;
  connect(fd: number, address: Uint8Array): number;
  listen(fd: number, backlog: number): number;
  localAddress(fd: number, out: Uint8Array): number;
  setOption(fd: number, level: number, name: number, value: Uint8Array): number;
  getOption(fd: number, level: number, name: number, out: Uint8Array): number;
  attachFilter(fd: number, instructions: Uint8Array): number;
  send(
    fd: number,
    data: Uint8Array,
    to: Uint8Array | undefined,
    control: Uint8Array | undefined,
    flags: number,
  ): number;
  sendBatch(
    fd: number,
    data: readonly Uint8Array[],
    to: readonly (Uint8Array | undefined)[],
    control: readonly (Uint8Array | undefined)[],
    flags: number,
  ): number;
  receiveBatch(
    fd: number,
    pool: Uint8Array,
    slot: number,
    payload: number,
    name: number,
    max: number,
    lengths: Int32Array,
  ): number;
  ioctl(fd: number, request: number, argument: Uint8Array): number;
  setns(fd: number): number;
  openFile(path: string, flags: number): number;
  flock(fd: number, operation: number): number;
  interfaceIndex(name: string): number;
  parseAddress(text: string, out: Uint8Array): number;
  formatIpv6(address: Uint8Array): string;
  mount(type: string | undefined, path: string, data: string): number;
  bpfElement(
    command: number,
    fd: number,
    key: Uint8Array | undefined,
    value: Uint8Array | undefined,
    flags: number,
  ): number;
  bpfBatch(
    command: number,
    fd: number,
    from: Uint8Array | undefined,
    next: Uint8Array | undefined,
    keys: Uint8Array,
    values: Uint8Array | undefined,
    count: number,
    done: Uint8Array,
  ): number;
  bpfPath(command: number, path: string, fd: number, flags: number): number;
  bpfById(command: number, id: number): number;
  bpfInfo(fd: number, out: Uint8Array): number;
  bpfLink(command: number, fd: number, target: number, type: number): number;
  bpfRun(
    program: number,
    data: Uint8Array,
    out: Uint8Array,
    context: Uint8Array | undefined,
    contextOut: Uint8Array | undefined,
    repeat: number,
    results: Uint8Array,
  ): number;
  bpfQuery(ifindex: number, attachType: number, ids: Uint8Array): number;
  bpfLibrary(): [version: string, problem: string];
  bpfLog(): string;
  bpfOpen(file: Uint8Array, name: string): BpfHandle | number;
  bpfClose(object: BpfHandle): number;
  bpfLoad(object: BpfHandle): number;
  bpfBtf(object: BpfHandle): Buffer;
  bpfMaps(object: BpfHandle): NativeMap[];
  bpfPrograms(object: BpfHandle): [name: string, section: string, fd: number][];
  bpfSetMap(object: BpfHandle, map: string, entries: number, fd: number): number;
  bpfInitial(object: BpfHandle, map: string, value: Uint8Array | undefined): Buffer | number;
  bpfAutoload(object: BpfHandle, program: string, whether: number): number;
  bpfTc(
    operation: number,
    ifindex: number,
    direction: number,
    program: number,
    handle: number,
    priority: number,
  ): number;
}

/** Opaque: an object file that libbpf has opened. */
export type BpfHandle = object & { readonly bpf: unique symbol };

export type NativeMap = [
  name: string,
  nothing: string,
  fd: number,
  type: number,
  keySize: number,
  valueSize: number,
  entries: number,
];

/** Messages one call of the addon can carry. */
export const MAX_BATCH = 256;
export const READABLE = 1;
export const WRITABLE = 2;

function load(): Native {
  const path =
    process.env.LINUX_SOCKETS_ADDON ??
    fileURLToPath(new URL(`../prebuilds/linux-${process.arch}/linux-sockets.node`, import.meta.url));
  if (process.platform !== 'linux') throw new Error(`linux-sockets works on Linux only, this is ${process.platform}`);
  try {
    return createRequire(import.meta.url)(path) as Native;
  } catch (cause) {
    const code = (cause as { code?: string }).code;
    const remedy =
      code === 'MODULE_NOT_FOUND'
        ? 'it has not been built: `./run build` (or `node scripts/build.mjs` in the package) builds it'
        : `it can't be loaded by this Node (${process.version}, ${process.arch}, needs glibc): \`./run build\` builds it anew`;
    throw new Error(`linux-sockets: no addon at ${path}: ${remedy}`, { cause });
  }
}

export const native: Native = load();
