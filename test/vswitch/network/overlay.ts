/** Tables of the overlay for tests: by hand, and as a lab of hosts has it. */
import { execFileSync } from 'node:child_process';
import type { HostLab } from '../../../lab/hosts/index.ts';
import type { Address, Mac, Prefix } from '../../../src/model/address.ts';
import { systemClock } from '../../../src/model/clock.ts';
import type { Log } from '../../../src/model/log.ts';
import type {
  OverlayInstance,
  OverlayNetwork,
  OverlayRemote,
  OverlayService,
  OverlayState,
} from '../../../src/model/overlay.ts';
import { NetworkProjection, networkMark } from '../../../src/vswitch-bridge/slowpath/network/index.ts';

export const network = (
  name: string,
  vni: number,
  subnet: string,
  gateway?: string,
  more: Partial<OverlayNetwork> = {},
): OverlayNetwork => ({
  name,
  vni,
  subnet: subnet as Prefix,
  ...(gateway === undefined ? {} : { gateway: gateway as Address }),
  encapsulation: 'vxlan',
  ...more,
});

export const instance = (
  name: string,
  inNetwork: string,
  address: string,
  more: Partial<OverlayInstance> = {},
): OverlayInstance => ({
  name,
  network: inNetwork,
  address: address as Address,
  interface: `veth-${name}`,
  origin: 'configuration',
  ...more,
});

export const remote = (host: string, inNetwork: string, ...addresses: string[]): OverlayRemote => ({
  host: host as Address,
  network: inNetwork,
  addresses: addresses as Prefix[],
  origin: 'configuration',
});

export interface Parts {
  readonly underlay?: string;
  readonly device?: string;
  readonly networks?: readonly OverlayNetwork[];
  readonly instances?: readonly OverlayInstance[];
  readonly remotes?: readonly OverlayRemote[];
  readonly services?: readonly OverlayService[];
}

export function overlay(parts: Parts): OverlayState {
  const { underlay = '10.20.1.1', device = 'eth0', networks = [], instances = [], remotes = [], services = [] } = parts;
  return {
    underlay: { address: underlay as Address, device },
    networks: new Map(networks.map((each) => [each.name, each])),
    instances: new Map(instances.map((each) => [each.name, each])),
    remotes: new Map(remotes.map((each) => [`${each.network}/${each.host}`, each])),
    policy: { default: 'allow', initiate: 'both', rules: [] },
    services: new Map(services.map((each) => [each.name, each])),
    snat: [],
  };
}

/** What a host of the lab is told: its own instances, and the others' behind their hosts. */
export function overlayOf(lab: HostLab, hostName: string): Parts & { readonly underlay: string } {
  const host = lab.host(hostName);
  return {
    underlay: host.address,
    device: host.device,
    networks: lab.networks.map(({ name, vni, subnet, gateway }) => network(name, vni, subnet, gateway)),
    instances: lab.instances
      .filter((each) => each.host === host.number)
      .map((each) => instance(each.name, each.network, each.address)),
    remotes: lab.hosts
      .filter(({ name }) => name !== hostName)
      .flatMap((other) =>
        lab.networks.map(({ name }) =>
          remote(
            other.address,
            name,
            ...lab.instances
              .filter((each) => each.host === other.number && each.network === name)
              .map(({ address }) => `${address}/32`),
          ),
        ),
      ),
  };
}

export const MAC = (text: string): Mac => text as Mac;

/** Warnings and errors are kept: a test looks at them. */
export function quietLog(): Log & { readonly said: string[] } {
  const said: string[] = [];
  const ignore = (): undefined => undefined;
  const keep = (fields: object, message: string): void => void said.push(`${message} ${JSON.stringify(fields)}`);
  return { said, debug: ignore, info: ignore, warn: keep, error: keep };
}

export interface LaidOut {
  readonly projections: Map<string, NetworkProjection>;
  close(): Promise<void>;
}

/** A projection on each host of the lab, and what the policy's rules would say of gateways. */
export async function layOut(lab: HostLab): Promise<Map<string, NetworkProjection>> {
  const projections = new Map<string, NetworkProjection>();
  for (const { name, netns } of lab.hosts) {
    const state = overlay(overlayOf(lab, name));
    projections.set(name, await NetworkProjection.open({ clock: systemClock, log: quietLog(), netns, state }));
    gatewayRules(netns, state);
  }
  return projections;
}

/** In place of the policy's ruleset: ARP of gateways stays on its host, answers of gateways find back, and connections are tracked. */
export function gatewayRules(netns: string, state: OverlayState): void {
  const networks = [...state.networks.values()].filter(({ gateway }) => gateway !== undefined);
  const gateways = [...new Set(networks.map(({ gateway }) => gateway))].join(', ');
  const both = (device: string): string => `
    ${device} "pltn*" ether type arp arp daddr ip { ${gateways} } drop
    ${device} "pltn*" ether type arp arp saddr ip { ${gateways} } drop
`;
  const ruleset = `
    table bridge stand-in {
      chain forward { type filter hook forward priority 0; ${both('iifname')} ${both('oifname')} }
      chain input { type filter hook input priority 0; ${both('iifname')} }
      chain output { type filter hook output priority 0; ${both('oifname')} }
    }
    table inet stand-in {
      chain tracked { type filter hook prerouting priority -150; ct state invalid drop; }
      chain input {
        type filter hook input priority -150;
        ${networks.map(({ vni }) => `iifname "plbr${vni}" meta mark set ${networkMark(vni)}`).join('\n')}
      }
    }`;
  // By its path: a dependency of the tests brings another program of this name.
  execFileSync('ip', ['netns', 'exec', netns, '/usr/sbin/nft', '-f', '-'], {
    input: ruleset.replaceAll('stand-in', 'standin'),
  });
}
