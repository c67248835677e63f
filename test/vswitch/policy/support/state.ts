/** States of the overlay for tests, written shortly. */
import { type Address, type Prefix, parseAddress, parsePrefix } from '../../../../src/model/address.ts';
import type {
  OverlayInstance,
  OverlayNetwork,
  OverlayPolicy,
  OverlayRemote,
  OverlayService,
  OverlayState,
  PolicyRule,
} from '../../../../src/model/overlay.ts';

export const address = (text: string): Address => {
  const parsed = parseAddress(text);
  if (!parsed) throw new Error(`not an address: ${text}`);
  return parsed;
};

export const prefix = (text: string): Prefix => {
  const parsed = parsePrefix(text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`);
  if (!parsed) throw new Error(`not a prefix: ${text}`);
  return parsed;
};

type Short<T> = Partial<{ [K in keyof T]: unknown }>;

export function rule(fields: Short<PolicyRule> & { name: string }): PolicyRule {
  const { from, to, ports, sourcePorts, protocol, ...rest } = fields;
  const end = (value: unknown) => (value === undefined || value === 'any' ? 'any' : prefix(value as string));
  const range = (value: unknown) =>
    ((value ?? []) as (number | [number, number])[]).map((each) =>
      typeof each === 'number' ? { first: each, last: each } : { first: each[0], last: each[1] },
    );
  const number = { tcp: 6, udp: 17, icmp: 1 }[protocol as string] ?? protocol ?? 'any';
  return {
    direction: 'both',
    from: end(from),
    to: end(to),
    protocol: number,
    ports: range(ports),
    sourcePorts: range(sourcePorts),
    ...rest,
  } as unknown as PolicyRule;
}

export const network = (name: string, vni: number, subnet: string, gateway?: string): OverlayNetwork => ({
  name,
  vni,
  subnet: prefix(subnet),
  encapsulation: 'vxlan',
  ...(gateway === undefined ? {} : { gateway: address(gateway) }),
});

export const instance = (name: string, of: string, at: string, port = `veth-${name}`): OverlayInstance => ({
  name,
  network: of,
  address: address(at),
  interface: port,
  origin: 'configuration',
});

export function service(
  name: string,
  of: string,
  at: string,
  backends: readonly string[],
  rest: Partial<OverlayService> = {},
): OverlayService {
  const [host, port] = at.split(':');
  return {
    name,
    network: of,
    address: address(host!),
    port: Number(port),
    protocol: 'tcp',
    backends: backends.map((each) => {
      const [backend, number] = each.split(':');
      return { address: address(backend!), port: Number(number) };
    }),
    balance: 'random',
    ...rest,
  };
}

export interface StateParts {
  readonly networks?: readonly OverlayNetwork[];
  readonly instances?: readonly OverlayInstance[];
  readonly remotes?: readonly OverlayRemote[];
  readonly policy?: Partial<OverlayPolicy>;
  readonly services?: readonly OverlayService[];
  readonly snat?: readonly [network: string, to: string, source: string][];
}

export const state = (parts: StateParts = {}): OverlayState => ({
  underlay: { address: address('10.20.1.1'), device: 'eth0' },
  networks: new Map((parts.networks ?? []).map((each) => [each.name, each])),
  instances: new Map((parts.instances ?? []).map((each) => [each.name, each])),
  remotes: new Map((parts.remotes ?? []).map((each) => [`${each.network}/${each.host}`, each])),
  policy: { default: 'allow', initiate: 'both', rules: [], ...parts.policy },
  services: new Map((parts.services ?? []).map((each) => [`${each.network}/${each.name}`, each])),
  snat: (parts.snat ?? []).map(([of, to, source]) => ({ network: of, to: prefix(to), address: address(source) })),
});
