import type { InstanceView } from '../../agent/host-api.ts';
import { HostCommand, inNetworkFlag } from '../../cli/host-command.ts';

export default class HostInstances extends HostCommand {
  static override hiddenAliases = ['host:instances:list'];
  static override summary = 'List the instances on this host: virtual machines and containers.';
  static override description = 'STATE is that of the interface; absent: there is none of that name yet.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --network blue --json',
  ];
  static override flags = { network: inNetworkFlag };

  override async run(): Promise<InstanceView[]> {
    const { flags } = await this.parse(HostInstances);
    const { instances } = await this.ask<{ instances: InstanceView[] }>(flags, '/instances', {
      network: flags.network,
    });
    this.printTable(
      [
        { header: 'NAME', value: (instance) => instance.name },
        { header: 'NETWORK', value: (instance) => instance.network },
        { header: 'ADDRESS', value: (instance) => instance.address },
        { header: 'MAC', value: (instance) => instance.mac },
        { header: 'INTERFACE', value: (instance) => instance.interface },
        { header: 'STATE', value: (instance) => instance.state },
        { header: 'FROM', value: (instance) => instance.origin },
      ],
      instances,
      'No instances.',
    );
    return instances;
  }
}
