import { Args } from '@oclif/core';
import type { HostChangeResult } from '../../../agent/host-api.ts';
import { HostCommand, hostDryRun, segment } from '../../../cli/host-command.ts';

export default class HostServicesRemove extends HostCommand {
  static override summary = 'Remove a service.';
  static override description =
    'At once, and from the configuration file. Connections that it has balanced end with it.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> web --dry-run',
    '<%= config.bin %> <%= command.id %> web',
  ];
  static override args = { name: Args.string({ description: 'its name', required: true }) };
  static override flags = { 'dry-run': hostDryRun };

  override async run(): Promise<HostChangeResult> {
    const { args, flags } = await this.parse(HostServicesRemove);
    return this.change(flags, 'DELETE', segment('services', args.name), { dryRun: flags['dry-run'] });
  }
}
