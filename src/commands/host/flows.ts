import { Flags } from '@oclif/core';
import { HostCommand } from '../../cli/host-command.ts';
import { FLOW_COLUMNS, type FlowRow } from '../../cli/host-rows.ts';

export default class HostFlows extends HostCommand {
  static override hiddenAliases = ['host:flows:list'];
  static override summary = 'List the connections that the fast path knows.';
  static override description =
    `STATE follows the connection: opening, established, closing. PACKETS are those of both directions, by either path. AGE and
EXPIRES in seconds. RULE is the one that decided.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --limit 10000 --json',
  ];
  static override flags = {
    limit: Flags.integer({ description: 'at most so many', default: 1000, min: 1, max: 10_000 }),
  };

  override async run(): Promise<FlowRow[]> {
    const { flags } = await this.parse(HostFlows);
    const flows = await this.ask<FlowRow[]>(flags, '/flows', { limit: flags.limit });
    this.printTable(FLOW_COLUMNS, flows, 'No connections.');
    return flows;
  }
}
