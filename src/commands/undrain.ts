import { Flags } from '@oclif/core';
import type { DrainView } from '../agent/api.ts';
import { EXIT } from '../cli/base-command.ts';
import { DrainCommand, drainFlags, orderOf } from '../cli/drain-command.ts';

export default class Undrain extends DrainCommand {
  static override summary = 'End a drain: the ports are opened again, and the servers come back, without loss.';
  static override description =
    `The preference becomes normal first, then the ports are opened one by one, each after the fabric was told that its hosts are
about to come back. A port that its port-link group wants shut is left to the group. Exit code 1: some are still shut.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    { description: 'One port only:', command: '<%= config.bin %> <%= command.id %> --port A2' },
  ];
  static override flags = {
    ...drainFlags,
    force: Flags.boolean({ description: 'although the fabric is not ready' }),
  };

  override async run(): Promise<undefined> {
    const { flags } = await this.parse(Undrain);
    const client = this.client(flags);
    const view = await this.watch(client, await client.send<DrainView>('POST', '/v1/undrain', {}, orderOf(flags)));
    if (view.phase !== 'none' && !flags.port && !flags.group) this.endWith(EXIT.no);
    return this.conclude(view, view.phase === 'none' && view.reason === '' ? 'Nothing is drained.' : view.reason);
  }
}
