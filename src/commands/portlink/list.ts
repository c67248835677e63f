import type { GroupView } from '../../agent/api.ts';
import { AgentCommand } from '../../cli/base-command.ts';
import { since } from '../../cli/format.ts';

export default class PortLinkList extends AgentCommand {
  static override summary = 'List the port-link groups.';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  override async run(): Promise<GroupView[]> {
    const { flags } = await this.parse(PortLinkList);
    const groups = await this.client(flags).get<GroupView[]>('/v1/portlink');
    this.printTable(
      [
        { header: 'NAME', value: (group) => group.name },
        {
          header: 'STATE',
          value: (group) => group.state + (group.held ? ` ${group.held}` : '') + (group.dryRun ? ' (dry run)' : ''),
        },
        { header: 'SINCE', value: (group) => since(group.since) },
        {
          header: 'UPLINKS',
          value: (group) => `${group.uplinks.filter((port) => port.up).length}/${group.uplinks.length}`,
        },
        {
          header: 'SHUT',
          value: (group) => {
            const drained = group.downlinks.filter((port) => port.drained).length;
            const shut = group.downlinks.filter((port) => port.shutByUs).length;
            return `${shut}/${group.downlinks.length}${drained > 0 ? ` (${drained} drained)` : ''}`;
          },
        },
        { header: 'WHY', value: (group) => group.reason },
      ],
      groups,
      'No groups.',
    );
    return groups;
  }
}
