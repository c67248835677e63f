import type { Instant } from '../../model/clock.ts';
import type { Host } from './host.ts';
import type { Evidence, Heard } from './types.ts';

/**
 * Where a host was before somebody claimed it. As long as it has not answered where it is taken to be since, that is the
 * place to which it goes back, however many others have claimed it meanwhile.
 */

/** So long an answer from there counts even against one from the new place: longer than the questions there take. */
export const PROOF_MS = 200;
/** How long a host whose claim was refuted is asked where it is before anybody else is believed. */
export const SUSPICION_MS = 60_000;

const ANSWERS: ReadonlySet<Evidence | undefined> = new Set(['arp-reply', 'nd-advertisement', 'sweep']);

export const answers = ({ how }: Heard): boolean => ANSWERS.has(how);

/** undefined: it was not claimed, or is known to be where it is taken to be. */
export function incumbentOf(host: Host, now: Instant): Heard | undefined {
  return host.proven && now > host.incumbentUntil ? undefined : host.incumbent;
}

export const isAt = (one: Pick<Heard, 'port' | 'mac'>, other: Pick<Heard, 'port' | 'mac'>): boolean =>
  one.port === other.port && one.mac === other.mac;

/** Where it is taken to be now; nobody was heard there just now. */
export function placeOf(host: Host): Heard {
  const { address, mac, port, interface: name, ifindex, vlan } = host;
  const place = { address, mac, port, interface: name, ifindex, stale: true };
  return { type: 'heard', source: 'arp', ...place, ...(vlan ? { vlan } : {}) };
}
