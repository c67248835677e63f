import type { Address } from '../../model/address.ts';
import type { HostRoute } from '../../model/hosts.ts';
import type { Host } from './host.ts';
import type { CauseKind, HostEffect } from './types.ts';

/**
 * What one call of `handle` brings about. Hosts that may have changed are noted here, and the delta is the difference
 * between what each ought to announce and what was announced: one delta, no address twice, and a change that was
 * undone within the turn is not told at all.
 */
export class Turn {
  effects: HostEffect[] = [];
  #dirty: Host[] = [];
  #kind: CauseKind | undefined;
  #port: string | undefined;
  #reason = '';

  /** `port` undefined: several. The first cause of a turn names it, or the first move. */
  note(host: Host, kind: CauseKind, port: string | undefined, reason: string): void {
    if (this.#kind === undefined) {
      this.#kind = kind;
      this.#port = port;
      this.#reason = reason;
    } else {
      if (this.#port !== port) this.#port = undefined;
      // A move is a failover, and told as one, whoever else was heard in the turn.
      if (this.#kind === 'heard' && kind === 'moved') {
        this.#kind = kind;
        this.#reason = reason;
      }
    }
    if (host.dirty) return;
    host.dirty = true;
    this.#dirty.push(host);
  }

  /** Due hosts are gathered only as long as they have one cause: the others get a delta of their own. */
  allows(kind: CauseKind): boolean {
    return this.#kind === undefined || this.#kind === kind;
  }

  finish(none: HostEffect[]): HostEffect[] {
    const dirty = this.#dirty;
    if (dirty.length === 0 && this.effects.length === 0) return none;
    const withdrawn: Address[] = [];
    const announced: HostRoute[] = [];
    for (const host of dirty) {
      host.dirty = false;
      if (host.route === host.advertised) continue;
      if (host.route) announced.push(host.route);
      else withdrawn.push(host.address);
      host.advertised = host.route;
    }
    const rest = this.effects;
    if (withdrawn.length > 0 || announced.length > 0) {
      const kind = this.#kind!;
      const reason = this.#reason;
      const cause = this.#port === undefined ? { kind, reason } : { kind, port: this.#port, reason };
      rest.unshift({ type: 'delta', delta: { withdrawn, announced }, cause });
    }
    this.effects = [];
    this.#dirty = [];
    this.#kind = undefined;
    return rest;
  }
}
