import type { Address, Prefix } from '../../../model/address.ts';
import type { Clock } from '../../../model/clock.ts';
import { type LinkState, onLink, type Port } from '../../../model/ports.ts';
import { type DefaultRouteState, DefaultRoutes } from './default-route.ts';
import type { LearnedTables } from './learned-tables.ts';
import type { Resets } from './resets.ts';
import { type Outside, type Readiness, type Speakers, waysOf } from './types.ts';
import { OSPF_SETTLE } from './upstream.ts';

const DEFAULT_ROUTES = ['0.0.0.0/0' as Prefix, '::/0' as Prefix];

export interface UplinksOptions {
  readonly clock: Clock;
  readonly links: LinkState;
  readonly speakers: Speakers;
  readonly tables: LearnedTables;
  readonly resets: Resets;
  readonly outside: Outside | undefined;
  /** Somebody else's default route through the port is in the kernel. */
  foreignDefault(port: string): boolean;
  /** The verdict on some port may have changed with time. */
  onChange(): void;
}

/** What the speakers can say of a single uplink, for `upWhen`. */
export class Uplinks {
  readonly #options: UplinksOptions;
  readonly #defaultRoutes: DefaultRoutes;

  constructor(options: UplinksOptions) {
    this.#options = options;
    this.#defaultRoutes = new DefaultRoutes({
      clock: options.clock,
      state: (port) => this.#defaultRouteState(port),
      learning: (port) => this.#learning(port),
      onChange: () => options.onChange(),
    });
  }

  /** Whether a session stands on this interface: `upWhen: [adjacency]`. */
  adjacency(port: string): Readiness {
    const { speakers, resets } = this.#options;
    if (speakers.ospf?.adjacencyUp(port)) return { ready: true, reason: 'OSPF neighbour is Full' };
    for (const { interface: name, neighbor, state, restarting } of waysOf(speakers.bgp)) {
      if (name !== port) continue;
      if (state === 'Established') return { ready: true, reason: `BGP neighbour ${neighbor} is Established` };
      if (restarting) return { ready: true, reason: `BGP neighbour ${neighbor} restarts gracefully` };
    }
    const reset = resets.on(port);
    if (reset !== undefined) return { ready: true, reason: `${reset} was reset by a reload` };
    return { ready: false, reason: 'no OSPF neighbour is Full and no BGP session is Established there' };
  }

  /** Neighbours of ours on a port, sessions or not. */
  neighboursOn(port: Port): Address[] {
    const { ospf, bgp } = this.#options.speakers;
    const found: Address[] = [];
    for (const { neighbor, interface: name } of waysOf(bgp)) {
      if (name === port.name || (name === undefined && onLink(port, neighbor))) found.push(neighbor);
    }
    for (const { interface: name, address } of ospf?.neighbors() ?? []) if (name === port.name) found.push(address);
    return found;
  }

  /** A default route through this interface is in the kernel: `upWhen: [default-route]`. */
  defaultRoute(port: string): Readiness {
    if (this.#options.outside?.defaultRoute(port)) {
      return { ready: true, reason: 'another daemon has installed a default route through it' };
    }
    const learned = this.#defaultRoutes.readiness(port);
    if (learned.ready || !this.#options.foreignDefault(port)) return learned;
    return { ready: true, reason: 'somebody else has put a default route through it into the kernel' };
  }

  linkLost(port: string): void {
    this.#defaultRoutes.linkLost(port);
  }

  close(): void {
    this.#defaultRoutes.close();
  }

  #defaultRouteState(port: string): DefaultRouteState {
    const { links, tables } = this.#options;
    const local = links.port(port);
    let state: DefaultRouteState = 'absent';
    for (const table of tables.all()) {
      for (const prefix of DEFAULT_ROUTES) {
        const route = table.of(prefix);
        if (!route) continue;
        const through = route.nextHops.some((hop) => hop.interface === port || (local && onLink(local, hop.via)));
        if (!through) continue;
        if (table.installer.isInstalled(route.prefix)) return 'here';
        state = 'coming';
      }
    }
    return state;
  }

  /** Why what is learned over the sessions on a port may not be complete now. */
  #learning(port: string): string | undefined {
    const { clock, speakers, resets } = this.#options;
    const reset = resets.on(port);
    if (reset !== undefined) return `${reset} was reset by a reload`;
    for (const { interface: name, neighbor, state, restarting, initialRoutesReceived } of waysOf(speakers.bgp)) {
      if (name !== port) continue;
      if (restarting) return `BGP neighbour ${neighbor} restarts gracefully`;
      if (state === 'Established' && !initialRoutesReceived) return `BGP neighbour ${neighbor} is telling its routes`;
    }
    for (const { interface: name, state, since, routerId } of speakers.ospf?.neighbors() ?? []) {
      if (name !== port || state !== 'Full') continue;
      if (clock.now() - since < OSPF_SETTLE) return `OSPF neighbour ${routerId} has just become Full`;
    }
    return undefined;
  }
}
