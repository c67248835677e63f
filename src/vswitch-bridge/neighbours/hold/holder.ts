/**
 * Mechanism 2 for the kernel's tunnels: what the hold program sends here waits for its neighbour's MAC and goes back into
 * the tunnel device in order.
 *
 * A slot is open (the program lets frames of it pass) when as many frames have left it as were ever sent to it. The agent
 * says how many have left only after the last of them is in the tunnel, so no frame overtakes another. Frames that were
 * lost between program and agent would keep a slot shut for ever; one that has been quiet for a moment is settled: what
 * did not come is counted as lost.
 *
 * Frames for all remotes of a device (unknown MACs, groups) are copied by the device itself, behind the program. They wait
 * as long as one of these remotes is being resolved for the first time, not for one that has failed: a dead host must not
 * delay everybody's broadcasts.
 */
import type { Rtnetlink } from 'rtnetlink-ts';
import type { Address, Mac } from '../../../model/address.ts';
import { Alarm, type Clock } from '../../../model/clock.ts';
import type { TunnelDevice } from '../driver/tunnels.ts';
import { HoldBuffer, type HoldCounters, type HoldOptions } from './buffer.ts';
import { letLoopbackForward } from './door.ts';
import { type HeldFrame, KEYS, SLOTS } from './layout.ts';
import { type Attachment, HoldProgram } from './program.ts';
import { type Slot, Slots } from './slots.ts';
import { StandingDoor } from './standing-door.ts';

const ALIVE_EVERY = 1_000;
/** A frame is with us some microseconds after the program has sent it. ms */
const SETTLED = 20;

export interface HolderOptions extends HoldOptions {
  readonly rtnetlink: Rtnetlink;
  readonly netns: string | undefined;
  readonly clock: Clock;
  /** Packets wait for this remote. */
  onDemand(remote: Address): void;
  /** Whose bound the packets for `remote` share. */
  neighbourOf(remote: Address): string;
  /** Its MAC is known, or nothing is to be known: there is no way, or one without MACs. */
  resolved(remote: Address): boolean;
  /** Nobody knows yet whether it will answer. */
  pending(remote: Address): boolean;
  onProblem(problem: string, fields: object): void;
}

interface Device {
  readonly device: TunnelDevice;
  readonly attachment: Attachment;
  /** What was taken for it: by MAC, and for the rest. */
  readonly addresses: Map<Mac, Slot>;
  flood: readonly Address[];
  rest: Slot | undefined;
}

export class Holder {
  readonly #options: HolderOptions;
  readonly #program: HoldProgram;
  readonly #buffer: HoldBuffer<number, HeldFrame>;
  readonly #slots = new Slots(SLOTS);
  readonly #devices = new Map<number, Device>();
  /** All remote addresses; with a slot while a device takes its remote from the packet. */
  readonly #remotes = new Map<Address, Slot | undefined>();
  readonly #alarm: Alarm;
  /** Parameters of external tunnels, by what they are; their places in the program's array. */
  readonly #keys = new Map<string, number>();
  readonly #unsettled = new Map<number, { readonly received: bigint; readonly at: number }>();
  readonly #restoreLoopback: () => void;
  #door!: StandingDoor;
  #nextAlive = 0;
  #count = { lost: 0, stray: 0, noSlot: 0 };

  /** @throws BpfError, NetlinkError, SystemCallError where the kernel can't do it or we have no right */
  static async open(options: HolderOptions): Promise<Holder> {
    const holder = new Holder(options, new HoldProgram(options.netns));
    try {
      const { rtnetlink, netns, clock } = options;
      holder.#door = await StandingDoor.open({
        ...{ rtnetlink, netns, clock },
        onFrames: (frames) => holder.#take(frames),
        // At once: what is sent to one that is no more is lost.
        onChange: () => holder.#beat(clock.now()),
        onProblem: (problem, fields) => options.onProblem(problem, fields),
      });
    } catch (error) {
      holder.#program.close();
      throw error;
    }
    holder.#beat(options.clock.now());
    holder.#arm();
    return holder;
  }

  private constructor(options: HolderOptions, program: HoldProgram) {
    this.#options = options;
    this.#program = program;
    this.#buffer = new HoldBuffer(options);
    this.#alarm = new Alarm(options.clock, () => this.#due());
    this.#restoreLoopback = letLoopbackForward(options.netns);
  }

  linkGone(ifindex: number): void {
    this.#door.linkGone(ifindex);
  }

  addDevice(device: TunnelDevice): void {
    try {
      const attachment = this.#program.attach(device.ifindex);
      this.#devices.set(device.ifindex, { device, attachment, addresses: new Map(), flood: [], rest: undefined });
      this.#program.setDevice(device.ifindex, 0, device.external);
      if (device.external) this.#reviewRemotes();
    } catch (error) {
      this.#options.onProblem('packets of a tunnel device are not held', { device: device.name, error });
    }
  }

  removeDevice(ifindex: number): void {
    const known = this.#devices.get(ifindex);
    if (!known) return;
    this.#devices.delete(ifindex);
    known.attachment.close();
    this.#program.removeDevice(ifindex);
    for (const [mac, slot] of known.addresses) {
      this.#program.setAddress(ifindex, mac, undefined);
      this.#giveBack(slot);
    }
    if (known.rest) this.#giveBack(known.rest);
    if (known.device.external) this.#reviewRemotes();
  }

  /** A remote address of any tunnel came or went. */
  setRemote(remote: Address, present: boolean): void {
    if (present === this.#remotes.has(remote)) return;
    const slot = this.#remotes.get(remote);
    if (present) this.#remotes.set(remote, this.#hasExternal() ? this.#slotFor(remote, undefined) : undefined);
    else this.#remotes.delete(remote);
    if (slot) this.#giveBack(slot);
  }

  setAddress(ifindex: number, mac: Mac, remote: Address | undefined): void {
    const known = this.#devices.get(ifindex);
    if (!known) return;
    const before = known.addresses.get(mac);
    const slot = remote === undefined ? undefined : this.#slotFor(remote, known.device.local);
    if (slot) known.addresses.set(mac, slot);
    else known.addresses.delete(mac);
    this.#program.setAddress(ifindex, mac, slot?.index);
    if (before) this.#giveBack(before);
  }

  setFlood(ifindex: number, remotes: readonly Address[]): void {
    const known = this.#devices.get(ifindex);
    if (!known) return;
    known.flood = remotes;
    const before = known.rest;
    const [first] = remotes;
    if (remotes.length > 1 && before?.flood !== undefined) {
      this.#reviewFlood(before);
      return;
    }
    if (first === undefined) known.rest = undefined;
    else if (remotes.length === 1) known.rest = this.#slotFor(first, known.device.local);
    else {
      known.rest = this.#slots.takeFlood(ifindex);
      if (known.rest) {
        this.#begin(known.rest);
        this.#program.setFloodSlot(known.rest.index, false);
        this.#reviewFlood(known.rest);
      } else this.#count.noSlot++;
    }
    this.#program.setDevice(ifindex, known.rest?.index ?? 0, known.device.external);
    if (before) this.#giveBack(before);
  }

  /** What is known of these remotes has changed: what waits for one that is resolved goes now. */
  changed(remotes: readonly Address[]): void {
    for (const remote of remotes) {
      if (!this.#options.resolved(remote)) continue;
      for (const slot of this.#slots.ofRemote(remote)) this.#release(slot);
    }
    this.reviewFloods();
  }

  /** Who is being resolved has changed. */
  reviewFloods(): void {
    for (const slot of this.#slots.floods()) this.#reviewFlood(slot);
  }

  counters(): HoldCounters & { readonly lost: number; readonly stray: number; readonly noSlot: number } {
    return { ...this.#buffer.counters(), ...this.#count };
  }

  /** Frames that wait now, by remote address. */
  waiting(): ReadonlyMap<Address, number> {
    const result = new Map<Address, number>();
    for (const place of this.#buffer.places()) {
      const slot = this.#slots.get(place);
      const remotes = slot?.remote === undefined ? this.#pendingOf(slot) : [slot.remote];
      for (const remote of remotes) result.set(remote, (result.get(remote) ?? 0) + this.#buffer.waitingAt(place));
    }
    return result;
  }

  async close(): Promise<void> {
    this.#alarm.set(undefined);
    for (const ifindex of [...this.#devices.keys()]) this.removeDevice(ifindex);
    this.#program.close();
    this.#restoreLoopback();
    await this.#door.close();
  }

  #hasExternal(): boolean {
    return [...this.#devices.values()].some(({ device }) => device.external);
  }

  #reviewRemotes(): void {
    const wanted = this.#hasExternal();
    for (const [remote, slot] of this.#remotes) {
      if ((slot !== undefined) === wanted) continue;
      this.#remotes.set(remote, wanted ? this.#slotFor(remote, undefined) : undefined);
      if (slot) this.#giveBack(slot);
    }
  }

  #slotFor(remote: Address, local: Address | undefined): Slot | undefined {
    const fits = local?.includes(':') === remote.includes(':') ? local : undefined;
    const taken = this.#slots.take(remote, fits);
    if (!taken) {
      this.#count.noSlot++;
      return undefined;
    }
    if (taken.fresh) {
      this.#begin(taken.slot);
      this.#program.setRemoteSlot(taken.slot.index, remote, fits);
    }
    return taken.slot;
  }

  #begin(slot: Slot): void {
    slot.received = this.#program.held(slot.index);
    this.#program.setReleased(slot.index, slot.received);
  }

  #giveBack(slot: Slot): void {
    if (!this.#slots.giveBack(slot)) return;
    // What waits there can still go where the device sends it now.
    for (const frame of this.#buffer.release(slot.index)) if (!this.#send(slot, frame)) this.#buffer.unsent();
    this.#program.clearSlot(slot.index, slot.local === undefined ? slot.remote : undefined);
    this.#unsettled.delete(slot.index);
  }

  #take(frames: readonly HeldFrame[]): void {
    const now = this.#options.clock.now();
    const places = new Set<Slot>();
    for (const held of frames) {
      const slot = this.#slots.get(held.slot);
      if (!slot) {
        this.#count.stray++;
        continue;
      }
      slot.received++;
      places.add(slot);
      const neighbour = slot.remote === undefined ? `flood ${slot.flood}` : this.#options.neighbourOf(slot.remote);
      this.#buffer.take(slot.index, neighbour, held, held.frame.length, now);
    }
    for (const slot of places) {
      if (slot.remote !== undefined) {
        this.#options.onDemand(slot.remote);
        // What the kernel still lacks then, it makes when it sees the frame.
        if (this.#options.resolved(slot.remote)) this.#release(slot);
      } else {
        for (const remote of this.#pendingOf(slot)) this.#options.onDemand(remote);
        this.#reviewFlood(slot);
        if (!slot.waits) this.#release(slot);
      }
      if (this.#buffer.waitingAt(slot.index) === 0) this.#left(slot);
    }
    this.#arm();
  }

  #release(slot: Slot): void {
    if (this.#buffer.waitingAt(slot.index) === 0) return;
    for (const frame of this.#buffer.release(slot.index)) if (!this.#send(slot, frame)) this.#buffer.unsent();
    this.#left(slot);
    this.#arm();
  }

  #send({ remote }: Slot, frame: HeldFrame): boolean {
    if (remote === undefined || !this.#devices.get(frame.ifindex)?.device.external) return this.#door.send(frame);
    const { id, ttl, tos, flags } = frame.tunnel;
    const name = `${remote} ${id} ${ttl} ${tos} ${flags} ${frame.mark}`;
    let key = this.#keys.get(name);
    if (key === undefined) {
      // Few: of remotes that were missing. When they are used up they are given out anew; none is in use now.
      if (this.#keys.size === KEYS) this.#keys.clear();
      key = this.#keys.size;
      this.#keys.set(name, key);
      this.#program.setKey(key, remote, frame.tunnel, frame.mark);
    }
    return this.#door.send({ ...frame, mark: key });
  }

  /** Nothing of it waits here: the program may let its frames pass when none is on the way to us. */
  #left(slot: Slot): void {
    const gone = slot.received + slot.lost;
    this.#program.setReleased(slot.index, gone);
    if (this.#program.held(slot.index) === gone) this.#unsettled.delete(slot.index);
    else this.#unsettled.set(slot.index, { received: slot.received, at: this.#options.clock.now() + SETTLED });
  }

  #settle(now: number): void {
    for (const [index, { received, at }] of this.#unsettled) {
      const slot = this.#slots.get(index);
      if (at > now) continue;
      this.#unsettled.delete(index);
      if (!slot || this.#buffer.waitingAt(index) > 0) continue;
      if (slot.received === received) {
        const missing = this.#program.held(index) - received - slot.lost;
        slot.lost += missing;
        this.#count.lost += Number(missing);
      }
      this.#left(slot);
    }
  }

  #reviewFlood(slot: Slot): void {
    const waits = this.#pendingOf(slot).length > 0;
    if (waits === slot.waits) return;
    slot.waits = waits;
    this.#program.setFloodSlot(slot.index, waits);
    if (!waits) this.#release(slot);
  }

  #pendingOf(slot: Slot | undefined): readonly Address[] {
    const remotes = slot?.flood === undefined ? [] : (this.#devices.get(slot.flood)?.flood ?? []);
    return remotes.filter((remote) => this.#options.pending(remote));
  }

  #due(): void {
    const now = this.#options.clock.now();
    for (const { place, packets, left } of this.#buffer.expire(now)) {
      const slot = this.#slots.get(place);
      if (!slot) continue;
      // Those of the list that have answered get their copy; the device makes it.
      const known = this.#devices.get(slot.flood ?? 0)?.flood.some((remote) => this.#options.resolved(remote));
      if (slot.flood !== undefined && known) for (const frame of packets) this.#send(slot, frame);
      if (left === 0) this.#left(slot);
      else if (slot.remote !== undefined) this.#options.onDemand(slot.remote);
    }
    this.#settle(now);
    if (now >= this.#nextAlive) this.#beat(now);
    this.#arm();
  }

  #beat(now: number): void {
    this.#program.alive(this.#door.ifindex, process.hrtime.bigint());
    this.#nextAlive = now + ALIVE_EVERY;
  }

  #arm(): void {
    let next = Math.min(this.#nextAlive, this.#buffer.nextDeadline() ?? Number.POSITIVE_INFINITY);
    for (const { at } of this.#unsettled.values()) next = Math.min(next, at);
    this.#alarm.set(next);
  }
}
