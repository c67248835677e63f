import { hostPrefix, type Prefix, parseAddress } from '../model/address.ts';
import type {
  OverlayInstance,
  OverlayNetwork,
  OverlayOrigin,
  OverlayRemote,
  OverlayService,
  OverlaySnat,
  PolicyRule,
} from '../model/overlay.ts';
import { checked, toAddress, toMac, toPrefix } from './checked.ts';
import { milliseconds, parseListen } from './scalars.ts';
import { parseBackend, parsePortRange, parseProtocol, parseRate } from './scalars-host.ts';
import type {
  HostSettings,
  InstanceSettings,
  NetworkSettings,
  RemoteSettings,
  RuleSettings,
  ServiceSettings,
  SnatSettings,
} from './schema-host.ts';
import type { EncryptionConfig, FastPathConfig, HostConfig, ProcessConfig, TunnelNeighboursConfig } from './types.ts';

/** Settings of a host that passed all checks, in the shape of the domains. */
export function resolveHost(settings: HostSettings): HostConfig {
  return {
    role: 'host',
    ...resolveProcess(settings),
    underlay: { address: toAddress(settings.underlay.address), device: settings.underlay.device },
    networks: settings.networks.map(resolveNetwork),
    instances: settings.instances.map((instance) => resolveInstance(instance, 'configuration')),
    remotes: settings.remotes.map((remote) => resolveRemote(remote, 'configuration')),
    policy: { ...settings.policy, rules: settings.policy.rules.map(resolveRule) },
    services: settings.services.map(resolveService),
    snat: settings.snat.map(resolveSnat),
    adopt: settings.adopt,
    fastPath: resolveFastPath(settings.fastPath),
    neighbours: resolveNeighbours(settings.neighbours),
    encryption: resolveEncryption(settings.encryption),
  };
}

export function resolveProcess({ control, stateDirectory }: Pick<HostSettings, keyof ProcessConfig>): ProcessConfig {
  return {
    control: {
      socket: control.socket,
      metrics: control.metrics === null ? null : (parseListen(control.metrics) ?? null),
    },
    stateDirectory,
  };
}

export function resolveNetwork({ subnet, gateway, ...rest }: NetworkSettings): OverlayNetwork {
  return { ...rest, subnet: toPrefix(subnet), ...(gateway === undefined ? {} : { gateway: toAddress(gateway) }) };
}

export function resolveInstance({ address, mac, ...rest }: InstanceSettings, origin: OverlayOrigin): OverlayInstance {
  return { ...rest, address: toAddress(address), ...(mac === undefined ? {} : { mac: toMac(mac) }), origin };
}

export function resolveRemote({ host, network, addresses }: RemoteSettings, origin: OverlayOrigin): OverlayRemote {
  return { host: toAddress(host), network, addresses: addresses.map(toPrefix), origin };
}

export function resolveRule(settings: RuleSettings): PolicyRule {
  const { network, from, to, protocol, ports, sourcePorts, tcpFlags, action, rate, ...rest } = settings;
  return {
    ...rest,
    from: toEnd(from),
    to: toEnd(to),
    protocol: checked(parseProtocol(protocol), String(protocol)),
    ports: ports.map((range) => checked(parsePortRange(range), String(range))),
    sourcePorts: sourcePorts.map((range) => checked(parsePortRange(range), String(range))),
    ...(network === undefined ? {} : { network }),
    ...(tcpFlags === undefined ? {} : { tcpFlags: { set: tcpFlags.set, of: tcpFlags.of ?? tcpFlags.set } }),
    ...(action === undefined ? {} : { action }),
    ...(rate === undefined ? {} : { rate: checked(parseRate(rate), rate) }),
  };
}

function toEnd(text: string): Prefix | 'any' {
  if (text === 'any') return text;
  const address = parseAddress(text);
  return address ? hostPrefix(address) : toPrefix(text);
}

export function resolveService({ address, backends, healthCheck, ...rest }: ServiceSettings): OverlayService {
  return {
    ...rest,
    address: toAddress(address),
    backends: backends.map((text) => checked(parseBackend(text), text)),
    ...(healthCheck === undefined
      ? {}
      : {
          healthCheck: {
            interval: milliseconds(healthCheck.interval),
            timeout: milliseconds(healthCheck.timeout),
            retries: healthCheck.retries,
          },
        }),
  };
}

export function resolveSnat({ network, to, address }: SnatSettings): OverlaySnat {
  return { network, to: toPrefix(to), address: toAddress(address) };
}

function resolveFastPath({ lifetime, checkInterval, timeouts, ...rest }: HostSettings['fastPath']): FastPathConfig {
  return {
    ...rest,
    lifetime: { send: milliseconds(lifetime.send), receive: milliseconds(lifetime.receive) },
    checkInterval: milliseconds(checkInterval),
    timeouts: {
      opening: milliseconds(timeouts.opening),
      established: milliseconds(timeouts.established),
      closing: milliseconds(timeouts.closing),
    },
  };
}

function resolveNeighbours({ proactive, poll, hold, ovs }: HostSettings['neighbours']): TunnelNeighboursConfig {
  return {
    proactive,
    poll: milliseconds(poll),
    hold: { ...hold, lifetime: milliseconds(hold.lifetime) },
    ...(ovs === undefined ? {} : { ovs }),
  };
}

function resolveEncryption({ policy, keys, notifyIdle, ...rest }: HostSettings['encryption']): EncryptionConfig {
  const { directory, etcd, prefix, tls, user } = keys;
  const place =
    directory !== undefined
      ? { directory }
      : etcd && {
          etcd,
          ...(prefix === undefined ? {} : { prefix }),
          ...(tls === undefined ? {} : { tls: given(tls) }),
          ...(user === undefined ? {} : { user }),
        };
  return {
    ...rest,
    policy: policy ?? (place ? 'overlap' : 'off'),
    notifyIdle: milliseconds(notifyIdle),
    ...(place ? { keys: place } : {}),
  };
}

/** Keys that are there are never undefined. */
const given = <T extends object>(settings: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
