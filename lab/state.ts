/** What a standing lab is, kept in /run so that `run` and `down` find it. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CaseName } from './cases/names.ts';
import type { LsaTimers } from './gateway/frr.ts';
import type { ProcessRecord } from './processes.ts';
import type { PortMode } from './topology/build.ts';
import type { Family, Protocol } from './topology/plan.ts';

export type GatewayKind = 'frr' | 'bird' | 'peerless';
/**
 * `shadow`, `repair`: ours, and each stands by for the other's servers; with the second there is a tunnel between them
 * too. `router`: as `repair`, and G is ours as well, whatever the lab's own is.
 */
export type TorKind = 'peerless' | 'shadow' | 'repair' | 'router' | 'frr';

/** Our agent, with whatever settings. */
export const isOurs = (kind: TorKind): boolean => kind !== 'frr';

export interface Container {
  readonly name: string;
  /** Host's number of the container's first process. */
  readonly pid: number;
}

export interface LabState {
  readonly version: 1;
  readonly name: string;
  readonly protocol: Protocol;
  /** What the lab was asked for. */
  readonly ownGateway: GatewayKind;
  /** What routes on G at the moment. */
  gateway: GatewayKind;
  readonly lsaTimers: LsaTimers;
  readonly ports: PortMode;
  readonly families: readonly Family[];
  /** G, A and B, when they are containers. */
  containers: Container[] | undefined;
  /** Milliseconds that the team waits before it goes back to a primary link that has returned. */
  readonly updelay: number;
  /** What the ToRs are at the moment; undefined while none is started. */
  tor: TorKind | undefined;
  /** The case whose settings and daemons the ToRs have; undefined: the usual ones. */
  variant?: CaseName | undefined;
  /** G's daemons and the team; ended by `down`. */
  processes: ProcessRecord[];
  /** Each ToR's processes. */
  torProcesses: { A: ProcessRecord[]; B: ProcessRecord[] };
  /** What runs on each ToR as long as it has power; with `ports: sonic`. */
  boxProcesses?: { A: ProcessRecord[]; B: ProcessRecord[] };
}

export const ROOT = '/run/peerless-lab';

export const directoryOf = (name: string): string => join(ROOT, name);
const fileOf = (name: string): string => join(directoryOf(name), 'state.json');

/** A directory for one node's files, made when it isn't there. */
export function nodeDirectory(name: string, node: string): string {
  const directory = join(directoryOf(name), node);
  mkdirSync(directory, { recursive: true });
  return directory;
}

export const labExists = (name: string): boolean => existsSync(fileOf(name));

/** @throws Error that says what to do when there is no such lab */
export function loadState(name: string): LabState {
  if (!labExists(name)) throw new Error(`no lab named ${name}: start one with \`peerless lab up --name ${name}\``);
  const state = JSON.parse(readFileSync(fileOf(name), 'utf8')) as LabState;
  if (state.version !== 1) throw new Error(`${fileOf(name)} was written by another version: remove the lab by hand`);
  return state;
}

export function saveState(state: LabState): void {
  mkdirSync(directoryOf(state.name), { recursive: true });
  const temporary = `${fileOf(state.name)}.new`;
  writeFileSync(temporary, JSON.stringify(state, undefined, 2));
  renameSync(temporary, fileOf(state.name));
}

export function removeState(name: string): void {
  rmSync(directoryOf(name), { recursive: true, force: true });
}

/** Names become parts of namespace, container and file names. */
export function checkName(name: string): void {
  if (!/^[a-z][a-z0-9]{0,19}$/.test(name)) {
    throw new Error(`lab name ${JSON.stringify(name)}: use a lower-case letter and up to 19 letters or digits`);
  }
}
