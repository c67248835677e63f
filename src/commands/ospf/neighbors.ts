import type { OspfNeighborView } from '../../agent/api.ts';
import { AgentCommand } from '../../cli/base-command.ts';
import { age, since } from '../../cli/format.ts';

export default class OspfNeighbors extends AgentCommand {
  static override summary = 'List the OSPF neighbours.';
  static override description =
    'States as in RFC 2328 §10.1. DEAD IN: until the neighbour is given up unless it says hello.';
  static override examples = ['<%= config.bin %> <%= command.id %>'];

  override async run(): Promise<OspfNeighborView[]> {
    const { flags } = await this.parse(OspfNeighbors);
    const neighbors = await this.client(flags).get<OspfNeighborView[]>('/v1/ospf/neighbors');
    this.printTable(
      [
        { header: 'ROUTER ID', value: (row) => row.routerId },
        { header: 'ADDRESS', value: (row) => row.address },
        { header: 'INTERFACE', value: (row) => row.interface },
        { header: 'AREA', value: (row) => row.area },
        { header: 'STATE', value: (row) => row.state },
        { header: 'SINCE', value: (row) => since(row.since), align: 'right' },
        { header: 'PRI', value: (row) => row.priority, align: 'right' },
        { header: 'DR', value: (row) => row.designatedRouter },
        { header: 'BDR', value: (row) => row.backupDesignatedRouter },
        { header: 'DEAD IN', value: (row) => age(row.deadIn), align: 'right' },
        { header: 'RXMT', value: (row) => row.retransmissions, align: 'right' },
      ],
      neighbors,
      'No neighbours.',
    );
    return neighbors;
  }
}
