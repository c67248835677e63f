import type { ChangeResult } from '../../agent/api.ts';
import { dryRunFlag, groupName, groupPath, PortLinkCommand } from '../../cli/portlink-command.ts';

export default class PortLinkRemove extends PortLinkCommand {
  static override summary = 'Remove a port-link group.';
  static override description = 'At once, and from the configuration file. Ports that the group had shut are opened.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> fabric --dry-run',
    '<%= config.bin %> <%= command.id %> fabric',
  ];
  static override args = { name: groupName };
  static override flags = { 'dry-run': dryRunFlag };

  override async run(): Promise<ChangeResult> {
    const { args, flags } = await this.parse(PortLinkRemove);
    const query = { dryRun: flags['dry-run'] };
    return this.printChange(await this.client(flags).send<ChangeResult>('DELETE', groupPath(args.name), query));
  }
}
