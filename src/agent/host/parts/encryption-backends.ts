/**
 * Who encrypts: the packet worker, a process beside the agent, or the kernel's XFRM. What one of them has left behind is cleared away
 * for the other, in an order that never has a tunnel of the kernel without the policies that keep plain text in.
 */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import type { OverlayWorker } from 'overlay-worker';
import { type EncryptionConfig, type HostConfig, workerSocket, xfrmDirectory } from '../../../config/index.ts';
import type { Address } from '../../../model/address.ts';
import type { OpenWorker } from '../../../vswitch-bridge/encryption/index.ts';
import {
  blockPlainText,
  forget,
  openXfrmWorker,
  RULES_TABLE,
  removeFromKernel,
  type XfrmPlace,
  xfrmLacks,
} from '../../../vswitch-bridge/encryption/xfrm/index.ts';
import { loadRuleset, watchForRemoval } from '../../../vswitch-bridge/slowpath/policy/index.ts';
import { encryptsOf } from '../encrypts.ts';
import type { HostPartContext } from '../part.ts';
import { bringXfrm, formerWorkers, formerXfrm } from './former-places.ts';

/** VXLAN's own port: plain text in its form comes there. */
const PLAIN_PORT = 4789;
const USUAL_MTU = 1500;
/** What waits for a key in the worker, for each peer, and how long each packet (ms). */
const HOLD = { packets: 256, bytes: 512 << 10, lifetime: 1000 };

export interface Backend {
  readonly openWorker: OpenWorker;
  readonly mtuChanged: (mtu: number) => void;
  /** Which one, and why not the other. */
  readonly detail: Readonly<Record<string, string>>;
  readonly problems: () => readonly string[];
}

export async function openBackend(context: HostPartContext, networkLost: (vni: number) => void): Promise<Backend> {
  const { config, clock, log } = context;
  if (encryptsOf(config.encryption) === 'kernel') {
    let problems: () => readonly string[] = () => [];
    const openWorker = openXfrmWorker({
      ...xfrmPlace(config),
      clock,
      log,
      watchRules: (removed) => watchForRemoval({ table: RULES_TABLE, clock, log, removed }),
      opened: (table) => {
        problems = () => table.problems();
      },
    });
    const detail = { backend: 'xfrm', worker: 'not asked for' };
    return { openWorker, mtuChanged: () => undefined, detail, problems: () => problems() };
  }
  const missing = await lacks();
  const xfrm = missing === undefined ? 'possible, if all hosts choose it' : `not possible: ${missing}`;
  const detail = { backend: 'worker', xfrm };
  return { ...workerOpener(context, networkLost), detail, problems: () => [] };
}

async function lacks(): Promise<string | undefined> {
  try {
    return await xfrmLacks();
  } catch (error) {
    return (error as Error).message;
  }
}

// ------------------------------------------------------------------ before, beside and after the networks

/** Before any tunnel port is made. Rejects when the kernel can't do what was asked of it: nothing is sent in plain text instead. */
export async function prepareBackend({ config, log }: HostPartContext): Promise<void> {
  const who = encryptsOf(config.encryption);
  // A worker that an agent before this one has left would hold the tunnels' names; one that listens elsewhere, our port too.
  const workers = who === 'worker' ? formerWorkers(config) : workersOf(config);
  await attempt(log, 'the packet worker of an agent before this one could not be ended', () => endWorkers(workers));
  await attempt(log, 'what an agent before this one had the kernel encrypt is not known', async () =>
    bringXfrm(config),
  );
  if (who !== 'kernel') return;
  const missing = await lacks();
  if (missing !== undefined) throw new Error(`encryption.backend xfrm: ${missing}. Write backend: worker`);
  const { ends, directory } = xfrmPlace(config);
  // By this the next agent, or a cleanup, knows that there is something to take back.
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  await blockPlainText(ends);
}

/** Once the tunnel ports are those of this configuration: the policies of an agent that had the kernel encrypt have kept them in. */
export async function settleBackend({ config, log }: HostPartContext): Promise<void> {
  if (encryptsOf(config.encryption) === 'kernel') return;
  const what = 'what an agent before this one had the kernel encrypt could not be cleared away';
  await attempt(log, what, () => endXfrm(config));
}

/** Once the tunnel ports are gone. */
export async function leaveBackend({ config, log }: HostPartContext): Promise<void> {
  if (encryptsOf(config.encryption) !== 'kernel') return;
  await attempt(log, 'policies of the encryption stay in the kernel', async () => {
    await removeFromKernel(xfrmPlace(config).ends);
  });
}

async function attempt(log: HostPartContext['log'], what: string, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    log.warn({ err: error }, what);
  }
}

// ------------------------------------------------------------------ the packet worker

function workerOpener(
  { config, kernel, log }: HostPartContext,
  networkLost: (vni: number) => void,
): Pick<Backend, 'openWorker' | 'mtuChanged'> {
  let worker: Pick<OverlayWorker<Address>, 'setUnderlayMtu'> | undefined;
  const openWorker: OpenWorker = async (events, closed) => {
    // Its native part is loaded where something is encrypted, and nowhere else.
    const { OverlayWorker } = await import('overlay-worker');
    mkdirSync(dirname(config.control.socket), { recursive: true });
    const opened = await OverlayWorker.open<Address>({
      ...settingsOf(config.encryption),
      socket: workerSocket(config),
      local: config.underlay.address,
      underlayMtu: kernel.port(config.underlay.device)?.mtu ?? USUAL_MTU,
      events,
      refused: (error) => log.warn({ err: error }, 'the packet worker refused a command'),
      networkLost,
      closed: () => {
        worker = undefined;
        closed();
      },
    });
    worker = opened;
    return opened;
  };
  const mtuChanged = (mtu: number): void => {
    worker
      ?.setUnderlayMtu(mtu)
      .catch((error: unknown) =>
        log.error({ err: error, mtu }, 'the packet worker does not follow the MTU of the underlay'),
      );
  };
  return { openWorker, mtuChanged };
}

const settingsOf = ({ policy, plain, port, sourcePorts }: EncryptionConfig) => ({
  port,
  sourcePorts,
  plainPort: policy === 'available' ? PLAIN_PORT : 0,
  plainForm: plain,
  plainAllowed: policy === 'available',
  hold: HOLD,
});

// ------------------------------------------------------------------ the kernel

const xfrmPlace = (config: HostConfig): XfrmPlace => ({
  ends: { local: config.underlay.address, port: config.encryption.port },
  directory: xfrmDirectory(config),
  loadRules: (text) => loadRuleset(text, {}),
});

// ------------------------------------------------------------------ what an agent that will not be started again has left

/** A worker that runs, or what the kernel was told. */
export const standsBackend = (config: HostConfig): boolean =>
  workersOf(config).length > 0 || existsSync(xfrmPlace(config).directory) || formerXfrm(config).length > 0;

const workersOf = (config: HostConfig): string[] => [
  ...[workerSocket(config)].filter((socket) => existsSync(socket)),
  ...formerWorkers(config),
];

/** Nothing is done where there is none. Rejects when it does not end. */
export const endWorker = (config: HostConfig): Promise<void> => endWorkers(workersOf(config));

async function endWorkers(sockets: readonly string[]): Promise<void> {
  if (sockets.length === 0) return;
  const { OverlayWorker } = await import('overlay-worker');
  for (const socket of sockets) {
    await OverlayWorker.end(socket);
    rmSync(socket, { force: true });
  }
}

/** As `endWorker`. */
export async function endXfrm(config: HostConfig): Promise<void> {
  bringXfrm(config);
  const place = xfrmPlace(config);
  if (!existsSync(place.directory)) return;
  await removeFromKernel(place.ends);
  await forget(place);
}
