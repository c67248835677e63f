/**
 * What outlives an agent and stands where versions before this one had it: they would hold the port of encrypted packets, and nobody
 * would end them. In such a place may stand another agent's too, of another network namespace of the box: only what is of ours
 * is touched.
 */
import { existsSync, readFileSync } from 'node:fs';
import { formerWorkerSockets, formerXfrmDirectories, type HostConfig, xfrmDirectory } from '../../../config/index.ts';
import { heldHere, moveXfrm } from '../../../vswitch-bridge/encryption/xfrm/index.ts';

/** __SO_ACCEPTCON of include/linux/net.h */
const LISTENS = 0x10000;

/** Sockets of packet workers of this network namespace. */
export function formerWorkers(config: Pick<HostConfig, 'control'>): string[] {
  const there = formerWorkerSockets(config).filter((path) => existsSync(path));
  if (there.length === 0) return [];
  const here = listenersHere();
  return there.filter((path) => here.has(path));
}

/** Directories of what the kernel was told, held by a process of this network namespace. */
export const formerXfrm = (config: Pick<HostConfig, 'control'>): string[] =>
  formerXfrmDirectories(config).filter(heldHere);

/** Brings it to where it stands now. */
export function bringXfrm(config: Pick<HostConfig, 'control'>): void {
  for (const directory of formerXfrm(config)) moveXfrm(directory, xfrmDirectory(config));
}

/** The kernel lists the sockets of the network namespace that they were made in, whoever can reach them. */
function listenersHere(): ReadonlySet<string> {
  const listeners = new Set<string>();
  for (const line of readFileSync('/proc/thread-self/net/unix', 'utf8').split('\n')) {
    // Num RefCount Protocol Flags Type St Inode Path
    const [, flags, path] = /^\S+ \S+ \S+ (\S+) \S+ \S+ +\S+ (.*)$/.exec(line) ?? [];
    if (path !== undefined && Number.parseInt(flags!, 16) & LISTENS) listeners.add(path);
  }
  return listeners;
}
