import { constants } from 'node:os';

const NAMES = new Map<number, string>();
for (const [name, number] of Object.entries(constants.errno)) if (!NAMES.has(number)) NAMES.set(number, name);
// The C library has two names for 95; the kernel's is this one.
NAMES.set(constants.errno.EOPNOTSUPP, 'EOPNOTSUPP');

export const errorName = (errno: number): string => NAMES.get(errno) ?? `errno ${errno}`;

/** Why one message of a batch was refused: plain data, because a withdrawn port refuses a thousand of them at once. */
export interface Refusal {
  readonly code: string;
  readonly errno: number;
  /** The kernel's own words, where it has any. */
  readonly extack: string | undefined;
  /** RTM_*. */
  readonly request: string;
}

export class NetlinkError extends Error {
  /** EEXIST, ENETDOWN ... */
  readonly code: string;
  readonly errno: number;
  readonly extack: string | undefined;
  readonly request: string;

  constructor(refusal: Refusal) {
    super(`${refusal.request}: ${refusal.code}${refusal.extack ? `: ${refusal.extack}` : ''}`);
    this.name = 'NetlinkError';
    this.code = refusal.code;
    this.errno = refusal.errno;
    this.extack = refusal.extack;
    this.request = refusal.request;
  }
}

const NO_FAMILY = new Set(['EAFNOSUPPORT', 'EOPNOTSUPP']);

/** The kernel does not have what it was asked for, at least not in this address family: IPv6 may be switched off at boot. */
export const lacksFamily = (error: unknown): boolean => error instanceof NetlinkError && NO_FAMILY.has(error.code);
