import { Args } from '@oclif/core';
import type { HostChangeResult } from '../../../agent/host-api.ts';
import { HostCommand, hostDryRun, segment } from '../../../cli/host-command.ts';

export default class HostRulesRemove extends HostCommand {
  static override hiddenAliases = ['host:policy:remove'];
  static override summary = 'Remove a rule.';
  static override description = 'At once, and from the configuration file. The next packet is judged without it.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> no-telnet --dry-run',
    '<%= config.bin %> <%= command.id %> no-telnet',
  ];
  static override args = { name: Args.string({ description: 'its name', required: true }) };
  static override flags = { 'dry-run': hostDryRun };

  override async run(): Promise<HostChangeResult> {
    const { args, flags } = await this.parse(HostRulesRemove);
    return this.change(flags, 'DELETE', segment('rules', args.name), { dryRun: flags['dry-run'] });
  }
}
