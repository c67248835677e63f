import { createHash } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, statSync } from 'node:fs';
import { hostname } from 'node:os';

/**
 * Where an agent keeps its state and listens when nobody says otherwise, and what a switch is called then.
 *
 * Agents in several network namespaces of one box (a lab, a test, several routers on one machine) have one file system. In a
 * namespace that has a name (`ip netns`) they stand by that name, which is the same after every restart and is found by
 * commands in that namespace without any privilege. Everywhere else, so on a switch, in a container, under systemd, they
 * have the places that they have always had.
 */
export interface Places {
  /** The name of our network namespace; absent in the box's own, and where it has none. */
  readonly netns?: string;
  readonly stateDirectory: string;
  readonly socket: string;
}

export const STATE_DIRECTORY = '/var/lib/peerless';
export const SOCKET = '/run/peerless/peerless.sock';
/** Control sockets by the name of their namespace. */
export const NETNS_SOCKETS = '/run/peerless/netns';

const NAMES = '/run/netns';
/** A setting that is shown in the box's own network namespace alone (net/core/sysctl_net_core.c). */
const BOX_ONLY = '/proc/sys/net/core/netdev_budget';
/** A socket's path has 107 octets. */
const LONGEST = 64;

let found: Places | undefined;

/** Those of this process, as it was when they were first asked for. */
export function places(): Places {
  found ??= placesIn(ownName());
  return found;
}

export function placesIn(netns: string | undefined): Places {
  if (netns === undefined) return { stateDirectory: STATE_DIRECTORY, socket: SOCKET };
  const file = netns.length <= LONGEST ? netns : `${netns.slice(0, 48)}-${digest(netns)}`;
  return {
    netns,
    stateDirectory: `${STATE_DIRECTORY}/netns/${file}`,
    socket: `${NETNS_SOCKETS}/${file}.sock`,
  };
}

/** What a switch is called. In a namespace the part that differs comes first: on its way a long name is cut. */
export function switchName({ netns }: Pick<Places, 'netns'> = places()): string {
  return netns === undefined ? hostname() : `${netns}@${hostname()}`;
}

const digest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 12);

/**
 * What is mounted below /run/netns and is our own. A symbolic link there is somebody's shortcut into a container, and follows
 * a process that only a privileged one can look into.
 */
function ownName(): string | undefined {
  if (existsSync(BOX_ONLY)) return undefined;
  try {
    const own = statSync('/proc/self/ns/net');
    const names = readdirSync(NAMES).filter((name) => {
      const entry = lstatSync(`${NAMES}/${name}`, { throwIfNoEntry: false });
      return entry?.ino === own.ino && entry.dev === own.dev;
    });
    names.sort();
    // Of several names that one under which there is something.
    return names.find((name) => existsSync(placesIn(name).stateDirectory)) ?? names[0];
  } catch {
    // Nobody has named any here.
    return undefined;
  }
}
