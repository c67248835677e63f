/**
 * The neighbour entries of our hosts belong to the host table. But the kernel takes a new MAC over from whoever says
 * that he is a host, when he says it on the interface on which that is routed: for the ports of a bridge from any of
 * them, for a routed port from whoever is behind it. It gives no reasons to us, and believes without asking.
 *
 * So an entry that shows another MAC than the table's is written again, at once: whether the claim is true the table
 * decides, which hears it too and then writes the new MAC itself. An entry that is taken a second time is pinned
 * (NUD_PERMANENT: ARP and ND change it no more), so that a claim repeated a thousand times a second costs us two
 * messages. A pinned entry is not checked by the kernel, and stays when its port loses the carrier; the table does
 * both, and the pin ends by itself: after 30 s, twice as long each time the entry is taken again, at most five minutes.
 */
import { NUD, NUD_VALID } from 'rtnetlink-ts';
import type { Address, Mac } from '../model/address.ts';
import type { Clock, Instant, Timer } from '../model/clock.ts';
import type { HostRoute } from '../model/hosts.ts';
import type { NeighbourEvent } from './neighbours.ts';

const PIN_MS = 30_000;
const LONGEST_PIN_MS = 300_000;
/** Without a claim for so long after the last pin, or the only claim, an episode is over. */
const CALM_MS = 60_000;
/** Notifications that are older than our last change of an entry arrive within this. */
const LAG_MS = 1_000;

interface Episode {
  /** Length of the next pin. */
  hold: number;
  pinned: boolean;
  /** End of the pin, or of the calm after it. */
  until: Instant;
}

export class NeighbourGuard {
  readonly #clock: Clock;
  readonly #write: (addresses: readonly Address[]) => void;
  readonly #episodes = new Map<Address, Episode>();
  /** MACs that hosts had until lately. */
  readonly #former = new Map<Address, { mac: Mac; until: Instant }>();
  readonly #count = { taken: 0, pins: 0 };
  #timer: Timer | undefined;
  #timerAt: Instant = Number.POSITIVE_INFINITY;

  /** `write`: writes these entries, as they should be now. */
  constructor(clock: Clock, write: (addresses: readonly Address[]) => void) {
    this.#clock = clock;
    this.#write = write;
  }

  /** NUD_* to write for the host. */
  stateFor(address: Address): number {
    return this.isPinned(address) ? NUD.PERMANENT : NUD.REACHABLE;
  }

  isPinned(address: Address): boolean {
    return this.#episodes.get(address)?.pinned === true;
  }

  /** true: somebody has taken the entry of `host`, and it was written again. */
  taken({ mac, state, deleted }: NeighbourEvent, host: HostRoute): boolean {
    if (deleted || mac === undefined || mac === host.mac || (state & NUD_VALID) === 0) return false;
    // By hand, not by ARP. And of a pinned one only what was said before it was.
    if (state & (NUD.PERMANENT | NUD.NOARP) || this.isPinned(host.address)) return false;
    const now = this.#clock.now();
    const former = this.#former.get(host.address);
    const late = former?.mac === mac && now < former.until;
    if (!late) {
      this.#count.taken++;
      this.#advance(host.address, now);
    }
    this.#write([host.address]);
    return !late;
  }

  /** The table has placed the host anew, so what was claimed before counts for nothing; undefined: it has withdrawn it. */
  placed(before: HostRoute, after: HostRoute | undefined): void {
    if (after?.mac === before.mac && after.ifindex === before.ifindex) return;
    this.#episodes.delete(before.address);
    if (!after || after.mac === before.mac) this.#former.delete(before.address);
    else {
      const until = this.#clock.now() + LAG_MS;
      this.#former.set(before.address, { mac: before.mac, until });
      this.#wakeAt(until);
    }
  }

  counters(): { 'neighbours.taken': number; 'neighbours.pins': number; 'neighbours.pinned': number } {
    let pinned = 0;
    for (const episode of this.#episodes.values()) if (episode.pinned) pinned++;
    return { 'neighbours.taken': this.#count.taken, 'neighbours.pins': this.#count.pins, 'neighbours.pinned': pinned };
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAt = Number.NEGATIVE_INFINITY;
    this.#episodes.clear();
  }

  #advance(address: Address, now: Instant): void {
    const episode = this.#episodes.get(address);
    if (!episode) {
      this.#episodes.set(address, { hold: PIN_MS, pinned: false, until: now + CALM_MS });
      this.#wakeAt(now + CALM_MS);
      return;
    }
    episode.pinned = true;
    episode.until = now + episode.hold;
    episode.hold = Math.min(2 * episode.hold, LONGEST_PIN_MS);
    this.#count.pins++;
    this.#wakeAt(episode.until);
  }

  #wakeAt(at: Instant): void {
    if (at >= this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = at;
    this.#timer = this.#clock.schedule(at, () => this.#wake());
  }

  #wake(): void {
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    let next = Number.POSITIVE_INFINITY;
    const released: Address[] = [];
    for (const [address, episode] of this.#episodes) {
      if (episode.until <= now && !episode.pinned) {
        this.#episodes.delete(address);
        continue;
      }
      if (episode.until <= now) {
        episode.pinned = false;
        episode.until = now + CALM_MS;
        released.push(address);
      }
      next = Math.min(next, episode.until);
    }
    for (const [address, { until }] of this.#former) {
      if (until <= now) this.#former.delete(address);
      else next = Math.min(next, until);
    }
    if (released.length > 0) this.#write(released);
    if (next < Number.POSITIVE_INFINITY) this.#wakeAt(next);
  }
}
