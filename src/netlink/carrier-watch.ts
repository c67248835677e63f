/**
 * Reads carriers where the kernel is late in telling.
 *
 * The kernel holds back carrier events to one a second for the whole machine (net/core/link_watch.c): after an event on
 * any interface, a carrier loss within the next second is notified up to a second late. Reading a link makes the kernel
 * handle that link's event at once. So for a little more than a second after each change of a carrier we read the
 * carriers of the ports that matter every few milliseconds, and take in the notification that the reading released.
 *
 * The limit counts events in all network namespaces, also those that we do not see: where other namespaces' interfaces
 * come and go all the time, `idleInterval` has the carriers read outside of such windows too.
 *
 * Ports that stand on others (veth, VLAN) are an exception of the kernel's, told of without delay as soon as the other is,
 * and not read.
 *
 * A reading takes the kernel's RTNL lock, which others may hold for long; then we read less often, for a late event is
 * better than an agent that waits all the time.
 */
import type { Rtnetlink } from 'rtnetlink-ts';
import type { Clock, Instant, Timer } from '../model/clock.ts';
import type { PortChange } from '../model/ports.ts';
import type { Links } from './links.ts';

const WINDOW = 1100;
const DENSE_WINDOW = 300;
const DENSE_INTERVAL = 3;
const SPARSE_INTERVAL = 10;
/** After a round we wait at least this many times as long as it took. */
const GIVE_WAY = 4;

export class CarrierWatch {
  readonly counters = { rounds: 0, foundLate: 0 };
  readonly #links: Links;
  readonly #rtnetlink: Rtnetlink;
  readonly #clock: Clock;
  readonly #idleInterval: number | undefined;
  #names: readonly string[] = [];
  #since: Instant = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;
  #due: Instant = 0;
  #closed = false;
  readonly #unsubscribe: () => void;

  /** `idleInterval`: milliseconds between readings while nothing happens; undefined: none. */
  constructor(links: Links, rtnetlink: Rtnetlink, clock: Clock, idleInterval?: number) {
    this.#links = links;
    this.#rtnetlink = rtnetlink;
    this.#clock = clock;
    this.#idleInterval = idleInterval;
    this.#unsubscribe = links.afterChange((change) => this.#changed(change));
  }

  watch(names: Iterable<string>): void {
    this.#names = [...new Set(names)];
    if (this.#idleInterval !== undefined) this.#schedule(this.#idleInterval);
  }

  close(): void {
    this.#unsubscribe();
    this.#timer?.cancel();
    this.#closed = true;
  }

  #changed({ before, after, at }: PortChange): void {
    if (this.#names.length === 0) return;
    if (before?.carrier === after?.carrier && before?.adminUp === after?.adminUp) return;
    this.#since = at;
    this.#schedule(DENSE_INTERVAL);
  }

  #round(): void {
    this.#timer = undefined;
    const start = this.#clock.now();
    this.counters.rounds++;
    const ports = this.#names.flatMap((name) => {
      const port = this.#links.port(name);
      return port && !this.#links.isToldAtOnce(port.ifindex) ? [port] : [];
    });
    const carriers = this.#rtnetlink.carriersNow(ports.map(({ ifindex }) => ifindex));
    // Those that differ are read once more, alone: what they say must not be older than the notifications taken in.
    for (const [index, { name, carrier }] of ports.entries()) {
      if (carriers[index] !== undefined && carriers[index] !== carrier) this.#read(name, start);
    }
    const end = this.#clock.now();
    const age = end - this.#since;
    const soon = age < DENSE_WINDOW ? DENSE_INTERVAL : age < WINDOW ? SPARSE_INTERVAL : this.#idleInterval;
    const interval = ports.length > 0 ? soon : this.#idleInterval;
    if (interval !== undefined) this.#schedule(Math.max(interval, (end - start) * GIVE_WAY));
  }

  /** The earlier of two instants counts, or a stream of events would put the reading off for ever. */
  #schedule(delay: number): void {
    if (this.#closed) return;
    const due = this.#clock.now() + delay;
    if (this.#timer && this.#due <= due) return;
    this.#timer?.cancel();
    this.#due = due;
    this.#timer = this.#clock.schedule(due, () => this.#round());
  }

  #read(name: string, at: Instant): void {
    const port = this.#links.port(name);
    if (!port) return;
    const carrier = this.#rtnetlink.getLinkNow({ ifindex: port.ifindex })?.carrier;
    if (carrier === undefined || carrier === port.carrier) return;
    this.counters.foundLate++;
    // Older notifications may still be in the queue: they come first, then the one that the reading released. Only a
    // kernel that releases none needs the value itself.
    this.#links.readNow();
    if (this.#links.portByIndex(port.ifindex)?.carrier !== carrier) this.#links.carrierRead(port.ifindex, carrier, at);
  }
}
