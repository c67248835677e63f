import {
  ChangedMeanwhile,
  formatProblem,
  type Loaded,
  loadConfig,
  type PortLinkEdit,
  planEdit,
  saveConfig,
} from '../../config/index.ts';
import { type Address, parseAddress, prefixContains } from '../../model/address.ts';
import { sshConnection, type TcpSession } from '../../netlink/index.ts';
import type {
  ChangeResult,
  ClearRequest,
  ClearView,
  GroupView,
  HostStateName,
  PortLinkSettings,
  ReloadResult,
  StatusView,
  SweepView,
} from '../api.ts';
import { ControlError, type ControlRequest, type ControlServer } from '../control/server.ts';
import { count, prefixOf, serveProcess, serveSpeakers } from '../control/serving.ts';
import { bfdSessionView, bgpSessionView, ospfSessionView } from '../control/sessions.ts';
import { VERSION } from '../version.ts';
import { serveDrain } from './drain/control.ts';
import type { TorSwitch } from './switch.ts';
import { hostView, serverSession } from './views.ts';

/** Hangs the switch role on the control socket; `api.ts` says what each path takes and answers. */
export function serveTor(server: ControlServer, agent: TorSwitch): void {
  server.on('GET', '/v1/status', () => statusView(agent));
  server.on('GET', '/v1/hosts', (request) => hostViews(agent, request));
  server.on('POST', '/v1/hosts/sweep', () => {
    const plan = agent.hosts.sweep();
    if (typeof plan === 'string') throw new ControlError(422, plan, 'list silent servers in hostRoutes.sources.static');
    return plan satisfies SweepView;
  });
  server.on('POST', '/v1/hosts/clear', ({ query, body }) => clearHosts(agent, body, query.get('dryRun') === '1'));
  serveProcess(server, agent);
  server.on('POST', '/v1/reload', ({ query }) => reload(agent, guardOf(query)));
  server.on('GET', '/v1/failovers', ({ query }) => agent.failovers.last(count(query.get('last'))));
  serveGroups(server, agent);
  serveDrain(server, agent);
  serveSpeakers(server, agent, {
    ospf: agent.fabric.ospf,
    bgp: agent.fabric.bgp,
    box: 'this switch',
    moreSessions: () => agent.fabric.bgp?.servers().map(serverSession) ?? [],
  });
  server.on('GET', '/v1/bfd', () => agent.bfd.views());
}

function serveGroups(server: ControlServer, agent: TorSwitch): void {
  server.on('GET', '/v1/portlink', () => agent.groups.views());
  server.on('GET', '/v1/portlink/:name', ({ parameters }) => group(agent, parameters.name!));
  server.on('PUT', '/v1/portlink/:name', (request) => edit(agent, request, 'add'));
  server.on('PATCH', '/v1/portlink/:name', (request) => edit(agent, request, 'set'));
  server.on('DELETE', '/v1/portlink/:name', (request) => edit(agent, request, 'remove'));
  server.on('POST', '/v1/portlink/:name/hold', async ({ parameters, query, body }) => {
    const view = group(agent, parameters.name!);
    const state = (body as { state?: unknown } | undefined)?.state;
    if (state !== 'open' && state !== 'shut') throw new ControlError(400, 'state must be "open" or "shut"');
    const dryRun = query.get('dryRun') === '1';
    const actions = view.downlinks
      .filter((port) => (state === 'shut' ? port.adminUp : port.shutByUs))
      .map((port) => `${state === 'shut' ? 'shut' : 'open'} ${port.port}`);
    if (state === 'shut') await refuseToShut(agent, view, guardOf(query));
    if (!dryRun) {
      agent.groups.hold(view.name, state);
      await agent.groups.settled();
    }
    return { dryRun, actions, group: group(agent, view.name) } satisfies ChangeResult;
  });
  server.on('POST', '/v1/portlink/:name/release', async ({ parameters, query }) => {
    const view = group(agent, parameters.name!);
    const dryRun = query.get('dryRun') === '1';
    if (view.held === undefined && view.state !== 'shut') {
      throw new ControlError(409, `group ${view.name} is not held`, 'hold it first, or leave it to its uplinks');
    }
    if (!dryRun) {
      agent.groups.release(view.name);
      await agent.groups.settled();
    }
    return { dryRun, actions: [`release ${view.name}`], group: group(agent, view.name) } satisfies ChangeResult;
  });
}

function statusView(agent: TorSwitch): StatusView {
  const groups = agent.groups.views();
  const uplinks = new Map(groups.flatMap((view) => view.uplinks).map((uplink) => [uplink.port, uplink]));
  const byState: Partial<Record<HostStateName, number>> = {};
  const hosts = agent.hosts.hosts();
  for (const host of hosts) byState[host.state] = (byState[host.state] ?? 0) + 1;
  const [lastFailover] = agent.failovers.last(1);
  return {
    role: 'tor',
    version: VERSION,
    pid: process.pid,
    uptimeMs: Math.round(agent.uptime),
    routerId: agent.loaded.config.routerId,
    configFile: agent.loaded.file,
    uplinks: [...uplinks.values()].map(({ port, up, lldp, verdicts }) => ({
      port,
      up,
      ...(lldp === undefined ? {} : { lldp }),
      addresses: globalAddresses(agent, port),
      reason: verdicts.find((verdict) => !verdict.ok)?.reason ?? verdicts.map((verdict) => verdict.reason).join(', '),
    })),
    groups: groups.map(({ name, state, since, reason, dryRun }) => ({ name, state, since, reason, dryRun })),
    sessions: [
      ...(agent.fabric.ospf?.neighbors() ?? []).map((view) => ospfSessionView(view, agent.wall)),
      ...(agent.fabric.bgp?.sessions() ?? []).map((view) => bgpSessionView(view, agent.wall)),
      ...agent.bfd.sessions().map((view) => bfdSessionView(view, agent.wall)),
    ],
    hosts: { total: hosts.length, byState },
    ...(lastFailover === undefined ? {} : { lastFailover }),
    ...(agent.drain.active ? { drain: agent.drain.view() } : {}),
    ...(agent.repair.on ? { repair: agent.repair.view() } : {}),
    warnings: agent.warnings(),
  };
}

const globalAddresses = (agent: TorSwitch, port: string): Address[] =>
  (agent.kernel.port(port)?.addresses ?? []).map(({ address }) => address).filter((each) => !/^fe[89ab]/.test(each));

function hostViews(agent: TorSwitch, { query }: ControlRequest) {
  const port = query.get('port');
  const prefix = query.get('prefix');
  const within = prefix === null ? undefined : prefixOf(prefix);
  const announced = new Set<Address>(agent.hosts.announced().map((route) => route.address));
  const announcers = agent.announcedBy();
  return agent.hosts
    .hosts()
    .filter((host) => port === null || host.port === port)
    .filter((host) => !within || prefixContains(within, host.address))
    .map((host) => {
      const by = announced.has(host.address) ? announcers : [];
      return hostView(host, by, agent.neighbours(host.port), agent.repair.viaOf(host.address), agent.clock.now());
    });
}

/** Of one address, or of all: what counted against it is told, and unless it is a dry run forgotten. */
function clearHosts(agent: TorSwitch, body: unknown, dryRun: boolean): ClearView {
  const { address: text } = (body ?? {}) as Partial<ClearRequest>;
  const address = text === undefined ? undefined : parseAddress(String(text));
  if (text !== undefined && !address) throw new ControlError(400, `'${text}' is not an address`);
  if (address && !agent.hosts.find(address)) {
    throw new ControlError(404, `${address} is not known here`, 'See peerless hosts.');
  }
  const hosts = agent.hosts.damped().filter((host) => address === undefined || host.address === address);
  if (!dryRun) agent.hosts.forgive(hosts.map((host) => host.address));
  return { dryRun, hosts };
}

function group(agent: TorSwitch, name: string): GroupView {
  const view = agent.groups.view(name);
  if (view) return view;
  const names = agent.groups.views().map((each) => each.name);
  throw new ControlError(404, `there is no group ${name}`, `choose one of: ${names.join(', ') || 'none'}`);
}

/** Applied and written back, or neither: the file is saved before the change takes effect. */
async function edit(agent: TorSwitch, request: ControlRequest, type: PortLinkEdit['type']): Promise<ChangeResult> {
  const name = request.parameters.name!;
  const dryRun = request.query.get('dryRun') === '1';
  const settings = (request.body ?? {}) as PortLinkSettings;
  if (typeof settings !== 'object' || Array.isArray(settings))
    throw new ControlError(400, 'settings must be an object');
  const planned = planEdit(
    agent.loaded,
    type === 'remove' ? { type, name } : { type, name, settings: settings as never },
  );
  if (!planned.ok) {
    const status = { exists: 409, missing: 404, invalid: 422 }[planned.reason];
    throw new ControlError(status, planned.problems.map(formatProblem).join('\n'));
  }
  const { after } = planned;
  if (after.config.role !== 'tor') throw new ControlError(422, 'the role can not change');
  await refuseToCutOff(agent, after, guardOf(request.query));
  const preview = agent.preview({ ...after, config: after.config });
  if (!dryRun) {
    save(agent, after);
    agent.reload({ ...after, config: after.config });
    await agent.groups.settled();
  }
  return { dryRun, actions: preview.changes, group: agent.groups.view(name) ?? null };
}

/** How a change is asked for: in spite of a login that it could cut off, and by which session. */
interface Guard {
  readonly force: boolean;
  readonly also: readonly TcpSession[];
}

function guardOf(query: URLSearchParams): Guard {
  const session = sshConnection(query.get('login') ?? undefined);
  return { force: query.get('force') === '1', also: session ? [session] : [] };
}

/** Nobody can refuse an operator his own wish, but he has to say it. */
async function refuseToCutOff(agent: TorSwitch, after: Loaded, { force, also }: Guard): Promise<void> {
  if (force) return;
  const problems = await agent.management.problems(after, agent.loaded.config, also);
  if (problems.length > 0) throw new ControlError(422, problems.map(formatProblem).join('\n'), 'nothing was changed');
}

async function refuseToShut(agent: TorSwitch, view: GroupView, { force, also }: Guard): Promise<void> {
  if (force || view.config.allowManagementPort) return;
  const [login] = await agent.management.through(
    view.downlinks.map(({ port }) => port),
    also,
  );
  if (!login) return;
  throw new ControlError(
    409,
    `group ${view.name} has ${login.port}, and somebody is logged in from ${login.peer} through it`,
    'Log in by another port, or add --force.',
  );
}

function save(agent: TorSwitch, after: Loaded): void {
  try {
    saveConfig(agent.loaded, after);
  } catch (error) {
    if (error instanceof ChangedMeanwhile)
      throw new ControlError(409, error.message, 'peerless config reload, then again');
    throw error;
  }
}

/** What a SIGHUP does: a bad file changes nothing and says why. */
export const reload = (agent: TorSwitch, guard: Guard = { force: false, also: [] }): Promise<ReloadResult> =>
  agent.lastReload.attempt(() => takeFile(agent, guard));

async function takeFile(agent: TorSwitch, guard: Guard): Promise<ReloadResult> {
  const loaded = loadConfig(agent.loaded.file);
  if (!loaded.ok) {
    throw new ControlError(422, loaded.problems.map(formatProblem).join('\n'), 'correct the file; nothing was changed');
  }
  if (loaded.config.role !== 'tor') throw new ControlError(422, `the role can not change while the agent runs`);
  await refuseToCutOff(agent, loaded, guard);
  const diff = agent.reload({ ...loaded, config: loaded.config });
  return { changes: diff.changes, needsRestart: diff.needsRestart };
}
