/** G's OSPF: our own machine as another router, with a default route, on every link. */
import { decodePacket, encodePacket, LSInfinity, LsaType, packUpdates, RouterLinkType, type U32 } from 'node-ospf-lsa';
import { type Address, ipv4FromNumber, ipv4ToNumber, type Prefix, parsePrefix } from '../../src/model/address.ts';
import type { Timer } from '../../src/model/clock.ts';
import type { LearnedRoute } from '../../src/model/hosts.ts';
import { decodeRouteTag } from '../../src/ospf/codec/route-tag.ts';
import type { Effect, OspfEvent } from '../../src/ospf/machine/core.ts';
import { currentAge } from '../../src/ospf/machine/lsdb.ts';
import { OspfMachine } from '../../src/ospf/machine/machine.ts';
import { MaxLinkMetric } from '../../src/ospf/machine/metrics.ts';
import type { Received } from '../../src/ospf/socket.ts';
import type { VirtualClock } from './clock.ts';
import type { Random } from './random.ts';
import { HOSTS_4, type Link, ROUTER_ID, type Scene } from './scene.ts';
import type { Side } from './server.ts';

const HOST_MASK = 0xffffffff;
const MaxAge = 3600;
const METRIC = 20;

export interface OspfGatewayOptions {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly scene: Scene;
  readonly links: readonly Link[];
  isOn(link: Link): boolean;
  transmit(link: Link, destination: U32, bytes: Uint8Array): void;
  onHeard(side: Side, what: string): void;
  onTable(): void;
}

export class OspfGateway {
  /** Forwarding table: over which links packets for a host go. */
  readonly table = new Map<Prefix, string[]>();
  readonly #options: OspfGatewayOptions;
  #machine: OspfMachine | undefined;
  #timer: Timer | undefined;
  #timerAt: number | undefined;
  #installedAt = 0;

  constructor(options: OspfGatewayOptions) {
    this.#options = options;
  }

  start(): void {
    const { scene, links, random } = this.#options;
    const { ospf } = scene;
    this.#machine = new OspfMachine({
      routerId: ipv4ToNumber(ROUTER_ID.G as Address),
      interfaces: links.map(({ name }) => ({
        name,
        area: ospf.area as Address,
        network: ospf.network,
        hello: 1_000,
        dead: ospf.dead * 1_000,
      })),
      announce: { as: ospf.as, metric: METRIC, metricType: ospf.metricType },
      prefixes: [parsePrefix(HOSTS_4)!],
      stubNetworks: [{ network: 0, mask: 0, metric: 0 }],
      random: random.next,
    });
    this.#handle({ kind: 'settled' });
    for (const link of links) this.linkChanged(link);
  }

  /** Power off: nothing is said. */
  die(): void {
    this.#machine = undefined;
    this.#timer?.cancel();
    this.#timerAt = undefined;
    this.table.clear();
    this.#options.onTable();
  }

  linkChanged(link: Link): void {
    if (!this.#machine) return;
    const on = this.#options.isOn(link);
    const before = this.#machine.core.interfaces.get(link.name)!.link !== undefined;
    if (on === before) return;
    const address = ipv4ToNumber(link.peer as Address);
    const place = { ifindex: link.slot + 1, mtu: 1500, address, prefixLength: 30 };
    this.#handle({ kind: 'link', interface: link.name, link: on ? place : undefined });
  }

  /** An operator clears the neighbour. */
  reset(link: Link): void {
    this.#handle({ kind: 'kill', address: ipv4ToNumber(link.local as Address), reason: 'cleared' });
  }

  receive(link: Link, { source, destination, bytes }: Received): void {
    if (!this.#machine) return;
    const decoded = decodePacket(bytes);
    if (!decoded.ok) throw new Error(`G can not read ${link.name}: ${decoded.reason} ${decoded.detail}`);
    this.#handle({ kind: 'packet', interface: link.name, source, destination, packet: decoded.value });
  }

  isFull(link: Link): boolean {
    const neighbors = this.#machine?.core.interfaces.get(link.name)?.neighbors.values() ?? [];
    return [...neighbors].some(({ state }) => state === 'Full');
  }

  /** The hosts that a switch announces, as they stand in our database, with the level of its claim; or its shadows. */
  hosts(side: Side, shadows = false): Map<Prefix, number> {
    const hosts = new Map<Prefix, number>();
    if (!this.#machine) return hosts;
    const { core } = this.#machine;
    const router = ipv4ToNumber(ROUTER_ID[side] as Address);
    const put = (id: U32, metric: number, shadow: boolean): void => {
      if (metric < LSInfinity && shadow === shadows) hosts.set(`${ipv4FromNumber(id)}/32` as Prefix, METRIC - metric);
    };
    for (const { entries } of [core.external, ...[...core.areas.values()].map(({ database }) => database)]) {
      for (const entry of entries.values()) {
        const { header, body } = entry.lsa;
        if (header.advertisingRouter !== router || currentAge(entry, this.#options.clock.now()) >= MaxAge) continue;
        if (body.kind === 'router') {
          for (const { type, linkId, linkData, metric } of body.links)
            if (type === RouterLinkType.Stub && linkData === HOST_MASK) put(linkId, metric, metric === MaxLinkMetric);
        } else if (header.type === LsaType.AsExternal || header.type === LsaType.Nssa) {
          if (body.kind === 'external' && body.mask === HOST_MASK)
            put(header.linkStateId, body.metric, decodeRouteTag(body.tag)?.shadow === true);
        }
      }
    }
    return hosts;
  }

  #handle(event: OspfEvent): void {
    const machine = this.#machine;
    if (!machine) return;
    const now = this.#options.clock.now();
    const effects = machine.handle(event, now);
    machine.complete(now);
    for (const effect of effects) this.#perform(machine, effect);
    this.#arm();
  }

  #perform(machine: OspfMachine, effect: Effect): void {
    const { links, transmit } = this.#options;
    const { core } = machine;
    switch (effect.kind) {
      case 'send': {
        const link = links.find(({ name }) => name === effect.interface)!;
        transmit(link, effect.to, encodePacket(effect.packet));
        return;
      }
      case 'update': {
        const link = links.find(({ name }) => name === effect.interface)!;
        const iface = core.interfaces.get(effect.interface)!;
        const header = { routerId: core.routerId, areaId: iface.area.id, transmitDelay: effect.flush ? MaxAge : 1 };
        for (const packet of packUpdates(effect.lsas, (iface.link?.mtu ?? 1500) - 20, header))
          transmit(link, effect.to, packet);
        return;
      }
      case 'neighbor':
        if (effect.to === 'Full' || effect.from === 'Full')
          this.#options.onHeard(
            effect.interface[0] as Side,
            `${effect.interface} ${effect.from} -> ${effect.to} (${effect.reason})`,
          );
        return;
      case 'routes':
        // One after another: a later change never overtakes.
        this.#installedAt = Math.max(
          this.#installedAt,
          this.#options.clock.now() + this.#options.random.between(0.1, 60),
        );
        this.#options.clock.schedule(this.#installedAt, () => {
          if (this.#machine === machine) this.#install(effect.changes);
        });
    }
  }

  #install(changes: readonly LearnedRoute[]): void {
    for (const { prefix, nextHops } of changes) {
      const over = nextHops.flatMap(({ interface: name }) => name ?? []);
      if (over.length === 0) this.table.delete(prefix);
      else this.table.set(prefix, over);
    }
    this.#options.onTable();
  }

  #arm(): void {
    const next = this.#machine?.nextDeadline();
    if (next === this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = next;
    if (next === undefined) return;
    this.#timer = this.#options.clock.schedule(next, () => {
      this.#timerAt = undefined;
      this.#handle({ kind: 'timer' });
    });
  }
}
