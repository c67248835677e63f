/**
 * Taking up the data path: what an agent before this one has left pinned is gone on with when its layout and its sizes are
 * ours, and its network namespace is; else it is taken away and made new.
 */
import { type BpfMap, bpfLibrary } from 'linux-sockets';
import { type Address, parsePrefix } from '../../model/address.ts';
import type { Clock } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import type { OverlayState } from '../../model/overlay.ts';
import type { LinkState } from '../../model/ports.ts';
import { Ageing } from './ageing/driver.ts';
import { type PeerCounts, PeerUpkeep } from './ageing/peers.ts';
import { EbpfFastPath } from './ebpf.ts';
import { Instances } from './instances.ts';
import { Attachments, type Way } from './loader/attachments.ts';
import { type Loaded, loadPrograms, mapShapes, type Sizes } from './loader/objects.ts';
import { Pins, pinDirectory } from './loader/pins.ts';
import { config, LAYOUT_VERSION, MAX_CONNECTIONS, PORTS } from './maps/layout.ts';
import { MAP_NAMES, raise, readIndex, type Tables } from './maps/tables.ts';
import { RuleTable } from './rules/table.ts';
import type { FastPath, FastPathSettings } from './types.ts';

/** A link as rtnetlink tells it. */
export interface LinkFacts {
  readonly kind: string | undefined;
  readonly linkNetnsId: number | undefined;
}

export interface FastPathOptions {
  readonly settings: FastPathSettings;
  /** As it is when this is called; `apply` gets what changes afterwards. */
  readonly state: OverlayState;
  readonly links: LinkState;
  readonly rtnetlink: { getLinkNow(which: { ifindex: number }): LinkFacts | undefined };
  /** The box's routes: ways to peers are asked for again in the turn in which one changes. */
  readonly routes?: {
    onRoute(
      listener: (event: {
        before: { destination: string } | undefined;
        after: { destination: string } | undefined;
      }) => void,
    ): () => void;
  };
  readonly clock: Clock;
  readonly log?: Log;
  /** Hardly a record of remote hosts is left, or there is room again. */
  readonly crowded?: (crowded: boolean, counts: PeerCounts) => void;
  /** Somebody had taken the programs from these devices, or their maps from the file system; they are back. */
  readonly mended?: (devices: readonly string[]) => void;
  /** Name in /run/netns or an absolute path; default: where the process is. */
  readonly netns?: string;
  /** In a file system of BPF; default: one of the network namespace's own. */
  readonly directory?: string;
  /** How many connections there may be, a power of two; default 131,072. */
  readonly connections?: number;
  /** clsact: as on kernels without tcx. */
  readonly attach?: Way;
}

const CONNECTIONS = 131_072;

/** @throws BpfError when a program does not load (libbpf is missing, the verifier refuses), SystemCallError */
export async function openFastPath(options: FastPathOptions): Promise<FastPath> {
  const { settings, state, links, clock, log, netns, connections = CONNECTIONS } = options;
  if (connections > MAX_CONNECTIONS || (connections & (connections - 1)) !== 0) {
    throw new RangeError(`connections: ${connections} is not a power of two up to ${MAX_CONNECTIONS}`);
  }
  const pins = new Pins(options.directory ?? pinDirectory(netns));
  pins.make();
  const attachments = new Attachments(pins, netns, options.attach);
  // Two keys a connection, and some room for those that are stale.
  const sizes: Sizes = { connections, flows: (connections * 5) / 2 };
  const { loaded, adopted } = load(pins, attachments, sizes, options);
  const invalidated: Record<string, number> = {};
  const forgetPort = (ifindex: number) => {
    raise(loaded.tables.port_generation, ifindex & (PORTS - 1));
    invalidated.ports = (invalidated.ports ?? 0) + 1;
  };
  const leadsAway = (ifindex: number) => {
    const link = options.rtnetlink.getLinkNow({ ifindex });
    return link?.kind === 'veth' && link.linkNetnsId !== undefined;
  };
  let ageing: Ageing | undefined;
  try {
    const instances = new Instances({ loaded, attachments, links, leadsAway, onChange: forgetPort, log });
    const rules = new RuleTable(loaded.tables);
    const { tables } = loaded;
    const peers = new PeerUpkeep({ tables, lifetime: settings.lifetime.receive, crowded: options.crowded });
    ageing = new Ageing(tables, clock, settings.checkInterval, log, peers);
    const watching: (() => void)[] = [];
    const stopWatching = () => {
      for (const stop of watching.splice(0)) stop();
    };
    const parts = {
      links,
      clock,
      pins,
      loaded,
      attachments,
      instances,
      rules,
      ageing,
      peers,
      adopted,
      invalidated,
      mended: options.mended,
      netns,
      log,
    };
    const fastPath = new EbpfFastPath({ ...parts, stopWatching }, settings, state);
    fastPath.begin();
    watching.push(links.onChange((change) => fastPath.linkChanged(change)));
    const stopRoutes = options.routes?.onRoute(({ before, after }) => {
      const prefix = parsePrefix((after ?? before)?.destination ?? '');
      if (prefix) fastPath.routeChanged(prefix);
    });
    if (stopRoutes) watching.push(stopRoutes);
    return fastPath;
  } catch (error) {
    await ageing?.close();
    if (!adopted) {
      attachments.detachAll([]);
      pins.remove();
    }
    loaded.close();
    throw error;
  }
}

/** Something of a fast path is pinned, whether an agent runs or not. */
export const standsFastPath = (options: { netns?: string; directory?: string } = {}): boolean =>
  new Pins(options.directory ?? pinDirectory(options.netns)).exists();

/** Takes all of a fast path from the kernel when no agent runs. Whether there was any. */
export function removeFastPath(
  options: { netns?: string; directory?: string; devices?: Iterable<number> } = {},
): boolean {
  const pins = new Pins(options.directory ?? pinDirectory(options.netns));
  if (!pins.exists()) return false;
  // Where tcx is, a look at the queues finds nothing; where it is not, what stands there is known by nothing else.
  const inQueues = 'version' in bpfLibrary();
  new Attachments(pins, options.netns, inQueues ? 'clsact' : 'tcx').detachAll(options.devices ?? []);
  pins.remove();
  return true;
}

function load(
  pins: Pins,
  attachments: Attachments,
  sizes: Sizes,
  { links, log, state }: FastPathOptions,
): { loaded: Loaded; adopted: boolean } {
  const { address } = state.underlay;
  const existing = pins.openMaps();
  const unfit = Object.keys(existing).length === 0 ? 'there is none' : whyUnfit(existing, pins, sizes, address);
  if (unfit === undefined) {
    try {
      return { loaded: withTables(loadPrograms(existing, sizes), existing), adopted: true };
    } catch (error) {
      log?.warn({ err: error }, 'the fast path of before can not be gone on with, it is made new');
    }
  } else if (unfit !== 'there is none') {
    log?.warn({ reason: unfit }, 'the fast path of before can not be gone on with, it is made new');
  }
  closeAll(existing);
  attachments.detachAll([...links.ports()].map(({ ifindex }) => ifindex));
  pins.removeMaps();
  let loaded: Loaded | undefined;
  try {
    loaded = loadPrograms({}, sizes);
    pins.pinMaps(loaded.tables);
    return { loaded, adopted: false };
  } catch (error) {
    loaded?.close();
    pins.remove();
    throw error;
  }
}

/** Maps opened by their pins are closed with the rest. */
function withTables(loaded: Loaded, existing: Partial<Tables>): Loaded {
  return {
    ...loaded,
    close: () => {
      loaded.close();
      closeAll(existing);
    },
  };
}

function closeAll(maps: Partial<Tables>): void {
  for (const map of Object.values(maps)) (map as BpfMap).close();
}

function whyUnfit(existing: Partial<Tables>, pins: Pins, sizes: Sizes, address: Address): string | undefined {
  const missing = MAP_NAMES.find((name) => !existing[name]);
  if (missing) return `the map ${missing} is missing`;
  if (existing.config!.valueSize !== config.size) return 'its layout is another';
  const { layout, underlay_address } = readIndex(existing.config!, 0, config);
  if (layout !== LAYOUT_VERSION) return `its layout is version ${layout}, not ${LAYOUT_VERSION}`;
  const shapes = mapShapes();
  for (const name of MAP_NAMES) {
    const map = existing[name]!;
    const shape = shapes.get(name);
    const entries = sizes[name] ?? shape?.maxEntries;
    if (map.maxEntries !== entries) return `${name} has ${map.maxEntries} entries, not ${entries}`;
    if (map.type !== shape?.type || map.keySize !== shape.keySize || map.valueSize !== shape.valueSize) {
      return `${name} has another form`;
    }
  }
  // Peers have been met under that address, and know it.
  if (underlay_address !== address) return `the tunnels' source was ${underlay_address}`;
  return pins.isOrphaned() ? 'its devices are gone' : undefined;
}
