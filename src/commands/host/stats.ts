import { Flags } from '@oclif/core';
import { HostCommand } from '../../cli/host-command.ts';

type Stats = Readonly<Record<string, unknown>>;

export default class HostStats extends HostCommand {
  static override summary = 'Show what the parts of the host role have counted.';
  static override description =
    `For each program of the fast path: hit, miss, made, expired, denied by a rule, and slow: packets left to the slow path, by
reason. For tunnel neighbours: held, sent, expired, refused. What is 0 is left out unless --all.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --all',
    '<%= config.bin %> <%= command.id %> --json',
  ];
  static override flags = { all: Flags.boolean({ description: 'also what is 0' }) };

  override async run(): Promise<Stats> {
    const { flags } = await this.parse(HostStats);
    const stats = await this.ask<Stats>(flags, '/stats');
    const rows = Object.entries(stats).flatMap(([part, tree]) =>
      leaves(tree, flags.all).map((leaf) => ({ part, ...leaf })),
    );
    this.printTable(
      [
        { header: 'PART', value: (row) => row.part },
        { header: 'COUNTER', value: (row) => row.name },
        { header: 'VALUE', value: (row) => row.value, align: 'right' },
      ],
      rows,
      'Nothing is counted.',
    );
    return stats;
  }
}

function leaves(tree: unknown, all: boolean, prefix = ''): { name: string; value: number }[] {
  if (typeof tree === 'number') return all || tree !== 0 ? [{ name: prefix, value: Math.round(tree * 100) / 100 }] : [];
  if (tree === null || typeof tree !== 'object' || Array.isArray(tree)) return [];
  return Object.entries(tree).flatMap(([key, value]) => leaves(value, all, prefix === '' ? key : `${prefix}.${key}`));
}
