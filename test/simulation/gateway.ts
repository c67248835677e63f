/** G as the switches and the invariants see it: BGP, OSPF or both, and one forwarding table out of what they say. */
import type { PathAttributes } from '../../src/bgp/codec/messages.ts';
import type { Address, Prefix } from '../../src/model/address.ts';
import { BgpGateway } from './bgp-gateway.ts';
import type { Fate } from './calls.ts';
import type { VirtualClock } from './clock.ts';
import { OspfGateway } from './ospf-gateway.ts';
import { OspfWire } from './ospf-wire.ts';
import type { Random } from './random.ts';
import type { Link, Scene } from './scene.ts';
import { SIDES, type Side } from './server.ts';
import type { Tcp } from './tcp.ts';

export interface GatewayOptions {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly scene: Scene;
  readonly links: readonly Link[];
  readonly tcp: Tcp;
  /** The cable has carrier. */
  isOn(link: Link): boolean;
  /** And what is sent over it arrives. */
  passes(link: Link): boolean;
  fate(link: Link): Fate;
  story(what: string): void;
  onAnnouncement(side: Side, prefix: Prefix): void;
  onTable(): void;
}

export class Gateway {
  readonly bgp: BgpGateway | undefined;
  readonly ospf: OspfGateway | undefined;
  readonly wire: OspfWire;
  readonly #options: GatewayOptions;

  constructor(options: GatewayOptions) {
    this.#options = options;
    const { clock, random, scene, links, tcp, story, onTable } = options;
    this.wire = new OspfWire({
      ...options,
      toGateway: (link, packet) => this.ospf?.receive(link, packet),
    });
    if (scene.protocol !== 'ospf') {
      this.bgp = new BgpGateway({
        clock,
        random,
        tcp,
        helps: scene.helps,
        echoes: scene.echoes,
        peers: links.map(({ name, side, peer, local, peer6 }) => ({
          tor: name,
          asn: side === 'A' ? 65001 : scene.asnOfB,
          local: peer as Address,
          remote: local as Address,
          local6: scene.six ? (peer6 as Address) : undefined,
        })),
        onReceived: (tor, { reach, withdrawn, attributes }) => {
          const prefixes = reach.flatMap((each) => each.prefixes);
          for (const prefix of prefixes) options.onAnnouncement(tor[0] as Side, prefix);
          const level = 2 - (attributes.origin ?? 2);
          const what = [
            ...withdrawn.map((prefix) => `-${short(prefix)}`),
            ...prefixes.map((prefix) => `+${short(prefix)}${level > 0 ? `^${level}` : ''}`),
          ].join(' ');
          if (what !== '') story(`G hears ${tor} ${what}`);
        },
        onTable,
      });
    }
    if (scene.protocol !== 'bgp') {
      this.ospf = new OspfGateway({
        ...options,
        transmit: (link, destination, bytes) => this.wire.fromGateway(link, destination, bytes),
        onHeard: (_side, what) => story(`G's OSPF: ${what}`),
      });
    }
  }

  start(): void {
    this.bgp?.start();
    this.ospf?.start();
  }

  die(): void {
    this.bgp?.die();
    this.ospf?.die();
  }

  linkChanged(link: Link): void {
    if (!this.#options.isOn(link)) this.bgp?.linkDown(link.name);
    this.ospf?.linkChanged(link);
  }

  reset(link: Link): void {
    this.bgp?.reset(link.name);
    this.ospf?.reset(link);
  }

  #linksOf(side: Side): Link[] {
    return this.#options.links.filter((link) => link.side === side);
  }

  /** What the switch has G believe by BGP: prefix to the level of the claim. `fresh`: without what is kept for a restart. */
  byBgp(side: Side, fresh = false): Map<Prefix, number> {
    const hosts = new Map<Prefix, number>();
    for (const { name } of this.bgp ? this.#linksOf(side) : []) {
      for (const [prefix, path] of this.bgp!.received.get(name)!)
        if ((!fresh || !path.stale) && !isShadow(path))
          hosts.set(prefix, Math.max(hosts.get(prefix) ?? 0, 2 - path.origin));
    }
    return hosts;
  }

  /** What leads G to a switch, by either protocol: prefix to the level of the claim. */
  believed(side: Side): Map<Prefix, number> {
    const hosts = this.byBgp(side);
    const adjacent = this.#linksOf(side).some((link) => this.ospf?.isFull(link));
    for (const [prefix, level] of adjacent ? this.ospf!.hosts(side) : [])
      hosts.set(prefix, Math.max(hosts.get(prefix) ?? 0, level));
    return hosts;
  }

  /** Hosts that it only stands by for, as G was told. */
  shadows(side: Side): Set<Prefix> {
    const shadows = new Set<Prefix>();
    const links = this.#linksOf(side);
    for (const { name } of this.bgp ? links : [])
      for (const [prefix, path] of this.bgp!.received.get(name)!) if (isShadow(path)) shadows.add(prefix);
    if (this.ospf && links.some((link) => this.ospf!.isFull(link)))
      for (const prefix of this.ospf.hosts(side, true).keys()) shadows.add(prefix);
    return shadows;
  }

  /** To which switches G's table leads; BGP's routes go before OSPF's. */
  leadsTo(prefix: Prefix): Side[] {
    const link = this.bgp?.table.get(prefix);
    const links = link === undefined ? (this.ospf?.table.get(prefix) ?? []) : [link];
    return SIDES.filter((side) => links.some((name) => name[0] === side));
  }

  /** Every host in the table. */
  prefixes(): Prefix[] {
    return [...new Set([...(this.bgp?.table.keys() ?? []), ...(this.ospf?.table.keys() ?? [])])].filter((prefix) =>
      /\/(32|128)$/.test(prefix),
    );
  }
}

const SHADOW = 20559;
const isShadow = ({ attributes }: { readonly attributes: PathAttributes }): boolean =>
  attributes.largeCommunities?.some(([, kind]) => kind === SHADOW) === true;

const short = (prefix: string): string =>
  prefix
    .replace('10.10.10.', '.')
    .replace('2001:db8:10::', '::')
    .replace(/\/(32|128)$/, '');
