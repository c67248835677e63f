import { readFileSync } from 'node:fs';
import type { StatusView } from '../agent/api.ts';
import type { Config, Loaded, TorConfig } from '../config/index.ts';
import { speakerConfig } from '../config/roles.ts';
import { AgentClient } from './client.ts';
import type { Diagnosis } from './diagnosis.ts';
import { keptAddresses } from './doctor-addresses.ts';
import { type Box, readBox, sysctl } from './doctor-box.ts';
import { gatewayBox, listensForBgp } from './doctor-gateway.ts';
import { hostBox } from './doctor-host.ts';
import { lldpAccess } from './doctor-lldp.ts';
import { repairPath } from './doctor-repair.ts';
import { sonicBox } from './doctor-sonic.ts';
import { CommandFailure } from './errors.ts';
import { vrfsOf } from './interfaces.ts';
import { agentCapabilities, ownCapabilities } from './privileges.ts';

/**
 * What can keep a switch from failing over, or a host from carrying its networks, though every part works: checked
 * without an agent, against the configuration and the kernel of this network namespace.
 */
export interface DoctorOptions {
  readonly configFile: string;
  /** undefined: the one of the configuration. */
  readonly socket: string | undefined;
}

export async function diagnose(options: DoctorOptions): Promise<Diagnosis[]> {
  const { formatProblem, loadConfig, missingPorts, vrfProblems } = await import('../config/index.ts');
  const loaded = loadConfig(options.configFile);
  const config = loaded.ok ? loaded.config : undefined;
  const tor = config?.role === 'tor' ? config : undefined;
  const found: Diagnosis[] = [...ownCapabilities(), ...(await sockets(loaded.ok ? loaded : undefined))];
  if (loaded.ok) found.push(fine('configuration', `${options.configFile} is fine`));
  else found.push(...loaded.problems.map((problem) => wrong('configuration', formatProblem(problem), undefined)));
  const box = await readBox();
  if ('message' in box) found.push(box);
  if (loaded.ok && !('message' in box)) {
    const missing = missingPorts(loaded, new Set(box.ports.keys()));
    found.push(
      ...(missing.length > 0
        ? missing.map((problem) => wrong('ports', `${problem.path}: ${problem.message}`, problem.remedy))
        : [fine('ports', 'every port of the configuration exists')]),
      ...vrfProblems(loaded, vrfsOf(box.ports.values())).map(({ path, message, remedy }) =>
        wrong('shadow', `${path}: ${message}`, remedy),
      ),
    );
    if (tor)
      found.push(
        ...forwarding(tor),
        ...serverPorts(tor, box),
        ...neighbourTable(tor),
        ...keptAddresses(tor, box),
        ...repairPath(tor, box),
        ...(await sonicBox(tor)),
      );
    if (config?.role === 'gateway') found.push(...gatewayBox(config, box));
    if (config?.role === 'host') found.push(...(await hostBox(config, box)));
    else found.push(...addresses(loaded, box));
  }
  const socket = options.socket ?? config?.control.socket;
  if (socket !== undefined) found.push(...(await agent(socket, config)));
  return found;
}

const fine = (check: string, message: string): Diagnosis => ({ check, verdict: 'fine', message });
const warning = (check: string, message: string, remedy: string): Diagnosis => ({
  check,
  verdict: 'warning',
  message,
  remedy,
});
const wrong = (check: string, message: string, remedy: string | undefined): Diagnosis => ({
  check,
  verdict: 'wrong',
  message,
  ...(remedy === undefined ? {} : { remedy }),
});

/** Lines of one check, or a single line that all is well. */
const orFine = (findings: Diagnosis[], check: string, message: string): Diagnosis[] =>
  findings.length > 0 ? findings : [fine(check, message)];

// ------------------------------------------------------------------ sockets

/** Each kind of socket that the agent will open is opened here. */
async function sockets(loaded: Loaded | undefined): Promise<Diagnosis[]> {
  let api: typeof import('linux-sockets');
  try {
    api = await import('linux-sockets');
  } catch (error) {
    return [
      wrong('system calls', `the native part can't be loaded: ${(error as Error).message}`, 'Build it: ./run build.'),
    ];
  }
  const { AF, ETH_P, IPPROTO, LinuxSocket, NETLINK, SOCK, TCP, tcpMd5Key } = api;
  const found: Diagnosis[] = [];
  const probe = (what: string, remedy: string, run: () => void) => {
    try {
      run();
      found.push(fine('sockets', what));
    } catch (error) {
      found.push(wrong('sockets', `${what}: ${(error as Error).message}`, remedy));
    }
  };
  const open = (family: number, type: number, protocol: number) => LinuxSocket.open({ family, type, protocol }).close();
  probe('rtnetlink', 'The kernel needs CONFIG_NET; a container may forbid netlink.', () =>
    open(AF.NETLINK, SOCK.RAW, NETLINK.ROUTE),
  );
  probe('packet sockets (ARP, ND)', 'Load af_packet (CONFIG_PACKET), and have CAP_NET_RAW.', () =>
    open(AF.PACKET, SOCK.RAW, ((ETH_P.ARP & 0xff) << 8) | (ETH_P.ARP >> 8)),
  );
  const speaks = speakerConfig(loaded?.config);
  if (speaks?.ospf) {
    probe('raw IP (OSPF)', 'Have CAP_NET_RAW.', () => open(AF.INET, SOCK.RAW, IPPROTO.OSPF));
  }
  if (speaks?.bgp?.neighbors.some((neighbor) => neighbor.password)) {
    probe('TCP MD5 signatures', 'The kernel needs CONFIG_TCP_MD5SIG.', () => {
      const socket = LinuxSocket.open({ family: AF.INET, type: SOCK.STREAM, protocol: 0 });
      try {
        socket.setOption(IPPROTO.TCP, TCP.MD5SIG, tcpMd5Key('192.0.2.1', Buffer.from('probe')));
      } finally {
        socket.close();
      }
    });
  }
  return found;
}

// ------------------------------------------------------------------ the kernel's settings

function forwarding(config: TorConfig): Diagnosis[] {
  const families = new Set(config.hostRoutes.policy.prefixes.map((prefix) => (prefix.includes(':') ? 6 : 4)));
  const found: Diagnosis[] = [];
  for (const [family, name] of [
    [4, 'net.ipv4.ip_forward'],
    [6, 'net.ipv6.conf.all.forwarding'],
  ] as const) {
    if (!families.has(family)) continue;
    found.push(
      sysctl(name) === 0
        ? wrong('forwarding', `${name} is 0: nothing is forwarded`, `sysctl -w ${name}=1`)
        : fine('forwarding', `${name} is on`),
    );
  }
  return found;
}

/** The interface that has the gateway address of a port: the port, or the bridge it is in. */
function routedBy(port: string, box: Box): string {
  const link = box.ports.get(port);
  const master = link && [...box.ports.values()].find((candidate) => candidate.ifindex === link.master);
  return master?.kind === 'bridge' ? master.name : port;
}

function serverPorts(config: TorConfig, box: Box): Diagnosis[] {
  const { policy } = config.hostRoutes;
  const interfaces = new Set(policy.ports.filter((port) => box.ports.has(port)).map((port) => routedBy(port, box)));
  const found: Diagnosis[] = [];
  for (const name of interfaces) {
    const inside = (box.addresses.get(name) ?? []).filter(({ address }) =>
      policy.prefixes.some((prefix) => box.contains(prefix, address)),
    );
    if (inside.length === 0) {
      found.push(
        wrong(
          'gateway address',
          `${name} has no address inside ${policy.prefixes.join(', ')}: its servers have no gateway`,
          `ip address add GATEWAY/${policy.prefixes[0]?.includes(':') ? 128 : 32} dev ${name} (the same on both switches)`,
        ),
      );
    }
    for (const { address, prefixLength } of inside) {
      const host = address.includes(':') ? 128 : 32;
      if (prefixLength < host) {
        found.push(
          warning(
            'gateway address',
            `${name} has ${address}/${prefixLength}: the whole subnet is a connected route there`,
            `Give it as ${address}/${host}, so that an address that isn't here isn't looked for here.`,
          ),
        );
      }
    }
    if (policy.prefixes.some((prefix) => !prefix.includes(':'))) found.push(...serverSysctls(name, config));
  }
  return orFine(found, 'server ports', `gateway addresses and settings of ${[...interfaces].join(', ') || 'no port'}`);
}

function serverSysctls(name: string, config: TorConfig): Diagnosis[] {
  const found: Diagnosis[] = [];
  const of = (key: string, port = name) => sysctl(`net.ipv4.conf.${port}.${key}`) ?? 0;
  const set = (key: string, value: number) => `sysctl -w net.ipv4.conf.${name}.${key}=${value}`;
  // The kernel takes the greater of `all` and the interface's own (inet_dev RP filter), or either for the others.
  if (Math.max(of('rp_filter', 'all'), of('rp_filter')) !== 0) {
    found.push(
      warning(
        'rp_filter',
        `${name} checks the way back (rp_filter): the ARP of a server that has just moved here is dropped until its route is there`,
        `sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.${name}.rp_filter=0`,
      ),
    );
  }
  if (of('proxy_arp') === 0 && of('proxy_arp', 'all') === 0) {
    found.push(
      warning(
        'proxy_arp',
        `${name} does not answer for servers behind other ports and the other switch (proxy_arp)`,
        `Unless servers send everything to the gateway: ${set('proxy_arp', 1)} net.ipv4.neigh.${name}.proxy_delay=0`,
      ),
    );
  }
  if (Math.max(of('arp_ignore', 'all'), of('arp_ignore')) >= 8) {
    found.push(wrong('arp_ignore', `${name} answers no ARP at all (arp_ignore)`, set('arp_ignore', 0)));
  }
  if (of('arp_filter') !== 0 || of('arp_filter', 'all') !== 0) {
    found.push(
      warning(
        'arp_filter',
        `${name} answers ARP only once it has a route back (arp_filter): a server that moves here waits for it`,
        `sysctl -w net.ipv4.conf.all.arp_filter=0 net.ipv4.conf.${name}.arp_filter=0`,
      ),
    );
  }
  if (!config.hostRoutes.policy.sources.arp && of('arp_accept') === 0 && of('arp_accept', 'all') === 0) {
    found.push(
      warning(
        'arp_accept',
        `sources.arp is off and ${name} takes no gratuitous ARP into its table (arp_accept): a silent server isn't found`,
        `${set('arp_accept', 1)}, or switch hostRoutes.sources.arp on`,
      ),
    );
  }
  if (of('send_redirects') !== 0 || of('send_redirects', 'all') !== 0) {
    found.push(
      warning(
        'send_redirects',
        `${name} may send ICMP redirects, which servers remember past a failover`,
        `sysctl -w net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.${name}.send_redirects=0`,
      ),
    );
  }
  return found;
}

function neighbourTable(config: TorConfig): Diagnosis[] {
  const { policy } = config.hostRoutes;
  return [4, 6].flatMap((family) => {
    const name = `net.ipv${family}.neigh.default.gc_thresh3`;
    // The kernel has one limit for all namespaces, and shows it in the first alone.
    const most = sysctl(name);
    if (most === undefined || !policy.prefixes.some((prefix) => prefix.includes(':') === (family === 6))) return [];
    return most < policy.limits.total
      ? [
          warning(
            'neighbour table',
            `the kernel keeps at most ${most} neighbours (${name}), hostRoutes.limits.total is ${policy.limits.total}`,
            `sysctl -w ${name}=${policy.limits.total * 2}, or lower limits.total to what this switch has`,
          ),
        ]
      : [fine('neighbour table', `${name} is ${most}`)];
  });
}

function addresses(loaded: Loaded, box: Box): Diagnosis[] {
  const config = speakerConfig(loaded.config);
  if (!config) return [];
  const found: Diagnosis[] = [];
  for (const { name } of config.ospf?.interfaces ?? []) {
    if (!box.ports.has(name)) continue;
    if (!(box.addresses.get(name) ?? []).some(({ address }) => !address.includes(':'))) {
      found.push(
        wrong('addresses', `${name} speaks OSPF but has no IPv4 address`, `ip address add ADDRESS/LENGTH dev ${name}`),
      );
    }
  }
  const own = new Set([...box.addresses.values()].flat().map(({ address }) => address));
  for (const { address, localAddress } of config.bgp?.neighbors ?? []) {
    if (localAddress !== undefined && !own.has(localAddress)) {
      found.push(
        wrong(
          'addresses',
          `localAddress ${localAddress} of BGP neighbour ${address} is not on this switch`,
          'Correct it.',
        ),
      );
    }
    if (own.has(address)) {
      found.push(wrong('addresses', `BGP neighbour ${address} is an address of this switch itself`, 'Correct it.'));
    }
  }
  return orFine(found, 'addresses', 'of OSPF interfaces and BGP neighbours');
}

// ------------------------------------------------------------------ the agent

async function agent(socket: string, config: Config | undefined): Promise<Diagnosis[]> {
  try {
    const status = await new AgentClient(socket).get<StatusView>('/v1/status');
    const found = [fine('agent', `version ${status.version} answers on ${socket}, pid ${status.pid}`)];
    found.push(...agentCapabilities(status.pid, status.role));
    const { lldp } = config?.role === 'tor' ? config.ports : { lldp: null };
    if (lldp !== null) found.push(...lldpAccess(status.pid, lldp));
    return [...found, ...status.warnings.map((text) => warning('agent', text, 'See peerless status.'))];
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    const found = [warning('agent', error.message, error.remedy ?? 'Look at its log.')];
    if (config && speakerConfig(config)?.bgp && listensForBgp(config) && listensOn(179)) {
      found.push(
        wrong(
          'BGP port',
          'TCP port 179 is taken by another program',
          'Stop the other BGP speaker (ss -lptn sport = :179 names it), or give up bgp here and set kernel.handoffTable.',
        ),
      );
    }
    return found;
  }
}

/** Somebody in this network namespace listens on the port: /proc/net/tcp, state 0A. */
function listensOn(port: number): boolean {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return ['tcp', 'tcp6'].some((table) => {
    try {
      return readFileSync(`/proc/thread-self/net/${table}`, 'utf8')
        .split('\n')
        .some((line) => {
          const fields = line.trim().split(/\s+/);
          return fields[3] === '0A' && fields[1]?.endsWith(wanted) === true;
        });
    } catch {
      // No IPv6 in this kernel: nobody listens there.
      return false;
    }
  });
}
