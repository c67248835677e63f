/**
 * The agent: one process, one role (`tor`, `gateway`, `host`), its control socket, signals and metrics. The domains meet in the
 * role's own folder and nowhere else.
 */
import { formatProblem, type Loaded, loadConfig } from '../config/index.ts';
import type { Log } from '../model/log.ts';
import type { RestartResult } from './api.ts';
import { ControlServer, refuseSecond } from './control/server.ts';
import { pointTo } from './control/signpost.ts';
import { GatewayRole } from './gateway/role.ts';
import { HostRole } from './host/role.ts';
import { type LogLevel, makeLogger } from './logging.ts';
import { metricsText, serveMetrics } from './metrics.ts';
import type { Role } from './role.ts';
import { Signals } from './signals.ts';
import { bringState, holdDirectory } from './state-directory.ts';
import { notify } from './supervisor.ts';
import { TorRole } from './tor/role.ts';

export type { LogLevel } from './logging.ts';

export interface AgentOptions {
  readonly configFile: string;
  readonly logLevel: LogLevel;
  readonly logFile?: string;
  /** Start with the downlinks shut until the fabric is ready. */
  readonly holdAtBoot: boolean;
}

/** The answer to a request for a restart is on its way (ms). */
const ANSWER_FIRST = 20;
/** Two threads of a process may take two signals in the other order than they were sent: the word that it is a restart, too. */
const SIGNALS_CROSS = 50;

/** The configuration was refused; `message` has all its problems. */
export class ConfigRefused extends Error {}

/**
 * Runs until SIGTERM or SIGINT and has then left cleanly. SIGHUP reloads. At SIGUSR2, or when asked for a restart over the
 * control socket, the process ends with nothing withdrawn, for the next one to go on.
 *
 * @throws ConfigRefused when the file is refused
 */
export async function runAgent(options: AgentOptions): Promise<void> {
  const loaded = loadConfig(options.configFile);
  if (!loaded.ok) throw new ConfigRefused(loaded.problems.map(formatProblem).join('\n'));
  const log = makeLogger(options.logLevel, options.logFile);
  const signals = new Signals(process, () => process.exit(1));
  const { control: ways, stateDirectory } = loaded.config;
  await refuseSecond(ways.socket);
  bringState(stateDirectory, log);
  const directory = await holdDirectory(stateDirectory, { configFile: options.configFile }, log);
  const stopped = Promise.withResolvers<void>();
  const role = await startRole(loaded, log, options.holdAtBoot);
  const control = new ControlServer();
  role.serve(control);
  await control.listen(ways.socket);
  const unpoint = await pointTo(ways.socket, log);
  const metrics = await listenForMetrics(role, log);

  let leaving = false;
  const leave = (signal: NodeJS.Signals): void => {
    if (leaving) return;
    leaving = true;
    log.info({ signal }, 'withdrawing what we announced, then leaving');
    notify('STOPPING=1');
    unpoint();
    Promise.all([role.stop(), control.close(), metrics?.close()]).then(() => stopped.resolve(), stopped.reject);
  };
  const pause = async (asked: string): Promise<void> => {
    if (leaving) return;
    leaving = true;
    log.info({ asked }, 'leaving for a restart: nothing is withdrawn');
    notify('STOPPING=1');
    await role.pause();
    // With the process its TCP connections break, and that is what a neighbour takes for a graceful restart.
    process.exit(0);
  };
  control.on('POST', '/v1/restart', () => {
    setTimeout(() => pause('control socket'), ANSWER_FIRST);
    return { pid: process.pid, uptimeMs: Math.round(role.uptime) } satisfies RestartResult;
  });
  const reload = (): Promise<void> =>
    role.reload().then(
      ({ changes, needsRestart }) => log.info({ changes, needsRestart }, 'configuration reloaded'),
      (error: unknown) => log.error({ err: error }, 'the new configuration was refused; nothing was changed'),
    );
  role.ready?.();
  notify('READY=1');
  signals.start((signal) => {
    if (signal === 'SIGUSR2') void pause(signal);
    else if (signal === 'SIGTERM') setTimeout(() => leave(signal), SIGNALS_CROSS);
    else if (signal === 'SIGINT') leave(signal);
    else void reload();
  });
  await stopped.promise;
  directory.release();
}

function startRole(loaded: Loaded, log: Log, holdAtBoot: boolean): Promise<Role> {
  const { config } = loaded;
  switch (config.role) {
    case 'tor':
      return TorRole.start({ loaded: { ...loaded, config }, log, holdAtBoot });
    case 'gateway':
      return GatewayRole.start({ loaded: { ...loaded, config }, log, holdAtBoot });
    default:
      return HostRole.start({ loaded: { ...loaded, config }, log, holdAtBoot });
  }
}

async function listenForMetrics(role: Role, log: Log) {
  const { metrics } = role.loaded.config.control;
  if (!metrics) return undefined;
  const text = async () => {
    const gauges = await role.gauges();
    return metricsText(role.counters(), { uptime_seconds: role.uptime / 1000, ...gauges });
  };
  try {
    return await serveMetrics(metrics, text);
  } catch (error) {
    // Metrics are for watching the job, not part of it: the job goes on.
    log.warn({ err: error, ...metrics }, 'metrics are not served: the address can not be bound');
    return undefined;
  }
}
