import { Flags } from '@oclif/core';
import type { HostChangeResult } from '../../../agent/host-api.ts';
import { CommandFailure, EXIT } from '../../../cli/base-command.ts';
import { HostCommand, hostDryRun } from '../../../cli/host-command.ts';

export default class HostPolicySet extends HostCommand {
  static override summary = 'Set what applies where no rule does, and who may open connections.';
  static override description =
    'At once, for connections that stand too, and in the configuration file. With --default deny the rules are an allow list.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --default deny --dry-run',
    '<%= config.bin %> <%= command.id %> --initiate inside',
  ];
  static override flags = {
    default: Flags.string({ description: 'where no rule applies', options: ['allow', 'deny'] }),
    initiate: Flags.string({ description: 'who may open connections', options: ['both', 'inside'] }),
    'dry-run': hostDryRun,
  };

  override async run(): Promise<HostChangeResult> {
    const { flags } = await this.parse(HostPolicySet);
    const { default: byDefault, initiate } = flags;
    if (byDefault === undefined && initiate === undefined) {
      throw new CommandFailure(EXIT.usage, 'nothing to set was given', 'Name --default or --initiate.');
    }
    return this.change(flags, 'PATCH', 'policy', { dryRun: flags['dry-run'] }, { default: byDefault, initiate });
  }
}
