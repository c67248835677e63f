import type { Address } from '../../../model/address.ts';
import type { Instant } from '../../../model/clock.ts';
import type { MovingHost } from './host.ts';
import type { DrainPortState, DrainPortView } from './types.ts';

/** One port of a drain: what was asked of it, and what has become of its hosts. */
export class DrainPort {
  readonly port: string;
  state: DrainPortState = 'waiting';
  reason = '';
  hosts = new Map<Address, MovingHost>();
  /** The kernel reports it open. */
  isOpen = true;
  beganAt: Instant | undefined;
  endedAt: Instant | undefined;

  constructor(port: string) {
    this.port = port;
  }

  begin(state: 'moving' | 'returning', now: Instant): void {
    this.state = state;
    this.reason = '';
    this.beganAt = now;
    this.endedAt = undefined;
  }

  end(state: DrainPortState, reason: string, now: Instant): void {
    this.state = state;
    this.reason = reason;
    this.endedAt ??= now;
  }

  unclaimed(): MovingHost[] {
    return [...this.hosts.values()].filter((host) => host.claimedAt === undefined && !host.settled);
  }

  unsettled(): MovingHost[] {
    return [...this.hosts.values()].filter((host) => !host.settled);
  }

  /** Since the beginning, until now or the end. */
  elapsed(now: Instant): number | undefined {
    return this.beganAt === undefined ? undefined : Math.round(10 * ((this.endedAt ?? now) - this.beganAt)) / 10;
  }

  /** `placeOf`: the port of ours on which a host is alive. */
  view(now: Instant, placeOf: (address: Address) => string | undefined): DrainPortView {
    const hosts = [...this.hosts.values()];
    const back = hosts.filter(({ address }) => placeOf(address) === this.port);
    const moved = hosts.filter((host) => host.claimedAt !== undefined || (host.here ?? this.port) !== this.port);
    const open = this.state === 'open' || this.state === 'kept';
    return {
      port: this.port,
      state: this.state,
      hosts: hosts.length,
      moved: moved.length,
      returned: open ? back.length : 0,
      unmoved: hosts.filter((host) => !moved.includes(host)).map((host) => host.address),
      ms: this.elapsed(now),
      reason: this.reason,
    };
  }
}
