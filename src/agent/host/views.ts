import { formatRate, protocolName } from '../../config/index.ts';
import { type Prefix, prefixAddress } from '../../model/address.ts';
import { overlapping } from '../../model/overlaps.ts';
import { bySpecificity, type PolicyRule, type PortRange } from '../../model/overlay.ts';
import type {
  HostStatusView,
  InstanceView,
  NetworkView,
  PartView,
  PolicyView,
  RuleView,
  ServiceView,
} from '../host-api.ts';
import type { Host } from './host.ts';
import { PART_NAMES, PART_TITLES, type PartName } from './part.ts';

/** Octets that a tunnel puts before an instance's IP packet. */
const OVERHEAD = { vxlan: 50, geneve: 50, gre: 42, ipip: 20 } as const;
const USUAL_MTU = 1500;

export function networkViews(host: Host): NetworkView[] {
  const { state } = host.table;
  const mtu = host.kernel.port(state.underlay.device)?.mtu ?? USUAL_MTU;
  const instances = countsOf(state.instances.values());
  const remotes = countsOf(state.remotes.values());
  const common = overlapping(state.networks.values());
  const known = new Map(host.parts.flatMap(({ part }) => [...(part.networks?.() ?? [])]));
  return [...state.networks.values()].map((network) => ({
    ...network,
    mtu: known.get(network.name)?.mtu ?? mtu - OVERHEAD[network.encapsulation],
    instances: instances.get(network.name) ?? 0,
    remotes: remotes.get(network.name) ?? 0,
    overlaps: common.get(network.name) ?? [],
  }));
}

function countsOf(items: Iterable<{ readonly network: string }>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { network } of items) counts.set(network, (counts.get(network) ?? 0) + 1);
  return counts;
}

export function instanceViews(host: Host): InstanceView[] {
  const known = new Map(host.parts.flatMap(({ part }) => [...(part.instances?.() ?? [])]));
  return [...host.table.state.instances.values()].map((instance) => ({
    ...instance,
    state: known.get(instance.name) ?? portState(host, instance.interface),
  }));
}

function portState(host: Host, name: string): 'up' | 'down' | 'absent' {
  const port = host.kernel.port(name);
  return port === undefined ? 'absent' : port.carrier ? 'up' : 'down';
}

export function serviceViews(host: Host): ServiceView[] {
  const known = new Map(host.parts.flatMap(({ part }) => [...(part.backends?.() ?? [])]));
  return [...host.table.state.services.values()].map(({ healthCheck: _, ...service }) => ({
    ...service,
    backends: known.get(`${service.network}/${service.name}`) ?? service.backends,
  }));
}

export function policyView(host: Host): PolicyView {
  const { policy } = host.table.state;
  return { default: policy.default, initiate: policy.initiate, rules: ruleViews(host) };
}

/** Most specific first: as they are judged. */
export function ruleViews(host: Host): RuleView[] {
  const counted = new Map<string, { packets: number; bytes: number }>();
  for (const { part } of host.parts) {
    for (const [name, { packets, bytes }] of part.ruleCounters?.() ?? []) {
      const sum = counted.get(name) ?? { packets: 0, bytes: 0 };
      counted.set(name, { packets: sum.packets + packets, bytes: sum.bytes + bytes });
    }
  }
  return bySpecificity(host.table.state.policy.rules).map((rule) => ({ ...ruleView(rule), ...counted.get(rule.name) }));
}

function ruleView({ from, to, protocol, ports, sourcePorts, rate, ...rest }: PolicyRule): RuleView {
  return {
    ...rest,
    from: endText(from),
    to: endText(to),
    protocol: protocolName(protocol),
    ports: ports.map(rangeText),
    sourcePorts: sourcePorts.map(rangeText),
    ...(rate === undefined ? {} : { rate: formatRate(rate) }),
  };
}

const endText = (end: Prefix | 'any'): string => (end.endsWith('/32') ? prefixAddress(end as Prefix) : end);
const rangeText = ({ first, last }: PortRange): string => (first === last ? String(first) : `${first}-${last}`);

export function hostStatus(host: Host): HostStatusView {
  const { state } = host.table;
  const { config } = host.started;
  const port = host.kernel.port(state.underlay.device);
  const instances = instanceViews(host);
  return {
    underlay: {
      ...state.underlay,
      state: portState(host, state.underlay.device),
      ...(port === undefined ? {} : { mtu: port.mtu }),
    },
    networks: state.networks.size,
    instances: { total: instances.length, up: instances.filter(({ state }) => state === 'up').length },
    remotes: state.remotes.size,
    services: state.services.size,
    rules: state.policy.rules.length,
    policy: { default: state.policy.default, initiate: state.policy.initiate },
    fastPath: config.fastPath.mode,
    encryption: config.encryption.policy,
    parts: PART_NAMES.map((name) => partView(host, name)),
  };
}

function partView(host: Host, name: PartName): PartView {
  const title = PART_TITLES[name];
  const running = host.parts.find((part) => part.name === name);
  if (!running) return { name: title, state: 'absent', reason: host.missing.get(name) ?? 'not asked for' };
  const { refusal } = running.follower;
  const [problem] = running.part.problems?.() ?? [];
  const detail = running.part.detail?.();
  return {
    name: title,
    ...(refusal
      ? { state: 'behind', since: host.wall.iso(refusal.since), reason: refusal.message }
      : problem !== undefined
        ? { state: 'behind', reason: problem }
        : { state: 'following', reason: 'as the table says' }),
    ...(detail ? { detail } : {}),
  };
}
