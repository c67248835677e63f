import type { Address } from '../../model/address.ts';
import type { HeardFact, PortFact } from '../../model/port-facts.ts';
import { decodeFact, decodeKey, type FactKey } from '../codec/index.ts';
import type { Refusals } from './refusals.ts';
import type { MapEvent, MapLimits, Moment, PortView, Source } from './types.ts';

/** What is known of one port of a switch, and of whom it is known. */
export class PortRecord {
  readonly owner: SwitchRecord;
  readonly ifindex: number;
  /** The last word, whoever carried it. */
  fact: PortFact;
  /** What each protocol says now. */
  readonly heard = new Map<Source, PortFact>();
  /** Nobody says anything of it any more. */
  gone: { readonly at: number; readonly reason: string } | undefined;
  /** Known from before a restart here, not heard since. */
  old = false;
  /** State in the history. */
  told: PortFact['state'] | undefined;

  constructor(owner: SwitchRecord, fact: PortFact) {
    this.owner = owner;
    this.ifindex = fact.ifindex;
    this.fact = fact;
  }

  view(): PortView {
    const { port, state, since, reason } = this.fact;
    if (!this.gone) return { port, state, since, why: reason };
    return { port, state: 'down', since: this.gone.at, why: this.owner.silence(this.gone.reason) };
  }
}

/** One switch: its ports, and whether it is heard. */
export class SwitchRecord {
  readonly routerId: Address;
  readonly ports = new Map<number, PortRecord>();
  state: 'heard' | 'lost' = 'lost';
  since: number;
  why = '';
  /** Why a protocol lost it last, as long as it is not heard again. */
  lossReason: string | undefined;
  /** Facts, hosts and sessions by which it is heard now. */
  held = 0;
  /** Addresses that it announces. */
  addresses = 0;
  /** Known from before a restart here, not heard since. */
  old = false;
  /** State in the history. */
  told: 'heard' | 'lost' | undefined;
  /** After this (monotonic) what is known from before a restart and was not heard again is over. */
  settleAt: number | undefined;

  constructor(routerId: Address, wall: number) {
    this.routerId = routerId;
    this.since = wall;
  }

  get name(): string {
    for (const { fact } of this.ports.values()) if (fact.switchName !== '') return fact.switchName;
    return this.routerId;
  }

  silence(reason: string): string {
    return reason === WITHDRAWN ? `${this.name} says nothing of it any more` : `${this.name} is not heard: ${reason}`;
  }

  *uplinks(): Generator<PortRecord> {
    for (const port of this.ports.values()) if (port.fact.role === 'uplink') yield port;
  }
}

/** An address that we speak with, by one protocol or both. */
interface Session {
  readonly routerId: Address;
  readonly sources: Set<Source>;
}

/** What a fact that was taken back says; all else means that the switch itself is lost. */
const WITHDRAWN = 'withdrawn';

/** After a switch is heard for the first time in this life, it gets this long (ms) to say all. */
export const SETTLE_AFTER = 10_000;

const LINK_LOCAL = /^fe[89ab]/;

/**
 * The switches by what they say of themselves. Nobody is believed about another: a fact must be of who says it, and an
 * uplink's address belongs to the switch that a session with that address is with, else to who named it first.
 */
export class Switches {
  readonly #limits: MapLimits;
  readonly #refusals: Refusals;
  readonly #switches = new Map<Address, SwitchRecord>();
  readonly #owners = new Map<Address, PortRecord>();
  /** By the address that a session is with. */
  readonly #sessions = new Map<Address, Session>();
  /** Changed since the last look. */
  readonly changedPorts = new Set<PortRecord>();
  readonly changedSwitches = new Set<SwitchRecord>();

  constructor(limits: MapLimits, refusals: Refusals) {
    this.#limits = limits;
    this.#refusals = refusals;
  }

  get(routerId: Address): SwitchRecord | undefined {
    return this.#switches.get(routerId);
  }

  all(): Iterable<SwitchRecord> {
    return this.#switches.values();
  }

  get size(): number {
    return this.#switches.size;
  }

  /** The switch of this id, made if there is room. */
  take(routerId: Address, wall: number): SwitchRecord | undefined {
    const known = this.#switches.get(routerId);
    if (known) return known;
    if (this.#switches.size >= this.#limits.switches) {
      this.#refusals.count(routerId, 'too-many-switches', `no room for another switch, ${routerId}`);
      return undefined;
    }
    const made = new SwitchRecord(routerId, wall);
    this.#switches.set(routerId, made);
    return made;
  }

  fact(source: Source, heard: HeardFact, moment: Moment): void {
    const { routerId, key } = heard;
    const whose = decodeKey(key);
    if (typeof whose === 'string') {
      this.#refusals.count(routerId, whose, `a fact of ${routerId} can not be read: ${whose}`);
      return;
    }
    if (whose.routerId !== routerId) {
      this.#refusals.count(routerId, 'not-its-port', `${routerId} speaks of a port of ${whose.routerId}`);
      return;
    }
    if (heard.value === undefined) this.#takeBack(source, whose, heard.reason ?? WITHDRAWN, moment);
    else this.#say(source, whose, key, heard.value, moment);
  }

  #say(source: Source, whose: FactKey, key: Uint8Array, value: Uint8Array, moment: Moment): void {
    const { routerId, ifindex } = whose;
    const fact = decodeFact(key, value);
    if (typeof fact === 'string') {
      this.#refusals.count(routerId, fact, `a fact of ${routerId} can not be read: ${fact}`);
      return;
    }
    const owner = this.take(routerId, moment.wall);
    if (!owner) return;
    let port = owner.ports.get(ifindex);
    if (!port) {
      if (!this.#room(owner)) {
        this.#refusals.count(routerId, 'too-many-ports', `${routerId} has more ports than there is room for`);
        return;
      }
      port = new PortRecord(owner, fact);
      owner.ports.set(ifindex, port);
    }
    if (!port.heard.has(source)) this.hold(owner, 1, moment);
    port.heard.set(source, fact);
    port.gone = undefined;
    port.old = false;
    this.#latest(port, fact);
    this.#own(port);
    this.#changed(port);
  }

  /** Each protocol has its own delay, so an older word may come later. */
  #latest(port: PortRecord, said: PortFact): void {
    let latest = said;
    for (const fact of port.heard.values()) if (fact.since > latest.since) latest = fact;
    port.fact = latest;
  }

  #takeBack(source: Source, { routerId, ifindex }: FactKey, reason: string, moment: Moment): void {
    const owner = this.#switches.get(routerId);
    const port = owner?.ports.get(ifindex);
    if (!owner || !port?.heard.has(source)) return;
    if (reason !== WITHDRAWN) owner.lossReason = reason;
    port.heard.delete(source);
    const [left] = port.heard.values();
    if (left) port.fact = left;
    else port.gone = { at: moment.wall, reason };
    this.#changed(port);
    this.hold(owner, -1, moment);
  }

  /** A port that is gone gives way to one that is there. */
  #room(owner: SwitchRecord): boolean {
    if (owner.ports.size < this.#limits.portsPerSwitch) return true;
    for (const [ifindex, { gone }] of owner.ports) {
      if (!gone) continue;
      owner.ports.delete(ifindex);
      return true;
    }
    return false;
  }

  /** More, or less, by which the switch is heard. */
  hold(owner: SwitchRecord, more: 1 | -1, { now, wall }: Moment): void {
    owner.held += more;
    if (owner.held > 0 && (owner.state === 'lost' || owner.old)) {
      if (owner.state === 'lost') owner.since = wall;
      owner.state = 'heard';
      owner.old = false;
      owner.why = 'it is heard';
      owner.lossReason = undefined;
      owner.settleAt = now + SETTLE_AFTER;
      this.changedSwitches.add(owner);
    } else if (owner.held === 0 && owner.state === 'heard') {
      owner.state = 'lost';
      owner.since = wall;
      owner.why = owner.lossReason ?? 'it announces nothing any more';
      owner.settleAt = undefined;
      this.changedSwitches.add(owner);
    }
  }

  /** A session came, or went. */
  neighbour({ source, address, routerId, up, reason }: MapEvent & { type: 'neighbour' }, moment: Moment): void {
    const before = this.#sessions.get(address);
    if (before?.sources.has(source) && (!up || before.routerId !== routerId)) {
      this.#sessionEnded(source, address, before, reason, moment);
    }
    const present = this.#sessions.get(address);
    if (!up || present?.sources.has(source) || (present && present.routerId !== routerId)) return;
    const owner = this.take(routerId, moment.wall);
    if (!owner) return;
    if (present) present.sources.add(source);
    else this.#sessions.set(address, { routerId, sources: new Set([source]) });
    this.hold(owner, 1, moment);
    const thief = this.#owners.get(address);
    if (thief && thief.owner !== owner) {
      this.#owners.delete(address);
      this.#stolen(thief, address);
      this.#changed(thief);
    }
    for (const port of owner.uplinks()) if (port.fact.addresses.includes(address)) this.#own(port);
  }

  #sessionEnded(
    source: Source,
    address: Address,
    { routerId, sources }: Session,
    why: string | undefined,
    moment: Moment,
  ): void {
    sources.delete(source);
    if (sources.size === 0) this.#sessions.delete(address);
    const owner = this.#switches.get(routerId);
    if (!owner) return;
    const reason = why === undefined ? (owner.lossReason ?? 'session lost') : `session lost: ${why}`;
    owner.lossReason = reason;
    this.hold(owner, -1, moment);
    // In OSPF facts are heard by way of others, and go with their LSAs.
    if (source === 'ospf' || this.#sessionsOf(owner, source) > 0) return;
    for (const { ifindex } of owner.ports.values()) {
      this.#takeBack(source, { routerId, ifindex }, reason, moment);
    }
  }

  #sessionsOf({ routerId }: SwitchRecord, source: Source): number {
    let count = 0;
    for (const session of this.#sessions.values()) {
      if (session.routerId === routerId && session.sources.has(source)) count++;
    }
    return count;
  }

  /** Who answers under an address of an uplink; `port` undefined when only the switch is known. */
  at(address: Address): { readonly owner: SwitchRecord; readonly port: PortRecord | undefined } | undefined {
    const port = this.#owners.get(address);
    if (port) return { owner: port.owner, port };
    const session = this.#sessions.get(address);
    const owner = session && this.#switches.get(session.routerId);
    return owner && { owner, port: undefined };
  }

  #own(port: PortRecord): void {
    for (const address of port.fact.addresses) {
      if (LINK_LOCAL.test(address) || port.fact.role !== 'uplink') continue;
      const session = this.#sessions.get(address);
      const present = this.#owners.get(address);
      const theirs = present && present.owner !== port.owner && present.owner.state === 'heard' && !present.gone;
      if (session ? session.routerId !== port.owner.routerId : theirs) this.#stolen(port, address);
      else this.#owners.set(address, port);
    }
  }

  #stolen(port: PortRecord, address: Address): void {
    const { routerId } = port.owner;
    this.#refusals.count(routerId, 'not-its-address', `${routerId} claims ${address}, which is another switch's`);
  }

  #changed(port: PortRecord): void {
    this.changedPorts.add(port);
    if (port.fact.role === 'uplink') this.changedSwitches.add(port.owner);
  }

  /** What an earlier life knew; false: no room. */
  restore(owner: SwitchRecord): boolean {
    if (this.#switches.size >= this.#limits.switches) return false;
    this.#switches.set(owner.routerId, owner);
    return true;
  }

  /** The same, of a port. */
  restorePort(port: PortRecord): boolean {
    if (port.owner.ports.size >= this.#limits.portsPerSwitch) return false;
    port.owner.ports.set(port.ifindex, port);
    if (!port.gone) this.#own(port);
    return true;
  }

  /** What is known of it from an earlier life and was not heard again is over. */
  settle(owner: SwitchRecord, wall: number): void {
    owner.settleAt = undefined;
    for (const port of owner.ports.values()) {
      if (!port.old) continue;
      port.old = false;
      port.gone ??= { at: wall, reason: NOT_SINCE };
      this.#changed(port);
    }
    if (!owner.old) return;
    owner.old = false;
    if (owner.state === 'lost') return;
    owner.state = 'lost';
    owner.since = wall;
    owner.why = NOT_SINCE;
    this.changedSwitches.add(owner);
  }

  /** Ports that are gone since before `wall` go, and switches of which nothing is left. */
  expire(wall: number, inUse: (routerId: Address) => boolean): void {
    for (const owner of this.#switches.values()) {
      for (const [ifindex, { gone }] of owner.ports) if (gone && gone.at < wall) owner.ports.delete(ifindex);
      if (owner.held === 0 && owner.ports.size === 0 && owner.since < wall && !inUse(owner.routerId)) {
        this.#switches.delete(owner.routerId);
      }
    }
    for (const [address, port] of this.#owners) {
      if (port.owner.ports.get(port.ifindex) !== port) this.#owners.delete(address);
    }
  }
}

const NOT_SINCE = 'not since the agent here was restarted';
