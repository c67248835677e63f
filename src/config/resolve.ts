import { toAddress, toMac, toPrefix } from './checked.ts';
import { portsOf } from './port-list.ts';
import { resolveHost, resolveProcess } from './resolve-host.ts';
import { milliseconds, parseArea } from './scalars.ts';
import type { BgpSettings, GatewaySettings, GroupSettings, OspfSettings, Settings, TorSettings } from './schema.ts';
import type {
  BgpConfig,
  CommonConfig,
  Config,
  HostRoutesConfig,
  OspfAuthentication,
  OspfConfig,
  PortLinkGroup,
} from './types.ts';

/** Secrets by the path of their file. */
export type Secrets = ReadonlyMap<string, Uint8Array>;

/** Settings that passed all checks, in the shape of the domains. */
export function resolve(settings: Settings, secrets: Secrets): Config {
  switch (settings.role) {
    case 'tor':
      return resolveTor(settings, secrets);
    case 'gateway':
      return resolveGateway(settings, secrets);
    default:
      return resolveHost(settings);
  }
}

function resolveTor(settings: TorSettings, secrets: Secrets): Config {
  const { twin, hold, ...shadow } = settings.shadow;
  return {
    role: 'tor',
    ...resolveCommon(settings, secrets),
    hostRoutes: resolveHostRoutes(settings.hostRoutes),
    portLink: settings.portLink.map(resolveGroup),
    ports: settings.ports,
    ...(settings.name === undefined ? {} : { name: settings.name }),
    portFacts: settings.portFacts,
    shadow: { ...shadow, hold: milliseconds(hold), ...(twin === undefined ? {} : { twin: toAddress(twin) }) },
  };
}

function resolveGateway(settings: GatewaySettings, secrets: Secrets): Config {
  return {
    role: 'gateway',
    ...resolveCommon(settings, secrets),
    mode: settings.mode,
    defaultOriginate: settings.defaultOriginate,
    map: { history: milliseconds(settings.map.history), file: settings.map.file },
  };
}

function resolveCommon(settings: TorSettings | GatewaySettings, secrets: Secrets): CommonConfig {
  return {
    routerId: toAddress(settings.routerId),
    ...(settings.ospf ? { ospf: resolveOspf(settings.ospf, secrets) } : {}),
    ...(settings.bgp
      ? { bgp: resolveBgp(settings.bgp, secrets, settings.role === 'gateway' || settings.portFacts) }
      : {}),
    bfd: { interval: milliseconds(settings.bfd.interval), multiplier: settings.bfd.multiplier },
    kernel: settings.kernel,
    ...resolveProcess(settings),
  };
}

function resolveHostRoutes(settings: TorSettings['hostRoutes']): HostRoutesConfig {
  const { sources, probe, returning } = settings;
  return {
    returning: {
      mode: returning.mode,
      wait: milliseconds(returning.wait),
      bounceFrom: returning.bounceFrom === 'never' ? Number.POSITIVE_INFINITY : returning.bounceFrom,
    },
    policy: {
      prefixes: settings.prefixes.map(toPrefix),
      ports: portsOf(settings.ports),
      sources: {
        arp: sources.arp,
        neighbours: sources.neighbours,
        bgp: sources.bgp !== undefined,
        kernel: sources.kernel !== undefined,
        static: sources.static.map(({ address, port, mac }) => ({
          address: toAddress(address),
          port,
          ...(mac === undefined ? {} : { mac: toMac(mac) }),
        })),
      },
      probe: { interval: milliseconds(probe.interval), retries: probe.retries, timeout: milliseconds(probe.timeout) },
      limits: settings.limits,
      sweep: settings.sweep,
      activeActive:
        typeof settings.activeActive === 'boolean'
          ? settings.activeActive
          : {
              ports: portsOf(settings.activeActive.ports),
              prefixes: settings.activeActive.prefixes.map(toPrefix),
            },
      bindings: settings.bindings.map(({ address, ports, macs }) => ({
        address: toAddress(address),
        ...(ports === undefined ? {} : { ports: portsOf(ports) }),
        ...(macs === undefined ? {} : { macs: macs.map(toMac) }),
      })),
    },
    ...(sources.bgp ? { bgp: { ...sources.bgp, listenRange: toPrefix(sources.bgp.listenRange) } } : {}),
    ...(sources.kernel ? { kernel: sources.kernel } : {}),
  };
}

function resolveGroup(settings: GroupSettings): PortLinkGroup {
  return {
    ...settings,
    shut: resolveShut(settings.shut),
    uplinks: portsOf(settings.uplinks),
    downlinks: portsOf(settings.downlinks),
    priority: portsOf(settings.priority),
    nexthops: settings.nexthops.map(toAddress),
    deferDelay: milliseconds(settings.deferDelay),
    recoveryDelay: milliseconds(settings.recoveryDelay),
    startupDelay: milliseconds(settings.startupDelay),
  };
}

function resolveShut(shut: GroupSettings['shut']): PortLinkGroup['shut'] {
  if (shut === 'all') return shut;
  return typeof shut === 'number' ? { count: shut } : { percent: Number(shut.slice(0, -1)) };
}

function resolveOspf(settings: OspfSettings, secrets: Secrets): OspfConfig {
  return {
    interfaces: settings.interfaces.map(({ authentication, area, hello, dead, ...rest }) => ({
      ...rest,
      area: toAddress(parseArea(area) ?? ''),
      hello: milliseconds(hello),
      dead: milliseconds(dead),
      ...(authentication ? { authentication: resolveAuthentication(authentication, secrets) } : {}),
    })),
    announce: settings.announce,
    ...(settings.gracefulRestart.enabled
      ? { gracefulRestart: { gracePeriod: milliseconds(settings.gracefulRestart.gracePeriod) } }
      : {}),
  };
}

function resolveAuthentication(
  settings: NonNullable<OspfSettings['interfaces'][number]['authentication']>,
  secrets: Secrets,
): OspfAuthentication {
  const secret = secretOf(secrets, settings.secretFile);
  return settings.type === 'simple'
    ? { type: 'simple', password: Buffer.from(secret).toString('utf8') }
    : { type: settings.type, keyId: settings.keyId, secret };
}

function resolveBgp(settings: BgpSettings, secrets: Secrets, portFacts: boolean): BgpConfig {
  return {
    asn: settings.asn,
    neighbors: settings.neighbors.map(({ address, remoteAs, passwordFile, localAddress, timers, ...rest }) => ({
      ...rest,
      address: toAddress(address),
      remoteAs: remoteAs === 'internal' ? settings.asn : remoteAs,
      keepalive: milliseconds(timers.keepalive),
      hold: milliseconds(timers.hold),
      connectRetry: milliseconds(timers.connectRetry),
      portFacts,
      ...(passwordFile === undefined ? {} : { password: secretOf(secrets, passwordFile) }),
      ...(localAddress === undefined ? {} : { localAddress: toAddress(localAddress) }),
    })),
    announce: settings.announce,
    sharedAs: settings.sharedAs,
    ...(settings.gracefulRestart.enabled
      ? { gracefulRestart: { restartTime: milliseconds(settings.gracefulRestart.restartTime) } }
      : {}),
  };
}

function secretOf(secrets: Secrets, path: string): Uint8Array {
  const secret = secrets.get(path);
  if (!secret) throw new TypeError(`the secret of ${path} was not read`);
  return secret;
}
