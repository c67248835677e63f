import { Args } from '@oclif/core';
import type { HostChangeResult } from '../../../agent/host-api.ts';
import { HostCommand, hostDryRun, segment } from '../../../cli/host-command.ts';

export default class HostInstancesRemove extends HostCommand {
  static override summary = 'Remove an instance.';
  static override description = 'At once, and from the configuration file. Its interface is let go of, not removed.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> c2 --dry-run',
    '<%= config.bin %> <%= command.id %> c2',
  ];
  static override args = { name: Args.string({ description: 'its name', required: true }) };
  static override flags = { 'dry-run': hostDryRun };

  override async run(): Promise<HostChangeResult> {
    const { args, flags } = await this.parse(HostInstancesRemove);
    return this.change(flags, 'DELETE', segment('instances', args.name), { dryRun: flags['dry-run'] });
  }
}
