/** TCP in memory on a virtual clock: what is written arrives in a later step, in order; a link can be blocked or cut. */

import type { Accept, Connection, ConnectionHandlers, ConnectTarget, Transport } from '../../../src/bgp/transport.ts';
import type { Address } from '../../../src/model/address.ts';
import type { Clock, Instant, Timer } from '../../../src/model/clock.ts';

export class VirtualClock implements Clock {
  #now = 1_000;
  #serial = 0;
  readonly #queue: { at: Instant; serial: number; run: () => void }[] = [];

  now(): Instant {
    return this.#now;
  }

  schedule(at: Instant, run: () => void): Timer {
    const entry = { at: Math.max(at, this.#now), serial: this.#serial++, run };
    this.#queue.push(entry);
    return {
      cancel: () => {
        const index = this.#queue.indexOf(entry);
        if (index >= 0) this.#queue.splice(index, 1);
      },
    };
  }

  advance(by: number): void {
    const end = this.#now + by;
    for (;;) {
      this.#queue.sort((a, b) => a.at - b.at || a.serial - b.serial);
      const next = this.#queue[0];
      if (!next || next.at > end) break;
      this.#queue.shift();
      this.#now = next.at;
      next.run();
    }
    this.#now = end;
  }
}

export class MemoryNetwork {
  readonly #clock: VirtualClock;
  readonly #listeners = new Map<string, Accept>();
  readonly connections: MemoryConnection[] = [];
  /** Milliseconds one way. */
  latency = 1;
  /** While true nothing is delivered, as on a dead link. */
  cut = false;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  transport(local: string): Transport {
    return {
      connect: (target, handlers) => this.#connect(local as Address, target, handlers),
      listen: ({ address, port }, accept) => {
        const key = `${address === '0.0.0.0' ? local : address}:${port}`;
        this.#listeners.set(key, accept);
        return { close: () => this.#listeners.delete(key) };
      },
    };
  }

  #connect(local: Address, target: ConnectTarget, handlers: ConnectionHandlers): Connection {
    const near = new MemoryConnection(this, this.#clock, local, target.address);
    near.handlers = handlers;
    this.connections.push(near);
    this.later(() => {
      const accept = this.#listeners.get(`${target.address}:${target.port}`);
      const far = new MemoryConnection(this, this.#clock, target.address, local);
      far.open = true;
      far.peer = near;
      near.peer = far;
      // The SYN-ACK is on its way before anything that is written now.
      let refused = true;
      this.later(() => {
        if (refused) {
          near.fail('connection refused');
          return;
        }
        near.open = true;
        near.handlers?.onOpen();
      });
      const answer = accept?.(far);
      if (!answer) return;
      refused = false;
      far.handlers = answer;
      this.connections.push(far);
    });
    return near;
  }

  later(run: () => void): void {
    this.#clock.schedule(this.#clock.now() + this.latency, () => {
      if (!this.cut) run();
    });
  }
}

export class MemoryConnection implements Connection {
  readonly localAddress: Address;
  readonly remoteAddress: Address;
  readonly #network: MemoryNetwork;
  handlers: ConnectionHandlers | undefined;
  peer: MemoryConnection | undefined;
  open = false;
  /** The kernel takes nothing. */
  blocked = false;
  #queued: Uint8Array[] = [];
  readonly written: Uint8Array[] = [];

  constructor(network: MemoryNetwork, _clock: VirtualClock, local: Address, remote: Address) {
    this.#network = network;
    this.localAddress = local;
    this.remoteAddress = remote;
  }

  backlog(): number {
    return this.#queued.reduce((sum, data) => sum + data.length, 0);
  }

  write(data: Uint8Array): void {
    this.written.push(data);
    if (this.blocked) this.#queued.push(data);
    else this.#deliver(data);
  }

  unblock(): void {
    this.blocked = false;
    for (const data of this.#queued) this.#deliver(data);
    this.#queued = [];
    this.handlers?.onDrain();
  }

  close(done?: () => void): void {
    this.handlers = undefined;
    const peer = this.peer;
    this.#network.later(() => peer?.fail('closed by the neighbour'));
    done?.();
  }

  fail(reason: string): void {
    const handlers = this.handlers;
    this.handlers = undefined;
    handlers?.onClose(reason);
  }

  #deliver(data: Uint8Array): void {
    const peer = this.peer;
    const copy = Uint8Array.from(data);
    this.#network.later(() => peer?.handlers?.onData(copy));
  }
}
