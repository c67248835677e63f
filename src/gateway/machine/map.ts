/**
 * The gateway's map (R4.8): each address ↔ the gateway's own port ↔ a switch's uplink and downlink ↔ the server's port,
 * for every switch that has it or had it, each with its state, since when, and why (R4.9).
 *
 * Three things are heard, each of whom it is true of: facts of ports (a switch of its own ports), host routes (of whom
 * announces them, with the port that they name), the gateway's kernel routes (where its packets go). Where they meet is
 * a `Place`: one address behind one port of one switch. `handle` takes an event and marks what it concerns; `flush`
 * judges that anew. An event of the fabric comes as many messages, and a reason may come after what it explains: so a
 * place that went down looks for a better reason for a while, and then keeps the one it has.
 *
 * Pure: no sockets, no clock of its own, no file. What is kept over a restart is in `memory.ts`.
 */
import type { Address } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { PortFact } from '../../model/port-facts.ts';
import { type GatewayPort, GatewayPorts } from './gateway-ports.ts';
import { History } from './history.ts';
import { Hosts } from './hosts.ts';
import { type Host, judge, type Legs, type Link, type Place, type Verdict } from './places.ts';
import { Refusals } from './refusals.ts';
import { type PortRecord, Switches, type SwitchRecord } from './switches.ts';
import {
  type HistoryEntry,
  LIMITS,
  type MapEvent,
  type MapLimits,
  type MapRow,
  type Moment,
  type PlaceState,
  type Refusal,
  type SwitchView,
} from './types.ts';
import { nearest, rowOf, switchView } from './views.ts';

/** A reason that comes later than this (ms) explains something else. */
const EXPLAINED_WITHIN = 5_000;
/** After a start, what is known from before and was not heard again is over by now (ms). */
const FORGOTTEN_AFTER = 60_000;
/** What is too old is looked for this often (ms), and four times in what is kept, if that is more often. */
const EXPIRY = 3_600_000;

export interface MapOptions {
  /** How long (ms) what is over is kept. */
  readonly history: number;
  readonly limits?: Partial<MapLimits>;
}

/** What `flush` found, for the event log. */
export interface MapNews {
  readonly entries: readonly HistoryEntry[];
  readonly refusals: readonly Refusal[];
  /** A better reason was found for what had happened. */
  readonly explained: boolean;
  /** Not all was judged. */
  readonly more: boolean;
}

export class PortMap {
  readonly switches: Switches;
  readonly hosts: Hosts;
  readonly ports = new GatewayPorts();
  readonly history: History;
  readonly #refusals = new Refusals();
  #keep: number;
  /** To be judged anew, and since when. */
  readonly #touched = new Map<Host, Moment>();
  /** Near ends of uplinks, as long as the uplink's fact and our ports are these. */
  readonly #near = new WeakMap<PortFact, { readonly version: number; readonly here: GatewayPort | undefined }>();
  #portsChanged = false;
  #fresh: HistoryEntry[] = [];
  #explained = false;
  #forgetAt: Instant | undefined;
  #expireAt: Instant | undefined;

  constructor({ history, limits }: MapOptions) {
    const bounds = { ...LIMITS, ...limits };
    this.#keep = history;
    this.history = new History(bounds.history);
    this.switches = new Switches(bounds, this.#refusals);
    this.hosts = new Hosts(bounds, this.switches, this.#refusals);
  }

  /** How long (ms) what is over is kept, from now on. */
  configure(history: number): void {
    this.#keep = history;
    this.#expireAt = Number.NEGATIVE_INFINITY;
  }

  handle(event: MapEvent, moment: Moment): void {
    this.#refusals.at(moment.now);
    switch (event.type) {
      case 'fact':
        this.switches.fact(event.source, event.fact, moment);
        return;
      case 'neighbour':
        this.switches.neighbour(event, moment);
        return;
      case 'port':
        this.#portsChanged = true;
        if (this.ports.take(event, moment.wall)) {
          const { port, up, why } = event;
          this.#record({ kind: 'gateway', at: moment.wall, port, to: up ? 'up' : 'down', why });
        }
        return;
      case 'host':
        this.#touch(this.hosts.heard(event.source, event.route, moment), moment);
        return;
      case 'route':
        this.#touch(this.hosts.route(event.address, event.nextHops), moment);
        return;
    }
  }

  /** Judges what the events since the last time concern; `most`: of so many addresses, the others the next time. */
  flush(moment: Moment, most = Number.POSITIVE_INFINITY): MapNews {
    this.#refusals.at(moment.now);
    this.#dueNow(moment);
    const { changedPorts, changedSwitches } = this.switches;
    for (const port of changedPorts) this.#portTold(port, moment);
    for (const owner of changedSwitches) this.#switchTold(owner, moment);
    this.#touchBehind(changedPorts, changedSwitches, moment);
    changedPorts.clear();
    changedSwitches.clear();
    let judged = 0;
    for (const [host, since] of this.#touched) {
      if (judged++ >= most) break;
      this.#touched.delete(host);
      this.#judge(host, since);
    }
    const entries = this.#fresh;
    const explained = this.#explained;
    this.#fresh = [];
    this.#explained = false;
    return { entries, refusals: this.#refusals.take(), explained, more: this.#touched.size > 0 };
  }

  /** How many addresses are to be judged, as far as that is known; never more than there are. */
  get waiting(): number {
    const { changedPorts, changedSwitches } = this.switches;
    const behind = this.#portsChanged || changedPorts.size + changedSwitches.size > 0;
    return behind ? this.hosts.size : this.#touched.size;
  }

  /** When time alone changes something; undefined: never. */
  nextDeadline(): Instant | undefined {
    let next = Math.min(this.#forgetAt ?? Number.POSITIVE_INFINITY, this.#expireAt ?? Number.POSITIVE_INFINITY);
    if (this.#forgetAt !== undefined) {
      for (const { settleAt } of this.switches.all()) if (settleAt !== undefined && settleAt < next) next = settleAt;
    }
    return next === Number.POSITIVE_INFINITY ? undefined : next;
  }

  #touch(host: Host | undefined, moment: Moment): void {
    if (host && !this.#touched.has(host)) this.#touched.set(host, moment);
  }

  #touchBehind(ports: ReadonlySet<PortRecord>, owners: ReadonlySet<SwitchRecord>, moment: Moment): void {
    if (this.#portsChanged) for (const host of this.hosts.all()) this.#touch(host, moment);
    this.#portsChanged = false;
    for (const { routerId } of owners) for (const host of this.hosts.behind(routerId)) this.#touch(host, moment);
    for (const { owner, ifindex: changed } of ports) {
      if (owners.has(owner)) continue;
      for (const host of this.hosts.behind(owner.routerId)) {
        const there = host.places.some(({ routerId, ifindex }) => routerId === owner.routerId && ifindex === changed);
        if (there) this.#touch(host, moment);
      }
    }
  }

  #judge(host: Host, moment: Moment): void {
    this.hosts.place(host, moment);
    this.#findRoutes(host);
    this.hosts.forget(host);
    if (!this.#isHost(host)) return;
    const best = host.places.find(({ announced, old }) => announced === 'real' && !old);
    for (const place of host.places) {
      if (place.old) continue;
      const legs = this.#legs(place);
      const elsewhere = best && best !== place ? this.#text(best) : undefined;
      this.#apply(host, place, judge(place, legs, elsewhere), legs, moment);
    }
  }

  /**
   * In OSPF every router has /32s of its own. A host is somebody behind a port that is named, or behind a switch that
   * tells of its ports; and no switch.
   */
  #isHost({ address, places }: Host): boolean {
    if (this.switches.get(address)) return false;
    return places.some(
      ({ ifindex, routerId }) => ifindex !== undefined || (this.switches.get(routerId)?.ports.size ?? 0) > 0,
    );
  }

  /** Which places the gateway's packets go to. A next hop is a switch's when an uplink of it has that address. */
  #findRoutes(host: Host): void {
    for (const place of host.places) place.routed = undefined;
    for (const { port, via } of host.nextHops) {
      if (via === undefined || this.ports.get(port)?.up === false) continue;
      const found = this.switches.at(via) ?? this.#byLink(host, port, via);
      if (!found) continue;
      const place = placeAt(host, found.owner.routerId);
      if (place) place.routed = { port, uplink: found.port };
    }
  }

  /** A link-local next hop is of whoever announces the host and has that address at the other end of this port. */
  #byLink(host: Host, port: string, via: Address) {
    for (const { routerId } of host.places) {
      for (const uplink of this.switches.get(routerId)?.uplinks() ?? []) {
        if (!uplink.fact.addresses.includes(via)) continue;
        if (this.#nearEnd(uplink)?.port === port) return { owner: uplink.owner, port: uplink };
      }
    }
    return undefined;
  }

  /** What a place hangs on. */
  #legs({ routerId, ifindex, routed }: Place): Legs {
    const owner = this.switches.get(routerId);
    const downlink = ifindex === undefined ? undefined : owner?.ports.get(ifindex);
    const link = (uplink: PortRecord): Link => ({ uplink, here: this.#nearEnd(uplink) });
    if (routed?.uplink)
      return { owner, downlink, links: [{ uplink: routed.uplink, here: this.ports.get(routed.port) }] };
    return { owner, downlink, links: owner ? [...owner.uplinks()].map(link) : [] };
  }

  #nearEnd({ fact }: PortRecord): GatewayPort | undefined {
    const { version } = this.ports;
    const known = this.#near.get(fact);
    if (known?.version === version) return known.here;
    const here = this.ports.towards(fact.addresses);
    this.#near.set(fact, { version, here });
    return here;
  }

  #apply(host: Host, place: Place, { state, why, rank }: Verdict, legs: Legs, { now, wall }: Moment): void {
    const first = place.why === '';
    if (!first && place.state === state) {
      if (state === 'down' && (rank <= place.rank || now - place.changedAt > EXPLAINED_WITHIN)) return;
      this.#explained ||= place.why !== why;
      place.why = why;
      place.rank = rank;
      if (state === 'down' && place.entry) place.entry.why = why;
      return;
    }
    const { uplink, here } = legs.links[0] ?? {};
    place.entry = {
      kind: 'host',
      at: wall,
      routerId: place.routerId,
      switchName: legs.owner?.name ?? place.routerId,
      address: host.address,
      ...(legs.downlink === undefined ? {} : { port: legs.downlink.fact.port }),
      ...(uplink === undefined ? {} : { uplink: uplink.fact.port }),
      ...(here === undefined ? {} : { gatewayPort: here.port }),
      ...(first ? {} : { from: place.state }),
      to: state,
      why,
    };
    place.state = state;
    place.why = why;
    place.rank = rank;
    place.since = wall;
    place.changedAt = now;
    this.#record(place.entry);
  }

  #text({ routerId, ifindex }: Place): string {
    const owner = this.switches.get(routerId);
    const port = ifindex === undefined ? undefined : (owner?.ports.get(ifindex)?.fact.port ?? `port ${ifindex}`);
    return `${owner?.name ?? routerId}${port === undefined ? '' : ` ${port}`}`;
  }

  #portTold(port: PortRecord, { wall }: Moment): void {
    const { state, why } = port.view();
    if (port.told === state) return;
    const from = port.told === undefined ? {} : { from: port.told };
    port.told = state;
    const { routerId, name: switchName } = port.owner;
    const { port: name, role } = port.fact;
    this.#record({ kind: 'port', at: wall, routerId, switchName, port: name, role, ...from, to: state, why });
  }

  #switchTold(owner: SwitchRecord, { wall }: Moment): void {
    const { routerId, name: switchName, state, why, told, ports } = owner;
    if (told === state || ports.size === 0) return;
    owner.told = state;
    this.#record({ kind: 'switch', at: wall, routerId, switchName, to: state, why });
  }

  #record(entry: HistoryEntry): void {
    this.history.add(entry);
    this.#fresh.push(entry);
  }

  #dueNow({ now, wall }: Moment): void {
    if (this.#forgetAt !== undefined) this.#settle(now, wall);
    if (this.#expireAt !== undefined && now < this.#expireAt) return;
    const begun = this.#expireAt !== undefined;
    this.#expireAt = now + Math.min(EXPIRY, this.#keep / 4);
    if (!begun) return;
    const before = wall - this.#keep;
    this.history.expire(before);
    this.hosts.expire(before);
    this.switches.expire(before, (routerId) => !this.hosts.behind(routerId)[Symbol.iterator]().next().done);
  }

  /** What an earlier life knew and nobody has said again is over. */
  #settle(now: Instant, wall: number): void {
    const over = now >= this.#forgetAt!;
    if (over) this.#forgetAt = undefined;
    for (const owner of this.switches.all()) {
      if (!over && (owner.settleAt === undefined || now < owner.settleAt)) continue;
      this.switches.settle(owner, wall);
      for (const host of this.hosts.behind(owner.routerId)) {
        for (const place of host.places) if (place.routerId === owner.routerId) place.old = false;
        this.#touch(host, { now, wall });
      }
    }
  }

  // ------------------------------------------------------------------ what is asked

  /** That something is known of; not all of them are hosts. */
  addresses(): Address[] {
    return Array.from(this.hosts.all(), ({ address }) => address);
  }

  /** As `row` would show it; undefined: no host. */
  stateOf(address: Address): PlaceState | undefined {
    const host = this.hosts.get(address);
    return host && this.#isHost(host) ? nearest(host.places).state : undefined;
  }

  row(address: Address): MapRow | undefined {
    const host = this.hosts.get(address);
    if (!host || !this.#isHost(host)) return undefined;
    return rowOf(
      host,
      (place) => this.#legs(place),
      (port) => this.ports.get(port),
    );
  }

  /** Those that tell of their ports. */
  switchViews(): SwitchView[] {
    return [...this.switches.all()].filter(({ ports }) => ports.size > 0).map(switchView);
  }

  counters(): Record<string, number> {
    const refused = Object.entries(this.#refusals.counters).map(([reason, count]) => [`refused.${reason}`, count]);
    return {
      addresses: this.hosts.size,
      switches: this.switches.size,
      history: this.history.size,
      ...Object.fromEntries(refused),
    };
  }

  /** What an earlier life knew is shown, as old, until it is heard again or `now` is long past. */
  restored(now: Instant): void {
    this.#forgetAt = now + FORGOTTEN_AFTER;
  }
}

/** Where a switch has the host, or had it last. */
function placeAt({ places }: Host, routerId: Address): Place | undefined {
  let last: Place | undefined;
  for (const place of places) {
    if (place.routerId !== routerId) continue;
    if (place.announced !== 'no') return place;
    if (!last || place.since >= last.since) last = place;
  }
  return last;
}
