import { Args } from '@oclif/core';
import type { HostChangeResult } from '../../../agent/host-api.ts';
import { HostCommand, hostDryRun, networkFlag, segment } from '../../../cli/host-command.ts';

export default class HostSnatRemove extends HostCommand {
  static override summary = 'Forget a source address for public destinations.';
  static override description = 'At once, and from the configuration file.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> 0.0.0.0/0 --network blue --dry-run',
    '<%= config.bin %> <%= command.id %> 0.0.0.0/0 --network blue',
  ];
  static override args = { to: Args.string({ description: 'public destinations', required: true }) };
  static override flags = { network: networkFlag, 'dry-run': hostDryRun };

  override async run(): Promise<HostChangeResult> {
    const { args, flags } = await this.parse(HostSnatRemove);
    return this.change(flags, 'DELETE', segment('snat', flags.network, args.to), { dryRun: flags['dry-run'] });
  }
}
