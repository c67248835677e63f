import {
  ChangedMeanwhile,
  formatProblem,
  loadConfig,
  type OverlayFileEdit,
  readItem,
  readPolicy,
} from '../../config/index.ts';
import { parseAddress } from '../../model/address.ts';
import type { OverlayItems, OverlayKind } from '../../model/overlay-items.ts';
import type { ReloadResult, StatusView } from '../api.ts';
import { ControlError, type ControlRequest, type ControlServer } from '../control/server.ts';
import { serveProcess } from '../control/serving.ts';
import type { HostChangeResult } from '../host-api.ts';
import { VERSION } from '../version.ts';
import { EditRefused, faultText, type HostEdit } from './edits.ts';
import type { Host } from './host.ts';
import { hostStatus, instanceViews, networkViews, policyView, ruleViews, serviceViews } from './views.ts';

/** Hangs the host role on the control socket; `host-api.ts` says what each path takes and answers. */
export function serveHost(server: ControlServer, host: Host): void {
  server.on('GET', '/v1/status', () => statusView(host));
  server.on('POST', '/v1/reload', () => reload(host));
  serveProcess(server, host);
  server.on('GET', '/v1/host', () => hostStatus(host));
  server.on('GET', '/v1/host/networks', () => ({ networks: networkViews(host) }));
  server.on('GET', '/v1/host/instances', ({ query }) => ({ instances: of(query, instanceViews(host)) }));
  server.on('GET', '/v1/host/remotes', ({ query }) => ({ remotes: of(query, [...host.table.state.remotes.values()]) }));
  server.on('GET', '/v1/host/services', ({ query }) => ({ services: of(query, serviceViews(host)) }));
  server.on('GET', '/v1/host/rules', async () => {
    await host.refresh();
    return { rules: ruleViews(host) };
  });
  server.on('GET', '/v1/host/snat', ({ query }) => ({ snat: of(query, host.table.state.snat) }));
  server.on('GET', '/v1/host/policy', async () => {
    await host.refresh();
    return policyView(host);
  });
  server.on('PATCH', '/v1/host/policy', (request) => setPolicy(host, request));
  for (const [path, kind] of PATHS) {
    server.on('POST', `/v1/host/${path}`, (request) => add(host, kind, request));
    const named = kind === 'remote' || kind === 'snat' ? ':network/:name' : ':name';
    server.on('DELETE', `/v1/host/${path}/${named}`, (request) => remove(host, kind, request));
  }
  for (const listing of ['neighbours', 'cache', 'flows', 'peers'] as const) {
    server.on('GET', `/v1/host/${listing}`, ({ query }) => partOf(host, listing)(query));
  }
  server.on('GET', '/v1/host/stats', async () => {
    await host.refresh();
    const parts = await Promise.all(host.parts.map(async ({ name, part }) => [name, await part.stats?.()] as const));
    return Object.fromEntries(parts.filter(([, stats]) => stats !== undefined));
  });
}

const PATHS = [
  ['networks', 'network'],
  ['instances', 'instance'],
  ['remotes', 'remote'],
  ['services', 'service'],
  ['rules', 'rule'],
  ['snat', 'snat'],
] as const satisfies readonly (readonly [string, OverlayKind])[];

const NEEDED = {
  neighbours: ['no tunnel neighbours are kept', 'set neighbours.proactive or neighbours.hold.enabled'],
  cache: ['there is no fast path', 'set fastPath.mode; peerless doctor says whether this kernel can'],
  flows: ['there is no fast path', 'set fastPath.mode; peerless doctor says whether this kernel can'],
  peers: ['nothing is encrypted', 'set encryption.policy and encryption.keys'],
} as const;

function partOf(host: Host, listing: keyof typeof NEEDED): (query: URLSearchParams) => unknown {
  for (const { part } of host.parts) {
    const view = part.views?.[listing];
    if (view) return view;
  }
  throw new ControlError(503, `${NEEDED[listing][0]} on this host`, NEEDED[listing][1]);
}

function of<T extends { readonly network: string }>(query: URLSearchParams, items: readonly T[]): readonly T[] {
  const network = query.get('network');
  return network === null ? items : items.filter((item) => item.network === network);
}

// ------------------------------------------------------------------ changes

function add(host: Host, kind: OverlayKind, { query, body }: ControlRequest): Promise<HostChangeResult> {
  if (body === null || typeof body !== 'object' || Array.isArray(body))
    throw new ControlError(400, 'the body must be an object');
  const { origin, ...raw } = body as Record<string, unknown>;
  if (origin !== undefined && origin !== 'cni' && origin !== 'control') {
    throw new ControlError(400, `origin can't be ${JSON.stringify(origin)}`, 'leave it out, or write cni');
  }
  if (origin === 'cni' && kind !== 'instance') throw new ControlError(400, 'the CNI plugin brings instances alone');
  const read = readItem(kind, raw, origin ?? 'control');
  if (!read.ok) throw new ControlError(422, read.message);
  const op = query.get('set') === '1' ? 'set' : 'add';
  const { item } = read;
  const edit = { op, kind, item } as HostEdit['edit'];
  const file: OverlayFileEdit = { op, kind, raw };
  if (op === 'add' && origin !== 'cni') refuseTwice(host, kind, item);
  return change(host, [origin === 'cni' ? { edit } : { edit, file }], query);
}

/** The file would refuse it too, but with a place that isn't there. */
function refuseTwice<K extends OverlayKind>(host: Host, kind: K, item: OverlayItems[K]): void {
  const rehearsed = host.table.rehearse([{ op: 'add', kind, item } as HostEdit['edit']]);
  if (!rehearsed.ok) refuse(rehearsed.faults[0]!.reason, faultText(rehearsed.faults[0]!), rehearsed.faults[0]!.remedy);
}

function remove(host: Host, kind: OverlayKind, { parameters, query }: ControlRequest): Promise<HostChangeResult> {
  const name = parameters.name!;
  const key = parameters.network === undefined ? name : `${parameters.network}/${parseAddress(name) ?? name}`;
  const was = kind === 'instance' ? host.table.state.instances.get(key) : undefined;
  const kept = kind === 'network' || kind === 'instance' || kind === 'remote' ? originOf(host, kind, key) : undefined;
  if (kept === 'kernel') {
    throw new ControlError(
      409,
      `${kind} ${key} was laid out by another in this kernel`,
      'remove it there, or set adopt: false',
    );
  }
  const edit = { op: 'remove', kind, key } as const;
  const rehearsed = host.table.rehearse([edit]);
  if (!rehearsed.ok) refuse(rehearsed.faults[0]!.reason, rehearsed.faults[0]!.message, rehearsed.faults[0]!.remedy);
  return change(host, [was?.origin === 'cni' ? { edit } : { edit, file: edit }], query);
}

const TABLES = { network: 'networks', instance: 'instances', remote: 'remotes' } as const;

const originOf = (host: Host, kind: keyof typeof TABLES, key: string) =>
  host.table.state[TABLES[kind]].get(key)?.origin;

function setPolicy(host: Host, { query, body }: ControlRequest): Promise<HostChangeResult> {
  const read = readPolicy(body);
  if (!read.ok) throw new ControlError(422, read.message);
  const { head } = read;
  return change(host, [{ edit: { op: 'policy', ...head }, file: { op: 'policy', settings: head } }], query);
}

async function change(host: Host, edits: readonly HostEdit[], query: URLSearchParams): Promise<HostChangeResult> {
  const dryRun = query.get('dryRun') === '1';
  try {
    return { dryRun, ...(await host.edit(edits, { dryRun })) };
  } catch (error) {
    if (error instanceof ChangedMeanwhile)
      throw new ControlError(409, error.message, 'peerless config reload, then again');
    if (error instanceof EditRefused) refuse(error.reason, error.message, error.remedy);
    throw error;
  }
}

function refuse(reason: EditRefused['reason'], message: string, remedy?: string): never {
  const status = reason === 'missing' ? 404 : reason === 'exists' || reason === 'in-use' ? 409 : 422;
  throw new ControlError(status, message, remedy);
}

// ------------------------------------------------------------------ status, reload

function statusView(host: Host): StatusView {
  const { instances } = host.table.state;
  const status = hostStatus(host);
  return {
    role: 'host',
    version: VERSION,
    pid: process.pid,
    uptimeMs: Math.round(host.uptime),
    configFile: host.loaded.file,
    uplinks: [],
    groups: [],
    sessions: [],
    hosts: { total: instances.size, byState: {} },
    host: status,
    warnings: host.warnings(),
  };
}

/** What a SIGHUP does: a bad file changes nothing and says why. */
export const reload = (host: Host): Promise<ReloadResult> => host.lastReload.attempt(() => takeFile(host));

async function takeFile(host: Host): Promise<ReloadResult> {
  const loaded = loadConfig(host.loaded.file);
  if (!loaded.ok) {
    throw new ControlError(422, loaded.problems.map(formatProblem).join('\n'), 'correct the file; nothing was changed');
  }
  if (loaded.config.role !== 'host') throw new ControlError(422, 'the role can not change while the agent runs');
  const { changes, needsRestart } = host.reload({ ...loaded, config: loaded.config });
  await host.settled();
  return { changes, needsRestart };
}
