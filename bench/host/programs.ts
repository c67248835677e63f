/** What the kernel counts of the data path's programs while `kernel.bpf_stats_enabled` is 1. */
import { readFileSync, writeFileSync } from 'node:fs';
import { BpfMap, BpfProgram, interfaceIndex, tcxPrograms, withNetns } from 'linux-sockets';
import type { HostLab } from '../../lab/hosts/index.ts';
import { systemClock } from '../../src/model/clock.ts';
import { Sweep } from '../../src/vswitch-bridge/fastpath/ageing/sweep.ts';
import { pinDirectory } from '../../src/vswitch-bridge/fastpath/loader/pins.ts';
import { connection, PROGRAMS, STATISTICS } from '../../src/vswitch-bridge/fastpath/maps/layout.ts';
import { sumOverCpus } from '../../src/vswitch-bridge/fastpath/maps/tables.ts';

const SWITCH = '/proc/sys/kernel/bpf_stats_enabled';

/** Counting costs some 20 ns a run, of all programs of this machine alike; it ends with `work`. */
export async function whileCounting<T>(work: () => Promise<T>): Promise<T> {
  const before = readFileSync(SWITCH, 'utf8');
  writeFileSync(SWITCH, '1');
  try {
    return await work();
  } finally {
    writeFileSync(SWITCH, before);
  }
}

export type Counted = ReturnType<BpfProgram['statistics']>;

/** The program at the ingress of a device. */
export class ProgramAt {
  readonly #program: BpfProgram;

  constructor(lab: HostLab, host: string, device: string) {
    const [id] = withNetns(lab.netnsOf(host), () => tcxPrograms(interfaceIndex(device), 'ingress'));
    if (id === undefined) throw new Error(`${host} ${device}: no program of the fast path (this bench needs tcx)`);
    this.#program = BpfProgram.byId(id);
  }

  counted(): Counted {
    return this.#program.statistics();
  }

  close(): void {
    this.#program.close();
  }
}

/** Nanoseconds a run between two looks; undefined: it did not run. */
export const perRun = (before: Counted, after: Counted): number | undefined =>
  after.runs === before.runs ? undefined : (after.nanoseconds - before.nanoseconds) / (after.runs - before.runs);

/** Records in a host's table that are live now. */
export function liveConnections(lab: HostLab, host: string): number {
  using map = BpfMap.pinned(`${pinDirectory(lab.netnsOf(host))}/map-connections`);
  const sweep = new Sweep(map.maxEntries, systemClock.now() * 1e6);
  for (const { count, keys, values } of map.batches(4096)) {
    for (let index = 0; index < count; index++) {
      sweep.see(keys.readUInt32LE(index * 4), values, index * connection.size);
    }
  }
  return sweep.live;
}

/** Packets of a host's instances that the programs have seen, and those that they carried. */
export function sentBy(lab: HostLab, host: string): { readonly packets: number; readonly hits: number } {
  using map = BpfMap.pinned(`${pinDirectory(lab.netnsOf(host))}/map-statistics`);
  const sums = sumOverCpus(map, PROGRAMS.indexOf('from_instance'));
  return { packets: sums[STATISTICS.indexOf('packets')]!, hits: sums[STATISTICS.indexOf('hit')]! };
}
