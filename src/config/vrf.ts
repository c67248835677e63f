import type { Loaded } from './load.ts';
import { portsWithIndex } from './port-list.ts';
import { locate, type Path, type Problem } from './problem.ts';

/**
 * Hosts that are stood by for have tables of their own, which are looked up for what comes in by an uplink. What comes in
 * by a member of a VRF is looked up in the VRF's table, and never gets there. Not part of `loadConfig`, since it is about
 * the box as it is now.
 *
 * @param vrfs the VRF of each port that is in one
 */
export function vrfProblems(loaded: Loaded, vrfs: ReadonlyMap<string, string>): Problem[] {
  const { config, settings } = loaded;
  if (config.role !== 'tor' || settings.role !== 'tor' || !config.shadow.enabled) return [];
  const problems: Problem[] = [];
  for (const [group, { uplinks }] of settings.portLink.entries()) {
    for (const { port, index } of portsWithIndex(uplinks)) {
      const vrf = vrfs.get(port);
      if (vrf === undefined) continue;
      const path: Path = ['portLink', group, 'uplinks', ...(index === undefined ? [] : [index])];
      const finding = {
        path,
        message: `${port} is in the VRF ${vrf}: packets for hosts that are stood by for would neither wait nor be repaired`,
        remedy: 'Take the uplink out of the VRF, or set shadow.enabled: false.',
      };
      problems.push(locate(finding, loaded.file, loaded.document, loaded.lines));
    }
  }
  return problems;
}
