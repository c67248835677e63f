import type { PolicyView } from '../../agent/host-api.ts';
import { HostCommand } from '../../cli/host-command.ts';
import { RULE_COLUMNS } from '../../cli/host-text.ts';

export default class HostPolicy extends HostCommand {
  static override hiddenAliases = ['host:policy:list'];
  static override summary = 'Show the policy: what applies by default, and the rules.';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  override async run(): Promise<PolicyView> {
    const { flags } = await this.parse(HostPolicy);
    const policy = await this.ask<PolicyView>(flags, '/policy');
    this.printPairs([
      ['by default', policy.default],
      ['connections from', policy.initiate === 'both' ? 'both sides' : 'inside'],
    ]);
    this.log('');
    this.printTable(RULE_COLUMNS, policy.rules, 'No rules.');
    return policy;
  }
}
