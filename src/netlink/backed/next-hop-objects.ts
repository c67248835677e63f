/**
 * Next hops as objects of the kernel: one for each next hop, and over them one group for each pair of a route's next hops
 * and its backup's. All routes of a pair point to the same group, so one message moves them all; a group may have a
 * single member, since what was made as a group can be replaced by groups only.
 *
 * A group is named by its pair for as long as it lives, while what the kernel has in it follows the events: the next
 * hops that can be used; when none of them can and the group is still there, those of the backup. It is never made over
 * the backup: a route that is not in the kernel yet is served by the backup's own.
 *
 * When a port goes down the kernel removes the objects over it, groups that became empty and all their routes, and says
 * so to nobody. `drop` does the same to the picture here; `life` tells the routes of a group from those of the group of
 * the same number that was made again later.
 *
 * Nothing is written here: what is to be is put into `Orders` and written down as done, and taken back when refused.
 */
import { AF, type NextHop as KernelNextHop, RTNH_F, requests } from 'rtnetlink-ts';
import { type Address, familyOf, parseAddress } from '../../model/address.ts';
import type { NextHop } from '../../model/hosts.ts';
import { isUp, onLink } from '../../model/ports.ts';
import type { PortTable } from '../installing.ts';
import type { Orders } from './orders.ts';

export interface Hop {
  /** `via%port`. */
  readonly key: string;
  readonly id: number;
  readonly via: Address;
  /** undefined: no port of ours leads there now. */
  readonly port: string | undefined;
  /** What the kernel holds; undefined: nothing. */
  there: { readonly ifindex: number; readonly onlink: boolean } | undefined;
}

export interface Group {
  readonly key: string;
  readonly id: number;
  readonly primary: readonly Hop[];
  readonly backup: readonly Hop[];
  /** What the kernel holds; empty: there is no such object. */
  members: readonly Hop[];
  /** How often it has vanished. */
  life: number;
  /** Routes over it in the kernel. */
  routes: number;
}

/** Each protocol number has a range of ids of its own, the upper half of it for groups. */
const IDS = 1 << 20;
const HALF = IDS / 2;

/** An object with this id may be one of ours. */
export const isIdOf = (protocol: number, id: number): boolean => id >= protocol * IDS && id < (protocol + 1) * IDS;

const keyOf = (hops: readonly Hop[]): string =>
  hops.length === 1
    ? hops[0]!.key
    : hops
        .map(({ key }) => key)
        .sort()
        .join(',');

const sameHops = (one: readonly Hop[], other: readonly Hop[]): boolean =>
  one.length === other.length && one.every((hop) => other.includes(hop));

export class NextHopObjects {
  readonly #links: PortTable;
  readonly #protocol: number;
  readonly #hops = new Map<string, Hop>();
  readonly #hopsById = new Map<number, Hop>();
  readonly #groups = new Map<string, Group>();
  readonly #groupsById = new Map<number, Group>();
  /** The port that a next hop without an interface is reached by; forgotten when a port changes. */
  readonly #towards = new Map<Address, string | undefined>();
  /** Keys of hops that somebody says are not to be used. */
  readonly #failed = new Set<string>();
  /** Keys of hops that the kernel did not take. */
  readonly #refused = new Set<string>();
  #lastHop = 0;
  #lastGroup = 0;

  /** `protocol`: RTPROT_*, by which they are found again. */
  constructor(links: PortTable, protocol: number) {
    this.#links = links;
    this.#protocol = protocol;
  }

  /** The group of a pair, whether the kernel has it or not. */
  group(nextHops: readonly NextHop[], backups: readonly NextHop[] = []): Group {
    const primary = this.#distinct(nextHops);
    const backup = this.#distinct(backups).filter((hop) => !primary.includes(hop));
    const key = `${keyOf(primary)}|${keyOf(backup)}`;
    return this.#groups.get(key) ?? this.#add(this.#freeGroup(), primary, backup);
  }

  groups(): Iterable<Group> {
    return this.#groupsById.values();
  }

  /** Objects in the kernel. */
  get sizes(): { nextHops: number; groups: number } {
    const count = <T>(values: Iterable<T>, there: (value: T) => boolean) => [...values].filter(there).length;
    return {
      nextHops: count(this.#hopsById.values(), (hop) => hop.there !== undefined),
      groups: count(this.#groupsById.values(), ({ members }) => members.length > 0),
    };
  }

  /** Brings the kernel's group to what it should be now. @returns whether it is there, for routes to point to */
  prepare(group: Group, orders: Orders): boolean {
    const content = this.#contentOf(group);
    if (content.length === 0) return group.members.length > 0;
    for (const hop of content) this.#ensure(hop, orders);
    const before = group.members;
    if (sameHops(before, content)) return true;
    group.members = content;
    const members = content.map(({ id }) => ({ id, weight: 1 }));
    orders.push(
      requests.setNextHop({ id: group.id, family: AF.UNSPEC, protocol: this.#protocol, group: members }),
      () => {
        if (before.length > 0) group.members = before;
        else this.#vanish(group);
      },
    );
    return true;
  }

  /** Whether a port leads to one of its next hops, be it that it is not to be used for now. */
  hasPort({ primary }: Group): boolean {
    return primary.some(({ port }) => port !== undefined && isUp(this.#links.port(port)));
  }

  /** As `drop`, for all ports that are known to be down: who hears of a port before us may tell us what follows from it. */
  dropDead(): number {
    let routes = 0;
    for (const hop of this.#hopsById.values())
      if (hop.there && !isUp(this.#links.portByIndex(hop.there.ifindex))) routes += this.drop(hop.there.ifindex);
    return routes;
  }

  /** The port is down, or was: what the kernel had over it is gone. @returns how many routes went with it */
  drop(ifindex: number): number {
    let routes = 0;
    const gone = new Set<Hop>();
    for (const hop of this.#hopsById.values()) {
      if (hop.there?.ifindex !== ifindex) continue;
      hop.there = undefined;
      gone.add(hop);
    }
    if (gone.size === 0) return 0;
    for (const group of this.#groupsById.values()) {
      if (!group.members.some((hop) => gone.has(hop))) continue;
      group.members = group.members.filter((hop) => !gone.has(hop));
      if (group.members.length > 0) continue;
      routes += group.routes;
      this.#vanish(group);
    }
    return routes;
  }

  /** Ports or addresses have changed: what is known of the ways is found out again, what was refused is tried again. */
  portsChanged(): void {
    this.#towards.clear();
    this.#refused.clear();
  }

  /** What was refused is tried again. */
  tryAgain(): void {
    this.#refused.clear();
  }

  /** Not to be used, or again. @returns the keys that were changed by this */
  fail(via: Address, port: string | undefined): readonly string[] {
    const failed: string[] = [];
    for (const hop of this.#hops.values()) {
      if (hop.via !== via || (port !== undefined && hop.port !== port) || this.#failed.has(hop.key)) continue;
      this.#failed.add(hop.key);
      failed.push(hop.key);
    }
    return failed;
  }

  forgive(keys: Iterable<string>): void {
    for (const key of keys) this.#failed.delete(key);
  }

  /** Removes what no route needs: groups, and the next hops that no group has any more. */
  collect(orders: Orders): void {
    const needed = new Set<Hop>();
    for (const group of this.#groupsById.values()) {
      if (group.routes > 0) for (const hop of [...group.primary, ...group.backup, ...group.members]) needed.add(hop);
      else this.#remove(group, orders);
    }
    for (const hop of this.#hopsById.values()) {
      if (needed.has(hop)) continue;
      this.#hopsById.delete(hop.id);
      if (this.#hops.get(hop.key) === hop) this.#hops.delete(hop.key);
      // Refused: an object that nobody uses stays, until tables are read the next time.
      if (hop.there) orders.push(requests.deleteNextHop(hop.id), () => {});
    }
  }

  /**
   * Takes over what the kernel was read to have. `backupOf`: the id of the group that the routes of a group have as their
   * backup, by which a group of an earlier life is known for what it is.
   */
  adopt(read: readonly KernelNextHop[], backupOf: ReadonlyMap<number, number>): void {
    const ours = new Map<number, KernelNextHop>();
    for (const each of read)
      if (each.protocol === this.#protocol && isIdOf(this.#protocol, each.id)) ours.set(each.id, each);
    for (const hop of this.#hopsById.values()) if (!ours.has(hop.id)) hop.there = undefined;
    for (const each of ours.values()) if (!each.group) this.#adoptHop(each);
    for (const group of this.#groupsById.values())
      if (!ours.has(group.id) && group.members.length > 0) this.#vanish(group);
    const membersOf = (id: number | undefined): readonly Hop[] =>
      (ours.get(id ?? 0)?.group ?? []).flatMap((member) => this.#hopsById.get(member.id) ?? []);
    for (const { id, group: members } of ours.values()) {
      if (!members) continue;
      const primary = membersOf(id);
      const backup = membersOf(backupOf.get(id)).filter((hop) => !primary.includes(hop));
      const group = this.#groupsById.get(id) ?? this.#add(id, primary, backup);
      group.members = primary;
    }
  }

  byId(id: number): Group | undefined {
    return this.#groupsById.get(id);
  }

  #add(id: number, primary: readonly Hop[], backup: readonly Hop[]): Group {
    const key = `${keyOf(primary)}|${keyOf(backup)}`;
    const group: Group = { key, id, primary, backup, members: [], life: 0, routes: 0 };
    this.#groupsById.set(id, group);
    if (!this.#groups.has(key)) this.#groups.set(key, group);
    return group;
  }

  #remove(group: Group, orders: Orders): void {
    this.#groupsById.delete(group.id);
    if (this.#groups.get(group.key) === group) this.#groups.delete(group.key);
    if (group.members.length > 0) orders.push(requests.deleteNextHop(group.id), () => {});
    this.#vanish(group);
  }

  #vanish(group: Group): void {
    group.members = [];
    group.routes = 0;
    group.life++;
  }

  #contentOf(group: Group): readonly Hop[] {
    const usable = group.primary.filter((hop) => this.#usable(hop));
    if (usable.length > 0 || group.members.length === 0) return usable;
    return group.backup.filter((hop) => this.#usable(hop));
  }

  #usable({ key, port }: Hop): boolean {
    if (port === undefined || this.#failed.has(key) || this.#refused.has(key)) return false;
    return isUp(this.#links.port(port));
  }

  #ensure(hop: Hop, orders: Orders): void {
    const port = this.#links.port(hop.port!)!;
    const family = familyOf(hop.via) === 4 ? AF.INET : AF.INET6;
    // A next hop on a link without a subnet of ours (unnumbered) is there because the speaker says so.
    const onlink = family === AF.INET && !onLink(port, hop.via);
    const { ifindex } = port;
    if (hop.there?.ifindex === ifindex && hop.there.onlink === onlink) return;
    hop.there = { ifindex, onlink };
    const flags = onlink ? { flags: RTNH_F.ONLINK } : {};
    orders.push(
      requests.setNextHop({ id: hop.id, family, protocol: this.#protocol, ifindex, gateway: hop.via, ...flags }),
      () => {
        hop.there = undefined;
        this.#refused.add(hop.key);
      },
    );
  }

  #distinct(nextHops: readonly NextHop[]): readonly Hop[] {
    const hops: Hop[] = [];
    for (const { via, interface: name } of nextHops) {
      const hop = this.#hop(via, name ?? this.#portTowards(via));
      if (!hops.includes(hop)) hops.push(hop);
    }
    return hops;
  }

  #hop(via: Address, port: string | undefined): Hop {
    const key = `${via}%${port ?? ''}`;
    const known = this.#hops.get(key);
    if (known) return known;
    do this.#lastHop = (this.#lastHop + 1) % HALF;
    while (this.#hopsById.has(this.#firstId + this.#lastHop));
    const hop: Hop = { key, id: this.#firstId + this.#lastHop, via, port, there: undefined };
    this.#hops.set(key, hop);
    this.#hopsById.set(hop.id, hop);
    return hop;
  }

  #adoptHop({ id, gateway, ifindex, flags = 0 }: KernelNextHop): void {
    const via = parseAddress(gateway ?? '');
    if (!via || ifindex === undefined) return;
    const port = this.#links.portByIndex(ifindex)?.name;
    const key = `${via}%${port ?? ''}`;
    const hop = this.#hopsById.get(id) ?? { key, id, via, port, there: undefined };
    hop.there = { ifindex, onlink: (flags & RTNH_F.ONLINK) !== 0 };
    this.#hopsById.set(id, hop);
    if (!this.#hops.has(hop.key)) this.#hops.set(hop.key, hop);
  }

  get #firstId(): number {
    return this.#protocol * IDS;
  }

  #freeGroup(): number {
    const first = this.#firstId + HALF;
    do this.#lastGroup = (this.#lastGroup + 1) % HALF;
    while (this.#groupsById.has(first + this.#lastGroup));
    return first + this.#lastGroup;
  }

  #portTowards(via: Address): string | undefined {
    if (!this.#towards.has(via)) this.#towards.set(via, this.#links.portTowards(via)?.name);
    return this.#towards.get(via);
  }
}
