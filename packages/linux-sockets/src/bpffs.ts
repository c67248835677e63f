/** The file system in which BPF objects are pinned. */
import { mkdirSync, statfsSync, unlinkSync } from 'node:fs';
import { checked } from './errors.ts';
import { native } from './native.ts';

const BPFFS = 0xcafe4a11;

/** Whether `path` is in a file system of BPF. */
export function isBpffs(path: string): boolean {
  try {
    return (statfsSync(path).type & 0xffffffff) >>> 0 === BPFFS;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/**
 * Mounts a file system of BPF at `path` when none is there, making the directory if need be. In a mount namespace of the
 * process's own (`ip netns exec` makes one) the mount, and all that is pinned in it, ends with the last process there.
 * @throws SystemCallError
 */
export function mountBpffs(path: string): void {
  if (isBpffs(path)) return;
  mkdirSync(path, { recursive: true });
  checked(native.mount('bpf', path, 'mode=0700'), 'mount', path);
}

/** Unpins: what nobody else holds is gone. Whether it was there. */
export function unpin(path: string): boolean {
  try {
    unlinkSync(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/** @throws SystemCallError */
export function unmount(path: string): void {
  checked(native.mount(undefined, path, ''), 'umount', path);
}
