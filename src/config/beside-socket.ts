import { basename, dirname, join } from 'node:path';
import { NETNS_SOCKETS, type Places, places, SOCKET } from './places.ts';

interface Place {
  readonly control: { readonly socket: string };
}

/** The usual name of a control socket; among those of network namespaces it is a name like any other. */
const isUsual = (socket: string): boolean => basename(socket) === basename(SOCKET) && dirname(socket) !== NETNS_SOCKETS;
const USUAL_WORKER = 'overlay-worker.sock';
const USUAL_XFRM = 'xfrm';
const withoutEnding = (socket: string): string => basename(socket, '.sock');

/*
 * What outlives the agent stands beside its control socket and is named after it: the sockets of several agents, each in a network
 * namespace of its own, may stand in one folder, and none of them may find another's.
 */

/** Where the packet worker listens. The ending is none of a namespace's control socket. */
export const workerSocket = ({ control: { socket } }: Place): string =>
  isUsual(socket) ? join(dirname(socket), USUAL_WORKER) : `${socket}.worker`;

/** Octets: the worker keeps two for itself. */
export const LONGEST_WORKER_SOCKET = 105;

/** What the kernel was told to encrypt. */
export const xfrmDirectory = ({ control: { socket } }: Place): string =>
  join(dirname(socket), isUsual(socket) ? USUAL_XFRM : `${withoutEnding(socket)}-xfrm`);

/**
 * Where earlier versions had it: by one name in the folder of the control socket, whosesoever that was, which was the box's own
 * folder for an agent of a named namespace too. So what stands there may be another agent's.
 */
export function formerWorkerSockets(config: Place, own: Places = places()): string[] {
  const { socket } = config.control;
  const named = join(dirname(socket), `${withoutEnding(socket)}-worker.sock`);
  return [...formerly(config, own, USUAL_WORKER), named].filter((path) => path !== workerSocket(config));
}

/** As `formerWorkerSockets`. */
export const formerXfrmDirectories = (config: Place, own: Places = places()): string[] =>
  formerly(config, own, USUAL_XFRM).filter((path) => path !== xfrmDirectory(config));

function formerly({ control: { socket } }: Place, { netns }: Places, name: string): string[] {
  const folders = [dirname(socket), ...(netns === undefined ? [] : [dirname(SOCKET)])];
  return [...new Set(folders)].map((folder) => join(folder, name));
}
