import type { NetworkView } from '../../agent/host-api.ts';
import { HostCommand } from '../../cli/host-command.ts';

export default class HostNetworks extends HostCommand {
  static override hiddenAliases = ['host:networks:list'];
  static override summary = 'List the virtual networks.';
  static override description = 'OVERLAPS names the networks with the same addresses, to which it is not routed.';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  override async run(): Promise<NetworkView[]> {
    const { flags } = await this.parse(HostNetworks);
    const { networks } = await this.ask<{ networks: NetworkView[] }>(flags, '/networks');
    this.printTable(
      [
        { header: 'NAME', value: (network) => network.name },
        { header: 'VNI', value: (network) => network.vni, align: 'right' },
        { header: 'SUBNET', value: (network) => network.subnet },
        { header: 'GATEWAY', value: (network) => network.gateway },
        { header: 'TUNNEL', value: (network) => network.encapsulation },
        { header: 'MTU', value: (network) => network.mtu, align: 'right' },
        { header: 'INSTANCES', value: (network) => network.instances, align: 'right' },
        { header: 'REMOTES', value: (network) => network.remotes, align: 'right' },
        { header: 'OVERLAPS', value: (network) => network.overlaps.join(', ') },
      ],
      networks,
      'No networks.',
    );
    return networks;
  }
}
