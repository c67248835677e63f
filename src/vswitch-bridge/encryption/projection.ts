/*
 * Encryption of the overlay between hosts (document 000): the face to the agent.
 *
 * It is an OverlayProjection: each remote host is a peer with a machine of its own (machine/), each VXLAN network a TAP of the
 * packet worker in the network's bridge. The worker goes on when the agent ends; the next agent finds its entries, and in each the
 * memo from which the peer's machine goes on.
 *
 * Invariants
 * - No machine is told "no keys" before the source of keys has said what there is: an agent that restarts while the controller is dead leaves
 *   what the worker does as it is.
 * - Octets of keys stand in the ring, and for moments in what is derived; both are zeroed.
 */
import type { Address } from '../../model/address.ts';
import { Alarm, type Clock, type Instant } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import type { OverlayChange, OverlayProjection, OverlayState } from '../../model/overlay.ts';
import { KeyFollowing } from './driver/key-following.ts';
import { NetworkFollowing, type NetworkLayout } from './driver/network-following.ts';
import { PeerDriver, type StateChange } from './driver/peer-driver.ts';
import type { EncryptionEvent, PeerView } from './driver/view.ts';
import { KeyRing } from './keys/ring.ts';
import type { KeySource } from './keys/store.ts';
import type { MachineSettings } from './machine/settings.ts';
import type { AdoptedPeer, OpenWorker, PeerIndex, Worker, WorkerEvents } from './worker-face.ts';

export interface EncryptionOptions {
  readonly settings: MachineSettings;
  /** How many versions are held, 1 to 16. */
  readonly versions: number;
  readonly source: KeySource;
  /** Underlay address of this host. */
  readonly local: Address;
  /** 8 octets that name this host, the same at every start. */
  readonly instance: Uint8Array;
  readonly random: (octets: number) => Uint8Array;
  readonly openWorker: OpenWorker;
  /** What `openWorker` opens, in messages; default: packet worker. */
  readonly backend?: string;
  readonly layout: NetworkLayout;
  readonly clock: Clock;
  readonly log: Log;
  readonly record: (event: EncryptionEvent) => void;
}

/** How often plain text is looked for; how long the alarm lasts after the last, ms. */
const LOOK = 500;
const QUIET = 10_000;
/** An agreement takes two round trips, ms. */
const SETTLED = 5000;
/** Between two attempts to have a worker, ms. */
const REOPEN = 1000;

export class Encryption implements OverlayProjection {
  readonly #options: EncryptionOptions;
  readonly #ring: KeyRing;
  readonly #keys: KeyFollowing;
  readonly #look: Alarm;
  readonly #reopen: Alarm;
  readonly #peers = new Map<Address, PeerDriver>();
  readonly #byIndex = new Map<PeerIndex, PeerDriver>();
  /** Until when the alarm of plain text lasts. */
  readonly #alarms = new Map<Address, Instant>();
  #networks: NetworkFollowing;
  #worker: Worker | undefined;
  #state: OverlayState | undefined;
  #closed = false;
  #stateChanges = 0;
  #workerFailures = 0;
  /** The last attempt to have a worker: settled, or under way. */
  #attempt: Promise<void> = Promise.resolve();
  /** To have one again: under way and waiting. */
  #attempts = 0;

  /** Rejects when no worker can be had. What the source of keys can't do now is a warning. */
  static async open(options: EncryptionOptions, state: OverlayState): Promise<Encryption> {
    const encryption = new Encryption(options);
    encryption.#state = state;
    try {
      await encryption.#keys.start();
      await encryption.#oneAtATime(() => encryption.#open());
    } catch (error) {
      await encryption.close({ keep: true });
      throw error;
    }
    return encryption;
  }

  private constructor(options: EncryptionOptions) {
    const { clock, source, record } = options;
    this.#options = options;
    this.#ring = new KeyRing(options.versions);
    this.#networks = new NetworkFollowing(options.layout, []);
    this.#keys = new KeyFollowing({
      ring: this.#ring,
      source,
      record,
      changed: () => {
        for (const peer of this.#peers.values()) peer.keys();
      },
    });
    this.#look = new Alarm(clock, () => this.#lookForPlainText());
    this.#reopen = new Alarm(clock, () => void this.#openAgain());
  }

  async apply(state: OverlayState, changes: readonly OverlayChange[]): Promise<void> {
    this.#state = state;
    if (changes.every(({ kind }) => kind !== 'network' && kind !== 'remote')) return;
    for (const change of changes) {
      // Its bridge may be another.
      if (change.kind === 'network') this.#networks.renew(change.item.vni);
    }
    if (this.#worker) await this.#follow(this.#worker, state);
  }

  view(): PeerView[] {
    return [...this.#peers.values()].map((peer) => peer.view());
  }

  counters(): Readonly<Record<string, number | Readonly<Record<string, number>>>> {
    const views = this.view();
    const total = (pick: (view: PeerView) => number) => views.reduce((sum, view) => sum + pick(view), 0);
    const merged = (pick: (view: PeerView) => Readonly<Record<string, number>>) => {
      const sums: Record<string, number> = {};
      for (const view of views) {
        for (const [name, count] of Object.entries(pick(view))) sums[name] = (sums[name] ?? 0) + count;
      }
      return sums;
    };
    const inState = (state: PeerView['state']) => views.filter((view) => view.state === state).length;
    return {
      peers: views.length,
      valid: inState('valid'),
      invalidNotify: inState('invalid-notify'),
      invalid: inState('invalid'),
      stateChanges: this.#stateChanges,
      plainTextPeers: this.#alarms.size,
      workerFailures: this.#workerFailures,
      sentEncrypted: total(({ sent }) => sent.encrypted),
      sentPlain: total(({ sent }) => sent.plain),
      receivedEncrypted: total(({ received }) => received.encrypted),
      receivedPlain: total(({ received }) => received.plain),
      held: total(({ held }) => held),
      holdDropped: total(({ holdDropped }) => holdDropped),
      controlsSent: total(({ controls }) => controls.sent),
      controlsReceived: total(({ controls }) => controls.received),
      notified: merged(({ controls }) => controls.notified),
      discarded: merged(({ controls }) => controls.discarded),
      refused: this.#refused(),
      keys: this.#keys.counters(),
    };
  }

  warnings(): string[] {
    const plain = [...this.#alarms.keys()];
    return [
      ...(plain.length > 0 ? [`in plain text: what is exchanged with ${some(plain)}`] : []),
      ...(this.#worker ? [] : [`the ${this.#backend} has ended: nothing passes until it is back`]),
      ...this.#stuck(),
      ...this.#keys.warnings(),
    ];
  }

  /** `keep`: the worker goes on for the next agent. */
  async close({ keep }: { readonly keep: boolean }): Promise<void> {
    this.#closed = true;
    this.#look.set(undefined);
    this.#reopen.set(undefined);
    this.#forgetPeers();
    this.#keys.stop();
    const worker = this.#worker;
    this.#worker = undefined;
    if (keep) worker?.detach();
    else await worker?.stop();
  }

  get #backend(): string {
    return this.#options.backend ?? 'packet worker';
  }

  /** A worker may end while it is being opened: the next is begun when nothing is left of that one. */
  #oneAtATime(run: () => Promise<void>): Promise<void> {
    const attempt = this.#attempt.then(run);
    this.#attempt = attempt.catch(() => undefined);
    return attempt;
  }

  async #open(): Promise<void> {
    let ended = false;
    const worker = await this.#options.openWorker(this.#events, () => {
      ended = true;
      this.#lost();
    });
    if (this.#closed) {
      worker.detach();
      return;
    }
    // While it was opened; the next is on its way.
    if (ended) return;
    this.#worker = worker;
    this.#networks = new NetworkFollowing(
      this.#options.layout,
      worker.networks.map(({ vni }) => vni),
    );
    const wanted = new Set(this.#remotes().keys());
    for (const adopted of worker.table.adopted) {
      if (wanted.has(adopted.address)) this.#add(worker, adopted.address, adopted);
      else worker.table.remove(adopted.peer);
    }
    this.#look.set(this.#options.clock.now() + LOOK);
    if (this.#state) await this.#follow(worker, this.#state);
  }

  #lost(): void {
    if (this.#closed) return;
    this.#workerFailures++;
    this.#worker = undefined;
    this.#forgetPeers();
    this.#options.record({
      type: 'encryption.worker',
      severity: 'error',
      message: `the ${this.#backend} has ended`,
      fields: {},
    });
    this.#reopen.set(this.#options.clock.now());
  }

  async #openAgain(): Promise<void> {
    this.#attempts++;
    try {
      await this.#oneAtATime(async () => {
        if (this.#closed) return;
        // It may run, and not have taken all that it was told: another connection would be one too many.
        if (this.#worker && this.#state) await this.#follow(this.#worker, this.#state);
        else await this.#open();
      });
      if (!this.#worker) return;
      this.#options.record({
        type: 'encryption.worker',
        severity: 'info',
        message: `a ${this.#backend} runs again`,
        fields: {},
      });
    } catch (error) {
      this.#options.log.error(
        { err: error },
        `the ${this.#backend} can not be started, or does not take what it is told`,
      );
      // One that was asked for meanwhile is the next.
      if (!this.#closed && this.#attempts === 1) this.#reopen.set(this.#options.clock.now() + REOPEN);
    } finally {
      this.#attempts--;
    }
  }

  #forgetPeers(): void {
    for (const peer of this.#peers.values()) peer.close(false);
    this.#peers.clear();
    this.#byIndex.clear();
    this.#alarms.clear();
  }

  /** VNIs by host. */
  #remotes(): Map<Address, Set<number>> {
    const hosts = new Map<Address, Set<number>>();
    for (const { host, network } of this.#state?.remotes.values() ?? []) {
      const found = this.#state?.networks.get(network);
      if (found?.encapsulation !== 'vxlan') continue;
      const networks = hosts.get(host) ?? new Set();
      hosts.set(host, networks.add(found.vni));
    }
    return hosts;
  }

  async #follow(worker: Worker, state: OverlayState): Promise<void> {
    const hosts = this.#remotes();
    for (const [address, peer] of this.#peers) {
      if (hosts.has(address)) continue;
      this.#peers.delete(address);
      this.#alarms.delete(address);
      this.#forget(peer);
    }
    for (const address of hosts.keys()) if (!this.#peers.has(address)) this.#add(worker, address);
    await this.#networks.follow(worker, state, hosts);
  }

  #add(worker: Worker, address: Address, adopted?: AdoptedPeer): void {
    const { settings, instance, random, local, clock } = this.#options;
    const index = adopted?.peer ?? worker.table.add(address);
    const peer = new PeerDriver({
      address,
      local,
      settings,
      instance,
      random,
      memo: adopted?.memo,
      installed: adopted?.receive ?? [],
      table: worker.table,
      index,
      ring: this.#ring,
      clock,
      changed: (change) => this.#changed(address, change),
      renew: () => this.#renew(worker, address),
    });
    this.#peers.set(address, peer);
    this.#byIndex.set(index, peer);
    if (this.#keys.listed || !adopted) peer.keys();
  }

  #forget(peer: PeerDriver): void {
    this.#byIndex.delete(peer.index);
    peer.close(true);
  }

  #renew(worker: Worker, address: Address): void {
    const peer = this.#peers.get(address);
    if (peer) this.#forget(peer);
    this.#add(worker, address);
    this.#networks.join(worker, address);
  }

  #changed(address: Address, { from, to, event, reason, unauthenticated }: StateChange): void {
    this.#stateChanges++;
    this.#options.record({
      type: 'encryption.state',
      severity: to === 'valid' ? 'info' : 'warning',
      message: `${address}: ${to}: ${reason}`,
      fields: { peer: address, from, to, event, unauthenticated },
    });
  }

  /** The alarm is raised by the first packet, and given up when there has been none for a while. */
  #lookForPlainText(): void {
    const { clock, record } = this.#options;
    const now = clock.now();
    this.#look.set(now + LOOK);
    for (const [peer, driver] of this.#peers) {
      const until = this.#alarms.get(peer);
      const fields = { peer };
      if (driver.plainTravelled()) {
        this.#alarms.set(peer, now + QUIET);
        if (until !== undefined) continue;
        const message = `packets are exchanged with ${peer} in plain text`;
        record({ type: 'encryption.plain', severity: 'error', message, fields });
      } else if (until !== undefined && until <= now) {
        this.#alarms.delete(peer);
        const message = `nothing is exchanged with ${peer} in plain text any more`;
        record({ type: 'encryption.plain', severity: 'info', message, fields });
      }
    }
  }

  /** Peers to which nothing may be sent for longer than an agreement takes. */
  #stuck(): string[] {
    const held = this.view().filter(({ sending, age }) => sending === 'hold' && age > SETTLED);
    const unheard = held.filter(({ state }) => state === 'valid').map(({ address }) => address);
    const apart = held.filter(({ state }) => state !== 'valid').map(({ address }) => address);
    return [
      ...(unheard.length > 0 ? [`nothing passes: no hello is answered by ${some(unheard)}`] : []),
      ...(apart.length > 0 ? [`nothing passes: other keys than ours are held by ${some(apart)}`] : []),
    ];
  }

  #refused(): Readonly<Record<string, number>> {
    const refused = this.#worker?.table.refused() ?? {};
    return Object.fromEntries(Object.entries(refused).map(([reason, count]) => [reason, Number(count)]));
  }

  readonly #events: WorkerEvents = {
    unreadable: (peer, spi) => this.#byIndex.get(peer)?.unreadable(spi),
    readable: (peer, spi) => this.#byIndex.get(peer)?.readable(spi),
    forged: (peer) => this.#byIndex.get(peer)?.forged(),
    plain: (peer, indication) => this.#byIndex.get(peer)?.plain(indication),
    held: (peer) => this.#byIndex.get(peer)?.held(),
    control: (peer, datagram) => this.#byIndex.get(peer)?.control(datagram),
    lost: (peer) => {
      const address = this.#byIndex.get(peer)?.address;
      if (this.#worker && address !== undefined) this.#renew(this.#worker, address);
    },
  };
}

const some = (addresses: readonly Address[]): string =>
  addresses.length > 5 ? `${addresses.slice(0, 5).join(', ')} and ${addresses.length - 5} more` : addresses.join(', ');
