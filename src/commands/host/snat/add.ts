import { Args } from '@oclif/core';
import type { HostChangeResult } from '../../../agent/host-api.ts';
import { HostCommand, hostDryRun, networkFlag, replaceFlag } from '../../../cli/host-command.ts';

export default class HostSnatAdd extends HostCommand {
  static override summary = 'Choose the source address towards public destinations.';
  static override description = 'At once, and into the configuration file.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> 0.0.0.0/0 10.20.1.1 --network blue',
    '<%= config.bin %> <%= command.id %> 198.51.100.0/24 192.0.2.9 --network blue --dry-run',
  ];
  static override args = {
    to: Args.string({ description: 'public destinations', required: true }),
    address: Args.string({ description: 'the source that they see', required: true }),
  };
  static override flags = { network: networkFlag, replace: replaceFlag, 'dry-run': hostDryRun };

  override async run(): Promise<HostChangeResult> {
    const { args, flags } = await this.parse(HostSnatAdd);
    const body = { network: flags.network, to: args.to, address: args.address };
    return this.change(flags, 'POST', 'snat', { dryRun: flags['dry-run'], set: flags.replace }, body);
  }
}
