import type { Loaded } from './load.ts';
import { portsWithIndex } from './port-list.ts';
import { locate, type Path, type Problem } from './problem.ts';
import type { PortLinkGroup, TorConfig } from './types.ts';

/** Somebody is logged in, and comes by this port. */
export interface LoginPort {
  readonly port: string;
  readonly peer: string;
}

export interface PortAtRisk extends LoginPort {
  readonly group: string;
}

/** What a group may shut, of its own accord. */
function shuttable(group: PortLinkGroup): string[] {
  if (!group.enabled || group.dryRun) return [];
  return [
    ...(group.direction === 'downlink' ? [] : group.downlinks),
    ...(group.direction !== 'uplink' && group.shutUplinks ? group.uplinks : []),
  ];
}

/** Logins that a group could cut off, and has not been told that it may. */
export function portsAtRisk(groups: readonly PortLinkGroup[], logins: readonly LoginPort[]): PortAtRisk[] {
  return groups.flatMap((group) => {
    if (group.allowManagementPort) return [];
    const ports = new Set(shuttable(group));
    return logins.filter(({ port }) => ports.has(port)).map(({ port, peer }) => ({ port, peer, group: group.name }));
  });
}

/**
 * Not part of `loadConfig`, since it is about the box as it is now. `before`: a configuration that runs; what was at
 * risk under it already is no news.
 */
export function managementProblems(loaded: Loaded, logins: readonly LoginPort[], before?: TorConfig): Problem[] {
  const { config, settings } = loaded;
  if (config.role !== 'tor' || settings.role !== 'tor') return [];
  const known = new Set(portsAtRisk(before?.portLink ?? [], logins).map(({ group, port }) => `${group} ${port}`));
  const places = new Map<string, PortAtRisk>();
  for (const risk of portsAtRisk(config.portLink, logins)) {
    const key = `${risk.group} ${risk.port}`;
    if (!known.has(key) && !places.has(key)) places.set(key, risk);
  }
  return [...places.values()].map(({ group, port, peer }) => {
    const index = settings.portLink.findIndex(({ name }) => name === group);
    const finding = {
      path: pathOf(settings.portLink[index]!, index, port),
      message: `group ${group} may shut ${port}, and somebody is logged in from ${peer} through it`,
      remedy: `Log in by another port, take ${port} out of the group, or write allowManagementPort: true in it (on the command line: --force).`,
    };
    return locate(finding, loaded.file, loaded.document, loaded.lines);
  });
}

function pathOf(
  {
    downlinks,
    uplinks,
  }: { readonly downlinks: string | readonly string[]; readonly uplinks: string | readonly string[] },
  group: number,
  port: string,
): Path {
  for (const [key, list] of [
    ['downlinks', downlinks],
    ['uplinks', uplinks],
  ] as const) {
    for (const { port: name, index } of portsWithIndex(list)) {
      if (name === port) return ['portLink', group, key, ...(index === undefined ? [] : [index])];
    }
  }
  return ['portLink', group];
}
