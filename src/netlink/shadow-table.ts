/**
 * Where packets go that come from the fabric and are for hosts that we only stand by for: into the waiting room.
 *
 * These routes are in a table of their own, which is looked up only for what comes in by an uplink (`ip rule iif`): our
 * own servers, and the box itself, go on reaching such a host through the fabric, where it really is.
 *
 * All routes lead to one gateway behind the door that nobody has, so the kernel needs one neighbour entry and not ten
 * thousand. A host whose packets are more than may wait is dropped by the kernel (`shed`): a flood to somebody who is not
 * there must cost neither memory nor the loop.
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
import { type Counters, countRefusals, sendPaced } from './installing.ts';
import type { Door } from './waiting-room.ts';

export interface ShadowTableOptions {
  readonly table: number;
  /** Of these routes and rules, and of nobody else's. */
  readonly protocol: number;
  readonly door: Door;
}

export type ShadowSocket = Pick<Rtnetlink, 'sendNow' | 'dumpRoutes' | 'dumpRules'>;

/** Before the main table's (32766) and those of the repair tunnel. */
const PRIORITY = 20_100;
const FAMILIES = [AF.INET, AF.INET6] as const;
/** RFC 7600: the address of nobody; and a link-local one that none of the door's two ends has. */
const NOBODY = { [AF.INET]: '192.0.0.8', [AF.INET6]: 'fe80::1' } as const;
const RETRY = 1_000;
/** What a deletion is answered with when there is nothing left to delete. */
const NOTHING_THERE = new Set(['ESRCH', 'ENOENT', 'ENODEV', 'ENXIO']);

export class ShadowTable {
  readonly #rtnetlink: ShadowSocket;
  readonly #clock: Clock;
  readonly #options: ShadowTableOptions;
  /** true: dropped by the kernel. */
  readonly #hosts = new Map<Address, boolean>();
  readonly #counters: Counters = {};
  #uplinks: readonly string[] = [];
  #answered: Promise<unknown> = Promise.resolve();
  #timer: Timer | undefined;
  #closed = false;

  constructor(rtnetlink: ShadowSocket, clock: Clock, options: ShadowTableOptions) {
    this.#rtnetlink = rtnetlink;
    this.#clock = clock;
    this.#options = options;
  }

  /** What an earlier life left is taken over or goes. Resolves when the kernel was read; rejects when it can't be. */
  async start(uplinks: readonly string[]): Promise<void> {
    this.#uplinks = uplinks;
    const { door } = this.#options;
    const entries = FAMILIES.map((family) =>
      requests.setNeighbour({
        family,
        ifindex: door.ifindex,
        destination: NOBODY[family],
        linkAddress: door.mac,
        state: NUD.PERMANENT,
        flags: NTF.EXT_LEARNED,
        protocol: this.#options.protocol,
      }),
    );
    this.#send(entries);
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
  apply(gone: Iterable<Address>, come: Iterable<Address>): void {
    const batch: Request[] = [];
    for (const address of gone) {
      if (this.#hosts.delete(address)) batch.push(requests.deleteRoute(this.#slot(address)));
    }
    for (const address of come) {
      if (this.#hosts.get(address) === false) continue;
      this.#hosts.set(address, false);
      batch.push(requests.setRoute(this.#waiting(address)));
    }
    this.#send(batch);
  }

  /** Its packets are dropped from now on, or wait again. */
  shed(address: Address, on: boolean): void {
    const before = this.#hosts.get(address);
    if (before === undefined || before === on) return;
    this.#hosts.set(address, on);
    this.#send([requests.setRoute(on ? this.#dropping(address) : this.#waiting(address))]);
  }

  has(address: Address): boolean {
    return this.#hosts.has(address);
  }

  async settled(): Promise<void> {
    await this.#answered;
  }

  /** What the kernel refused, by `RTM_* CODE`. */
  counters(): Readonly<Record<string, number>> {
    return { ...this.#counters, hosts: this.#hosts.size };
  }

  /** Takes everything out of the kernel; the entries of the door go with it. */
  async leave(): Promise<void> {
    this.close();
    this.#hosts.clear();
    this.#uplinks = [];
    await this.#compare();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #send(batch: readonly Request[]): void {
    if (batch.length === 0) return;
    const result = this.#rtnetlink.sendNow(batch).then((answer) => {
      countRefusals(this.#counters, answer);
      if (answer.refused.some(({ refusal }) => !NOTHING_THERE.has(refusal.code))) this.#later();
    });
    this.#answered = Promise.all([this.#answered, result]);
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
    let failed = 0;
    for (const family of FAMILIES) {
      const wanted = this.#uplinks.map((uplink, index) => this.#rule(family, uplink, index));
      const rules = (await rulesOf(this.#rtnetlink, family)).filter((rule) => rule.protocol === protocol);
      const missing = wanted.filter((rule) => !rules.some((each) => same(each, rule)));
      const left = rules.filter((rule) => !wanted.some((each) => same(each, rule)));
      failed += await this.#paced(missing, (rule) => [requests.addRule(rule)]);
      failed += await this.#paced(left, (rule) => [requests.deleteRule(rule)]);

      const present = new Set<Address>();
      const stale: Route[] = [];
      for (const route of await this.#rtnetlink.dumpRoutes({ family, protocol })) {
        const address = parseAddress(prefixAddress(route.destination as never));
        const dropped = address === undefined || route.table !== table ? undefined : this.#hosts.get(address);
        if (dropped === undefined) stale.push(route);
        else if (dropped === (route.type === RTN.BLACKHOLE)) present.add(address!);
      }
      const absent = [...this.#hosts.keys()].filter(
        (address) => (familyOf(address) === 4) === (family === AF.INET) && !present.has(address),
      );
      // As they are wanted by then: hosts come and go while this goes on.
      failed += await this.#paced(absent, (address) => {
        const dropped = this.#hosts.get(address);
        if (dropped === undefined) return [];
        return [requests.setRoute(dropped ? this.#dropping(address) : this.#waiting(address))];
      });
      failed += await this.#paced(stale, (route) => {
        const address = parseAddress(prefixAddress(route.destination as never));
        return address && route.table === table && this.#hosts.has(address) ? [] : [requests.deleteRoute(route)];
      });
    }
    if (failed > 0) this.#later();
  }

  #paced<T>(items: readonly T[], requestsFor: (item: T) => readonly Request[]): Promise<number> {
    return sendPaced(this.#rtnetlink, items, requestsFor, this.#counters);
  }

  #rule(family: number, uplink: string, index: number): Rule {
    const { table, protocol } = this.#options;
    return { family, priority: PRIORITY + index, action: FR_ACT.TO_TBL, table, inputInterface: uplink, protocol };
  }

  #waiting(address: Address): Route {
    const family = familyOf(address) === 4 ? AF.INET : AF.INET6;
    const { ifindex } = this.#options.door;
    const hop = { ifindex, gateway: NOBODY[family], ...(family === AF.INET ? { flags: RTNH_F.ONLINK } : {}) };
    return makeRoute({ ...this.#named(address), nextHops: [hop] });
  }

  #dropping(address: Address): Route {
    return makeRoute({ ...this.#named(address), type: RTN.BLACKHOLE, nextHops: [] });
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
}

/** By our protocol number, wherever they are. Rejects when the kernel can't be read. */
export async function findShadows(
  rtnetlink: Omit<ShadowSocket, 'sendNow'>,
  protocol: number,
): Promise<ShadowLeftovers> {
  const rules: Rule[] = [];
  const routes: Route[] = [];
  for (const family of FAMILIES) {
    rules.push(...(await rulesOf(rtnetlink, family)).filter((rule) => rule.protocol === protocol));
    routes.push(...(await rtnetlink.dumpRoutes({ family, protocol })));
  }
  return { rules, routes };
}

export async function removeShadows(
  rtnetlink: Pick<Rtnetlink, 'sendNow'>,
  { rules, routes }: ShadowLeftovers,
  counters: Counters = {},
): Promise<void> {
  await sendPaced(rtnetlink, rules, (rule) => [requests.deleteRule(rule)], counters);
  await sendPaced(rtnetlink, routes, (route) => [requests.deleteRoute(route)], counters);
}

/** IPv6 may be switched off at boot. */
async function rulesOf(rtnetlink: Pick<Rtnetlink, 'dumpRules'>, family: number): Promise<Rule[]> {
  try {
    return await rtnetlink.dumpRules({ family });
  } catch (error) {
    if (family === AF.INET6) return [];
    throw error;
  }
}

function same(one: Rule, other: Rule): boolean {
  return (
    one.priority === other.priority &&
    one.action === other.action &&
    one.table === other.table &&
    one.inputInterface === other.inputInterface
  );
}
