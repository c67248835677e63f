import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { OverlayWorker } from 'overlay-worker';
import type { EncryptionConfig, HostConfig } from '../../../config/index.ts';
import type { Address } from '../../../model/address.ts';
import { DEFAULT_SETTINGS, Encryption, keySource, type OpenWorker } from '../../../vswitch-bridge/encryption/index.ts';
import { bridgeName, routerMac, tunnelName } from '../../../vswitch-bridge/slowpath/network/index.ts';
import { memoryFile } from '../../memory-store.ts';
import type { HostPartContext, OpenHostPart } from '../part.ts';

/** VXLAN's own port: plain text in its form comes there. */
const PLAIN_PORT = 4789;
const USUAL_MTU = 1500;
/** What waits for a key in the worker, for each peer, and how long each packet (ms). */
const HOLD = { packets: 256, bytes: 512 << 10, lifetime: 1000 };

/** What leaves for other hosts is encrypted by a process beside the agent, which goes on without it. */
export const openEncryption: OpenHostPart = async (context) => {
  const { config, clock, log, record } = context;
  const { policy, keys, versions, notifyIdle } = config.encryption;
  if (policy === 'off' || !keys) return undefined;
  let encryption: Encryption | undefined;
  const networkLost = (vni: number): void => {
    log.error({ vni }, 'somebody has deleted the device of an encrypted network: it is made anew');
    const state = context.state();
    const item = [...state.networks.values()].find((network) => network.vni === vni);
    if (!item) return;
    encryption
      ?.apply(state, [{ kind: 'network', op: 'added', item }])
      .catch((error: unknown) => log.error({ err: error, vni }, 'the device of an encrypted network can not be made'));
  };
  const { openWorker, mtuChanged } = workerOpener(context, networkLost);
  const unsubscribe = context.kernel.onChange(({ name, before, after }) => {
    if (name === config.underlay.device && after && before?.mtu !== after.mtu) mtuChanged(after.mtu);
  });
  encryption = await Encryption.open(
    {
      settings: { ...DEFAULT_SETTINGS, policy, notifyIdle },
      versions,
      source: keySource(keys, clock),
      local: config.underlay.address,
      instance: instanceId(config.stateDirectory),
      random: (octets) => randomBytes(octets),
      openWorker,
      layout: { device: (vni) => tunnelName(vni), bridge: bridgeName, routerMac },
      clock,
      log,
      record,
    },
    context.state(),
  );
  return {
    apply: (state, changes) => encryption.apply(state, changes),
    counters: () => encryption.counters(),
    warnings: () => encryption.warnings(),
    detail: () => {
      const { peers = 0, valid = 0 } = encryption.counters() as { peers?: number; valid?: number };
      return { policy, peers, valid };
    },
    views: { peers: () => encryption.view() },
    stats: () => encryption.counters(),
    close: (options) => {
      unsubscribe();
      return encryption.close(options);
    },
  };
};

export const workerSocket = ({ control: { socket } }: Pick<HostConfig, 'control'>): string =>
  join(dirname(socket), 'overlay-worker.sock');

function workerOpener(
  { config, kernel, log }: HostPartContext,
  networkLost: (vni: number) => void,
): { readonly openWorker: OpenWorker; readonly mtuChanged: (mtu: number) => void } {
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

const settingsOf = ({ policy, plain, port }: EncryptionConfig) => ({
  port,
  plainPort: policy === 'available' ? PLAIN_PORT : 0,
  plainForm: plain,
  plainAllowed: policy === 'available',
  hold: HOLD,
});

/** 8 octets that name this host, the same at every start. */
function instanceId(stateDirectory: string): Uint8Array {
  const file = memoryFile(join(stateDirectory, 'instance-id'), { synced: true });
  const known = file.read()?.trim();
  if (known !== undefined && /^[0-9a-f]{16}$/.test(known)) return Buffer.from(known, 'hex');
  const fresh = randomBytes(8);
  file.write(`${fresh.toString('hex')}\n`);
  return fresh;
}

/** One that an agent with encryption has left behind would hold the tunnels' names. */
export async function endForeignWorker({ config, log }: HostPartContext): Promise<void> {
  try {
    await endWorker(config);
  } catch (error) {
    log.warn({ err: error }, 'the packet worker of an agent before this one could not be ended');
  }
}

/** Nothing is done where there is none. Rejects when it does not end. */
export async function endWorker(config: HostConfig): Promise<void> {
  const socket = workerSocket(config);
  if (!existsSync(socket)) return;
  const { OverlayWorker } = await import('overlay-worker');
  await OverlayWorker.end(socket);
  rmSync(socket, { force: true });
}
