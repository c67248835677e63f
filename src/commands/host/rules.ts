import type { RuleView } from '../../agent/host-api.ts';
import { HostCommand } from '../../cli/host-command.ts';
import { RULE_COLUMNS } from '../../cli/host-text.ts';

export default class HostRules extends HostCommand {
  static override hiddenAliases = ['host:rules:list'];
  static override summary = 'List the rules, in the order in which they are judged.';
  static override description =
    `Most specific first: longer prefixes, then a protocol, ports, flags; among equals deny before allow. The first with an
action decides, the first with a rate limits. STOPPED counts what a rule has denied or limited.`;
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  override async run(): Promise<RuleView[]> {
    const { flags } = await this.parse(HostRules);
    const { rules } = await this.ask<{ rules: RuleView[] }>(flags, '/rules');
    this.printTable(RULE_COLUMNS, rules, 'No rules.');
    return rules;
  }
}
