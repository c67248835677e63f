import { KeysCommand } from '../../cli/keys-command.ts';
import type { KeysView } from '../../vswitch-bridge/encryption/keys/index.ts';

export default class KeysList extends KeysCommand {
  static override summary = 'List the version keys: number, fingerprint, age. The octets are never shown.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --etcd http://10.0.0.9:2379',
  ];

  override async run(): Promise<KeysView> {
    const { flags } = await this.parse(KeysList);
    const view = await this.attempt(flags, () => this.controller(flags).list());
    this.print(view);
    return view;
  }
}
