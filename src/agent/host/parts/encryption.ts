import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { DEFAULT_SETTINGS, Encryption, keySource } from '../../../vswitch-bridge/encryption/index.ts';
import { bridgeName, routerMac, tunnelName } from '../../../vswitch-bridge/slowpath/network/index.ts';
import { memoryFile } from '../../memory-store.ts';
import type { OpenHostPart } from '../part.ts';
import { openBackend } from './encryption-backends.ts';

/** What leaves for other hosts is encrypted by a process beside the agent, or by the kernel; both go on without it. */
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
  const { openWorker, mtuChanged, detail, problems } = await openBackend(context, networkLost);
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
      ...(detail.backend === 'xfrm' ? { backend: 'back end xfrm' } : {}),
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
    problems,
    warnings: () => encryption.warnings(),
    detail: () => {
      const { peers = 0, valid = 0 } = encryption.counters() as { peers?: number; valid?: number };
      return { policy, ...detail, peers, valid };
    },
    views: { peers: () => encryption.view() },
    stats: () => encryption.counters(),
    close: (options) => {
      unsubscribe();
      return encryption.close(options);
    },
  };
};

/** 8 octets that name this host, the same at every start. */
function instanceId(stateDirectory: string): Uint8Array {
  const file = memoryFile(join(stateDirectory, 'instance-id'), { synced: true });
  const known = file.read()?.trim();
  if (known !== undefined && /^[0-9a-f]{16}$/.test(known)) return Buffer.from(known, 'hex');
  const fresh = randomBytes(8);
  file.write(`${fresh.toString('hex')}\n`);
  return fresh;
}
