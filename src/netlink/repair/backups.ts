/**
 * Backup routes: for a host of ours a second /32 (/128) in the same table, at a worse metric, into the tunnel to the
 * switch that stands by for it. The kernel takes it by itself when the first one's interface has lost its carrier, or
 * when the first one is removed.
 *
 * All backups towards one switch go over one next-hop object (one of each family), so when its end of the tunnel, or
 * ours, becomes another address, one message moves them all. An object of which the device is the only thing said has
 * one more advantage: the kernel keeps no path MTU for it, so IPv6 packets that are too large for the fabric are
 * fragmented outside, as IPv4 ones are.
 */
import {
  AF,
  ipTunnel,
  Malformed,
  makeRoute,
  type NextHop,
  type Refusal,
  type Request,
  type Route,
  type Rtnetlink,
  readIpTunnel,
  requests,
} from 'rtnetlink-ts';
import { type Address, familyOf, hostPrefix, type Prefix, parseAddress, prefixAddress } from '../../model/address.ts';
import type { Clock, Timer } from '../../model/clock.ts';
import { type Counters, countRefusals } from '../installing.ts';
import { nextHopsOf } from '../next-hop-reading.ts';

/** The two ends, IPv4. */
export interface Tunnel {
  readonly source: Address;
  readonly destination: Address;
}

export interface Backup {
  /** Who stands by: a name for his tunnel. */
  readonly twin: string;
  readonly table: number;
}

export interface BackupOptions {
  readonly rtnetlink: Pick<Rtnetlink, 'sendNow' | 'dumpRoutes' | 'dumpNextHops'>;
  readonly clock: Clock;
  /** Of our routes and objects, nobody else's. */
  readonly protocol: number;
  readonly metric: Readonly<Record<4 | 6, number>>;
  readonly ifindex: number;
}

/** Ids of the objects: two for each twin, IPv4 and IPv6. */
const FIRST_ID = 20_101_000;
/** More switches than this that stand by for hosts of ours are a mistake. */
const SLOTS = 8;
/** VNI; both ends have to have the same. */
const VNI = 7;
const PORTION = 500;
const RETRY = 1000;
const NOTHING_THERE = new Set(['ESRCH', 'ENOENT', 'ENODEV', 'ENXIO']);

interface Slot {
  readonly index: number;
  twin: string | undefined;
  tunnel: Tunnel | undefined;
}

/** As the kernel has it, as far as known. */
interface Present {
  readonly slot: number;
  readonly table: number;
}

export class BackupRoutes {
  readonly #options: BackupOptions;
  readonly #slots: Slot[] = Array.from({ length: SLOTS }, (_, index) => ({
    index,
    twin: undefined,
    tunnel: undefined,
  }));
  readonly #wanted = new Map<Address, Backup>();
  readonly #present = new Map<Address, Present>();
  readonly #dirty = new Set<Address>();
  readonly #counters: Counters = {};
  /** Refused, and not for a reason that makes them right. */
  readonly #again = new Set<Address>();
  #ifindex: number;
  #flushing = false;
  #retry: Timer | undefined;
  #closed = false;

  constructor(options: BackupOptions) {
    this.#options = options;
    this.#ifindex = options.ifindex;
  }

  /** What an earlier life left, each judged anew by who calls this. */
  async adopt(): Promise<Address[]> {
    const { rtnetlink, protocol } = this.#options;
    for (const object of await rtnetlink.dumpNextHops()) {
      const slot = object.protocol === protocol ? this.#slots[(object.id - FIRST_ID) >> 1] : undefined;
      const tunnel = object.encapsulation && readIpTunnel(object.encapsulation);
      if (!slot || object.ifindex !== this.#ifindex || !tunnel || tunnel instanceof Malformed) continue;
      slot.tunnel = { source: tunnel.source as Address, destination: tunnel.destination as Address };
    }
    for (const family of [AF.INET, AF.INET6]) {
      for (const { destination, table, nextHopId } of await rtnetlink.dumpRoutes({ family, protocol })) {
        const address = parseAddress(prefixAddress(destination as Prefix));
        const slot = nextHopId === undefined ? -1 : (nextHopId - FIRST_ID) >> 1;
        if (address && this.#slots[slot]?.tunnel) this.#present.set(address, { slot, table });
      }
    }
    return [...this.#present.keys()];
  }

  /**
   * The tunnel to `twin` is this one from now on; one message for all backups over it.
   *
   * @returns false when there are too many twins
   */
  setTunnel(twin: string, tunnel: Tunnel): boolean {
    const slot = this.#slotOf(twin, tunnel);
    if (!slot) {
      this.#count('tooManyTwins');
      return false;
    }
    slot.twin = twin;
    if (sameTunnel(slot.tunnel, tunnel)) return true;
    slot.tunnel = tunnel;
    this.#write(slot);
    return true;
  }

  /** To be put into the kernel by `flush`, for a twin to whom there is a tunnel; undefined: none. */
  want(address: Address, backup: Backup | undefined): void {
    if (backup) this.#wanted.set(address, backup);
    else this.#wanted.delete(address);
    this.#dirty.add(address);
  }

  /** Few in this turn, the rest in portions. */
  flush(): void {
    if (this.#flushing || this.#closed) return;
    this.#flushing = true;
    this.#portions().finally(() => {
      this.#flushing = false;
    });
  }

  /** Whether the kernel has one for this host, as far as known. */
  has(address: Address): boolean {
    return this.#present.has(address);
  }

  counters(): Readonly<Record<string, number>> {
    return { ...this.#counters, backups: this.#present.size, wanted: this.#wanted.size };
  }

  /** The device had gone, or was set down, and with it everything that led over it; it is `ifindex` now. */
  reinstall(ifindex: number): void {
    this.#ifindex = ifindex;
    this.#present.clear();
    for (const slot of this.#slots) if (slot.tunnel && slot.twin !== undefined) this.#write(slot);
    for (const address of this.#wanted.keys()) this.#dirty.add(address);
    this.flush();
  }

  /** Everything stays in the kernel. */
  close(): void {
    this.#closed = true;
    this.#retry?.cancel();
  }

  /** The twin's own, or one that leads there already (of an earlier life), or a free one. */
  #slotOf(twin: string, { destination }: Tunnel): Slot | undefined {
    const own = this.#slots.find((slot) => slot.twin === twin);
    if (own) return own;
    const like = this.#slots.find((slot) => slot.twin === undefined && slot.tunnel?.destination === destination);
    if (like) return like;
    const used = new Set([...this.#present.values()].map(({ slot }) => slot));
    const twins = new Set([...this.#wanted.values()].map((backup) => backup.twin));
    return this.#slots.find(({ index, twin: name }) => !used.has(index) && (name === undefined || !twins.has(name)));
  }

  #write({ index, tunnel }: Slot): void {
    const { rtnetlink, protocol } = this.#options;
    const ifindex = this.#ifindex;
    const encapsulation = ipTunnel({ id: VNI, ...tunnel! });
    const object = (family: number, id: number): NextHop => ({ id, family, protocol, ifindex, encapsulation });
    const id = idOf(index, 4);
    const batch = [requests.setNextHop(object(AF.INET, id)), requests.setNextHop(object(AF.INET6, id + 1))];
    rtnetlink.sendNow(batch).then(({ refused }) => {
      for (const { refusal } of refused) this.#count(`${refusal.request} ${refusal.code}`);
    });
  }

  async #portions(): Promise<void> {
    while (this.#dirty.size > 0 && !this.#closed) {
      const batch: Request[] = [];
      const changes: { readonly address: Address; readonly before: Present | undefined }[] = [];
      for (const address of this.#dirty) {
        this.#dirty.delete(address);
        const before = this.#present.get(address);
        for (const request of this.#change(address, before)) {
          batch.push(request);
          changes.push({ address, before });
        }
        if (batch.length >= PORTION) break;
      }
      if (batch.length === 0) continue;
      const { refused } = await this.#options.rtnetlink.sendNow(batch);
      for (const { index, refusal } of refused) this.#refused(refusal, changes[index]!);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** From what the kernel has to what is wanted. */
  #change(address: Address, before: Present | undefined): Request[] {
    const after = this.#target(address);
    if (before?.slot === after?.slot && before?.table === after?.table) return [];
    const changes: Request[] = [];
    if (after) {
      this.#present.set(address, after);
      changes.push(requests.setRoute(this.#route(address, after)));
    } else this.#present.delete(address);
    if (before && before.table !== after?.table) changes.push(requests.deleteRoute(this.#route(address, before)));
    return changes;
  }

  #target(address: Address): Present | undefined {
    const backup = this.#wanted.get(address);
    const slot = backup && this.#slots.find(({ twin }) => twin === backup.twin);
    return slot && { slot: slot.index, table: backup.table };
  }

  #route(address: Address, { slot, table }: Present): Route {
    const { protocol, metric } = this.#options;
    const family = familyOf(address);
    return makeRoute({
      destination: hostPrefix(address),
      table,
      protocol,
      metric: metric[family],
      nextHops: [],
      nextHopId: idOf(slot, family),
    });
  }

  #refused({ request, code }: Refusal, { address, before }: { address: Address; before: Present | undefined }): void {
    this.#count(`${request} ${code}`);
    if (request.startsWith('RTM_DEL') && NOTHING_THERE.has(code)) return;
    if (before) this.#present.set(address, before);
    else this.#present.delete(address);
    this.#again.add(address);
    const { clock } = this.#options;
    if (this.#closed) return;
    this.#retry ??= clock.schedule(clock.now() + RETRY, () => {
      this.#retry = undefined;
      for (const each of this.#again) this.#dirty.add(each);
      this.#again.clear();
      this.flush();
    });
  }

  #count(name: string): void {
    this.#counters[name] = (this.#counters[name] ?? 0) + 1;
  }
}

export interface FoundBackups {
  readonly objects: readonly NextHop[];
  readonly routes: readonly Route[];
}

type Reading = Pick<Rtnetlink, 'dumpRoutes' | 'dumpNextHops'>;

export async function findBackups(rtnetlink: Reading, protocol: number): Promise<FoundBackups> {
  const objects = (await nextHopsOf(rtnetlink)).filter((object) => object.protocol === protocol);
  const ids = new Set(objects.map(({ id }) => id));
  const routes: Route[] = [];
  for (const family of [AF.INET, AF.INET6]) {
    const ours = await rtnetlink.dumpRoutes({ family, protocol });
    routes.push(...ours.filter(({ nextHopId }) => nextHopId !== undefined && ids.has(nextHopId)));
  }
  return { objects, routes };
}

/** The routes go with their objects. */
export async function removeBackups(
  rtnetlink: Pick<Rtnetlink, 'sendNow'>,
  { objects }: Pick<FoundBackups, 'objects'>,
  counters: Counters,
): Promise<void> {
  countRefusals(counters, await rtnetlink.sendNow(objects.map(({ id }) => requests.deleteNextHop(id))));
}

const idOf = (slot: number, family: 4 | 6): number => FIRST_ID + 2 * slot + (family === 4 ? 0 : 1);

function sameTunnel(one: Tunnel | undefined, other: Tunnel): boolean {
  return one?.source === other.source && one.destination === other.destination;
}
