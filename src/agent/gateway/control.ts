import { formatProblem, loadConfig } from '../../config/index.ts';
import type { ReloadResult, StatusView } from '../api.ts';
import { ControlError, type ControlServer } from '../control/server.ts';
import { serveProcess, serveSpeakers } from '../control/serving.ts';
import { bfdSessionView, bgpSessionView, ospfSessionView } from '../control/sessions.ts';
import { VERSION } from '../version.ts';
import type { Gateway } from './gateway.ts';
import { serveMap } from './map-control.ts';

/** Hangs the gateway role on the control socket; `api.ts` says what each path takes and answers. */
export function serveGateway(server: ControlServer, agent: Gateway): void {
  server.on('GET', '/v1/status', () => statusView(agent));
  server.on('POST', '/v1/reload', () => reload(agent));
  server.on('GET', '/v1/bfd', () => agent.bfd.views());
  serveProcess(server, agent);
  serveMap(server, agent);
  serveSpeakers(server, agent, { ospf: agent.speakers.ospf, bgp: agent.speakers.bgp, box: 'this gateway' });
}

async function statusView(agent: Gateway): Promise<StatusView> {
  const { ospf, bgp } = agent.speakers;
  return {
    role: 'gateway',
    version: VERSION,
    pid: process.pid,
    uptimeMs: Math.round(agent.uptime),
    routerId: agent.loaded.config.routerId,
    configFile: agent.loaded.file,
    uplinks: [],
    groups: [],
    sessions: [
      ...(ospf?.neighbors() ?? []).map((view) => ospfSessionView(view, agent.wall)),
      ...(bgp?.sessions() ?? []).map((view) => bgpSessionView(view, agent.wall)),
      ...agent.bfd.sessions().map((view) => bfdSessionView(view, agent.wall)),
    ],
    hosts: await mapCounts(agent),
    warnings: agent.warnings(),
  };
}

/** Addresses of the map, by what they are now. */
export async function mapCounts(agent: Gateway): Promise<StatusView['hosts']> {
  const states = await agent.map.states();
  const total = [...states.values()].reduce((sum, count) => sum + count, 0);
  return { total, byState: Object.fromEntries(states) };
}

export const reload = (agent: Gateway): Promise<ReloadResult> => agent.lastReload.attempt(() => takeFile(agent));

async function takeFile(agent: Gateway): Promise<ReloadResult> {
  const loaded = loadConfig(agent.loaded.file);
  if (!loaded.ok) {
    throw new ControlError(422, loaded.problems.map(formatProblem).join('\n'), 'correct the file; nothing was changed');
  }
  if (loaded.config.role !== 'gateway') throw new ControlError(422, 'the role can not change while the agent runs');
  const { changes, needsRestart } = agent.reload({ ...loaded, config: loaded.config });
  return { changes, needsRestart };
}
