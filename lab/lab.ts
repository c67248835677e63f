/** Brings a lab up, changes what its ToRs are, takes it down. */
import { existsSync, rmSync } from 'node:fs';
import type { LabCase } from './cases/case.ts';
import { type Fib, homeFib, hostsOf, sameFib, withoutFree } from './cases/fib.ts';
import { type CaseName, caseNamed } from './cases/index.ts';
import { ensureImage } from './containers/image.ts';
import { removeContainer, startContainer } from './containers/podman.ts';
import { gatewayBird } from './gateway/bird.ts';
import { startBird, startFrr } from './gateway/daemons.ts';
import { gatewayFib } from './gateway/fib.ts';
import { gatewayFrr, type LsaTimers } from './gateway/frr.ts';
import { gatewayPeerless, startPeerlessGateway } from './gateway/peerless.ts';
import { moduleCommand } from './helper.ts';
import { deepenBacklog } from './machine.ts';
import { placeOf } from './place.ts';
import { isRunning, outcome, type ProcessRecord, run, startDetached, stop, waitUntil } from './processes.ts';
import { TOR_TITLE } from './results.ts';
import { letSpeak } from './servers.ts';
import {
  checkName,
  directoryOf,
  type GatewayKind,
  type LabState,
  labExists,
  loadState,
  nodeDirectory,
  removeState,
  saveState,
  type TorKind,
} from './state.ts';
import { batch, buildTopology, type PortMode, removeTopology } from './topology/build.ts';
import {
  BRIDGE,
  CLIENT,
  downlinksOf,
  type Family,
  namespaceOf,
  type Protocol,
  SERVERS,
  type ServerName,
  TOR_NAMES,
  TORS,
  type TorName,
} from './topology/plan.ts';
import { lastWords, startPeerless } from './tor/peerless.ts';
import { switchOn } from './tor/sonic/box.ts';
import { startToday, type TorSettings } from './tor/today.ts';

export { gatewayFib } from './gateway/fib.ts';

/** Told in plain words what goes on. */
export type Progress = (message: string) => void;

export interface LabUpOptions {
  /** Lab id; part of every namespace's name. Default `peerless`. */
  readonly name?: string;
  readonly protocol?: Protocol;
  readonly gateway?: GatewayKind;
  /** FRR's OSPF timers as G; default `fast`. */
  readonly lsaTimers?: LsaTimers;
  readonly ports?: PortMode;
  /** IP versions of the servers and of the fabric; default IPv4 alone. IPv6 goes by BGP. */
  readonly families?: readonly Family[];
  /** What the ToRs are at first; `labRun` changes it as it needs. Default `peerless`. */
  readonly tor?: TorKind;
  /** The case whose settings and daemons the ToRs begin with; default: the usual ones. */
  readonly variant?: CaseName;
  /** What the agents begin with, from what it is otherwise; a later start of the lab's own has the usual settings. */
  readonly settings?: LabCase['settings'];
  /** Milliseconds the servers' teams wait before they use a primary link that is back. Default 200. */
  readonly updelay?: number;
  /** G, A and B in podman containers instead of plain namespaces. */
  readonly containers?: boolean;
  /** Image for G; default: one that is built from Debian's packages, which A and B have in any case. */
  readonly image?: string;
  readonly onProgress?: Progress;
}

export interface LabUpResult {
  readonly name: string;
  readonly directory: string;
  readonly namespaces: readonly string[];
  readonly protocol: Protocol;
  readonly gateway: GatewayKind;
  readonly tor: TorKind;
  /** G's host routes at the end: address -> ToRs. */
  readonly fib: Fib;
}

export const DEFAULT_NAME = 'peerless';

/**
 * A lab of that name that stands already is removed first.
 * @throws Error when a part doesn't start or the routes don't come; what was made until then is removed
 */
export async function labUp(options: LabUpOptions = {}): Promise<LabUpResult> {
  const { name = DEFAULT_NAME, onProgress = () => undefined } = options;
  checkName(name);
  await labDown({ name, onProgress });
  const families = options.families ?? [4];
  if (families.includes(6) && (options.protocol ?? 'ospf') === 'ospf') {
    throw new Error('IPv6 goes by BGP alone (OSPF is OSPFv2 here): use protocol bgp or both');
  }
  if (options.ports === 'sonic' && options.containers) throw new Error('a SONiC-like switch is a namespace here');
  const state: LabState = {
    version: 1,
    name,
    protocol: options.protocol ?? 'ospf',
    ownGateway: options.gateway ?? 'frr',
    gateway: options.gateway ?? 'frr',
    lsaTimers: options.lsaTimers ?? 'fast',
    ports: options.ports ?? 'routed',
    families,
    containers: options.containers ? [] : undefined,
    updelay: options.updelay ?? 200,
    tor: undefined,
    variant: options.variant,
    processes: [],
    torProcesses: { A: [], B: [] },
  };
  saveState(state);
  try {
    if (options.containers) await startContainers(state, options.image, onProgress);
    onProgress('building the topology: G, A, B, C1-C4, X');
    deepenBacklog();
    await buildTopology(name, state.ports, state.families);
    onProgress(`starting G (${state.gateway}, ${state.protocol})`);
    const variant = options.variant === undefined ? undefined : caseNamed(options.variant);
    await together(
      startGateway(state, variant).then((started) => {
        state.processes.push(...started);
        saveState(state);
      }),
      startTeam(state, variant?.activeActive).then((started) => {
        state.processes.push(started);
        saveState(state);
      }),
    );
    const tor = options.tor ?? 'peerless';
    await changeTors(state, tor, onProgress, variant, options.settings);
    return {
      name,
      directory: directoryOf(name),
      namespaces: [...(['G', 'A', 'B', 'X', 'wires'] as const), ...SERVERS.map((server) => server.name)].map((node) =>
        namespaceOf(name, node),
      ),
      protocol: state.protocol,
      gateway: state.gateway,
      tor,
      fib: await gatewayFib(state.name, state.families),
    };
  } catch (error) {
    await labDown({ name });
    throw error;
  }
}

/** What is under way comes to its end before a failure is told: nothing starts behind the back of who cleans up. */
async function together(...works: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(works)) if (result.status === 'rejected') throw result.reason;
}

/** Removes what `labUp` made and nothing else; without such a lab it does nothing and says false. */
export async function labDown(options: { name?: string; onProgress?: Progress } = {}): Promise<boolean> {
  const { name = DEFAULT_NAME, onProgress = () => undefined } = options;
  checkName(name);
  const hadState = labExists(name);
  const hadNamespaces = existsSync(`/run/netns/${namespaceOf(name, 'wires')}`);
  if (!hadState && !hadNamespaces) return false;
  onProgress(`removing lab ${name}`);
  let contained = false;
  if (hadState) {
    const state = loadState(name);
    contained = state.containers !== undefined;
    await stop([...state.torProcesses.A, ...state.torProcesses.B, ...state.processes]);
    await stop([...(state.boxProcesses?.A ?? []), ...(state.boxProcesses?.B ?? [])]);
  }
  for (const node of CONTAINED) {
    if (contained) await removeContainer(namespaceOf(name, node));
  }
  await removeTopology(name);
  removeState(name);
  return true;
}

const CONTAINED = ['G', ...TOR_NAMES] as const;

async function startContainers(state: LabState, image: string | undefined, onProgress: Progress): Promise<void> {
  const own = await ensureImage(onProgress);
  onProgress('starting the containers: G, A, B');
  for (const node of CONTAINED) {
    const container = await startContainer(state.name, node, node === 'G' && image !== undefined ? image : own);
    state.containers = [...(state.containers ?? []), container];
    saveState(state);
  }
}

function startGateway(state: LabState, variant?: LabCase): Promise<ProcessRecord[]> {
  const place = placeOf(state, 'G');
  const directory = nodeDirectory(state.name, 'G');
  const { multipath = false, bfd = false } = variant ?? {};
  const options = { families: state.families, multipath, bfd };
  if (state.gateway === 'peerless')
    return startPeerlessGateway(place, directory, gatewayPeerless(state.protocol, directory, options));
  return state.gateway === 'bird'
    ? startBird(place, directory, gatewayBird(state.protocol, options))
    : startFrr(place, directory, gatewayFrr(state.protocol, state.lsaTimers, options));
}

/** G with other settings: its daemons are ended and started anew. */
async function changeGateway(state: LabState, variant: LabCase | undefined): Promise<void> {
  const isGateways = ({ name }: ProcessRecord): boolean => name.startsWith('G ');
  await stop(state.processes.filter(isGateways));
  state.processes = state.processes.filter((record) => !isGateways(record));
  saveState(state);
  state.processes.push(...(await startGateway(state, variant)));
  saveState(state);
}

/** Servers whose both links carry at the same time; all others have an active-backup team. */
async function changeTeam(state: LabState, activeActive: readonly ServerName[]): Promise<void> {
  await stop(state.processes.filter(({ name }) => name === 'team'));
  state.processes = state.processes.filter(({ name }) => name !== 'team');
  saveState(state);
  state.processes.push(await startTeam(state, activeActive));
  saveState(state);
}

async function startTeam(state: LabState, activeActive: readonly ServerName[] = []): Promise<ProcessRecord> {
  const directory = nodeDirectory(state.name, 'team');
  const records = teamFile(state.name);
  rmSync(`${records}.ready`, { force: true });
  const { file, nodeArguments } = moduleCommand('./team/main', import.meta.url);
  const command = [
    process.execPath,
    ...nodeArguments,
    file,
    state.name,
    String(state.updelay),
    records,
    ...activeActive,
  ];
  const record = await startDetached('team', command, `${directory}/team.log`);
  if (!(await waitUntil(() => existsSync(`${records}.ready`), 10_000))) {
    throw new Error(`the servers' teams did not start: see ${directory}/team.log`);
  }
  return record;
}

export const teamFile = (name: string): string => `${nodeDirectory(name, 'team')}/records.ndjson`;

export const torSettings = (state: LabState, tor: TorName): TorSettings => ({
  lab: state.name,
  tor,
  place: placeOf(state, tor),
  directory: nodeDirectory(state.name, tor),
  protocol: state.protocol,
  ports: state.ports,
  families: state.families,
});

/** Starts one ToR's programs and remembers them. */
export async function startTor(
  state: LabState,
  tor: TorName,
  kind: TorKind,
  afterBoot: boolean,
  first?: LabCase['settings'],
): Promise<void> {
  const settings = torSettings(state, tor);
  const variant = first ? { settings: first } : state.variant === undefined ? undefined : caseNamed(state.variant);
  if (state.ports === 'sonic') await switchOn(state, tor);
  state.torProcesses[tor] =
    kind === 'frr' ? await startToday(settings) : await startPeerless(settings, afterBoot, { kind, variant });
  saveState(state);
}

/**
 * Ends what runs on both ToRs, empties their kernels, starts `kind` and waits until every server is reached at home.
 * @param variant the case whose settings and daemons they get
 * @param first settings in place of the variant's, for this start alone
 */
export async function changeTors(
  state: LabState,
  kind: TorKind,
  onProgress: Progress,
  variant?: LabCase,
  first?: LabCase['settings'],
): Promise<void> {
  const what = TOR_TITLE[kind];
  onProgress(`starting the ToRs (${what}${variant ? `, settings of ${variant.name}` : ''})`);
  await stop([...state.torProcesses.A, ...state.torProcesses.B]);
  state.torProcesses = { A: [], B: [] };
  state.tor = undefined;
  const before = state.variant === undefined ? undefined : caseNamed(state.variant);
  const gateway = kind === 'router' ? 'peerless' : state.ownGateway;
  const otherGateway = gateway !== state.gateway;
  state.gateway = gateway;
  const otherCase = before?.name !== variant?.name;
  if (otherGateway || (otherCase && [before, variant].some((each) => each?.multipath || each?.bfd)))
    await changeGateway(state, variant);
  if (otherCase && (before?.activeActive || variant?.activeActive))
    await changeTeam(state, variant?.activeActive ?? []);
  state.variant = variant?.name;
  saveState(state);
  // One after the other: no server loses both links at once.
  for (const tor of TOR_NAMES) await emptyTor(state, tor);
  await together(...TOR_NAMES.map((tor) => startTor(state, tor, kind, false, first)));
  state.tor = kind;
  saveState(state);
  onProgress("waiting for G's routes");
  await waitForHome(state, variant?.home ? { home: variant.home } : undefined);
}

/** @throws Error that names the routes that are missing */
export async function waitForHome(
  state: LabState,
  labCase?: Pick<LabCase, 'hosts' | 'home'>,
  patience = 60_000,
): Promise<void> {
  const home = homeFib(state.families, labCase);
  const nothing = { leads: {} };
  let fib: Fib = {};
  let round = 0;
  const there = await waitUntil(
    async () => {
      if (round++ % 10 === 0) letSpeak(state.name, hostsOf(labCase), state.families);
      fib = await gatewayFib(state.name, state.families);
      return sameFib(withoutFree(fib, labCase ?? {}, nothing), home) && (await bothKnowTheWayOut(state));
    },
    patience,
    200,
  );
  if (!there) {
    const told = TOR_NAMES.map((tor) => `${tor}: ${torStory(state, tor)}`).join('\n');
    throw new Error(`G's routes are not as they should be: ${JSON.stringify(fib)}\n${told}`);
  }
}

/** Each ToR's own way to the client may come after G's to the servers: what they send would be lost until then. */
export async function bothKnowTheWayOut({ name, families }: Pick<LabState, 'name' | 'families'>): Promise<boolean> {
  const clients = families.map((family) => (family === 4 ? CLIENT.address : CLIENT.address6));
  const asked = TOR_NAMES.flatMap((tor) => clients.map((client) => ({ tor, client })));
  const answers = await Promise.all(
    asked.map(({ tor, client }) => outcome(['ip', '-n', namespaceOf(name, tor), 'route', 'get', client])),
  );
  return answers.every(({ code, stdout }, at) => code === 0 && stdout.includes(` dev ${TORS[asked[at]!.tor].uplink} `));
}

/** What of a ToR has ended, and its agent's last words: logs go with the lab. */
function torStory(state: LabState, tor: TorName): string {
  const ended = state.torProcesses[tor].filter((record) => !isRunning(record)).map(({ name }) => name);
  const log = lastWords(torSettings(state, tor).directory);
  return `${ended.length > 0 ? `ended: ${ended.join(', ')}` : 'all of its programs run'}\n${log}`;
}

/** Ports down and up: neighbours, learnt routes and everything an earlier kind of ToR left go away. */
async function emptyTor(state: LabState, tor: TorName): Promise<void> {
  const namespace = namespaceOf(state.name, tor);
  const ports = [TORS[tor].uplink, ...downlinksOf(tor), ...(state.ports === 'bridge' ? [BRIDGE] : [])];
  await batch(
    namespace,
    ports.map((port) => `link set ${port} down`),
  );
  await run(['ip', '-n', namespace, 'nexthop', 'flush']);
  await run(['ip', '-n', namespace, 'route', 'flush', 'table', 'main']);
  await batch(
    namespace,
    ports.map((port) => `link set ${port} up`),
  );
}
