import type { HostStatusView } from '../../agent/host-api.ts';
import { HostCommand } from '../../cli/host-command.ts';
import { hostStatusText } from '../../cli/host-text.ts';
import { outputWidth } from '../../cli/table.ts';

export default class HostStatus extends HostCommand {
  static override summary = 'Show the virtual networks of this host at a glance.';
  static override description =
    `For an agent with role: host. The table below shows what follows the agent's tables: the kernel's networks and rules, the
fast path, the tunnel neighbours, the encryption. Behind means that the kernel refused something, which is tried again.`;
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  override async run(): Promise<HostStatusView> {
    const { flags } = await this.parse(HostStatus);
    const status = await this.ask<HostStatusView>(flags, '');
    this.log(hostStatusText(status, outputWidth()));
    return status;
  }
}
