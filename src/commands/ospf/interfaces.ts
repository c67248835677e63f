import type { OspfInterfaceView } from '../../agent/api.ts';
import { AgentCommand } from '../../cli/base-command.ts';
import { age } from '../../cli/format.ts';

export default class OspfInterfaces extends AgentCommand {
  static override summary = 'List the interfaces that speak OSPF.';
  static override examples = ['<%= config.bin %> <%= command.id %>'];

  override async run(): Promise<OspfInterfaceView[]> {
    const { flags } = await this.parse(OspfInterfaces);
    const interfaces = await this.client(flags).get<OspfInterfaceView[]>('/v1/ospf/interfaces');
    this.printTable(
      [
        { header: 'INTERFACE', value: (row) => row.name },
        {
          header: 'ADDRESS',
          value: (row) => (row.address === undefined ? undefined : `${row.address}/${row.prefixLength}`),
        },
        { header: 'AREA', value: (row) => row.area },
        { header: 'NETWORK', value: (row) => row.network },
        { header: 'STATE', value: (row) => row.state },
        { header: 'COST', value: (row) => row.cost, align: 'right' },
        { header: 'HELLO', value: (row) => age(row.hello), align: 'right' },
        { header: 'DEAD', value: (row) => age(row.dead), align: 'right' },
        { header: 'MTU', value: (row) => row.mtu, align: 'right' },
        { header: 'FULL', value: (row) => `${row.full}/${row.neighbors}` },
      ],
      interfaces,
      'No interfaces.',
    );
    return interfaces;
  }
}
