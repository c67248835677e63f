import type { DrainView, FailoverView, RepairView, StatusView, UplinkView } from '../agent/api.ts';
import type { HostStatusView } from '../agent/host-api.ts';
import { age, clockTime, microseconds, neighbourText, since, upDown } from './format.ts';
import { hostStatusText } from './host-text.ts';
import { pairs, table } from './table.ts';

/** The status as a page of text. */
export function statusText(status: StatusView, width?: number): string {
  if (status.host) return hostPage(status, status.host, width);
  const parts = [
    pairs(
      [
        ['role', status.role],
        ['router id', status.routerId],
        ['version', status.version],
        ['running', `${age(status.uptimeMs)}, pid ${status.pid}, ${status.configFile}`],
        ['hosts', hostsLine(status)],
        ['last failover', status.lastFailover ? failoverLine(status.lastFailover) : 'none'],
        ...(status.drain ? [['drain', drainLine(status.drain)] as const] : []),
        ...(status.repair ? [['repair', repairLine(status.repair)] as const] : []),
      ],
      width,
    ),
  ];
  if (status.warnings.length > 0) parts.push(status.warnings.map((warning) => `WARNING: ${warning}`).join('\n'));
  if (status.uplinks.length > 0) {
    parts.push(
      table(
        [
          { header: 'UPLINK', value: (uplink) => uplink.port },
          { header: 'STATE', value: (uplink) => upDown(uplink.up) },
          ...(status.uplinks.some(({ lldp }) => lldp)
            ? [{ header: 'NEIGHBOUR', value: (uplink: UplinkView) => neighbourText(uplink.lldp) }]
            : []),
          { header: 'WHY', value: (uplink) => uplink.reason },
        ],
        status.uplinks,
        width,
      ),
    );
  }
  if (status.groups.length > 0) {
    parts.push(
      table(
        [
          { header: 'GROUP', value: (group) => group.name },
          { header: 'STATE', value: (group) => group.state + (group.dryRun ? ' (dry run)' : '') },
          { header: 'SINCE', value: (group) => since(group.since) },
          { header: 'WHY', value: (group) => group.reason },
        ],
        status.groups,
        width,
      ),
    );
  }
  if (status.sessions.length > 0) {
    parts.push(
      table(
        [
          { header: 'SESSION', value: (session) => session.protocol },
          { header: 'PEER', value: (session) => session.peer },
          { header: 'INTERFACE', value: (session) => session.interface },
          { header: 'STATE', value: (session) => session.state + (session.up ? '' : ' !') },
          { header: 'SINCE', value: (session) => since(session.since) },
        ],
        status.sessions,
        width,
      ),
    );
  }
  return parts.join('\n\n');
}

function hostPage(status: StatusView, host: HostStatusView, width?: number): string {
  const head = pairs(
    [
      ['role', status.role],
      ['version', status.version],
      ['running', `${age(status.uptimeMs)}, pid ${status.pid}, ${status.configFile}`],
    ],
    width,
  );
  const warnings = status.warnings.map((warning) => `WARNING: ${warning}`).join('\n');
  return [head, ...(warnings === '' ? [] : [warnings]), hostStatusText(host, width)].join('\n\n');
}

function drainLine({ phase, since: at, reason, ports }: DrainView): string {
  const shut = ports.filter(({ state }) => state === 'shut').length;
  return `${phase}${at === undefined ? '' : ` for ${since(at)}`}, ${shut} of ${ports.length} ports shut: ${reason}`;
}

function repairLine({ ready, inUse, via }: RepairView): string {
  const through = via.length === 0 ? 'nobody stands by for our hosts' : `ready for ${ready} via ${via.join(', ')}`;
  return inUse === 0 ? through : `${through}; in use for ${inUse}`;
}

function hostsLine(status: StatusView): string {
  const states = Object.entries(status.hosts.byState)
    .filter(([, count]) => count > 0)
    .map(([state, count]) => `${count} ${state}`);
  return states.length === 0 ? String(status.hosts.total) : `${status.hosts.total} (${states.join(', ')})`;
}

function failoverLine(failover: FailoverView): string {
  const last = failover.steps.at(-1);
  return `#${failover.id} ${clockTime(failover.time)} ${failover.cause}, ${hostCount(failover)}${last ? `, ${last.name} after ${microseconds(last.us)} µs` : ''}`;
}

const hostCount = ({ hosts }: FailoverView): string => `${hosts} host${hosts === 1 ? '' : 's'}`;

/** One failover, a line a step, microseconds after the kernel's message. */
export function failoverTimeline(failover: FailoverView, width?: number): string {
  const title = `#${failover.id}  ${clockTime(failover.time)}  ${failover.cause}${failover.port === undefined ? '' : ` (${failover.port})`}, ${hostCount(failover)}`;
  const steps = table(
    [
      { header: 'µs', value: (step) => microseconds(step.us), align: 'right' },
      { header: '+µs', value: (step) => microseconds(step.delta), align: 'right' },
      { header: 'STEP', value: (step) => step.name },
    ],
    failover.steps.map((step, index) => ({ ...step, delta: step.us - (failover.steps[index - 1]?.us ?? 0) })),
    width,
  );
  return `${title}\n${steps.replace(/^/gm, '  ')}`;
}
