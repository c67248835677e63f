/** G's forwarding table as its kernel has it. */
import type { Fib } from '../cases/fib.ts';
import { run } from '../processes.ts';
import { type Family, isHostAddress, namespaceOf, TOR_NAMES, TORS, type TorName } from '../topology/plan.ts';

interface JsonRoute {
  readonly dst: string;
  /** A next-hop object of ours; the kernel names it alone. */
  readonly nhid?: number;
  readonly dev?: string;
  readonly nexthops?: readonly { readonly dev: string }[];
}

/** G's host routes as its kernel has them: address -> the ToRs they lead to, sorted. */
export async function gatewayFib(lab: string, families: readonly Family[] = [4]): Promise<Fib> {
  const torOf = new Map(TOR_NAMES.map((tor) => [TORS[tor].gatewayPort, tor]));
  const fib: Record<string, TorName[]> = {};
  const objects = await nextHopDevices(lab);
  for (const family of families) {
    const command = ['ip', '-n', namespaceOf(lab, 'G'), '-j', `-${family}`, 'route', 'show', 'table', 'main'];
    const routes = JSON.parse(await run(command)) as JsonRoute[];
    for (const { dst, dev, nexthops, nhid } of routes) {
      if (!isHostAddress(dst, family)) continue;
      const object = dev === undefined && nexthops === undefined ? objects.get(nhid ?? 0) : undefined;
      // Of several routes the first is used, the others stand behind it.
      if (fib[dst] && (family === 4 || object)) continue;
      const devices = object ?? nexthops?.map((hop) => hop.dev) ?? (dev === undefined ? [] : [dev]);
      const tors = devices.map((device) => torOf.get(device)).filter((tor) => tor !== undefined);
      // IPv6 shows each next hop of an address in a line of its own, unless they are one object.
      fib[dst] = [...new Set([...(fib[dst] ?? []), ...tors])].toSorted();
    }
  }
  return fib;
}

/** By the id of a next-hop object or group of G: the ports that it leads to. */
async function nextHopDevices(lab: string): Promise<ReadonlyMap<number, readonly string[]>> {
  const objects = JSON.parse(await run(['ip', '-n', namespaceOf(lab, 'G'), '-j', 'nexthop', 'show'])) as {
    readonly id: number;
    readonly dev?: string;
    readonly group?: readonly { readonly id: number }[];
  }[];
  const devices = new Map<number, readonly string[]>();
  for (const { id, dev } of objects) if (dev !== undefined) devices.set(id, [dev]);
  for (const { id, group } of objects)
    if (group)
      devices.set(
        id,
        group.flatMap((member) => devices.get(member.id) ?? []),
      );
  return devices;
}
