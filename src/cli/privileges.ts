import { readFileSync } from 'node:fs';
import type { Role } from '../agent/api.ts';
import type { Diagnosis } from './diagnosis.ts';

/** What processes may do: their own, before an agent is started, and that of the agent that runs. */

interface Capability {
  readonly name: string;
  /** capabilities(7) */
  readonly bit: bigint;
  readonly what: string;
}

const EVERY_ROLE: readonly Capability[] = [
  { name: 'CAP_NET_ADMIN', bit: 12n, what: 'ports and routes' },
  { name: 'CAP_NET_RAW', bit: 13n, what: 'ARP, ND and OSPF packets' },
  { name: 'CAP_NET_BIND_SERVICE', bit: 10n, what: 'the BGP port' },
];
const HOST: readonly Capability[] = [
  { name: 'CAP_BPF', bit: 39n, what: 'the programs of the fast path' },
  { name: 'CAP_PERFMON', bit: 38n, what: 'the programs of the fast path' },
];
/** For the group of the control socket; nothing fails without it. */
const CHOWN: Capability = { name: 'CAP_CHOWN', bit: 0n, what: 'the group of the control socket' };
/** To find the box's file system of BPF from within a mount namespace; bin/privileges.sh adds it where that is so. */
const PTRACE: Capability = { name: 'CAP_SYS_PTRACE', bit: 19n, what: 'a mount namespace of its own' };

const has = (set: bigint, { bit }: Capability): boolean => (set & (1n << bit)) !== 0n;

/** undefined: it has just ended, or /proc hides others' processes. */
function effective(process: number | 'self'): bigint | undefined {
  try {
    const status = readFileSync(`/proc/${process}/status`, 'latin1');
    return BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  } catch {
    return undefined;
  }
}

/** Of whoever asks: an agent that was started in this way would have them. */
export function ownCapabilities(): Diagnosis[] {
  const set = effective('self') ?? 0n;
  const missing = EVERY_ROLE.filter((capability) => !has(set, capability));
  if (missing.length === 0) {
    return [{ check: 'capabilities', verdict: 'fine', message: EVERY_ROLE.map(({ name }) => name).join(', ') }];
  }
  return missing.map(({ name, what }) => ({
    check: 'capabilities',
    verdict: 'wrong',
    message: `${name} is missing, needed for ${what}`,
    remedy: `Run as root, or give the service AmbientCapabilities=${name}.`,
  }));
}

/** Of the agent with this pid: what its role needs, all of it and nothing else. */
export function agentCapabilities(pid: number, role: Role): Diagnosis[] {
  const set = effective(pid);
  if (set === undefined) return [];
  const needed = [...EVERY_ROLE, ...(role === 'host' ? HOST : [])];
  const found: Diagnosis[] = needed
    .filter((capability) => !has(set, capability))
    .map(({ name, what }) => ({
      check: 'privileges',
      verdict: 'warning',
      message: `the agent has no ${name}, needed for ${what}`,
      remedy:
        role === 'host'
          ? 'Give the service the drop-in peerless-host.conf (docs/install.md), then restart it.'
          : `Start it as root, or give the service AmbientCapabilities=${name}.`,
    }));
  const known = [...needed, CHOWN, ...(role === 'host' ? [PTRACE] : [])];
  const rest = known.reduce((left, { bit }) => left & ~(1n << bit), set);
  if (rest !== 0n) {
    found.push({
      check: 'privileges',
      verdict: 'warning',
      message: `the agent may do more than its role needs (capabilities ${hex(set)})`,
      remedy:
        "Start it by the unit of the package, or without --keep-privileges; setpriv (util-linux) has to be there, and the configuration and its folder have to be root's.",
    });
  }
  if (found.length > 0) return found;
  const names = known.filter((capability) => has(set, capability)).map(({ name }) => name);
  return [{ check: 'privileges', verdict: 'fine', message: `the agent has ${names.join(', ')} and nothing else` }];
}

const hex = (set: bigint): string => `0x${set.toString(16).padStart(16, '0')}`;
