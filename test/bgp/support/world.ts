/** A switch and its gateway on a network in memory. */
import { Framer } from '../../../src/bgp/codec/framer.ts';
import type { UpdateMessage } from '../../../src/bgp/codec/messages.ts';
import { parseMessage } from '../../../src/bgp/codec/parser.ts';
import type { BgpNeighborOptions, BgpOptions, SessionChange } from '../../../src/bgp/index.ts';
import { BgpSpeaker } from '../../../src/bgp/index.ts';
import type { Address, Family, Prefix } from '../../../src/model/address.ts';
import type { ClaimLevel, ForeignClaim, ForeignShadow, HostRoute, LearnedRoute } from '../../../src/model/hosts.ts';
import type { HeardFact, HeardHostRoute } from '../../../src/model/port-facts.ts';
import type { LinkState, Port } from '../../../src/model/ports.ts';
import { MemoryNetwork, VirtualClock } from './memory.ts';

export const log = { debug() {}, info() {}, warn() {}, error() {} };

export const port = (name: string, ifindex: number, ...addresses: [string, number][]): Port => ({
  name,
  ifindex,
  mac: undefined,
  mtu: 1500,
  adminUp: true,
  carrier: true,
  master: 0,
  kind: 'veth',
  addresses: addresses.map(([address, prefixLength]) => ({ address: address as Address, prefixLength })),
});

export class Node {
  readonly speaker: BgpSpeaker;
  readonly routes: LearnedRoute[] = [];
  readonly claims: ForeignClaim[] = [];
  readonly shadows: ForeignShadow[] = [];
  readonly facts: HeardFact[] = [];
  readonly heard: HeardHostRoute[] = [];
  readonly changes: SessionChange[] = [];
  readonly ports: Map<string, Port>;

  constructor(
    clock: VirtualClock,
    network: MemoryNetwork,
    local: string,
    options: Partial<BgpOptions> & Pick<BgpOptions, 'asn' | 'routerId'>,
    neighbors: (Partial<BgpNeighborOptions> & { address: Address; remoteAs: number })[],
    ports: Port[],
  ) {
    this.ports = new Map(ports.map((one) => [one.name, one]));
    const links: LinkState = {
      port: (name) => this.ports.get(name),
      portByIndex: (ifindex) => [...this.ports.values()].find((one) => one.ifindex === ifindex),
      ports: () => this.ports.values(),
      onChange: () => () => {},
    };
    this.speaker = new BgpSpeaker({
      announce: { communities: [] },
      prefixes: ['10.10.0.0/16' as Prefix],
      clock,
      log,
      links,
      random: () => 1,
      transport: network.transport(local),
      onRoutes: (changes) => this.routes.push(...changes),
      onForeignClaim: (claim) => this.claims.push(claim),
      onForeignShadow: (shadow) => this.shadows.push(shadow),
      onFact: (fact) => this.facts.push(fact),
      onHostRoute: (route) => this.heard.push(route),
      onSession: (change) => this.changes.push(change),
      ...options,
      neighbors: neighbors.map((neighbor) => ({
        keepalive: 1000,
        hold: 3000,
        localAddress: local as Address,
        ...neighbor,
      })),
    });
  }

  link(name: string, up: boolean, at: number): void {
    const before = this.ports.get(name)!;
    const after = { ...before, carrier: up };
    this.ports.set(name, after);
    this.speaker.linkChanged({ name, before, after, at });
  }
}

export const A = '192.0.2.2' as Address;
export const G = '192.0.2.1' as Address;

export const hosts = (...addresses: (string | [string, ClaimLevel])[]): HostRoute[] =>
  addresses.map((one) => ({
    address: (typeof one === 'string' ? one : one[0]) as Address,
    level: typeof one === 'string' ? 0 : one[1],
    interface: 'A1',
    ifindex: 99,
    mac: '02:00:00:00:00:01' as HostRoute['mac'],
  }));

export function world(
  a: Partial<BgpNeighborOptions> = {},
  g: Partial<BgpNeighborOptions> = {},
  options: Partial<BgpOptions> = {},
  gatewayOptions: Partial<BgpOptions> = {},
) {
  const clock = new VirtualClock();
  const network = new MemoryNetwork(clock);
  const tor = new Node(
    clock,
    network,
    A,
    { asn: 65001, routerId: '10.255.0.1' as Address, ...options },
    [{ address: G, remoteAs: 65000, ...a }],
    [port('A0', 1, [A, 24])],
  );
  const gateway = new Node(
    clock,
    network,
    G,
    { asn: 65000, routerId: '10.255.0.254' as Address, ...gatewayOptions },
    [{ address: A, remoteAs: 65001, passive: true, ...g }],
    [port('gA', 1, [G, 24])],
  );
  gateway.speaker.start();
  tor.speaker.start();
  return { clock, network, tor, gateway };
}

export const lastOf = <T>(items: readonly T[]): T => items[items.length - 1]!;

export const inTable = (node: Node) =>
  node.speaker
    .routes()
    .filter((route) => route.table === 'in')
    .map((route) => `${route.prefix} ${route.origin}`)
    .sort();

/** All UPDATEs among octets that were written. */
export function updates(written: readonly Uint8Array[], remoteAs = 65001): UpdateMessage[] {
  const context = { fourOctetAs: true, families: new Set<Family>([4, 6]), external: true, remoteAs };
  return [...new Framer().push(Buffer.concat(written))]
    .map((frame) => ('body' in frame ? parseMessage(frame, context) : frame))
    .filter((message) => message.type === 'UPDATE');
}
