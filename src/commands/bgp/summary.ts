import type { BgpSummaryView } from '../../agent/api.ts';
import { AgentCommand } from '../../cli/base-command.ts';
import { since } from '../../cli/format.ts';

export default class BgpSummary extends AgentCommand {
  static override summary = 'List the BGP sessions, a line each.';
  static override examples = ['<%= config.bin %> <%= command.id %>'];

  override async run(): Promise<BgpSummaryView> {
    const { flags } = await this.parse(BgpSummary);
    const summary = await this.client(flags).get<BgpSummaryView>('/v1/bgp/summary');
    this.log(`AS ${summary.asn}, router id ${summary.routerId}\n`);
    this.printTable(
      [
        { header: 'NEIGHBOR', value: (row) => row.neighbor },
        { header: 'AS', value: (row) => row.remoteAs, align: 'right' },
        { header: 'STATE', value: (row) => row.state },
        { header: 'SINCE', value: (row) => since(row.since), align: 'right' },
        { header: 'RECEIVED', value: (row) => row.prefixesReceived, align: 'right' },
        { header: 'SENT', value: (row) => row.prefixesSent, align: 'right' },
        { header: 'QUEUED', value: (row) => row.queued, align: 'right' },
        { header: 'WHY', value: (row) => row.reason },
      ],
      summary.neighbors,
      'No neighbours.',
    );
    return summary;
  }
}
