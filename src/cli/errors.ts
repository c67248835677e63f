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

/** The JSON of a failure is the API's own error body. */
export function failureJson(error: unknown): { error: { message: string; remedy?: string } } {
  const message = error instanceof Error ? error.message : String(error);
  const remedy = error instanceof CommandFailure ? error.remedy : undefined;
  return { error: remedy === undefined ? { message } : { message, remedy } };
}

/** The world's refusals in a sentence; our own defects with their stack, for a report. */
export function failureText(error: Error): string {
  if (error instanceof CommandFailure) {
    return `peerless: ${error.message}${error.remedy === undefined ? '' : `\n${error.remedy}`}`;
  }
  const refused = error.constructor === Error || 'code' in error;
  return `peerless: ${refused ? error.message : `a defect of this program: ${error.stack}`}`;
}
