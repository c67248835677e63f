/**
 * Open vSwitch: its tunnels are followed in its database, its table of tunnel neighbours is written through its control
 * socket, and packets that would miss wait (underlay.ts).
 *
 * Bridges in user space (`datapath_type=netdev`, DPDK too) resolve outer MACs by that table. Bridges of the kernel's
 * datapath leave it to the kernel's routes and neighbours, like the kernel's own tunnels: their remotes are followed here,
 * and the kernel's table, which is written for every tunnel, is theirs.
 */
import { dirname } from 'node:path';
import type { Link, Rtnetlink } from 'rtnetlink-ts';
import type { Address, Mac } from '../../../model/address.ts';
import { Alarm, type Clock, type Timer } from '../../../model/clock.ts';
import type { Log } from '../../../model/log.ts';
import type { Answer } from '../driver/questions.ts';
import { Seldom } from '../driver/seldom.ts';
import type { NeighbourSink } from '../driver/sink.ts';
import { HoldBuffer, type HoldOptions } from '../hold/buffer.ts';
import type { NeighbourChange } from '../machine/types.ts';
import { OvsControl } from './control.ts';
import { type OvsBridge, OvsDatabase } from './database.ts';
import { isPlaceholder, placeholder, Underlay } from './underlay.ts';

export interface OvsOptions {
  readonly socket: string;
  readonly netns: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly rtnetlink: Rtnetlink;
  /** Absent: mechanism 2 is off. */
  readonly hold: HoldOptions | undefined;
  /** `remote` undefined: the tunnel went. */
  onTunnel(tunnel: string, remote: Address | undefined): void;
  /** Packets wait for this next hop. */
  onDemand(address: Address, ifindex: number): void;
  onAnswer(answer: Answer): void;
  linkOf(which: string | number): Link | undefined;
  hopOf(
    remote: Address,
  ): { readonly address: Address; readonly ifindex: number; readonly mac: Mac | undefined } | undefined;
}

const RETRY = 1_000;
/** The switch forgets an entry after 15 minutes; one that is confirmed is written again well before. */
const REWRITE = 60_000;
const PORTION = 32;
const PORTION_EVERY = 1;

interface Entry {
  readonly number: number;
  readonly address: Address;
  readonly bridge: string;
  readonly ifindex: number;
  /** What the table has. */
  written: Mac | undefined;
  writtenAt: number;
  /** Undefined: it is being resolved. */
  mac: Mac | undefined;
  diverted: boolean;
  /** Counts what was decided for it: who has waited looks whether it still holds. */
  version: number;
  /** What has left the buffer and is on its way, in order. */
  leaving: Buffer[];
}

export class OvsNeighbours implements NeighbourSink {
  readonly name = 'ovs';
  readonly #options: OvsOptions;
  readonly #seldom: Seldom;
  readonly #buffer: HoldBuffer<number, Buffer> | undefined;
  readonly #alarm: Alarm;
  readonly #count = { written: 0, placeholders: 0, flushed: 0, refused: 0, connections: 0 };
  readonly #tunnels = new Map<string, Address>();
  readonly #entries = new Map<string, Entry>();
  readonly #byNumber = new Map<number, Entry>();
  readonly #underlays = new Map<string, Underlay | 'opening'>();
  #database: OvsDatabase | undefined;
  #control: OvsControl | undefined;
  #bridges: readonly OvsBridge[] = [];
  #retry: Timer | undefined;
  #nextNumber = 1;
  #closed = false;

  constructor(options: OvsOptions) {
    this.#options = options;
    this.#seldom = new Seldom(options.log, options.clock);
    this.#buffer = options.hold && new HoldBuffer(options.hold);
    this.#alarm = new Alarm(options.clock, () => this.#expire());
  }

  /** Never rejects: a switch that isn't there yet is waited for. */
  async start(): Promise<void> {
    try {
      this.#control = await OvsControl.open(this.#options.socket, () => this.#lost());
      this.#database = await OvsDatabase.open(this.#options.socket, {
        onChange: (bridges) => this.#changed(bridges),
        onClose: () => this.#lost(),
      });
      this.#count.connections++;
      // What the database told while it was opened could not be served yet.
      this.review();
      await this.#clearLeftovers();
    } catch (error) {
      if (this.#count.connections === 0 && !this.#retry)
        this.#options.log.warn({ error }, 'Open vSwitch is waited for');
      this.#lost();
    }
  }

  apply(change: NeighbourChange): void | Promise<void> {
    this.review();
    const entry = this.#entries.get(keyOf(change.to));
    if (!entry) return;
    if (change.op === 'set') return this.#resolved(entry, change.to.mac);
    if (change.why !== 'unused') return this.#unresolved(entry);
  }

  /** The routes to tunnels' remotes may lead elsewhere. */
  review(): void {
    if (!this.#control || this.#closed) return;
    const wanted = new Set<string>();
    for (const remote of new Set(this.#tunnels.values())) {
      const hop = this.#options.hopOf(remote);
      const bridge = hop && this.#options.linkOf(hop.ifindex)?.name;
      if (!hop || !this.#bridges.some(({ name, userspace }) => userspace && name === bridge)) continue;
      const key = keyOf(hop);
      wanted.add(key);
      if (this.#buffer) this.#openUnderlay(bridge!, hop.ifindex);
      if (this.#entries.has(key)) continue;
      const entry: Entry = {
        number: this.#nextNumber++ & 0xffffff,
        address: hop.address,
        bridge: bridge!,
        ifindex: hop.ifindex,
        written: undefined,
        writtenAt: 0,
        mac: undefined,
        diverted: false,
        version: 0,
        leaving: [],
      };
      this.#entries.set(key, entry);
      this.#byNumber.set(entry.number, entry);
      this.#report(hop.mac === undefined ? this.#unresolved(entry) : this.#resolved(entry, hop.mac));
    }
    for (const [key, entry] of this.#entries) if (!wanted.has(key)) this.#drop(key, entry);
  }

  /** Through which of its bridges an interface's packets go: what happens to the one concerns the other. */
  bridgeOf(name: string): string | undefined {
    return this.#bridges.find((bridge) => bridge.name !== name && bridge.interfaces.some((each) => each.name === name))
      ?.name;
  }

  /** Packets that wait, by next hop. */
  waiting(): ReadonlyMap<Address, number> {
    const result = new Map<Address, number>();
    for (const place of this.#buffer?.places() ?? []) {
      const entry = this.#byNumber.get(place);
      if (entry) result.set(entry.address, this.#buffer!.waitingAt(place));
    }
    return result;
  }

  counters(): Readonly<Record<string, Readonly<Record<string, number>>>> {
    return { ovs: this.#count, ...(this.#buffer ? { ovsHold: { ...this.#buffer.counters() } } : {}) };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#retry?.cancel();
    this.#alarm.set(undefined);
    try {
      // The switch resolves again by itself what has a placeholder now.
      if ([...this.#entries.values()].some(({ written }) => written && isPlaceholder(written)))
        await this.#rewriteAll();
      for (const underlay of this.#underlays.values()) if (underlay !== 'opening') await underlay.close();
    } catch (error) {
      this.#options.log.warn({ error }, 'Open vSwitch was left with placeholders of neighbours');
    }
    this.#control?.close();
    this.#database?.close();
  }

  #changed(bridges: readonly OvsBridge[]): void {
    this.#bridges = bridges;
    const now = new Map<string, Address>();
    for (const bridge of bridges) {
      for (const { name, remote } of bridge.interfaces) if (remote) now.set(`ovs ${bridge.name} ${name}`, remote);
    }
    for (const tunnel of this.#tunnels.keys()) {
      if (now.has(tunnel)) continue;
      this.#tunnels.delete(tunnel);
      this.#options.onTunnel(tunnel, undefined);
    }
    for (const [tunnel, remote] of now) {
      if (this.#tunnels.get(tunnel) === remote) continue;
      this.#tunnels.set(tunnel, remote);
      this.#options.onTunnel(tunnel, remote);
    }
    this.review();
  }

  #lost(): void {
    if (this.#closed || this.#retry) return;
    this.#control?.close();
    this.#database?.close();
    this.#control = undefined;
    this.#database = undefined;
    // A switch that comes back has an empty table. Its tunnels are still wanted: the database kept them.
    for (const underlay of this.#underlays.values()) if (underlay !== 'opening') void underlay.close();
    this.#underlays.clear();
    for (const [key, entry] of this.#entries) this.#drop(key, entry);
    const { clock } = this.#options;
    this.#retry = clock.schedule(clock.now() + RETRY, () => {
      this.#retry = undefined;
      void this.start();
    });
  }

  /** In this turn what goes to the switch is written; waits until it is done. */
  async #resolved(entry: Entry, mac: Mac): Promise<void> {
    const { clock } = this.#options;
    const fresh = entry.written === mac && clock.now() - entry.writtenAt < REWRITE;
    if (fresh && entry.mac === mac) return;
    const version = ++entry.version;
    entry.mac = mac;
    await this.#drain(entry);
    if (entry.version !== version) return;
    await this.#write(entry, mac);
    if (entry.version !== version || !entry.diverted) return;
    entry.diverted = false;
    this.#underlay(entry)?.undivert(entry.address);
  }

  async #unresolved(entry: Entry): Promise<void> {
    entry.version++;
    entry.mac = undefined;
    // Half sent: to whom it was to go is not where it is now.
    for (const _frame of entry.leaving.splice(0)) this.#buffer?.unsent();
    const underlay = this.#underlay(entry);
    if (underlay) {
      if (!entry.diverted) underlay.divert(entry.address);
      entry.diverted = true;
      await this.#write(entry, placeholder(entry.number));
    } else if (entry.written !== undefined) {
      // The switch can't forget one entry alone.
      entry.written = undefined;
      await this.#rewriteAll();
    }
  }

  async #rewriteAll(): Promise<void> {
    const known = [...this.#entries.values()].filter(({ mac }) => mac !== undefined);
    this.#count.flushed++;
    await Promise.all([
      this.#control?.flush(),
      ...known.map((entry) => this.#write(entry, entry.mac!)),
      ...(this.#closed ? [] : [...this.#entries.values()])
        .filter((entry) => entry.mac === undefined && this.#underlay(entry))
        .map((entry) => this.#write(entry, placeholder(entry.number))),
    ]);
  }

  async #write(entry: Entry, mac: Mac): Promise<void> {
    entry.written = mac;
    entry.writtenAt = this.#options.clock.now();
    if (isPlaceholder(mac)) this.#count.placeholders++;
    else this.#count.written++;
    try {
      await this.#control?.set(entry.bridge, entry.address, mac);
    } catch (error) {
      entry.written = undefined;
      this.#count.refused++;
      throw error;
    }
  }

  #openUnderlay(bridge: string, ifindex: number): void {
    const { socket, netns, clock, rtnetlink, linkOf } = this.#options;
    const link = linkOf(ifindex);
    if (!link || !this.#database || this.#underlays.has(bridge)) return;
    const database = this.#database;
    this.#underlays.set(bridge, 'opening');
    Underlay.open({
      bridge,
      link,
      directory: dirname(socket),
      netns,
      database,
      rtnetlink,
      clock,
      linkOf,
      onFrames: (frames) => this.#take(frames),
      onAnswer: (answer) => this.#options.onAnswer(answer),
    })
      .then(async (underlay) => {
        if (this.#closed || this.#database !== database) {
          await underlay.close();
          return;
        }
        this.#underlays.set(bridge, underlay);
        for (const entry of this.#entries.values()) {
          if (entry.bridge === bridge && entry.mac === undefined) this.#report(this.#unresolved(entry));
        }
      })
      .catch((error: unknown) => {
        this.#underlays.delete(bridge);
        this.#seldom.warn({ bridge, error }, 'packets of Open vSwitch are not held');
      });
  }

  #underlay(entry: Entry): Underlay | undefined {
    const underlay = this.#underlays.get(entry.bridge);
    return underlay === 'opening' || underlay?.closed ? undefined : underlay;
  }

  #take(frames: readonly { readonly neighbour: number; readonly frame: Buffer }[]): void {
    const buffer = this.#buffer!;
    const now = this.#options.clock.now();
    const concerned = new Set<Entry>();
    for (const { neighbour, frame } of frames) {
      const entry = this.#byNumber.get(neighbour);
      if (!entry) continue;
      buffer.take(neighbour, entry.address, frame, frame.length, now);
      concerned.add(entry);
    }
    for (const entry of concerned) {
      // The switch goes on for some milliseconds with what it had worked out.
      if (entry.mac !== undefined) this.#report(this.#drain(entry));
      else this.#options.onDemand(entry.address, entry.ifindex);
    }
    this.#alarm.set(buffer.nextDeadline());
  }

  /** Resolves when nothing of this neighbour waits any more. */
  async #drain(entry: Entry): Promise<void> {
    const { clock } = this.#options;
    while (entry.mac !== undefined && this.#buffer) {
      const underlay = this.#underlay(entry);
      if (!underlay) return;
      if (entry.leaving.length === 0) entry.leaving = [...this.#buffer.release(entry.number)];
      if (entry.leaving.length === 0) return;
      for (let sent = 0; sent < PORTION && entry.leaving.length > 0; sent++) {
        const outcome = underlay.send(entry.leaving[0]!, entry.mac);
        if (outcome === 'full') break;
        if (outcome === 'refused') this.#buffer.unsent();
        entry.leaving.shift();
      }
      await new Promise<void>((resolve) => clock.schedule(clock.now() + PORTION_EVERY, resolve));
    }
  }

  #expire(): void {
    this.#buffer!.expire(this.#options.clock.now());
    for (const place of this.#buffer!.places()) {
      const entry = this.#byNumber.get(place);
      if (entry?.mac === undefined && entry) this.#options.onDemand(entry.address, entry.ifindex);
    }
    this.#alarm.set(this.#buffer!.nextDeadline());
  }

  #drop(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#byNumber.delete(entry.number);
    entry.version++;
    if (entry.diverted) this.#underlay(entry)?.undivert(entry.address);
    if (entry.written && isPlaceholder(entry.written) && this.#control) this.#report(this.#rewriteAll());
  }

  /** Placeholders of a life before this one, for neighbours that are not ours any more. */
  async #clearLeftovers(): Promise<void> {
    const entries = await this.#control!.show();
    const ours = new Set([...this.#entries.values()].map(({ address, bridge }) => `${bridge} ${address}`));
    const left = entries.some(({ mac, address, bridge }) => isPlaceholder(mac) && !ours.has(`${bridge} ${address}`));
    if (left) await this.#rewriteAll();
  }

  #report(done: Promise<void>): void {
    done.catch((error: unknown) => this.#seldom.warn({ error }, 'Open vSwitch refused a tunnel neighbour'));
  }
}

const keyOf = ({ ifindex, address }: { readonly ifindex: number; readonly address: Address }) =>
  `${ifindex} ${address}`;
