/** CNI specification 1.0.0, "Error": codes below 100 are reserved by it. */
export const CODE = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  io: 5,
  decode: 6,
  invalidConfiguration: 7,
  tryAgain: 11,
  /** Ours. */
  agentUnreachable: 100,
  agentRefused: 101,
  noAddressLeft: 102,
  /** CHECK: what was made is not there any more, or is another. */
  changed: 103,
} as const;

export class CniError extends Error {
  readonly code: number;
  readonly details: string;

  constructor(code: number, message: string, details = '') {
    super(message);
    this.name = 'CniError';
    this.code = code;
    this.details = details;
  }
}

/** What is printed on standard output when a command fails. */
export function errorText(error: unknown, cniVersion: string): string {
  const known = error instanceof CniError ? error : new CniError(CODE.io, (error as Error).message);
  return JSON.stringify({ cniVersion, code: known.code, msg: known.message, details: known.details });
}
