import type { ChangeResult } from '../../agent/api.ts';
import { dryRunFlag, groupName, groupPath, PortLinkCommand } from '../../cli/portlink-command.ts';

export default class PortLinkRelease extends PortLinkCommand {
  static override summary = 'End a hold: the group follows its uplinks again.';
  static override examples = ['<%= config.bin %> <%= command.id %> fabric'];
  static override args = { name: groupName };
  static override flags = { 'dry-run': dryRunFlag };

  override async run(): Promise<ChangeResult> {
    const { args, flags } = await this.parse(PortLinkRelease);
    const query = { dryRun: flags['dry-run'] };
    return this.printChange(
      await this.client(flags).send<ChangeResult>('POST', groupPath(args.name, '/release'), query),
    );
  }
}
