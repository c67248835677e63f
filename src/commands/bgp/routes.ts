import { Flags } from '@oclif/core';
import type { BgpRouteView } from '../../agent/api.ts';
import { AgentCommand } from '../../cli/base-command.ts';

export default class BgpRoutes extends AgentCommand {
  static override summary = 'List the BGP routes.';
  static override description =
    `Tables: \`in\` what neighbours told us, \`loc\` what is chosen, \`out\` what we announce. \`*\` marks the best route of a prefix.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    { description: 'What we announce:', command: '<%= config.bin %> <%= command.id %> --table out' },
    '<%= config.bin %> <%= command.id %> --neighbor 192.0.2.1 --json',
  ];
  static override flags = {
    table: Flags.string({ description: 'only this table', options: ['in', 'loc', 'out'] }),
    neighbor: Flags.string({ description: 'only from or to this neighbour', helpValue: 'ADDRESS' }),
    prefix: Flags.string({ description: 'only inside this prefix, or this address', helpValue: 'PREFIX' }),
  };

  override async run(): Promise<BgpRouteView[]> {
    const { flags } = await this.parse(BgpRoutes);
    const all = await this.client(flags).get<BgpRouteView[]>('/v1/bgp/routes', { prefix: flags.prefix });
    const routes = all.filter(
      (route) =>
        (flags.table === undefined || route.table === flags.table) &&
        (flags.neighbor === undefined || route.neighbor === flags.neighbor),
    );
    this.printTable(
      [
        { header: 'TABLE', value: (route) => route.table },
        { header: 'PREFIX', value: (route) => (route.best ? '* ' : '  ') + route.prefix },
        { header: 'NEIGHBOR', value: (route) => route.neighbor },
        { header: 'NEXT HOP', value: (route) => route.nextHop },
        { header: 'ORIGIN', value: (route) => route.origin },
        { header: 'MED', value: (route) => route.med, align: 'right' },
        { header: 'PREF', value: (route) => route.localPreference, align: 'right' },
        { header: 'AS PATH', value: (route) => route.asPath },
        { header: 'COMMUNITIES', value: (route) => route.communities.join(' ') },
        { header: 'REJECTED', value: (route) => route.rejected },
      ],
      routes,
      'No routes.',
    );
    return routes;
  }
}
