import { join } from 'node:path';
import { type Speaker as BgpFace, BgpSpeaker, type NeighborLoss, type SessionChange } from '../../bgp/index.ts';
import type { GatewayConfig } from '../../config/index.ts';
import type { MapEvent, Source } from '../../gateway/index.ts';
import type { Address } from '../../model/address.ts';
import type { Clock } from '../../model/clock.ts';
import type { LearnedRoute } from '../../model/hosts.ts';
import type { Log } from '../../model/log.ts';
import type { LinkState, PortChange } from '../../model/ports.ts';
import {
  memoryFile as adjacencyFile,
  type NeighborChange,
  type Speaker as OspfFace,
  OspfSpeaker,
} from '../../ospf/index.ts';
import type { GatewaySurroundings } from './surroundings.ts';

export interface SpeakersOptions {
  readonly config: GatewayConfig;
  readonly clock: Clock;
  readonly log: Log;
  readonly links: LinkState;
  readonly surroundings: GatewaySurroundings | undefined;
  onSession(change: SessionChange): void;
  onNeighbor(change: NeighborChange): void;
  /** What is heard of the switches. */
  onHeard(event: MapEvent): void;
  /** Before anything else is made of it. */
  onNeighborLost(loss: NeighborLoss): void;
  /** What a protocol selected for the kernel; of no use to an observer. */
  onRoutes(source: Source, changes: readonly LearnedRoute[]): void;
}

/** The protocols by which the gateway hears its switches. An observer announces nothing, and says so. */
export class Speakers {
  readonly ospf: OspfFace | undefined;
  readonly bgp: BgpFace | undefined;
  readonly #options: SpeakersOptions;
  /** By BGP session. */
  readonly #partners = new Map<Address, Address>();

  constructor(options: SpeakersOptions) {
    this.#options = options;
    const { config, clock, log, links, surroundings } = options;
    const common = { clock, log, links, routerId: config.routerId, onForeignClaim: () => {} };
    const hears = (source: Source) =>
      ({
        onFact: (fact) => options.onHeard({ type: 'fact', source, fact }),
        onHostRoute: (route) => options.onHeard({ type: 'host', source, route }),
        onRoutes: (changes) => options.onRoutes(source, changes),
      }) satisfies Partial<ConstructorParameters<typeof BgpSpeaker>[0]>;
    const { ospf, bgp } = settingsOf(config);
    if (ospf) {
      this.ospf = new OspfSpeaker({
        ...ospf,
        ...common,
        ...hears('ospf'),
        backups: config.mode === 'router',
        ...(surroundings ? { openSocket: surroundings.openOspfSocket } : adjacencyMemory(config)),
        onNeighbor: (change) => this.#neighborChanged(change),
      });
    }
    if (bgp) {
      this.bgp = new BgpSpeaker({
        ...bgp,
        ...common,
        ...hears('bgp'),
        ...listening(config),
        ...(surroundings ? { transport: surroundings.transport } : {}),
        onNeighborLost: (loss) => options.onNeighborLost(loss),
        onSession: (change) => this.#sessionChanged(change),
      });
    }
  }

  /** `restarted`: routes of an earlier life are in the kernel. */
  start(restarted: boolean): void {
    const observer = this.#options.config.mode === 'observer';
    if (observer) this.ospf?.settled();
    this.ospf?.start();
    this.bgp?.start(restarted);
    if (!restarted) this.bgp?.settled();
  }

  /** Of a router: all that the neighbours of a protocol had to say has been heard and passed on. */
  settled(source: Source): void {
    if (source === 'bgp') this.bgp?.settled();
    else this.ospf?.settled();
  }

  /** All neighbours have said what they have to say. */
  heard(source: Source): boolean {
    if (source === 'bgp') {
      const sessions = this.bgp?.sessions() ?? [];
      return sessions.length > 0 && sessions.every((each) => each.initialRoutesReceived);
    }
    const neighbors = this.ospf?.neighbors() ?? [];
    return neighbors.length > 0 && neighbors.every(({ state }) => state === 'Full' || state === '2-Way');
  }

  /** The neighbour with this next hop has; who has a next hop that is no neighbour's address is known of all together. */
  heardFrom(source: Source, via: Address): boolean {
    const partner = source === 'bgp' && this.bgp?.sessions().find(({ neighbor }) => neighbor === via);
    return partner ? partner.initialRoutesReceived : this.heard(source);
  }

  configure(config: GatewayConfig, changed: { readonly ospf: boolean; readonly bgp: boolean }): void {
    const { ospf, bgp } = settingsOf(config);
    if (ospf && changed.ospf) this.ospf?.configure(ospf);
    if (bgp && changed.bgp) this.bgp?.configure(bgp);
  }

  linkChanged(change: PortChange): void {
    this.ospf?.linkChanged(change.after, change.name);
    this.bgp?.linkChanged(change);
  }

  async stop(): Promise<void> {
    await Promise.all([this.ospf?.stop(), this.bgp?.stop()]);
  }

  async pause(): Promise<void> {
    await this.ospf?.pause();
  }

  counters(): Record<string, Record<string, number>> {
    return {
      ...(this.ospf ? { ospf: this.ospf.counters() } : {}),
      ...(this.bgp ? { bgp: this.bgp.counters() } : {}),
    };
  }

  /** Whose address a session is with: who has it is not for others to say. */
  #sessionChanged(change: SessionChange): void {
    const { neighbor: address, to, from } = change;
    if (to === 'Established') {
      const routerId = this.bgp?.sessions().find(({ neighbor }) => neighbor === address)?.remoteId;
      if (routerId) {
        this.#partners.set(address, routerId);
        this.#options.onHeard({ type: 'neighbour', source: 'bgp', address, routerId, up: true });
      }
    } else if (from === 'Established') {
      const routerId = this.#partners.get(address);
      this.#partners.delete(address);
      if (routerId)
        this.#options.onHeard({
          type: 'neighbour',
          source: 'bgp',
          address,
          routerId,
          up: false,
          reason: change.reason,
        });
    }
    this.#options.onSession(change);
  }

  #neighborChanged(change: NeighborChange): void {
    const { address, routerId, from, to } = change;
    if ((to === 'Full') !== (from === 'Full')) {
      this.#options.onHeard({ type: 'neighbour', source: 'ospf', address, routerId, up: to === 'Full' });
    }
    this.#options.onNeighbor(change);
  }
}

/** What can change while they run. */
function settingsOf({ ospf, bgp, mode, defaultOriginate }: GatewayConfig) {
  const observer = mode === 'observer';
  const offers = !observer && defaultOriginate;
  return {
    ospf: ospf && { ...ospf, prefixes: [], observer, originateDefault: offers ? OSPF_DEFAULT : undefined },
    bgp: bgp && { ...bgp, prefixes: [], observer, propagate: !observer, defaultOriginate: offers },
  };
}

/** As FRR's `default-information originate` has them. */
const OSPF_DEFAULT = { metric: 10, metricType: 2 } as const;

/** A router that restarts goes on where it was; an observer has nothing to lose. */
function adjacencyMemory({ ospf, mode, stateDirectory }: GatewayConfig) {
  if (mode === 'observer' || !ospf?.gracefulRestart) return {};
  return {
    memory: adjacencyFile(join(stateDirectory, 'ospf.state')),
    gracePeriod: ospf.gracefulRestart.gracePeriod,
  };
}

/** Beside another daemon the port of BGP is taken, and nobody needs to find us there who is not told to wait for us. */
function listening({ bgp, mode }: GatewayConfig) {
  const awaited = mode === 'router' || bgp?.neighbors.some(({ passive }) => passive);
  return awaited ? {} : { listen: false as const };
}
