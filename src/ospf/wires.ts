/**
 * The speaker's sockets, one for each interface that is up: packets are encoded, signed and written here, and those that
 * come are checked and decoded.
 */
import { SystemCallError } from 'linux-sockets';
import {
  type Authentication,
  decodePacket,
  encodePacket,
  MaxAge,
  type OspfPacket,
  packUpdates,
  type U32,
} from 'node-ospf-lsa';
import { ipv4FromNumber } from '../model/address.ts';
import type { Clock, Instant } from '../model/clock.ts';
import type { Log } from '../model/log.ts';
import { AllSPFRouters, type Core, type Effect, InfTransDelay, type Link } from './machine/core.ts';
import { PacedSender } from './pacing.ts';
import { type OpenOspfSocket, type OspfSocket, rawSocket } from './socket.ts';

export interface WiresOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly netns: string | undefined;
  readonly openSocket: OpenOspfSocket | undefined;
  readonly core: Core;
  /** Seconds, for the cryptographic sequence number. */
  readonly seconds: () => number;
  receive(name: string, source: U32, destination: U32, packet: OspfPacket): void;
  count(name: string, by?: number): void;
}

interface Wire {
  readonly socket: OspfSocket;
  readonly pacer: PacedSender;
}

export class Wires {
  readonly #options: WiresOptions;
  readonly #wires = new Map<string, Wire>();
  readonly #authentication = new Map<string, Authentication>();
  readonly #texts = new Map<U32, string>();
  #cryptoSequence = 0;
  /** Interfaces where the kernel did not take everything since this was last emptied. */
  readonly refused = new Set<string>();
  /** Since `beginReport`. */
  packets = 0;
  firstByteAt: Instant | undefined;
  lastByteAt: Instant | undefined;

  constructor(options: WiresOptions) {
    this.#options = options;
  }

  beginReport(): void {
    this.packets = 0;
    this.firstByteAt = undefined;
    this.lastByteAt = undefined;
  }

  authenticate(name: string, authentication: Authentication | undefined): void {
    this.#authentication.set(name, authentication ?? { type: 'none' });
  }

  /** The last number used, and the least that may be used from now on. */
  get cryptoSequence(): number {
    return this.#cryptoSequence;
  }

  set cryptoSequence(least: number) {
    this.#cryptoSequence = Math.max(this.#cryptoSequence, least);
  }

  /** False: the kernel does not want to; it was logged and counted. */
  open(name: string, link: Link): boolean {
    this.close(name);
    const { clock, netns, log, count, openSocket = rawSocket } = this.#options;
    let socket: OspfSocket | undefined;
    try {
      socket = openSocket(name, link.ifindex, link.address, netns);
      socket.join(AllSPFRouters);
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      socket?.close();
      count('socket.open-failed');
      log.error({ interface: name, code: error.code, syscall: error.syscall }, 'OSPF cannot open its socket');
      return false;
    }
    socket.listen(
      ({ source, destination, bytes }) => {
        const decoded = decodePacket(bytes, { authentication: this.#authentication.get(name)! });
        if (decoded.ok) this.#options.receive(name, source, destination, decoded.value);
        else count(`drop.${decoded.reason}`);
      },
      () => count('drop.ip-header'),
      (error) => count(`rx.${error.code}`),
    );
    const opened = socket;
    const pacer = new PacedSender(
      clock,
      (to, packets) => this.#write(opened, name, to, packets, 'update'),
      (packets) => count('tx.queue-full', packets),
    );
    this.#wires.set(name, { socket, pacer });
    return true;
  }

  close(name: string): void {
    const wire = this.#wires.get(name);
    wire?.pacer.close();
    wire?.socket.close();
    this.#wires.delete(name);
  }

  closeAll(): void {
    for (const name of [...this.#wires.keys()]) this.close(name);
  }

  pump(): void {
    for (const { pacer } of this.#wires.values()) pacer.pump();
  }

  transmit(effect: Extract<Effect, { kind: 'send' | 'update' }>): void {
    const wire = this.#wires.get(effect.interface);
    if (!wire) return;
    const { core } = this.#options;
    const authentication = this.#authentication.get(effect.interface)!;
    const to = this.#text(effect.to);
    if (effect.kind === 'send') {
      const packet = encodePacket(effect.packet, authentication, this.#nextCryptoSequence());
      this.#write(wire.socket, effect.interface, to, [packet], KINDS[effect.packet.type]);
      return;
    }
    const iface = core.interfaces.get(effect.interface)!;
    const header = {
      routerId: core.routerId,
      areaId: iface.area.id,
      cryptoSequence: this.#nextCryptoSequence(),
      transmitDelay: effect.flush ? MaxAge : InfTransDelay,
    };
    const room = (iface.link?.mtu ?? 1500) - 20;
    wire.pacer.send(to, packUpdates(effect.lsas, room, header, authentication));
  }

  membership(name: string, group: U32, joined: boolean): void {
    const wire = this.#wires.get(name);
    if (!wire) return;
    try {
      if (joined) wire.socket.join(group);
      else wire.socket.leave(group);
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      this.#options.count(`membership.${error.code}`);
      this.#options.log.warn({ interface: name, code: error.code, joined }, 'OSPF multicast membership');
    }
  }

  #write(socket: OspfSocket, name: string, to: string, packets: readonly Uint8Array[], kind: string): void {
    const { clock, count } = this.#options;
    let sent = 0;
    let code = 'partial';
    const before = clock.now();
    try {
      sent = socket.send(to, packets);
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      code = error.code;
    }
    if (sent > 0) {
      this.firstByteAt ??= before;
      this.lastByteAt = clock.now();
      this.packets += sent;
    }
    count(`tx.${kind}`, sent);
    if (sent === packets.length) return;
    count(`tx.${code}`, packets.length - sent);
    this.refused.add(name);
  }

  /** §D.3: never decreases, over restarts neither: seconds of the wall clock, several packets may share one. */
  #nextCryptoSequence(): number {
    // What waits in a queue was signed with the present number, and must not be overtaken by a higher one.
    for (const { pacer } of this.#wires.values()) if (pacer.waiting > 0) return this.#cryptoSequence;
    this.cryptoSequence = this.#options.seconds() >>> 0;
    return this.#cryptoSequence;
  }

  #text(address: U32): string {
    let text = this.#texts.get(address);
    if (text === undefined) {
      if (this.#texts.size > 1024) this.#texts.clear();
      text = ipv4FromNumber(address);
      this.#texts.set(address, text);
    }
    return text;
  }
}

const KINDS = { 1: 'hello', 2: 'dd', 3: 'request', 4: 'update', 5: 'ack' } as const;
