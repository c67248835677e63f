import { Args, Flags } from '@oclif/core';
import type { CountersView } from '../agent/api.ts';
import { AgentCommand, CommandFailure, EXIT } from '../cli/base-command.ts';

export default class Counters extends AgentCommand {
  static override summary = "Show the agent's counters, discards by reason among them.";
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> ospf --nonzero',
  ];
  static override args = { part: Args.string({ description: 'only this part, such as ospf or hostroutes' }) };
  static override flags = { nonzero: Flags.boolean({ char: 'z', description: 'leave out what is 0' }) };

  override async run(): Promise<CountersView> {
    const { args, flags } = await this.parse(Counters);
    const all = await this.client(flags).get<CountersView>('/v1/counters');
    if (args.part !== undefined && !(args.part in all)) {
      throw new CommandFailure(
        EXIT.no,
        `there is no part ${args.part}`,
        `Choose one of ${Object.keys(all).join(', ')}.`,
      );
    }
    const parts = args.part === undefined ? all : { [args.part]: all[args.part]! };
    const rows = Object.entries(parts).flatMap(([part, counters]) =>
      Object.entries(counters)
        .filter(([, value]) => !flags.nonzero || value !== 0)
        .map(([name, value]) => ({ part, name, value })),
    );
    this.printTable(
      [
        { header: 'PART', value: (row) => row.part },
        { header: 'COUNTER', value: (row) => row.name },
        { header: 'VALUE', value: (row) => row.value, align: 'right' },
      ],
      rows,
      'No counters.',
    );
    return parts;
  }
}
