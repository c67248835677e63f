import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';

/** Most that is read of a secret file. The protocols take 8 to 80 octets; HMAC keys may be longer. */
const MOST = 1024;

export type SecretResult = { readonly secret: Uint8Array } | { readonly message: string; readonly remedy: string };

/** Reads a secret; the trailing line end isn't part of it. Refuses a file that others than its owner can read. */
export function readSecret(path: string, most = MOST): SecretResult {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    if (code === 'ENOENT') {
      return {
        message: `the secret file ${path} is missing`,
        remedy: `Create it: install -m 600 /dev/null ${path}, then write the secret into it.`,
      };
    }
    return {
      message: `the secret file ${path} can't be read (${code})`,
      remedy: `The agent may read what its own user may, root's privilege to read everything is not left to it: chown root ${path}.`,
    };
  }
  try {
    const status = fstatSync(fd);
    if (!status.isFile()) return { message: `${path} is not a file`, remedy: 'Name a plain file.' };
    if (status.mode & 0o077) {
      const mode = (status.mode & 0o777).toString(8).padStart(4, '0');
      return {
        message: `the secret file ${path} is open to others than its owner (mode ${mode})`,
        remedy: `Close it: chmod 600 ${path}.`,
      };
    }
    if (status.size > MOST + 2)
      return { message: `${path} has ${status.size} octets`, remedy: 'Keep one secret alone in the file.' };
    const bytes = readFileSync(fd);
    let end = bytes.length;
    if (end > 0 && bytes[end - 1] === 0x0a) end--;
    if (end > 0 && bytes[end - 1] === 0x0d) end--;
    if (end === 0) return { message: `the secret file ${path} is empty`, remedy: 'Write the secret into it.' };
    if (end > most) {
      return {
        message: `the secret in ${path} has ${end} octets`,
        remedy: `The protocol takes at most ${most}; choose a shorter one.`,
      };
    }
    return { secret: Uint8Array.from(bytes.subarray(0, end)) };
  } finally {
    closeSync(fd);
  }
}
