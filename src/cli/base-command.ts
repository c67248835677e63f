import { Command, Flags } from '@oclif/core';
import { places } from '../config/places.ts';
import { AgentClient } from './client.ts';
import { CommandFailure, EXIT, type ExitCode, failureJson, failureText } from './errors.ts';
import { type Column, outputWidth, pairs, table } from './table.ts';

/**
 * What all commands share: `--json`, how errors look and how the process ends. A command returns the value that
 * `--json` prints, and logs the text that is printed otherwise.
 */
export abstract class BaseCommand extends Command {
  static override enableJsonFlag = true;

  protected printTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[], none: string): void {
    this.log(rows.length === 0 ? none : table(columns, rows, outputWidth()));
  }

  protected printPairs(entries: readonly (readonly [string, string | number | undefined])[]): void {
    this.log(pairs(entries, outputWidth()));
  }

  /** Ends the command with `code` once its output is written. */
  protected endWith(code: ExitCode): void {
    process.exitCode = code;
  }

  protected override toErrorJson(error: unknown): ReturnType<typeof failureJson> {
    return failureJson(error);
  }

  protected override async catch(error: Error): Promise<void> {
    // oclif's own: usage errors, which it prints with the help, and the end of a command.
    if ('oclif' in error) {
      await super.catch(error as Parameters<Command['catch']>[0]);
      return;
    }
    process.exitCode = error instanceof CommandFailure ? error.exitCode : EXIT.no;
    // One line, since it may follow the objects of --follow or --watch.
    if (this.jsonEnabled()) process.stdout.write(`${JSON.stringify(this.toErrorJson(error))}\n`);
    else process.stderr.write(`${failureText(error)}\n`);
  }
}

const socketFlag = Flags.string({
  description: 'control socket of the agent',
  env: 'PEERLESS_SOCKET',
  default: places().socket,
  helpValue: 'PATH',
  helpGroup: 'GLOBAL',
});

/** A command that asks the agent. */
export abstract class AgentCommand extends BaseCommand {
  static override baseFlags = { socket: socketFlag };

  protected client(flags: { readonly socket: string }): AgentClient {
    return new AgentClient(flags.socket);
  }
}

export { CommandFailure, EXIT };
