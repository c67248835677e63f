import { Args } from '@oclif/core';
import type { HostChangeResult } from '../../../agent/host-api.ts';
import { HostCommand, hostDryRun, segment } from '../../../cli/host-command.ts';

export default class HostNetworksRemove extends HostCommand {
  static override summary = 'Remove a virtual network.';
  static override description = 'At once, and from the configuration file. Refused while something is in it.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> blue --dry-run',
    '<%= config.bin %> <%= command.id %> blue',
  ];
  static override args = { name: Args.string({ description: 'its name', required: true }) };
  static override flags = { 'dry-run': hostDryRun };

  override async run(): Promise<HostChangeResult> {
    const { args, flags } = await this.parse(HostNetworksRemove);
    return this.change(flags, 'DELETE', segment('networks', args.name), { dryRun: flags['dry-run'] });
  }
}
