/** A ToR of today's practice: FRR, the redistributor, the link-tracking script. */
import { join } from 'node:path';
import { startFrr } from '../gateway/daemons.ts';
import { torFrr } from '../gateway/frr.ts';
import { moduleCommand } from '../helper.ts';
import type { Place } from '../place.ts';
import { type ProcessRecord, startDetached } from '../processes.ts';
import type { PortMode } from '../topology/build.ts';
import { BRIDGE, downlinksOf, type Family, type Protocol, TORS, type TorName } from '../topology/plan.ts';

export interface TorSettings {
  readonly lab: string;
  readonly tor: TorName;
  readonly place: Place;
  /** Where this ToR's files are. */
  readonly directory: string;
  readonly protocol: Protocol;
  readonly ports: PortMode;
  readonly families: readonly Family[];
}

export async function startToday(settings: TorSettings): Promise<ProcessRecord[]> {
  const { lab, tor, place, directory, protocol, ports } = settings;
  const daemons = await startFrr(place, directory, torFrr(tor, protocol));
  const hostsOn = ports === 'bridge' ? [BRIDGE] : downlinksOf(tor);
  return [
    ...daemons,
    await startModule('redistributor', [lab, tor, ...hostsOn], `${tor} redistributor`, directory),
    await startModule('link-tracking', [lab, tor, TORS[tor].uplink, ...downlinksOf(tor)], `${tor} tracking`, directory),
  ];
}

function startModule(module: string, programArguments: string[], name: string, directory: string) {
  const { file, nodeArguments } = moduleCommand(`./${module}`, import.meta.url);
  const command = [process.execPath, ...nodeArguments, file, ...programArguments];
  return startDetached(name, command, join(directory, `${module}.log`));
}
