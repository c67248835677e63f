/** The hold program and its maps in the kernel (bpf/hold.bpf.c). */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { attachClsact, BpfLink, type BpfMap, BpfObject, detachClsact, SystemCallError, withNetns } from 'linux-sockets';
import type { Address, Mac } from '../../../model/address.ts';
import {
  counterValue,
  deviceValue,
  fdbKey,
  floodSlot,
  indexKey,
  keyValue,
  noSlot,
  remoteKey,
  remoteSlot,
  settingsValue,
  type TunnelParameters,
} from './layout.ts';

/** Beside the code that was built; sources find what the build made. */
function objectFile(): string {
  const built = fileURLToPath(new URL('../bpf/hold.o', import.meta.url));
  return existsSync(built) ? built : built.replace('/src/vswitch-bridge/', '/dist/src/vswitch-bridge/');
}

/** Among the filters of a device's clsact queue, where the kernel has no tcx. */
const PLACE = { handle: 0x504e, priority: 0x504e } as const;

export type Attachment = { readonly close: () => void };

export class HoldProgram {
  readonly #object: BpfObject;
  readonly #netns: string | undefined;
  readonly #settings: BpfMap;
  readonly #devices: BpfMap;
  readonly #fdb: BpfMap;
  readonly #remotes: BpfMap;
  readonly #slots: BpfMap;
  readonly #held: BpfMap;
  readonly #released: BpfMap;
  readonly #keys: BpfMap;

  /** @throws BpfError: no libbpf, or the kernel refused the program */
  constructor(netns: string | undefined) {
    this.#netns = netns;
    this.#object = BpfObject.open(objectFile(), { name: 'peerless_hold' });
    try {
      this.#object.load();
      this.#settings = this.#object.map('hold_settings');
      this.#devices = this.#object.map('hold_devices');
      this.#fdb = this.#object.map('hold_fdb');
      this.#remotes = this.#object.map('hold_remotes');
      this.#slots = this.#object.map('hold_slots');
      this.#held = this.#object.map('hold_held');
      this.#released = this.#object.map('hold_released');
      this.#keys = this.#object.map('hold_keys');
    } catch (error) {
      this.#object.close();
      throw error;
    }
  }

  /**
   * Not pinned: an agent that dies takes it along, and the kernel does what it does without. (On kernels without tcx the
   * filter stays, and holds nothing as soon as the agent has been silent for three seconds.)
   */
  attach(ifindex: number): Attachment {
    const program = this.#object.program('peerless_hold');
    const inside = <T>(run: () => T): T => (this.#netns === undefined ? run() : withNetns(this.#netns, run));
    try {
      const link = inside(() => BpfLink.attach(program, ifindex, 'egress'));
      return { close: () => link.close() };
    } catch (error) {
      if (!(error instanceof SystemCallError) || error.code !== 'EINVAL') throw error;
      const filter = { ifindex, direction: 'egress', ...PLACE } as const;
      inside(() => attachClsact(program, filter));
      return { close: () => void inside(() => detachClsact(filter)) };
    }
  }

  alive(door: number, now: bigint): void {
    this.#settings.set(indexKey(0), settingsValue(door, now));
  }

  setDevice(ifindex: number, slot: number, external: boolean): void {
    this.#devices.set(indexKey(ifindex), deviceValue(slot, external));
  }

  removeDevice(ifindex: number): void {
    this.#devices.delete(indexKey(ifindex));
  }

  setAddress(ifindex: number, mac: Mac, slot: number | undefined): void {
    if (slot === undefined) this.#fdb.delete(fdbKey(ifindex, mac));
    else this.#fdb.set(fdbKey(ifindex, mac), indexKey(slot));
  }

  setRemoteSlot(slot: number, remote: Address, local: Address | undefined): void {
    this.#slots.set(indexKey(slot), remoteSlot(remote, local));
    // Of devices that take the remote from the packet; these have no end of their own.
    if (local === undefined) this.#remotes.set(remoteKey(remote), indexKey(slot));
  }

  setFloodSlot(slot: number, wait: boolean): void {
    this.#slots.set(indexKey(slot), floodSlot(wait));
  }

  clearSlot(slot: number, remote: Address | undefined): void {
    this.#slots.set(indexKey(slot), noSlot());
    if (remote !== undefined) this.#remotes.delete(remoteKey(remote));
  }

  /** Frames that the program has sent to the agent, ever. */
  held(slot: number): bigint {
    return this.#held.get(indexKey(slot))!.readBigUInt64LE();
  }

  setReleased(slot: number, count: bigint): void {
    this.#released.set(indexKey(slot), counterValue(count));
  }

  /** What frames with this mark are given when they are sent back into an external device. */
  setKey(index: number, remote: Address, tunnel: TunnelParameters, mark: number): void {
    this.#keys.set(indexKey(index), keyValue(remote, tunnel, mark));
  }

  close(): void {
    this.#object.close();
  }
}
