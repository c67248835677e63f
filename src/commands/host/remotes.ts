import type { RemoteView } from '../../agent/host-api.ts';
import { HostCommand, inNetworkFlag } from '../../cli/host-command.ts';

export default class HostRemotes extends HostCommand {
  static override hiddenAliases = ['host:remotes:list'];
  static override summary = 'List the other hosts, and what lies behind them.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --network blue --json',
  ];
  static override flags = { network: inNetworkFlag };

  override async run(): Promise<RemoteView[]> {
    const { flags } = await this.parse(HostRemotes);
    const { remotes } = await this.ask<{ remotes: RemoteView[] }>(flags, '/remotes', { network: flags.network });
    this.printTable(
      [
        { header: 'HOST', value: (remote) => remote.host },
        { header: 'NETWORK', value: (remote) => remote.network },
        { header: 'FROM', value: (remote) => remote.origin },
        { header: 'ADDRESSES', value: (remote) => remote.addresses.join(', ') },
      ],
      remotes,
      'No other hosts.',
    );
    return remotes;
  }
}
