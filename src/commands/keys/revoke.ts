import { Args } from '@oclif/core';
import { CommandFailure, EXIT } from '../../cli/base-command.ts';
import { KeysCommand } from '../../cli/keys-command.ts';
import type { KeysView } from '../../vswitch-bridge/encryption/keys/index.ts';

export default class KeysRevoke extends KeysCommand {
  static override summary = 'Remove one version at once: agents stop using it as soon as they see that it is gone.';
  static override description = 'Revoke after a rotation: peers that have only this version can reach nobody then.';
  static override examples = ['<%= config.bin %> <%= command.id %> 3'];
  static override args = {
    version: Args.string({ description: 'version number', required: true }),
  };

  override async run(): Promise<KeysView> {
    const { args, flags } = await this.parse(KeysRevoke);
    const version = /^\d{1,3}$/.test(args.version) ? Number(args.version) : 0;
    if (version < 1 || version > 255) {
      throw new CommandFailure(EXIT.usage, `versions are 1 to 255, not ${args.version}`);
    }
    const controller = this.controller(flags);
    const { found, view } = await this.attempt(flags, async () => {
      const found = await controller.revoke(version);
      return { found, view: await controller.list() };
    });
    if (!found) throw new CommandFailure(EXIT.no, `there is no version ${version}`);
    this.print(view);
    return view;
  }
}
