/**
 * Splits each failover into whose time it was: the fault's way to the server (for an uplink: until A has shut its
 * ports), the server's (link event -> its ARP at the new ToR's port), ours (that ARP -> our first announcement at G's
 * port), G's (announcement -> its FIB). Pure.
 */
import type { Observation } from './observer/observer.ts';
import type { TorName } from './topology/plan.ts';

/** Milliseconds; a stage that was not seen is absent. */
export interface Split {
  readonly toServer?: number;
  readonly server?: number;
  readonly us?: number;
  readonly gateway?: number;
}

/**
 * @param observations in order of time
 * @param from when the fault (or the repair) was made
 * @param target the ToR that G's FIB has to name
 * @returns undefined when G's FIB never named it
 */
export function splitFor(
  observations: readonly Observation[],
  server: { readonly node: string; readonly address: string },
  from: number,
  target: TorName,
): Split | undefined {
  const after = observations.filter(({ at }) => at >= from);
  const link = after.find((seen) => seen.kind === 'link' && seen.node === server.node);
  const arp = after.find(
    (seen) =>
      seen.kind === 'arp' && seen.tor === target && seen.address === server.address && seen.at >= (link?.at ?? 0),
  );
  const announces = after.filter(
    (seen) => seen.kind === 'announce' && seen.tor === target && seen.address === server.address,
  );
  // On the way back a ToR may announce before the server has said anything there; then no time of ours passes.
  const announce = announces.find((seen) => arp !== undefined && seen.at >= arp.at) ?? announces[0];
  const fib = after.find(
    (seen) =>
      seen.kind === 'fib' &&
      seen.address === server.address &&
      seen.via.includes(target) &&
      seen.at >= (announce?.at ?? 0),
  );
  if (!fib) return undefined;
  return {
    ...(link && { toServer: link.at - from }),
    ...(link && arp && { server: arp.at - link.at }),
    ...(arp && announce && { us: Math.max(0, announce.at - arp.at) }),
    ...(announce && { gateway: fib.at - announce.at }),
  };
}
