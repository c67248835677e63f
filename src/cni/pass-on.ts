/**
 * What a result carries beside addresses, by the network's configuration or by who hands out the addresses: routes for the
 * container, and DNS settings for the runtime (CNI specification 1.0.0, "ADD Success"). Pure.
 */
import { z } from 'zod';
import { type Address, type Prefix, parseAddress, parsePrefix } from '../model/address.ts';
import { CniError } from './errors.ts';

export interface ContainerRoute {
  readonly dst: Prefix;
  /** Absent: by the network's gateway, and on the link where that has none. */
  readonly gw?: Address;
}

export interface Dns {
  readonly nameservers?: readonly string[];
  readonly domain?: string;
  readonly search?: readonly string[];
  readonly options?: readonly string[];
}

const texts = z.array(z.string()).optional();
export const dnsShape = z.object({ nameservers: texts, domain: z.string().optional(), search: texts, options: texts });
const routesShape = z.array(z.object({ dst: z.string(), gw: z.string().optional() }));

/** Those of IPv4: the networks have no other. @throws CniError of `code` for what is no list of routes */
export function readRoutes(value: unknown, code: number): ContainerRoute[] {
  const list = routesShape.safeParse(value ?? []);
  if (!list.success) throw new CniError(code, 'routes: is no list of { dst, gw }', JSON.stringify(value));
  const routes = list.data.flatMap(({ dst, gw }): ContainerRoute[] => {
    const to = parsePrefix(dst);
    const by = gw === undefined || gw === '' ? undefined : parseAddress(gw);
    if (!to) throw new CniError(code, `routes: ${JSON.stringify(dst)} is no prefix`);
    if (gw && !by) throw new CniError(code, `routes: ${JSON.stringify(gw)} is no address`);
    if (to.includes(':') || by?.includes(':')) return [];
    return [{ dst: to, ...(by === undefined ? {} : { gw: by }) }];
  });
  // Of two ways to one place the later would take the place of the other.
  const ways = new Map<Prefix, ContainerRoute>();
  for (const route of routes) {
    const other = ways.get(route.dst);
    if (other && other.gw !== route.gw) throw new CniError(code, `routes: ${route.dst} has two ways`);
    ways.set(route.dst, route);
  }
  return [...ways.values()];
}

/** Not ours to act upon, so what is not as the specification has it is left out. */
export function readDns(value: unknown): Dns | undefined {
  const dns = dnsShape.safeParse(value);
  return dns.success && Object.keys(dns.data).length > 0 ? (dns.data as Dns) : undefined;
}

const EVERYWHERE = '0.0.0.0/0';

/**
 * The way out by the network's gateway comes of itself, unless another is named; so does that to the network, on the link, and a
 * route to it by nobody in particular would only lead its own hosts by the gateway.
 */
export function routesOf(
  asked: readonly ContainerRoute[],
  { subnet, gateway }: { readonly subnet: Prefix; readonly gateway?: Address },
): ContainerRoute[] {
  const beyond = asked.filter(({ dst, gw }) => dst !== subnet || gw !== undefined);
  const withGateway = beyond.map(({ dst, gw = gateway }) => ({ dst, ...(gw === undefined ? {} : { gw }) }));
  if (gateway === undefined || asked.some(({ dst }) => dst === EVERYWHERE)) return withGateway;
  return [{ dst: EVERYWHERE as Prefix, gw: gateway }, ...withGateway];
}
