/*
 * Binds the probes of next hops to the packet sockets of the uplinks and to the clock. An answer, a loss of carrier or a
 * silence that is complete is told (`onVerdict`) in the turn in which it was found.
 */
import { SystemCallError } from 'linux-sockets';
import type { Address } from '../../model/address.ts';
import { addressBytes, familyOf, makePrefix, prefixContains } from '../../model/address.ts';
import { Alarm, type Clock, type Instant } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import { isUp, type LinkState, type Port, type PortChange } from '../../model/ports.ts';
import { type Asker, type Frame, PortSocket, type PortSocketOptions, question } from '../../netlink/frames/index.ts';
import { answerIn } from './answer.ts';
import { type NextHopEffect, type NextHopEvent, NextHopProbes, type SeenHop } from './machine.ts';

/** What hears and asks on one uplink. */
export type UplinkEar = Pick<PortSocket, 'ifindex' | 'receive' | 'send' | 'close'>;
export type OpenUplink = (options: PortSocketOptions, onReadable: (ear: UplinkEar) => void) => UplinkEar;

/** Where the hops that were alive are kept for the next life; both may throw. */
export interface SeenStore {
  load(): readonly SeenHop[];
  save(hops: readonly SeenHop[]): void;
}

export interface NextHopDriverOptions {
  readonly links: Pick<LinkState, 'port' | 'portByIndex'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly store: SeenStore;
  /** A name in /run/netns or an absolute path; absent: where the process is. */
  readonly netns?: string | undefined;
  /** Packet sockets when absent. */
  readonly openUplink?: OpenUplink | undefined;
  /** An uplink is judged otherwise than before; ask `verdict`. */
  onVerdict(port: string, at: Instant): void;
}

export interface Asked {
  readonly hops: readonly Address[];
  /** The operator said so. */
  readonly configured: boolean;
}

/** In the socket's or the uplink's queue. */
const NO_ROOM = new Set(['EAGAIN', 'ENOBUFS']);
/** Batches of 64 frames in one turn. */
const BATCHES = 2;

export class NextHopDriver {
  readonly #options: NextHopDriverOptions;
  readonly #probes = new NextHopProbes();
  readonly #ears = new Map<string, UplinkEar>();
  /** Uplinks whose socket could not be opened. */
  readonly #deaf = new Set<string>();
  readonly #asked = new Map<string, Asked>();
  readonly #count = new Map<string, number>();
  readonly #alarm: Alarm;
  #savedVersion = 0;
  #loaded = false;
  #closed = false;

  constructor(options: NextHopDriverOptions) {
    this.#options = options;
    this.#alarm = new Alarm(options.clock, () => this.#tick());
  }

  /** Whom to ask on which uplink, all of them. Only these are heard and judged. */
  watch(uplinks: ReadonlyMap<string, Asked>): void {
    if (this.#closed) return;
    if (uplinks.size > 0) this.#load();
    for (const port of [...this.#asked.keys()]) {
      if (uplinks.has(port)) continue;
      this.#asked.delete(port);
      this.#close(port);
      this.#feed({ type: 'drop', port });
    }
    for (const [port, asked] of uplinks) {
      const before = this.#asked.get(port);
      this.#asked.set(port, asked);
      if (!before) {
        this.#open(port);
        this.#feed({ type: 'link', port, up: isUp(this.#options.links.port(port)) });
      }
      if (!before || !sameAsked(before, asked)) this.#feed({ type: 'hops', port, ...asked });
    }
  }

  /** For every change of a port, before anybody asks for verdicts. */
  portChanged({ name, after }: PortChange): void {
    if (!this.#asked.has(name)) return;
    if (after?.ifindex !== this.#ears.get(name)?.ifindex) {
      this.#close(name);
      this.#open(name);
    }
    this.#feed({ type: 'link', port: name, up: isUp(after) });
  }

  /** undefined: not watched. */
  verdict(port: string): { readonly ok: boolean; readonly reason: string } | undefined {
    return this.#probes.verdict(port);
  }

  counters(): Record<string, number> {
    return { ...Object.fromEntries(this.#count), sockets: this.#ears.size };
  }

  close(): void {
    this.#closed = true;
    this.#alarm.set(undefined);
    for (const port of [...this.#ears.keys()]) this.#close(port);
  }

  #load(): void {
    if (this.#loaded) return;
    this.#loaded = true;
    try {
      this.#probes.handle({ type: 'restore', hops: this.#options.store.load() }, this.#options.clock.now());
    } catch (error) {
      this.#options.log.warn({ err: error }, 'next hops of an earlier run can not be read; starting without');
    }
  }

  #feed(event: NextHopEvent): void {
    const at = this.#options.clock.now();
    const judged: string[] = [];
    const unsent: NextHopEvent[] = [];
    for (const effect of this.#probes.handle(event, at)) {
      if (effect.type === 'verdict') judged.push(effect.port);
      else {
        const failure = this.#probe(effect);
        const { port, address } = effect;
        if (failure !== undefined) unsent.push({ type: 'unsent', port, address, full: NO_ROOM.has(failure) });
      }
    }
    for (const port of judged) this.#options.onVerdict(port, at);
    for (const each of unsent) this.#feed(each);
    this.#alarm.set(this.#closed ? undefined : this.#probes.nextDeadline());
    this.#save();
  }

  /** Why it never left; undefined when it did. */
  #probe({ port: name, address, mac }: Extract<NextHopEffect, { type: 'probe' }>): string | undefined {
    const asker = this.#asker(name, address);
    if (!this.#ears.has(name)) this.#open(name);
    const ear = this.#ears.get(name);
    const failure = !asker ? 'no-asker' : !ear ? 'no-socket' : ear.send(question(address, mac, asker));
    this.#add(failure === undefined ? 'probes.sent' : `probes.failed.${failure}`);
    return failure;
  }

  /**
   * As the interface that routes there: the port, or the bridge or bond that it is in. Without an address in the hop's
   * subnet (unnumbered) it is an ARP probe (RFC 5227 §2.1.1), which names no sender that the hop could doubt.
   */
  #asker(name: string, target: Address): Asker | undefined {
    const port = this.#options.links.port(name);
    const routed = port && (this.#options.links.portByIndex(port.master) ?? port);
    const mac = routed?.mac ?? port?.mac;
    if (!routed || !mac) return undefined;
    const address = addressTowards(routed, target);
    return address ? { mac, address } : { mac };
  }

  #open(name: string): void {
    const { links, log, netns, openUplink = packetSocket } = this.#options;
    const port = links.port(name);
    if (!port) return;
    const bridged = links.portByIndex(port.master)?.kind === 'bridge';
    try {
      const options = { name, ifindex: port.ifindex, netns, bridged, multicast: false, hear: 'answers' as const };
      this.#ears.set(
        name,
        openUplink(options, () => this.#read(name)),
      );
      this.#deaf.delete(name);
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      this.#add(`sockets.failed.${error.code}`);
      // It is tried again with each question.
      if (this.#deaf.has(name)) return;
      this.#deaf.add(name);
      log.error({ port: name, code: error.code }, 'no packet socket on this uplink: its next hops are not asked');
    }
  }

  #close(name: string): void {
    this.#ears.get(name)?.close();
    this.#ears.delete(name);
  }

  #read(name: string): void {
    for (let batch = 0; batch < BATCHES; batch++) {
      const frames = this.#receive(name);
      for (const frame of frames) this.#heard(name, frame);
      if (frames.length < 64) return;
    }
  }

  #receive(name: string): Frame[] {
    try {
      return this.#ears.get(name)?.receive() ?? [];
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      // ENETDOWN comes once when the port goes down; the link message tells the rest.
      this.#add(`receive.failed.${error.code}`);
      return [];
    }
  }

  #heard(name: string, { bytes }: Frame): void {
    const port = this.#options.links.port(name);
    const routed = port && (this.#options.links.portByIndex(port.master) ?? port);
    const us = routed?.mac ?? port?.mac;
    if (!routed || !us) return;
    const heard = answerIn(bytes, us, !routed.addresses.some(({ address }) => familyOf(address) === 6));
    if ('error' in heard) this.#add(`frames.malformed.${heard.error}`);
    else if ('silent' in heard) this.#add(`frames.ignored.${heard.silent}`);
    else {
      this.#add('answers');
      this.#feed({ type: 'answer', port: name, ...heard.answer });
    }
  }

  #tick(): void {
    // Answers may wait behind this timer, the more so when the loop was busy.
    for (const name of this.#ears.keys()) this.#read(name);
    this.#feed({ type: 'tick' });
  }

  #save(): void {
    if (this.#probes.seenVersion === this.#savedVersion) return;
    this.#savedVersion = this.#probes.seenVersion;
    try {
      this.#options.store.save(this.#probes.seen());
    } catch (error) {
      this.#options.log.error({ err: error }, 'next hops that were alive are not saved');
    }
  }

  #add(key: string): void {
    this.#count.set(key, (this.#count.get(key) ?? 0) + 1);
  }
}

const packetSocket: OpenUplink = (options, onReadable) => new PortSocket(options, onReadable);

const sameAsked = (one: Asked, other: Asked): boolean =>
  one.configured === other.configured && one.hops.join() === other.hops.join();

/** Our address in the subnet of `target`; for IPv6 otherwise the link-local one. */
function addressTowards(port: Port, target: Address): Address | undefined {
  const linkLocal = /^fe[89ab]/;
  const onLink = port.addresses.find(
    ({ address, prefixLength }) =>
      familyOf(address) === familyOf(target) &&
      prefixContains(makePrefix(addressBytes(address), prefixLength), target) &&
      address !== target,
  )?.address;
  if (onLink !== undefined || familyOf(target) === 4) return onLink;
  return port.addresses.find(({ address }) => linkLocal.test(address))?.address;
}
