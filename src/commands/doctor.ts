import { Flags } from '@oclif/core';
import { BaseCommand, EXIT } from '../cli/base-command.ts';
import type { Diagnosis } from '../cli/diagnosis.ts';
import { configFlag, configuredSocketFlag } from '../cli/file-flags.ts';
import { table } from '../cli/table.ts';

const MARK = { fine: 'ok', warning: 'WARNING', wrong: 'WRONG' } as const;

export default class Doctor extends BaseCommand {
  static override summary = 'Check this machine, and say what to do about what is wrong.';
  static override description =
    `Needs no agent. Looks at capabilities, sockets, the configuration and its secret files, ports, gateway addresses,
kernel settings, and whether the agent answers. Exit code 1 when something is wrong; warnings alone end with 0.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --config peerless.yaml --json',
    { description: 'In a network namespace:', command: 'ip netns exec A <%= config.bin %> <%= command.id %>' },
  ];
  static override flags = {
    config: configFlag,
    socket: configuredSocketFlag,
    quiet: Flags.boolean({ char: 'q', description: 'show only what is not fine' }),
  };

  override async run(): Promise<{ ok: boolean; checks: Diagnosis[] }> {
    const { flags } = await this.parse(Doctor);
    const { diagnose } = await import('../cli/doctor.ts');
    const checks = await diagnose({ configFile: flags.config, socket: flags.socket });
    const ok = checks.every((check) => check.verdict !== 'wrong');
    const shown = flags.quiet ? checks.filter((check) => check.verdict !== 'fine') : checks;
    // Sentences, not cells: never cut, a remedy is there to be copied.
    const lines = shown.flatMap((check) => [
      { verdict: MARK[check.verdict], check: check.check, text: check.message },
      ...(check.remedy === undefined ? [] : [{ verdict: ' ', check: ' ', text: `-> ${check.remedy}` }]),
    ]);
    const columns = [
      { header: 'VERDICT', value: (line: (typeof lines)[number]) => line.verdict },
      { header: 'CHECK', value: (line: (typeof lines)[number]) => line.check },
      { header: 'WHAT', value: (line: (typeof lines)[number]) => line.text },
    ];
    if (lines.length > 0) this.log(table(columns, lines));
    this.log(summary(checks));
    if (!ok) this.endWith(EXIT.no);
    return { ok, checks };
  }
}

function summary(checks: readonly Diagnosis[]): string {
  const count = (verdict: Diagnosis['verdict']) => checks.filter((check) => check.verdict === verdict).length;
  const warnings = count('warning');
  return `${count('fine')} fine, ${warnings} warning${warnings === 1 ? '' : 's'}, ${count('wrong')} wrong`;
}
