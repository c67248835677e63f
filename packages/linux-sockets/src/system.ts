import { closeSync, constants as files } from 'node:fs';
import { constants } from 'node:os';
import { checked } from './errors.ts';
import { native } from './native.ts';

/** Options that are C ints take a number. */
export function optionBytes(value: number | Uint8Array): Uint8Array {
  if (typeof value !== 'number') return value;
  if (!Number.isInteger(value)) throw new TypeError(`an option is an integer or bytes, not ${value}`);
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value | 0, 0);
  return bytes;
}

/** setsockopt(2) on any descriptor, e.g. that of a Node socket. @throws SystemCallError */
export function setSocketOption(fd: number, level: number, name: number, value: number | Uint8Array): void {
  checked(native.setOption(fd, level, name, optionBytes(value)), 'setsockopt');
}

/** getsockopt(2); `length` is the room offered, the result is as long as the kernel's answer. @throws SystemCallError */
export function getSocketOption(fd: number, level: number, name: number, length = 4): Buffer {
  const out = Buffer.alloc(length);
  return out.subarray(0, checked(native.getOption(fd, level, name, out), 'getsockopt'));
}

/** ioctl(2) with a structure that is read and written in place, at most 16 KiB. @throws SystemCallError */
export function ioctl(fd: number, request: number, argument: Uint8Array): number {
  return checked(native.ioctl(fd, request >>> 0, argument), 'ioctl');
}

/** open(2), close-on-exec. @throws SystemCallError */
export function openFile(path: string, flags: number): number {
  return checked(native.openFile(path, flags), 'open', path);
}

const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * flock(2), exclusive, without waiting: whether the file open as `fd` has the lock now. It ends with the descriptor, so also
 * with the process, however that ends. @throws SystemCallError
 */
export function lockFile(fd: number): boolean {
  const result = native.flock(fd, LOCK_EX | LOCK_NB);
  if (result === -constants.errno.EWOULDBLOCK) return false;
  checked(result, 'flock');
  return true;
}

/** if_nametoindex(3), in this thread's network namespace. @throws SystemCallError (ENODEV) */
export function interfaceIndex(name: string): number {
  return checked(native.interfaceIndex(name), 'if_nametoindex', name);
}

/**
 * Runs `run` with this thread in another network namespace (a name under /run/netns or an absolute path), and comes
 * back before it returns, also when `run` throws. `run` must be synchronous: what it leaves for a later turn (promises,
 * Node's own sockets, which are made on first use) happens in the old namespace.
 *
 * @throws SystemCallError, TypeError when `run` returned a promise
 */
export function withNetns<T>(netns: string, run: () => T): T {
  const home = openFile('/proc/thread-self/ns/net', files.O_RDONLY);
  try {
    const there = openFile(netns.startsWith('/') ? netns : `/run/netns/${netns}`, files.O_RDONLY);
    try {
      checked(native.setns(there), 'setns', netns);
    } finally {
      closeSync(there);
    }
    let result: T;
    try {
      result = run();
    } finally {
      checked(native.setns(home), 'setns', 'back');
    }
    if (typeof (result as { then?: unknown } | undefined)?.then === 'function') {
      throw new TypeError('withNetns needs a synchronous function, this one returned a promise');
    }
    return result;
  } finally {
    closeSync(home);
  }
}
