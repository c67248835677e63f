/**
 * When is there a backup route, and how long? Pure: events and the time in, effects out.
 *
 * A backup is *wanted* for a host that is ours while somebody else stands by for it, says where a tunnel finds him, and
 * we have an address to send from. When it is not wanted any more it stays for a while, for that is the moment it is
 * for: the gateway goes on sending here until it has heard of the other switch.
 *
 * - Somebody announces the host: the gateway has moved, or does now; `margin` from then on.
 * - The host left us, and nobody has announced it yet: `hold` (for so long the other stands by) and `margin`.
 * - It is still ours, but nobody stands by any more, or there is no way out: `margin`.
 *
 * Invariant: a backup that is not wanted ends at a time that is known from the first moment, `hold` + `margin` later at
 * most, and nothing that is heard puts it off but being wanted again. Backups that an earlier life left are not wanted
 * by anybody until somebody says so, like all others.
 */
import { type Address, familyOf } from '../../../model/address.ts';
import type { Instant } from '../../../model/clock.ts';
import type { ForeignClaim, ForeignShadow, HostRoute } from '../../../model/hosts.ts';

/** Others that have been heard to stand by; the kernel side has fewer tunnels. */
const TWINS = 64;

export interface RepairSettings {
  /** ms: how long the other switch stands by for a host that nobody announces. */
  readonly hold: number;
  /** ms: how long a gateway takes to follow what it was told. */
  readonly margin: number;
  /** Addresses that are heard of from others and are none of ours. */
  readonly limit: number;
}

export type RepairEvent =
  | { readonly type: 'ours'; readonly host: HostRoute }
  | { readonly type: 'gone'; readonly address: Address }
  | { readonly type: 'claim'; readonly claim: ForeignClaim }
  | { readonly type: 'shadow'; readonly shadow: ForeignShadow }
  /** The address that tunnels begin at; undefined: no uplink has one. */
  | { readonly type: 'source'; readonly address: Address | undefined }
  | { readonly type: 'adopted'; readonly addresses: readonly Address[] }
  | { readonly type: 'time' };

export type Ending = 'claimed' | 'unclaimed' | 'unbacked' | 'left over';

export type RepairEffect =
  | { readonly type: 'tunnel'; readonly twin: string; readonly source: Address; readonly destination: Address }
  | { readonly type: 'install'; readonly host: HostRoute; readonly twin: string }
  /** The host has left us and its backup is what is left. */
  | { readonly type: 'inUse'; readonly address: Address; readonly twin: string | undefined }
  | { readonly type: 'remove'; readonly address: Address; readonly ending: Ending };

interface Host {
  ours: HostRoute | undefined;
  /** Who stands by, in the order in which they were heard. */
  readonly standby: Set<string>;
  /** Who announces it. */
  readonly claims: Set<string>;
  /** Whose tunnel the backup leads into; null: an earlier life's, not known whose. */
  backup: string | null | undefined;
  /** ifindex of the host's own route when its backup was installed. */
  behind: number | undefined;
  /** Of a backup that is not wanted. */
  endsAt: Instant | undefined;
  ending: Ending;
}

export type HostRepair =
  | { readonly state: 'ready' | 'ending'; readonly twin: string | undefined; readonly via: Address | undefined }
  | { readonly state: 'none' };

export class RepairMachine {
  readonly #settings: RepairSettings;
  readonly #hosts = new Map<Address, Host>();
  readonly #endpoints = new Map<string, Address>();
  /** Which ends the tunnels were last given, `source destination`. */
  readonly #tunnels = new Map<string, string>();
  readonly #ending = new Set<Address>();
  readonly #count = { overLimit: 0, notIpv4: 0 };
  #source: Address | undefined;
  #earliest: Instant | undefined;
  #foreign = 0;

  constructor(settings: RepairSettings) {
    this.#settings = settings;
  }

  handle(event: RepairEvent, now: Instant): RepairEffect[] {
    const effects: RepairEffect[] = [];
    switch (event.type) {
      case 'ours':
        this.#change(event.host.address, now, effects, (host) => {
          // Behind another interface it may belong into another table.
          if (host.backup && host.behind !== event.host.ifindex) host.backup = null;
          host.ours = event.host;
        });
        break;
      case 'gone':
        if (this.#hosts.has(event.address)) this.#gone(event.address, now, effects);
        break;
      case 'claim':
        this.#claim(event.claim, now, effects);
        break;
      case 'shadow':
        this.#shadow(event.shadow, now, effects);
        break;
      case 'source':
        this.#sourceChanged(event.address, now, effects);
        break;
      case 'adopted':
        for (const address of event.addresses) {
          this.#change(address, now, effects, (host) => {
            host.backup = null;
            host.ending = 'left over';
          });
        }
        break;
      case 'time':
        this.#expire(now, effects);
        break;
    }
    return effects;
  }

  nextDeadline(): Instant | undefined {
    return this.#earliest;
  }

  of(address: Address): HostRepair {
    const host = this.#hosts.get(address);
    if (!host || host.backup === undefined) return { state: 'none' };
    const twin = host.backup ?? undefined;
    const via = twin === undefined ? undefined : this.#endpoints.get(twin);
    return { state: host.endsAt === undefined ? 'ready' : 'ending', twin, via };
  }

  /** Backups that are wanted, and those that are not any more; and the tunnels. */
  summary(): { ready: number; ending: number; inUse: number; tunnels: ReadonlyMap<string, Address> } {
    let ready = 0;
    let inUse = 0;
    for (const { backup, endsAt, ours } of this.#hosts.values()) {
      if (backup === undefined) continue;
      if (endsAt === undefined) ready++;
      else if (!ours) inUse++;
    }
    return { ready, ending: this.#ending.size, inUse, tunnels: this.#endpoints };
  }

  counters(): Readonly<Record<string, number>> {
    return { ...this.#count, ending: this.#ending.size };
  }

  #gone(address: Address, now: Instant, effects: RepairEffect[]): void {
    this.#change(address, now, effects, (host) => {
      if (host.ours && host.backup !== undefined) {
        effects.push({ type: 'inUse', address, twin: host.backup ?? undefined });
      }
      host.ours = undefined;
    });
  }

  #claim({ address, level, from, endpoint }: ForeignClaim, now: Instant, effects: RepairEffect[]): void {
    if (level !== undefined && endpoint !== undefined) this.#endpoint(from, endpoint, now, effects, false);
    this.#heard(address, level !== undefined, now, effects, (host) => {
      if (level === undefined) host.claims.delete(from);
      else host.claims.add(from);
    });
  }

  #shadow({ address, up, from, endpoint }: ForeignShadow, now: Instant, effects: RepairEffect[]): void {
    if (up && endpoint !== undefined) this.#endpoint(from, endpoint, now, effects, true);
    this.#heard(address, up, now, effects, (host) => {
      if (up) host.standby.add(from);
      else host.standby.delete(from);
    });
  }

  /** What the fabric says of an address that is none of ours is kept too, for it may be one in a moment. */
  #heard(address: Address, news: boolean, now: Instant, effects: RepairEffect[], change: (host: Host) => void): void {
    if (!this.#hosts.has(address)) {
      if (!news) return;
      if (this.#foreign >= this.#settings.limit) {
        this.#count.overLimit++;
        return;
      }
    }
    this.#change(address, now, effects, change);
  }

  /** Where the tunnel to `twin` ends. A claim alone makes no tunnel: there is nothing to repair by it. */
  #endpoint(twin: string, endpoint: Address, now: Instant, effects: RepairEffect[], standsBy: boolean): void {
    if (familyOf(endpoint) !== 4) {
      this.#count.notIpv4++;
      return;
    }
    const before = this.#endpoints.get(twin);
    if (before === endpoint || (before === undefined && !standsBy)) return;
    if (before === undefined && this.#endpoints.size >= TWINS) {
      this.#count.overLimit++;
      return;
    }
    this.#endpoints.set(twin, endpoint);
    if (this.#source !== undefined) this.#tunnel(twin, effects);
    if (before === undefined) this.#judgeAll(now, effects);
  }

  #sourceChanged(source: Address | undefined, now: Instant, effects: RepairEffect[]): void {
    if (source === this.#source) return;
    const before = this.#source;
    this.#source = source;
    if (source !== undefined) for (const twin of this.#endpoints.keys()) this.#tunnel(twin, effects);
    if (source === undefined || before === undefined) this.#judgeAll(now, effects);
  }

  #tunnel(twin: string, effects: RepairEffect[]): void {
    const source = this.#source!;
    const destination = this.#endpoints.get(twin)!;
    const ends = `${source} ${destination}`;
    if (this.#tunnels.get(twin) === ends) return;
    this.#tunnels.set(twin, ends);
    effects.push({ type: 'tunnel', twin, source, destination });
  }

  #change(address: Address, now: Instant, effects: RepairEffect[], change: (host: Host) => void): void {
    let host = this.#hosts.get(address);
    const wasForeign = host !== undefined && !host.ours;
    if (!host) {
      host = {
        ours: undefined,
        standby: new Set(),
        claims: new Set(),
        backup: undefined,
        behind: undefined,
        endsAt: undefined,
        ending: 'unclaimed',
      };
      this.#hosts.set(address, host);
    }
    const wasOurs = host.ours !== undefined;
    const wasClaimed = host.claims.size > 0;
    change(host);
    this.#judge(address, host, now, effects, wasOurs, wasClaimed);
    const forgotten = !host.ours && host.backup === undefined && host.standby.size === 0 && host.claims.size === 0;
    if (forgotten) this.#hosts.delete(address);
    this.#foreign += Number(!forgotten && !host.ours) - Number(wasForeign);
  }

  #judgeAll(now: Instant, effects: RepairEffect[]): void {
    for (const [address, host] of this.#hosts) {
      if (host.ours) this.#judge(address, host, now, effects, true, host.claims.size > 0);
    }
  }

  #judge(
    address: Address,
    host: Host,
    now: Instant,
    effects: RepairEffect[],
    wasOurs: boolean,
    wasClaimed: boolean,
  ): void {
    const twin = this.#wanted(host);
    if (twin !== undefined) {
      if (host.endsAt !== undefined) this.#ending.delete(address);
      host.endsAt = undefined;
      if (host.backup !== twin) {
        host.backup = twin;
        host.behind = host.ours!.ifindex;
        effects.push({ type: 'install', host: host.ours!, twin });
      }
      return;
    }
    if (host.backup === undefined) return;
    const { hold, margin } = this.#settings;
    const claimed = host.claims.size > 0;
    if (host.endsAt === undefined) {
      const ending = claimed
        ? 'claimed'
        : host.ours
          ? 'unbacked'
          : host.ending === 'left over'
            ? 'left over'
            : 'unclaimed';
      const patience = claimed || host.ours ? margin : hold + margin;
      this.#end(address, host, now + patience, ending);
    } else if (claimed && (!wasClaimed || (wasOurs && !host.ours))) {
      this.#end(address, host, Math.min(host.endsAt, now + margin), 'claimed');
    } else if (!claimed && !host.ours && host.standby.size === 0) {
      // Nobody stands by any more: what goes through the tunnel is dropped there.
      this.#end(address, host, Math.min(host.endsAt, now + margin), host.ending);
    }
  }

  #end(address: Address, host: Host, at: Instant, ending: Ending): void {
    host.endsAt = at;
    host.ending = ending;
    this.#ending.add(address);
    if (this.#earliest === undefined || at < this.#earliest) this.#earliest = at;
  }

  /** Whose tunnel a backup should lead into. */
  #wanted(host: Host): string | undefined {
    if (!host.ours || this.#source === undefined) return undefined;
    const { backup } = host;
    if (backup && host.standby.has(backup) && this.#endpoints.has(backup)) return backup;
    for (const twin of host.standby) if (this.#endpoints.has(twin)) return twin;
    return undefined;
  }

  #expire(now: Instant, effects: RepairEffect[]): void {
    if (this.#earliest === undefined || now < this.#earliest) return;
    let next: Instant | undefined;
    for (const address of this.#ending) {
      const host = this.#hosts.get(address)!;
      const { endsAt, ending } = host;
      if (endsAt !== undefined && endsAt > now) {
        if (next === undefined || endsAt < next) next = endsAt;
        continue;
      }
      this.#ending.delete(address);
      this.#change(address, now, effects, () => {
        host.endsAt = undefined;
        host.backup = undefined;
        host.ending = 'unclaimed';
      });
      effects.push({ type: 'remove', address, ending });
    }
    this.#earliest = next;
  }
}
