import type { TorConfig } from '../../config/index.ts';
import type { Address } from '../../model/address.ts';
import type { Clock, Timer } from '../../model/clock.ts';
import type { HostRoute } from '../../model/hosts.ts';
import type { Shadow, ShadowTable } from '../../netlink/index.ts';
import type { Room } from './room.ts';

interface Turned {
  /** ifindex; undefined: they turned out to be at several ports. */
  towards: number | undefined;
  /** Until it is over. */
  readonly timer: Timer;
}

/** How often those who wait are looked at (ms). */
const LOOK = 250;

/** Where the fabric sends from. */
export const uplinksOf = ({ portLink }: Pick<TorConfig, 'portLink'>): string[] => [
  ...new Set(portLink.flatMap(({ uplinks }) => uplinks)),
];

export type ShadowKernel = Pick<
  ShadowTable,
  | 'start'
  | 'configure'
  | 'apply'
  | 'shed'
  | 'has'
  | 'groupOf'
  | 'isIn'
  | 'turn'
  | 'portDown'
  | 'counters'
  | 'leave'
  | 'close'
>;

/**
 * Packets for hosts that we stand by for. The gateway sends them here when the other switch has failed: they wait for the
 * host, `hold` at most each. The host that comes takes them along (`waiting.ts`); those of one that does not are dropped,
 * and while more come than may wait the kernel drops the rest.
 *
 * Many hosts behind one port of the other switch come together, with their server. When the first of them is heard here,
 * the packets of all go to where it was heard, where the kernel asks for each; that is for `hold`, by which time each has
 * been heard itself, or did not come. Once one of them is heard at another port they did not come together: the others
 * wait again, each until it is heard.
 */
export class StandingBy {
  readonly #table: ShadowKernel;
  readonly #room: Room;
  readonly #clock: Clock;
  readonly #hold: number;
  readonly #waiting = new Set<Address>();
  /** By group: where its packets go, and until when. */
  readonly #turned = new Map<string, Turned>();
  #timer: Timer | undefined;
  #shed = 0;
  #turns = 0;
  #splits = 0;

  constructor(options: { table: ShadowKernel; room: Room; clock: Clock; hold: number }) {
    this.#table = options.table;
    this.#room = options.room;
    this.#clock = options.clock;
    this.#hold = options.hold;
    options.room.limit?.({
      has: (address) => this.#table.has(address),
      onOverflow: (address) => this.#overflowed(address),
    });
  }

  /** `uplinks`: by which the fabric sends. Rejects when the kernel can't be read yet; it is tried again. */
  start(uplinks: readonly string[]): Promise<void> {
    return this.#table.start(uplinks);
  }

  configure(uplinks: readonly string[]): void {
    this.#table.configure(uplinks);
  }

  has(address: Address): boolean {
    return this.#table.has(address);
  }

  /** `ended`: nobody came. `taken`: somebody did, or is about to, and what waits for him is not ours to keep any more. */
  apply(ended: readonly Address[], taken: readonly Address[], begun: readonly Shadow[]): void {
    const over = ended.filter((address) => this.#table.has(address));
    const gone = [...over, ...taken.filter((address) => this.#table.has(address))];
    if (gone.length === 0 && begun.length === 0) return;
    this.#table.apply(gone, begun);
    for (const address of over) this.#room.expire?.(address, Number.POSITIVE_INFINITY);
    for (const address of gone) this.#waiting.delete(address);
  }

  /** These were heard at ports of ours: whoever is to come with them can be reached. */
  come(routes: readonly HostRoute[]): void {
    for (const { address, ifindex } of routes) {
      if (ifindex === this.#room.door.ifindex) continue;
      const group = this.#table.groupOf(address);
      if (group !== undefined && !this.#turned.has(group)) this.#turn(group, ifindex);
      else this.#split(address, ifindex);
    }
  }

  /** The port has lost its carrier: nobody can be reached there. */
  portDown(ifindex: number): void {
    for (const group of this.#table.portDown(ifindex)) {
      this.#turned.get(group)?.timer.cancel();
      this.#turned.delete(group);
    }
  }

  #turn(group: string, ifindex: number): void {
    this.#turns++;
    this.#table.turn(group, ifindex);
    this.#room.redirect?.((address) => this.#table.isIn(group, address));
    const timer = this.#clock.schedule(this.#clock.now() + this.#hold, () => {
      this.#turned.delete(group);
      this.#table.turn(group, undefined);
    });
    this.#turned.set(group, { towards: ifindex, timer });
  }

  /** A host of a group that was looked for at another port: so may others of it be. */
  #split(address: Address, ifindex: number): void {
    for (const [group, turned] of this.#turned) {
      if (turned.towards === undefined || turned.towards === ifindex || !this.#table.isIn(group, address)) continue;
      turned.towards = undefined;
      this.#splits++;
      this.#table.turn(group, undefined);
    }
  }

  /** The first packet for it came. */
  arrived(address: Address): void {
    if (!this.#table.has(address)) return;
    this.#waiting.add(address);
    this.#arm();
  }

  counters(): Readonly<Record<string, number>> {
    return {
      ...this.#table.counters(),
      waitedFor: this.#waiting.size,
      shed: this.#shed,
      turns: this.#turns,
      splits: this.#splits,
    };
  }

  async leave(): Promise<void> {
    this.close();
    await this.#table.leave();
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    for (const { timer } of this.#turned.values()) timer.cancel();
    this.#turned.clear();
    this.#table.close();
  }

  #overflowed(address: Address): void {
    this.#shed++;
    this.#table.shed(address, true);
    this.#waiting.add(address);
    this.#arm();
  }

  #arm(): void {
    this.#timer ??= this.#clock.schedule(this.#clock.now() + LOOK, () => {
      this.#timer = undefined;
      this.#look();
      if (this.#waiting.size > 0) this.#arm();
    });
  }

  #look(): void {
    const before = this.#clock.now() - this.#hold;
    for (const address of this.#waiting) {
      if ((this.#room.expire?.(address, before) ?? 0) > 0) continue;
      this.#waiting.delete(address);
      this.#table.shed(address, false);
    }
  }
}
