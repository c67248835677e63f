/*
 * BFD beside the routing sessions (RFC 5882): with whom, and what falls with it.
 *
 * - A session that falls is a failure of the way to the neighbour: the verdict `bfd` of its uplink turns, so that hosts are
 *   withdrawn and ports shut by the group, and then the OSPF neighbour and the BGP session over it end at once (§4.1).
 * - One that was never Up, or that the neighbour has switched off, says nothing: routing goes on as without BFD, and the
 *   verdict holds. A neighbour that does not speak BFD must not shut ports.
 * - BGP says by its configuration with whom, OSPF by its hellos. Hellos end with the neighbour, but the session that saw it
 *   die is kept: it is the one that sees it come back, and until then the uplink is dead.
 */
import { type BfdPeer, type BfdSockets, BfdSpeaker, type SessionChange, type SessionView } from '../../bfd/index.ts';
import type { CommonConfig } from '../../config/index.ts';
import type { Address } from '../../model/address.ts';
import type { Clock, Instant, Timer } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import { isUp, type LinkState, onLink, type PortChange } from '../../model/ports.ts';
import type { BfdSessionView } from '../api.ts';
import { datedView } from '../control/sessions.ts';
import type { EventLog, WallClock } from '../events.ts';
import type { MemoryStore } from '../memory-store.ts';
import type { Readiness, Speakers } from '../speakers.ts';
import { BfdStore } from './store.ts';

/** Sessions on one interface that are kept although OSPF has given the neighbour up. */
const MOST_KEPT = 8;
/** After its start the agent needs this long (ms) to be Up again with whom it was before: until then that is no silence. */
const BACK_AGAIN = 3_000;
/** A neighbour that has not spoken BFD for so long (ms) after it was first looked for is worth a warning. */
const WORTH_A_WARNING = 10_000;

export interface BfdOptions {
  readonly config: () => Pick<CommonConfig, 'bfd' | 'bgp' | 'ospf'>;
  readonly speakers: Speakers;
  readonly links: LinkState;
  readonly clock: Clock;
  readonly wall: WallClock;
  readonly log: Log;
  readonly events: EventLog;
  readonly store: MemoryStore;
  /** UDP when absent. */
  readonly sockets?: BfdSockets | undefined;
  readonly random?: (() => number) | undefined;
  /** Whose routing session on the port a reload has just reset, in words: gateways end BFD with it (FRR). */
  resetOn(port: string): string | undefined;
  /** Verdicts on uplinks may have changed: ask for them. */
  onVerdict(): void;
  /** `fall` ends what stands on the way to a neighbour; after the verdicts. */
  onFailure(cause: string, port: string | undefined, at: Instant, fall: () => void): void;
  /** The neighbour on this interface is back after a failure. */
  onReturn(port: string, at: Instant): void;
}

export class Bfd {
  readonly #options: BfdOptions;
  readonly #speaker: BfdSpeaker;
  readonly #store: BfdStore;
  /** Where each BGP neighbour was last: its address may go with the link. */
  readonly #places = new Map<Address, string>();
  /** Sessions that failed and are not back. */
  readonly #failed = new Set<string>();
  #earlier: readonly BfdPeer[] | undefined;
  #asked = '';
  #running = false;
  #settling: Timer | undefined;

  constructor(options: BfdOptions) {
    const { clock, log, links, sockets, random, store } = options;
    this.#options = options;
    this.#store = new BfdStore({ store, clock, log });
    this.#speaker = new BfdSpeaker({
      ...{ clock, log, links, sockets, random },
      store: this.#store,
      onChange: (change) => this.#changed(change),
    });
  }

  start(): void {
    this.#running = true;
    const { clock } = this.#options;
    this.#settling = clock.schedule(clock.now() + BACK_AGAIN, () => {
      this.#settling = undefined;
      this.#options.onVerdict();
    });
    this.refresh();
  }

  /** The configuration, neighbours or addresses may have changed. */
  refresh(): void {
    if (!this.#running) return;
    const { interval, multiplier } = this.#options.config().bfd;
    const peers = this.#peers();
    const asked = JSON.stringify([peers, interval, multiplier]);
    if (asked === this.#asked) return;
    this.#asked = asked;
    this.#speaker.configure({ peers, interval, multiplier });
    this.#options.onVerdict();
  }

  portChanged(change: PortChange): void {
    if (!this.#running) return;
    this.#speaker.linkChanged(change);
    this.refresh();
    if (isUp(change.before) !== isUp(change.after)) this.#options.onVerdict();
  }

  /** Of `upWhen: [bfd]`: one living neighbour is enough, and not to know is no reason to act. */
  readiness(port: string): Readiness {
    const { links } = this.#options;
    const local = links.port(port);
    if (!isUp(local)) return { ready: false, reason: 'the port is down' };
    const places = [port, local && links.portByIndex(local.master)?.name];
    const here = this.#speaker.sessions().filter((session) => places.includes(session.interface));
    const living = here.find(({ state }) => state === 'Up');
    if (living) return { ready: true, reason: `BFD with ${living.peer} is Up` };
    const dead = here.filter(({ seenUp, failures }) => seenUp && (failures > 0 || !this.#settling));
    const reset = this.#options.resetOn(port);
    if (dead.length > 0 && reset !== undefined) return { ready: true, reason: `${reset} was reset by a reload` };
    if (dead.length > 0) {
      const reason = dead.map(({ peer, state, reason: why }) => `BFD with ${peer} is ${state}${why && `: ${why}`}`);
      return { ready: false, reason: reason.join(', ') };
    }
    const [first] = here;
    if (!first) return { ready: true, reason: 'not judged: no neighbour with BFD is known' };
    const why = first.switchedOff
      ? 'has switched BFD off'
      : first.seenUp
        ? 'was Up before the agent was started'
        : 'was never Up';
    return { ready: true, reason: `not judged: ${first.peer} ${why}` };
  }

  sessions(): SessionView[] {
    return this.#speaker.sessions();
  }

  views(): BfdSessionView[] {
    return this.sessions().map((session) => ({
      ...datedView(session, this.#options.wall),
      clients: this.#clients(session.peer, session.interface),
    }));
  }

  warnings(): string[] {
    const { clock, links } = this.#options;
    const now = clock.now();
    return this.sessions()
      .filter(({ interface: name }) => name === undefined || isUp(links.port(name)))
      .filter(({ seenUp, state, switchedOff, since }) => {
        return !seenUp && state !== 'Up' && !switchedOff && now - since > WORTH_A_WARNING;
      })
      .map(({ peer, reason }) => `BFD with ${peer} was never Up: ${reason || 'is it switched on there?'}`);
  }

  counters(): Record<string, number> {
    return this.#speaker.counters();
  }

  /** From here on what happens to sessions is the agent's own doing, and nothing follows from it. */
  leaving(): void {
    this.#running = false;
    this.#settling?.cancel();
  }

  stop(): void {
    this.leaving();
    this.#speaker.stop();
    this.#store.flush();
  }

  async pause(): Promise<void> {
    await this.#speaker.pause();
    this.#store.flush();
  }

  // ---- with whom

  #peers(): BfdPeer[] {
    const { ospf, bgp } = this.#options.config();
    const peers = new Map<string, BfdPeer>();
    const add = (peer: BfdPeer): void => {
      const id = `${peer.address}%${peer.interface ?? ''}`;
      peers.set(id, { ...peers.get(id), ...peer });
    };
    for (const peer of this.#ospfPeers(new Set(ospf?.interfaces.filter(({ bfd }) => bfd).map(({ name }) => name)))) {
      add(peer);
    }
    for (const { address, bfd, multihop, localAddress } of bgp?.neighbors ?? []) {
      if (!bfd) continue;
      const place = multihop ? undefined : this.#placeOf(address);
      if (multihop || place !== undefined) add({ address, interface: place, ...(localAddress && { localAddress }) });
    }
    return [...peers.values()];
  }

  #ospfPeers(interfaces: ReadonlySet<string>): BfdPeer[] {
    if (interfaces.size === 0) return [];
    const named = (this.#options.speakers.ospf?.neighbors() ?? [])
      .filter(({ interface: name, state }) => interfaces.has(name) && state !== 'Down' && state !== 'Init')
      .map(({ interface: name, address }) => ({ interface: name, address }));
    const sessions = this.sessions();
    const living = new Set(
      named
        .filter((peer) => sessions.some((each) => each.state === 'Up' && each.peer === peer.address))
        .map((peer) => peer.interface),
    );
    const seen = sessions
      .filter(({ seenUp }) => seenUp)
      .map((each) => ({ interface: each.interface, address: each.peer }));
    const kept = [...seen, ...this.#fromEarlier()].filter(
      ({ interface: name, address }) =>
        name !== undefined &&
        interfaces.has(name) &&
        !living.has(name) &&
        !named.some((peer) => peer.interface === name && peer.address === address),
    );
    return [...named, ...kept.slice(0, MOST_KEPT)];
  }

  /** Sessions of an earlier life, until there are some of this one. */
  #fromEarlier(): readonly BfdPeer[] {
    if (this.#earlier === undefined) {
      this.#earlier = [];
      try {
        this.#earlier = this.#store.load().map(({ peer, interface: name }) => ({ address: peer, interface: name }));
      } catch (error) {
        this.#options.log.warn({ err: error }, 'BFD sessions of an earlier run can not be read; they begin anew');
      }
      return this.#earlier;
    }
    return [];
  }

  /** The interface in whose subnet it is. */
  #placeOf(neighbor: Address): string | undefined {
    for (const port of this.#options.links.ports()) {
      if (!onLink(port, neighbor)) continue;
      this.#places.set(neighbor, port.name);
      return port.name;
    }
    return this.#places.get(neighbor);
  }

  #clients(peer: Address, place: string | undefined): BfdSessionView['clients'] {
    const { ospf, bgp } = this.#options.config();
    const byOspf = ospf?.interfaces.some(({ name, bfd }) => bfd && name === place);
    const byBgp = bgp?.neighbors.some(({ address, bfd }) => bfd && address === peer);
    return [...(byOspf ? (['ospf'] as const) : []), ...(byBgp ? (['bgp'] as const) : [])];
  }

  // ---- what falls with it

  #changed(change: SessionChange): void {
    const { events, onVerdict, onFailure, onReturn } = this.#options;
    const { peer, interface: place, from, to, reason, failure, at } = change;
    const id = `${peer}%${place ?? ''}`;
    const where = place === undefined ? peer : `${peer} on ${place}`;
    if (from === 'Up' || to === 'Up') {
      events.record({
        type: to === 'Up' ? 'bfd.up' : 'bfd.down',
        severity: failure ? 'warning' : 'info',
        message: `BFD with ${where}: ${from} -> ${to} (${reason})`,
        at,
        fields: { peer, ...(place === undefined ? {} : { interface: place }), from, to, reason, failure },
      });
    }
    if (!this.#running || to === 'AdminDown') return;
    if (failure) {
      this.#failed.add(id);
      onFailure(`BFD with ${where}: ${reason}`, place, at, () => this.#fall(peer, place));
      return;
    }
    onVerdict();
    if (to === 'Up' && this.#failed.delete(id) && place !== undefined) onReturn(place, at);
  }

  #fall(peer: Address, place: string | undefined): void {
    const { ospf, bgp } = this.#options.speakers;
    const clients = this.#clients(peer, place);
    if (clients.includes('bgp')) bgp?.neighborFailed(peer, 'BFD is down');
    if (clients.includes('ospf')) ospf?.neighborDown(peer, 'bfd');
  }
}
