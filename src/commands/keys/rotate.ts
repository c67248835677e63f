import { Flags } from '@oclif/core';
import { CommandFailure, EXIT } from '../../cli/base-command.ts';
import { KeysCommand } from '../../cli/keys-command.ts';
import type { KeysView } from '../../vswitch-bridge/encryption/keys/index.ts';

interface Rotated extends KeysView {
  readonly version: number;
  readonly removed: readonly number[];
}

export default class KeysRotate extends KeysCommand {
  static override summary = 'Issue a new key under the next version number; the oldest beyond --keep go.';
  static override description =
    'Numbers come round again after --cycle; the key under them is another each time. Agents that follow the directory or etcd take it up at once.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --keep 4 --cycle 8',
  ];
  static override flags = {
    keep: Flags.integer({ description: 'versions that stay, the new one among them', default: 3 }),
    cycle: Flags.integer({ description: 'the highest version number', default: 5 }),
  };

  override async run(): Promise<Rotated> {
    const { flags } = await this.parse(KeysRotate);
    const { cycle, keep } = flags;
    if (!(keep >= 1 && keep <= cycle && cycle <= 255)) {
      throw new CommandFailure(EXIT.usage, `--keep ${keep} --cycle ${cycle}: 1 <= keep <= cycle <= 255`);
    }
    const controller = this.controller(flags);
    const { rotated, view } = await this.attempt(flags, async () => {
      const { keys } = await controller.list();
      if (keys.length === 0)
        throw new CommandFailure(EXIT.no, 'there is no key to follow', 'The first one: peerless keys init.');
      return { rotated: await controller.rotate(cycle, keep), view: await controller.list() };
    });
    this.print(view);
    return { ...rotated, ...view };
  }
}
