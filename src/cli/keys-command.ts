import { Flags } from '@oclif/core';
import {
  ETCD_PREFIX,
  KeyController,
  type KeysView,
  type KeyView,
  keyStore,
} from '../vswitch-bridge/encryption/keys/index.ts';
import { BaseCommand, CommandFailure, EXIT } from './base-command.ts';
import { age } from './format.ts';

export const DEFAULT_KEYS = '/etc/peerless/keys';

/** Where the keys are; without --etcd in the directory. */
export interface KeyPlaceFlags {
  readonly directory: string;
  readonly etcd: string[] | undefined;
  readonly prefix: string;
}

/** A command of the embedded key controller. No octet of a key is ever shown. */
export abstract class KeysCommand extends BaseCommand {
  static override baseFlags = {
    directory: Flags.string({
      description: 'directory of the keys',
      default: DEFAULT_KEYS,
      helpValue: 'PATH',
      exclusive: ['etcd'],
    }),
    etcd: Flags.string({
      description: 'etcd instead, by its client URL; may be repeated',
      helpValue: 'URL',
      multiple: true,
    }),
    prefix: Flags.string({
      description: 'with --etcd: what the keys begin with',
      default: ETCD_PREFIX,
      helpValue: 'TEXT',
    }),
  };

  protected controller(flags: KeyPlaceFlags): KeyController {
    return new KeyController(
      keyStore(flags.etcd ? { etcd: flags.etcd, prefix: flags.prefix } : { directory: flags.directory }),
    );
  }

  /** The refusals of the file system and of etcd, in a sentence. */
  protected async attempt<T>(flags: KeyPlaceFlags, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      if (flags.etcd) throw new CommandFailure(EXIT.unreachable, `etcd: ${(error as Error).message}`);
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') {
        throw new CommandFailure(
          EXIT.no,
          `${flags.directory} is missing`,
          'Make it and the first key: peerless keys init.',
        );
      }
      if (code === 'EACCES' || code === 'EPERM') {
        throw new CommandFailure(
          EXIT.no,
          `${flags.directory}: ${message}`,
          'Run as root, or as the user that the keys belong to.',
        );
      }
      throw error;
    }
  }

  protected print({ keys, problems }: KeysView): void {
    this.printTable<KeyView>(
      [
        { header: 'VERSION', value: (row) => `V${row.version}` },
        { header: 'FINGERPRINT', value: (row) => row.fingerprint },
        { header: 'AGE', value: (row) => age(row.age), align: 'right' },
        { header: 'ISSUED', value: (row) => row.issued },
        { header: '', value: (row) => (row.newest ? 'newest' : undefined) },
      ],
      keys,
      'No keys.',
    );
    for (const { where, message, remedy } of problems) this.warn(`${where} ${message}.${remedy ? ` ${remedy}` : ''}`);
  }
}
