/**
 * The one table: which address is behind which port. Sources bring evidence, this folder decides, and announcers and
 * the kernel project what it decided; nobody else keeps an opinion of where a host is.
 *
 * Invariants, whatever comes in:
 * - what the deltas add up to equals `announced()`, and no address is in a delta twice;
 * - nothing is announced outside the policy's prefixes, nor behind a port that is down, blocked or no downlink;
 * - the table never holds more than `limits`; what was refused leaves a counter and no memory;
 * - a port that goes down takes its hosts along in one delta; a host that falls silent goes alone (one VM among many);
 * - the claim level rises only when a host is newly learned here, so two switches can't drive each other up.
 *
 * `Book` holds the state, `Watch` acts when time passes, `Evidence` weighs what is heard; this file tells each of them what
 * comes in, and answers questions.
 */
import type { Address, Mac } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { ForeignClaim, HostRoute } from '../../model/hosts.ts';
import { Book, type PortIndex } from './book.ts';
import { isDamped, isHeld } from './damping.ts';
import { Evidence } from './evidence.ts';
import { Leaving } from './leaving.ts';
import { CompiledPolicy } from './policy.ts';
import { Presence } from './presence.ts';
import { applyPolicy } from './reload.ts';
import { Returning } from './returning.ts';
import { Shadows } from './shadows.ts';
import type {
  Damped,
  Heard,
  HostCounters,
  HostEffect,
  HostEvent,
  HostPolicy,
  HostView,
  Memory,
  RememberedHost,
  Stationed,
} from './types.ts';
import { memoryOf, rememberedOf } from './views.ts';
import { Watch } from './watch.ts';
import { Yielding } from './yielding.ts';

const NOTHING: HostEffect[] = [];
Object.freeze(NOTHING);

export class HostTable {
  readonly #book: Book;
  readonly #watch: Watch;
  readonly #returning: Returning;
  readonly #presence: Presence;
  readonly #leaving: Leaving;
  readonly #shadows: Shadows;
  readonly #evidence: Evidence;
  readonly #yielding: Yielding;

  /** `random` (0 to 1) spreads routine probes. Static hosts are first looked for at the first `configure` or `portUp`. */
  constructor(policy: HostPolicy, random: () => number = Math.random, portIndex: PortIndex = () => undefined) {
    this.#book = new Book(new CompiledPolicy(policy), random, portIndex);
    this.#yielding = new Yielding(this.#book);
    this.#book.onWeighed = (host, now) => this.#yielding.weighed(host, now);
    this.#watch = new Watch(this.#book);
    this.#shadows = new Shadows(this.#book);
    this.#leaving = new Leaving(this.#book);
    this.#returning = new Returning(this.#book, (host) => {
      this.#shadows.stepAside(host);
      this.#leaving.back(host.address);
    });
    this.#evidence = new Evidence(this.#book, this.#watch, this.#returning, this.#leaving, this.#shadows);
    this.#presence = new Presence(this.#book, this.#watch, (host, heard, now) =>
      this.#evidence.elsewhere(host, heard, now),
    );
  }

  /** The delta, if there is one, is the first of the effects. The array of an uneventful call is shared and frozen. */
  handle(event: HostEvent, now: Instant): HostEffect[] {
    this.#dispatch(event, now);
    const effects = this.#book.turn.finish(NOTHING);
    const [first] = effects;
    if (first?.type === 'delta') this.#shadows.withdrew(first.delta.withdrawn, now);
    return effects;
  }

  nextDeadline(): Instant | undefined {
    const others = Math.min(
      this.#returning.nextDeadline(),
      this.#shadows.nextDeadline(),
      this.#yielding.nextDeadline(),
    );
    const watch = this.#watch.nextDeadline();
    return others === Number.POSITIVE_INFINITY ? watch : Math.min(others, watch ?? others);
  }

  /** A tick at `now` may find a host silent, or give up one that is expected: what was heard and not told yet comes first. */
  verdictDue(now: Instant): boolean {
    return this.#returning.isDue(now) || this.#watch.verdictDue(now);
  }

  /** Ours, and those that we stand by for. */
  hosts(): HostView[] {
    return this.#book.views((host) => host.state !== 'gone');
  }

  /** Gone, oldest first. */
  departed(): HostView[] {
    return this.#book.views((host) => host.state === 'gone').sort((a, b) => a.since - b.since);
  }

  find(address: Address): HostView | undefined {
    const host = this.#book.hosts.get(address);
    return host && this.#book.view(host);
  }

  /**
   * It need not be looked for: a host, or announced by another switch. A stand-by link that answers would take it away
   * from there; only where hosts use both links that is what is wanted.
   */
  isPlaced(address: Address): boolean {
    const { hosts, claims, rules } = this.#book;
    if (hosts.get(address)?.live) return true;
    return rules.policy.activeActive === false && claims.best(address) !== undefined;
  }

  /** Of one that is behind a port of ours. */
  placeOf(address: Address): Pick<Heard, 'mac' | 'port' | 'ifindex'> | undefined {
    const host = this.#book.hosts.get(address);
    return host?.live ? host : undefined;
  }

  /** Behind another port, or announced by another switch. */
  isElsewhere(port: string, address: Address): boolean {
    const { hosts, claims } = this.#book;
    const host = hosts.get(address);
    return host?.live ? host.port !== port : claims.best(address) !== undefined;
  }

  /** What is heard of this address should be told before anything else: many others wait for it (see shadows.ts). */
  leads(address: Address, now: Instant): boolean {
    return this.#shadows.size > 0 && this.#shadows.leads(address, now);
  }

  /** Those known with this MAC, the gone ones included. */
  stationed(mac: Mac): readonly Stationed[] {
    return Array.from(this.#book.stations.of(mac));
  }

  /** Hosts whose moves of before still count, or of whom nobody else is believed yet. */
  damped(now: Instant): Damped[] {
    const { hosts, rules } = this.#book;
    return Array.from(hosts.values())
      .filter((host) => isDamped(host, rules.damping, now) || now < host.refutedUntil)
      .map((host) => ({
        address: host.address,
        port: host.port,
        held: isHeld(host),
        hold: host.hold,
        moves: host.moves,
        suspicion: Math.max(0, host.refutedUntil - now),
      }));
  }

  announced(): HostRoute[] {
    const routes: HostRoute[] = [];
    for (const host of this.#book.hosts.values()) if (host.advertised) routes.push(host.advertised);
    return routes;
  }

  /** Who is, was lately or should be behind `port`. */
  addressesOn(port: string): Address[] {
    const { hosts = [], left = [] } = this.#book.ports.get(port) ?? {};
    const statics = [...this.#book.rules.statics.values()].filter((entry) => entry.port === port);
    return [...new Set([...hosts, ...statics, ...left].map(({ address }) => address))];
  }

  /** As `addressesOn`, of one. */
  isOn(port: string, address: Address): boolean {
    const { hosts, ports, rules } = this.#book;
    if (rules.statics.get(address)?.port === port) return true;
    const host = hosts.get(address);
    const state = ports.get(port);
    return host !== undefined && state !== undefined && (state.hosts.has(host) || state.left.has(host));
  }

  remembered(port: string): RememberedHost[] {
    return Array.from(this.#book.ports.get(port)?.left ?? [], rememberedOf);
  }

  /** How many would be, behind this port, beside those who are. */
  expectable(port: string): number {
    return this.#returning.expectable(port);
  }

  /** Announced ahead of their return to one of these ports. */
  expected(ports: readonly string[]): Address[] {
    return this.#returning.expected(ports);
  }

  /** Live hosts and those remembered with their ports. */
  memory(): Memory[] {
    const memory: Memory[] = [];
    for (const port of this.#book.ports.values()) {
      for (const host of port.hosts) memory.push(memoryOf(host));
      for (const host of port.left) memory.push(memoryOf(host));
    }
    return memory;
  }

  counters(): HostCounters {
    return {
      ...this.#book.gauges(),
      searches: this.#watch.searches.size,
      foreignClaims: this.#book.claims.size,
      expecting: this.#returning.size,
      leaving: this.#leaving.size,
      shadows: this.#shadows.size,
      ...this.#shadows.count,
      ...this.#returning.count,
      heard: this.#evidence.count,
      ...this.#evidence.takeovers.count,
      ...this.#book.count,
      ...this.#watch.count,
      ...this.#yielding.count,
      refused: { ...this.#book.refusals.counts },
    };
  }

  #dispatch(event: HostEvent, now: Instant): void {
    switch (event.type) {
      case 'heard':
        if (this.#book.rules.enabled(event.source)) this.#evidence.heard(event, now);
        else this.#book.refuse(event, 'source-off', now);
        break;
      case 'probeReply':
        if (this.#book.hosts.get(event.address)?.live || this.#watch.searches.has(event.address)) {
          this.#evidence.heard({ ...event, type: 'heard', source: 'arp' }, now);
        }
        break;
      case 'claimed':
        this.#evidence.claimed({ ...event, type: 'heard' }, now);
        break;
      case 'present':
        this.#presence.seen(event, now);
        break;
      case 'doubt':
        this.#presence.doubted(event.address, event.port, now);
        break;
      case 'recall':
        if (!this.#book.hosts.get(event.address)?.live && !this.#book.refusesPlace(event))
          this.#watch.searchFor(event, now);
        break;
      case 'seek':
        this.#seek(event.address, event.port, now);
        break;
      case 'unseek':
        if (!this.#book.rules.statics.has(event.address)) this.#watch.searches.stop(event.address);
        break;
      case 'forgive':
        for (const address of event.addresses) {
          const host = this.#book.hosts.get(address);
          if (host) this.#watch.forgive(host, now);
        }
        break;
      case 'lost':
        this.#evidence.lost(event.source, event.address, event.port, now);
        break;
      case 'probeUnsent':
        this.#watch.probeUnsent(event.address);
        break;
      case 'portDown':
        this.#portDown(event.ports, event.reason, now);
        break;
      case 'portUp':
        this.#portUp(event.port, now);
        break;
      case 'blockPorts':
        if (event.blocked) this.#block(event.ports, event.reason, now);
        else this.#unblock(event.ports, now);
        break;
      case 'foreignClaim':
        this.#foreignClaim(event.claim, now);
        break;
      case 'configure':
        // Before the port and its memory are dropped.
        this.#returning.cancel(this.#portsDropped(event.policy), 'its port is no downlink any more');
        this.#leaving.cancel(this.#portsDropped(event.policy));
        applyPolicy(this.#book, this.#watch, event.policy, now);
        this.#returning.reconsider();
        this.#leaving.reconsider();
        for (const host of this.#book.hosts.values()) if (!host.live && host.yields) this.#yielding.weighed(host, now);
        this.#shadows.placesChanged(now);
        break;
      case 'expect':
        this.#returning.expect(event.ports, now);
        break;
      case 'opening':
        this.#returning.opened(event.ports, now);
        break;
      case 'leave':
        this.#returning.cancel(event.ports, event.reason);
        this.#leaving.leave(event.ports, event.reason, now);
        this.#shadows.placesChanged(now);
        break;
      case 'left':
        this.#leaving.left(event.addresses, event.turned);
        break;
      case 'remember':
        for (const memory of event.hosts) this.#book.remember(memory, now);
        break;
      case 'search':
        for (const name of event.ports) {
          const port = this.#book.ports.get(name);
          if (port) this.#watch.searchPort(port, now);
        }
        break;
      case 'tick':
        this.#returning.tick(now);
        this.#watch.tick(now);
        this.#shadows.tick(now);
        this.#yielding.tick(now);
        break;
      case 'batch':
        for (const each of event.events) this.#dispatch(each, now);
    }
  }

  #seek(address: Address, port: string, now: Instant): void {
    const { rules, ports } = this.#book;
    const refusal =
      rules.refuseAddress(address) ??
      (ports.get(port)?.downlink ? undefined : 'not-a-downlink') ??
      // A static host is looked for where the configuration says.
      (rules.statics.has(address) ? 'static-elsewhere' : undefined) ??
      (this.#watch.seek(address, port, now) ? undefined : 'search-limit');
    if (refusal) this.#book.refuse({ address, port }, refusal, now);
  }

  #foreignClaim(claim: ForeignClaim, now: Instant): void {
    const { rules } = this.#book;
    if (claim.level !== undefined && rules.refuseAddress(claim.address) === 'outside-prefixes') return;
    const outcome = this.#book.claims.apply(claim, 2 * rules.policy.limits.total);
    if (outcome === 'refused') this.#book.refusals.counts['claim-limit']++;
    if (outcome === 'changed' || outcome === 'told') this.#shadows.claimed(claim.address, now);
    const host = this.#book.hosts.get(claim.address);
    if (outcome !== 'changed' || !host) return;
    if (!host.live) {
      // Announced ahead of its return, or on its way to another switch.
      this.#yielding.claimed(host, now);
      return;
    }
    this.#book.weighRivals(host, now);
    this.#yielding.claimed(host, now);
    if (claim.level !== undefined && claim.level >= host.level) {
      // A host that uses both links may still have left this one: it is asked, once, and the claim counts for no more.
      if (!rules.activeActive(host)) this.#watch.doubt(host, 'rival', now);
      else if (now - host.verifiedAt >= rules.damping.floor) this.#watch.doubt(host, 'verify', now);
    }
    this.#watch.wake(host, now);
  }

  #portsDropped(policy: HostPolicy): string[] {
    return [...this.#book.ports.keys()].filter((name) => !policy.ports.includes(name));
  }

  #portDown(names: readonly string[], reason: string, now: Instant): void {
    for (const name of names) {
      const port = this.#book.ports.get(name);
      if (!port?.downlink) continue;
      if (port.down === undefined) this.#returning.cancel([name], reason);
      port.down = reason;
    }
    this.#book.clear(names, 'portDown', reason, now);
    this.#shadows.placesChanged(now);
  }

  #portUp(name: string, now: Instant): void {
    const port = this.#book.ports.get(name);
    if (port?.down === undefined) return;
    port.down = undefined;
    port.upAt = now;
    this.#returning.opened([name], now);
    this.#watch.searchPort(port, now);
    this.#shadows.placesChanged(now);
  }

  #block(names: readonly string[], reason: string, now: Instant): void {
    for (const name of names) {
      const port = this.#book.ports.get(name) ?? this.#book.openPort(name, false);
      port.blocked = reason;
    }
    this.#returning.cancel(names, reason);
    this.#book.clear(names, 'blocked', reason, now);
    this.#shadows.placesChanged(now);
  }

  #unblock(names: readonly string[], now: Instant): void {
    for (const name of names) {
      const port = this.#book.ports.get(name);
      if (port?.blocked === undefined) continue;
      port.blocked = undefined;
      if (port.downlink) this.#watch.searchPort(port, now);
      else this.#book.ports.delete(name);
    }
    this.#shadows.placesChanged(now);
  }
}
