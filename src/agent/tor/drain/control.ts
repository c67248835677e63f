import { parseDuration } from '../../../config/index.ts';
import { sshConnection } from '../../../netlink/index.ts';
import type { DrainPlan, DrainRequest, DrainView, UndrainPlan } from '../../api.ts';
import { ControlError, type ControlServer } from '../../control/server.ts';
import type { TorSwitch } from '../switch.ts';
import type { DrainOrder } from './types.ts';

const DEFAULTS = { pause: '1s', timeout: '5s' };
const FIELDS: readonly (keyof DrainRequest)[] = ['ports', 'groups', 'pause', 'timeout', 'force'];

/** The drain on the control socket. An order is taken and answered at once; GET tells how it goes. */
export function serveDrain(server: ControlServer, agent: TorSwitch): void {
  server.on('GET', '/v1/drain', (): DrainView => agent.drain.view());
  server.on('POST', '/v1/drain', async ({ query, body }): Promise<DrainView | DrainPlan> => {
    const order = orderOf(body, agent, agent.drain.candidates());
    const session = sshConnection(query.get('login') ?? undefined);
    const logins = await agent.management.through(order.ports, session ? [session] : []);
    const risks = logins.map(({ port, peer }) => `somebody is logged in from ${peer} through ${port}`);
    if (query.get('dryRun') === '1') return agent.drain.plan(order, risks);
    if (risks.length > 0 && !order.force) {
      throw new ControlError(
        409,
        risks.join('; '),
        'Log in by another port, name the --port to be drained, or add --force.',
      );
    }
    const { ready, reason } = agent.fabric.readiness();
    if (!ready && !order.force) {
      throw new ControlError(
        409,
        `the fabric is not ready: ${reason}`,
        'what moves would not be seen; --force all the same',
      );
    }
    agent.drain.drain(order);
    return agent.drain.view();
  });
  server.on('POST', '/v1/drain/stop', (): DrainView => {
    agent.drain.halt();
    return agent.drain.view();
  });
  server.on('POST', '/v1/undrain', ({ query, body }): DrainView | UndrainPlan => {
    const order = orderOf(
      body,
      agent,
      agent.drain.view().ports.map(({ port }) => port),
    );
    if (query.get('dryRun') === '1') return agent.drain.planBack(order);
    const { ready, reason } = agent.fabric.readiness();
    if (!ready && !order.force && agent.drain.active) {
      throw new ControlError(
        409,
        `the fabric is not ready: ${reason}`,
        'servers would come back to no path; --force all the same',
      );
    }
    agent.drain.undrain(order);
    return agent.drain.view();
  });
}

function orderOf(body: unknown, agent: TorSwitch, all: readonly string[]): DrainOrder {
  const request = (body ?? {}) as DrainRequest;
  if (typeof request !== 'object' || Array.isArray(request)) throw new ControlError(400, 'the order must be an object');
  // A misspelt or empty list must not be taken for the whole switch.
  for (const field of Object.keys(request)) {
    if (!(FIELDS as readonly string[]).includes(field)) {
      throw new ControlError(400, `${field} is nothing that an order has`, `choose of: ${FIELDS.join(' ')}`);
    }
  }
  const { force = false } = request;
  if (typeof force !== 'boolean') throw new ControlError(400, 'force must be true or false');
  const named = [
    ...texts(request.ports, 'ports'),
    ...texts(request.groups, 'groups').flatMap((name) => downlinksOf(agent, name)),
  ];
  for (const port of named) {
    if (!all.includes(port)) {
      throw new ControlError(404, `${port} is no port that could be`, `choose of: ${all.join(' ') || 'none'}`);
    }
  }
  return {
    ports: named.length > 0 ? [...new Set(named)] : all,
    whole: named.length === 0,
    pause: duration(request.pause ?? DEFAULTS.pause, 'pause'),
    timeout: duration(request.timeout ?? DEFAULTS.timeout, 'timeout'),
    force,
  };
}

function texts(value: unknown, name: string): string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.some((each) => typeof each !== 'string')) {
    throw new ControlError(400, `${name} must be a list of names`);
  }
  if (value.length === 0) throw new ControlError(400, `${name} is empty`, `leave ${name} out if all are meant`);
  return value;
}

function downlinksOf(agent: TorSwitch, name: string): string[] {
  const group = agent.loaded.config.portLink.find((each) => each.name === name);
  if (!group) throw new ControlError(404, `there is no group ${name}`);
  if (group.downlinks.length === 0) throw new ControlError(400, `group ${name} has no downlinks`);
  return [...group.downlinks];
}

function duration(text: unknown, name: string): number {
  const parsed = typeof text === 'string' ? parseDuration(text) : undefined;
  if (parsed === undefined)
    throw new ControlError(400, `${name}: ${text} is no duration`, 'write it as 500ms, 1s or 2m');
  return parsed;
}
