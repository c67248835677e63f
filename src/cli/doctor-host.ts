import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import type { HostConfig } from '../config/index.ts';
import { overlapping } from '../model/overlaps.ts';
import type { Encapsulation } from '../model/overlay.ts';
import type { Diagnosis } from './diagnosis.ts';
import { type Box, sysctl } from './doctor-box.ts';

/**
 * What a host of VMs or containers needs of its kernel and its tools. What can only be known by trying is tried in a
 * network namespace that lives as long as the question.
 */
export async function hostBox(config: HostConfig, box: Box): Promise<Diagnosis[]> {
  return [
    ...underlay(config, box),
    ...devices(config),
    ...(await filtering(config)),
    ...foreignFilters(),
    ...fastPath(config),
    ...sizes(config, box),
    ...overlaps(config),
    ...rooms(config),
    ...strangers(config),
    ...(await backends(config)),
  ];
}

const fine = (check: string, message: string): Diagnosis => ({ check, verdict: 'fine', message });
const warning = (check: string, message: string, remedy: string): Diagnosis => ({
  check,
  verdict: 'warning',
  message,
  remedy,
});
const wrong = (check: string, message: string, remedy: string): Diagnosis => ({
  check,
  verdict: 'wrong',
  message,
  remedy,
});

/** Octets that a tunnel puts before an instance's IP packet. */
const OVERHEAD: Readonly<Record<Encapsulation, number>> = { vxlan: 50, geneve: 50, gre: 42, ipip: 20 };

function underlay({ underlay: { address, device } }: HostConfig, box: Box): Diagnosis[] {
  if (!box.ports.has(device)) return [];
  const there = (box.addresses.get(device) ?? []).map((own) => own.address);
  if (there.includes(address)) return [fine('underlay', `${address} is on ${device}`)];
  const elsewhere = [...box.addresses].find(([, list]) => list.some((own) => own.address === address))?.[0];
  return [
    elsewhere === undefined
      ? wrong(
          'underlay',
          `${address} is not on this host`,
          `ip address add ${address}/LENGTH dev ${device}, or correct underlay.address`,
        )
      : warning(
          'underlay',
          `${address} is on ${elsewhere}, not on ${device}`,
          `Write underlay.device: ${elsewhere}, unless tunnels really leave by ${device}.`,
        ),
  ];
}

// ------------------------------------------------------------------ what the kernel has

/** In a network namespace of its own: whether it worked, and what was said. */
function attempt(command: readonly string[]): { readonly ok: boolean; readonly said: string } {
  const { status, stderr, error } = spawnSync('unshare', ['-n', ...command], {
    encoding: 'utf8',
    timeout: 5000,
  });
  return { ok: status === 0, said: (error?.message ?? stderr ?? '').trim().split('\n')[0] ?? '' };
}

const MODULE: Readonly<Record<string, readonly string[]>> = {
  bridge: [],
  vxlan: ['id', '1', 'dstport', '4789', 'local', '127.0.0.1'],
  geneve: ['id', '1', 'remote', '127.0.0.1'],
  gre: ['local', '127.0.0.1', 'remote', '127.0.0.2', 'key', '1'],
  ipip: ['local', '127.0.0.1', 'remote', '127.0.0.2'],
};

function devices({ networks }: HostConfig): Diagnosis[] {
  const needed = new Set<string>(['bridge', ...networks.map(({ encapsulation }) => encapsulation)]);
  return [...needed].map((kind) => {
    const type = kind === 'gre' ? 'gretap' : kind;
    const { ok, said } = attempt(['ip', 'link', 'add', 'pltry0', 'type', type, ...(MODULE[kind] ?? [])]);
    if (ok) return fine('kernel', `has ${kind} devices`);
    const others = kind === 'bridge' ? '' : ', or choose another encapsulation';
    return wrong(
      'kernel',
      `has no ${kind} devices: ${said}`,
      `Load the module (modprobe ${kind === 'gre' ? 'ip_gre' : kind})${others}.`,
    );
  });
}

async function filtering({ services }: HostConfig): Promise<Diagnosis[]> {
  const { missingFeatures } = await import('../vswitch-bridge/slowpath/policy/index.ts');
  const missing = await missingFeatures();
  const found: Diagnosis[] = [
    missing.length === 0
      ? fine('policy', 'nftables with connection tracking, zones and translation')
      : wrong(
          'policy',
          `missing: ${missing.join(', ')}`,
          'apt-get install nftables, load the modules, or run a kernel that has them.',
        ),
  ];
  const bridged = attempt(['sh', '-c', 'test -e /proc/sys/net/bridge/bridge-nf-call-iptables']);
  found.push(
    bridged.ok
      ? fine('policy', 'br_netfilter: bridged packets are judged by connection')
      : wrong(
          'policy',
          'br_netfilter is missing: packets inside a network would pass unjudged',
          'modprobe br_netfilter, and echo br_netfilter > /etc/modules-load.d/peerless.conf',
        ),
  );
  if (services.some(({ balance }) => balance === 'least-loaded')) {
    found.push(fine('policy', 'least-loaded: by weights from counted connections; the kernel needs no IPVS for it'));
  }
  return found;
}

interface NftChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook?: string;
  readonly policy?: string;
}

/** What another's rules let through no further is lost, whatever ours say: chains at the same hook all have to accept. */
function foreignFilters(): Diagnosis[] {
  const listed = nft('-j', 'list', 'chains');
  if (listed === '') return [];
  const { nftables } = JSON.parse(listed) as { nftables: readonly { readonly chain?: NftChain }[] };
  return nftables
    .flatMap(({ chain }) => (chain ? [chain] : []))
    .filter(({ table, hook, policy }) => table !== 'peerless' && hook === 'forward' && policy === 'drop')
    .filter(({ family }) => family !== 'bridge')
    .filter(({ family, table, name }) => !letsUsPass(family, table, name))
    .map(({ family, table, name }) =>
      warning(
        'policy',
        `${name} in nft table ${family} ${table} drops what it does not know, packets inside a network included`,
        `nft insert rule ${family} ${table} ${name} iifname "plbr*" accept; nft insert rule ${family} ${table} ${name} oifname "plbr*" accept`,
      ),
    );
}

/** As its remedy puts it. */
function letsUsPass(...chain: [family: string, table: string, name: string]): boolean {
  const listed = nft('list', 'chain', ...chain);
  return ['iifname', 'oifname'].every((side) => new RegExp(`${side} "plbr\\*".* accept`).test(listed));
}

/** Empty when it refuses, or is not there. Whatever is first in the caller's PATH may be another `nft` (npm has one). */
function nft(...argv: string[]): string {
  const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };
  const { status, stdout } = spawnSync('nft', argv, { encoding: 'utf8', timeout: 5000, env });
  return status === 0 ? stdout : '';
}

/** The first kernel with tcx links. */
const TCX = [6, 6] as const;

function fastPath({ fastPath: { mode }, neighbours, encryption: { policy } }: HostConfig): Diagnosis[] {
  const why =
    mode === 'off' ? (neighbours.hold.enabled ? 'packets that wait for a neighbour' : undefined) : 'the fast path';
  if (why === undefined) return [];
  const found: Diagnosis[] = [];
  if (mode !== 'off' && policy !== 'off') {
    found.push(
      fine('fast path', 'between instances of this host: what leaves for others is encrypted, and takes the slow path'),
    );
  }
  const say = (ok: boolean, has: string, lacks: string, remedy: string) =>
    found.push(
      ok ? fine('eBPF', has) : warning('eBPF', `${lacks}: no ${why}; everything goes by the slow path`, remedy),
    );
  say(
    existsSync('/sys/kernel/btf/vmlinux'),
    'types of the kernel (BTF)',
    'the kernel has no BTF',
    'Run a kernel with CONFIG_DEBUG_INFO_BTF.',
  );
  const libraries = spawnSync('/sbin/ldconfig', ['-p'], { encoding: 'utf8' }).stdout ?? '';
  say(libraries.includes('libbpf.so.1'), 'libbpf.so.1', 'libbpf.so.1 is missing', 'apt-get install libbpf1');
  const mounted = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .some((line) => line.split(' ')[2] === 'bpf');
  say(
    mounted,
    'a file system for what outlives the agent (/sys/fs/bpf)',
    'no BPF file system is mounted',
    'mount -t bpf bpf /sys/fs/bpf',
  );
  const release = readFileSync('/proc/sys/kernel/osrelease', 'utf8').split(/[.-]/).map(Number);
  const hasTcx = release[0]! > TCX[0] || (release[0] === TCX[0] && release[1]! >= TCX[1]);
  const clsact = hasTcx || attempt(['sh', '-c', 'ip link add pltry0 type bridge && tc qdisc add dev pltry0 clsact']).ok;
  say(
    clsact,
    hasTcx ? 'programs are attached by tcx' : 'programs are attached by clsact',
    'neither tcx nor clsact',
    'modprobe sch_ingress, or run a kernel from 6.6 on.',
  );
  return found;
}

// ------------------------------------------------------------------ how the networks fit

function sizes({ underlay: { device }, networks, instances }: HostConfig, box: Box): Diagnosis[] {
  const mtu = box.ports.get(device)?.mtu;
  if (mtu === undefined) return [];
  const found: Diagnosis[] = [];
  for (const network of networks) {
    const room = mtu - OVERHEAD[network.encapsulation];
    const large = instances
      .filter((instance) => instance.network === network.name)
      .flatMap((instance) => {
        const own = box.ports.get(instance.interface)?.mtu;
        return own !== undefined && own > room ? [`${instance.interface} ${own}`] : [];
      });
    if (large.length === 0) continue;
    found.push(
      warning(
        'MTU',
        `${network.name} carries ${room} octets over ${device} (${mtu}), but its instances send more: ${large.slice(0, 5).join(', ')}`,
        `ip link set ${large[0]!.split(' ')[0]} mtu ${room} (and the other end), or raise the MTU of the underlay to ${mtu + OVERHEAD[network.encapsulation]}.`,
      ),
    );
  }
  return found.length > 0 ? found : [fine('MTU', `the underlay carries what the instances send (${device} ${mtu})`)];
}

/** More are of the same kind. */
const TOLD = 10;

function overlaps({ networks }: HostConfig): Diagnosis[] {
  const subnets = new Map(networks.map(({ name, subnet }) => [name, subnet]));
  return [...overlapping(networks)]
    .slice(0, TOLD)
    .map(([name, others]) =>
      warning(
        'networks',
        `${name} (${subnets.get(name)}) has addresses in common with ${others.slice(0, TOLD).join(', ')}: it is routed to no other network`,
        'Nothing, if they are strangers to each other; otherwise give them subnets of their own.',
      ),
    );
}

/** Entries of the kernel's tables beside what the overlay needs. */
function rooms({ remotes }: HostConfig): Diagnosis[] {
  const found: Diagnosis[] = [];
  const neighbours = sysctl('net.ipv4.neigh.default.gc_thresh3');
  const hosts = new Set(remotes.map(({ host }) => host)).size;
  if (neighbours !== undefined && neighbours < hosts * 2) {
    found.push(
      warning(
        'tables',
        `the kernel keeps at most ${neighbours} neighbours, there are ${hosts} other hosts`,
        `sysctl -w net.ipv4.neigh.default.gc_thresh3=${hosts * 4}`,
      ),
    );
  }
  const connections = sysctl('net.netfilter.nf_conntrack_max');
  if (connections !== undefined && connections < LEAST_CONNECTIONS) {
    found.push(
      warning(
        'tables',
        `the kernel tracks at most ${connections} connections`,
        `sysctl -w net.netfilter.nf_conntrack_max=${LEAST_CONNECTIONS}`,
      ),
    );
  }
  return found.length > 0 ? found : [fine('tables', 'room for neighbours and connections')];
}

const LEAST_CONNECTIONS = 65_536;

/** Programs beside us that the configuration names. */
function strangers({ neighbours: { ovs }, encryption: { keys } }: HostConfig): Diagnosis[] {
  const found: Diagnosis[] = [];
  if (ovs) {
    found.push(
      existsSync(ovs.socket)
        ? fine('Open vSwitch', `its database is at ${ovs.socket}`)
        : warning('Open vSwitch', `there is no ${ovs.socket}`, 'Start Open vSwitch, or correct neighbours.ovs.socket.'),
    );
  }
  if (keys && 'directory' in keys && !existsSync(keys.directory)) {
    found.push(
      wrong(
        'keys',
        `there is no ${keys.directory}`,
        `peerless keys init --directory ${keys.directory}, or copy the keys of the other hosts there.`,
      ),
    );
  }
  if (keys && 'etcd' in keys) {
    const { tls = {}, user } = keys;
    for (const path of [tls.ca, tls.cert, tls.key, user?.passwordFile]) {
      if (path === undefined || existsSync(path)) continue;
      found.push(
        wrong(
          'keys',
          `there is no ${path}`,
          'etcd is not reached without it: put it there, or correct encryption.keys.',
        ),
      );
    }
  }
  return found;
}

/** Who encrypts, and whether the other could. */
async function backends({ encryption: { policy, backend } }: HostConfig): Promise<Diagnosis[]> {
  if (policy === 'off') return [];
  const { xfrmLacks } = await import('../vswitch-bridge/encryption/xfrm/index.ts');
  let lacks: string | undefined;
  try {
    lacks = await xfrmLacks();
  } catch (error) {
    lacks = (error as Error).message;
  }
  if (backend !== 'xfrm') {
    const other = lacks ?? 'possible, if all hosts choose it (encryption.backend)';
    return [fine('encryption', `by the packet worker; xfrm: ${other}`)];
  }
  return [
    lacks === undefined
      ? fine('encryption', 'by the kernel (xfrm)')
      : wrong(
          'encryption',
          `backend xfrm: ${lacks}`,
          'Run a kernel that has it, or write backend: worker, here and on all other hosts.',
        ),
  ];
}
