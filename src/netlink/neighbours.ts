/** The kernel's neighbour tables: who answers to which address on which interface (R4.1). */
import {
  type Neighbour,
  NTF,
  NUD,
  NUD_VALID,
  neighbourKey,
  RTN,
  type Rtnetlink,
  requests,
  type Subscription,
} from 'rtnetlink-ts';
import { type Address, type Mac, parseAddress, parseMac } from '../model/address.ts';
import type { Clock, Instant } from '../model/clock.ts';
import { type Counters, sendPaced } from './installing.ts';
import { Listeners } from './listeners.ts';

/** Deletions in one turn: weeding goes on beside a flood, when there is most to do for everybody else. */
const WEEDED_PER_TURN = 100;

export interface NeighbourEvent {
  readonly ifindex: number;
  readonly address: Address;
  /** undefined while unresolved. */
  readonly mac: Mac | undefined;
  /** NUD_* bits, see `NUD` of rtnetlink-ts. */
  readonly state: number;
  /** REACHABLE, STALE, DELAY, PROBE, PERMANENT or NOARP: the kernel would send with `mac`. */
  readonly usable: boolean;
  /**
   * The entry was written by us (HostRouteInstaller) in the first place. The kernel goes on checking it, so its later
   * changes of state and MAC are news as from any other entry.
   */
  readonly own: boolean;
  readonly deleted: boolean;
  /** When the kernel's message reached our socket. */
  readonly at: Instant;
}

export class Neighbours {
  readonly #subscription: Subscription;
  readonly #rtnetlink: Rtnetlink;
  readonly #clock: Clock;
  readonly #listeners = new Listeners<NeighbourEvent>();
  readonly #ownProtocols = new Set<number>();
  readonly #refusals: Counters = {};

  constructor(subscription: Subscription, rtnetlink: Rtnetlink, clock: Clock) {
    this.#subscription = subscription;
    this.#rtnetlink = rtnetlink;
    this.#clock = clock;
    subscription.onChange((change) => {
      if (change.kind !== 'neighbour' || !this.#listeners.wanted) return;
      const event = this.#event((change.after ?? change.before)!, change.after === undefined, change.at);
      if (event) this.#listeners.tell(event);
    });
  }

  /** From the mirror, no system call. */
  *all(ifindex?: number): Iterable<NeighbourEvent> {
    const at = this.#clock.now();
    for (const neighbour of this.#subscription.table('neighbour').values()) {
      if (ifindex !== undefined && neighbour.ifindex !== ifindex) continue;
      const event = this.#event(neighbour, false, at);
      if (event) yield event;
    }
  }

  get(ifindex: number, address: Address): NeighbourEvent | undefined {
    const neighbour = this.#subscription.table('neighbour').get(neighbourKey(ifindex, address));
    return neighbour && this.#event(neighbour, false, this.#clock.now());
  }

  /** A fresh dump, filtered by the kernel to one interface. */
  async read(ifindex: number): Promise<NeighbourEvent[]> {
    const neighbours = await this.#rtnetlink.dumpNeighbours({ ifindex });
    const at = this.#clock.now();
    return neighbours.flatMap((neighbour) => this.#event(neighbour, false, at) ?? []);
  }

  /**
   * Deletes the entries of an interface that somebody's mere word made: not what anybody wrote (permanent ones, those
   * with NTF_EXT_LEARNED or a protocol), nor what the kernel itself asks for or has given up. The kernel is asked which
   * there are, since in a flood our own picture may have lost notifications.
   *
   * @param isStranger asked just before the deletion, and in its turn
   * @returns how many were deleted; rejects with NetlinkError when the entries could not be read
   */
  async weed(ifindex: number, isStranger: (address: Address, mac: Mac) => boolean): Promise<number> {
    const heard = (await this.#rtnetlink.dumpNeighbours({ ifindex })).filter(isHearsay);
    let sent = 0;
    const failed = await sendPaced(
      this.#rtnetlink,
      heard,
      ({ family, destination = '', linkAddress = '' }) => {
        const address = parseAddress(destination);
        const mac = parseMac(linkAddress);
        if (!address || !mac || !isStranger(address, mac)) return [];
        sent++;
        return [requests.deleteNeighbour({ family, ifindex, destination })];
      },
      this.#refusals,
      WEEDED_PER_TURN,
    );
    return sent - failed;
  }

  /** Deletions that the kernel refused, by `RTM_* CODE`: ENOENT when it was first. */
  get refusals(): Readonly<Record<string, number>> {
    return this.#refusals;
  }

  onNeighbour(listener: (event: NeighbourEvent) => void): () => void {
    return this.#listeners.add(listener);
  }

  /** Entries of this protocol number are our own. */
  regardAsOwn(protocol: number): void {
    this.#ownProtocols.add(protocol);
  }

  #event(neighbour: Neighbour, deleted: boolean, at: Instant): NeighbourEvent | undefined {
    if (neighbour.type !== RTN.UNICAST) return undefined;
    const address = parseAddress(neighbour.destination ?? '');
    if (!address) return undefined;
    return {
      ifindex: neighbour.ifindex,
      address,
      mac: neighbour.linkAddress === undefined ? undefined : parseMac(neighbour.linkAddress),
      state: neighbour.state,
      usable: !deleted && (neighbour.state & NUD_VALID) !== 0,
      own: this.#ownProtocols.has(neighbour.protocol),
      deleted,
      at,
    };
  }
}

const UNTOUCHED = NUD.PERMANENT | NUD.NOARP | NUD.INCOMPLETE | NUD.FAILED;

const isHearsay = ({ type, state, flags, protocol }: Neighbour): boolean =>
  type === RTN.UNICAST && (state & UNTOUCHED) === 0 && (flags & NTF.EXT_LEARNED) === 0 && protocol === 0;
