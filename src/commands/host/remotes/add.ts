import { Args } from '@oclif/core';
import type { HostChangeResult } from '../../../agent/host-api.ts';
import { HostCommand, hostDryRun, manyFlag, networkFlag, replaceFlag } from '../../../cli/host-command.ts';

export default class HostRemotesAdd extends HostCommand {
  static override summary = 'Say what lies behind another host.';
  static override description =
    'At once, and into the configuration file. With --replace the addresses given are all that lie behind it.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> 10.20.1.2 --network blue --address 10.200.2.0/24',
    '<%= config.bin %> <%= command.id %> 10.20.1.2 --network blue --address 10.200.2.0/24,10.200.9.7/32 --replace --dry-run',
  ];
  static override args = { host: Args.string({ description: 'its underlay address', required: true }) };
  static override flags = {
    network: networkFlag,
    address: manyFlag('addresses', 'prefixes behind it, comma-separated', 'PREFIX', true),
    replace: replaceFlag,
    'dry-run': hostDryRun,
  };

  override async run(): Promise<HostChangeResult> {
    const { args, flags } = await this.parse(HostRemotesAdd);
    const body = { host: args.host, network: flags.network, addresses: flags.address };
    return this.change(flags, 'POST', 'remotes', { dryRun: flags['dry-run'], set: flags.replace }, body);
  }
}
