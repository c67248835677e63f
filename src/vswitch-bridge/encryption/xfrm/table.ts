/*
 * The table of peers over the kernel's XFRM: the same face as the packet worker's, so that the machine does not know which of them it
 * speaks to. What the agent sets in one turn of the event loop is carried out at its end, in the order that projection.ts gives:
 * memory, readable SAs, control packets, what is sent under.
 *
 * What the kernel can't do, and what stands for it
 * - Nothing waits in it. `hold` is `drop`: a policy that blocks; `held` is never raised.
 * - Plain packets: never, so there is nothing to accept.
 * - It reports neither the first packet read under a key nor a forged one: its numbers are looked at, twice a second while it matters.
 */
import type { Address } from '../../../model/address.ts';
import { Alarm, type Clock } from '../../../model/clock.ts';
import type { Log } from '../../../model/log.ts';
import type {
  Indication,
  PeerIndex,
  PeerTable,
  PeerTraffic,
  SendState,
  TrafficKey,
  WorkerEvents,
} from '../worker-face.ts';
import { adoptAssociations, inherit } from './adoption.ts';
import type { ListedAssociation } from './codec/association.ts';
import type { SaId } from './codec/structures.ts';
import { PeerEntry, type RememberedPeer } from './entry.ts';
import type { XfrmKernel, XfrmMemory } from './kernel-face.ts';
import {
  abandon,
  blockAll,
  type Ends,
  keyBits,
  NO_PICTURE,
  type PeerPicture,
  peerOfPolicy,
  plan,
  project,
  REQID,
  type Step,
} from './projection.ts';
import { requestsFor } from './steps.ts';

/** Between two looks at the kernel's numbers: while something is waited for, and else; ms. */
const LOOK = { waiting: 500, quiet: 5000 } as const;
/** Memos alone (counters of control packets) are written together. A memo allows for 1,000 packets that it does not know of. */
const MEMO_DELAY = 500;

export interface XfrmTableOptions {
  readonly ends: Ends;
  readonly kernel: XfrmKernel;
  readonly memory: XfrmMemory;
  readonly events: WorkerEvents;
  readonly clock: Clock;
  readonly log: Log;
  /** Calls at the end of this turn of the event loop. */
  readonly defer: (run: () => void) => void;
}

export class XfrmTable implements PeerTable {
  readonly adopted: PeerTable['adopted'];
  readonly #options: XfrmTableOptions;
  readonly #entries = new Map<PeerIndex, PeerEntry>();
  readonly #byAddress = new Map<Address, PeerEntry>();
  readonly #dirty = new Set<PeerEntry>();
  readonly #memos = new Set<PeerEntry>();
  readonly #look: Alarm;
  readonly #remember: Alarm;
  #removed: PeerEntry[] = [];
  #next: PeerIndex = 1;
  #deferred = false;
  /** Peers came or went since their marks were asked for. */
  #unmarked = false;
  #closed = false;
  #kernelRefused = 0n;
  /** The next look is one that does not wait long. */
  #soon = false;
  #watched = new Set<number>();

  /** Takes up what an earlier agent has left, as far as it is whole; what is not goes. Rejects when the kernel refuses. */
  static async open(options: XfrmTableOptions): Promise<XfrmTable> {
    const { kernel, memory, ends } = options;
    // Before anything else: from here on nothing leaves or comes in plain text.
    const refused = kernel.apply(blockAll(ends).map((policy) => ({ op: 'set-policy', policy })));
    if (refused.length > 0) throw new Error(`the kernel refuses a policy: ${refused[0]!.reason}`);
    const [associations, policies] = await Promise.all([kernel.associations(), kernel.policies()]);
    const { kept, requests } = inherit(ends, memory.load(), associations, policies);
    const table = new XfrmTable(options, kept, associations);
    for (const { request, reason } of kernel.apply(requests)) {
      const peer = request.op === 'set-policy' ? peerOfPolicy(ends, request.policy) : undefined;
      const entry = table.#byAddress.get(peer as Address);
      if (!entry || entry.trouble !== undefined) continue;
      table.#refusedTo(entry, reason);
      table.#failed(entry, NO_PICTURE);
    }
    memory.keepOnly(kept.map(({ address }) => address));
    for (const { key } of associations) key.fill(0);
    return table;
  }

  private constructor(
    options: XfrmTableOptions,
    kept: readonly RememberedPeer[],
    associations: readonly ListedAssociation[],
  ) {
    const { clock } = options;
    this.#options = options;
    this.#look = new Alarm(clock, () => void this.#lookAtKernel());
    this.#remember = new Alarm(clock, () => this.#writeMemos());
    this.adopted = kept.map((peer) => {
      const index = peer.mark & 0xffffff;
      this.#next = Math.max(this.#next, index + 1);
      const entry = new PeerEntry(index, peer.address, peer.mark);
      entry.memo = Buffer.from(peer.memo, 'hex');
      adoptAssociations(entry, peer, associations, options.ends, clock.now());
      this.#put(entry);
      return { peer: index, address: peer.address, memo: Uint8Array.from(entry.memo), receive: [...peer.inbound] };
    });
    this.#marks();
    this.#watch();
    this.#lookSoon();
  }

  add(address: Address): PeerIndex {
    const entry = new PeerEntry(this.#next++, address);
    this.#put(entry);
    this.#touch(entry);
    this.#unmarked = true;
    return entry.index;
  }

  remove(peer: PeerIndex): void {
    const entry = this.#entry(peer);
    this.#entries.delete(peer);
    if (this.#byAddress.get(entry.address) === entry) this.#byAddress.delete(entry.address);
    this.#dirty.delete(entry);
    this.#memos.delete(entry);
    entry.forgetKeys();
    this.#removed.push(entry);
    this.#unmarked = true;
    this.#defer();
  }

  setSend(peer: PeerIndex, state: SendState): void {
    const entry = this.#entry(peer);
    if (state.mode === 'encrypt') {
      if (!entry.sendUnder(state.spi, state.key))
        this.#options.log.error({ peer: entry.address }, 'a key that was sent under before is not used again');
    } else entry.current = undefined;
    this.#touch(entry);
  }

  addReceive(peer: PeerIndex, spi: number, key: TrafficKey): void {
    const entry = this.#entry(peer);
    entry.readUnder(spi, key, this.#options.clock.now());
    this.#touch(entry);
    this.#lookSoon();
  }

  removeReceive(peer: PeerIndex, spi: number): void {
    const entry = this.#entry(peer);
    entry.readNoMore(spi);
    this.#touch(entry);
  }

  armReceive(peer: PeerIndex, spi: number): void {
    this.#entry(peer).arm(spi, this.#options.clock.now());
    this.#lookSoon();
  }

  /** Plain text is refused by policies that nothing switches off. */
  setAcceptPlain(): void {}

  setMemo(peer: PeerIndex, memo: Uint8Array): void {
    const entry = this.#entry(peer);
    entry.memo = Uint8Array.from(memo);
    if (entry.trouble !== undefined) return;
    // From the first that waits on: who speaks all the time would put it off for ever.
    if (this.#memos.size === 0) this.#remember.set(this.#options.clock.now() + MEMO_DELAY);
    this.#memos.add(entry);
  }

  sendControl(peer: PeerIndex, datagram: Uint8Array): void {
    const entry = this.#entry(peer);
    entry.controls.push(Uint8Array.from(datagram));
    this.#touch(entry);
  }

  traffic(peer: PeerIndex): PeerTraffic {
    return this.#entry(peer).traffic(this.#options.clock.now());
  }

  refused(): Readonly<Record<string, bigint>> {
    const refused = { ...this.#options.kernel.statistics() };
    if (this.#kernelRefused > 0n) refused['kernel-refused'] = this.#kernelRefused;
    return refused;
  }

  /** Peers for which the kernel refused something. */
  problems(): string[] {
    return [...this.#entries.values()].flatMap(({ address, trouble }) => (trouble ? [`${address}: ${trouble}`] : []));
  }

  /** Whether this SA is one that stands in the kernel for us. */
  has({ destination, spi }: SaId): boolean {
    if (destination !== this.#options.ends.local)
      return this.#byAddress.get(destination)?.installed?.outbound.has(spi) ?? false;
    return [...this.#entries.values()].some(({ installed }) => installed?.inbound.has(spi));
  }

  control(from: Address, datagram: Uint8Array): void {
    const entry = this.#byAddress.get(from);
    if (entry) this.#options.events.control(entry.index, datagram);
  }

  plain(from: Address, indication: Indication): void {
    const entry = this.#byAddress.get(from);
    if (!entry) return;
    entry.count('plain-refused');
    const { clock, events } = this.#options;
    const what = `plain ${indication.version} ${indication.fp12} ${indication.off}`;
    if (!entry.toldLately(what, clock.now())) events.plain(entry.index, indication);
  }

  unreadable(from: Address, spi: number): void {
    const entry = this.#byAddress.get(from);
    if (!entry) return;
    entry.count('no-key');
    const { clock, events } = this.#options;
    if (!entry.toldLately(`unreadable ${spi}`, clock.now())) events.unreadable(entry.index, spi);
  }

  /** `keep`: SAs and policies stay for the next agent. What blocks all stays in any case, for as long as there are tunnels. */
  close({ keep }: { readonly keep: boolean }): void {
    if (this.#closed) return;
    this.flush();
    this.#writeMemos();
    this.#closed = true;
    this.#look.set(undefined);
    this.#remember.set(undefined);
    const { kernel, memory, ends } = this.#options;
    for (const entry of this.#entries.values()) entry.forgetKeys();
    if (keep) return;
    for (const entry of this.#entries.values()) {
      const { first } = plan(entry.installed, undefined);
      kernel.apply(requestsFor(ends, entry, first));
    }
    memory.keepOnly([]);
  }

  /** Carries out what was set: in this turn, and in order. */
  flush(): void {
    this.#deferred = false;
    if (this.#closed) return;
    if (this.#unmarked) this.#marks();
    const { ends, kernel, memory } = this.#options;
    const removed = this.#removed;
    this.#removed = [];
    for (const entry of removed) {
      const { first } = plan(entry.installed, undefined);
      kernel.apply(requestsFor(ends, entry, first));
      if (!this.#byAddress.has(entry.address)) memory.remove(entry.address);
    }
    // What has failed waits for the entry that takes its place.
    const entries = [...this.#dirty].filter(({ trouble }) => trouble === undefined);
    this.#dirty.clear();
    const plans = entries.map((entry) => {
      const picture = project(entry.wish);
      const { first, later } = plan(entry.installed, picture);
      return { entry, picture, first, later, unchanged: first.length === 0 && later.length === 0 };
    });
    for (const { entry, picture, unchanged } of plans) {
      if (unchanged) continue;
      entry.retire(picture);
      // Before the kernel has them: an SA that no memory knows of is never gone on with, so no number is used twice.
      memory.save(entry.remembered(picture));
      this.#memos.delete(entry);
    }
    for (const { entry, first } of plans) this.#apply(entry, first);
    for (const { entry } of plans) {
      for (const datagram of entry.controls.splice(0)) kernel.sendControl(entry.address, datagram);
    }
    for (const { entry, picture, later, unchanged } of plans) {
      if (unchanged) {
        entry.forgetKeys();
        continue;
      }
      if (entry.trouble === undefined) this.#apply(entry, later);
      if (entry.trouble === undefined) entry.settled(picture);
      else this.#failed(entry, picture);
    }
    this.#watch();
  }

  #put(entry: PeerEntry): void {
    this.#entries.set(entry.index, entry);
    this.#byAddress.set(entry.address, entry);
  }

  #touch(entry: PeerEntry): void {
    this.#dirty.add(entry);
    this.#defer();
  }

  #defer(): void {
    if (this.#deferred) return;
    this.#deferred = true;
    this.#options.defer(() => this.flush());
  }

  #apply(entry: PeerEntry, steps: readonly Step[]): void {
    if (steps.length === 0) return;
    const { ends, kernel } = this.#options;
    for (const { reason, request } of kernel.apply(requestsFor(ends, entry, steps))) {
      // What is to be gone may have gone by itself.
      if (request.op === 'delete-sa' || request.op === 'delete-policy') continue;
      this.#refusedTo(entry, reason);
    }
  }

  #refusedTo(entry: PeerEntry, reason: string): void {
    this.#kernelRefused++;
    entry.count('kernel-refused');
    entry.trouble ??= reason;
  }

  /** Nothing passes; with the next look another entry takes its place, with other salts: of keys nothing is left here. */
  #failed(entry: PeerEntry, picture: PeerPicture): void {
    const { kernel, ends, log, memory } = this.#options;
    log.error({ peer: entry.address, reason: entry.trouble }, 'the kernel refused an SA or a policy: nothing passes');
    const steps = [...abandon(entry.installed), ...abandon(picture)];
    kernel.apply(requestsFor(ends, entry, steps));
    // Of it the kernel has policies alone, and a next agent must not go on with its salts.
    entry.settled(NO_PICTURE);
    this.#memos.delete(entry);
    memory.remove(entry.address);
  }

  #marks(): void {
    this.#unmarked = false;
    this.#options.kernel.marks(new Map([...this.#entries.values()].map(({ address, mark }) => [address, mark])));
  }

  /** Packets of other versions than these are told of. */
  #watch(): void {
    const keys = new Set<number>();
    for (const { receive } of this.#entries.values()) for (const spi of receive.keys()) keys.add(keyBits(spi));
    if (keys.size === this.#watched.size && [...keys].every((key) => this.#watched.has(key))) return;
    this.#watched = keys;
    this.#options.kernel.watch(keys);
  }

  #writeMemos(): void {
    for (const entry of this.#memos) this.#options.memory.save(entry.remembered());
    this.#memos.clear();
    this.#remember.set(undefined);
  }

  /** Who asks again and again does not put it off. */
  #lookSoon(): void {
    if (this.#soon) return;
    this.#soon = true;
    this.#look.set(this.#options.clock.now() + LOOK.waiting);
  }

  async #lookAtKernel(): Promise<void> {
    const { kernel, clock, log, ends, events } = this.#options;
    try {
      const associations = await kernel.associations();
      if (this.#closed) return;
      const now = clock.now();
      for (const sa of associations) {
        sa.key.fill(0);
        if (sa.reqid !== REQID) continue;
        const direction = sa.source === ends.local ? 'out' : 'in';
        const entry = this.#byAddress.get(direction === 'out' ? sa.destination : sa.source);
        if (!entry?.installed?.[direction === 'out' ? 'outbound' : 'inbound'].has(sa.spi)) continue;
        const { readable, forged } = entry.observe(direction, sa, now);
        for (const spi of readable) events.readable(entry.index, spi);
        for (const spi of forged) events.forged(entry.index, spi);
      }
    } catch (error) {
      log.warn({ err: error }, "the kernel's SAs can't be read");
    }
    if (this.#closed) return;
    for (const { index, trouble } of [...this.#entries.values()]) if (trouble !== undefined) events.lost?.(index);
    const now = clock.now();
    this.#soon = [...this.#entries.values()].some((entry) => entry.waitsForReadable(now));
    this.#look.set(now + (this.#soon ? LOOK.waiting : LOOK.quiet));
  }

  #entry(peer: PeerIndex): PeerEntry {
    const entry = this.#entries.get(peer);
    if (!entry) throw new Error(`no entry ${peer}`);
    return entry;
  }
}
