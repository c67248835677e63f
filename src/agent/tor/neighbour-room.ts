import { readFileSync } from 'node:fs';

/** Below this nobody's kernel is short of room. */
const FEW = 256;

/**
 * The kernel's neighbour tables have one limit for the box (shown in its first network namespace only). Entries of ours
 * do not count, but each server that talks to the switch itself has one of the kernel's, and beyond the limit it gets none
 * and next hops lose theirs.
 *
 * @param read a file as text, undefined when there is none
 */
export function neighbourRoomWarnings(
  hosts: { readonly ipv4: number; readonly ipv6: number },
  read: (path: string) => string | undefined = readText,
): string[] {
  return ([4, 6] as const).flatMap((family) => {
    const count = hosts[`ipv${family}`];
    if (count < FEW) return [];
    const name = `net.ipv${family}.neigh.default.gc_thresh3`;
    const most = Number(read(`/proc/sys/${name.replaceAll('.', '/')}`) ?? Number.NaN);
    if (!(most < 2 * count)) return [];
    return [
      `${count} IPv${family} hosts, and the kernel keeps at most ${most} neighbours: sysctl -w ${name}=${4 * count} ` +
        `net.ipv${family}.neigh.default.gc_thresh2=${2 * count}`,
    ];
  });
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    // Not in this kernel, or not for us to see: nothing is warned of.
    return undefined;
  }
}
