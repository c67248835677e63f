import { Args } from '@oclif/core';
import type { BgpNeighborView } from '../../agent/api.ts';
import { AgentCommand, CommandFailure, EXIT } from '../../cli/base-command.ts';
import { age, since, yesNo } from '../../cli/format.ts';

function serverPairs({ server }: BgpNeighborView): [string, string][] {
  if (!server) return [];
  const refused = Object.entries(server.refused).map(([reason, count]) => `${count} ${reason}`);
  const last = server.lastRefused.map(({ prefix, reason }) => `${prefix} (${reason})`);
  return [
    ['hosts', server.accepted.join(', ') || 'none'],
    ['refused', refused.join(', ') || 'none'],
    ...(last.length > 0 ? ([['refused last', last.join(', ')]] as [string, string][]) : []),
  ];
}

export default class BgpNeighbors extends AgentCommand {
  static override summary = 'Show the BGP neighbours in full.';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> 192.0.2.1'];
  static override args = { address: Args.string({ description: 'only this neighbour' }) };

  override async run(): Promise<BgpNeighborView[]> {
    const { args, flags } = await this.parse(BgpNeighbors);
    const all = await this.client(flags).get<BgpNeighborView[]>('/v1/bgp/neighbors');
    const neighbors = args.address === undefined ? all : all.filter((row) => row.neighbor === args.address);
    if (args.address !== undefined && neighbors.length === 0) {
      throw new CommandFailure(
        EXIT.no,
        `there is no neighbour ${args.address}`,
        'List them with: peerless bgp summary',
      );
    }
    if (neighbors.length === 0) this.log('No neighbours.');
    for (const [index, row] of neighbors.entries()) {
      if (index > 0) this.log('');
      this.printPairs([
        ['neighbor', row.neighbor],
        ['remote AS', row.remoteAs],
        ['state', `${row.state} for ${since(row.since)}`],
        ['why', row.reason],
        ['interface', row.interface],
        ['local address', row.localAddress],
        ['router id', row.remoteId],
        ['hold time', row.hold === undefined ? undefined : age(row.hold)],
        ['keepalive', row.keepalive === undefined ? undefined : age(row.keepalive)],
        ['families', row.families.join(', ')],
        ['four-octet AS', yesNo(row.fourOctetAs)],
        ['route refresh', yesNo(row.routeRefresh)],
        ['prefixes', `${row.prefixesReceived} received, ${row.prefixesSent} sent, ${row.queued} queued`],
        ['port facts', row.portFacts ? `${row.factsReceived} received, ${row.factsSent} sent` : 'not agreed on'],
        ['observer', yesNo(row.observer)],
        ['first routes', row.initialRoutesReceived ? 'all received' : 'not all received'],
        ['messages', `${row.messagesReceived} received, ${row.messagesSent} sent`],
        ['established', `${row.established} times`],
        ...serverPairs(row),
      ]);
    }
    return neighbors;
  }
}
