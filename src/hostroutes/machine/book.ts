import type { Address } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { HostRoute } from '../../model/hosts.ts';
import { DUPLICATE_MS, ForeignClaims, SETTLE_MS, TOP_LEVEL } from './claims.ts';
import { isHeld } from './damping.ts';
import { Host, RANK } from './host.ts';
import type { CompiledPolicy } from './policy.ts';
import { PortState, Refusals } from './port-state.ts';
import { Stations } from './stations.ts';
import { Turn } from './turn.ts';
import type { CauseKind, Heard, HostState, HostView, Memory, RefusalReason } from './types.ts';
import { viewOf } from './views.ts';

/** Hosts that fell silent, kept to answer "where was it before"; those that left with their port are kept apart. */
const DEPARTED = 1_024;
const MEMORY_MS = 24 * 3_600_000;
const SWEEP_MS = 3_600_000;

/** An episode of a reached limit ends when nobody was refused for it this long; each has one alarm. */
const EPISODE_MS = 60_000;

/** ifindex of a port by its name; undefined where nobody knows. */
export type PortIndex = (port: string) => number | undefined;

/** What is held: hosts, ports, and the memory of who left; bounded by the limits of the policy. */
export class Book {
  rules: CompiledPolicy;
  readonly turn = new Turn();
  readonly hosts = new Map<Address, Host>();
  readonly ports = new Map<string, PortState>();
  readonly refusals = new Refusals();
  readonly claims = new ForeignClaims();
  readonly stations = new Stations();
  live = 0;
  sweepAt: Instant = Number.POSITIVE_INFINITY;
  readonly count = { learned: 0, moved: 0, updated: 0, withdrawn: 0 };
  /** What the claims of others mean for the host may have changed. */
  onWeighed: (host: Host, now: Instant) => void = () => undefined;
  readonly #departed = new Set<Host>();
  readonly #random: () => number;
  readonly #portIndex: PortIndex;
  /** End of the present episode of the total limit. */
  #fullUntil: Instant = Number.NEGATIVE_INFINITY;

  constructor(rules: CompiledPolicy, random: () => number, portIndex: PortIndex) {
    this.rules = rules;
    this.#random = random;
    this.#portIndex = portIndex;
    for (const name of rules.policy.ports) this.openPort(name, true);
  }

  openPort(name: string, downlink: boolean): PortState {
    const port = new PortState(name, downlink, this.ports.size);
    this.ports.set(name, port);
    return port;
  }

  refuse(
    heard: Pick<Heard, 'address' | 'port'> & Partial<Pick<Heard, 'mac'>>,
    reason: RefusalReason,
    now: Instant,
  ): void {
    this.refusals.refuse(this.turn, heard, reason, now);
  }

  /** The port, if evidence from there about that place is acceptable. */
  admit(heard: Heard, now: Instant): PortState | undefined {
    const port = this.ports.get(heard.port);
    const refusal = port
      ? (port.refusal() ?? this.rules.refuseMac(heard.mac) ?? this.rules.refusePlace(heard))
      : 'not-a-downlink';
    if (!refusal) return port;
    this.refuse(heard, refusal, now);
    return undefined;
  }

  /** It could not live there, whatever is heard. */
  refusesPlace(place: Pick<Heard, 'address' | 'mac' | 'port'>): boolean {
    const { rules, ports } = this;
    const refusal = rules.refuseAddress(place.address) ?? rules.refuseMac(place.mac) ?? rules.refusePlace(place);
    return refusal !== undefined || ports.get(place.port)?.downlink !== true;
  }

  /** Undefined: there is room. `moving`: the host is counted in the total already. */
  full(port: PortState, moving: boolean, now: Instant): 'port-limit' | 'total-limit' | undefined {
    const { perPort, total } = this.rules.policy.limits;
    if (port.hosts.size >= perPort) {
      if (now >= port.fullUntil) {
        const reason = `limit of ${perPort} hosts on ${port.name} reached`;
        this.turn.effects.push({ type: 'alarm', reason, port: port.name });
      }
      port.fullUntil = now + EPISODE_MS;
      return 'port-limit';
    }
    if (moving || this.live < total) return undefined;
    if (now >= this.#fullUntil) this.turn.effects.push({ type: 'alarm', reason: `limit of ${total} hosts reached` });
    this.#fullUntil = now + EPISODE_MS;
    return 'total-limit';
  }

  /** A host that is new or was gone; its level must be set before it is announced. */
  enter(known: Host | undefined, heard: Heard, port: PortState, now: Instant): Host {
    let host = known;
    if (host) {
      host.memory?.delete(host);
      host.memory = undefined;
      host.place(heard);
    } else {
      host = new Host(heard.address, heard);
      this.hosts.set(host.address, host);
    }
    this.stations.put(host);
    this.live++;
    port.hosts.add(host);
    this.count.learned++;
    this.#believe(host, heard, port, now);
    this.changeState(host, 'reachable', `heard by ${heard.source}`);
    return host;
  }

  /** To another port, or to another MAC or interface on the same one. */
  relocate(host: Host, heard: Heard, port: PortState, now: Instant, why?: string): void {
    const from = host.port;
    const moved = from !== port.name;
    if (moved) {
      this.#leavePort(host);
      port.hosts.add(host);
      this.count.moved++;
    } else this.count.updated++;
    host.place(heard);
    this.stations.put(host);
    host.elsewhere = undefined;
    host.doubtAt = Number.POSITIVE_INFINITY;
    this.#believe(host, heard, port, now);
    this.weighRivals(host, now);
    this.changeState(host, 'reachable', why ?? (moved ? movedFrom(from, heard) : 'MAC or interface changed'));
    this.announce(host, moved ? 'moved' : 'updated', host.reason);
  }

  /**
   * What the claims of others mean for the host where it is now. One that uses both links has no rivals: its level is 0,
   * as the other switch's is.
   */
  weighRivals(host: Host, now: Instant): void {
    this.#weigh(host, now);
    this.onWeighed(host, now);
  }

  #weigh(host: Host, now: Instant): void {
    const activeActive = this.rules.activeActive(host);
    if (activeActive) host.level = 0;
    const rival = activeActive ? undefined : this.claims.best(host.address);
    const strong = rival !== undefined && rival >= host.level;
    // A claim at the top can't be displaced by a better one: until it has settled its host is asked as if it were.
    host.contested = !activeActive && (host.level === TOP_LEVEL || strong);
    if (!strong) this.#claimedOnce(host);
    else if (host.rivalSince === Number.POSITIVE_INFINITY) host.rivalSince = now;
    host.settleAt = rival === undefined && host.level > 0 ? now + SETTLE_MS : Number.POSITIVE_INFINITY;
  }

  /** A host that others claim too has answered. */
  answeredRival(host: Host, now: Instant): void {
    if (host.claimedTwice || now - host.rivalSince < DUPLICATE_MS) return;
    host.claimedTwice = true;
    this.onWeighed(host, now);
    const reason = `alive on ${host.port}, and another switch claims it`;
    const { address, port, state } = host;
    this.turn.effects.push({ type: 'changed', address, port, from: state, to: 'duplicate', reason });
  }

  #claimedOnce(host: Host): void {
    host.rivalSince = Number.POSITIVE_INFINITY;
    if (!host.claimedTwice) return;
    host.claimedTwice = false;
    const { address, port, state } = host;
    const reason = 'no other switch claims it any more';
    this.turn.effects.push({ type: 'changed', address, port, from: 'duplicate', to: state, reason });
  }

  announce(host: Host, kind: CauseKind, reason: string): void {
    host.route = { ...host.makeRoute(), ...this.portIndexOf(host) };
    this.turn.note(host, kind, host.port, reason);
  }

  /** For a route of a host that is, was or will be behind its port. */
  portIndexOf({ port }: Host): Pick<HostRoute, 'portIndex'> {
    const portIndex = this.#portIndex(port);
    return portIndex === undefined ? {} : { portIndex };
  }

  changeState(host: Host, to: HostState, reason: string): void {
    const from = host.knownBefore ? host.state : undefined;
    host.knownBefore = true;
    host.state = to;
    host.reason = reason;
    this.turn.effects.push({ type: 'changed', address: host.address, port: host.port, from, to, reason });
  }

  /** One host leaves on its own account. */
  withdraw(host: Host, kind: CauseKind, reason: string, now: Instant): void {
    this.#leavePort(host);
    this.#departed.add(host);
    this.#depart(host, kind, reason, this.#departed, now);
    this.changeState(host, 'gone', reason);
    this.#makeRoom(this.#departed, DEPARTED);
  }

  /** All hosts of these ports leave; the delta says so, there is no event for each. */
  clear(names: readonly string[], kind: 'portDown' | 'blocked' | 'leaving', reason: string, now: Instant): void {
    for (const name of names) {
      const port = this.ports.get(name);
      if (!port) continue;
      for (const host of port.empty()) {
        this.#depart(host, kind, reason, port.left, now);
        host.state = 'gone';
        host.reason = reason;
      }
      this.#makeRoom(port.left, this.rules.policy.limits.perPort);
    }
  }

  /** Forgets those who left long ago. */
  sweep(now: Instant): void {
    const memories = [this.#departed, ...Array.from(this.ports.values(), (port) => port.left)];
    for (const memory of memories) {
      for (const host of memory) {
        if (now - host.since < MEMORY_MS) break;
        // Announced ahead of its return: it is still needed.
        if (!host.route) this.forget(host);
      }
    }
    this.sweepAt = memories.some((memory) => memory.size > 0) ? now + SWEEP_MS : Number.POSITIVE_INFINITY;
  }

  /** A host of an earlier life, as if it had left its port now; never one that is known. */
  remember(memory: Memory, now: Instant): void {
    const port = this.ports.get(memory.port);
    if (!port?.downlink || this.hosts.has(memory.address) || this.rules.refuseAddress(memory.address)) return;
    if (port.left.size >= this.rules.policy.limits.perPort) return;
    const host = new Host(memory.address, memory);
    host.since = now;
    host.reason = 'known to an earlier run';
    host.returns = memory.returns;
    host.memory = port.left;
    port.left.add(host);
    this.stations.put(host);
    this.hosts.set(host.address, host);
    if (this.sweepAt === Number.POSITIVE_INFINITY) this.sweepAt = now + SWEEP_MS;
  }

  /** The port is in the policy no more, and its hosts were withdrawn. */
  dropPort(port: PortState): void {
    port.downlink = false;
    port.down = undefined;
    for (const host of port.left) {
      if (host.state === 'shadow') this.#unremember(host);
      else this.forget(host);
    }
    this.refusals.forget(port.name);
    if (port.blocked === undefined) this.ports.delete(port.name);
  }

  views(which: (host: Host) => boolean): HostView[] {
    const views: HostView[] = [];
    for (const host of this.hosts.values()) if (which(host)) views.push(this.view(host));
    return views;
  }

  view(host: Host): HostView {
    return viewOf(host, this.claims.rivals(host.address));
  }

  gauges() {
    const hostsByPort: Record<string, number> = {};
    let remembered = 0;
    for (const port of this.ports.values()) {
      if (port.downlink) hostsByPort[port.name] = port.hosts.size;
      remembered += port.left.size;
    }
    let duplicates = 0;
    for (const host of this.hosts.values()) if (isHeld(host) || host.claimedTwice) duplicates++;
    return { hosts: this.live, hostsByPort, duplicates, remembered };
  }

  #believe(host: Host, heard: Heard, port: PortState, now: Instant): void {
    host.heardBy.fill(-1);
    host.heardBy[RANK[heard.source]] = now;
    host.evidence[RANK[heard.source]] = heard.how;
    if (this.rules.statics.has(host.address)) host.heardBy[RANK.static] = now;
    host.heardAt = now;
    host.since = now;
    host.asking = 'no';
    host.attempts = 0;
    host.yields = false;
    host.turn = port.turn;
    this.spread(host);
  }

  /** Anew each time, or those who were once asked together would be for ever. */
  spread(host: Host): void {
    host.spread = this.#random();
  }

  /** The host is in `memory` already, and no longer with its port. */
  #depart(host: Host, kind: CauseKind, reason: string, memory: Set<Host>, now: Instant): void {
    this.live--;
    host.since = now;
    host.asking = 'no';
    host.contested = false;
    host.rivalSince = Number.POSITIVE_INFINITY;
    host.claimedTwice = false;
    host.yields = false;
    host.elsewhere = undefined;
    host.incumbent = undefined;
    host.doubtAt = Number.POSITIVE_INFINITY;
    host.route = undefined;
    host.memory = memory;
    this.count.withdrawn++;
    this.turn.note(host, kind, host.port, reason);
    if (this.sweepAt === Number.POSITIVE_INFINITY) this.sweepAt = now + SWEEP_MS;
  }

  /** For those who just left; those of this turn are still needed for the delta. */
  #makeRoom(memory: Set<Host>, limit: number): void {
    if (memory.size <= limit) return;
    for (const oldest of memory) {
      if (memory.size <= limit || oldest.dirty) return;
      if (oldest.route) continue;
      this.forget(oldest);
    }
  }

  #unremember(host: Host): void {
    host.memory?.delete(host);
    host.memory = undefined;
  }

  #leavePort(host: Host): void {
    this.ports.get(host.port)?.hosts.delete(host);
  }

  /** A host that is gone, but announced: it must outlive whatever remembers those that left, except its port. */
  keepFor(host: Host): void {
    if (host.memory !== this.ports.get(host.port)?.left) this.#unremember(host);
  }

  forget(host: Host): void {
    this.#unremember(host);
    this.stations.drop(host);
    this.hosts.delete(host.address);
  }
}

function movedFrom(port: string, { how, stale }: Heard): string {
  if (stale) return `back from ${port}, where it did not answer`;
  if (how === 'bridge') return `moved from ${port}: the bridge has heard its MAC here`;
  return how === 'rarp' ? `moved from ${port}: RARP of its MAC was heard here` : `moved from ${port}`;
}
