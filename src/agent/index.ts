/**
 * The agent: composition root, lifecycle, control socket. The domains meet in `tor` and nowhere else; `tor/switch/way.ts`
 * holds the order in which they hear of an event.
 */
import { formatProblem, type Loaded, loadConfig, type TorConfig } from '../config/index.ts';
import { systemClock } from '../model/clock.ts';
import type { Log } from '../model/log.ts';
import type { RestartResult } from './api.ts';
import { ControlServer, refuseSecond } from './control/server.ts';
import { Lldp, Lldpcli, NO_LLDP } from './lldp/index.ts';
import { type LogLevel, makeLogger } from './logging.ts';
import { metricsText, serveMetrics } from './metrics.ts';
import { rehearse } from './rehearsal/index.ts';
import { notify } from './supervisor.ts';
import { reload, serveTor } from './tor/control.ts';
import { openKernel } from './tor/kernel.ts';
import type { SwitchKernel } from './tor/surroundings.ts';
import { TorSwitch } from './tor/switch.ts';

export { LOG_LEVELS, type LogLevel } from './logging.ts';

export interface AgentOptions {
  readonly configFile: string;
  readonly logLevel: LogLevel;
  readonly logFile?: string;
  /** Start with the downlinks shut until the fabric is ready. */
  readonly holdAtBoot: boolean;
}

/** The answer to a request for a restart is on its way (ms). */
const ANSWER_FIRST = 20;

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
  if (!isTor(loaded))
    throw new ConfigRefused(`${options.configFile}: role ${loaded.config.role} is not in this version; use role: tor`);
  const log = makeLogger(options.logLevel, options.logFile);
  await refuseSecond(loaded.config.control.socket);
  const stopped = Promise.withResolvers<void>();
  const kernel = await openKernel({ config: loaded.config, clock: systemClock, log });
  const { holdAtBoot } = options;
  const lldp = openLldp(loaded.config, kernel, log);
  const neighbours = (port: string) => lldp.of(port);
  const agent = await TorSwitch.start({ loaded, clock: systemClock, log, kernel, holdAtBoot, neighbours });
  lldp.start();
  const control = new ControlServer();
  serveTor(control, agent);
  await control.listen(loaded.config.control.socket);
  const metrics = await listenForMetrics(agent, log);
  const rehearsal = new AbortController();
  rehearse(loaded, log, rehearsal.signal);

  let leaving = false;
  const leave = (signal: NodeJS.Signals): void => {
    if (leaving) return;
    leaving = true;
    log.info({ signal }, 'withdrawing what we announced, then leaving');
    notify('STOPPING=1');
    rehearsal.abort();
    lldp.stop();
    Promise.all([agent.stop(), control.close(), metrics?.close()]).then(() => stopped.resolve(), stopped.reject);
  };
  const pause = async (asked: string): Promise<void> => {
    if (leaving) return;
    leaving = true;
    log.info({ asked }, 'leaving for a restart: nothing is withdrawn');
    notify('STOPPING=1');
    rehearsal.abort();
    await agent.pause();
    // With the process its TCP connections break, and that is what a neighbour takes for a graceful restart.
    process.exit(0);
  };
  control.on('POST', '/v1/restart', () => {
    setTimeout(() => pause('control socket'), ANSWER_FIRST);
    return { pid: process.pid, uptimeMs: Math.round(agent.uptime) } satisfies RestartResult;
  });
  process.on('SIGUSR2', () => pause('SIGUSR2'));
  process.on('SIGTERM', leave);
  process.on('SIGINT', leave);
  process.on('SIGHUP', () => {
    reload(agent).then(
      ({ changes, needsRestart }) => log.info({ changes, needsRestart }, 'configuration reloaded'),
      (error: unknown) => log.error({ err: error }, 'the new configuration was refused; nothing was changed'),
    );
  });
  notify('READY=1');
  await stopped.promise;
}

/** Read where SONiC keeps it, or from lldpd; `kernel` tells when a look is due. */
function openLldp({ ports }: TorConfig, kernel: SwitchKernel, log: Log): Lldp {
  const { lldp: socket } = ports;
  const source = kernel.lldp ?? (socket === null ? NO_LLDP : new Lldpcli(socket, systemClock, log));
  const lldp = new Lldp(source, systemClock);
  kernel.onChange((change) => lldp.portChanged(change));
  return lldp;
}

function isTor(loaded: Loaded): loaded is Loaded & { readonly config: TorConfig } {
  return loaded.config.role === 'tor';
}

async function listenForMetrics(agent: TorSwitch, log: Log) {
  const { metrics } = agent.loaded.config.control;
  if (!metrics) return undefined;
  const text = () =>
    metricsText(agent.counters(), { uptime_seconds: agent.uptime / 1000, hosts: agent.hosts.announced().length });
  try {
    return await serveMetrics(metrics, text);
  } catch (error) {
    // Metrics are for watching the job, not part of it: the job goes on.
    log.warn({ err: error, ...metrics }, 'metrics are not served: the address can not be bound');
    return undefined;
  }
}
