import { HostCommand } from '../../cli/host-command.ts';
import { NEIGHBOUR_COLUMNS, type NeighbourRow } from '../../cli/host-rows.ts';

export default class HostNeighbours extends HostCommand {
  static override hiddenAliases = ['host:neighbours:list'];
  static override summary = 'List the tunnel neighbours: who carries our tunnels, by which MAC.';
  static override description =
    `One line for each next hop towards other hosts: the host itself, or the gateway before it. HELD counts the packets that
wait for its MAC now. Counters are in peerless host stats.`;
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  override async run(): Promise<NeighbourRow[]> {
    const { flags } = await this.parse(HostNeighbours);
    const neighbours = await this.ask<NeighbourRow[]>(flags, '/neighbours');
    this.printTable(NEIGHBOUR_COLUMNS, neighbours, 'No tunnel neighbours.');
    return neighbours;
  }
}
