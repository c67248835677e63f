import { BgpSpeaker } from '../../bgp/index.ts';
import type { BgpConfig, Loaded, OspfConfig, TorConfig } from '../../config/index.ts';
import type { Address, Mac, Prefix } from '../../model/address.ts';
import type { ForeignClaim, LearnedRoute } from '../../model/hosts.ts';
import type { Port } from '../../model/ports.ts';
import { OspfSpeaker } from '../../ospf/index.ts';
import { TorSwitch } from '../tor/switch.ts';
import type { RehearsalClock } from './clock.ts';
import { RehearsalEars, RehearsalKernel, RehearsalLink, RehearsalTcp, SILENT } from './props.ts';

/** 198.18.0.0/15, RFC 2544. */
export const FIRST_HOST = 0xc6120001;
export const REHEARSAL_PREFIX = '198.18.0.0/15' as Prefix;
export const UPLINK = 'uplink';
export const DOWNLINKS: readonly string[] = ['downlink-1', 'downlink-2'];

/** TEST-NET-1, RFC 5737. */
const OURS = '192.0.2.1' as Address;
const GATEWAY = '192.0.2.2' as Address;
/** Timers of the sessions: far apart, for they are no part of a failover. */
const KEEPALIVE = 60_000;
const HELLO = 10_000;

/** A whole switch and its gateway on a stage of props. */
export class Stage {
  readonly #clock: RehearsalClock;
  readonly #kernel: RehearsalKernel;
  readonly #ears: RehearsalEars;
  readonly #gateway: Gateway;
  readonly #agent: TorSwitch;

  static async build(
    loaded: Loaded & { readonly config: TorConfig },
    clock: RehearsalClock,
    prefix: Prefix,
  ): Promise<Stage> {
    const config = rehearsalConfig(loaded.config, prefix);
    const kernel = new RehearsalKernel(clock, [
      port(UPLINK, 1, [{ address: OURS, prefixLength: 30 }]),
      ...DOWNLINKS.map((name, index) => port(name, index + 2, [])),
    ]);
    const ears = new RehearsalEars();
    const tcp = new RehearsalTcp(clock);
    const link = new RehearsalLink(clock);
    const gateway = new Gateway(config, clock, tcp, link, prefix);
    const agent = await TorSwitch.start({
      loaded: { ...loaded, config },
      clock,
      log: SILENT,
      kernel,
      holdAtBoot: false,
      surroundings: {
        transport: tcp.at(OURS),
        openPort: ears.open,
        openOspfSocket: link.at(OURS),
        wallClock: () => clock.now(),
        portState: {
          load: () => ({ ports: [], holds: {}, problems: [] }),
          intend: () => {},
          save: () => Promise.resolve(),
          close: () => Promise.resolve(),
        },
        hostMemory: { read: () => undefined, write: () => {} },
      },
    });
    return new Stage(clock, kernel, ears, gateway, agent);
  }

  private constructor(
    clock: RehearsalClock,
    kernel: RehearsalKernel,
    ears: RehearsalEars,
    gateway: Gateway,
    agent: TorSwitch,
  ) {
    this.#clock = clock;
    this.#kernel = kernel;
    this.#ears = ears;
    this.#gateway = gateway;
    this.#agent = agent;
  }

  say(port: string, frames: readonly Uint8Array[]): void {
    this.#ears.say(port, frames);
  }

  lose(port: string): void {
    this.#kernel.setCarrier(port, false);
  }

  restore(port: string): void {
    this.#kernel.setCarrier(port, true);
  }

  /** Virtual time passes: what is on the wires arrives, timers fire. */
  pass(milliseconds: number): void {
    this.#clock.advance(milliseconds);
  }

  /** As `pass`, in slices. */
  *passing(milliseconds: number): Generator<void> {
    yield* this.#clock.passing(milliseconds);
  }

  heard(): { announced: number; withdrawn: number } {
    return this.#gateway.heard;
  }

  async close(): Promise<void> {
    await this.#clock.during(Promise.all([this.#agent.stop(), this.#gateway.stop()]));
  }
}

/** The other end of the uplink: our own speakers again, which warms what we receive with as well. */
class Gateway {
  readonly heard = { announced: 0, withdrawn: 0 };
  readonly #speakers: (BgpSpeaker | OspfSpeaker)[] = [];

  constructor(config: TorConfig, clock: RehearsalClock, tcp: RehearsalTcp, link: RehearsalLink, prefix: Prefix) {
    const kernel = new RehearsalKernel(clock, [port(UPLINK, 1, [{ address: GATEWAY, prefixLength: 30 }])]);
    const common = {
      routerId: GATEWAY,
      prefixes: [prefix],
      clock,
      log: SILENT,
      links: kernel,
      onForeignClaim: (_: ForeignClaim) => {},
      onRoutes: (changes: readonly LearnedRoute[]) => {
        for (const { nextHops } of changes) {
          if (nextHops.length > 0) this.heard.announced++;
          else this.heard.withdrawn++;
        }
      },
    };
    const neighbor = config.bgp?.neighbors[0];
    if (config.bgp && neighbor) {
      this.#speakers.push(
        new BgpSpeaker({
          ...common,
          asn: neighbor.remoteAs,
          neighbors: [bgpNeighbor(OURS, GATEWAY, config.bgp.asn)],
          announce: { communities: [] },
          transport: tcp.at(GATEWAY),
          onSession: () => {},
        }),
      );
    }
    if (config.ospf) {
      this.#speakers.push(
        new OspfSpeaker({ ...config.ospf, ...common, openSocket: link.at(GATEWAY), onNeighbor: () => {} }),
      );
    }
    for (const speaker of this.#speakers) speaker.start();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#speakers.map((speaker) => speaker.stop()));
  }
}

function rehearsalConfig(config: TorConfig, prefix: Prefix): TorConfig {
  const { ospf, bgp, hostRoutes, portLink, ...rest } = config;
  const [group] = portLink;
  const all = { perPort: 4_096, total: 8_192 };
  return {
    ...rest,
    routerId: OURS,
    hostRoutes: {
      policy: {
        ...hostRoutes.policy,
        prefixes: [prefix],
        ports: DOWNLINKS,
        sources: { arp: true, neighbours: false, bgp: false, kernel: false, static: [] },
        probe: { ...hostRoutes.policy.probe, interval: 0 },
        limits: all,
        bindings: [],
      },
      returning: { ...hostRoutes.returning, mode: 'never' },
    },
    portLink: group
      ? [
          {
            ...group,
            ...{ uplinks: [UPLINK], downlinks: DOWNLINKS, priority: [], minUplinks: 1, shut: 'all', enabled: true },
            ...{ upWhen: ['carrier'], deferDelay: 0, recoveryDelay: 0, startupDelay: 0, dryRun: false },
            ...{ autoRecover: true, shutUplinks: false, direction: 'uplink', nexthops: [], allowManagementPort: false },
          },
        ]
      : [],
    ...(ospf ? { ospf: rehearsalOspf(ospf) } : {}),
    ...(bgp?.neighbors[0] ? { bgp: rehearsalBgp(bgp, bgp.neighbors[0].remoteAs) } : {}),
  };
}

export function rehearsalOspf(ospf: OspfConfig, ports: readonly string[] = [UPLINK]): OspfConfig {
  const [first] = ospf.interfaces;
  if (!first) return ospf;
  const interfaces = ports.map((name) => ({
    ...{ ...first, name, network: 'point-to-point' as const },
    ...{ hello: HELLO, dead: 4 * HELLO, bfd: false },
  }));
  return { ...ospf, interfaces };
}

const rehearsalBgp = (bgp: BgpConfig, remoteAs: number): BgpConfig => ({
  ...bgp,
  neighbors: [bgpNeighbor(GATEWAY, OURS, remoteAs)],
});

export const bgpNeighbor = (address: Address, localAddress: Address, remoteAs: number) => ({
  address,
  localAddress,
  remoteAs,
  bfd: false,
  keepalive: KEEPALIVE,
  hold: 3 * KEEPALIVE,
  connectRetry: 1_000,
  port: 179,
  passive: false,
  ttlSecurity: false,
  multihop: false,
  maximumPrefixes: 0,
  portFacts: true,
});

export const port = (name: string, ifindex: number, addresses: Port['addresses']): Port => ({
  name,
  ifindex,
  mac: `02:00:00:00:ff:0${ifindex}` as Mac,
  mtu: 1500,
  adminUp: true,
  carrier: true,
  master: 0,
  kind: undefined,
  addresses,
});
