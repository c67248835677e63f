import { Flags } from '@oclif/core';
import {
  ETCD_PREFIX,
  type EtcdPlace,
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
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly 'server-name': string | undefined;
  readonly user: string | undefined;
  readonly 'password-file': string | undefined;
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
    ca: Flags.string({
      description: 'etcd by https: who signs its certificate (PEM)',
      helpValue: 'PATH',
      dependsOn: ['etcd'],
    }),
    cert: Flags.string({
      description: 'our certificate for etcd (PEM)',
      helpValue: 'PATH',
      dependsOn: ['etcd', 'key'],
    }),
    key: Flags.string({ description: 'its private key (PEM)', helpValue: 'PATH', dependsOn: ['etcd', 'cert'] }),
    'server-name': Flags.string({
      description: "what etcd's certificate must say, when it is not the host of the URL",
      helpValue: 'NAME',
      dependsOn: ['etcd'],
    }),
    user: Flags.string({
      description: 'user of etcd, by https only',
      helpValue: 'NAME',
      dependsOn: ['etcd', 'password-file'],
    }),
    'password-file': Flags.string({ description: 'its password', helpValue: 'PATH', dependsOn: ['etcd', 'user'] }),
  };

  protected controller(flags: KeyPlaceFlags): KeyController {
    return new KeyController(keyStore(flags.etcd ? etcdPlace(flags, flags.etcd) : { directory: flags.directory }));
  }

  /** The refusals of the file system and of etcd, in a sentence. */
  protected async attempt<T>(flags: KeyPlaceFlags, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      if (error instanceof CommandFailure) throw error;
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

function etcdPlace(flags: KeyPlaceFlags, etcd: readonly string[]): EtcdPlace {
  const { prefix, ca, cert, key, user } = flags;
  const serverName = flags['server-name'];
  const passwordFile = flags['password-file'];
  const plain = etcd.find((url) => !url.startsWith('https://'));
  if (user !== undefined && plain !== undefined)
    throw new CommandFailure(EXIT.usage, `the password would go to ${plain} in plain text`, 'Use https://.');
  return {
    etcd,
    prefix,
    tls: {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(serverName === undefined ? {} : { serverName }),
    },
    ...(user === undefined || passwordFile === undefined ? {} : { user: { name: user, passwordFile } }),
  };
}
