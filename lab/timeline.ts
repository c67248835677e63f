/**
 * Splits each failover into whose time it was: the server's (link event -> its ARP at the new ToR's port), ours (that
 * ARP -> our announcement at G's port), G's (announcement -> its FIB). Pure.
 */
import type { Observation } from './observer/observer.ts';
import type { Server, TorName } from './topology/plan.ts';

/** Milliseconds; a stage that was not seen is absent. */
export interface Split {
  readonly server?: number;
  readonly us?: number;
  readonly gateway?: number;
}

/**
 * @param from when the fault (or the repair) was made
 * @param target the ToR that G's FIB has to name in the end
 */
export function splitFor(
  observations: readonly Observation[],
  server: Server,
  from: number,
  target: TorName,
): Split | undefined {
  const after = observations.filter(({ at }) => at >= from);
  const fib = after.find(
    (seen) => seen.kind === 'fib' && seen.address === server.address && seen.via.join() === target,
  );
  if (!fib) return undefined;
  const announce = after.findLast(
    (seen) => seen.kind === 'announce' && seen.tor === target && seen.address === server.address && seen.at <= fib.at,
  );
  const arpEnd = announce?.at ?? fib.at;
  const arp = after.find(
    (seen) => seen.kind === 'arp' && seen.tor === target && seen.address === server.address && seen.at <= arpEnd,
  );
  const link = after.find(
    (seen) => seen.kind === 'link' && (seen.node === server.name || seen.port.endsWith(String(server.slot))),
  );
  return {
    ...(link && arp && arp.at >= link.at && { server: arp.at - link.at }),
    ...(arp && announce && { us: announce.at - arp.at }),
    ...(announce && { gateway: fib.at - announce.at }),
  };
}
