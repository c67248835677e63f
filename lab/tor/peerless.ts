/** A ToR of ours: one agent with its configuration file, asked over its control socket. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { FailoverView, StatusView } from '../../src/agent/api.ts';
import type { LabCase } from '../cases/case.ts';
import { PROJECT } from '../containers/podman.ts';
import { moduleCommand } from '../helper.ts';
import { startIn } from '../place.ts';
import { isRunning, type ProcessRecord, waitUntil } from '../processes.ts';
import type { TorKind } from '../state.ts';
import { downlinksOf, GATEWAY, SUBNET, SUBNET6, TORS } from '../topology/plan.ts';
import { redisSocket } from './sonic/box.ts';
import type { TorSettings } from './today.ts';

const logOf = (directory: string): string => join(directory, 'agent.log');

export const socketOf = (directory: string): string => join(directory, 'control.sock');

/** Characters of an agent's log that an error quotes. */
const LOG_TAIL = 4_000;

/** The agent's configuration file as a value; sections that a case wants to change are there to be spread. */
export interface AgentConfiguration {
  readonly hostRoutes: Readonly<Record<string, unknown>>;
  readonly portLink: readonly Readonly<Record<string, unknown>>[];
  readonly ospf?: Readonly<Record<string, unknown>>;
  readonly bgp?: Readonly<Record<string, unknown>>;
  readonly [section: string]: unknown;
}

/** @param kind all but `peerless` stand by for each other */
function agentConfiguration(settings: TorSettings, kind: TorKind): AgentConfiguration {
  const { tor, directory, protocol, families, ports } = settings;
  const { routerId, asn, uplink, peer, peer6 } = TORS[tor];
  const downlinks = downlinksOf(tor);
  return {
    role: 'tor',
    routerId,
    hostRoutes: {
      prefixes: families.map((family) => (family === 4 ? SUBNET : SUBNET6)),
      ports: downlinks,
      returning: { mode: 'always' },
    },
    portLink: [{ name: 'fabric', uplinks: [uplink], downlinks, recoveryDelay: '1s', startupDelay: '1s' }],
    ...(protocol === 'bgp'
      ? {}
      : {
          ospf: {
            interfaces: [{ name: uplink, area: '0.0.0.0', network: 'point-to-point', hello: '1s', dead: '4s' }],
            announce: { as: 'external', metric: 20, metricType: 2 },
          },
        }),
    ...(protocol === 'ospf'
      ? {}
      : {
          bgp: {
            asn,
            neighbors: families.map((family) => ({
              address: family === 4 ? peer : peer6,
              remoteAs: GATEWAY.asn,
              timers: { keepalive: '1s', hold: '3s' },
            })),
          },
        }),
    ...(ports === 'sonic' ? { ports: { driver: 'sonic', redis: redisSocket(directory) } } : {}),
    ...(kind === 'peerless'
      ? {}
      : { shadow: { enabled: true, twin: TORS[tor === 'A' ? 'B' : 'A'].routerId, repair: kind !== 'shadow' } }),
    control: { socket: socketOf(directory), metrics: null },
    stateDirectory: join(directory, 'state'),
  };
}

export interface Setting {
  readonly kind: TorKind;
  /** The case whose settings and daemons it has. */
  readonly variant?: Pick<LabCase, 'settings' | 'daemons'> | undefined;
}

/** @param holdAtBoot the agent keeps the server ports shut until the fabric is ready */
export async function startPeerless(
  settings: TorSettings,
  holdAtBoot: boolean,
  { kind, variant }: Setting,
): Promise<ProcessRecord[]> {
  const { tor, place, directory } = settings;
  const file = join(directory, 'peerless.yaml');
  const log = logOf(directory);
  const usual = agentConfiguration(settings, kind);
  writeFileSync(file, stringify(variant?.settings?.(usual, tor) ?? usual, { aliasDuplicateObjects: false }));
  rmSync(socketOf(directory), { force: true });
  const command = [...agentCommand(), '--config', file, ...(holdAtBoot ? ['--hold-at-boot'] : [])];
  const record = await startIn(place, `${tor} agent`, command, log);
  const ready = await waitUntil(async () => !isRunning(record) || (await agentStatus(directory)) !== undefined, 20_000);
  if (!ready || !isRunning(record)) {
    const what = isRunning(record) ? 'does not answer' : 'ended';
    throw new Error(`the agent of ${tor} ${what}:\n${lastWords(directory)}`);
  }
  return [record, ...((await variant?.daemons?.(settings)) ?? [])];
}

/** The end of the log, which goes with the lab; empty where no agent of ours ran. */
export function lastWords(directory: string): string {
  const log = logOf(directory);
  return existsSync(log) ? readFileSync(log, 'utf8').slice(-LOG_TAIL) : '';
}

/** `peerless WORDS` by the build. */
export const agentCommandLine = (words: readonly string[]): string[] => [`${PROJECT}/bin/peerless`, ...words];

/** The daemon, without its arguments. */
export function agentCommand(): string[] {
  if (!import.meta.url.endsWith('.ts')) return [`${PROJECT}/bin/peerless`, 'agent'];
  const { file, nodeArguments } = moduleCommand('./agent-from-source', import.meta.url);
  return [process.execPath, ...nodeArguments, file];
}

/** undefined: the agent doesn't answer (yet). */
export async function agentStatus(directory: string): Promise<StatusView | undefined> {
  try {
    return (await askAgent(directory, '/v1/status')) as StatusView;
  } catch {
    return undefined;
  }
}

export async function agentFailovers(directory: string, last: number): Promise<readonly FailoverView[]> {
  return (await askAgent(directory, `/v1/failovers?last=${last}`)) as readonly FailoverView[];
}

export async function agentCounters(
  directory: string,
): Promise<Readonly<Record<string, Readonly<Record<string, number>>>>> {
  return (await askAgent(directory, '/v1/counters')) as Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** @param body makes it a POST. @throws Error when there is no answer, or another than 2xx */
export function askAgent(directory: string, path: string, body?: unknown): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const method = body === undefined ? 'GET' : 'POST';
    const headers = { 'content-type': 'application/json' };
    const outgoing = request({ socketPath: socketOf(directory), path, method, headers, timeout: 2000 }, (response) => {
      let answer = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        answer += text;
      });
      response.on('end', () => {
        if (response.statusCode === undefined || response.statusCode >= 300)
          reject(new Error(`${path}: ${response.statusCode} ${answer}`));
        else resolve(answer === '' ? undefined : JSON.parse(answer));
      });
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error(`${path}: no answer`)));
    outgoing.on('error', reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
