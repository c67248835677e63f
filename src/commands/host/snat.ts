import type { SnatView } from '../../agent/host-api.ts';
import { HostCommand, inNetworkFlag } from '../../cli/host-command.ts';

export default class HostSnat extends HostCommand {
  static override hiddenAliases = ['host:snat:list'];
  static override summary = 'List the source addresses that the public world sees.';
  static override description = 'The longest prefix of the destination decides.';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];
  static override flags = { network: inNetworkFlag };

  override async run(): Promise<SnatView[]> {
    const { flags } = await this.parse(HostSnat);
    const { snat } = await this.ask<{ snat: SnatView[] }>(flags, '/snat', { network: flags.network });
    this.printTable(
      [
        { header: 'NETWORK', value: (source) => source.network },
        { header: 'TO', value: (source) => source.to },
        { header: 'ADDRESS', value: (source) => source.address },
      ],
      snat,
      'Nothing leaves for the public world.',
    );
    return snat;
  }
}
