/**
 * The announced hosts as static routes for the router upstream, where no protocol runs between it and the switch: what
 * an operator, or his automation, gives to it. Pure: lists in, text out.
 */
import type { HostView, StatusView } from '../agent/api.ts';
import { type Address, familyOf, hostPrefix } from '../model/address.ts';

export const FORMATS = ['frr', 'bird', 'iproute2'] as const;
export type Format = (typeof FORMATS)[number];

export interface StaticRoute {
  readonly address: Address;
  /** The switch's addresses, of the same family. */
  readonly via: readonly Address[];
}

export interface ExportOptions {
  readonly format: Format;
  readonly routerId: string;
  /** The lower the better: metric (iproute2), distance (FRR); BIRD's preference is 200 less it. */
  readonly metric: number;
}

/** What the switch says to be reached by: the global addresses of the uplinks that are up. */
export const uplinkAddresses = ({ uplinks }: StatusView): Address[] =>
  uplinks.filter(({ up }) => up).flatMap(({ addresses = [] }) => addresses);

/** In the order of the addresses; `left`: hosts that have no next hop of their family. */
export function staticRoutes(
  hosts: readonly HostView[],
  nextHops: readonly Address[],
): { routes: StaticRoute[]; left: Address[] } {
  const routes: StaticRoute[] = [];
  const left: Address[] = [];
  for (const { address, announcedBy, state } of hosts) {
    // A shadow is worth less than what is real, which a list of next hops can't say.
    if (announcedBy.length === 0 || state === 'shadow') continue;
    const via = nextHops.filter((hop) => familyOf(hop) === familyOf(address));
    if (via.length === 0) left.push(address);
    else routes.push({ address, via });
  }
  return { routes: routes.sort((one, other) => compare(one.address, other.address)), left };
}

/** The whole list, as a file to be loaded. */
export function wholeList(routes: readonly StaticRoute[], options: ExportOptions): string {
  const { format, routerId } = options;
  const head = `${format === 'frr' ? '!' : '#'} hosts behind the switch ${routerId}: written by peerless hosts --export ${format}\n`;
  if (format === 'bird') return `${head}${birdProtocols(routes, options)}`;
  if (format === 'frr') return `${head}${lines(routes.flatMap((route) => frrLines(route, options)))}`;
  return `${head}${lines(routes.map((route) => `route replace ${routeWords(route, options)}`))}`;
}

/**
 * What makes one list of another, for a program that takes commands as they come. The lists of both switches may name a
 * host for a while, until the one that it has left has noticed: the kernel then uses the route that was put before the
 * others (`prepend`), which is the newer claim, and what is gone is named with its next hop, so that the other's stays.
 */
export function difference(
  before: readonly StaticRoute[],
  after: readonly StaticRoute[],
  options: ExportOptions & { readonly format: 'frr' | 'iproute2' },
): string {
  const old = new Map(before.map((route) => [route.address, route]));
  const now = new Map(after.map((route) => [route.address, route]));
  const differs = (route: StaticRoute, other: StaticRoute | undefined): boolean =>
    route.via.join() !== other?.via.join();
  const coming = after.filter((route) => differs(route, old.get(route.address)));
  const going = before.filter((route) => differs(route, now.get(route.address)));
  if (options.format === 'iproute2') {
    return lines([
      ...coming.map((route) => `route ${adding(route.address)} ${routeWords(route, options)}`),
      ...going.map((route) => `route del ${routeWords(route, options)}`),
    ]);
  }
  const kept = ({ address, via }: StaticRoute) => ({
    address,
    via: via.filter((hop) => !now.get(address)?.via.includes(hop)),
  });
  return lines([
    ...coming.flatMap((route) => frrLines(route, options)),
    ...going.flatMap((route) => frrLines(kept(route), options).map((line) => `no ${line}`)),
  ]);
}

/** Of IPv6 the kernel makes one route with both next hops. */
const adding = (address: Address): string => (familyOf(address) === 4 ? 'prepend' : 'append');

const routeWords = ({ address, via }: StaticRoute, { metric }: ExportOptions): string =>
  `${hostPrefix(address)} proto 201 metric ${metric}${nextHopWords(via)}`;

const frrLines = ({ address, via }: StaticRoute, { metric }: ExportOptions): string[] =>
  via.map((hop) => `${frrWord(address)} route ${hostPrefix(address)} ${hop} ${metric}`);

const frrWord = (address: Address): string => (familyOf(address) === 4 ? 'ip' : 'ipv6');

const nextHopWords = (via: readonly Address[]): string =>
  via.length === 1 ? ` via ${via[0]}` : via.map((hop) => ` nexthop via ${hop}`).join('');

/** A protocol for each family, so that both lists can be included side by side with those of the other switch. */
function birdProtocols(routes: readonly StaticRoute[], { routerId, metric }: ExportOptions): string {
  const name = `peerless_${routerId.replaceAll('.', '_')}`;
  return ([4, 6] as const)
    .map((family) => {
      const own = routes.filter(({ address }) => familyOf(address) === family);
      const list = own.map(
        ({ address, via }) => `  route ${hostPrefix(address)} ${via.map((hop) => `via ${hop}`).join(' ')};\n`,
      );
      return `protocol static ${name}_v${family} {\n  ipv${family} { preference ${200 - metric}; };\n${list.join('')}}\n`;
    })
    .join('');
}

const lines = (each: readonly string[]): string => each.map((line) => `${line}\n`).join('');

function compare(one: Address, other: Address): number {
  const collator = familyOf(one) - familyOf(other);
  return collator || one.localeCompare(other, 'en', { numeric: true });
}
