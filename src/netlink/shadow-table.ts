/**
 * Where packets go that come from the fabric and are for hosts that we only stand by for: into the waiting room.
 *
 * These routes are in a table of their own, which is looked up only for what comes in by an uplink (`ip rule iif`): our
 * own servers, and the box itself, go on reaching such a host through the fabric, where it really is.
 *
 * All routes lead to one gateway behind the door that nobody has, so the kernel needs one neighbour entry and not ten
 * thousand; those of hosts that will come together do so over one next-hop object (see shadow-groups.ts). A host whose
 * packets are more than may wait is dropped by the kernel (`shed`): a flood to somebody who is not there must cost
 * neither memory nor the loop.
 *
 * Routes, rules and neighbour entries are known as ours by one protocol number. What the kernel refused is tried again
 * until it is right.
 */
import {
  AF,
  FR_ACT,
  makeRoute,
  NTF,
  NUD,
  type Refusal,
  type Request,
  type Route,
  RTN,
  RTNH_F,
  type Rtnetlink,
  type Rule,
  requests,
} from 'rtnetlink-ts';
import { type Address, familyOf, hostPrefix, parseAddress, prefixAddress } from '../model/address.ts';
import type { Clock, Timer } from '../model/clock.ts';
import { type HostRoute, LEAST_GROUP } from '../model/hosts.ts';
import { type Counters, countRefusals, sendPaced } from './installing.ts';
import { nextHopsOf } from './next-hop-reading.ts';
import { compareRules, rulesOf, sameRule } from './policy-rules.ts';
import type { RuleKeeper } from './rule-keeper.ts';
import { type InetFamily, NOBODY, objectId, type ShadowGroup, ShadowGroups } from './shadow-groups.ts';
import { type Door, REDIRECTED } from './waiting-room.ts';

export interface ShadowTableOptions {
  readonly table: number;
  /** Of these routes and rules, and of nobody else's. */
  readonly protocol: number;
  readonly door: Door;
  readonly keeper?: Pick<RuleKeeper, 'keep' | 'listening'>;
}

export type ShadowSocket = Pick<Rtnetlink, 'sendNow' | 'dumpRoutes' | 'dumpRules' | 'dumpNextHops'>;

export type Shadow = Pick<HostRoute, 'address' | 'group'>;

interface Entry {
  /** By the kernel. */
  readonly dropped: boolean;
  readonly group: ShadowGroup | undefined;
}

/** Before the main table's (32766) and those of the repair tunnel. */
const PRIORITY = 20_100;
/** For what waited and goes the way of its group now. */
const REDIRECTED_PRIORITY = 20_099;
const FAMILIES = [AF.INET, AF.INET6] as const;
const RETRY = 1_000;
/** What a deletion is answered with when there is nothing left to delete. */
const NOTHING_THERE = new Set(['ESRCH', 'ENOENT', 'ENODEV', 'ENXIO']);
/** What a kernel says that has no next-hop objects. */
const UNKNOWN_THERE = new Set(['EOPNOTSUPP', 'EINVAL', 'EAFNOSUPPORT']);

export class ShadowTable {
  readonly #rtnetlink: ShadowSocket;
  readonly #clock: Clock;
  readonly #options: ShadowTableOptions;
  readonly #hosts = new Map<Address, Entry>();
  readonly #groups: ShadowGroups;
  readonly #counters: Counters = {};
  /** Of the families of which there were shadows: where IPv6 is switched off the door takes no entry of it. */
  readonly #entered = new Set<InetFamily>();
  #uplinks: readonly string[] = [];
  #answered: Promise<unknown> = Promise.resolve();
  #timer: Timer | undefined;
  #unkeep: (() => void) | undefined;
  #closed = false;

  constructor(rtnetlink: ShadowSocket, clock: Clock, options: ShadowTableOptions) {
    this.#rtnetlink = rtnetlink;
    this.#clock = clock;
    this.#options = options;
    this.#groups = new ShadowGroups(options.protocol, options.door);
  }

  /** What an earlier life left is taken over or goes. Resolves when the kernel was read; rejects when it can't be. */
  async start(uplinks: readonly string[]): Promise<void> {
    this.#uplinks = uplinks;
    const { keeper, protocol } = this.#options;
    this.#unkeep ??= keeper?.keep({
      name: 'shadows',
      isWanted: (rule) => rule.protocol === protocol && this.#rules(rule.family).some((each) => sameRule(each, rule)),
      restore: () => this.configure(this.#uplinks),
    });
    await keeper?.listening();
    if (this.#closed) return;
    try {
      await this.#compare();
    } catch (error) {
      this.#later();
      throw error;
    }
  }

  configure(uplinks: readonly string[]): void {
    this.#uplinks = uplinks;
    this.#compare().catch(() => this.#later());
  }

  /** In the kernel when this returns; refusals are counted when its answers have been read. */
  apply(gone: Iterable<Address>, come: Iterable<Shadow>): void {
    const batch: Request[] = [];
    for (const address of gone) {
      const entry = this.#hosts.get(address);
      if (!entry) continue;
      this.#hosts.delete(address);
      if (entry.group) this.#groups.leave(entry.group);
      batch.push(requests.deleteRoute(this.#slot(address)));
    }
    for (const { address, group: name } of come) {
      const before = this.#hosts.get(address);
      if (before?.dropped === false && before.group?.name === name) continue;
      if (before?.group) this.#groups.leave(before.group);
      const entry = { dropped: false, group: name === undefined ? undefined : this.#groups.join(name) };
      this.#hosts.set(address, entry);
      const route = this.#routeOf(address, entry, batch);
      batch.push(requests.setRoute(route));
    }
    for (const id of this.#groups.collect()) batch.push(requests.deleteNextHop(id));
    this.#send(batch);
  }

  /** The group of a shadow that has so many hosts that they are best served together. */
  groupOf(address: Address): string | undefined {
    const group = this.#hosts.get(address)?.group;
    return group && group.hosts >= LEAST_GROUP ? group.name : undefined;
  }

  /** At which port (ifindex) the hosts of this group can be reached, each by its own MAC; undefined: at none yet. */
  turn(name: string, towards: number | undefined): void {
    const group = this.#groups.of(name);
    if (group && group.towards !== towards) this.#send(this.#groups.turn(group, towards));
  }

  /** With the carrier of a port the kernel has removed what led there. @returns the groups that were turned to it */
  portDown(ifindex: number): string[] {
    const groups = [...this.#groups.all()].filter(({ towards }) => towards === ifindex);
    if (groups.length === 0) return [];
    for (const group of groups) group.towards = undefined;
    this.#compare().catch(() => this.#later());
    return groups.map(({ name }) => name);
  }

  isIn(name: string, address: Address): boolean {
    return this.#hosts.get(address)?.group?.name === name;
  }

  /** Its packets are dropped from now on, or wait again. */
  shed(address: Address, on: boolean): void {
    const before = this.#hosts.get(address);
    if (before === undefined || before.dropped === on) return;
    const entry = { ...before, dropped: on };
    this.#hosts.set(address, entry);
    const batch: Request[] = [];
    const route = this.#routeOf(address, entry, batch);
    this.#send([...batch, requests.setRoute(route)]);
  }

  has(address: Address): boolean {
    return this.#hosts.has(address);
  }

  async settled(): Promise<void> {
    await this.#answered;
  }

  /** What the kernel refused, by `RTM_* CODE`. */
  counters(): Readonly<Record<string, number>> {
    return { ...this.#counters, hosts: this.#hosts.size, groups: this.#groups.size };
  }

  /** Takes everything out of the kernel; the entries of the door go with it. */
  async leave(): Promise<void> {
    this.close();
    this.#hosts.clear();
    this.#groups.clear();
    this.#uplinks = [];
    await this.#compare();
  }

  close(): void {
    this.#closed = true;
    this.#unkeep?.();
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #send(batch: readonly Request[]): void {
    if (batch.length === 0) return;
    const result = this.#rtnetlink.sendNow(batch).then((answer) => {
      countRefusals(this.#counters, answer);
      if (answer.refused.some(({ refusal }) => isUnknownThere(refusal))) this.#withoutGroups();
      if (answer.refused.some(({ refusal }) => !NOTHING_THERE.has(refusal.code))) this.#later();
    });
    this.#answered = Promise.all([this.#answered, result]);
  }

  #withoutGroups(): void {
    this.#groups.giveUp();
    for (const [address, { dropped }] of this.#hosts) this.#hosts.set(address, { dropped, group: undefined });
  }

  #later(): void {
    if (this.#closed) return;
    this.#timer ??= this.#clock.schedule(this.#clock.now() + RETRY, () => {
      this.#timer = undefined;
      this.#compare().catch(() => {
        this.#counters.unread = (this.#counters.unread ?? 0) + 1;
        this.#later();
      });
    });
  }

  /** Makes the kernel hold exactly what is wanted. */
  async #compare(): Promise<void> {
    const { protocol, table } = this.#options;
    let failed = await this.#paced(this.#groups.restored(), (request) => [request]);
    for (const family of FAMILIES) {
      const wanted = this.#rules(family);
      const rules = await rulesOf(this.#rtnetlink, family);
      if (rules === undefined) continue;
      const { missing, left } = compareRules(rules, wanted, protocol);
      failed += await this.#paced(missing, (rule) => [requests.addRule(rule)]);
      failed += await this.#paced(left, (rule) => [requests.deleteRule(rule)]);

      const isUsed = [...this.#hosts.keys()].some((address) => inetOf(address) === family);
      failed += await this.#paced(isUsed ? [this.#entry(family)] : [], (request) => [request]);
      const present = new Set<Address>();
      const stale: Route[] = [];
      for (const route of await this.#rtnetlink.dumpRoutes({ family, protocol })) {
        const address = parseAddress(prefixAddress(route.destination as never));
        const entry = address === undefined || route.table !== table ? undefined : this.#hosts.get(address);
        if (entry === undefined) stale.push(route);
        else if (this.#isIn(route, address!, entry)) present.add(address!);
      }
      const absent = [...this.#hosts.keys()].filter((address) => inetOf(address) === family && !present.has(address));
      // As they are wanted by then: hosts come and go while this goes on.
      failed += await this.#paced(absent, (address) => {
        const entry = this.#hosts.get(address);
        if (entry === undefined) return [];
        const batch: Request[] = [];
        const route = requests.setRoute(this.#routeOf(address, entry, batch));
        return [...batch, route];
      });
      failed += await this.#paced(stale, (route) => {
        const address = parseAddress(prefixAddress(route.destination as never));
        return address && route.table === table && this.#hosts.has(address) ? [] : [requests.deleteRoute(route)];
      });
    }
    // With an object go the routes over it: when there are none any more.
    const objects = this.#groups.stale(await nextHopsOf(this.#rtnetlink));
    failed += await this.#paced(objects, (id) => [requests.deleteNextHop(id)]);
    if (failed > 0) this.#later();
  }

  /** The kernel's route is the one that is wanted. */
  #isIn(route: Route, address: Address, { dropped, group }: Entry): boolean {
    if (dropped) return route.type === RTN.BLACKHOLE;
    if (route.type === RTN.BLACKHOLE) return false;
    return route.nextHopId === (group && objectId(group, inetOf(address)));
  }

  #paced<T>(items: readonly T[], requestsFor: (item: T) => readonly Request[]): Promise<number> {
    return sendPaced(this.#rtnetlink, items, requestsFor, this.#counters);
  }

  #rules(family: number): Rule[] {
    const rules = this.#uplinks.map((uplink, index) => this.#rule(family, uplink, index));
    return rules.length > 0 ? [...rules, this.#redirection(family)] : [];
  }

  #rule(family: number, uplink: string, index: number): Rule {
    const { table, protocol } = this.#options;
    return { family, priority: PRIORITY + index, action: FR_ACT.TO_TBL, table, inputInterface: uplink, protocol };
  }

  /** What was there before it was redirected came in by an uplink. */
  #redirection(family: number): Rule {
    const { table, protocol, door } = this.#options;
    const mark = { mark: REDIRECTED, markMask: 0xffffffff };
    const rule = { family, priority: REDIRECTED_PRIORITY, action: FR_ACT.TO_TBL, table, protocol };
    return { ...rule, inputInterface: door.interface, ...mark };
  }

  /** What it needs beside it is put into `batch`. */
  #routeOf(address: Address, { dropped, group }: Entry, batch: Request[]): Route {
    if (dropped) return makeRoute({ ...this.#named(address), type: RTN.BLACKHOLE, nextHops: [] });
    const family = inetOf(address);
    if (!this.#entered.has(family)) {
      this.#entered.add(family);
      batch.push(this.#entry(family));
    }
    if (group) {
      const nextHopId = this.#groups.idOf(group, family, batch);
      return makeRoute({ ...this.#named(address), nextHops: [], nextHopId });
    }
    const { ifindex } = this.#options.door;
    const hop = { ifindex, gateway: NOBODY[family], ...(family === AF.INET ? { flags: RTNH_F.ONLINK } : {}) };
    return makeRoute({ ...this.#named(address), nextHops: [hop] });
  }

  /** The MAC of the gateway behind the door. */
  #entry(family: InetFamily): Request {
    const { door, protocol } = this.#options;
    const behind = { ifindex: door.ifindex, destination: NOBODY[family], linkAddress: door.mac };
    return requests.setNeighbour({ family, ...behind, state: NUD.PERMANENT, flags: NTF.EXT_LEARNED, protocol });
  }

  /** For a deletion, whatever the route does. */
  #slot(address: Address): Route {
    return makeRoute({ ...this.#named(address), type: RTN.UNSPEC, nextHops: [] });
  }

  #named(address: Address) {
    const { table, protocol } = this.#options;
    return { destination: hostPrefix(address), table, protocol, metric: 1 };
  }
}

/** Of a life that nobody follows, or that one follows which stands by for nobody. */
export interface ShadowLeftovers {
  readonly rules: readonly Rule[];
  readonly routes: readonly Route[];
  /** Ids of next-hop objects. */
  readonly objects?: readonly number[];
}

/** By our protocol number, wherever they are. Rejects when the kernel can't be read. */
export async function findShadows(
  rtnetlink: Omit<ShadowSocket, 'sendNow'>,
  protocol: number,
): Promise<ShadowLeftovers> {
  const rules: Rule[] = [];
  const routes: Route[] = [];
  for (const family of FAMILIES) {
    const found = (await rulesOf(rtnetlink, family)) ?? [];
    rules.push(...found.filter((rule) => rule.protocol === protocol));
    routes.push(...(await rtnetlink.dumpRoutes({ family, protocol })));
  }
  const objects = (await nextHopsOf(rtnetlink)).filter((each) => each.protocol === protocol).map(({ id }) => id);
  return { rules, routes, objects };
}

export async function removeShadows(
  rtnetlink: Pick<Rtnetlink, 'sendNow'>,
  { rules, routes, objects = [] }: ShadowLeftovers,
  counters: Counters = {},
): Promise<void> {
  await sendPaced(rtnetlink, rules, (rule) => [requests.deleteRule(rule)], counters);
  await sendPaced(rtnetlink, routes, (route) => [requests.deleteRoute(route)], counters);
  await sendPaced(rtnetlink, objects, (id) => [requests.deleteNextHop(id)], counters);
}

const inetOf = (address: Address): InetFamily => (familyOf(address) === 4 ? AF.INET : AF.INET6);

const isUnknownThere = ({ request, code }: Refusal): boolean => request === 'RTM_NEWNEXTHOP' && UNKNOWN_THERE.has(code);
