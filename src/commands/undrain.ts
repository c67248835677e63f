import { Flags } from '@oclif/core';
import type { DrainView, UndrainPlan } from '../agent/api.ts';
import { EXIT } from '../cli/base-command.ts';
import { DrainCommand, drainFlags, orderOf } from '../cli/drain-command.ts';
import { dryRunFlag } from '../cli/portlink-command.ts';

export default class Undrain extends DrainCommand {
  static override summary = 'End a drain: the ports are opened again, and the servers come back, without loss.';
  static override description =
    `The preference becomes normal first, then the ports are opened one by one, each after the fabric was told that its hosts are
about to come back. A port that its port-link group wants shut is left to the group. Exit code 1: some are still shut.`;
  static override examples = [
    { description: 'Which ports:', command: '<%= config.bin %> <%= command.id %> --dry-run' },
    '<%= config.bin %> <%= command.id %>',
    { description: 'One port only:', command: '<%= config.bin %> <%= command.id %> --port A2' },
  ];
  static override flags = {
    ...drainFlags,
    force: Flags.boolean({ description: 'although the fabric is not ready' }),
    'dry-run': dryRunFlag,
  };

  override async run(): Promise<UndrainPlan | undefined> {
    const { flags } = await this.parse(Undrain);
    const client = this.client(flags);
    if (flags['dry-run']) {
      const plan = await client.send<UndrainPlan>('POST', '/v1/undrain', { dryRun: true }, orderOf(flags));
      this.#print(plan);
      return plan;
    }
    const view = await this.watch(client, await client.send<DrainView>('POST', '/v1/undrain', {}, orderOf(flags)));
    if (view.phase !== 'none' && !flags.port && !flags.group) this.endWith(EXIT.no);
    return this.conclude(view, view.phase === 'none' && view.reason === '' ? 'Nothing is drained.' : view.reason);
  }

  #print({ preference, ports, warnings }: UndrainPlan): void {
    this.log('Dry run: nothing was changed. This would be done:');
    if (preference === 'normal') this.log('  all announcements become as preferable as they were');
    for (const { port, opened, reason } of ports) this.log(opened ? `  open ${port}` : `  leave ${port}: ${reason}`);
    if (preference === 'unchanged' && ports.length === 0) this.log('  nothing');
    for (const warning of warnings) this.log(`WARNING: ${warning}`);
  }
}
