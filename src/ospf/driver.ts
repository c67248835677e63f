/**
 * The OSPF speaker on real interfaces: the machine of `machine/` bound to raw sockets, to the clock, to the links.
 *
 * Every event is performed in the turn in which it came: `apply` hands the host delta to the machine and puts the
 * updates that come back on the wire before it returns, first of all effects; callbacks to the agent come after the
 * bytes. What the kernel does not take (ENOBUFS and the like) is counted, and stays on the retransmission lists.
 */
import { SystemCallError } from 'linux-sockets';
import {
  type Authentication,
  authenticationProblem,
  decodePacket,
  encodePacket,
  MaxAge,
  packUpdates,
  type U32,
} from 'node-ospf-lsa';
import { type Address, familyOf, ipv4FromNumber, ipv4ToNumber, prefixAddress, prefixLength } from '../model/address.ts';
import type { Instant, Timer } from '../model/clock.ts';
import type { HostDelta, WireReport } from '../model/hosts.ts';
import { isUp, type Port } from '../model/ports.ts';
import type { InterfaceView, LsaView, NeighborView, OspfOptions, Speaker } from './face.ts';
import { AllSPFRouters, type Effect, InfTransDelay, type Link, maskOf, type OspfEvent } from './machine/core.ts';
import { OspfMachine } from './machine/machine.ts';
import { PacedSender } from './pacing.ts';
import { type OspfSocket, type Received, rawSocket } from './socket.ts';
import { adjacencyUp, interfaceViews, lsaViews, neighborViews } from './views.ts';

/** MinLSArrival guards against a storm, and a handful of instances is none. */
const EARLY_ARRIVALS = 5;

/** How long `stop` waits for the flushes to be acknowledged (ms): MinLSArrival of the neighbour and its delayed ack. */
const LeaveTimeout = 2500;
const LeavePoll = 20;

export class OspfSpeaker implements Speaker {
  readonly name = 'ospf';
  readonly #options: OspfOptions;
  readonly #machine: OspfMachine;
  readonly #sockets = new Map<string, OspfSocket>();
  readonly #pacers = new Map<string, PacedSender>();
  readonly #authentication = new Map<string, Authentication>();
  readonly #texts = new Map<U32, string>();
  #unsubscribe: (() => void) | undefined;
  #timer: Timer | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #running = false;
  #stopping: Promise<void> | undefined;
  #cryptoSequence = 0;
  /** Interfaces where the kernel did not take everything of this event. */
  readonly #refused = new Set<string>();
  #packets = 0;
  #firstByteAt: Instant | undefined;
  #lastByteAt: Instant | undefined;

  /** @throws RangeError for options that cannot be spoken with, whatever the network does */
  constructor(options: OspfOptions) {
    checkOptions(options);
    this.#options = options;
    this.#machine = new OspfMachine({
      routerId: ipv4ToNumber(options.routerId),
      interfaces: options.interfaces,
      announce: options.announce,
      prefixes: options.prefixes,
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
    for (const { name, authentication } of options.interfaces) {
      this.#authentication.set(name, authentication ?? { type: 'none' });
    }
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#unsubscribe = this.#options.links.onChange(({ name, after }) => this.linkChanged(after, name));
    for (const { name } of this.#options.interfaces) this.linkChanged(this.#options.links.port(name), name);
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
    while (this.#machine.unacknowledged() > 0 && clock.now() < deadline) {
      await new Promise<void>((resolve) => {
        clock.schedule(clock.now() + LeavePoll, resolve);
      });
    }
    this.#handle({ kind: 'goodbye' });
    this.abandon();
  }

  /** Stops without a word on the wire, as a crash would; neighbours notice after RouterDeadInterval. */
  abandon(): void {
    this.#running = false;
    this.#unsubscribe?.();
    this.#timer?.cancel();
    for (const name of [...this.#sockets.keys()]) this.#close(name);
  }

  apply(delta: HostDelta): WireReport {
    this.#packets = 0;
    this.#firstByteAt = undefined;
    this.#lastByteAt = undefined;
    const [first, rest] = splitFirstPacket(delta);
    this.#handle({ kind: 'hosts', delta: first });
    if (rest) this.#handle({ kind: 'hosts', delta: rest });
    const packets = this.#packets;
    return this.#firstByteAt === undefined || this.#lastByteAt === undefined
      ? { packets }
      : { packets, firstByteAt: this.#firstByteAt, lastByteAt: this.#lastByteAt };
  }

  settled(): void {
    this.#handle({ kind: 'settled' });
  }

  linkChanged(port: Port | undefined, name: string): void {
    const link = port && isUp(port) ? linkOf(port) : undefined;
    if (!this.#running || !this.#machine.core.interfaces.has(name)) return;
    const before = this.#machine.core.interfaces.get(name)!.link;
    const reopen = link && (!before || before.ifindex !== link.ifindex || before.address !== link.address);
    if (before && (!link || reopen)) {
      this.#handle({ kind: 'link', interface: name, link: undefined });
      this.#close(name);
    }
    if (reopen && !this.#open(name, link)) return;
    if (link) this.#handle({ kind: 'link', interface: name, link });
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

  // ---- sockets

  #open(name: string, link: Link): boolean {
    this.#close(name);
    const { netns, log, openSocket = rawSocket } = this.#options;
    let socket: OspfSocket | undefined;
    try {
      socket = openSocket(name, link.ifindex, link.address, netns);
      socket.join(AllSPFRouters);
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      socket?.close();
      this.#count('socket.open-failed');
      log.error({ interface: name, code: error.code, syscall: error.syscall }, 'OSPF cannot open its socket');
      return false;
    }
    socket.listen(
      (packet) => this.#receive(name, packet),
      () => this.#count('drop.ip-header'),
      (error) => this.#count(`rx.${error.code}`),
    );
    const opened = socket;
    this.#sockets.set(name, opened);
    this.#pacers.set(
      name,
      new PacedSender(
        this.#options.clock,
        (to, packets) => this.#write(opened, name, to, packets, 'update'),
        (packets) => this.#count('tx.queue-full', packets),
      ),
    );
    return true;
  }

  #close(name: string): void {
    this.#pacers.get(name)?.close();
    this.#pacers.delete(name);
    this.#sockets.get(name)?.close();
    this.#sockets.delete(name);
  }

  #receive(name: string, { source, destination, bytes }: Received): void {
    const decoded = decodePacket(bytes, { authentication: this.#authentication.get(name)! });
    if (!decoded.ok) {
      this.#count(`drop.${decoded.reason}`);
      return;
    }
    this.#handle({ kind: 'packet', interface: name, source, destination, packet: decoded.value });
  }

  // ---- effects

  #handle(event: OspfEvent): void {
    if (!this.#running) {
      // Hosts are taken at any time; before start there is no one to tell.
      if (event.kind !== 'hosts' && event.kind !== 'settled' && event.kind !== 'drain') return;
    }
    const now = this.#options.clock.now();
    const effects = this.#machine.handle(event, now);
    for (const effect of effects) if (effect.kind === 'send' || effect.kind === 'update') this.#transmit(effect);
    this.#machine.complete(now);
    for (const name of this.#refused) this.#machine.handle({ kind: 'send-failed', interface: name }, now);
    this.#refused.clear();
    for (const effect of effects) this.#perform(effect, now);
    this.#arm();
  }

  #transmit(effect: Extract<Effect, { kind: 'send' | 'update' }>): void {
    const socket = this.#sockets.get(effect.interface);
    const iface = this.#machine.core.interfaces.get(effect.interface)!;
    if (!socket) return;
    const authentication = this.#authentication.get(effect.interface)!;
    const to = this.#text(effect.to);
    if (effect.kind === 'send') {
      const packet = encodePacket(effect.packet, authentication, this.#nextCryptoSequence());
      this.#write(socket, effect.interface, to, [packet], KINDS[effect.packet.type]);
      return;
    }
    const header = {
      routerId: this.#machine.core.routerId,
      areaId: iface.area.id,
      cryptoSequence: this.#nextCryptoSequence(),
      transmitDelay: effect.flush ? MaxAge : InfTransDelay,
    };
    const room = (iface.link?.mtu ?? 1500) - 20;
    this.#pacers.get(effect.interface)?.send(to, packUpdates(effect.lsas, room, header, authentication));
  }

  #write(socket: OspfSocket, name: string, to: string, packets: readonly Uint8Array[], kind: string): void {
    const { clock } = this.#options;
    let sent = 0;
    let code = 'partial';
    const before = clock.now();
    try {
      sent = socket.send(to, packets);
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      code = error.code;
    }
    if (sent > 0) {
      this.#firstByteAt ??= before;
      this.#lastByteAt = clock.now();
      this.#packets += sent;
    }
    this.#count(`tx.${kind}`, sent);
    if (sent === packets.length) return;
    this.#count(`tx.${code}`, packets.length - sent);
    this.#refused.add(name);
  }

  /** §D.3: never decreases, over restarts neither: seconds of the wall clock, several packets may share one. */
  #nextCryptoSequence(): number {
    // What waits in a queue was signed with the present number, and must not be overtaken by a higher one.
    for (const pacer of this.#pacers.values()) if (pacer.waiting > 0) return this.#cryptoSequence;
    const seconds = this.#options.wallClockSeconds?.() ?? Math.floor(Date.now() / 1000);
    this.#cryptoSequence = Math.max(this.#cryptoSequence, seconds >>> 0);
    return this.#cryptoSequence;
  }

  #perform(effect: Effect, now: Instant): void {
    const { log } = this.#options;
    switch (effect.kind) {
      case 'send':
      case 'update':
        return;
      case 'membership':
        this.#membership(effect.interface, effect.group, effect.joined);
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
      case 'log':
        log[effect.level](effect.fields, effect.message);
    }
  }

  #membership(name: string, group: U32, joined: boolean): void {
    const socket = this.#sockets.get(name);
    if (!socket) return;
    try {
      if (joined) socket.join(group);
      else socket.leave(group);
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      this.#count(`membership.${error.code}`);
      this.#options.log.warn({ interface: name, code: error.code, joined }, 'OSPF multicast membership');
    }
  }

  #arm(): void {
    const next = this.#running ? this.#machine.nextDeadline() : undefined;
    if (next === this.#timerAt && this.#timer) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAt = next ?? Number.POSITIVE_INFINITY;
    if (next === undefined) return;
    this.#timer = this.#options.clock.schedule(next, () => {
      this.#timer = undefined;
      this.#handle({ kind: 'timer' });
    });
  }

  #text(address: U32): string {
    let text = this.#texts.get(address);
    if (text === undefined) {
      if (this.#texts.size > 1024) this.#texts.clear();
      text = ipv4FromNumber(address);
      this.#texts.set(address, text);
    }
    return text;
  }

  #count(name: string, by = 1): void {
    const { counters } = this.#machine.core;
    counters.set(name, (counters.get(name) ?? 0) + by);
  }
}

const KINDS = { 1: 'hello', 2: 'dd', 3: 'request', 4: 'update', 5: 'ack' } as const;

function checkOptions({ announce, interfaces }: OspfOptions): void {
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
 * is made of the first hosts alone, and is on the wire before the others are looked at.
 */
function splitFirstPacket(delta: HostDelta): [HostDelta, HostDelta | undefined] {
  const { withdrawn, announced } = delta;
  if (withdrawn.length <= FIRST_PACKET) return [delta, undefined];
  return [
    { withdrawn: withdrawn.slice(0, FIRST_PACKET), announced: [] },
    { withdrawn: withdrawn.slice(FIRST_PACKET), announced },
  ];
}
