/**
 * When is there a backup route, and how long? Pure: events and the time in, effects out.
 *
 * A backup is *wanted* for a host that is ours while there is somebody to send it to, and we have an address to send
 * from. That is who is heard to stand by for the host, and says where a tunnel finds him. But gateways that pass on
 * nothing but the best route (BGP, as FRR and BIRD speak it by default) show us no shadow of a host that is ours. So the
 * other switch of a pair (`twin`, or the only one that is heard in our prefixes) is taken at its word: who says where a
 * tunnel finds him stands by, and what he can't deliver he drops, which is what we would have to do, too.
 *
 * When it is not wanted any more it stays for a while, for that is the moment it is
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
  /** Router id of the other switch, where it is known. */
  readonly twin?: Address | undefined;
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
  /** Who stands by, in the order in which they were heard; true: and said where a tunnel finds him. */
  readonly standby: Map<string, boolean>;
  /** Who announces it. */
  readonly claims: Map<string, boolean>;
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
  /** Of how many hosts each says at present that he announces them or stands by, and where a tunnel finds him. */
  readonly #heard = new Map<string, number>();
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

  /** Backups that are wanted, those of hosts that have left us, and where all of them lead. */
  summary(): { ready: number; inUse: number; via: Address[] } {
    const twins = new Set<string>();
    let ready = 0;
    let inUse = 0;
    for (const { backup, endsAt, ours } of this.#hosts.values()) {
      if (backup === undefined) continue;
      if (backup !== null) twins.add(backup);
      if (endsAt === undefined) ready++;
      else if (!ours) inUse++;
    }
    return { ready, inUse, via: [...twins].map((twin) => this.#endpoints.get(twin)!) };
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
    const said = level === undefined ? undefined : this.#endpoint(from, endpoint, effects);
    this.#say(address, from, 'claims', said, now, effects);
  }

  #shadow({ address, up, from, endpoint }: ForeignShadow, now: Instant, effects: RepairEffect[]): void {
    const said = up ? this.#endpoint(from, endpoint, effects) : undefined;
    this.#say(address, from, 'standby', said, now, effects);
  }

  #say(
    address: Address,
    from: string,
    what: 'claims' | 'standby',
    said: boolean | undefined,
    now: Instant,
    effects: RepairEffect[],
  ): void {
    let change = 0;
    this.#hearOf(address, said !== undefined, now, effects, (host) => {
      const before = isHeard(host, from);
      if (said === undefined) host[what].delete(from);
      else host[what].set(from, said);
      change = Number(isHeard(host, from)) - Number(before);
    });
    if (change === 0) return;
    const count = (this.#heard.get(from) ?? 0) + change;
    if (count > 0) this.#heard.set(from, count);
    else this.#heard.delete(from);
    // Who is heard for the first time, or no more, may be, or have been, the one for all our hosts.
    if (count === 0 || count === change) this.#judgeAll(now, effects);
  }

  /** What the fabric says of an address that is none of ours is kept too, for it may be one in a moment. */
  #hearOf(address: Address, news: boolean, now: Instant, effects: RepairEffect[], change: (host: Host) => void): void {
    if (!this.#hosts.has(address)) {
      if (!news) return;
      if (this.#foreign >= this.#settings.limit) {
        this.#count.overLimit++;
        return;
      }
    }
    this.#change(address, now, effects, change);
  }

  /** @returns whether a tunnel finds him */
  #endpoint(from: string, endpoint: Address | undefined, effects: RepairEffect[]): boolean {
    if (endpoint === undefined) return false;
    if (familyOf(endpoint) !== 4) {
      this.#count.notIpv4++;
      return false;
    }
    const before = this.#endpoints.get(from);
    if (before === endpoint) return true;
    if (before === undefined && this.#endpoints.size >= TWINS) {
      this.#count.overLimit++;
      return false;
    }
    this.#endpoints.set(from, endpoint);
    // The first one is made when something is to go there.
    if (this.#tunnels.has(from) && this.#source !== undefined) this.#tunnel(from, effects);
    return true;
  }

  #sourceChanged(source: Address | undefined, now: Instant, effects: RepairEffect[]): void {
    if (source === this.#source) return;
    const before = this.#source;
    this.#source = source;
    if (source !== undefined) for (const twin of this.#tunnels.keys()) this.#tunnel(twin, effects);
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
        standby: new Map(),
        claims: new Map(),
        backup: undefined,
        behind: undefined,
        endsAt: undefined,
        ending: 'unclaimed',
      };
      this.#hosts.set(address, host);
    }
    const before = conditionOf(host);
    change(host);
    this.#judge(address, host, before, now, effects);
    const forgotten = !host.ours && host.backup === undefined && host.standby.size === 0 && host.claims.size === 0;
    if (forgotten) this.#hosts.delete(address);
    this.#foreign += Number(!forgotten && !host.ours) - Number(wasForeign);
  }

  #judgeAll(now: Instant, effects: RepairEffect[]): void {
    for (const [address, host] of this.#hosts) {
      if (host.ours) this.#judge(address, host, conditionOf(host), now, effects);
    }
  }

  #judge(address: Address, host: Host, before: Condition, now: Instant, effects: RepairEffect[]): void {
    const twin = this.#wanted(host);
    if (twin !== undefined) {
      if (host.endsAt !== undefined) this.#ending.delete(address);
      host.endsAt = undefined;
      if (host.backup !== twin) {
        this.#tunnel(twin, effects);
        host.backup = twin;
        host.behind = host.ours!.ifindex;
        effects.push({ type: 'install', host: host.ours!, twin });
      }
      return;
    }
    if (host.backup === undefined) return;
    const { hold, margin } = this.#settings;
    const { claimed, stoodBy } = conditionOf(host);
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
    } else if (claimed && (!before.claimed || (before.ours && !host.ours))) {
      this.#end(address, host, Math.min(host.endsAt, now + margin), 'claimed');
    } else if (before.claimed && !claimed && !host.ours) {
      // Whoever announced it has lost it: what goes there now is lost, and here it could wait (if we stand by by now).
      this.#end(address, host, now, host.ending);
    } else if (before.stoodBy && !stoodBy && !claimed && !host.ours) {
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

  /** Whose tunnel a backup should lead into; one that there is stays where it is if it can. */
  #wanted(host: Host): string | undefined {
    if (!host.ours || this.#source === undefined) return undefined;
    const { backup, standby } = host;
    if (backup && standby.get(backup)) return backup;
    for (const [twin, reachable] of standby) if (reachable) return twin;
    return this.#twin();
  }

  /** Who stands by for all our hosts, as far as can be heard. */
  #twin(): string | undefined {
    const { twin } = this.#settings;
    if (twin !== undefined) return this.#heard.has(twin) ? twin : undefined;
    return this.#heard.size === 1 ? this.#heard.keys().next().value : undefined;
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

interface Condition {
  readonly ours: boolean;
  readonly claimed: boolean;
  readonly stoodBy: boolean;
}

const conditionOf = ({ ours, claims, standby }: Host): Condition => ({
  ours: ours !== undefined,
  claimed: claims.size > 0,
  stoodBy: standby.size > 0,
});

const isHeard = ({ claims, standby }: Host, from: string): boolean =>
  claims.get(from) === true || standby.get(from) === true;
