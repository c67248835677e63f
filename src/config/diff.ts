import { isDeepStrictEqual } from 'node:util';
import type { Loaded } from './load.ts';
import { formatPath, type Path } from './problem.ts';
import { speakerConfig } from './roles.ts';
import { shown } from './scalars.ts';
import type { Config, PortLinkGroup, TorConfig } from './types.ts';

/** What differs between two configurations, for a reload: by part, and in words. */
export interface ConfigDiff {
  /** In plain words, empty when nothing differs: `portLink.fabric.recoveryDelay: "5s" -> "10s"`. */
  readonly changes: readonly string[];
  /** Those of `changes` that only a restart of the agent brings into effect. */
  readonly needsRestart: readonly string[];
  readonly portLink: {
    readonly added: readonly PortLinkGroup[];
    readonly removed: readonly PortLinkGroup[];
    readonly changed: readonly { readonly before: PortLinkGroup; readonly after: PortLinkGroup }[];
  };
  /** hostRoutes.policy or hostRoutes.returning differ: HostRoutes.configure. */
  readonly hostPolicy: boolean;
  /** hostRoutes.sources.bgp or .kernel differ beyond on and off. */
  readonly hostSources: boolean;
  readonly ospf: PartDiff;
  readonly bgp: PartDiff;
}

export type PartDiff = 'same' | 'added' | 'removed' | 'changed';

/** Sections that are read once, at the start, secrets included. */
const AT_START = [
  ...['role', 'routerId', 'ports', 'kernel', 'control', 'stateDirectory', 'mode', 'shadow'],
  ...['underlay', 'adopt', 'fastPath', 'neighbours', 'encryption'],
];

export function diffConfig(before: Loaded, after: Loaded): ConfigDiff {
  const changes: { path: Path; text: string }[] = [];
  compare(named(before.settings), named(after.settings), [], changes);
  for (const file of changedSecrets(before.config, after.config))
    changes.push({ path: [file], text: `${file}: the secret` });
  const a = tor(before.config);
  const b = tor(after.config);
  return {
    changes: changes.map((change) => change.text),
    needsRestart: changes.flatMap(needsRestart),
    portLink: diffGroups(a?.portLink ?? [], b?.portLink ?? []),
    hostPolicy: !isDeepStrictEqual(
      [a?.hostRoutes.policy, a?.hostRoutes.returning],
      [b?.hostRoutes.policy, b?.hostRoutes.returning],
    ),
    hostSources: !isDeepStrictEqual(
      [a?.hostRoutes.bgp, a?.hostRoutes.kernel],
      [b?.hostRoutes.bgp, b?.hostRoutes.kernel],
    ),
    ospf: part(speakerConfig(before.config)?.ospf, speakerConfig(after.config)?.ospf),
    bgp: part(speakerConfig(before.config)?.bgp, speakerConfig(after.config)?.bgp),
  };
}

function needsRestart({ path, text }: { path: Path; text: string }): string[] {
  const [section = '', key] = path.map(String);
  if (AT_START.includes(section.split('.')[0]!)) return [text];
  // A speaker is made or not made at the start; one that runs takes all else at once, but where OSPF keeps its memory.
  if ((section === 'bgp' || section === 'ospf') && key === undefined) return [text];
  const atStart = section === 'ospf' ? 'gracefulRestart' : section === 'map' ? 'file' : undefined;
  return atStart !== undefined && key === atStart ? [text] : [];
}

const tor = (config: Config): TorConfig | undefined => (config.role === 'tor' ? config : undefined);

function part(before: unknown, after: unknown): PartDiff {
  if (before === undefined || after === undefined)
    return before === after ? 'same' : before === undefined ? 'added' : 'removed';
  return isDeepStrictEqual(before, after) ? 'same' : 'changed';
}

function diffGroups(before: readonly PortLinkGroup[], after: readonly PortLinkGroup[]): ConfigDiff['portLink'] {
  const old = new Map(before.map((group) => [group.name, group]));
  const names = new Set(after.map((group) => group.name));
  return {
    added: after.filter((group) => !old.has(group.name)),
    removed: before.filter((group) => !names.has(group.name)),
    changed: after.flatMap((group) => {
      const was = old.get(group.name);
      return was && !isDeepStrictEqual(was, group) ? [{ before: was, after: group }] : [];
    }),
  };
}

/** Lists of things that have a name become maps, so that an insertion isn't a change of all that follow. */
function named(value: unknown): unknown {
  if (Array.isArray(value)) {
    const keys = value.map(keyOf);
    if (value.length === 0 || keys.includes(undefined) || new Set(keys).size < keys.length) return value;
    return Object.fromEntries(value.map((entry: object, index) => [keys[index], named(entry)]));
  }
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, named(entry)]));
  }
  return value;
}

function keyOf(entry: unknown): string | undefined {
  if (entry === null || typeof entry !== 'object') return undefined;
  const { name, address, network, host, to } = entry as Readonly<Record<string, unknown>>;
  // A remote host, or a source of SNAT: known by two of its values.
  if (name === undefined && typeof network === 'string') return `${network}/${host ?? to}`;
  return typeof name === 'string' ? name : typeof address === 'string' ? address : undefined;
}

function compare(before: unknown, after: unknown, path: Path, changes: { path: Path; text: string }[]): void {
  if (isDeepStrictEqual(before, after)) return;
  if (isGroup(before) && isGroup(after)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
      compare(before[key], after[key], [...path, key], changes);
    }
    return;
  }
  const where = formatPath(path);
  if (before === undefined)
    changes.push({ path, text: isGroup(after) ? `${where}: added` : `${where}: added ${shown(after)}` });
  else if (after === undefined) changes.push({ path, text: `${where}: removed` });
  else if (isGroup(before) || isGroup(after)) changes.push({ path, text: `${where}: changed` });
  else changes.push({ path, text: `${where}: ${shown(before)} -> ${shown(after)}` });
}

const isGroup = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value);

/** Who has another secret than before, though maybe the same file. */
function changedSecrets(before: Config, after: Config): string[] {
  const old = secretsOf(before);
  return [...secretsOf(after)].flatMap(([owner, secret]) => {
    const was = old.get(owner);
    return was !== undefined && !isDeepStrictEqual(was, secret) ? [owner] : [];
  });
}

function secretsOf(config: Config): Map<string, unknown> {
  const secrets = new Map<string, unknown>();
  for (const entry of speakerConfig(config)?.ospf?.interfaces ?? []) {
    const { authentication } = entry;
    if (authentication) {
      const secret = authentication.type === 'simple' ? authentication.password : authentication.secret;
      secrets.set(`ospf.interfaces.${entry.name}.authentication`, secret);
    }
  }
  for (const entry of speakerConfig(config)?.bgp?.neighbors ?? []) {
    if (entry.password) secrets.set(`bgp.neighbors.${entry.address}.passwordFile`, entry.password);
  }
  return secrets;
}
