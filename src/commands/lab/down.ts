import { BaseCommand, EXIT } from '../../cli/base-command.ts';
import { labName, onProgress } from '../../cli/lab-flags.ts';

export default class LabDown extends BaseCommand {
  static override summary = 'Remove the lab: its processes, namespaces and files.';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --name mine'];
  static override flags = { name: labName };

  override async run(): Promise<{ name: string; removed: boolean }> {
    const { flags } = await this.parse(LabDown);
    const { labDown } = await import('../../../lab/index.ts');
    const removed = await labDown({ name: flags.name, onProgress });
    this.log(removed ? `Lab ${flags.name} is gone.` : `There is no lab ${flags.name}.`);
    if (!removed) this.endWith(EXIT.no);
    return { name: flags.name, removed };
  }
}
