import type { Accept, Connection, ConnectionHandlers, Transport } from '../../src/bgp/transport.ts';
import type { Address } from '../../src/model/address.ts';
import type { Call, Fate } from './calls.ts';
import type { VirtualClock } from './clock.ts';
import type { Random } from './random.ts';

/** How a path between two addresses is now; the ends hear nothing of a path that is broken. */
type Path = (one: Address, other: Address) => boolean;

/** One process that speaks TCP; `enter`: it calls the kernel, and may die of it. */
export interface TcpUser {
  alive(): boolean;
  enter?(call: Call): void;
  readonly fate?: Fate;
}

/** TCP resends what a broken path swallowed; this often, in ms. */
const RESEND = 220;

/**
 * TCP between the switches and G: octets arrive in order after a delay, and later when the path was broken meanwhile.
 * A process that dies takes its connections with it, and the other end hears of that when the path allows it.
 */
export class Tcp {
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #path: Path;
  readonly #listeners = new Map<Address, Accept>();
  readonly #open = new Set<End>();

  constructor(clock: VirtualClock, random: Random, path: Path) {
    this.#clock = clock;
    this.#random = random;
    this.#path = path;
  }

  get size(): number {
    return this.#open.size;
  }

  /** What a process on the box with these addresses sees; `towards`: the address that it speaks to another with. */
  transport(towards: (peer: Address) => Address, locals: readonly Address[], user: TcpUser): Transport {
    return {
      connect: (target, handlers) => {
        const local = towards(target.address);
        const near = new End(this, local, target.address, handlers, user);
        user.enter?.('TCP: connect');
        this.#open.add(near);
        if (user.fate?.strikes('TCP: connect', 'error'))
          this.#clock.after(this.latency(), () => near.fail('connect: ENETUNREACH'));
        else if (!user.fate?.strikes('TCP: connect', 'lost')) {
          const late = user.fate?.strikes('TCP: connect', 'delay');
          this.#through(local, target.address, () => this.#syn(near), late ? RESEND : 0);
        }
        return near;
      },
      listen: (target, accept) => {
        const mine = locals.includes(target.address) ? [target.address] : locals;
        for (const local of mine) this.#listeners.set(local, accept);
        return {
          close: () => {
            for (const local of mine) if (this.#listeners.get(local) === accept) this.#listeners.delete(local);
          },
        };
      },
    };
  }

  /** The process is gone: its kernel says so to the other ends. */
  died(local: Address): void {
    this.#listeners.delete(local);
    for (const end of [...this.#open]) {
      if (end.localAddress !== local) continue;
      end.forget();
      this.goodbye(end);
    }
  }

  goodbye(end: End): void {
    this.#open.delete(end);
    const { peer } = end;
    if (peer) end.deliver(() => peer.fail('closed by the neighbour'));
  }

  dropped(end: End): void {
    this.#open.delete(end);
  }

  #syn(near: End): void {
    if (!this.#open.has(near)) return;
    const accept = this.#listeners.get(near.remoteAddress);
    if (!accept) {
      this.#through(near.remoteAddress, near.localAddress, () => near.fail('connection refused'));
      return;
    }
    const far = new End(this, near.remoteAddress, near.localAddress, undefined, { alive: () => true });
    far.peer = near;
    near.peer = far;
    this.#open.add(far);
    far.deliver(() => near.handlers?.onOpen());
    const handlers = accept(far);
    if (handlers) far.handlers = handlers;
    else far.close();
  }

  /** One packet that nobody resends here: lost when the path is broken now (the caller tries again, or gives up). */
  #through(from: Address, to: Address, run: () => void, late = 0): void {
    this.#clock.after(late + this.latency(), () => {
      if (this.#path(from, to)) run();
    });
  }

  /** What is lost comes a resending later. */
  #trouble({ fate }: TcpUser): number {
    if (fate?.strikes('TCP: write', 'lost')) return RESEND;
    return fate?.strikes('TCP: write', 'delay') ? this.#random.between(1, 40) : 0;
  }

  latency(): number {
    return this.#random.between(0.05, 0.4);
  }

  /** In order behind what went before; held while the path is broken. */
  carry(end: End, run: () => void): void {
    end.arrival = Math.max(end.arrival, this.#clock.now() + this.latency() + this.#trouble(end.user));
    const attempt = (): void => {
      if (this.#path(end.localAddress, end.remoteAddress)) end.flush();
      else this.#clock.after(RESEND, attempt);
    };
    end.inFlight.push(run);
    this.#clock.schedule(end.arrival, attempt);
  }
}

class End implements Connection {
  readonly localAddress: Address;
  readonly remoteAddress: Address;
  readonly inFlight: (() => void)[] = [];
  arrival = 0;
  peer: End | undefined;
  handlers: ConnectionHandlers | undefined;
  #closed = false;
  readonly #tcp: Tcp;
  readonly user: TcpUser;

  constructor(tcp: Tcp, local: Address, remote: Address, handlers: ConnectionHandlers | undefined, user: TcpUser) {
    this.#tcp = tcp;
    this.localAddress = local;
    this.remoteAddress = remote;
    this.handlers = handlers;
    this.user = user;
  }

  backlog(): number {
    return 0;
  }

  write(data: Uint8Array): void {
    if (this.#closed || !this.user.alive()) return;
    this.user.enter?.('TCP: write');
    const copy = Uint8Array.from(data);
    const { peer } = this;
    if (peer && this.user.alive()) this.deliver(() => peer.handlers?.onData(copy));
    this.user.enter?.('TCP: write');
  }

  close(done?: () => void): void {
    if (!this.#closed) {
      this.forget();
      this.#tcp.goodbye(this);
    }
    done?.();
  }

  fail(reason: string): void {
    const { handlers } = this;
    this.forget();
    this.#tcp.dropped(this);
    if (this.user.alive()) handlers?.onClose(reason);
  }

  forget(): void {
    this.#closed = true;
    this.handlers = undefined;
  }

  deliver(run: () => void): void {
    this.#tcp.carry(this, run);
  }

  flush(): void {
    for (const run of this.inFlight.splice(0)) run();
  }
}
