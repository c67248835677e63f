/** What the container runtime asks for: environment and standard input of one call (CNI specification 1.0.0, "Execution Protocol"). Pure. */
import { z } from 'zod';
import { places } from '../config/places.ts';
import { type Address, type Mac, type Prefix, parseAddress, parseMac, parsePrefix } from '../model/address.ts';
import { CniError, CODE } from './errors.ts';
import { type ContainerRoute, type Dns, dnsShape, readDns, readRoutes } from './pass-on.ts';

export const SUPPORTED_VERSIONS = ['0.3.0', '0.3.1', '0.4.0', '1.0.0'] as const;

export type Command = 'ADD' | 'DEL' | 'CHECK' | 'VERSION';

export interface Attachment {
  readonly containerId: string;
  /** Path of the container's network namespace; absent when it is gone (DEL). */
  readonly netns?: string;
  /** The interface's name in the container. */
  readonly ifname: string;
  /** Where plugins are looked for. */
  readonly pluginPath: readonly string[];
  /** Asked for by the runtime (CNI_ARGS or runtimeConfig). */
  readonly wanted: { readonly address?: Address; readonly mac?: Mac };
}

export interface NetworkConfiguration {
  readonly cniVersion: string;
  readonly name: string;
  /** The overlay network's name; the CNI network's own when absent. */
  readonly network: string;
  readonly socket: string;
  readonly mtu?: number;
  readonly ipam: Ipam;
  readonly dns?: Dns;
  readonly previous?: PreviousResult;
  /** As it came, for a delegated plugin. */
  readonly text: string;
}

/** `delegated`: another plugin (host-local, static, ...) hands out the addresses. */
export type Ipam =
  | { readonly kind: 'delegated'; readonly type: string }
  | {
      readonly kind: 'own';
      readonly ranges: readonly Prefix[];
      readonly routes: readonly ContainerRoute[];
      readonly directory: string;
    };

export interface PreviousResult {
  readonly interfaces: readonly { readonly name: string; readonly mac?: string; readonly sandbox?: string }[];
  readonly ips: readonly { readonly address: string; readonly interface?: number }[];
  /** Of IPv4. What another plugin of the chain has put there and we can't read is left out. */
  readonly routes: readonly ContainerRoute[];
}

export type CniRequest =
  | { readonly command: 'VERSION'; readonly cniVersion: string }
  | {
      readonly command: 'ADD' | 'DEL' | 'CHECK';
      readonly attachment: Attachment;
      readonly configuration: NetworkConfiguration;
    };

const previousResult = z.object({
  interfaces: z
    .array(z.object({ name: z.string(), mac: z.string().optional(), sandbox: z.string().optional() }))
    .default([]),
  ips: z.array(z.object({ address: z.string(), interface: z.number().int().optional() })).default([]),
  routes: z.unknown().optional(),
});

const configurationShape = z.object({
  cniVersion: z.string(),
  name: z.string().min(1),
  network: z.string().min(1).optional(),
  socket: z
    .string()
    .min(1)
    .default(() => places().socket),
  mtu: z.number().int().min(68).max(65_535).optional(),
  ipam: z
    .object({
      type: z.string().regex(/^[A-Za-z0-9._-]+$/, 'is the name of a plugin'),
      ranges: z.array(z.unknown()).optional(),
      routes: z.unknown().optional(),
      directory: z.string().startsWith('/').default('/var/lib/peerless/cni'),
    })
    .loose(),
  runtimeConfig: z
    .object({ mac: z.string().optional(), ips: z.array(z.string()).optional() })
    .loose()
    .optional(),
  dns: z.unknown().optional(),
  prevResult: previousResult.optional(),
});

/** @throws CniError */
export function parseRequest(environment: Readonly<Record<string, string | undefined>>, input: string): CniRequest {
  const command = environment.CNI_COMMAND;
  if (command === 'VERSION') return { command, cniVersion: versionOf(input) };
  if (command !== 'ADD' && command !== 'DEL' && command !== 'CHECK') {
    throw new CniError(CODE.invalidEnvironment, `CNI_COMMAND is ${command ?? 'not set'}`, 'ADD, DEL, CHECK or VERSION');
  }
  const shape = parseConfiguration(input);
  // What only an ADD acts upon keeps no container from being taken down.
  const adds = command === 'ADD';
  if (adds && shape.dns !== undefined && !dnsShape.safeParse(shape.dns).success) {
    throw new CniError(CODE.invalidConfiguration, 'dns is wrong', JSON.stringify(shape.dns));
  }
  const dns = readDns(shape.dns);
  if (command === 'CHECK' && !shape.prevResult) {
    throw new CniError(CODE.invalidConfiguration, 'CHECK without prevResult');
  }
  return {
    command,
    attachment: parseAttachment(command, environment, shape.runtimeConfig ?? {}),
    configuration: {
      cniVersion: shape.cniVersion,
      name: shape.name,
      network: shape.network ?? shape.name,
      socket: shape.socket,
      ...(shape.mtu === undefined ? {} : { mtu: shape.mtu }),
      ipam: parseIpam(shape.ipam, adds),
      ...(dns ? { dns } : {}),
      ...(shape.prevResult ? { previous: previousOf(shape.prevResult) } : {}),
      text: input,
    },
  };
}

function previousOf({ interfaces, ips, routes }: z.output<typeof previousResult>): PreviousResult {
  const readable = (Array.isArray(routes) ? routes : []).flatMap((route) => {
    try {
      return readRoutes([route], CODE.decode);
    } catch {
      return [];
    }
  });
  return { interfaces, ips, routes: readable } as PreviousResult;
}

/** The version that the caller speaks, for an error's answer, whatever else is wrong. */
export function versionOf(input: string): string {
  try {
    const { cniVersion } = JSON.parse(input) as { cniVersion?: unknown };
    if (typeof cniVersion === 'string') return cniVersion;
  } catch {
    // Told by whoever reads the whole.
  }
  return '1.0.0';
}

function parseConfiguration(input: string): z.output<typeof configurationShape> {
  let value: unknown;
  try {
    value = JSON.parse(input);
  } catch (error) {
    throw new CniError(CODE.decode, 'the network configuration is not JSON', (error as Error).message);
  }
  const result = configurationShape.safeParse(value);
  if (!result.success) {
    const details = result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ');
    throw new CniError(CODE.invalidConfiguration, 'the network configuration is wrong', details);
  }
  const { cniVersion } = result.data;
  if (!(SUPPORTED_VERSIONS as readonly string[]).includes(cniVersion)) {
    throw new CniError(
      CODE.incompatibleVersion,
      `cniVersion ${cniVersion} is not supported`,
      `supported: ${SUPPORTED_VERSIONS.join(', ')}`,
    );
  }
  return result.data;
}

function parseIpam(ipam: z.output<typeof configurationShape>['ipam'], adds: boolean): Ipam {
  if (ipam.type !== 'peerless') return { kind: 'delegated', type: ipam.type };
  const ranges = (ipam.ranges ?? []).map((range) => {
    const prefix = typeof range === 'string' ? parsePrefix(range) : undefined;
    if (!prefix) throw new CniError(CODE.invalidConfiguration, `ipam.ranges: ${JSON.stringify(range)} is no prefix`);
    return prefix;
  });
  if (ranges.length === 0) {
    throw new CniError(CODE.invalidConfiguration, 'ipam.ranges is missing', 'e.g. ["10.200.1.0/24"]');
  }
  const routes = adds ? readRoutes(ipam.routes, CODE.invalidConfiguration) : [];
  return { kind: 'own', ranges, routes, directory: ipam.directory };
}

function parseAttachment(
  command: Command,
  environment: Readonly<Record<string, string | undefined>>,
  runtime: { readonly mac?: string | undefined; readonly ips?: readonly string[] | undefined },
): Attachment {
  const containerId = required(environment, 'CNI_CONTAINERID', /^[A-Za-z0-9][A-Za-z0-9_.-]*$/);
  const ifname = required(environment, 'CNI_IFNAME', /^[^\s/:]{1,15}$/);
  const netns = environment.CNI_NETNS || undefined;
  if (command !== 'DEL' && !netns) throw new CniError(CODE.invalidEnvironment, 'CNI_NETNS is not set');
  const parameters = parseArguments(environment.CNI_ARGS ?? '');
  const address = parameters.get('IP') ?? runtime.ips?.[0];
  const mac = parameters.get('MAC') ?? runtime.mac;
  return {
    containerId,
    ifname,
    ...(netns ? { netns } : {}),
    pluginPath: (environment.CNI_PATH ?? '').split(':').filter((folder) => folder !== ''),
    wanted: {
      ...(address ? { address: wantedAddress(address) } : {}),
      ...(mac ? { mac: wantedMac(mac) } : {}),
    },
  };
}

function required(environment: Readonly<Record<string, string | undefined>>, name: string, form: RegExp): string {
  const value = environment[name];
  if (!value) throw new CniError(CODE.invalidEnvironment, `${name} is not set`);
  if (!form.test(value) || value === '.' || value === '..') {
    throw new CniError(CODE.invalidEnvironment, `${name} is not valid: ${JSON.stringify(value)}`);
  }
  return value;
}

/** `K1=V1;K2=V2`; keys that are not ours are others' affair. */
function parseArguments(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const pair of text.split(';')) {
    const equals = pair.indexOf('=');
    if (equals > 0) found.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  return found;
}

function wantedAddress(text: string): Address {
  const address = parseAddress(text.split('/')[0]!);
  if (!address) throw new CniError(CODE.invalidEnvironment, `the wanted address is none: ${text}`);
  return address;
}

function wantedMac(text: string): Mac {
  const mac = parseMac(text);
  if (!mac) throw new CniError(CODE.invalidEnvironment, `the wanted MAC is none: ${text}`);
  return mac;
}
