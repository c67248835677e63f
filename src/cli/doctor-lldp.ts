import { readFileSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Diagnosis } from './diagnosis.ts';

const READ_ALL = 1n << 1n; // CAP_DAC_OVERRIDE, capabilities(7)

/** Who asks: of /proc/PID/status. */
interface Asker {
  readonly uid: number;
  readonly groups: ReadonlySet<number>;
  readonly mayAll: boolean;
}

/**
 * Whether the agent with this pid may ask lldpd: the unit takes root's privilege over files away, so groups decide.
 * Nothing is said where there is no lldpd.
 */
export function lldpAccess(pid: number, socket: string): Diagnosis[] {
  const agent = askerOf(pid);
  const client = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin'].map((folder) => join(folder, 'lldpcli'));
  const refused = [
    { file: socket, bit: 2 },
    ...client
      .filter((file) => ownersOf(file))
      .slice(0, 1)
      .map((file) => ({ file, bit: 1 })),
  ].filter(({ file, bit }) => agent && mayNot(agent, file, bit));
  if (!agent || !ownersOf(socket)) return [];
  if (refused.length === 0)
    return [{ check: 'lldp', verdict: 'fine', message: `the agent may ask lldpd on ${socket}` }];
  return [
    {
      check: 'lldp',
      verdict: 'warning',
      message: `lldpd is here, but the agent may not use ${refused.map(({ file }) => file).join(' and ')}: nobody is named at the other end of a port`,
      remedy:
        'Give the service the groups: packaging/peerless-lldp.conf as /etc/systemd/system/peerless.service.d/lldp.conf (or ports.lldp: null).',
    },
  ];
}

function mayNot({ uid, groups, mayAll }: Asker, file: string, bit: number): boolean {
  const owners = ownersOf(file);
  if (!owners || mayAll) return false;
  const shift = owners.uid === uid ? 6 : groups.has(owners.gid) ? 3 : 0;
  return ((owners.mode >> shift) & bit) === 0;
}

/** undefined: it is not there, or not for us to see. */
function ownersOf(file: string): { uid: number; gid: number; mode: number } | undefined {
  try {
    return statSync(file);
  } catch {
    return undefined;
  }
}

function askerOf(pid: number): Asker | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    const numbers = (key: string): number[] =>
      (new RegExp(`^${key}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '').split(/\s+/).filter(Boolean).map(Number);
    const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
    return {
      uid: numbers('Uid')[1] ?? 0,
      groups: new Set([numbers('Gid')[1] ?? 0, ...numbers('Groups')]),
      mayAll: (effective & READ_ALL) !== 0n,
    };
  } catch {
    return undefined; // it has just ended, or /proc hides others' processes
  }
}
