import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { CommandFailure, EXIT } from './errors.ts';

/**
 * Names of the interfaces of this process's network namespace, or of another. /proc/net follows the calling thread,
 * where /sys/class/net shows the namespace it was mounted in.
 */
export async function interfaceNames(netns?: string): Promise<Set<string>> {
  const read = () => parseNames(readFileSync('/proc/thread-self/net/dev', 'utf8'));
  if (netns === undefined) return read();
  const { withNetns } = await import('linux-sockets');
  try {
    return withNetns(netns, read);
  } catch (error) {
    throw new CommandFailure(
      EXIT.usage,
      `the network namespace ${netns} can't be entered: ${(error as Error).message}`,
      'Choose one that `ip netns` lists, as root.',
    );
  }
}

/** Addresses of the interfaces that are up, of this process's network namespace. */
export const ownAddresses = (): Set<string> =>
  new Set(Object.values(networkInterfaces()).flatMap((each) => each?.map(({ address }) => address) ?? []));

/** Who is logged in, and by which port; nobody when that can't be read. */
export async function loginPorts(netns?: string): Promise<readonly { readonly port: string; readonly peer: string }[]> {
  const { Kernel, sshConnection } = await import('../netlink/index.ts');
  const kernel = await Kernel.open(netns === undefined ? {} : { netns }).catch(() => undefined);
  if (!kernel) return [];
  try {
    const session = sshConnection(process.env.SSH_CONNECTION);
    return await kernel.logins(session ? [session] : []);
  } finally {
    kernel.close();
  }
}

/** The VRF of each port that is in one; none when that can't be read. */
export async function vrfMembers(netns?: string): Promise<ReadonlyMap<string, string>> {
  const { Rtnetlink } = await import('rtnetlink-ts');
  try {
    const netlink = Rtnetlink.open(netns === undefined ? {} : { netns });
    try {
      return vrfsOf(await netlink.dumpLinks());
    } finally {
      netlink.close();
    }
  } catch {
    // Without the native part, or without the right to ask, the file can be checked all the same.
    return new Map();
  }
}

/** A port of a bond or bridge is in a VRF with it. */
export function vrfsOf(
  ports: Iterable<{
    readonly name: string;
    readonly ifindex: number;
    readonly master: number;
    readonly kind: string | undefined;
  }>,
): ReadonlyMap<string, string> {
  const byIndex = new Map(Array.from(ports, (port) => [port.ifindex, port]));
  const vrfs = new Map<string, string>();
  for (const port of byIndex.values()) {
    let above = byIndex.get(port.master);
    for (let depth = 0; above && depth < MOST_MASTERS; depth++) {
      if (above.kind === 'vrf') vrfs.set(port.name, above.name);
      above = byIndex.get(above.master);
    }
  }
  return vrfs;
}

/** A port in a bond in a bridge in a VRF. */
const MOST_MASTERS = 4;

const parseNames = (text: string): Set<string> =>
  new Set(
    text
      .split('\n')
      .slice(2)
      .map((line) => line.split(':')[0]!.trim())
      .filter((name) => name !== ''),
  );
