import type { GroupView, LldpView } from '../../agent/api.ts';
import { AgentCommand } from '../../cli/base-command.ts';
import { neighbourText, since, upDown, yesNo } from '../../cli/format.ts';
import { groupName, groupPath } from '../../cli/portlink-command.ts';

export default class PortLinkShow extends AgentCommand {
  static override summary = 'Show one port-link group: its ports, its state and why.';
  static override examples = ['<%= config.bin %> <%= command.id %> fabric'];
  static override args = { name: groupName };

  override async run(): Promise<GroupView> {
    const { args, flags } = await this.parse(PortLinkShow);
    const group = await this.client(flags).get<GroupView>(groupPath(args.name));
    this.printPairs([
      ['name', group.name],
      ['description', group.description],
      ['state', group.state + (group.held ? ` ${group.held}` : '') + (group.dryRun ? ' (dry run)' : '')],
      ['since', since(group.since)],
      ['why', group.reason],
    ]);
    this.log('');
    this.printTable(
      [
        { header: 'UPLINK', value: (port) => port.port },
        { header: 'STATE', value: (port) => upDown(port.up) },
        ...neighbourColumn(group.uplinks),
        {
          header: 'WHY',
          value: (port) => port.verdicts.map((verdict) => `${verdict.condition}: ${verdict.reason}`).join('; '),
        },
      ],
      group.uplinks,
      'No uplinks.',
    );
    this.log('');
    this.printTable(
      [
        { header: 'DOWNLINK', value: (port) => port.port },
        { header: 'ADMIN', value: (port) => upDown(port.adminUp) },
        { header: 'CARRIER', value: (port) => yesNo(port.carrier) },
        ...neighbourColumn(group.downlinks),
        {
          header: 'SHUT BY US',
          value: (port) =>
            port.shutByUs
              ? `yes${port.drained ? ', drained' : ''}${port.since === undefined ? '' : `, ${since(port.since)}`}`
              : 'no',
        },
      ],
      group.downlinks,
      'No downlinks.',
    );
    this.log('');
    const { config } = group;
    this.printPairs([
      ['enabled', yesNo(config.enabled)],
      ['direction', config.direction],
      ['minUplinks', config.minUplinks],
      ['upWhen', config.upWhen.join(', ')],
      ['nexthops', config.nexthops.join(', ')],
      ['shut', config.shut],
      ['priority', config.priority.join(', ')],
      ['deferDelay', config.deferDelay],
      ['recoveryDelay', config.recoveryDelay],
      ['autoRecover', yesNo(config.autoRecover)],
      ['startupDelay', config.startupDelay],
      ['onStop', config.onStop],
      ['shutUplinks', yesNo(config.shutUplinks)],
      ['allowManagementPort', yesNo(config.allowManagementPort)],
    ]);
    return group;
  }
}

/** Only where LLDP says something at all. */
function neighbourColumn(ports: readonly { readonly lldp?: readonly LldpView[] }[]) {
  if (!ports.some(({ lldp }) => lldp)) return [];
  return [{ header: 'NEIGHBOUR', value: (port: { readonly lldp?: readonly LldpView[] }) => neighbourText(port.lldp) }];
}
