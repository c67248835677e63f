import { Flags } from '@oclif/core';
import { CASE_NAMES, type CaseName, CROWD_NAMES } from '../../../lab/cases/names.ts';
import type { LabResult, LabRunOptions, TorKind } from '../../../lab/index.ts';
import { BaseCommand, EXIT } from '../../cli/base-command.ts';
import { labName, onProgress } from '../../cli/lab-flags.ts';

export default class LabRun extends BaseCommand {
  static override summary = 'Break things in the lab and say what each fault cost.';
  static override description =
    `Every case is driven there and back while packets flow; the table shows what was lost, how long the outage was, and
where the routes went, and PASS or FAIL of each phase in which nobody may lose a packet. Exit code 1 when a route went wrong, a server that
has nothing to do with a fault lost something, or a phase failed.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --cases server-link,uplink --runs 5',
    {
      description: "Beside today's practice, in the same run:",
      command: '<%= config.bin %> <%= command.id %> --compare frr',
    },
    {
      description: 'And with switches that stand by for each other:',
      command: '<%= config.bin %> <%= command.id %> --compare frr,shadow,repair,router',
    },
  ];
  static override flags = {
    name: labName,
    runs: Flags.integer({ description: 'how often each case', default: 3, min: 1 }),
    cases: Flags.string({
      description: `only these, or all: ${CASE_NAMES.join(', ')}; or with many addresses: ${CROWD_NAMES.join(', ')}; default: the five of the worked example`,
      helpValue: 'CASES',
      delimiter: ',',
      multiple: true,
      options: [...CASE_NAMES, ...CROWD_NAMES, 'all'],
    }),
    compare: Flags.string({
      description:
        "also with other switches: today's practice (frr), ours with shadow routes (shadow), with the repair path too (repair), and then with ours as G (router)",
      helpValue: 'KINDS',
      delimiter: ',',
      multiple: true,
      options: ['frr', 'shadow', 'repair', 'router'],
    }),
    capture: Flags.string({ description: "put packet captures of G's ports here", helpValue: 'FOLDER' }),
    trace: Flags.string({ description: 'put every observation of each phase here, as JSON', helpValue: 'FOLDER' }),
  };

  override async run(): Promise<LabResult> {
    const { flags } = await this.parse(LabRun);
    const { labRun, passed, renderTable } = await import('../../../lab/index.ts');
    const options: LabRunOptions = {
      name: flags.name,
      runs: flags.runs,
      onProgress,
      ...(flags.cases === undefined
        ? {}
        : { cases: flags.cases.includes('all') ? CASE_NAMES : (flags.cases as CaseName[]) }),
      ...(flags.compare === undefined ? {} : { compare: flags.compare as TorKind[] }),
      ...(flags.capture === undefined ? {} : { capture: flags.capture }),
      ...(flags.trace === undefined ? {} : { trace: flags.trace }),
    };
    const result = await labRun(options);
    this.log(renderTable(result).trimEnd());
    if (!passed(result)) this.endWith(EXIT.no);
    return result;
  }
}
