import { createInterface } from 'node:readline/promises';
import { Args, Flags } from '@oclif/core';
import type { ChangeResult, HoldRequest } from '../../agent/api.ts';
import { CommandFailure, EXIT } from '../../cli/base-command.ts';
import {
  dryRunFlag,
  forceFlag,
  groupName,
  groupPath,
  guardQuery,
  PortLinkCommand,
} from '../../cli/portlink-command.ts';

export default class PortLinkHold extends PortLinkCommand {
  static override summary = "Hold a group's downlinks open or shut, whatever its uplinks do.";
  static override description =
    `Until \`portlink release\`. \`shut\` sends the servers to their other switch: for maintenance of this one.
On a terminal \`shut\` asks before it acts.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %> fabric shut --dry-run',
    '<%= config.bin %> <%= command.id %> fabric shut --yes',
    '<%= config.bin %> <%= command.id %> fabric open',
  ];
  static override args = {
    name: groupName,
    state: Args.string({ description: 'how to hold it', options: ['open', 'shut'], required: true }),
  };
  static override flags = {
    'dry-run': dryRunFlag,
    force: forceFlag,
    yes: Flags.boolean({ char: 'y', description: "don't ask" }),
  };

  override async run(): Promise<ChangeResult> {
    const { args, flags } = await this.parse(PortLinkHold);
    const client = this.client(flags);
    const path = groupPath(args.name, '/hold');
    const guard = guardQuery(flags.force);
    const body: HoldRequest = { state: args.state === 'shut' ? 'shut' : 'open' };
    if (body.state === 'shut' && !flags.yes && !flags['dry-run'] && process.stdin.isTTY && process.stdout.isTTY) {
      const planned = await client.send<ChangeResult>('POST', path, { dryRun: true, ...guard }, body);
      await this.confirm(planned);
    }
    return this.printChange(
      await client.send<ChangeResult>('POST', path, { dryRun: flags['dry-run'], ...guard }, body),
    );
  }

  private async confirm(planned: ChangeResult): Promise<void> {
    process.stderr.write(
      `This takes servers off this switch:\n${planned.actions.map((action) => `  ${action}\n`).join('')}`,
    );
    const prompt = createInterface({ input: process.stdin, output: process.stderr });
    try {
      const answer = await prompt.question('Go on? [y/N] ');
      if (!/^y(es)?$/i.test(answer.trim())) throw new CommandFailure(EXIT.no, 'nothing was changed');
    } finally {
      prompt.close();
    }
  }
}
