import type { Address } from '../../model/address.ts';
import type { HeardHostRoute } from '../../model/port-facts.ts';
import { type Announcement, type Host, newHost, newPlace, type Place, wordOf } from './places.ts';
import type { Refusals } from './refusals.ts';
import type { Switches, SwitchRecord } from './switches.ts';
import type { MapLimits, Moment, Source } from './types.ts';

/** The addresses, who announces them, and their places. */
export class Hosts {
  readonly #limits: MapLimits;
  readonly #switches: Switches;
  readonly #refusals: Refusals;
  readonly #hosts = new Map<Address, Host>();
  /** By switch, so that what concerns one is found. */
  readonly #behind = new Map<Address, Set<Host>>();
  /** Since it was last in vain, somebody may have left whose past can give way. */
  #mayMakeRoom = true;

  constructor(limits: MapLimits, switches: Switches, refusals: Refusals) {
    this.#limits = limits;
    this.#switches = switches;
    this.#refusals = refusals;
  }

  get(address: Address): Host | undefined {
    return this.#hosts.get(address);
  }

  all(): Iterable<Host> {
    return this.#hosts.values();
  }

  get size(): number {
    return this.#hosts.size;
  }

  /** Those that have, or had, a place at this switch. */
  behind(routerId: Address): Iterable<Host> {
    return this.#behind.get(routerId) ?? [];
  }

  /** @returns whom it concerns; undefined: nobody, or there is no room */
  heard(source: Source, route: HeardHostRoute, moment: Moment): Host | undefined {
    return route.up ? this.#announce(source, route, moment) : this.#withdraw(source, route, moment);
  }

  #withdraw(source: Source, { address, routerId }: HeardHostRoute, moment: Moment): Host | undefined {
    const host = this.#hosts.get(address);
    const said = host?.announcements.get(routerId);
    if (!host || !said?.delete(source)) return undefined;
    const owner = this.#switches.get(routerId)!;
    if (said.size === 0) {
      host.announcements.delete(routerId);
      owner.addresses--;
      this.#mayMakeRoom = true;
    }
    this.#switches.hold(owner, -1, moment);
    return host;
  }

  #announce(
    source: Source,
    { address, routerId, portIndex, shadow }: HeardHostRoute,
    moment: Moment,
  ): Host | undefined {
    const owner = this.#switches.take(routerId, moment.wall);
    const host = owner && this.#room(owner, address);
    if (!owner || !host) return undefined;
    let said = host.announcements.get(routerId);
    if (!said) {
      said = new Map<Source, Announcement>();
      host.announcements.set(routerId, said);
      owner.addresses++;
    }
    if (!said.has(source)) this.#switches.hold(owner, 1, moment);
    said.set(source, { portIndex: shadow ? undefined : portIndex, shadow });
    return host;
  }

  #room(owner: SwitchRecord, address: Address): Host | undefined {
    const { routerId, name } = owner;
    const known = this.#hosts.get(address);
    if (known?.announcements.has(routerId)) return known;
    if (owner.addresses >= this.#limits.addressesPerSwitch) {
      this.#refusals.count(routerId, 'too-many-addresses', `${name} announces more addresses than there is room for`);
      return undefined;
    }
    if (known) return known;
    const made = this.#make(address);
    if (!made) this.#refusals.count(routerId, 'map-full', `no room in the map for ${address} of ${name}`);
    return made;
  }

  #make(address: Address): Host | undefined {
    if (this.#hosts.size >= this.#limits.addresses && !this.#makeRoom()) return undefined;
    const host = newHost(address);
    this.#hosts.set(address, host);
    return host;
  }

  /** A route to somebody whom no switch announces says nothing yet, but may come first. */
  route(address: Address, nextHops: Host['nextHops']): Host | undefined {
    const host = this.#hosts.get(address) ?? (nextHops.length === 0 ? undefined : this.#make(address));
    if (host) host.nextHops = nextHops;
    this.#mayMakeRoom ||= nextHops.length === 0;
    return host;
  }

  /** Gives places to those that announce it, and takes the word of those that do no more. */
  place(host: Host, { now, wall }: Moment): void {
    for (const place of host.places) place.announced = 'no';
    for (const [routerId, said] of host.announcements) {
      const word = wordOf(said)!;
      let place = host.places.find((each) => each.routerId === routerId && each.ifindex === word.portIndex);
      if (!place) {
        if (host.places.length >= this.#limits.places && !this.#dropOldest(host)) {
          this.#refusals.count(routerId, 'too-many-places', `${host.address} is announced by too many switches`);
          continue;
        }
        place = newPlace(routerId, word.portIndex, wall, now);
        host.places.push(place);
        this.#index(host, routerId);
      }
      place.announced = word.shadow ? 'shadow' : 'real';
      place.old = false;
    }
    for (const place of [...host.places]) if (served(host, place)) this.#drop(host, place);
  }

  /** Of whom nothing is known any more. */
  forget(host: Host): void {
    if (host.places.length === 0 && host.nextHops.length === 0) this.#hosts.delete(host.address);
  }

  /** Places that were left before `before` (ms since 1970) go. */
  expire(before: number): void {
    for (const host of this.#hosts.values()) {
      for (const place of [...host.places]) {
        if (left(place) && place.state === 'down' && place.since < before) this.#drop(host, place);
      }
      this.forget(host);
    }
  }

  /** What an earlier life knew; false: no room. */
  restore(host: Host): boolean {
    if (this.#hosts.size >= this.#limits.addresses || host.places.length > this.#limits.places) return false;
    this.#hosts.set(host.address, host);
    for (const { routerId } of host.places) this.#index(host, routerId);
    return true;
  }

  /** The place that was left the longest time ago gives way. */
  #dropOldest(host: Host): boolean {
    let oldest: Place | undefined;
    for (const place of host.places) if (left(place) && (!oldest || place.since < oldest.since)) oldest = place;
    if (oldest) this.#drop(host, oldest);
    return oldest !== undefined;
  }

  /**
   * Addresses that nobody has any more, those that were left the longest time ago first, give way to one that is there:
   * a switch whose servers change their addresses every day would else fill the map with what is over.
   */
  #makeRoom(): boolean {
    if (!this.#mayMakeRoom) return false;
    const over: { readonly host: Host; readonly at: number }[] = [];
    for (const host of this.#hosts.values()) {
      const { announcements, nextHops, places } = host;
      if (announcements.size > 0 || nextHops.length > 0 || places.some(({ old }) => old)) continue;
      over.push({ host, at: Math.max(...places.map(({ since }) => since)) });
    }
    over.sort((one, other) => one.at - other.at);
    // Many at once, for to look for them takes a while.
    for (const { host } of over.slice(0, Math.max(1, this.#limits.addresses >> 4))) {
      for (const place of [...host.places]) this.#drop(host, place);
      this.#hosts.delete(host.address);
    }
    this.#mayMakeRoom = over.length > 0;
    return over.length > 0;
  }

  #drop(host: Host, place: Place): void {
    host.places.splice(host.places.indexOf(place), 1);
    this.#index(host, place.routerId);
  }

  #index(host: Host, routerId: Address): void {
    let hosts = this.#behind.get(routerId);
    if (host.places.some((place) => place.routerId === routerId)) {
      if (!hosts) {
        hosts = new Set();
        this.#behind.set(routerId, hosts);
      }
      hosts.add(host);
    } else if (hosts?.delete(host) && hosts.size === 0) this.#behind.delete(routerId);
  }
}

/** A shadow that has become a host: its switch has it behind a port now, and it never was anywhere else there. */
const served = ({ places }: Host, { announced, state, routerId }: Place): boolean =>
  announced === 'no' &&
  state === 'shadow' &&
  places.some((other) => other.announced === 'real' && other.routerId === routerId);

const left = ({ announced, routed }: Place): boolean => announced === 'no' && !routed;
