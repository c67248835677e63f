import type { ChangeResult } from '../../agent/api.ts';
import { CommandFailure, EXIT } from '../../cli/base-command.ts';
import { groupFlags, groupSettings } from '../../cli/group-flags.ts';
import {
  dryRunFlag,
  forceFlag,
  groupName,
  groupPath,
  guardQuery,
  PortLinkCommand,
} from '../../cli/portlink-command.ts';

export default class PortLinkSet extends PortLinkCommand {
  static override summary = 'Change keys of a port-link group.';
  static override description =
    "At once, and in the configuration file; the file's comments stay. Only the given keys change.";
  static override examples = [
    '<%= config.bin %> <%= command.id %> fabric --recovery-delay 30s',
    '<%= config.bin %> <%= command.id %> fabric --up-when carrier,adjacency --dry-run',
    '<%= config.bin %> <%= command.id %> fabric --no-enabled',
  ];
  static override args = { name: groupName };
  static override flags = { ...groupFlags, 'dry-run': dryRunFlag, force: forceFlag };

  override async run(): Promise<ChangeResult> {
    const { args, flags } = await this.parse(PortLinkSet);
    const settings = groupSettings(flags);
    if (Object.keys(settings).length === 0) {
      throw new CommandFailure(
        EXIT.usage,
        'nothing to set was given',
        'Name a key, such as --recovery-delay 30s; --help lists them.',
      );
    }
    const query = { dryRun: flags['dry-run'], ...guardQuery(flags.force) };
    return this.printChange(
      await this.client(flags).send<ChangeResult>('PATCH', groupPath(args.name), query, settings),
    );
  }
}
