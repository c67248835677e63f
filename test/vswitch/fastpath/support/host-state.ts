import type { HostLab } from '../../../../lab/hosts/index.ts';
import { type Address, hostPrefix, type Mac, type Prefix } from '../../../../src/model/address.ts';
import type { OverlayState } from '../../../../src/model/overlay.ts';

/** What the table of one host of a lab holds: its own instances, the others' as remotes. */
export function stateOfHost(lab: HostLab, name: string): OverlayState {
  const host = lab.host(name);
  const own = lab.instances.filter((one) => one.host === host.number);
  const others = lab.hosts.filter((other) => other.name !== name);
  return {
    underlay: { address: host.address as Address, device: host.device },
    networks: new Map(
      lab.networks.map(({ name, vni, subnet }) => [
        name,
        { name, vni, subnet: subnet as Prefix, encapsulation: 'vxlan' },
      ]),
    ),
    instances: new Map(
      own.map((one) => [
        one.name,
        {
          name: one.name,
          network: one.network,
          address: one.address as Address,
          mac: one.mac as Mac,
          interface: one.interface,
          origin: 'configuration',
        },
      ]),
    ),
    remotes: new Map(
      others.flatMap((other) =>
        lab.networks.map(({ name }) => [
          `${name}/${other.address}`,
          {
            host: other.address as Address,
            network: name,
            addresses: lab.instances
              .filter((one) => one.host === other.number && one.network === name)
              .map(({ address }) => hostPrefix(address as Address)),
            origin: 'configuration',
          },
        ]),
      ),
    ),
    policy: { default: 'allow', initiate: 'both', rules: [] },
    services: new Map(),
    snat: [],
  };
}
