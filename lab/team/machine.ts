/**
 * An active-backup team of two links, as the kernel's bonding decides it (drivers/net/bonding: mode 1 with
 * `primary_reselect always`, `updelay`, `num_grat_arp 1`). Pure: events in, effects out.
 *
 * - The active link is lost: the other takes over at once, even inside its updelay (bonding ignores updelay while
 *   there is no active link).
 * - The primary is back: it waits `updelay`, then takes over. Any other link that comes back only stands by.
 */
import type { NicName } from '../topology/plan.ts';

export type TeamEffect =
  /** `from` stops, `to` carries, and the change is told by a gratuitous ARP on `to`. */
  | { readonly kind: 'switch'; readonly from: NicName | undefined; readonly to: NicName }
  /** The link is up but not in use: whatever arrives on it is dropped. */
  | { readonly kind: 'standby'; readonly nic: NicName }
  /** No link is left. */
  | { readonly kind: 'none' };

const other = (nic: NicName): NicName => (nic === 'eth-a' ? 'eth-b' : 'eth-a');

export class TeamMachine {
  readonly #primary: NicName;
  readonly #updelay: number;
  readonly #up: Record<NicName, boolean> = { 'eth-a': false, 'eth-b': false };
  #active: NicName | undefined;
  /** When the primary may take over. */
  #reselectAt: number | undefined;

  /** @param updelay milliseconds */
  constructor(primary: NicName, updelay: number) {
    this.#primary = primary;
    this.#updelay = updelay;
  }

  get active(): NicName | undefined {
    return this.#active;
  }

  isUp(nic: NicName): boolean {
    return this.#up[nic];
  }

  /** The links as they are at the beginning: the primary carries if it can. */
  start(up: Readonly<Record<NicName, boolean>>): TeamEffect[] {
    Object.assign(this.#up, up);
    const first = up[this.#primary] ? this.#primary : other(this.#primary);
    return up[first] ? this.#switchTo(first) : [{ kind: 'none' }];
  }

  nextDeadline(): number | undefined {
    return this.#reselectAt;
  }

  /** A link's state as read; what is no change has no effect. */
  link(nic: NicName, up: boolean, now: number): TeamEffect[] {
    if (this.#up[nic] === up) return [];
    this.#up[nic] = up;
    return up ? this.#cameUp(nic, now) : this.#wentDown(nic);
  }

  tick(now: number): TeamEffect[] {
    if (this.#reselectAt === undefined || now < this.#reselectAt) return [];
    this.#reselectAt = undefined;
    return this.#switchTo(this.#primary);
  }

  #cameUp(nic: NicName, now: number): TeamEffect[] {
    if (this.#active === undefined) return this.#switchTo(nic);
    if (nic !== this.#primary) return [{ kind: 'standby', nic }];
    if (this.#updelay === 0) return this.#switchTo(nic);
    this.#reselectAt = now + this.#updelay;
    return [{ kind: 'standby', nic }];
  }

  #wentDown(nic: NicName): TeamEffect[] {
    if (nic === this.#primary) this.#reselectAt = undefined;
    if (nic !== this.#active) return [];
    if (this.#up[other(nic)]) {
      this.#reselectAt = undefined;
      return this.#switchTo(other(nic));
    }
    this.#active = undefined;
    return [{ kind: 'none' }];
  }

  #switchTo(nic: NicName): TeamEffect[] {
    const from = this.#active;
    this.#active = nic;
    return [{ kind: 'switch', from, to: nic }];
  }
}
