/** One prefix: what is wanted of it, and which routes of it are in the kernel. */
import { makeRoute, type Request, type Route, requests } from 'rtnetlink-ts';
import { familyOf, type Prefix } from '../../model/address.ts';
import type { LearnedRoute, NextHop } from '../../model/hosts.ts';
import type { Group, Hop, NextHopObjects } from './next-hop-objects.ts';
import type { Orders } from './orders.ts';

/** A route in the kernel; without a group it is one that we would not write (of an earlier version). */
export interface Slot {
  readonly metric: number;
  readonly group: Group | undefined;
  /** Of the group, when the route was written. */
  readonly life: number;
}

export interface Want {
  readonly metric: number;
  readonly group: Group;
}

export interface Entry {
  readonly prefix: Prefix;
  /** undefined: to be removed, or, while `inherited`, not known yet. */
  wanted: LearnedRoute | undefined;
  /** Of an earlier life, and nobody has said anything about it yet. */
  inherited: boolean;
  slots: readonly Slot[];
  /** What is wanted is not in the kernel although it could be, so an old way may serve: to be tried again. */
  refused: boolean;
  /** A wanted route is not there, since none of its next hops can be used. */
  waiting: boolean;
}

export const newEntry = (prefix: Prefix, wanted: LearnedRoute | undefined): Entry => ({
  prefix,
  wanted,
  inherited: wanted === undefined,
  slots: [],
  refused: false,
  waiting: false,
});

export const isThere = (slot: Slot): boolean =>
  slot.group === undefined || (slot.group.life === slot.life && slot.group.members.length > 0);

export function isAsWanted(entry: Entry, wants: readonly Want[]): boolean {
  const there = entry.slots.filter(isThere);
  return (
    there.length === wants.length &&
    wants.every(({ metric, group }) => there.some((slot) => slot.metric === metric && slot.group === group))
  );
}

/** As it is in the kernel over groups of ours. */
export function learnedOf({ prefix, slots }: Entry): LearnedRoute | undefined {
  const named = (hops: readonly Hop[]): NextHop[] =>
    hops.map(({ via, port }) => ({ via, ...(port === undefined ? {} : { interface: port }) }));
  const [first] = slots.filter(isThere).sort((one, other) => one.metric - other.metric);
  if (!first?.group) return undefined;
  const { members, backup } = first.group;
  return {
    prefix,
    metric: first.metric,
    nextHops: named(members),
    ...(backup.length > 0 ? { backup: named(backup) } : {}),
  };
}

/** What Linux makes of IPv6 metric 0. */
const IPV6_DEFAULT_METRIC = 1024;

export const metricOf = (prefix: Prefix, metric: number): number =>
  metric || (familyOf(prefix) === 6 ? IPV6_DEFAULT_METRIC : 0);

/** As it was read from the kernel. */
export function adopt(entry: Entry, routes: readonly Route[], objects: NextHopObjects): void {
  entry.slots = routes.map(({ metric, nextHopId }) => {
    const group = nextHopId === undefined ? undefined : objects.byId(nextHopId);
    return { metric: metric ?? 0, group, life: group?.life ?? 0 };
  });
  for (const slot of entry.slots) count(slot, 1);
}

/** Counts it with the routes over its group. */
function count({ group, life }: Slot, difference: 1 | -1): void {
  if (group && group.life === life) group.routes += difference;
}

/** The way of a route by its kernel protocol and table. */
export interface Place {
  readonly protocol: number;
  readonly table: number;
}

export interface Writing {
  readonly place: Place;
  readonly objects: NextHopObjects;
  readonly orders: Orders;
  /** The kernel refused a route with this code. */
  readonly onRefused: (code: string) => void;
}

/**
 * Brings the kernel's routes of a prefix to what is wanted, each by one replacement. When others are to be removed, what
 * stays is written again: a port that flapped unheard may have taken it, and only a refusal tells.
 */
export function write(entry: Entry, wants: readonly Want[], writing: Writing): void {
  entry.slots = entry.slots.filter(isThere);
  entry.refused = false;
  const ready = wants.filter(({ group }) => writing.objects.prepare(group, writing.orders));
  entry.waiting = ready.length < wants.length;
  const isReplaced = (slot: Slot): boolean => ready.some(({ metric }) => metric === slot.metric);
  const again = !entry.slots.every(isReplaced);
  for (const want of ready) {
    const before = entry.slots.find((slot) => slot.metric === want.metric);
    if (again || before?.group !== want.group) point(entry, { ...want, life: want.group.life }, before, writing);
  }
}

/**
 * Removes what is too much, once the kernel has taken what is wanted: neither a refusal nor a next hop that is not to be
 * used for a while must leave the prefix without a route. What has no port any more goes.
 */
export function trim(entry: Entry, wants: readonly Want[], writing: Writing): void {
  if (entry.refused || entry.slots.length === 0) return;
  const isWanted = (slot: Slot): boolean =>
    wants.some(({ metric, group }) => metric === slot.metric && group === slot.group);
  if (!entry.slots.some(isWanted) && wants.some(({ group }) => writing.objects.hasPort(group))) {
    entry.refused = true;
    return;
  }
  for (const slot of entry.slots) if (!isWanted(slot)) remove(entry, slot, writing);
}

function point(entry: Entry, slot: Slot, before: Slot | undefined, { place, orders, onRefused }: Writing): void {
  change(entry, before, slot);
  orders.push(requests.setRoute(routeOf(entry.prefix, slot, place)), (code) => {
    entry.refused = true;
    change(entry, slot, before && isThere(before) ? before : undefined);
    onRefused(code);
  });
}

function remove(entry: Entry, slot: Slot, { place, orders }: Writing): void {
  change(entry, slot, undefined);
  orders.push(deletion(entry.prefix, slot, place), (code) => {
    if (code === 'ESRCH' || !isThere(slot)) return;
    entry.refused = true;
    change(entry, undefined, slot);
  });
}

function change(entry: Entry, before: Slot | undefined, after: Slot | undefined): void {
  entry.slots = [...entry.slots.filter((each) => each !== before), ...(after ? [after] : [])];
  if (before) count(before, -1);
  if (after) count(after, 1);
}

const routeOf = (destination: Prefix, { metric, group }: Slot, { protocol, table }: Place) =>
  makeRoute({ destination, table, protocol, metric, nextHops: [], ...(group ? { nextHopId: group.id } : {}) });

/** By prefix and metric alone: the kernel would not find the route by an object that it has dropped meanwhile. */
const deletion = (prefix: Prefix, slot: Slot, place: Place): Request =>
  requests.deleteRoute(routeOf(prefix, { ...slot, group: undefined }, place));
