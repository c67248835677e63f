import type { BgpOptions, BgpSettings, Speaker as BgpSpeakerFace } from '../../bgp/index.ts';
import { BgpSpeaker } from '../../bgp/index.ts';
import type { Address } from '../../model/address.ts';
import type { Clock, Instant } from '../../model/clock.ts';
import type { Announcer, ForeignClaim, ForeignShadow } from '../../model/hosts.ts';
import type { Log } from '../../model/log.ts';
import type { CarriedFact } from '../../model/port-facts.ts';
import { isUp, type LinkState, type Port, type PortChange } from '../../model/ports.ts';
import type { LearnedRouteInstaller } from '../../netlink/index.ts';
import type { OspfOptions, OspfSettings, Speaker as OspfSpeakerFace } from '../../ospf/index.ts';
import { OspfSpeaker } from '../../ospf/index.ts';
import { neighborEvent, serverSessionEvent, sessionEvent } from '../control/session-events.ts';
import type { EventLog, NewEvent } from '../events.ts';
import { LearnedTables } from './fabric/learned-tables.ts';
import { Resets } from './fabric/resets.ts';
import { type Outside, type Protocol, type Readiness, type Speakers, waysOf } from './fabric/types.ts';
import { Uplinks } from './fabric/uplinks.ts';
import { Upstream } from './fabric/upstream.ts';
import { withoutShadows } from './without-shadows.ts';

type Settings<T> = Omit<
  T,
  | 'clock'
  | 'log'
  | 'links'
  | 'onRoutes'
  | 'onForeignClaim'
  | 'onForeignShadow'
  | 'onNeighbor'
  | 'onSession'
  | 'onServerSession'
>;

export interface FabricOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly links: LinkState;
  readonly events: EventLog;
  readonly ospf: Settings<OspfOptions> | undefined;
  readonly bgp: Settings<BgpOptions> | undefined;
  /** Makes the installer of one protocol's learned routes. */
  readonly installer: (protocol: Protocol) => LearnedRouteInstaller;
  readonly outside: Outside | undefined;
  /** Somebody else's default route through the port is in the kernel. */
  foreignDefault(port: string): boolean;
  onForeignClaim(claim: ForeignClaim): void;
  onForeignShadow(shadow: ForeignShadow): void;
  /** A session came or went, or its routes are in the kernel: ask `ready` and `adjacency` again. */
  onChange(): void;
}

/**
 * The side of the agent that faces the gateway. Here the speakers begin, are told and end; what they have learned is in
 * `LearnedTables`, what it says of a single uplink in `Uplinks`, and whether a server that comes back now would find a
 * working path in `Upstream`.
 */
export class Fabric implements Speakers {
  readonly ospf: OspfSpeakerFace | undefined;
  readonly bgp: BgpSpeakerFace | undefined;
  readonly #options: FabricOptions;
  readonly #tables: LearnedTables;
  readonly #resets: Resets;
  readonly #uplinks: Uplinks;
  readonly #upstream: Upstream;

  constructor(options: FabricOptions) {
    this.#options = options;
    const { clock, log, links, events, outside } = options;
    const onChange = () => options.onChange();
    const onForeignShadow = (shadow: ForeignShadow) => options.onForeignShadow(shadow);
    const common = { clock, log, links, onForeignShadow };
    this.#resets = new Resets(clock, onChange);
    this.#tables = new LearnedTables({
      protocols: [...(options.ospf ? (['ospf'] as const) : []), ...(options.bgp ? (['bgp'] as const) : [])],
      clock,
      log,
      installer: options.installer,
      onChange,
    });
    const record = (event: NewEvent | undefined) => event && events.record(event);
    if (options.ospf) {
      this.ospf = new OspfSpeaker({
        ...options.ospf,
        ...common,
        // In OSPF the announcer is known by its router id, whoever passes the LSA on.
        onForeignClaim: (claim) => options.onForeignClaim({ ...claim, routerId: claim.from as Address }),
        onRoutes: (changes) => this.#tables.update('ospf', changes),
        onNeighbor: (change) => {
          if (change.to === 'Full') this.#resets.forget(`OSPF neighbour on ${change.interface}`);
          this.#upstream.sessionChanged('ospf', change.to === 'Full', change.at);
          record(neighborEvent(change));
        },
      });
    }
    if (options.bgp) {
      this.bgp = new BgpSpeaker({
        ...options.bgp,
        ...common,
        onForeignClaim: (claim) => options.onForeignClaim(claim),
        onRoutes: (changes) => this.#tables.update('bgp', changes),
        onServerSession: (change) => record(serverSessionEvent(change)),
        onSession: (change) => {
          if (change.to === 'Established') this.#resets.forget(`BGP neighbour ${change.neighbor}`);
          if (!change.observer) this.#upstream.sessionChanged('bgp', change.to === 'Established', change.at);
          record(sessionEvent(change));
        },
      });
    }
    const judged = { clock, links, speakers: this, tables: this.#tables, outside, onChange };
    this.#uplinks = new Uplinks({
      ...judged,
      resets: this.#resets,
      foreignDefault: (port) => options.foreignDefault(port),
    });
    this.#upstream = new Upstream(judged);
  }

  /**
   * BGP first: it has done with a delta when its bytes are written, OSPF has books to keep then. Who reads a table of ours
   * comes last.
   *
   * Where both are spoken, shadows go by OSPF alone: a gateway prefers what it has by BGP, so a shadow there would win
   * over a host that it has by OSPF from a switch whose BGP session is down.
   */
  announcers(): Announcer[] {
    const bgp = this.bgp && this.ospf ? withoutShadows(this.bgp) : this.bgp;
    return [bgp, this.ospf, this.#options.outside?.announcer].filter((speaker) => speaker !== undefined);
  }

  /** `restarted`: the kernel still had host routes of an earlier life. */
  start(restarted: boolean): void {
    // A box that has just booted forwards nothing: what it announced before must not draw traffic to closed ports. After
    // a crash the kernel goes on forwarding, and who is still there will be heard.
    if (!restarted) this.ospf?.settled();
    this.ospf?.start();
    this.bgp?.start(restarted);
  }

  /** What BGP can change while it runs; nothing when it does not run. To be called before the host table is told. */
  configure(settings: BgpSettings): void {
    const { bgp } = this;
    if (!bgp) return;
    const before = waysOf(bgp);
    for (const { neighbor, interface: port, state } of before) {
      if (state === 'Established' && port !== undefined) this.#resets.expect(`BGP neighbour ${neighbor}`, port);
    }
    try {
      bgp.configure(settings);
    } finally {
      const now = new Map(bgp.sessions().map(({ neighbor, state }) => [neighbor, state]));
      for (const { neighbor } of before) {
        const state = now.get(neighbor);
        if (state === undefined || state === 'Established') this.#resets.forget(`BGP neighbour ${neighbor}`);
      }
      this.#options.onChange();
    }
  }

  /** The same for OSPF. */
  configureOspf(settings: OspfSettings): void {
    const { ospf } = this;
    if (!ospf) return;
    const stood = ospf.interfaces().filter(({ full }) => full > 0);
    for (const { name } of stood) this.#resets.expect(`OSPF neighbour on ${name}`, name);
    try {
      ospf.configure(settings);
    } finally {
      const now = new Map(ospf.interfaces().map(({ name, full }) => [name, full]));
      for (const { name } of stood) if (now.get(name) !== 0) this.#resets.forget(`OSPF neighbour on ${name}`);
      this.#options.onChange();
    }
  }

  /** Planned work: all that we announce gives way to whoever else announces it, or does no more. */
  leastPreferred(on: boolean): void {
    this.bgp?.setGracefulShutdown(on);
    this.ospf?.drain(on);
  }

  /** Where others find us for a tunnel; undefined: nowhere. OSPF says it anyway, by the addresses in our router LSA. */
  tunnelEndpoint(endpoint: Address | undefined): void {
    this.bgp?.setTunnelEndpoint(endpoint);
  }

  /** What is said of our ports from now on. */
  publishFacts(facts: readonly CarriedFact[]): void {
    this.bgp?.publishFacts(facts);
    this.ospf?.publishFacts(facts);
  }

  /** What is due on the wire by now, for who keeps the loop busy. */
  pump(): void {
    this.ospf?.pump();
  }

  linkChanged(change: PortChange): void {
    const missed = !isUp(change.after) && this.#resets.linkLost(change.name);
    if (!isUp(change.after)) this.#uplinks.linkLost(change.name);
    this.ospf?.linkChanged(change.after, change.name);
    this.bgp?.linkChanged(change);
    if (missed) this.#options.onChange();
  }

  /**
   * A next hop on a port that is up fell silent, or answers again. What stands on the silence falls at once, as it would
   * at the word of BFD (RFC 5882 §4): neighbours that had lived through it would be full of news that nobody has sent
   * again yet, and routes through the port would lead nowhere. What comes back is looked for at once.
   */
  silenceChanged(name: string, silent: boolean, at: Instant): void {
    const port = this.#options.links.port(name);
    if (!port || !isUp(port)) return;
    const dark = { ...port, carrier: false };
    if (silent || !this.ospf?.neighbors().some((neighbor) => neighbor.interface === name)) {
      this.ospf?.linkChanged(dark, name);
      this.ospf?.linkChanged(port, name);
    }
    if (silent) this.bgp?.linkChanged({ name, before: port, after: dark, at });
    this.bgp?.linkChanged({ name, before: dark, after: port, at });
  }

  /** The host table is complete: what an earlier life of ours left in the fabric goes. */
  async settled(): Promise<void> {
    this.ospf?.settled();
    this.bgp?.settled();
    await this.#tables.reconcile((protocol) => this.#upstream.of(protocol).ready);
  }

  /** See `Upstream`. */
  readiness(): Readiness {
    return this.#upstream.readiness();
  }

  /** Whether anybody is told of hosts of this IP version: OSPFv2 has no word for IPv6, a BGP session agrees on it or not. */
  tells(family: 4 | 6): boolean {
    if (family === 4 || this.#options.outside) return true;
    return waysOf(this.bgp).some(({ families }) => families.includes('ipv6'));
  }

  adjacency(port: string): Readiness {
    return this.#uplinks.adjacency(port);
  }

  defaultRoute(port: string): Readiness {
    return this.#uplinks.defaultRoute(port);
  }

  /** Whose session on the port was just reset by a reload. */
  resetOn(port: string): string | undefined {
    return this.#resets.on(port);
  }

  neighboursOn(port: Port): Address[] {
    return this.#uplinks.neighboursOn(port);
  }

  async stop(): Promise<void> {
    this.#upstream.close();
    this.#resets.close();
    this.#uplinks.close();
    this.#tables.rest();
    await Promise.all([this.ospf?.stop(), this.bgp?.stop()]);
    await this.#tables.leave();
  }

  /**
   * Ends for a restart, without a withdrawal: OSPF writes down what it needs to go on, BGP says nothing. Its connections
   * must break with the process, which its neighbours take for the beginning of a graceful restart (RFC 4724).
   */
  async pause(): Promise<void> {
    this.#upstream.close();
    this.#tables.rest();
    await this.ospf?.pause();
  }

  counters(): Record<string, Record<string, number>> {
    const counters: Record<string, Record<string, number>> = {};
    if (this.ospf) counters.ospf = this.ospf.counters();
    if (this.bgp) counters.bgp = this.bgp.counters();
    return { ...counters, ...this.#tables.counters() };
  }
}
