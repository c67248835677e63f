/** The exit codes of every command. */
export const EXIT = {
  fine: 0,
  /** The question was understood and the answer is no: nothing like that, or something is wrong. */
  no: 1,
  /** The command line or the configuration is wrong. */
  usage: 2,
  /** The agent can't be reached. */
  unreachable: 3,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** What the user is told: what went wrong, what to do about it, and how the command ends. */
export class CommandFailure extends Error {
  readonly exitCode: ExitCode;
  readonly remedy: string | undefined;

  constructor(exitCode: ExitCode, message: string, remedy?: string) {
    super(message);
    this.name = 'CommandFailure';
    this.exitCode = exitCode;
    this.remedy = remedy;
  }
}
