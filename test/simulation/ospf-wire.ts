/** The links between the switches and G, as OSPF's packets see them: lost, late, repeated, out of order. */
import { SystemCallError } from 'linux-sockets';
import type { U32 } from 'node-ospf-lsa';
import { type Address, ipv4ToNumber } from '../../src/model/address.ts';
import type { OpenOspfSocket, OspfSocket } from '../../src/ospf/index.ts';
import { AllSPFRouters } from '../../src/ospf/machine/core.ts';
import type { Received } from '../../src/ospf/socket.ts';
import type { Call, Fate } from './calls.ts';
import type { LifeClock, VirtualClock } from './clock.ts';
import type { Random } from './random.ts';
import type { Link } from './scene.ts';

const ENETDOWN = 100;
const ENOBUFS = 105;

interface End {
  readonly address: U32;
  readonly groups: Set<U32>;
  readonly clock: LifeClock;
  receive: ((packet: Received) => void) | undefined;
  failed: ((error: SystemCallError) => void) | undefined;
}

export interface OspfWireOptions {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly links: readonly Link[];
  /** The link carries packets now. */
  passes(link: Link): boolean;
  fate(link: Link): Fate;
  /** G's end. */
  toGateway(link: Link, packet: Received): void;
}

export class OspfWire {
  readonly #options: OspfWireOptions;
  readonly #ends = new Map<string, End>();

  constructor(options: OspfWireOptions) {
    this.#options = options;
  }

  /** What one life of an agent opens. `enter`: a call begins or ends there, and the agent may die of it. */
  sockets(clock: LifeClock, enter: (call: Call) => void): OpenOspfSocket {
    return (name, _ifindex, address): OspfSocket => {
      const link = this.#options.links.find((each) => each.name === name)!;
      const end: End = { address, groups: new Set(), clock, receive: undefined, failed: undefined };
      enter('OSPF socket: open');
      if (this.#options.fate(link).strikes('OSPF socket: open', 'error')) throw new SystemCallError('socket', ENOBUFS);
      this.#ends.set(name, end);
      return {
        join: (group) => end.groups.add(group),
        leave: (group) => end.groups.delete(group),
        send: (to, packets) => this.#send(link, end, to, packets, enter),
        listen: (receive, _malformed, failed) => {
          end.receive = receive;
          end.failed = failed;
        },
        close: () => {
          end.receive = undefined;
          if (this.#ends.get(name) === end) this.#ends.delete(name);
        },
      };
    };
  }

  #send(link: Link, end: End, to: string, packets: readonly Uint8Array[], enter: (call: Call) => void): number {
    const { random, fate } = this.#options;
    enter('OSPF socket: send');
    let sent = packets.length;
    if (fate(link).strikes('OSPF socket: send', 'error')) {
      sent = random.integer(0, packets.length - 1);
      if (sent === 0) throw new SystemCallError('sendmsg', random.pick([ENOBUFS, ENETDOWN]));
    }
    if (!end.clock.dead) {
      const destination = ipv4ToNumber(to as Address);
      for (const bytes of packets.slice(0, sent)) {
        const packet = { source: end.address, destination, bytes: Uint8Array.from(bytes) };
        this.#carry(link, 'OSPF socket: send', () => {
          if (
            destination === AllSPFRouters ||
            destination === ipv4ToNumber(link.peer as Address) ||
            destination > 0xe0000000
          )
            this.#options.toGateway(link, packet);
        });
      }
    }
    enter('OSPF socket: send');
    return sent;
  }

  fromGateway(link: Link, destination: U32, bytes: Uint8Array): void {
    const copy = Uint8Array.from(bytes);
    this.#carry(link, 'OSPF socket: receive', () => {
      const end = this.#ends.get(link.name);
      if (!end || end.clock.dead || (destination !== end.address && !end.groups.has(destination))) return;
      if (this.#options.fate(link).strikes('OSPF socket: receive', 'error'))
        end.failed?.(new SystemCallError('recvmmsg', ENETDOWN));
      else end.receive?.({ source: ipv4ToNumber(link.peer as Address), destination, bytes: copy });
    });
  }

  #carry(link: Link, call: Call, arrive: () => void): void {
    const { clock, random } = this.#options;
    const fate = this.#options.fate(link);
    if (fate.strikes(call, 'lost')) return;
    // In bad weather some arrive twice.
    const copies = !fate.isFine && random.chance(0.1) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const late = fate.strikes(call, 'delay');
      clock.after(late ? random.between(1, 40) : random.between(0.05, 0.4), () => {
        if (this.#options.passes(link)) arrive();
      });
    }
  }
}
