import type { BgpOptions, BgpSettings, Speaker as BgpSpeakerFace } from '../../bgp/index.ts';
import { BgpSpeaker } from '../../bgp/index.ts';
import { type Address, addressBytes, makePrefix, prefixContains } from '../../model/address.ts';
import type { Clock, Instant, Timer } from '../../model/clock.ts';
import type { Announcer, ForeignClaim } from '../../model/hosts.ts';
import type { Log } from '../../model/log.ts';
import { isUp, type LinkState, type Port, type PortChange } from '../../model/ports.ts';
import type { LearnedRouteInstaller } from '../../netlink/index.ts';
import type { OspfOptions, OspfSettings, Speaker as OspfSpeakerFace } from '../../ospf/index.ts';
import { OspfSpeaker } from '../../ospf/index.ts';
import type { EventLog } from '../events.ts';
import { type DefaultRouteState, DefaultRoutes } from './default-route.ts';
import { LearnedTable } from './learned-table.ts';
import { Resets } from './resets.ts';

/** A gateway that announces no route at all still counts as ready after this long (ms), or nothing would ever reopen. */
const NO_ROUTES_WAIT = 10_000;
/**
 * What we announce before the gateway has found its way to us (its SPF throttle) waits there for its next calculation of
 * all external routes, a second later at FRR; what we announce after that is taken up at once. So an adjacency is of use
 * this long (ms) after it is Full.
 */
const OSPF_SETTLE = 1_000;
/**
 * Once one session is of use, the others that should come up are waited for, this long (ms) after the first came up: a
 * gateway prefers what one protocol says to what another does, and IPv6 has a session of its own. One that never comes must
 * not keep the ports shut.
 */
const STRAGGLERS_WAIT = 5_000;
/** While sessions are up and their routes are waited for, readiness is judged this often (ms). */
const ASK_AGAIN = 50;

/**
 * Routes that an earlier life learned stay in the kernel until their protocol has heard the gateway again (RFC 4724 §4.1),
 * at most this long (ms), looked at this often.
 */
const INHERITED_WAIT = 30_000;
const INHERITED_LOOK = 500;

type Settings<T> = Omit<
  T,
  'clock' | 'log' | 'links' | 'onRoutes' | 'onForeignClaim' | 'onNeighbor' | 'onSession' | 'onServerSession'
>;

export interface FabricOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly links: LinkState;
  readonly events: EventLog;
  readonly ospf: Settings<OspfOptions> | undefined;
  readonly bgp: Settings<BgpOptions> | undefined;
  /** Makes the installer of one protocol's learned routes. */
  readonly installer: (protocol: 'ospf' | 'bgp') => LearnedRouteInstaller;
  readonly outside: Outside | undefined;
  onForeignClaim(claim: ForeignClaim): void;
  /** A session came or went, or its routes are in the kernel: ask `ready` and `adjacency` again. */
  onChange(): void;
}

/** Another daemon that faces the gateway beside our own speakers, or instead of them (`kernel.handoffTable`). */
export interface Outside {
  readonly announcer: Announcer;
  readiness(): Readiness;
  defaultRoute(port: string): boolean;
}

export interface Readiness {
  readonly ready: boolean;
  readonly reason: string;
}

/**
 * The side of the agent that faces the gateway: the speakers, the routes learned from them, and the answer to "would a
 * server that comes back now find a working path?".
 */
export class Fabric {
  readonly ospf: OspfSpeakerFace | undefined;
  readonly bgp: BgpSpeakerFace | undefined;
  readonly #options: FabricOptions;
  readonly #tables = new Map<'ospf' | 'bgp', LearnedTable>();
  /** When the present adjacency of a protocol began, for NO_ROUTES_WAIT. */
  readonly #upSince = new Map<'ospf' | 'bgp', Instant>();
  readonly #resets: Resets;
  readonly #defaultRoutes: DefaultRoutes;
  #timer: Timer | undefined;
  readonly #inherited = new Map<'ospf' | 'bgp', Timer>();
  #stopped = false;

  constructor(options: FabricOptions) {
    this.#options = options;
    this.#resets = new Resets(options.clock, () => options.onChange());
    this.#defaultRoutes = new DefaultRoutes({
      clock: options.clock,
      state: (port) => this.#defaultRouteState(port),
      learning: (port) => this.#learning(port),
      onChange: () => options.onChange(),
    });
    const { clock, log, links, events } = options;
    const common = { clock, log, links, onForeignClaim: (claim: ForeignClaim) => options.onForeignClaim(claim) };
    if (options.ospf) {
      this.#tables.set('ospf', new LearnedTable(options.installer('ospf'), () => options.onChange()));
      this.ospf = new OspfSpeaker({
        ...options.ospf,
        ...common,
        onRoutes: (changes) => this.#tables.get('ospf')!.update(changes),
        onNeighbor: (change) => {
          if (change.to === 'Full') this.#resets.forget(`OSPF neighbour on ${change.interface}`);
          this.#sessionChanged('ospf', change.to === 'Full', change.at);
          if (change.to !== 'Full' && change.from !== 'Full') return;
          events.record({
            type: change.to === 'Full' ? 'ospf.full' : 'ospf.down',
            severity: change.to === 'Full' ? 'info' : 'warning',
            message: `OSPF neighbour ${change.routerId} on ${change.interface}: ${change.from} -> ${change.to} (${change.reason})`,
            at: change.at,
            fields: { interface: change.interface, neighbor: change.routerId, from: change.from, to: change.to },
          });
        },
      });
    }
    if (options.bgp) {
      this.#tables.set('bgp', new LearnedTable(options.installer('bgp'), () => options.onChange()));
      this.bgp = new BgpSpeaker({
        ...options.bgp,
        ...common,
        onRoutes: (changes) => this.#tables.get('bgp')!.update(changes),
        onServerSession: ({ neighbor, from, to, reason, at }) => {
          if (to !== 'Established' && from !== 'Established') return;
          events.record({
            type: to === 'Established' ? 'bgp.server.established' : 'bgp.server.down',
            message: `server ${neighbor}: ${from} -> ${to} (${reason})`,
            at,
            fields: { server: neighbor, from, to, reason },
          });
        },
        onSession: (change) => {
          if (change.to === 'Established') this.#resets.forget(`BGP neighbour ${change.neighbor}`);
          this.#sessionChanged('bgp', change.to === 'Established', change.at);
          if (change.to !== 'Established' && change.from !== 'Established') return;
          events.record({
            type: change.to === 'Established' ? 'bgp.established' : 'bgp.down',
            severity: change.to === 'Established' ? 'info' : 'warning',
            message: `BGP neighbour ${change.neighbor}: ${change.from} -> ${change.to} (${change.reason})`,
            at: change.at,
            fields: { neighbor: change.neighbor, from: change.from, to: change.to, reason: change.reason },
          });
        },
      });
    }
  }

  /** BGP first: it has done with a delta when its bytes are written, OSPF has books to keep then. Who reads a table of ours comes last. */
  announcers(): Announcer[] {
    return [this.bgp, this.ospf, this.#options.outside?.announcer].filter((speaker) => speaker !== undefined);
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
    const before = bgp.sessions();
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

  /** What is due on the wire by now, for who keeps the loop busy. */
  pump(): void {
    this.ospf?.pump();
  }

  linkChanged(change: PortChange): void {
    const missed = !isUp(change.after) && this.#resets.linkLost(change.name);
    if (!isUp(change.after)) this.#defaultRoutes.linkLost(change.name);
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
    const until = this.#options.clock.now() + INHERITED_WAIT;
    for (const protocol of this.#tables.keys()) await this.#reconcile(protocol, until);
  }

  async #reconcile(protocol: 'ospf' | 'bgp', until: Instant): Promise<void> {
    const { clock, log } = this.#options;
    const lookAgain = () =>
      this.#inherited.set(
        protocol,
        clock.schedule(clock.now() + INHERITED_LOOK, () => this.#reconcile(protocol, until)),
      );
    if (clock.now() < until && !this.#protocolReadiness(protocol).ready) {
      lookAgain();
      return;
    }
    const table = this.#tables.get(protocol)!;
    try {
      await table.installer.reconcile(table.routes());
    } catch (error) {
      // The kernel's table could not be read. A default route of an earlier life must not outlive it for that.
      log.warn({ err: error }, `routes learned by ${protocol} are not reconciled yet`);
      if (!this.#stopped) lookAgain();
    }
  }

  /**
   * Make-before-break: at least one protocol has a session, what it learned there is in the kernel, and the others have
   * it too or have had their time.
   */
  readiness(): Readiness {
    const { outside } = this.#options;
    if (!this.ospf && !this.bgp && !outside) return { ready: true, reason: 'no routing protocol is configured' };
    const reasons: string[] = [];
    for (const protocol of this.#tables.keys()) {
      const verdict = this.#protocolReadiness(protocol);
      if (verdict.ready) {
        const straggler = this.#straggler();
        return straggler === undefined ? verdict : { ready: false, reason: straggler };
      }
      reasons.push(verdict.reason);
    }
    const other = outside?.readiness();
    if (other?.ready) return other;
    return { ready: false, reason: [...reasons, ...(other ? [other.reason] : [])].join('; ') };
  }

  /** Whether a session stands on this interface: `upWhen: [adjacency]`. */
  adjacency(port: string): Readiness {
    if (this.ospf?.adjacencyUp(port)) return { ready: true, reason: 'OSPF neighbour is Full' };
    for (const { interface: name, neighbor, state, restarting } of this.bgp?.sessions() ?? []) {
      if (name !== port) continue;
      if (state === 'Established') return { ready: true, reason: `BGP neighbour ${neighbor} is Established` };
      if (restarting) return { ready: true, reason: `BGP neighbour ${neighbor} restarts gracefully` };
    }
    const reset = this.#resets.on(port);
    if (reset !== undefined) return { ready: true, reason: `${reset} was reset by a reload` };
    return { ready: false, reason: 'no OSPF neighbour is Full and no BGP session is Established there' };
  }

  /** Neighbours of ours on a port, sessions or not. */
  neighboursOn(port: Port): Address[] {
    const found: Address[] = [];
    for (const { neighbor, interface: name } of this.bgp?.sessions() ?? []) {
      if (name === port.name || (name === undefined && onLink(neighbor, port.addresses))) found.push(neighbor);
    }
    for (const { interface: name, address } of this.ospf?.neighbors() ?? [])
      if (name === port.name) found.push(address);
    return found;
  }

  /** A default route learned through this interface is in the kernel: `upWhen: [default-route]`. */
  defaultRoute(port: string): Readiness {
    if (this.#options.outside?.defaultRoute(port)) {
      return { ready: true, reason: 'another daemon has installed a default route through it' };
    }
    return this.#defaultRoutes.readiness(port);
  }

  #defaultRouteState(port: string): DefaultRouteState {
    const local = this.#options.links.port(port);
    let state: DefaultRouteState = 'absent';
    for (const table of this.#tables.values()) {
      for (const route of table.routes()) {
        if (route.prefix !== '0.0.0.0/0' && route.prefix !== '::/0') continue;
        const through = route.nextHops.some(
          (hop) => hop.interface === port || (local && onLink(hop.via, local.addresses)),
        );
        if (!through) continue;
        if (table.installer.isInstalled(route.prefix)) return 'here';
        state = 'coming';
      }
    }
    return state;
  }

  /** Why what is learned over the sessions on a port may not be complete now. */
  #learning(port: string): string | undefined {
    const reset = this.#resets.on(port);
    if (reset !== undefined) return `${reset} was reset by a reload`;
    for (const { interface: name, neighbor, state, restarting, initialRoutesReceived } of this.bgp?.sessions() ?? []) {
      if (name !== port) continue;
      if (restarting) return `BGP neighbour ${neighbor} restarts gracefully`;
      if (state === 'Established' && !initialRoutesReceived) return `BGP neighbour ${neighbor} is telling its routes`;
    }
    for (const { interface: name, state, since, routerId } of this.ospf?.neighbors() ?? []) {
      if (name !== port || state !== 'Full') continue;
      if (this.#options.clock.now() - since < OSPF_SETTLE) return `OSPF neighbour ${routerId} has just become Full`;
    }
    return undefined;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#resets.close();
    this.#defaultRoutes.close();
    for (const timer of this.#inherited.values()) timer.cancel();
    await Promise.all([this.ospf?.stop(), this.bgp?.stop()]);
    for (const table of this.#tables.values()) {
      await table.installer.leave();
      table.installer.close();
    }
  }

  /**
   * Ends for a restart, without a withdrawal: OSPF writes down what it needs to go on, BGP says nothing. Its connections
   * must break with the process, which its neighbours take for the beginning of a graceful restart (RFC 4724).
   */
  async pause(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    for (const timer of this.#inherited.values()) timer.cancel();
    await this.ospf?.pause();
  }

  counters(): Record<string, Record<string, number>> {
    const counters: Record<string, Record<string, number>> = {};
    if (this.ospf) counters.ospf = this.ospf.counters();
    if (this.bgp) counters.bgp = this.bgp.counters();
    for (const [protocol, table] of this.#tables) counters[`${protocol}.routes`] = { ...table.installer.counters() };
    return counters;
  }

  #sessionChanged(protocol: 'ospf' | 'bgp', up: boolean, at: Instant): void {
    if (up && !this.#upSince.has(protocol)) {
      this.#upSince.set(protocol, at);
      this.#askAgain();
    } else if (!up && !this.#anyUp(protocol)) this.#upSince.delete(protocol);
    this.#options.onChange();
  }

  /**
   * Readiness also comes with an End-of-RIB, or with the passing of time, which nobody reports: while it is due and
   * missing, it is asked for.
   */
  #askAgain(): void {
    const { clock } = this.#options;
    this.#timer?.cancel();
    this.#timer = clock.schedule(clock.now() + ASK_AGAIN, () => {
      this.#options.onChange();
      if (this.#upSince.size > 0 && !this.readiness().ready) this.#askAgain();
    });
  }

  #anyUp(protocol: 'ospf' | 'bgp'): boolean {
    return protocol === 'ospf'
      ? (this.ospf?.neighbors().some((neighbor) => neighbor.state === 'Full') ?? false)
      : (this.bgp?.sessions().some((session) => session.state === 'Established') ?? false);
  }

  #protocolReadiness(protocol: 'ospf' | 'bgp'): Readiness {
    const name = protocol.toUpperCase();
    const since = this.#upSince.get(protocol);
    if (since === undefined) return { ready: false, reason: `${name}: no session` };
    const table = this.#tables.get(protocol)!;
    if (!table.complete) return { ready: false, reason: `${name}: routes are on their way into the kernel` };
    const standing = this.#options.clock.now() - since;
    if (protocol === 'ospf' && standing < OSPF_SETTLE) {
      return { ready: false, reason: `${name}: the gateway may still be computing its way to us` };
    }
    const waited = standing >= NO_ROUTES_WAIT;
    const announced = protocol === 'bgp' ? this.#initialRoutesReceived() : table.size > 0;
    if (!announced && !waited) return { ready: false, reason: `${name}: waiting for the gateway's routes` };
    return { ready: true, reason: `${name}: session up, ${table.size} routes installed` };
  }

  /** What is still to come beside a session that is of use. */
  #straggler(): string | undefined {
    const { clock, links } = this.#options;
    if (clock.now() - Math.min(...this.#upSince.values()) >= STRAGGLERS_WAIT) return undefined;
    for (const protocol of this.#tables.keys()) {
      const verdict = this.#protocolReadiness(protocol);
      if (!verdict.ready) return verdict.reason;
    }
    const up = [...links.ports()].filter(isUp);
    for (const { neighbor, interface: name, state, initialRoutesReceived } of this.bgp?.sessions() ?? []) {
      if (state === 'Established' && initialRoutesReceived) continue;
      const reachable = up.some((port) => port.name === name || onLink(neighbor, port.addresses));
      if (reachable) return `BGP: waiting for ${neighbor} too`;
    }
    return undefined;
  }

  #initialRoutesReceived(): boolean {
    const bgp = this.bgp!;
    return bgp
      .sessions()
      .some((session) => session.state === 'Established' && bgp.initialRoutesReceived(session.neighbor as Address));
  }
}

function onLink(
  address: Address,
  networks: readonly { readonly address: Address; readonly prefixLength: number }[],
): boolean {
  return networks.some((network) =>
    prefixContains(makePrefix(addressBytes(network.address), network.prefixLength), address),
  );
}
