/**
 * Tunnel neighbours that are never missing: the face to the agent.
 *
 * ```ts
 * const neighbours = await TunnelNeighbours.open({ clock, log, source, proactive: true, poll: 5_000, hold: {...}, ovs });
 * neighbours.addSink(fastPathSink);          // before the kernel's table, in the turn of the event
 * await neighbours.apply(state, changes);    // it is an OverlayProjection: remotes are tunnels
 * neighbours.view(); neighbours.counters();  // `peerless host neighbours`
 * await neighbours.close();
 * ```
 *
 * Tunnels come from three places and are counted by name, so one that several know of is one: the overlay's remotes, the
 * kernel's own devices and forwarding databases (whoever made them), and Open vSwitch's. Mechanism 1 (`proactive`) and
 * mechanism 2 (`hold.enabled`) are switched off each alone; with both off the table follows and shows.
 */
import { AF, type Change, type Link, NUD, NUD_VALID, neighbourKey, Rtnetlink, Subscription } from 'rtnetlink-ts';
import { type Address, parseAddress, parseMac } from '../../model/address.ts';
import { Alarm, type Clock } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import type { OverlayChange, OverlayProjection, OverlayState } from '../../model/overlay.ts';
import { followEncapsulations } from './driver/encapsulations.ts';
import { KernelSink } from './driver/kernel-sink.ts';
import { hasNoNeighbours, movedBy, usable } from './driver/moves.ts';
import { Questions } from './driver/questions.ts';
import { Seldom } from './driver/seldom.ts';
import type { NeighbourSink } from './driver/sink.ts';
import { followKernelTunnels } from './driver/tunnels.ts';
import { Ways } from './driver/ways.ts';
import { Holder } from './hold/holder.ts';
import { TransportTable } from './machine/transport.ts';
import type { NeighbourChange, NeighbourView, TransportEffect, TransportEvent } from './machine/types.ts';
import { OvsNeighbours } from './ovs/index.ts';

export type { NeighbourSink } from './driver/sink.ts';
export { DOOR } from './hold/door.ts';
export type { NeighbourChange, NeighbourState, Resolution } from './machine/types.ts';

export { findOvsLeftovers, type OvsLeftovers, removeOvsLeftovers } from './ovs/leftovers.ts';

export interface TunnelNeighboursOptions {
  readonly netns?: string;
  readonly clock: Clock;
  readonly log: Log;
  /** The tunnels' own address in the underlay. */
  readonly source?: Address;
  readonly proactive: boolean;
  /** ms */
  readonly poll: number;
  readonly hold: {
    readonly enabled: boolean;
    /** ms */
    readonly lifetime: number;
    readonly perNeighbour: number;
    readonly total: number;
  };
  /** The database's socket; unixctl and OpenFlow sockets are looked for in its directory. */
  readonly ovs?: { readonly socket: string };
}

export interface TunnelNeighbourView extends NeighbourView {
  readonly interface: string;
  /** Packets that wait for it now. */
  readonly held: number;
}

export class TunnelNeighbours implements OverlayProjection {
  readonly #options: TunnelNeighboursOptions;
  readonly #clock: Clock;
  readonly #seldom: Seldom;
  readonly #table: TransportTable;
  readonly #subscription: Subscription;
  readonly #rtnetlink: Rtnetlink;
  readonly #questions: Questions;
  readonly #ways: Ways;
  readonly #kernel: KernelSink;
  readonly #alarm: Alarm;
  readonly #sinks: NeighbourSink[] = [];
  readonly #sources = new Map<string, Address>();
  /** Remotes that are reached through an interface without MACs. */
  readonly #direct = new Set<Address>();
  /** Of each neighbour, which difference was the last: an older one that waited is not written over it. */
  readonly #latest = new Map<string, NeighbourChange>();
  readonly #count = { changes: 0, sinkFailures: 0 };
  #holder: Holder | undefined;
  #ovs: OvsNeighbours | undefined;
  #closed = false;

  /** @throws SystemCallError without the rights; what of holding or Open vSwitch can't be had is logged, and shown. */
  static async open(options: TunnelNeighboursOptions): Promise<TunnelNeighbours> {
    const { netns, clock, log } = options;
    const subscription = await Subscription.open({
      netns,
      kinds: ['link', 'address', 'neighbour', 'fdb', 'route', 'rule', 'nexthop'],
      now: () => clock.now(),
      onError: (error) => log.warn({ error }, 'tunnel neighbours: the kernel has to be read again'),
    });
    const neighbours = new TunnelNeighbours(options, subscription);
    try {
      await neighbours.#start();
    } catch (error) {
      await neighbours.close();
      throw error;
    }
    return neighbours;
  }

  private constructor(options: TunnelNeighboursOptions, subscription: Subscription) {
    this.#options = options;
    this.#clock = options.clock;
    this.#seldom = new Seldom(options.log, options.clock);
    this.#table = new TransportTable({ proactive: options.proactive, poll: options.poll });
    this.#subscription = subscription;
    this.#rtnetlink = Rtnetlink.open({ netns: options.netns });
    this.#alarm = new Alarm(options.clock, () => this.#play({ kind: 'time' }));
    this.#questions = new Questions({
      netns: options.netns,
      onAnswer: (answer) => this.#play({ kind: 'heard', ...answer }),
    });
    this.#kernel = new KernelSink({
      rtnetlink: this.#rtnetlink,
      permanent: (ifindex, address) => this.#isPermanent(ifindex, address),
      onRefusal: (code) => this.#seldom.warn({ code }, 'the kernel refused a tunnel neighbour'),
    });
    // Links before routes: a header that went stale is dropped before its route is looked at.
    subscription.onChange((change) => this.#changed(change));
    this.#ways = new Ways({
      subscription,
      rtnetlink: this.#rtnetlink,
      source: options.source,
      remotes: () => this.#table.remotes,
      onWay: (remote, found) => {
        const direct = found !== undefined && hasNoNeighbours(this.#link(found.ifindex));
        if (direct) this.#direct.add(remote);
        else this.#direct.delete(remote);
        const way = direct ? undefined : found;
        if (way) this.#open(way.ifindex);
        if (way?.source) this.#sources.set(neighbourKey(way.ifindex, way.address), way.source);
        this.#play({ kind: 'route', remote, hop: way });
        if (way) this.#seed(way.ifindex, way.address);
        this.#ovs?.review();
      },
    });
  }

  /** Told of each difference before the kernel's table is, in the order of adding. */
  addSink(sink: NeighbourSink): void {
    this.#sinks.push(sink);
  }

  async apply(state: OverlayState, changes: readonly OverlayChange[]): Promise<void> {
    for (const change of changes) {
      if (change.kind !== 'remote') continue;
      const { network, host } = change.item;
      const there = state.remotes.has(`${network}/${host}`);
      this.#tunnel(`overlay ${network}/${host}`, there ? host : undefined);
    }
  }

  /** For what is seen elsewhere first (a team's driver): all that is behind the interface is resolved anew, now. */
  underlayChanged(ifindex: number): void {
    const link = this.#subscription.table('link').get(String(ifindex));
    this.#play({ kind: 'link', ifindex, up: link === undefined || usable(link) });
  }

  view(): readonly TunnelNeighbourView[] {
    const waiting = this.#holder?.waiting() ?? new Map<Address, number>();
    const ovs = this.#ovs?.waiting() ?? new Map<Address, number>();
    return this.#table.view(this.#clock.now()).map((neighbour) => ({
      ...neighbour,
      interface: this.#link(neighbour.ifindex)?.name ?? `#${neighbour.ifindex}`,
      held:
        neighbour.remotes.reduce((sum, remote) => sum + (waiting.get(remote) ?? 0), 0) +
        (ovs.get(neighbour.address) ?? 0),
    }));
  }

  /** Remote addresses of tunnels to which no route leads. */
  unroutable(): readonly Address[] {
    return this.#table.unroutable().filter((remote) => !this.#direct.has(remote));
  }

  /** By part: `hold`, `ovs` and `ovsHold` are absent where that part is off. */
  counters(): Readonly<Record<string, Readonly<Record<string, number>>>> {
    return {
      table: this.#count,
      questions: this.#questions.counters(),
      kernel: this.#kernel.counters(),
      ...(this.#holder ? { hold: { ...this.#holder.counters() } } : {}),
      ...(this.#ovs ? this.#ovs.counters() : {}),
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#alarm.set(undefined);
    this.#ways.close();
    this.#subscription.close();
    this.#questions.closeAll();
    try {
      await this.#ovs?.close();
      await this.#holder?.close();
    } finally {
      this.#rtnetlink.close();
    }
  }

  async #start(): Promise<void> {
    const { hold, ovs, netns, log } = this.#options;
    if (hold.enabled) await this.#startHolding();
    followKernelTunnels(this.#subscription, {
      device: (device) => this.#holder?.addDevice(device),
      deviceGone: (ifindex) => this.#holder?.removeDevice(ifindex),
      address: (ifindex, mac, remote) => this.#holder?.setAddress(ifindex, mac, remote),
      flood: (ifindex, remotes) => this.#holder?.setFlood(ifindex, remotes),
      remote: (device, remote, present) => {
        this.#tunnel(`${device.kind} ${device.name} ${remote}`, present ? remote : undefined);
      },
    });
    followEncapsulations(this.#subscription, (tunnel, remote) => this.#tunnel(tunnel, remote));
    if (!ovs) return;
    this.#ovs = new OvsNeighbours({
      socket: ovs.socket,
      netns,
      clock: this.#clock,
      log,
      rtnetlink: this.#rtnetlink,
      hold: hold.enabled ? hold : undefined,
      onTunnel: (tunnel, remote) => this.#tunnel(tunnel, remote),
      onDemand: (address, ifindex) => {
        const remote = this.#table.remoteVia({ address, ifindex });
        if (remote) this.#play({ kind: 'demand', remote });
      },
      onAnswer: (answer) => this.#play({ kind: 'heard', ...answer }),
      linkOf: (which) => (typeof which === 'number' ? this.#link(which) : this.#linkNamed(which)),
      hopOf: (remote) => this.#table.neighbourOf(remote),
    });
    this.#sinks.push(this.#ovs);
    await this.#ovs.start();
  }

  async #startHolding(): Promise<void> {
    try {
      this.#holder = await Holder.open({
        ...this.#options.hold,
        rtnetlink: this.#rtnetlink,
        netns: this.#options.netns,
        clock: this.#clock,
        onDemand: (remote) => this.#play({ kind: 'demand', remote }),
        neighbourOf: (remote) => this.#table.neighbourOf(remote)?.address ?? remote,
        resolved: (remote) => {
          const neighbour = this.#table.neighbourOf(remote);
          return neighbour === undefined || neighbour.mac !== undefined;
        },
        pending: (remote) => this.#table.pending(remote),
        onProblem: (problem, fields) => this.#options.log.warn(fields, problem),
      });
    } catch (error) {
      this.#options.log.warn(
        { error },
        "first packets can't be held on this machine; neighbours are kept all the same",
      );
    }
  }

  #tunnel(tunnel: string, remote: Address | undefined): void {
    const before = this.#table.remoteOf(tunnel);
    this.#play(remote ? { kind: 'tunnel-added', tunnel, remote } : { kind: 'tunnel-removed', tunnel });
    if (remote && remote !== before) this.#holder?.setRemote(remote, true);
    if (!before || this.#table.has(before)) return;
    this.#direct.delete(before);
    this.#holder?.setRemote(before, false);
  }

  #play(event: TransportEvent): void {
    if (this.#closed) return;
    const effects = this.#table.handle(event, this.#clock.now());
    // Of what is heard on the wire most concerns nobody here.
    if (effects.length === 0 && (event.kind === 'kernel' || event.kind === 'demand')) return;
    if (effects.length === 0 && event.kind === 'heard' && !event.weak) return;
    for (const effect of effects) this.#do(effect);
    this.#holder?.reviewFloods();
    if (!this.#closed) this.#alarm.set(this.#table.nextDeadline());
  }

  #do(effect: TransportEffect): void {
    switch (effect.kind) {
      case 'route':
        this.#ways.lookAt(effect.remote);
        break;
      case 'ask': {
        const source = this.#sources.get(neighbourKey(effect.ifindex, effect.address));
        this.#questions.ask(effect.ifindex, effect.address, effect.mac, source);
        break;
      }
      case 'changed':
        this.#spread(effect.change);
        break;
    }
  }

  /** The vswitch's tables first, then the kernel's, then what waited for it. */
  #spread(change: NeighbourChange): void {
    this.#count.changes++;
    const key = neighbourKey(change.to.ifindex, change.to.address);
    this.#latest.set(key, change);
    const waits: Promise<void>[] = [];
    for (const sink of this.#sinks) {
      try {
        const done = sink.apply(change);
        if (done) waits.push(done.catch((error: unknown) => this.#sinkFailed(sink, error)));
      } catch (error) {
        this.#sinkFailed(sink, error);
      }
    }
    // What must not be used any more is taken from all of them in this turn.
    if (waits.length === 0 || change.op === 'removed') this.#toKernel(change);
    else {
      void Promise.all(waits).then(() => {
        if (!this.#closed && this.#latest.get(key) === change) this.#toKernel(change);
      });
    }
    if (change.op === 'removed' && change.why === 'unused') this.#latest.delete(key);
  }

  #toKernel(change: NeighbourChange): void {
    this.#kernel.apply(change);
    if (change.op === 'set') this.#holder?.changed(change.to.remotes);
  }

  #sinkFailed(sink: NeighbourSink, error: unknown): void {
    this.#count.sinkFailures++;
    this.#seldom.warn({ sink: sink.name, error }, `a table of tunnel neighbours was not written: ${sink.name}`);
  }

  #changed(change: Change): void {
    if (change.kind === 'link') {
      if (change.after) this.#linkChanged(change.before, change.after);
      else if (change.before) {
        this.#questions.close(change.before.ifindex);
        this.#holder?.linkGone(change.before.ifindex);
      }
    } else if (change.kind === 'neighbour') {
      const entry = (change.after ?? change.before)!;
      if (entry.family !== AF.INET && entry.family !== AF.INET6) return;
      const valid = ((change.after?.state ?? 0) & NUD_VALID) !== 0;
      const was = ((change.before?.state ?? 0) & NUD_VALID) !== 0;
      // What the kernel never had, it can't lose.
      if (!valid && !was) return;
      const address = parseAddress(entry.destination ?? '');
      const mac = valid ? parseMac(change.after?.linkAddress ?? '') : undefined;
      if (address) this.#play({ kind: 'kernel', ifindex: entry.ifindex, address, mac });
    }
  }

  #linkChanged(before: Link | undefined, after: Link): void {
    if (before && this.#questions.has(after.ifindex) && before.address !== after.address) this.#open(after.ifindex);
    const bridge = this.#ovs?.bridgeOf(after.name);
    const switched = bridge === undefined ? undefined : this.#linkNamed(bridge)?.ifindex;
    for (const ifindex of movedBy(before, after, this.#table.interfaces(), switched)) this.underlayChanged(ifindex);
  }

  #open(ifindex: number): void {
    const link = this.#link(ifindex);
    const mac = parseMac(link?.address ?? '');
    if (!link || !mac) return;
    try {
      this.#questions.open(ifindex, link.name, mac);
    } catch (error) {
      this.#options.log.warn(
        { interface: link.name, error },
        'neighbours on an interface of the underlay are not heard',
      );
    }
  }

  /** What the kernel knows of a next hop already. */
  #seed(ifindex: number, address: Address): void {
    const entry = this.#subscription.table('neighbour').get(neighbourKey(ifindex, address));
    const mac = entry && entry.state & NUD_VALID ? parseMac(entry.linkAddress ?? '') : undefined;
    if (mac) this.#play({ kind: 'kernel', ifindex, address, mac });
  }

  #isPermanent(ifindex: number, address: Address): boolean {
    const entry = this.#subscription.table('neighbour').get(neighbourKey(ifindex, address));
    return entry !== undefined && (entry.state & (NUD.PERMANENT | NUD.NOARP)) !== 0;
  }

  #link(ifindex: number): Link | undefined {
    return this.#subscription.table('link').get(String(ifindex));
  }

  #linkNamed(name: string): Link | undefined {
    for (const link of this.#subscription.table('link').values()) if (link.name === name) return link;
    return undefined;
  }
}
