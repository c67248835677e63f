import { SystemCallError } from 'linux-sockets';
import { type Address, type Mac, prefixContains } from '../../model/address.ts';
import type { Clock, Timer } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import type { Port } from '../../model/ports.ts';
import { answer, type Frame, type GuardMemory, PortSocket, question, tagged } from '../../netlink/frames/index.ts';
import { whoSpeaks } from '../codec/speaker.ts';
import type { Heard, HostEvent, HostPolicy, Stationed } from '../machine/types.ts';
import type { HostKernel, OpenPort, PortEar } from '../options.ts';
import type { Placement } from './placement.ts';
import { seenOn } from './stations.ts';
import { Storms } from './storms.ts';

/** Batches of 64 frames that one port may have in a turn, so that a flood on one leaves the others their share. */
const BATCHES = 4;
/** Before somebody is given up: thousands behind one port may all have answered, and his answer may be the last of them. */
const BATCHES_BEFORE_VERDICT = 64;
/** A port whose socket could not be opened is tried again after this long (ms). */
const OPEN_AGAIN = 1_000;

export interface Question {
  readonly port: string;
  readonly address: Address;
  readonly mac: Mac | undefined;
  readonly vlan?: number;
}

export interface SnoopingOptions {
  readonly kernel: HostKernel;
  readonly placement: Placement;
  readonly netns: string | undefined;
  readonly log: Log;
  readonly clock: Clock;
  readonly openPort: OpenPort | undefined;
  readonly guards: GuardMemory | undefined;
  /** The hosts known with this MAC. */
  known(mac: Mac): readonly Stationed[];
  /** An ARP reply of this address is one to the sweep. */
  swept(address: Address): boolean;
  /** Live hosts of a port. */
  knownOn(port: string): readonly Address[];
  /** Not behind that port, but reached from here. */
  isElsewhere(port: string, address: Address): boolean;
  /** See Storms. */
  weed(port: string): void;
  onStorm(port: string, began: boolean, reason: string): void;
  /** What the frames of one port said, in the turn in which they were read. */
  onEvidence(events: HostEvent[]): void;
}

const packetSocket: OpenPort = (options, onReadable) => new PortSocket(options, onReadable);

/** The packet sockets of the downlinks: what is heard there, and the way our questions go. */
export class Snooping {
  readonly #options: SnoopingOptions;
  readonly #sockets = new Map<string, PortEar>();
  readonly #count = new Map<string, number>();
  #policy: HostPolicy;
  #closedDrops = 0;
  readonly storms: Storms;
  /** Ports whose socket could not be opened. */
  readonly #deaf = new Map<string, Timer>();

  constructor(policy: HostPolicy, options: SnoopingOptions) {
    this.#policy = policy;
    this.#options = options;
    const { clock, knownOn, weed, onStorm } = options;
    this.storms = new Storms({ clock, knownOn, weed, onStorm, perPort: () => this.#policy.limits.perPort });
  }

  configure(policy: HostPolicy): void {
    this.#policy = policy;
    const wanted = new Set(policy.ports);
    for (const name of this.#sockets.keys()) if (!wanted.has(name)) this.#close(name);
    for (const name of wanted) this.refresh(name);
  }

  /** Opens, reopens or closes the socket of a downlink as its interface demands. */
  refresh(name: string): void {
    const port = this.#options.kernel.port(name);
    const socket = this.#sockets.get(name);
    if (!port) {
      if (socket) this.#close(name);
      return;
    }
    const bridged = this.#options.placement.isBridged(port);
    const multicast = this.#policy.prefixes.some((prefix) => prefix.includes(':'));
    if (socket?.ifindex === port.ifindex && socket.bridged === bridged && socket.multicast === multicast) return;
    if (socket) this.#close(name);
    this.#open(port, bridged, multicast);
  }

  /** Reads what waits on every port: before time decides that somebody did not answer. */
  drain(): void {
    for (const [name, socket] of this.#sockets)
      if (socket.hasFrames?.() !== false) this.#read(name, socket, BATCHES_BEFORE_VERDICT);
  }

  /** false: it could not be sent, and why was counted. */
  ask(asked: Question): boolean {
    let sent = true;
    this.askAll([asked], () => {
      sent = false;
    });
    return sent;
  }

  /** As `ask`: those of one port leave together. `failed` for each that could not be sent. */
  askAll(all: readonly Question[], failed: (asked: Question) => void): void {
    for (const [name, questions] of Map.groupBy(all, ({ port }) => port)) {
      const socket = this.#sockets.get(name);
      const frames = questions.map((asked) => this.#frameOf(asked));
      const unsent = (index: number, code: string): void => {
        this.#add(`probes.failed.${code}`);
        failed(questions[index]!);
      };
      if (socket?.sendAll && frames.every((frame) => frame !== undefined)) {
        socket.sendAll(frames, unsent);
        continue;
      }
      for (const [index, frame] of frames.entries()) {
        const failure = socket && frame ? socket.send(frame) : 'no-socket';
        if (failure) unsent(index, failure);
      }
    }
  }

  #frameOf({ port: name, address, mac, vlan }: Question): Uint8Array | undefined {
    const port = this.#options.kernel.port(name);
    const asker = port && this.#options.placement.asker(port, address);
    if (!asker) return undefined;
    const frame = question(address, mac, asker);
    return vlan ? tagged(frame, vlan) : frame;
  }

  /** One frame out of a downlink; false: it could not be sent. */
  send(name: string, frame: Uint8Array): boolean {
    const socket = this.#sockets.get(name);
    return socket !== undefined && socket.send(frame) === undefined;
  }

  close(): void {
    for (const name of [...this.#sockets.keys()]) this.#close(name);
    for (const timer of this.#deaf.values()) timer.cancel();
    this.#deaf.clear();
  }

  counters(): Record<string, number> {
    let dropped = this.#closedDrops;
    for (const socket of this.#sockets.values()) dropped += socket.dropped();
    const { count, ports } = this.storms;
    return {
      ...Object.fromEntries(this.#count),
      ...count,
      'storms.now': ports.length,
      'frames.dropped': dropped,
      sockets: this.#sockets.size,
    };
  }

  #open(port: Port, bridged: boolean, multicast: boolean): void {
    const { netns, log, guards, openPort = packetSocket } = this.#options;
    const { name, ifindex } = port;
    try {
      const options = { name, ifindex, netns, bridged, multicast, guards };
      this.#sockets.set(
        name,
        openPort(options, (socket) => this.#read(name, socket)),
      );
      this.#deaf.get(name)?.cancel();
      this.#deaf.delete(name);
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      this.#add(`sockets.failed.${error.code}`);
      // The interface may have gone in the meantime; its message is on the way. Anything else (no memory, say) must be
      // known, once, and is tried again: no link change will come that would make up for it.
      const known = this.#deaf.has(name);
      this.#tryAgain(name);
      if (known) return;
      log.error({ port: name, code: error.code }, 'no packet socket on this port: nothing is heard there');
    }
  }

  #tryAgain(name: string): void {
    const { clock } = this.#options;
    this.#deaf.get(name)?.cancel();
    const again = () => {
      if (this.#policy.ports.includes(name)) this.refresh(name);
      else this.#deaf.delete(name);
    };
    this.#deaf.set(name, clock.schedule(clock.now() + OPEN_AGAIN, again));
  }

  #close(name: string): void {
    const socket = this.#sockets.get(name);
    if (!socket) return;
    this.#sockets.delete(name);
    this.storms.forget(name);
    this.#closedDrops += socket.dropped();
    socket.close();
  }

  #read(name: string, socket: PortEar, batches = BATCHES): void {
    for (let batch = 0; batch < batches && this.#sockets.get(name) === socket; batch++) {
      const frames = this.#receive(socket);
      if (frames.length === 0) return;
      const events = this.#evidence(name, frames);
      this.storms.read(name, socket, frames.length, events);
      if (events.length > 0) this.#options.onEvidence(events);
      if (frames.length < 64) return;
    }
    this.storms.overrun(name, socket);
  }

  #receive(socket: PortEar): Frame[] {
    try {
      return socket.receive();
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      // ENETDOWN comes once when the port goes down; the link message tells the rest.
      this.#add(`receive.failed.${error.code}`);
      return [];
    }
  }

  #evidence(name: string, frames: readonly Frame[]): HostEvent[] {
    const port = this.#options.kernel.port(name);
    const events: HostEvent[] = [];
    if (!port) return events;
    this.#add('frames', frames.length);
    const { arp } = this.#policy.sources;
    for (const { bytes, vlan } of frames) {
      const spoken = whoSpeaks(bytes);
      if ('error' in spoken) this.#add(`frames.malformed.${spoken.error}`);
      else if ('silent' in spoken) this.#add(`frames.ignored.${spoken.silent}`);
      else if ('station' in spoken) events.push(...this.#stationed(port, spoken.station, vlan));
      else {
        const { address, mac, gratuitous, how } = spoken.speaker;
        const routed = this.#options.placement.routedOn(port, address);
        if (this.storms.answers(name, address)) this.#answer(name, bytes, routed);
        const heard: Heard = {
          type: 'heard',
          source: 'arp',
          address,
          mac,
          port: name,
          interface: routed.name,
          ifindex: routed.ifindex,
          gratuitous,
          how: how === 'arp-reply' && this.#options.swept(address) ? 'sweep' : how,
        };
        const place = vlan === undefined ? heard : { ...heard, vlan };
        events.push(arp ? place : { ...place, type: 'probeReply' });
      }
    }
    return events;
  }

  /** As the kernel would, for the gateway's address and, where it did so, for others'. */
  #answer(name: string, asked: Uint8Array, { mac, addresses }: Port): void {
    const isOurs = (target: Address): boolean =>
      addresses.some(({ address }) => address === target) ||
      (this.#sockets.get(name)?.proxied === true && this.#isProxied(name, target));
    const frame = mac && answer(asked, mac, isOurs);
    if (frame && this.send(name, frame)) this.#add('frames.answered');
  }

  /** What is in no prefix of ours is taken to be where the other routes lead. */
  #isProxied(name: string, target: Address): boolean {
    const within = this.#policy.prefixes.some((prefix) => prefixContains(prefix, target));
    return !within || this.#options.isElsewhere(name, target);
  }

  #stationed(port: Port, mac: Mac, vlan: number | undefined): HostEvent[] {
    this.#add('frames.rarp');
    const { known, placement } = this.#options;
    const hosts = known(mac).filter((host) => host.port !== port.name && (!host.vlan || !vlan || host.vlan === vlan));
    return seenOn(port, mac, 'rarp', hosts, placement);
  }

  #add(key: string, amount = 1): void {
    this.#count.set(key, (this.#count.get(key) ?? 0) + amount);
  }
}
