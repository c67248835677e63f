import type { Instant } from '../../model/clock.ts';
import type { Host } from './host.ts';
import type { HostPolicy } from './types.ts';

type Damping = NonNullable<HostPolicy['damping']>;

/**
 * Damping of hosts that are heard at two places in turn. A host may move `moves` times in a window at full speed; then
 * it is held where it is, first for `floor`, twice as long each time it goes on, at most `ceiling`.
 */

/** Counts one move; false: too many, the host is held from now on and the move is not made. */
export function countMove(host: Host, damping: Damping, now: Instant): boolean {
  if (now - host.movesSince > damping.window) {
    host.movesSince = now;
    host.moves = 0;
  }
  host.moves++;
  if (host.moves <= damping.moves) return true;
  if (now - host.heldUntil > damping.ceiling) host.hold = 0;
  extendHold(host, damping, now);
  return false;
}

export function extendHold(host: Host, damping: Damping, now: Instant): void {
  host.hold = host.hold === 0 ? damping.floor : Math.min(host.hold * 2, damping.ceiling);
  host.heldUntil = now + host.hold;
}

export function isHeld(host: Host): boolean {
  return host.state === 'duplicate';
}

/** At the end of a hold: was it heard elsewhere during the second half of it? */
export function stillDuplicate(host: Host, now: Instant): boolean {
  return host.elsewhere !== undefined && now - host.elsewhereAt < host.hold / 2;
}

/** Something of its moves still counts. */
export function isDamped(host: Host, damping: Damping, now: Instant): boolean {
  const heldLately = host.hold > 0 && now - host.heldUntil <= damping.ceiling;
  return isHeld(host) || heldLately || (host.moves > 0 && now - host.movesSince <= damping.window);
}

/** As if it had never moved. */
export function forgetMoves(host: Host): void {
  host.moves = 0;
  host.movesSince = Number.NEGATIVE_INFINITY;
  host.hold = 0;
  host.heldUntil = Number.NEGATIVE_INFINITY;
}

export function endHold(host: Host, now: Instant): void {
  host.elsewhere = undefined;
  host.moves = 0;
  host.movesSince = now;
}
