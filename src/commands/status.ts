import { Flags } from '@oclif/core';
import type { StatusView } from '../agent/api.ts';
import { AgentCommand } from '../cli/base-command.ts';
import { statusText } from '../cli/status-text.ts';
import { outputWidth } from '../cli/table.ts';
import { watch } from '../cli/watch.ts';

export default class Status extends AgentCommand {
  static override summary = 'Show the agent at a glance.';
  static override description =
    'Role, uplinks, port-link groups, routing sessions, number of hosts, the last failover.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    { description: 'Live, once a second:', command: '<%= config.bin %> <%= command.id %> --watch' },
  ];
  static override flags = {
    watch: Flags.boolean({ char: 'w', description: 'show it again and again; with --json one object a line' }),
    interval: Flags.integer({ description: 'seconds between two looks of --watch', default: 1, min: 1 }),
  };

  override async run(): Promise<StatusView | undefined> {
    const { flags } = await this.parse(Status);
    const client = this.client(flags);
    if (!flags.watch) {
      const status = await client.get<StatusView>('/v1/status');
      this.log(statusText(status, outputWidth()));
      return status;
    }
    return watch(flags.interval, async () => this.show(await client.get<StatusView>('/v1/status')));
  }

  private show(status: StatusView): void {
    const clear = process.stdout.isTTY ? '\u001b[H\u001b[2J' : '';
    const text = this.jsonEnabled() ? JSON.stringify(status) : `${clear}${statusText(status, outputWidth())}\n`;
    process.stdout.write(`${text}\n`);
  }
}
