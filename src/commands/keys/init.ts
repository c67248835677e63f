import { CommandFailure, EXIT } from '../../cli/base-command.ts';
import { KeysCommand } from '../../cli/keys-command.ts';
import { KeyDirectory, type KeysView } from '../../vswitch-bridge/encryption/keys/index.ts';

export default class KeysInit extends KeysCommand {
  static override summary = 'Make the directory and the first key.';
  static override description = 'Refused where there are keys already.';
  static override examples = ['<%= config.bin %> <%= command.id %> --directory /etc/peerless/keys'];

  override async run(): Promise<KeysView> {
    const { flags } = await this.parse(KeysInit);
    const view = await this.attempt(flags, async () => {
      if (!flags.etcd) await new KeyDirectory(flags.directory).create();
      const controller = this.controller(flags);
      const { keys, problems } = await controller.list();
      if (keys.length > 0 || problems.length > 0) {
        throw new CommandFailure(EXIT.no, 'there are keys already', 'A new one: peerless keys rotate.');
      }
      await controller.rotate(1, 1);
      return controller.list();
    });
    this.print(view);
    return view;
  }
}
