import type { Hook } from '@oclif/core';
import { CommandFailure, EXIT, failureJson, failureText } from './errors.ts';

/** Asked by oclif when no command has this name; oclif itself would answer in words, whoever asks. */
const unknownCommand: Hook.CommandNotFound = async ({ id, argv = [], config }) => {
  const failure = explain(id, config.commandIDs);
  const end = argv.indexOf('--');
  const flags = end < 0 ? argv : argv.slice(0, end);
  process.exitCode = failure.exitCode;
  if (id === '--json' || flags.includes('--json')) {
    process.stdout.write(`${JSON.stringify(failureJson(failure))}\n`);
  } else process.stderr.write(`${failureText(failure)}\n`);
};

function explain(id: string, commands: readonly string[]): CommandFailure {
  const wrong = (message: string, remedy: string): CommandFailure => new CommandFailure(EXIT.usage, message, remedy);
  if (id.startsWith('-')) return wrong(`a command comes first, and not ${id}`, '`peerless --help` lists them.');
  const words = id.split(':');
  const leads = (count: number): boolean => commands.some((each) => each.startsWith(`${nameOf(words, count)}:`));
  let known = words.length - 1;
  while (known > 0 && !leads(known) && !commands.includes(nameOf(words, known))) known--;
  const named = ['peerless', ...words.slice(0, known)].join(' ');
  if (known > 0 && !leads(known)) {
    return wrong(
      `${words.slice(0, known).join(' ')} takes no ${words.slice(known).join(' ')}`,
      `\`${named} --help\` says what it takes.`,
    );
  }
  return wrong(`there is no command ${words.join(' ')}`, `\`${named} --help\` lists them.`);
}

/** As oclif names it. */
const nameOf = (words: readonly string[], count: number): string => words.slice(0, count).join(':');

export default unknownCommand;
