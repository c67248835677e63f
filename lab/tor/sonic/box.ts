/** Switches a SONiC-like ToR on: Redis with a switch's configuration, and the daemons between it and the ports. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { moduleCommand } from '../../helper.ts';
import { isRunning, type ProcessRecord, signal, startDetached, stop, waitUntil } from '../../processes.ts';
import { type LabState, nodeDirectory, saveState } from '../../state.ts';
import { downlinksOf, GATEWAY_MAC, TORS, type TorName } from '../../topology/plan.ts';
import { loadConfiguration } from './redis.ts';
import { configurationRows } from './rows.ts';

type Lab = Pick<LabState, 'name'>;

/** In the folder of the ToR, where its agent finds it. */
export const redisSocket = (directory: string): string => join(directory, 'redis.sock');

const REDIS = 'redis';
const folderOf = (directory: string): string => join(directory, REDIS);

/** With what its databases held when it ended. @throws Error when it does not start */
export async function startRedis({ name }: Lab, tor: TorName): Promise<ProcessRecord> {
  const directory = nodeDirectory(name, tor);
  const socket = redisSocket(directory);
  mkdirSync(folderOf(directory), { recursive: true });
  rmSync(socket, { force: true });
  const settings = ['--port', '0', '--unixsocket', socket, '--databases', '16', '--dir', folderOf(directory)];
  settings.push('--save', '', '--appendonly', 'yes', '--notify-keyspace-events', 'AKE');
  const log = join(directory, 'redis.log');
  const record = await startDetached(`${tor} ${REDIS}`, ['redis-server', ...settings], log).catch((error: Error) => {
    throw new Error(`${error.message} (a SONiC-like switch needs redis-server)`);
  });
  const there = await waitUntil(() => existsSync(socket) || !isRunning(record), 10_000, 10);
  if (!there || !isRunning(record)) throw new Error(`redis-server of ${tor} did not start: see ${log}`);
  return record;
}

/** Nothing is done when it is on. */
export async function switchOn(state: LabState, tor: TorName): Promise<void> {
  if (state.boxProcesses?.[tor].some(isRunning)) return;
  const directory = nodeDirectory(state.name, tor);
  // A switch loads its configuration at every boot; what its databases held went with the power.
  rmSync(folderOf(directory), { recursive: true, force: true });
  const redis = await startRedis(state, tor);
  remember(state, tor, [redis]);
  const { asn, uplink } = TORS[tor];
  const description = { hostname: `sonic-${tor.toLowerCase()}`, mac: GATEWAY_MAC, asn };
  const rows = configurationRows({ ...description, ports: [uplink, ...downlinksOf(tor)] });
  await loadConfiguration(redisSocket(directory), rows);
  const { file, nodeArguments } = moduleCommand('./main', import.meta.url);
  const ready = join(directory, 'sonic.ready');
  rmSync(ready, { force: true });
  const command = [process.execPath, ...nodeArguments, file, state.name, tor, redisSocket(directory), ready];
  const log = join(directory, 'sonic.log');
  const daemons = await startDetached(`${tor} sonic`, command, log);
  remember(state, tor, [redis, daemons]);
  const made = await waitUntil(() => existsSync(ready) || !isRunning(daemons), 20_000, 10);
  if (!made || !isRunning(daemons)) throw new Error(`the daemons of ${tor} did not start: see ${log}`);
}

/** Redis alone dies; the daemons wait for it. */
export async function killRedis(state: LabState, tor: TorName): Promise<void> {
  const redis = (state.boxProcesses?.[tor] ?? []).filter(({ name }) => name.endsWith(REDIS));
  for (const record of redis) signal(record, 'SIGKILL');
  await stop(redis);
}

export async function restartRedis(state: LabState, tor: TorName): Promise<void> {
  const others = (state.boxProcesses?.[tor] ?? []).filter(({ name }) => !name.endsWith(REDIS));
  remember(state, tor, [await startRedis(state, tor), ...others]);
}

function remember(state: LabState, tor: TorName, processes: ProcessRecord[]): void {
  state.boxProcesses = { A: [], B: [], ...state.boxProcesses, [tor]: processes };
  saveState(state);
}
