/**
 * Virtual addresses (R1.2): the destination becomes a backend's at the host of the client, before the packet is routed.
 * Each service draws from a map of `SLOTS` numbers, of which a backend has as many as its weight says.
 */
import { type Address, type Family, familyOf } from '../../../../model/address.ts';
import type { OverlayBackend, OverlayService, OverlayState } from '../../../../model/overlay.ts';
import type { TableBuilder } from './document.ts';
import { addressLiteral, digest, interfaceLiteral, ipWord } from './literals.ts';
import { CLASS, COUNTERS, devicesOf, hex, MARK_CLASS_MASK, PRIORITY } from './names.ts';

/** The share of a backend is exact to a thousandth. */
export const SLOTS = 1000;

/** What is known of a service's backends beyond the configuration. */
export interface BackendWeight {
  readonly backend: OverlayBackend;
  /** Any scale; 0: gets nothing new. */
  readonly weight: number;
  readonly alive: boolean;
}

/** By `serviceKey`; a service that is missing gives its backends equal shares. */
export type ServiceWeights = ReadonlyMap<string, readonly BackendWeight[]>;

export const backendKey = ({ address, port }: OverlayBackend): string => `${address} . ${port}`;

/** Two networks may each have a service of one name. */
export const serviceKey = ({ network, name }: Pick<OverlayService, 'network' | 'name'>): string => `${network}/${name}`;

export const serviceChain = (service: OverlayService): string => `service_${digest(serviceKey(service))}`;

export function addServices(
  table: TableBuilder,
  state: OverlayState,
  zones: ReadonlyMap<string, number>,
  weights: ServiceWeights,
): void {
  const lines: string[] = [];
  const refusals: string[] = [];
  const usable = [...state.services.values()].filter((service) => zones.has(service.network));
  for (const family of [4, 6] as const) {
    const services = usable.filter(({ address }) => familyOf(address) === family);
    if (services.length === 0) continue;
    const ip = ipWord(family);
    const key = `ct zone . ${ip} daddr . meta l4proto . th dport`;
    const type = `typeof ${key}`;
    const chains = table.set('map', `services${family}`, `${type} : verdict;`);
    const dead = table.set('set', `no_backend${family}`, `${type};`);
    const addresses = table.set('set', `service_addresses${family}`, `type ipv${family}_addr;`);
    for (const service of services) {
      const address = addressLiteral(service.address);
      const place = `${zones.get(service.network)} . ${address} . ${service.protocol} . ${port(service.port)}`;
      addresses.set(address, '');
      const shares = sharesOf(service, weights.get(serviceKey(service)));
      if (shares.length === 0) {
        dead.set(place, '');
        continue;
      }
      const rule = `meta l4proto ${service.protocol} dnat ${ip} to numgen random mod ${SLOTS} map { ${slots(shares)} }`;
      table.chain(serviceChain(service), [rule]);
      chains.set(place, ` : goto ${serviceChain(service)}`);
    }
    lines.push(`${key} vmap @services${family}`);
    refusals.push(`meta l4proto { tcp, udp } ct direction original ${key} @no_backend${family} jump refuse`);
  }
  if (usable.length === 0) return;
  table.chain('refuse', [
    table.counter(COUNTERS.noBackend),
    'meta l4proto tcp reject with tcp reset',
    'reject with icmpx port-unreachable',
  ]);
  // After the rules of the user's: who may not reach a service is not told whether it lives.
  table.chain('refuse_dead', refusals, `type filter hook prerouting priority ${PRIORITY.rate}; policy accept;`);
  table.chain(
    'services',
    [
      // Every host answers for the address, so nothing for it comes by a tunnel; if it does, the client's host decided.
      `meta mark & ${hex(MARK_CLASS_MASK)} == ${hex(CLASS.tunnel)} accept`,
      ...lines.map((line) => `meta l4proto { tcp, udp } ${line}`),
    ],
    `type nat hook prerouting priority ${PRIORITY.dnat}; policy accept;`,
  );
  // The address stands on the host's bridge: what is no service must not reach the host's own sockets by it.
  table.chain(
    'service_input',
    ([4, 6] as const)
      .filter((family) => table.sets.has(`service_addresses${family}`))
      .map(
        (family) =>
          `iifname @bridges ${ipWord(family)} daddr @service_addresses${family} meta l4proto != { icmp, icmpv6 } ${table.counter(COUNTERS.noService)} reject with icmpx port-unreachable`,
      ),
    `type filter hook input priority ${PRIORITY.forward}; policy accept;`,
  );
  addHairpin(table, usable, state, zones);
}

/**
 * A client that drew itself gets the gateway's address as its source (the service's own where there is no gateway), so
 * that the reply comes back here.
 */
function addHairpin(
  table: TableBuilder,
  services: readonly OverlayService[],
  state: OverlayState,
  zones: ReadonlyMap<string, number>,
): void {
  const local = new Set([...state.instances.values()].map(({ network, address }) => `${network} ${address}`));
  for (const service of services) {
    const family = familyOf(service.address);
    const gateway = state.networks.get(service.network)?.gateway;
    const source = gateway !== undefined && familyOf(gateway) === family ? gateway : service.address;
    for (const { address } of service.backends) {
      if (familyOf(address) !== family || !local.has(`${service.network} ${address}`)) continue;
      const ip = ipWord(family);
      const type = `typeof ct zone . ${ip} saddr . ${ip} daddr : ${ip} saddr;`;
      const own = addressLiteral(address);
      const map = table.set('map', `hairpin${family}`, type);
      map.set(`${zones.get(service.network)} . ${own} . ${own}`, ` : ${addressLiteral(source)}`);
    }
  }
}

/**
 * The probes of the host itself to a backend elsewhere: every host has the gateway's address, so the reply would stay at
 * the host that the backend lives on. They take the address of an instance of ours; the kernel gives the replies back.
 */
export function addProbeSources(table: TableBuilder, state: OverlayState): void {
  const checked = new Set(
    [...state.services.values()].filter((each) => each.healthCheck).map(({ network }) => network),
  );
  for (const name of checked) {
    const network = state.networks.get(name);
    if (!network) continue;
    const bridge = interfaceLiteral(devicesOf(state, network).bridge);
    for (const family of [4, 6] as const) {
      const instance = probeSource(state, name, family);
      if (instance === undefined) continue;
      const ip = ipWord(family);
      table.set('map', `probe_source${family}`, `typeof oifname : ${ip} saddr;`).set(bridge, ` : ${instance}`);
      const locals = table.set('set', `probed_here${family}`, `typeof oifname . ${ip} daddr;`);
      for (const { network: of, address } of state.instances.values()) {
        if (of === name && familyOf(address) === family) {
          locals.set(`${bridge} . ${addressLiteral(address)}`, '');
        }
      }
    }
  }
}

/** undefined: no instance of this network here, nobody to ask for. */
export function probeSource(state: OverlayState, network: string, family: Family): Address | undefined {
  for (const instance of state.instances.values()) {
    if (instance.network === network && familyOf(instance.address) === family) return instance.address;
  }
  return undefined;
}

function sharesOf(service: OverlayService, known: readonly BackendWeight[] | undefined): BackendWeight[] {
  const family = familyOf(service.address);
  const all = known ?? service.backends.map((backend) => ({ backend, weight: 1, alive: true }));
  return all.filter(({ backend, weight }) => weight > 0 && familyOf(backend.address) === family);
}

/** The largest remainder gets what rounding left over; nobody of weight above zero goes without. */
function slots(shares: readonly BackendWeight[]): string {
  const total = shares.reduce((sum, { weight }) => sum + weight, 0);
  const exact = shares.map(({ weight }) => (weight / total) * SLOTS);
  const counts = exact.map((value) => Math.max(1, Math.floor(value)));
  let left = SLOTS - counts.reduce((sum, count) => sum + count, 0);
  const byRemainder = exact.map((value, index) => ({ index, rest: value - Math.floor(value) }));
  byRemainder.sort((a, b) => b.rest - a.rest || a.index - b.index);
  for (let at = 0; left > 0; at++, left--) counts[byRemainder[at % counts.length]!.index]!++;
  for (; left < 0; left++) counts[counts.indexOf(Math.max(...counts))]!--;
  let next = 0;
  return shares
    .map(({ backend }, index) => {
      const first = next;
      next += counts[index]!;
      const range = counts[index] === 1 ? `${first}` : `${first}-${next - 1}`;
      return `${range} : ${addressLiteral(backend.address)} . ${port(backend.port)}`;
    })
    .join(', ');
}

const port = (value: number): string => String(Math.trunc(value) & 0xffff);
