import { join } from 'node:path';
import type { TorConfig } from '../../../config/index.ts';
import type { Log } from '../../../model/log.ts';
import type { GuardMemory } from '../../../netlink/frames/index.ts';
import { settingsMemory } from '../../memory-store.ts';
import { hostMetric } from '../handoff.ts';
import type { SwitchKernel } from '../surroundings.ts';
import type { RepairKernel } from './repair.ts';

/** Beside those of the host routes (0), OSPF (1), BGP (2) and the shadows (3). */
const PROTOCOL = 4;

const repairProtocol = ({ kernel }: Pick<TorConfig, 'kernel'>): number => kernel.protocol + PROTOCOL;

/** What the settings of interfaces were before the kernel was told to pass over routes without carrier. */
export function repairMemory(stateDirectory: string, onError: (error: Error) => void): GuardMemory {
  return settingsMemory(join(stateDirectory, 'repair.json'), onError);
}

/** `trouble`: why there is none, in plain words, although it is switched on. */
export async function openRepair(
  config: TorConfig,
  kernel: SwitchKernel,
  log: Log,
): Promise<{ readonly kernel?: RepairKernel; readonly trouble?: string }> {
  const { shadow, stateDirectory } = config;
  if (!kernel.repairPath) return {};
  const protocol = repairProtocol(config);
  const memory = repairMemory(stateDirectory, (error) =>
    log.error(
      { err: error },
      'settings of ports are not remembered: after a crash they stay as the repair path needs them',
    ),
  );
  try {
    if (!shadow.enabled || !shadow.repair) {
      // What an earlier life with another configuration left.
      await kernel.removeRepair?.(protocol, memory);
      return {};
    }
    const metric = hostMetric(config);
    const path = await kernel.repairPath({
      device: shadow.device,
      table: config.kernel.table,
      metric: { 4: metric[4] + 1, 6: metric[6] + 1 },
      protocol,
      exit: { hosts: shadow.table + 1, shadows: shadow.table },
      memory,
      onError: (error) =>
        log.warn({ err: error }, `${shadow.device}, or its rules, could not be made again; it is tried again`),
    });
    return { kernel: path };
  } catch (error) {
    log.warn({ err: error }, 'no repair path');
    return { trouble: (error as Error).message };
  }
}
