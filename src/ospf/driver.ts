/**
 * The OSPF speaker on real interfaces: the machine of `machine/` bound to raw sockets, to the clock, to the links.
 *
 * Every event is performed in the turn in which it came: `apply` hands the host delta to the machine and puts the
 * updates that come back on the wire before it returns, first of all effects; callbacks to the agent come after the
 * bytes. What the kernel does not take (ENOBUFS and the like) is counted, and stays on the retransmission lists.
 */
import { authenticationProblem, LSInfinity, type OspfPacket, type U32 } from 'node-ospf-lsa';
import { type Address, familyOf, ipv4FromNumber, ipv4ToNumber, prefixAddress, prefixLength } from '../model/address.ts';
import { type Instant, LATE, soon, type Timer } from '../model/clock.ts';
import type { HostDelta, WireReport } from '../model/hosts.ts';
import type { CarriedFact } from '../model/port-facts.ts';
import { isUp, type Port } from '../model/ports.ts';
import type { Kept } from './codec/memory.ts';
import type { InterfaceView, LsaView, NeighborView, OspfOptions, OspfSettings, Speaker } from './face.ts';
import { type Effect, type Link, maskOf, type OspfEvent } from './machine/core.ts';
import { OspfMachine } from './machine/machine.ts';
import { Memory } from './memory.ts';
import { adjacencyUp, interfaceViews, lsaViews, neighborViews } from './views.ts';
import { Wires } from './wires.ts';

/** MinLSArrival guards against a storm, and a handful of instances is none. */
const EARLY_ARRIVALS = 5;

/** How long `stop` waits for the flushes to be acknowledged (ms): MinLSArrival of the neighbour and its delayed ack. */
const LeaveTimeout = 2500;
const LeavePoll = 20;
/** An interface whose socket could not be opened is tried again after this long (ms). */
const OpenAgain = 1000;
/** How long `pause` waits for its Grace-LSAs to be acknowledged (ms): neighbours may delay that by a second and more. */
const PauseTimeout = 1200;

export class OspfSpeaker implements Speaker {
  readonly name = 'ospf';
  #options: OspfOptions;
  readonly #machine: OspfMachine;
  readonly #wires: Wires;
  readonly #memory: Memory | undefined;
  #unsubscribe: (() => void) | undefined;
  #timer: Timer | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  /** The timer was late, and what came meanwhile is read first. */
  #reading = false;
  #running = false;
  #stopping: Promise<void> | undefined;
  readonly #pump = (): void => this.#wires.pump();
  /** Interfaces whose socket could not be opened. */
  readonly #reopenings = new Map<string, Timer>();
  /** @throws RangeError for options that cannot be spoken with, whatever the network does */
  constructor(options: OspfOptions) {
    checkOptions(options);
    this.#options = options;
    this.#machine = new OspfMachine({
      routerId: ipv4ToNumber(options.routerId),
      interfaces: options.interfaces,
      announce: options.announce,
      prefixes: options.prefixes,
      originateDefault: options.originateDefault,
      observer: options.observer,
      backups: options.backups,
      stubNetworks: (options.stubNetworks ?? [])
        .filter(({ prefix }) => familyOf(prefix) === 4)
        .map(({ prefix, metric }) => ({
          network: ipv4ToNumber(prefixAddress(prefix)),
          mask: maskOf(prefixLength(prefix)),
          metric: metric ?? 0,
        })),
      random: options.random ?? Math.random,
      earlyArrivals: EARLY_ARRIVALS,
    });
    const { clock, log } = options;
    const { core } = this.#machine;
    const count = (name: string, by?: number) => this.#count(name, by);
    this.#wires = new Wires({
      clock,
      log,
      core,
      count,
      netns: options.netns,
      openSocket: options.openSocket,
      seconds: options.wallClockSeconds ?? (() => Math.floor(Date.now() / 1000)),
      receive: (name, source, destination, packet) => this.#receive(name, source, destination, packet),
    });
    const store = options.memory;
    this.#memory = store && new Memory({ store, routerId: core.routerId, clock, log, core, count });
    for (const { name, authentication } of options.interfaces) this.#wires.authenticate(name, authentication);
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#unsubscribe = this.#options.links.onChange(({ name, after }) => this.linkChanged(after, name));
    const kept = this.#memory?.load();
    if (kept) this.#resume(kept);
    for (const { name } of this.#options.interfaces) this.linkChanged(this.#options.links.port(name), name);
    this.#memory?.begin();
  }

  #resume(kept: Kept): void {
    this.#wires.cryptoSequence = kept.pulse.cryptoSequence;
    if (kept.adjacencies.length + (kept.late?.length ?? 0) === 0) return;
    const links = new Map<string, Link>();
    for (const { name } of this.#options.interfaces) {
      const port = this.#options.links.port(name);
      const link = port && isUp(port) ? linkOf(port) : undefined;
      if (link && this.#wires.open(name, link)) links.set(name, link);
    }
    this.#handle({ kind: 'resume', kept, links, graceUntil: kept.pulse.graceUntil });
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#leave();
    return this.#stopping;
  }

  async #leave(): Promise<void> {
    if (!this.#running) return;
    this.#handle({ kind: 'leave' });
    const { clock } = this.#options;
    const deadline = clock.now() + LeaveTimeout;
    while (this.#machine.unacknowledged() > 0 && clock.now() < deadline) await this.#delay(LeavePoll);
    this.#handle({ kind: 'goodbye' });
    this.#memory?.forget();
    this.abandon();
  }

  async pause(): Promise<void> {
    if (!this.#running) return;
    const { clock, gracePeriod = 0 } = this.#options;
    const grace = Math.floor(gracePeriod / 1000);
    this.#handle({ kind: 'pause', grace });
    if (grace > 0) this.#memory?.grace(clock.now() + gracePeriod);
    const deadline = clock.now() + PauseTimeout;
    while (this.#machine.ungranted() > 0 && clock.now() < deadline) await this.#delay(LeavePoll);
    this.abandon();
  }

  #delay(ms: number): Promise<void> {
    const { clock } = this.#options;
    return new Promise((resolve) => {
      clock.schedule(clock.now() + ms, resolve);
    });
  }

  /** Stops without a word on the wire, as a crash would; neighbours notice after RouterDeadInterval. */
  abandon(): void {
    this.#running = false;
    this.#unsubscribe?.();
    this.#timer?.cancel();
    for (const timer of this.#reopenings.values()) timer.cancel();
    this.#wires.closeAll();
    this.#memory?.leave();
  }

  /** Stub links are all in one LSA, of which no second instance would be heard in this turn. */
  get whole(): boolean {
    return this.#options.announce.as === 'stub-link';
  }

  apply(delta: HostDelta): WireReport {
    const wires = this.#wires;
    wires.beginReport();
    const parts = this.whole ? [delta] : inOrder(delta);
    for (const part of parts) this.#handle({ kind: 'hosts', delta: part });
    const { packets, firstByteAt, lastByteAt } = wires;
    return firstByteAt === undefined || lastByteAt === undefined ? { packets } : { packets, firstByteAt, lastByteAt };
  }

  publishFacts(facts: readonly CarriedFact[]): void {
    this.#handle({ kind: 'facts', facts });
  }

  configure({ interfaces, announce, prefixes, originateDefault, observer }: OspfSettings): void {
    const settings = { interfaces, announce, prefixes, originateDefault, observer };
    checkOptions(settings);
    const { core } = this.#machine;
    const before = new Map(core.interfaces);
    this.#options = { ...this.#options, ...settings };
    this.#handle({ kind: 'configure', settings });
    for (const [name, iface] of before) if (core.interfaces.get(name) !== iface) this.#wires.close(name);
    for (const { name, authentication } of interfaces) this.#wires.authenticate(name, authentication);
    for (const name of core.interfaces.keys()) this.linkChanged(this.#options.links.port(name), name);
  }

  settled(): void {
    this.#handle({ kind: 'settled' });
  }

  pump(): void {
    this.#wires.pump();
  }

  linkChanged(port: Port | undefined, name: string): void {
    const link = port && isUp(port) ? linkOf(port) : undefined;
    if (!this.#running || !this.#machine.core.interfaces.has(name)) return;
    const before = this.#machine.core.interfaces.get(name)!.link;
    const reopen = link && (!before || before.ifindex !== link.ifindex || before.address !== link.address);
    if (before && (!link || reopen)) {
      this.#handle({ kind: 'link', interface: name, link: undefined });
      this.#wires.close(name);
    }
    this.#reopenings.get(name)?.cancel();
    this.#reopenings.delete(name);
    if (reopen && !this.#wires.open(name, link)) {
      this.#openLater(name);
      return;
    }
    if (link) this.#handle({ kind: 'link', interface: name, link });
  }

  /** No memory, say: no link change will come that would make up for it. */
  #openLater(name: string): void {
    const { clock, links } = this.#options;
    const again = () => this.linkChanged(links.port(name), name);
    this.#reopenings.set(name, clock.schedule(clock.now() + OpenAgain, again));
  }

  drain(on: boolean): void {
    this.#handle({ kind: 'drain', on });
  }

  neighborDown(address: Address, reason: string): void {
    if (familyOf(address) === 4) this.#handle({ kind: 'kill', address: ipv4ToNumber(address), reason });
  }

  neighbors(): NeighborView[] {
    return neighborViews(this.#machine.core, this.#options.clock.now());
  }

  lsdb(): LsaView[] {
    return lsaViews(this.#machine.core, this.#options.clock.now());
  }

  interfaces(): InterfaceView[] {
    return interfaceViews(this.#machine.core);
  }

  counters(): Record<string, number> {
    return Object.fromEntries(this.#machine.core.counters);
  }

  adjacencyUp(interfaceName: string): boolean {
    return adjacencyUp(this.#machine.core, interfaceName);
  }

  #receive(name: string, source: U32, destination: U32, packet: OspfPacket): void {
    this.#handle({ kind: 'packet', interface: name, source, destination, packet });
  }

  // ---- effects

  #handle(event: OspfEvent): void {
    if (!this.#running) {
      // Hosts are taken at any time; before start there is no one to tell.
      if (!['hosts', 'facts', 'settled', 'drain', 'configure'].includes(event.kind)) return;
    }
    const now = this.#options.clock.now();
    const effects = this.#machine.handle(event, now);
    this.#memory?.ahead();
    let helloSent = false;
    let neighborsChanged = false;
    for (const effect of effects) {
      if (effect.kind === 'update') this.#wires.transmit(effect);
      else if (effect.kind === 'send') {
        this.#wires.transmit(effect);
        helloSent ||= effect.packet.type === 1;
      } else neighborsChanged ||= effect.kind === 'neighbor';
    }
    this.#machine.complete(now, this.#pump);
    const { refused } = this.#wires;
    for (const name of refused) this.#machine.handle({ kind: 'send-failed', interface: name }, now);
    refused.clear();
    for (const effect of effects) this.#perform(effect, now);
    if (helloSent) this.#memory?.pulse(this.#wires.cryptoSequence);
    else this.#memory?.changed(neighborsChanged);
    this.#arm();
  }

  #perform(effect: Effect, now: Instant): void {
    const { log } = this.#options;
    switch (effect.kind) {
      case 'send':
      case 'update':
        return;
      case 'membership':
        this.#wires.membership(effect.interface, effect.group, effect.joined);
        return;
      case 'neighbor': {
        const { from, to, reason } = effect;
        const routerId = ipv4FromNumber(effect.routerId);
        const address = ipv4FromNumber(effect.address);
        log.info({ interface: effect.interface, routerId, address, from, to, reason }, 'OSPF neighbour');
        this.#options.onNeighbor({ interface: effect.interface, routerId, address, from, to, reason, at: now });
        return;
      }
      case 'routes':
        this.#options.onRoutes(effect.changes);
        return;
      case 'claim':
        this.#options.onForeignClaim(effect.claim);
        return;
      case 'shadow':
        this.#options.onForeignShadow?.(effect.shadow);
        return;
      case 'fact':
        this.#options.onFact?.(effect.fact);
        return;
      case 'host-route':
        this.#options.onHostRoute?.(effect.route);
        return;
      case 'log':
        log[effect.level](effect.fields, effect.message);
    }
  }

  #arm(): void {
    const next = this.#running ? this.#machine.nextDeadline() : undefined;
    if (next === this.#timerAt && this.#timer) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAt = next ?? Number.POSITIVE_INFINITY;
    const { clock } = this.#options;
    // Nothing is overdue any more: what was read has seen to it.
    if (next === undefined || next > clock.now()) this.#reading = false;
    if (next === undefined) return;
    const due = (): void => {
      this.#timer = undefined;
      this.#reading = false;
      this.#handle({ kind: 'timer' });
    };
    this.#timer = clock.schedule(next, () => {
      // A hello may wait in the socket.
      if (this.#reading || clock.now() - next <= LATE) due();
      else {
        this.#reading = true;
        this.#timer = soon(clock, due);
      }
    });
  }

  #count(name: string, by = 1): void {
    const { counters } = this.#machine.core;
    counters.set(name, (counters.get(name) ?? 0) + by);
  }
}

function checkOptions({ announce, interfaces, originateDefault }: OspfSettings): void {
  if (originateDefault && !(originateDefault.metric >= 1 && originateDefault.metric < LSInfinity)) {
    throw new RangeError(`a default route of metric ${originateDefault.metric} is none`);
  }
  for (const { name, area, authentication } of interfaces) {
    const problem = authentication && authenticationProblem(authentication);
    if (problem !== undefined) throw new RangeError(`${name}: ${problem}`);
    // §3.6: the backbone is never an NSSA, and so the hosts would be announced to nobody.
    if (announce.as === 'nssa' && area === '0.0.0.0') {
      throw new RangeError(`${name}: announcing as nssa needs an area other than 0.0.0.0`);
    }
  }
}

/** undefined: no IPv4 address, hence nothing to speak OSPFv2 with. */
function linkOf(port: Port): Link | undefined {
  const found = port.addresses.find(({ address }) => familyOf(address) === 4);
  if (!found) return undefined;
  return {
    ifindex: port.ifindex,
    mtu: port.mtu,
    address: ipv4ToNumber(found.address),
    prefixLength: found.prefixLength,
  };
}

/** Type-5 LSAs of 36 octets that fit one update on a link of 1,500 octets. */
const FIRST_PACKET = 40;

/**
 * A large withdrawal is looked up host by host before its packets are made. The first packet need not wait for that: it
 * is made of the first hosts alone, and is on the wire before the others are looked at. What is announced comes after
 * all of it, for new LSAs are written down before anything of their event is sent.
 */
function inOrder(delta: HostDelta): HostDelta[] {
  const { withdrawn, announced } = delta;
  if (withdrawn.length <= FIRST_PACKET && (withdrawn.length === 0 || announced.length === 0)) return [delta];
  const parts: HostDelta[] = [{ withdrawn: withdrawn.slice(0, FIRST_PACKET), announced: [] }];
  if (withdrawn.length > FIRST_PACKET) parts.push({ withdrawn: withdrawn.slice(FIRST_PACKET), announced: [] });
  if (announced.length > 0) parts.push({ withdrawn: [], announced });
  return parts;
}
