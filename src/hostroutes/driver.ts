/**
 * Binds the table to packet sockets, the kernel's neighbour table and the clock. Everything runs in the turn of its
 * event: what is read is decided, told (`onDelta`) and asked (probes) before the turn ends; only then come the events
 * that people and logs read.
 *
 * Link changes are not subscribed to here: the agent calls `portChange`, because the order matters (hosts are withdrawn
 * before the port-link groups decide).
 */
import { type Address, familyOf, type Mac } from '../model/address.ts';
import type { Instant, Timer } from '../model/clock.ts';
import type { ForeignClaim, HostRoute } from '../model/hosts.ts';
import { isUp, type Port, type PortChange } from '../model/ports.ts';
import { clearGuards } from '../netlink/frames/index.ts';
import type { NeighbourEvent } from '../netlink/index.ts';
import { Feed, oneOf } from './feed.ts';
import { HostTable } from './machine/table.ts';
import type { HostEffect, HostEvent, HostPolicy, HostView, Memory, RememberedHost } from './machine/types.ts';
import type { HostRoutesOptions, Report, Withdrawal } from './options.ts';
import { Lags } from './sources/lags.ts';
import { inherited, neighbourEvidence, recollection } from './sources/neighbours.ts';
import { Placement } from './sources/placement.ts';
import { Snooping } from './sources/snooping.ts';
import { StationWatch } from './sources/stations.ts';
import type { SweepPlan } from './sources/sweep.ts';
import { Sweeping } from './sources/sweeping.ts';
import { Weeding } from './sources/weeding.ts';

/** Counters of the table, of the decoders (by reason) and of the sockets, flat. */
export type HostRoutesCounters = Readonly<Record<string, number>>;

/** Ports whose hosts are withdrawn ahead of those of the other ports that are blocked with them. */
const FIRST_PORTS = 2;

export class HostRoutes {
  readonly #options: HostRoutesOptions;
  readonly #table: HostTable;
  readonly #placement: Placement;
  readonly #snooping: Snooping;
  readonly #stations: StationWatch;
  readonly #sweeping: Sweeping;
  readonly #weeding: Weeding;
  readonly #lags: Lags;
  /** As it was given; `#policy` has LAGs in place of their members. */
  #given: HostPolicy;
  #policy: HostPolicy;
  #timer: Timer | undefined;
  #timerAt: Instant = Number.POSITIVE_INFINITY;
  #unsubscribe: (() => void) | undefined;
  #running = false;
  #shedNeighbours = 0;
  readonly #feeding: Feed;

  constructor(options: HostRoutesOptions) {
    this.#options = options;
    this.#lags = new Lags(options.kernel);
    this.#given = options.policy;
    this.#policy = this.#lags.resolve(options.policy);
    this.#table = new HostTable(this.#policy, options.random, (port) => options.kernel.port(port)?.ifindex);
    this.#placement = new Placement(options.kernel, this.#policy);
    const { kernel, clock } = options;
    this.#feeding = new Feed({
      now: () => clock.now(),
      handle: (event, at) => this.#perform(this.#table.handle(event, at), at),
      done: () => this.#arm(),
    });
    const shared = {
      kernel,
      placement: this.#placement,
      known: (mac: Mac) => this.#table.stationed(mac),
      onEvidence: (events: HostEvent[]) => this.#hear(events),
    };
    this.#snooping = new Snooping(this.#policy, {
      ...shared,
      netns: options.netns,
      log: options.log,
      clock: options.clock,
      openPort: options.openPort,
      guards: options.guards,
      swept: (address) => this.#sweeping.answers(address),
      knownOn: (port) => this.#table.addressesOn(port),
      isElsewhere: (port, address) => this.#table.isElsewhere(port, address),
      weed: (port) => this.#weeding.weed(port),
      onStorm: (port, began, reason) => options.onEvent({ type: 'storm', port, began, reason }),
    });
    this.#stations = new StationWatch({ ...shared, clock });
    this.#weeding = new Weeding({
      kernel,
      placement: this.#placement,
      isKnown: (port, address) => this.#table.isOn(port, address),
    });
    this.#sweeping = new Sweeping(this.#policy, {
      ...shared,
      clock,
      snooping: this.#snooping,
      netns: options.netns,
      openPort: options.openPort,
      known: (address) => this.#table.isPlaced(address),
    });
  }

  /** Opens the sockets of the ports that exist, looks for static hosts and takes the kernel's neighbours over. */
  start(): void {
    if (this.#running) return;
    this.#running = true;
    const { guards, netns } = this.#options;
    if (guards) clearGuards(guards, netns);
    this.configure(this.#given);
    const { neighbours } = this.#options.kernel;
    this.#unsubscribe = neighbours.onNeighbour((event) => this.#neighbour(event));
    this.#stations.start();
    this.#takeNeighbours();
    this.#adopt();
    this.#feed({ type: 'search', ports: this.#policy.ports }, this.#now());
    this.#sweeping.start();
  }

  /** Closes everything, and leaves the ports to the kernel; announces nothing and withdraws nothing. */
  stop(): void {
    this.#running = false;
    this.#feeding.clear();
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#stations.stop();
    this.#sweeping.stop();
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    this.#snooping.close();
  }

  /** To be called by the agent for every link change, before the port-link groups decide: withdrawal first. */
  portChange(change: PortChange): void {
    const { name, after, at } = change;
    const ours = this.#policy.ports.includes(name);
    if (ours && !isUp(after)) this.#feed({ type: 'portDown', ports: [name], reason: whyDown(after) }, at);
    this.#placement.portsChanged();
    if (this.#lags.concerns(change, this.#given)) {
      this.configure(this.#given);
      return;
    }
    if (!ours || !this.#running) return;
    this.#snooping.refresh(name);
    if (!isUp(after)) return;
    this.#feed({ type: 'portUp', port: name }, at);
    if (!isUp(change.before)) this.#sweeping.portUp(after!);
  }

  /** Asks for every address of the prefixes (see sources/sweep.ts). A text: why not. */
  sweep(): SweepPlan | string {
    return this.#sweeping.request();
  }

  /** A port-link group shuts (true) or reopens ports: hosts withdrawn in one delta, nothing learned there meanwhile. */
  blockPorts(names: readonly string[], blocked: boolean, reason: string, at = this.#now()): void {
    const ports = this.#lags.block(names, blocked);
    if (ports.length === 0) return;
    // The first hosts are on the wire before the others are looked up.
    const first = blocked && ports.length > 2 * FIRST_PORTS ? FIRST_PORTS : ports.length;
    this.#feed({ type: 'blockPorts', ports: ports.slice(0, first), blocked, reason }, at);
    if (first < ports.length) this.#feed({ type: 'blockPorts', ports: ports.slice(first), blocked, reason }, at);
  }

  /** These ports are about to carry their hosts again (or just do): see machine/returning.ts. Answers who is expected. */
  expect(names: readonly string[], at = this.#now()): Address[] {
    const ports = this.#lags.names(names);
    this.#feed({ type: 'expect', ports }, at);
    return this.#table.expected(ports);
  }

  /** How many would be expected behind this port, beside those who are. */
  expectable(name: string): number {
    return this.#table.expectable(this.#lags.names([name])[0]!);
  }

  /** We have just shut this port, and the kernel has not told of it: what was heard there before is not read any more. */
  shut(name: string, reason: string, at = this.#now()): void {
    if (this.#policy.ports.includes(name)) this.#feed({ type: 'portDown', ports: [name], reason }, at);
  }

  /** The kernel has opened them. Nothing will tell of one that it had not shut, whatever we asked. */
  opened(names: readonly string[]): void {
    const { kernel } = this.#options;
    for (const port of this.#lags.names(names))
      if (this.#policy.ports.includes(port) && isUp(kernel.port(port)))
        this.#feed({ type: 'portUp', port }, this.#now());
  }

  /** Those who are expected at these ports can be heard from now on: the wait for them begins anew. */
  opening(names: readonly string[]): void {
    this.#feed({ type: 'opening', ports: this.#lags.names(names) }, this.#now());
  }

  /** Packets for the hosts of these ports wait from now on, and nothing is learned there (see machine/leaving.ts). */
  leave(ports: readonly string[], reason: string, at = this.#now()): void {
    this.#feed({ type: 'leave', ports: this.#lags.names(ports), reason }, at);
  }

  /** Hosts of such ports are elsewhere. `turned`: the fabric knows. */
  left(addresses: readonly Address[], turned: boolean, at = this.#now()): void {
    this.#feed({ type: 'left', addresses, turned }, at);
  }

  /** Who is or was behind which port, for the next life of the agent. */
  memory(): Memory[] {
    return this.#table.memory();
  }

  remember(hosts: readonly Memory[]): void {
    this.#feed({ type: 'remember', hosts }, this.#now());
  }

  foreignClaim(claim: ForeignClaim): void {
    this.#feed({ type: 'foreignClaim', claim }, this.#now());
  }

  /** Evidence from a server's own session or a kernel table. */
  report(report: Report): void {
    this.#feed({ type: 'heard', ...report }, this.#now());
  }

  /** Its MAC is not known: it is asked for on `port` until it answers, or is not sought any more. */
  seek(address: Address, port: string): void {
    this.#feed({ type: 'seek', address, port }, this.#now());
  }

  unseek(address: Address): void {
    this.#feed({ type: 'unseek', address }, this.#now());
  }

  damped = () => this.#table.damped(this.#now());

  /** Their moves of before are forgotten (see machine/damping.ts). */
  forgive(addresses: readonly Address[]): void {
    this.#feed({ type: 'forgive', addresses }, this.#now());
  }

  retract(withdrawal: Withdrawal): void {
    this.#feed({ type: 'lost', ...withdrawal }, this.#now());
  }

  configure(given: HostPolicy): void {
    this.#given = given;
    const policy = this.#lags.resolve(given);
    const neighboursCome = policy.sources.neighbours && !this.#policy.sources.neighbours;
    this.#policy = policy;
    this.#placement.configure(policy);
    this.#sweeping.configure(policy);
    const at = this.#now();
    const down = policy.ports.filter((name) => !isUp(this.#options.kernel.port(name)));
    const events: HostEvent[] = [{ type: 'configure', policy }];
    if (down.length > 0) events.push({ type: 'portDown', ports: down, reason: 'not up' });
    this.#feed({ type: 'batch', events }, at);
    if (!this.#running) return;
    this.#snooping.configure(policy);
    if (neighboursCome) this.#takeNeighbours();
  }

  hosts(): HostView[] {
    return this.#table.hosts();
  }

  find(address: Address): HostView | undefined {
    return this.#table.find(address);
  }

  /** Behind which downlink an address is, also one outside our prefixes: by the table, else by the kernel's neighbours. */
  locate(address: Address): Pick<HostView, 'port' | 'mac' | 'interface' | 'ifindex'> | undefined {
    const host = this.#table.find(address);
    if (host && host.port !== '' && host.state !== 'gone') return host;
    for (const neighbour of this.#options.kernel.neighbours.all()) {
      if (neighbour.address !== address || !neighbour.usable || neighbour.mac === undefined) continue;
      const port = this.#placement.downlinkOf(neighbour.ifindex, neighbour.mac);
      if (!port) continue;
      const routed = this.#placement.routedOn(port, address);
      return { port: port.name, mac: neighbour.mac, interface: routed.name, ifindex: routed.ifindex };
    }
    return undefined;
  }

  /**
   * The kernel believes somebody else to be a host of ours: the host is asked, and moves if it is silent (at once, if
   * ARP of his is heard here as well and is believed). Behind which downlink he is, and where the host is taken to be.
   */
  claimedInKernel({ address, mac, ifindex }: NeighbourEvent): { port: string | undefined; home: string } | undefined {
    const host = this.#table.placeOf(address);
    if (!host || mac === undefined || host.mac === mac) return undefined;
    const port = this.#placement.downlinkOf(ifindex, mac);
    if (port) {
      const routed = this.#placement.routedOn(port, address);
      const place = { address, mac, port: port.name, interface: routed.name, ifindex: routed.ifindex };
      this.#feed({ type: 'claimed', source: 'neighbour', ...place, how: 'kernel-stale' }, this.#now());
    }
    return { port: port?.name, home: host.port };
  }

  /** Hosts that left lately, with the reason; the newest last. */
  departed(): HostView[] {
    return this.#table.departed();
  }

  /** Hosts that left `port` because it went down or was blocked, at most a day ago. */
  remembered(port: string): RememberedHost[] {
    return this.#table.remembered(this.#lags.names([port])[0]!);
  }

  /** Everything that is announced now, for a new announcer or a reconcile. */
  announced(): HostRoute[] {
    return this.#table.announced();
  }

  /** Announced hosts, without those that we only stand by for. */
  count(): { ipv4: number; ipv6: number } {
    const count = { ipv4: 0, ipv6: 0 };
    for (const { address, shadow } of this.#table.announced())
      if (!shadow) count[familyOf(address) === 4 ? 'ipv4' : 'ipv6']++;
    return count;
  }

  /** Ports on which a storm goes on (see sources/storms.ts). */
  storming(): string[] {
    return this.#snooping.storms.ports;
  }

  counters(): HostRoutesCounters {
    const { hostsByPort, refused, ...table } = this.#table.counters();
    const flat: Record<string, number> = { ...table };
    for (const [port, count] of Object.entries(hostsByPort)) flat[`hosts.${port}`] = count;
    for (const [reason, count] of Object.entries(refused)) flat[`refused.${reason}`] = count;
    flat['neighbours.storm'] = this.#shedNeighbours;
    const { counters } = this.#sweeping;
    return { ...flat, ...this.#snooping.counters(), ...this.#weeding.count, ...this.#stations.count, ...counters };
  }

  #now(): Instant {
    return this.#options.clock.now();
  }

  #hear(events: HostEvent[]): void {
    const now = this.#now();
    const first = events.find((event) => event.type === 'heard' && this.#table.leads(event.address, now));
    if (first) this.#feeding.ahead(first);
    const others = first ? events.filter((event) => event !== first) : events;
    if (others.length > 0) this.#feeding.hear(others);
  }

  #takeNeighbours(): void {
    const events: HostEvent[] = [];
    for (const neighbour of this.#options.kernel.neighbours.all()) {
      const believed = this.#policy.sources.neighbours ? this.#evidenceOf(neighbour) : undefined;
      const event = believed ?? recollection(neighbour, this.#placement);
      if (event) events.push(event);
    }
    if (events.length > 0) this.#feed(oneOf(events), this.#now());
  }

  /**
   * Entries that we did not write in this life are what an earlier run, that could not take leave, knew: their hosts are
   * asked at once, and believed when they answer.
   */
  #adopt(): void {
    const source = this.#policy.sources.neighbours ? 'neighbour' : 'arp';
    const events = inherited(this.#options.kernel.neighbours.all(), this.#placement, source);
    if (events.length > 0) this.#feed(oneOf(events), this.#now());
  }

  #neighbour(neighbour: NeighbourEvent): void {
    if (!this.#policy.sources.neighbours) return;
    const event = this.#evidenceOf(neighbour);
    if (!event) return;
    // Who asks for us makes an entry in the kernel's table, so a storm is heard there as well.
    if (event.type === 'heard' && event.stale && this.#snooping.storms.has(event.port)) this.#shedNeighbours++;
    else this.#feed(event, neighbour.at);
  }

  #evidenceOf(neighbour: NeighbourEvent): HostEvent | undefined {
    return neighbourEvidence(neighbour, this.#placement, ({ address, ifindex }) => {
      const host = this.#table.placeOf(address);
      return host?.ifindex === ifindex ? host.port : undefined;
    });
  }

  #feed(event: HostEvent, at: Instant): void {
    this.#feeding.give(event, at);
  }

  #perform(effects: readonly HostEffect[], at: Instant): void {
    if (effects.length === 0) return;
    for (const effect of effects) if (effect.type === 'delta') this.#options.onDelta(effect.delta, effect.cause, at);
    const probes = effects.filter((effect) => effect.type === 'probe');
    this.#snooping.askAll(probes, ({ address, port }) => this.#feed({ type: 'probeUnsent', address, port }, at));
    for (const effect of effects) {
      if (effect.type !== 'delta' && effect.type !== 'probe') this.#options.onEvent(effect);
    }
  }

  /** A timer that is too early is left alone: hearing hosts only ever moves deadlines further away. */
  #arm(): void {
    const at = this.#table.nextDeadline();
    if (at === undefined || !this.#running || at >= this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = at;
    this.#timer = this.#options.clock.schedule(at, () => {
      this.#timer = undefined;
      this.#timerAt = Number.POSITIVE_INFINITY;
      const now = this.#now();
      // An answer may wait behind this timer, the more so when the loop was busy.
      if (this.#table.verdictDue(now)) this.#snooping.drain();
      this.#feed({ type: 'tick' }, this.#now());
    });
  }
}

const whyDown = (port: Port | undefined): string =>
  port === undefined ? 'interface removed' : port.adminUp ? 'carrier lost' : 'administratively down';
