/**
 * Our agent with `role: gateway` in a lab's G, beside FRR or BIRD or instead of them: what it says, and what is true.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { moduleCommand } from '../../lab/helper.ts';
import {
  gone,
  isRunning,
  type Outcome,
  outcome,
  type ProcessRecord,
  run,
  signal,
  startDetached,
  waitUntil,
} from '../../lab/processes.ts';
import { namespaceOf, TOR_NAMES, TORS, type TorName } from '../../lab/topology/plan.ts';
import type { MapHistoryView, MapPlaceView, MapRowView, MapSwitchView } from '../../src/agent/map-api.ts';
import { askAgent, type Stand } from './stand.ts';

/** G's own address beside FRR's of the links: the observer's end of its sessions. */
export const OBSERVER = '10.255.0.250';
const PEERLESS = new URL('../../bin/peerless', import.meta.url).pathname;
const TIMERS = { keepalive: '1s', hold: '3s' };

export interface Truth {
  readonly dev: string;
  readonly via: string;
}

/** An agent at G that keeps a map, and the kernel that the map is held against. */
export abstract class MapWatcher {
  readonly stand: Stand;
  readonly socket: string;

  constructor(stand: Stand, socket: string) {
    this.stand = stand;
    this.socket = join(stand.directory('G'), socket);
  }

  abstract start(): Promise<void>;
  abstract stop(name?: NodeJS.Signals): Promise<void>;

  rows = (): Promise<MapRowView[]> => this.#ask('/v1/map');
  switches = (): Promise<MapSwitchView[]> => this.#ask('/v1/map/switches');
  history = (address: string): Promise<MapHistoryView[]> => this.#ask(`/v1/map/history?address=${address}`);

  async row(address: string): Promise<MapRowView> {
    const [row] = await this.#ask<MapRowView[]>(`/v1/map?address=${address}`);
    if (!row) throw new Error(`${address} is not in the map`);
    return row;
  }

  async place(address: string, tor: TorName): Promise<MapPlaceView | undefined> {
    return (await this.row(address)).places.find(({ routerId }) => routerId === TORS[tor].routerId);
  }

  /** Since when an address is at each of its places, as the file says that the next life will read. */
  kept(address: string): string[] {
    let text = '[]';
    try {
      text = readFileSync(join(this.stand.directory('G'), 'map.json'), 'utf8');
    } catch (error) {
      // Nothing is written yet.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    const things = JSON.parse(text) as { thing?: string; address?: string; places?: { since: number }[] }[];
    const host = things.find((each) => each.thing === 'host' && each.address === address);
    return (host?.places ?? []).map(({ since }) => new Date(since).toISOString()).sort();
  }

  /** `bin/peerless WORDS` as it is typed at G. */
  cli(...words: string[]): Promise<Outcome> {
    return outcome([PEERLESS, ...words], { PEERLESS_SOCKET: this.socket });
  }

  /** Where G's packets to an address go, by the kernel. */
  async truth(address: string): Promise<Truth | undefined> {
    const text = await run(['ip', '-n', namespaceOf(this.stand.name, 'G'), '-j', 'route', 'get', address]).catch(
      () => '[]',
    );
    const [route] = JSON.parse(text) as { dev?: string; gateway?: string }[];
    return route?.dev && route.gateway ? { dev: route.dev, via: route.gateway } : undefined;
  }

  /** A place in a line: `up GA A A0 A2`, words after what is not up. */
  async text(address: string): Promise<string> {
    const { places } = await this.row(address);
    const port = (view: MapPlaceView['uplink']) =>
      view && (view.state === 'up' ? view.port : `${view.port}:${view.state}`);
    return places
      .map(({ state, gatewayPort, switchName, uplink, downlink }) =>
        [state, port(gatewayPort), switchName, port(uplink), port(downlink)].filter((part) => part).join(' '),
      )
      .join(' | ');
  }

  #ask<T>(path: string): Promise<T> {
    return askAgent(this.socket, path);
  }
}

export class Observer extends MapWatcher {
  readonly #config: Readonly<Record<string, unknown>>;
  #process: ProcessRecord | undefined;

  constructor(stand: Stand, config: Readonly<Record<string, unknown>>) {
    super(stand, 'observer.sock');
    this.#config = config;
  }

  async start(): Promise<void> {
    const directory = this.stand.directory('G');
    const file = join(directory, 'observer.yaml');
    const config = {
      role: 'gateway',
      routerId: OBSERVER,
      map: { file: join(directory, 'map.json') },
      control: { socket: this.socket, metrics: null },
      stateDirectory: join(directory, 'observer'),
      ...this.#config,
    };
    writeFileSync(file, stringify(config));
    rmSync(this.socket, { force: true });
    const { file: program, nodeArguments } = moduleCommand('../tor/agent-from-source', AGENT);
    const command = [process.execPath, ...nodeArguments, program, '--config', file];
    const inside = ['ip', 'netns', 'exec', namespaceOf(this.stand.name, 'G'), ...command];
    this.#process = await startDetached('observer', inside, join(directory, 'observer.log'));
    const answers = () => this.rows().then(Boolean, () => false);
    const started = await waitUntil(async () => !isRunning(this.#process!) || (await answers()), 40_000);
    if (!started || !isRunning(this.#process)) throw new Error('the observer did not start');
  }

  async stop(name: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (!this.#process) return;
    signal(this.#process, name);
    if (!(await gone([this.#process], 10_000))) throw new Error(`the observer did not end at ${name}`);
    this.#process = undefined;
  }
}

const AGENT = new URL('../../lab/gateway/daemons.ts', import.meta.url).href;

/** A session of its own with each ToR, from an address that FRR does not use. */
export async function observerByBgp(stand: Stand): Promise<Observer> {
  await stand.ip('G', 'address', 'add', `${OBSERVER}/32`, 'dev', 'lo');
  for (const tor of TOR_NAMES) {
    stand.editConfig((config) => {
      config.name = tor;
      config.bgp.neighbors.push({ address: OBSERVER, remoteAs: 65000, passive: true, multihop: true, timers: TIMERS });
    }, tor);
    await stand.signal('SIGHUP', tor);
  }
  const neighbors = TOR_NAMES.map((tor) => ({
    address: TORS[tor].address,
    remoteAs: TORS[tor].asn,
    localAddress: OBSERVER,
    multihop: true,
    timers: TIMERS,
  }));
  return new Observer(stand, { bgp: { asn: 65000, neighbors } });
}

/** The ends of the pair: the daemon's, ours. */
const PAIR = { daemon: 'obs0', ours: 'obs1', daemonAddress: '10.254.0.1', ourAddress: '10.254.0.2' } as const;

/** One more OSPF link inside G, between its daemon and our agent. */
export async function observerByOspf(stand: Stand, daemon: 'frr' | 'bird'): Promise<Observer> {
  const { ours, daemonAddress, ourAddress } = PAIR;
  await stand.ip('G', 'link', 'add', PAIR.daemon, 'type', 'veth', 'peer', 'name', ours);
  await stand.ip('G', 'address', 'add', `${daemonAddress}/30`, 'dev', PAIR.daemon);
  await stand.ip('G', 'address', 'add', `${ourAddress}/30`, 'dev', ours);
  for (const port of [PAIR.daemon, ours]) {
    // Both ends are addresses of this box, and the kernel takes no packet from itself unless told to.
    for (const setting of ['accept_local=1', 'rp_filter=0']) {
      await stand.exec('G', 'sysctl', '-qw', `net.ipv4.conf.${port}.${setting}`);
    }
    await stand.ip('G', 'link', 'set', port, 'up');
  }
  for (const tor of TOR_NAMES) {
    stand.editConfig((config) => {
      config.name = tor;
    }, tor);
    await stand.signal('SIGHUP', tor);
  }
  if (daemon === 'frr') await frrJoins(stand);
  else await birdJoins(stand);
  const link = { name: ours, area: '0.0.0.0', network: 'point-to-point', hello: '1s', dead: '4s' };
  return new Observer(stand, { ospf: { interfaces: [link] } });
}

/** An adjacency says at its beginning whether it carries opaque LSAs, so those that stand begin anew. */
async function frrJoins(stand: Stand): Promise<void> {
  const words = [
    'configure terminal',
    'router ospf',
    'capability opaque',
    'exit',
    `interface ${PAIR.daemon}`,
    'ip ospf network point-to-point',
    'ip ospf area 0',
    'ip ospf hello-interval 1',
    'ip ospf dead-interval 4',
    'end',
    'clear ip ospf process',
  ];
  const { stdout, stderr, code } = await stand.exec(
    'G',
    'vtysh',
    '--vty_socket',
    stand.directory('G'),
    ...words.flatMap((word) => ['-c', word]),
  );
  if (code !== 0) throw new Error(`FRR: ${stdout}${stderr}`);
}

async function birdJoins(stand: Stand): Promise<void> {
  const file = join(stand.directory('G'), 'bird.conf');
  const link = `interface "${PAIR.daemon}" { type ptp; hello 1; dead count 4; };`;
  writeFileSync(file, readFileSync(file, 'utf8').replace('area 0 {', `area 0 {\n    ${link}`));
  await stand.bird('configure');
}
