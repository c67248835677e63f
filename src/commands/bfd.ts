import type { BfdSessionView } from '../agent/api.ts';
import { AgentCommand } from '../cli/base-command.ts';
import { age, since } from '../cli/format.ts';

export default class Bfd extends AgentCommand {
  static override summary = 'List the BFD sessions: their states, intervals and what relies on them.';
  static override description =
    `INTERVAL is ours between two packets, DETECT the silence that ends the session; both as negotiated. FAILED counts the times
that it ended what relies on it (CLIENTS).`;
  static override examples = ['<%= config.bin %> <%= command.id %>'];

  override async run(): Promise<BfdSessionView[]> {
    const { flags } = await this.parse(Bfd);
    const sessions = await this.client(flags).get<BfdSessionView[]>('/v1/bfd');
    this.printTable(
      [
        { header: 'PEER', value: (row) => row.peer },
        { header: 'INTERFACE', value: (row) => row.interface ?? 'multihop' },
        { header: 'STATE', value: (row) => row.state },
        { header: 'PEER SAYS', value: (row) => row.remoteState },
        { header: 'SINCE', value: (row) => since(row.since), align: 'right' },
        { header: 'INTERVAL', value: (row) => `${Math.round(row.transmitInterval)}ms`, align: 'right' },
        {
          header: 'DETECT',
          value: (row) => (row.detectionTime > 0 ? age(row.detectionTime) : undefined),
          align: 'right',
        },
        { header: 'CLIENTS', value: (row) => row.clients.join(',') },
        { header: 'FAILED', value: (row) => row.failures, align: 'right' },
        { header: 'WHY', value: (row) => row.reason },
      ],
      sessions,
      'No BFD sessions.',
    );
    return sessions;
  }
}
