import type { Instant } from '../../model/clock.ts';
import type { Book } from './book.ts';
import { type Host, RANK } from './host.ts';
import { CompiledPolicy } from './policy.ts';
import type { HostPolicy } from './types.ts';
import type { Watch } from './watch.ts';

/** A new policy on a living table: who may stay stays untouched, who may not leaves, all in one delta. */
export function applyPolicy(book: Book, watch: Watch, policy: HostPolicy, now: Instant): void {
  const old = book.rules;
  const rules = new CompiledPolicy(policy);
  book.rules = rules;
  const wanted = new Set(policy.ports);
  for (const name of wanted) {
    const port = book.ports.get(name);
    if (port) port.downlink = true;
    else book.openPort(name, true);
  }
  book.claims.retain((address) => rules.refuseAddress(address) !== 'outside-prefixes');
  // The newest first, so that they are the ones to leave under lower limits.
  for (const host of Array.from(book.hosts.values()).reverse()) {
    if (host.live) reconsider(host, book, watch, now);
  }
  for (const port of book.ports.values()) if (!wanted.has(port.name)) book.dropPort(port);
  for (const address of old.statics.keys()) if (!rules.statics.has(address)) watch.searches.stop(address);
  for (const address of rules.statics.keys()) watch.searchStatic(address, now);
  askAgain(book, watch, now);
}

const NO_DOWNLINK = 'its port is no downlink any more';

/**
 * Whom an earlier policy sent away, and this one would take, is asked where it was: it has nothing to say by itself, and
 * a narrower policy may have been a slip of the pen.
 */
function askAgain(book: Book, watch: Watch, now: Instant): void {
  const { rules } = book;
  if (!rules.probing || (!rules.enabled('arp') && !rules.enabled('neighbour'))) return;
  for (const host of book.hosts.values()) {
    const { state, reason, port } = host;
    if (state !== 'gone' || host.live || !rules.policy.ports.includes(port)) continue;
    if (reason !== NO_DOWNLINK && !rules.isRefusal(reason)) continue;
    const { address, mac, vlan } = host;
    if (!rules.refusal(host)) watch.searchFor({ address, mac, port, ...(vlan === undefined ? {} : { vlan }) }, now);
  }
}

function reconsider(host: Host, book: Book, watch: Watch, now: Instant): void {
  dropVouchers(host, book.rules, now);
  const refusal = reasonToLeave(host, book);
  if (refusal) {
    book.withdraw(host, 'policy', refusal, now);
    return;
  }
  const { level } = host;
  book.weighRivals(host, now);
  if (host.level !== level) book.announce(host, 'policy', 'active-active');
  watch.wake(host, now);
}

/** ARP stays: with snooping off, it is the answers to probes. */
function dropVouchers(host: Host, rules: CompiledPolicy, now: Instant): void {
  host.heardBy[RANK.static] = rules.statics.has(host.address) ? now : -1;
  for (const source of ['bgp', 'kernel', 'neighbour'] as const) {
    if (!rules.enabled(source)) host.heardBy[RANK[source]] = -1;
  }
}

function reasonToLeave(host: Host, book: Book): string | undefined {
  const { rules } = book;
  const { limits } = rules.policy;
  const port = book.ports.get(host.port);
  if (!port?.downlink || !rules.policy.ports.includes(host.port)) return NO_DOWNLINK;
  const refusal = rules.refusal(host);
  if (refusal) return refusal;
  if (!host.heardBy.some((at, rank) => at >= 0 && rank !== RANK.static)) return 'its source was switched off';
  return port.hosts.size > limits.perPort || book.live > limits.total ? 'over the new limits' : undefined;
}
