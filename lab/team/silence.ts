/**
 * What a server itself sends to all leaves by every port that forwards, whatever the port's flags are, and the kernel puts a
 * port to forwarding when its carrier returns. So what stands by is kept silent by something that no event of the link
 * changes: a group of interfaces whose output is dropped.
 */
import { execFileSync } from 'node:child_process';

/** Interface group of a link that stands by; 0, that of every new interface, speaks. */
export const SILENT = 7;

const TABLE = 'bridge team';
const RULES = [
  `add table ${TABLE}`,
  `flush table ${TABLE}`,
  `add chain ${TABLE} own { type filter hook output priority 0; policy accept; }`,
  `add rule ${TABLE} own oifgroup ${SILENT} drop`,
];

/** By its path: npm's folder has another program of that name. */
export function silenceGroup(netns: string): void {
  execFileSync('ip', ['netns', 'exec', netns, '/usr/sbin/nft', RULES.join('; ')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}
