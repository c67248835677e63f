import { Flags } from '@oclif/core';
import type { FailoverView } from '../agent/api.ts';
import { AgentCommand } from '../cli/base-command.ts';
import { failoverTimeline } from '../cli/status-text.ts';
import { outputWidth } from '../cli/table.ts';

export default class Failovers extends AgentCommand {
  static override summary = 'Show failovers as timelines.';
  static override description =
    `Microseconds from the moment at which the kernel's message reached the agent, through the host table and the wire,
to the ports and the kernel's routes.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --last 1',
    '<%= config.bin %> <%= command.id %> --json',
  ];
  static override flags = {
    last: Flags.integer({ char: 'n', description: 'how many', helpValue: 'N', default: 10, min: 1 }),
  };

  override async run(): Promise<FailoverView[]> {
    const { flags } = await this.parse(Failovers);
    const failovers = (await this.client(flags).get<FailoverView[]>('/v1/failovers', { last: flags.last })).slice(
      -flags.last,
    );
    this.log(
      failovers.length === 0
        ? 'No failovers.'
        : failovers.map((failover) => failoverTimeline(failover, outputWidth())).join('\n\n'),
    );
    return failovers;
  }
}
