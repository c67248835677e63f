import { constants } from 'node:os';

const CODES = new Map<number, string>();
for (const [code, errno] of Object.entries(constants.errno)) {
  if (!CODES.has(errno)) CODES.set(errno, code);
}
// Of each pair with one value, the name that people write; and names that Node's table lacks.
for (const [errno, code] of [
  [11, 'EAGAIN'],
  [95, 'EOPNOTSUPP'],
  [64, 'ENONET'],
  [77, 'EBADFD'],
  [112, 'EHOSTDOWN'],
  [126, 'ENOKEY'],
  [129, 'EKEYREJECTED'],
] as const) {
  CODES.set(errno, code);
}

/** A system call failed. `code` is the kernel's name (`ENOBUFS`), `errno` its positive number. */
export class SystemCallError extends Error {
  override readonly name = 'SystemCallError';
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;

  constructor(syscall: string, errno: number, detail?: string) {
    const code = CODES.get(errno) ?? `E${errno}`;
    super(`${syscall}${detail ? ` ${detail}` : ''}: ${code}`);
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
  }
}

/** Hands a result of the addon through; below zero it is a negated errno. */
export function checked(result: number, syscall: string, detail?: string): number {
  if (result < 0) throw new SystemCallError(syscall, -result, detail);
  return result;
}
