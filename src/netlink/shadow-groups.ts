/**
 * Next-hop objects over which the routes of shadows lead: one (of each family) for all hosts that are behind one port of
 * the other switch. Such hosts come together, when their server has changed over: then one message turns the way of all of
 * them from the waiting room to our port, where the kernel asks for each that is sent anything. Host by host they become
 * hosts of ours behind that, however many they are.
 */
import { AF, type NextHop, type Request, RTNH_F, requests } from 'rtnetlink-ts';
import type { Door } from './waiting-room.ts';

/** RFC 7600: the address of nobody; and a link-local one that none of the door's two ends has. */
export const NOBODY = { [AF.INET]: '192.0.0.8', [AF.INET6]: 'fe80::1' } as const;

export type InetFamily = typeof AF.INET | typeof AF.INET6;

/** Ids of the objects: two for each group, IPv4 and IPv6. */
const FIRST_ID = 20_100_000;
const SLOTS = 400;

export interface ShadowGroup {
  readonly name: string;
  readonly slot: number;
  /** In the kernel, as far as known. */
  readonly families: Set<InetFamily>;
  hosts: number;
  /** ifindex of our port; undefined: the door. */
  towards: number | undefined;
}

export class ShadowGroups {
  readonly #protocol: number;
  readonly #door: Door;
  readonly #groups = new Map<string, ShadowGroup>();
  readonly #slots: (ShadowGroup | undefined)[] = [];
  #unsupported = false;

  constructor(protocol: number, door: Door) {
    this.#protocol = protocol;
    this.#door = door;
  }

  get size(): number {
    return this.#groups.size;
  }

  of(name: string): ShadowGroup | undefined {
    return this.#groups.get(name);
  }

  all(): Iterable<ShadowGroup> {
    return this.#groups.values();
  }

  /** One host more. undefined: there are too many groups, or the kernel has no such objects. */
  join(name: string): ShadowGroup | undefined {
    if (this.#unsupported) return undefined;
    const group = this.#groups.get(name) ?? this.#begin(name);
    if (group) group.hosts++;
    return group;
  }

  /** One host less. */
  leave(group: ShadowGroup): void {
    group.hosts--;
  }

  /** The id of its object; its making is put into `batch` if it has to be made. */
  idOf(group: ShadowGroup, family: InetFamily, batch: Request[]): number {
    if (!group.families.has(family)) {
      group.families.add(family);
      batch.push(requests.setNextHop(this.#object(group, family)));
    }
    return objectId(group, family);
  }

  /** All that its hosts' packets go to. */
  turn(group: ShadowGroup, towards: number | undefined): Request[] {
    group.towards = towards;
    return Array.from(group.families, (family) => requests.setNextHop(this.#object(group, family)));
  }

  /** As they ought to be, whatever became of them. */
  restored(): Request[] {
    return [...this.#groups.values()].flatMap((group) => this.turn(group, group.towards));
  }

  /** Hosts lead straight to the door from now on. */
  giveUp(): void {
    this.#unsupported = true;
    this.clear();
  }

  /** There are no hosts any more. */
  clear(): void {
    this.#groups.clear();
    this.#slots.length = 0;
  }

  /** Of an earlier life, or of a group that has no hosts any more. */
  stale(read: readonly NextHop[]): number[] {
    const needed = new Set<number>();
    for (const group of this.#groups.values())
      for (const family of group.families) if (group.hosts > 0) needed.add(objectId(group, family));
    return read.filter(({ id, protocol }) => protocol === this.#protocol && !needed.has(id)).map(({ id }) => id);
  }

  /** Groups without hosts are forgotten. @returns the ids of their objects */
  collect(): number[] {
    const ids: number[] = [];
    for (const group of this.#groups.values()) {
      if (group.hosts > 0) continue;
      this.#groups.delete(group.name);
      this.#slots[group.slot] = undefined;
      for (const family of group.families) ids.push(objectId(group, family));
    }
    return ids;
  }

  #begin(name: string): ShadowGroup | undefined {
    let slot = this.#slots.indexOf(undefined);
    if (slot < 0) slot = this.#slots.length;
    if (slot >= SLOTS) return undefined;
    const group: ShadowGroup = { name, slot, families: new Set(), hosts: 0, towards: undefined };
    this.#slots[slot] = group;
    this.#groups.set(name, group);
    return group;
  }

  #object(group: ShadowGroup, family: InetFamily): NextHop {
    const object = { id: objectId(group, family), family, protocol: this.#protocol };
    // Without a gateway: the kernel asks for each host itself.
    if (group.towards !== undefined) return { ...object, ifindex: group.towards };
    const flags = family === AF.INET ? { flags: RTNH_F.ONLINK } : {};
    return { ...object, ifindex: this.#door.ifindex, gateway: NOBODY[family], ...flags };
  }
}

/** Of the group's next-hop object, whether the kernel has it or not. */
export const objectId = ({ slot }: ShadowGroup, family: InetFamily): number =>
  FIRST_ID + 2 * slot + (family === AF.INET ? 0 : 1);
