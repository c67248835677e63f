import type { ChangeResult } from '../../agent/api.ts';
import { groupFlags, groupSettings, requiredGroupFlags } from '../../cli/group-flags.ts';
import {
  dryRunFlag,
  forceFlag,
  groupName,
  groupPath,
  guardQuery,
  PortLinkCommand,
} from '../../cli/portlink-command.ts';

export default class PortLinkAdd extends PortLinkCommand {
  static override summary = 'Add a port-link group.';
  static override description =
    "At once, and into the configuration file; the file's comments stay. Keys that aren't given have their defaults.";
  static override examples = [
    '<%= config.bin %> <%= command.id %> fabric --uplinks A0 --downlinks A1,A2,A3,A4',
    "<%= config.bin %> <%= command.id %> spines --uplinks 'swp[49-52]' --downlinks 'swp[1-48]' --min-uplinks 2 --shut 50% --dry-run",
  ];
  static override args = { name: groupName };
  static override flags = {
    ...groupFlags,
    ...requiredGroupFlags,
    'dry-run': dryRunFlag,
    force: forceFlag,
  };

  override async run(): Promise<ChangeResult> {
    const { args, flags } = await this.parse(PortLinkAdd);
    const settings = groupSettings(flags);
    const query = { dryRun: flags['dry-run'], ...guardQuery(flags.force) };
    return this.printChange(await this.client(flags).send<ChangeResult>('PUT', groupPath(args.name), query, settings));
  }
}
