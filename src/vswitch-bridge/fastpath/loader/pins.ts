/**
 * The directory in which the data path stands while no agent runs: its maps, and a link for each program on a device. In it a
 * restarted agent finds all that it needs to go on.
 *
 * The file system is the one of the box: inside a mount namespace of its own (`ip netns exec` makes one) a new mount would
 * end with the agent, so there the first process's is looked for.
 */
import { existsSync, mkdirSync, readdirSync, readlinkSync, rmdirSync, statSync } from 'node:fs';
import { BpfLink, BpfMap, isBpffs, mountBpffs, type TcDirection, unpin } from 'linux-sockets';
import { MAP_NAMES, type MapName, type Tables } from '../maps/tables.ts';

const BOX = '/sys/fs/bpf';
const FIRST_PROCESS = `/proc/1/root${BOX}`;

export interface PinnedLink {
  readonly ifindex: number;
  readonly direction: TcDirection;
}

/**
 * Where the data path of a network namespace is pinned. @param netns name in /run/netns or absolute path; default: where
 * the process is
 */
export function pinDirectory(netns?: string): string {
  const file = netns === undefined ? '/proc/self/ns/net' : netns.startsWith('/') ? netns : `/run/netns/${netns}`;
  return `${fileSystem()}/peerless-${statSync(file).ino}`;
}

function fileSystem(): string {
  const isPrivate = mountNamespace('self') !== mountNamespace('1');
  return isPrivate && isReachable(FIRST_PROCESS) ? FIRST_PROCESS : BOX;
}

function isReachable(path: string): boolean {
  try {
    return isBpffs(path);
  } catch {
    // Not ours to look into: the process's own file system it is.
    return false;
  }
}

function mountNamespace(process: string): string | undefined {
  try {
    return readlinkSync(`/proc/${process}/ns/mnt`);
  } catch {
    return undefined;
  }
}

export class Pins {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  /** Mounts the box's own file system of BPF when it isn't. @throws when the directory is in none */
  make(): void {
    if (this.directory.startsWith(`${BOX}/`)) mountBpffs(BOX);
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    if (!isBpffs(this.directory)) throw new Error(`${this.directory} is not in a file system of BPF (mount -t bpf)`);
  }

  exists(): boolean {
    return existsSync(this.directory);
  }

  /** There are links, and not one that still has its device: of a network namespace that is gone, whose number is ours now. */
  isOrphaned(): boolean {
    const places = this.links();
    return (
      places.length > 0 &&
      places.every((place) => {
        const link = this.openLink(place);
        try {
          return link?.info().ifindex === 0;
        } finally {
          link?.close();
        }
      })
    );
  }

  /** Those that are there; the caller closes them. */
  openMaps(): Partial<Record<MapName, BpfMap>> {
    const maps: Partial<Record<MapName, BpfMap>> = {};
    for (const name of MAP_NAMES) {
      if (existsSync(this.#map(name))) maps[name] = BpfMap.pinned(this.#map(name));
    }
    return maps;
  }

  pinMaps(tables: Tables): void {
    for (const name of this.missingMaps()) tables[name].pin(this.#map(name));
  }

  missingMaps(): MapName[] {
    return MAP_NAMES.filter((name) => !existsSync(this.#map(name)));
  }

  removeMaps(): void {
    for (const name of MAP_NAMES) unpin(this.#map(name));
  }

  links(): PinnedLink[] {
    if (!existsSync(this.directory)) return [];
    return readdirSync(this.directory).flatMap((file) => {
      const match = /^link-(\d+)-(ingress|egress)$/.exec(file);
      return match ? [{ ifindex: Number(match[1]), direction: match[2] as TcDirection }] : [];
    });
  }

  /** undefined when there is none; the caller closes it. */
  openLink(place: PinnedLink): BpfLink | undefined {
    return existsSync(this.#link(place)) ? BpfLink.pinned(this.#link(place)) : undefined;
  }

  pinLink(place: PinnedLink, link: BpfLink): void {
    link.pin(this.#link(place));
  }

  removeLink(place: PinnedLink): void {
    unpin(this.#link(place));
  }

  /** The directory too, when nothing of somebody else's is in it. */
  remove(): void {
    this.removeMaps();
    for (const place of this.links()) this.removeLink(place);
    if (existsSync(this.directory) && readdirSync(this.directory).length === 0) rmdirSync(this.directory);
  }

  #map(name: MapName): string {
    return `${this.directory}/map-${name}`;
  }

  #link({ ifindex, direction }: PinnedLink): string {
    return `${this.directory}/link-${ifindex}-${direction}`;
  }
}
