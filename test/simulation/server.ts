/** A server with a link to each switch, in active-backup, and the virtual machines on it. */
import type { Address, Mac } from '../../src/model/address.ts';
import type { Timer } from '../../src/model/clock.ts';
import type { VirtualClock } from './clock.ts';
import type { Random } from './random.ts';
import { answerOf, asksGateway, gratuitous } from './speech.ts';

export type Side = 'A' | 'B';
export const SIDES: readonly Side[] = ['A', 'B'];
export const other = (side: Side): Side => (side === 'A' ? 'B' : 'A');

/** One address; several of one machine share the MAC, and move together. */
export interface Vm {
  readonly address: Address;
  readonly mac: Mac;
  server: Server;
  alive: boolean;
}

export interface Cabling {
  /** The link of this server on that side has carrier. */
  on(slot: number, side: Side): boolean;
  send(slot: number, side: Side, frame: Uint8Array): void;
}

export class Server {
  readonly slot: number;
  readonly vms = new Set<Vm>();
  primary: Side;
  active: Side | undefined;
  readonly #updelay: number;
  /** How long until it sees a change of carrier. */
  readonly #detects: number;
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #cabling: Cabling;
  readonly #usable: Record<Side, boolean> = { A: false, B: false };
  readonly #rising: Record<Side, Timer | undefined> = { A: undefined, B: undefined };

  constructor(slot: number, primary: Side, clock: VirtualClock, random: Random, cabling: Cabling) {
    this.slot = slot;
    this.primary = primary;
    this.#clock = clock;
    this.#random = random;
    this.#cabling = cabling;
    this.#updelay = random.pick([0, 0, 50, 200]);
    this.#detects = random.between(0.1, 5);
    for (const side of SIDES) this.#usable[side] = cabling.on(slot, side);
    this.#choose();
  }

  carrierChanged(side: Side): void {
    this.#clock.after(this.#detects, () => this.#look(side));
  }

  setPrimary(side: Side): void {
    this.primary = side;
    this.#choose();
  }

  /** All that it says, it says on the active link. */
  announce(vm: Vm): void {
    if (!vm.alive || !this.vms.has(vm) || this.active === undefined) return;
    this.#cabling.send(this.slot, this.active, gratuitous(vm));
  }

  /** Daily life: it asks for its gateway. */
  chat(vm: Vm): void {
    if (!vm.alive || !this.vms.has(vm) || this.active === undefined) return;
    this.#cabling.send(this.slot, this.active, asksGateway(vm));
  }

  /** A frame came from a switch. */
  hears(side: Side, frame: Uint8Array): void {
    if (side !== this.active) return;
    for (const vm of this.vms) {
      const answer = vm.alive ? answerOf(vm, frame) : undefined;
      if (answer) this.#cabling.send(this.slot, side, answer);
    }
  }

  #look(side: Side): void {
    const on = this.#cabling.on(this.slot, side);
    this.#rising[side]?.cancel();
    this.#rising[side] = undefined;
    if (!on) this.#usable[side] = false;
    else if (!this.#usable[side]) {
      const wait = this.active === undefined ? 0 : this.#updelay;
      this.#rising[side] = this.#clock.after(wait, () => {
        this.#usable[side] = this.#cabling.on(this.slot, side);
        this.#choose();
      });
      return;
    }
    this.#choose();
  }

  #choose(): void {
    const standby = other(this.primary);
    const wanted = this.#usable[this.primary] ? this.primary : this.#usable[standby] ? standby : undefined;
    if (wanted === this.active) return;
    this.active = wanted;
    if (wanted === undefined) return;
    const times = this.#random.integer(1, 2);
    for (let time = 0; time < times; time++) {
      this.#clock.after(time * 20 + this.#random.between(0, 1), () => {
        if (this.active === wanted) for (const vm of this.vms) this.announce(vm);
      });
    }
  }
}
