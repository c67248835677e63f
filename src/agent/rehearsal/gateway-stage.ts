import { BgpSpeaker } from '../../bgp/index.ts';
import type { GatewayConfig, Loaded, OspfConfig } from '../../config/index.ts';
import { type Address, ipv4FromNumber, type Mac } from '../../model/address.ts';
import type { HostDelta, HostRoute } from '../../model/hosts.ts';
import { OspfSpeaker } from '../../ospf/index.ts';
import { Gateway } from '../gateway/gateway.ts';
import type { GatewayKernel } from '../gateway/surroundings.ts';
import type { RehearsalClock } from './clock.ts';
import { RehearsalKernel, RehearsalLink, RehearsalTcp, SILENT } from './props.ts';
import { bgpNeighbor, FIRST_HOST, port, REHEARSAL_PREFIX, rehearsalOspf, UPLINK } from './stage.ts';

export type Twin = 'A' | 'B';

interface Place {
  /** Of the gateway. */
  readonly port: string;
  readonly here: Address;
  readonly there: Address;
}

/** TEST-NET-1, RFC 5737. */
const PLACES: Readonly<Record<Twin, Place>> = {
  A: { port: 'link-1', here: '192.0.2.1' as Address, there: '192.0.2.2' as Address },
  B: { port: 'link-2', here: '192.0.2.5' as Address, there: '192.0.2.6' as Address },
};
const TWINS = ['A', 'B'] as const;
const GATEWAY = '192.0.2.254' as Address;

/** Ports that carry, routes that nobody but the gateway writes. */
class StageKernel extends RehearsalKernel implements GatewayKernel {
  watchRoutes() {
    return Promise.resolve({ onRoute: () => () => {}, routes: () => Promise.resolve([]) });
  }
}

/** A whole gateway and two switches on a stage of props. */
export class GatewayStage {
  readonly #clock: RehearsalClock;
  readonly #kernel: StageKernel;
  readonly #twins: Readonly<Record<Twin, Switch>>;
  readonly #agent: Gateway;

  static async build(
    loaded: Loaded & { readonly config: GatewayConfig },
    clock: RehearsalClock,
  ): Promise<GatewayStage> {
    const config = rehearsalConfig(loaded.config);
    const kernel = new StageKernel(
      clock,
      TWINS.map((twin, index) =>
        port(PLACES[twin].port, index + 1, [{ address: PLACES[twin].here, prefixLength: 30 }]),
      ),
    );
    const tcp = new RehearsalTcp(clock);
    const links = { A: new RehearsalLink(clock), B: new RehearsalLink(clock) };
    const own = { A: tcp.at(PLACES.A.here), B: tcp.at(PLACES.B.here) };
    const towards = (address: Address): Twin => (address === PLACES.A.there ? 'A' : 'B');
    const agent = await Gateway.start({
      loaded: { ...loaded, config },
      clock,
      log: SILENT,
      kernel,
      surroundings: {
        transport: {
          connect: (target, handlers) => own[towards(target.address)].connect(target, handlers),
          listen: (target, accept) => {
            const listeners = TWINS.map((twin) => own[twin].listen(target, accept));
            return {
              close: () => {
                for (const listener of listeners) listener.close();
              },
            };
          },
        },
        openOspfSocket: (name, ...place) => {
          const twin = name === PLACES.A.port ? 'A' : 'B';
          return links[twin].at(PLACES[twin].here)(name, ...place);
        },
        wallClock: () => clock.now(),
        mapStore: { read: () => undefined, write: () => Promise.resolve() },
        memory: { read: () => undefined, write: () => {} },
      },
    });
    const twins = {
      A: new Switch('A', config, clock, tcp, links.A),
      B: new Switch('B', config, clock, tcp, links.B),
    };
    return new GatewayStage(clock, kernel, twins, agent);
  }

  private constructor(
    clock: RehearsalClock,
    kernel: StageKernel,
    twins: Readonly<Record<Twin, Switch>>,
    agent: Gateway,
  ) {
    this.#clock = clock;
    this.#kernel = kernel;
    this.#twins = twins;
    this.#agent = agent;
  }

  /** `shadow`: it only stands by for them. */
  announce(twin: Twin, first: number, count: number, shadow = false): void {
    this.#twins[twin].announce(first, count, shadow);
  }

  withdraw(twin: Twin, first: number, count: number): void {
    this.#twins[twin].withdraw(first, count);
  }

  /** The cable to a switch goes, or comes. */
  cut(twin: Twin, gone: boolean): void {
    this.#twins[twin].cut(gone);
    this.#kernel.setCarrier(PLACES[twin].port, !gone);
  }

  /** As when BFD has lost it. */
  silence(twin: Twin): void {
    const { ospf, bgp } = this.#agent.speakers;
    bgp?.neighborFailed(PLACES[twin].there, 'rehearsed');
    ospf?.neighborDown(PLACES[twin].there, 'rehearsed');
  }

  pass(milliseconds: number): void {
    this.#clock.advance(milliseconds);
  }

  *passing(milliseconds: number): Generator<void> {
    yield* this.#clock.passing(milliseconds);
  }

  /** Routes that were written, and removed. */
  heard(): { announced: number; withdrawn: number } {
    const { written, removed } = this.#kernel.routes;
    return { announced: written, withdrawn: removed };
  }

  async close(): Promise<void> {
    await this.#clock.during(Promise.all([this.#agent.stop(), ...TWINS.map((twin) => this.#twins[twin].stop())]));
  }
}

/** What the gateway hears of a switch. */
class Switch {
  readonly #kernel: RehearsalKernel;
  readonly #bgp: BgpSpeaker | undefined;
  readonly #ospf: OspfSpeaker | undefined;
  readonly #announced = new Set<Address>();

  constructor(twin: Twin, config: GatewayConfig, clock: RehearsalClock, tcp: RehearsalTcp, link: RehearsalLink) {
    const { here, there } = PLACES[twin];
    this.#kernel = new RehearsalKernel(clock, [port(UPLINK, 1, [{ address: there, prefixLength: 30 }])]);
    const common = {
      routerId: there,
      prefixes: [REHEARSAL_PREFIX],
      clock,
      log: SILENT,
      links: this.#kernel,
      onForeignClaim: () => {},
      onRoutes: () => {},
    };
    const neighbor = config.bgp?.neighbors.find(({ address }) => address === there);
    if (config.bgp && neighbor) {
      this.#bgp = new BgpSpeaker({
        ...common,
        asn: neighbor.remoteAs,
        neighbors: [bgpNeighbor(here, there, config.bgp.asn)],
        announce: { communities: [] },
        transport: tcp.at(there),
        onSession: () => {},
      });
    }
    if (config.ospf) {
      const settings = rehearsalOspf(config.ospf);
      this.#ospf = new OspfSpeaker({ ...settings, ...common, openSocket: link.at(there), onNeighbor: () => {} });
    }
    this.#kernel.onChange((change) => {
      this.#ospf?.linkChanged(change.after, change.name);
      this.#bgp?.linkChanged(change);
    });
    this.#ospf?.start();
    this.#bgp?.start();
  }

  announce(first: number, count: number, shadow: boolean): void {
    const announced = hosts(first, count).map(
      (address): HostRoute => ({ ...SERVER, address, ...(shadow ? { shadow } : {}) }),
    );
    for (const { address } of announced) this.#announced.add(address);
    this.#apply({ announced, withdrawn: [] });
  }

  withdraw(first: number, count: number): void {
    const withdrawn = hosts(first, count).filter((address) => this.#announced.delete(address));
    this.#apply({ announced: [], withdrawn });
  }

  cut(gone: boolean): void {
    this.#kernel.setCarrier(UPLINK, !gone);
  }

  async stop(): Promise<void> {
    await Promise.all([this.#bgp?.stop(), this.#ospf?.stop()]);
  }

  #apply(delta: HostDelta): void {
    this.#ospf?.apply(delta);
    this.#bgp?.apply(delta);
  }
}

const SERVER = { interface: 'server', ifindex: 7, mac: '02:00:00:00:00:01' as Mac, level: 0 } as const;

const hosts = (first: number, count: number): Address[] =>
  Array.from({ length: count }, (_, index) => ipv4FromNumber(FIRST_HOST + first + index));

function rehearsalConfig(config: GatewayConfig): GatewayConfig {
  const { ospf, bgp, ...rest } = config;
  const ports = TWINS.map((twin) => PLACES[twin].port);
  const [first, second = first] = bgp?.neighbors ?? [];
  const numbers = { A: first?.remoteAs, B: second?.remoteAs };
  return {
    ...rest,
    routerId: GATEWAY,
    ...(ospf ? { ospf: withoutRestart(rehearsalOspf(ospf, ports)) } : {}),
    ...(bgp && first
      ? {
          bgp: {
            ...bgp,
            neighbors: TWINS.map((twin) => bgpNeighbor(PLACES[twin].there, PLACES[twin].here, numbers[twin]!)),
          },
        }
      : {}),
  };
}

const withoutRestart = ({ gracefulRestart: _, ...ospf }: OspfConfig): OspfConfig => ospf;
