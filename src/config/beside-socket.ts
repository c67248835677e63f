import { basename, dirname, join } from 'node:path';

interface Place {
  readonly control: { readonly socket: string };
}

/** The usual name of a control socket. */
const USUAL = 'peerless';

/**
 * What outlives the agent stands beside its control socket and is named after it: the sockets of several agents, each in a network
 * namespace of its own, may stand in one folder, and none of them may find another's.
 */
function besideSocket({ control: { socket } }: Place, usual: string, kind: string): string {
  const name = basename(socket, '.sock');
  return join(dirname(socket), name === USUAL ? usual : `${name}-${kind}`);
}

/** Where the packet worker listens. */
export const workerSocket = (config: Place): string => besideSocket(config, 'overlay-worker.sock', 'worker.sock');

/** Octets: the worker keeps two for itself. */
export const LONGEST_WORKER_SOCKET = 105;

/** What the kernel was told to encrypt. */
export const xfrmDirectory = (config: Place): string => besideSocket(config, 'xfrm', 'xfrm');
