import { Args } from '@oclif/core';
import type { HostChangeResult } from '../../../agent/host-api.ts';
import { HostCommand, hostDryRun, networkFlag, segment } from '../../../cli/host-command.ts';

export default class HostRemotesRemove extends HostCommand {
  static override summary = 'Forget another host, in one network.';
  static override description = 'At once, and from the configuration file.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> 10.20.1.2 --network blue --dry-run',
    '<%= config.bin %> <%= command.id %> 10.20.1.2 --network blue',
  ];
  static override args = { host: Args.string({ description: 'its underlay address', required: true }) };
  static override flags = { network: networkFlag, 'dry-run': hostDryRun };

  override async run(): Promise<HostChangeResult> {
    const { args, flags } = await this.parse(HostRemotesRemove);
    const path = segment('remotes', flags.network, args.host);
    return this.change(flags, 'DELETE', path, { dryRun: flags['dry-run'] });
  }
}
