/**
 * Mechanism 2 for one bridge of Open vSwitch that the tunnels' packets leave by.
 *
 * The switch drops a packet whose outer MAC it doesn't know. So it is told one: a placeholder, another for each neighbour.
 * A flow sends what goes to placeholders to a port of ours, where it waits as it is, all but the MAC; when the neighbour has
 * answered it is sent on through the bridge's own interface. Answers of such a neighbour come to that port too, and not to
 * the bridge: the switch would learn from them, and later packets would overtake those that wait.
 *
 * Packets leave in portions: the switch reads its interface in small batches, and drops what its queue can't take.
 */
import { AF, ETH_P, LinuxSocket, PACKET, SOCK, SOL, SystemCallError } from 'linux-sockets';
import type { Link, Rtnetlink } from 'rtnetlink-ts';
import { type Address, formatMac, type Mac, macBytes } from '../../../model/address.ts';
import type { Clock } from '../../../model/clock.ts';
import type { Answer } from '../driver/questions.ts';
import { readAnswer } from '../driver/questions.ts';
import type { OvsDatabase } from './database.ts';
import { OpenFlow } from './openflow.ts';

export const OUR_PORT = /^plnh\d+$/;
/** Locally administered; the rest is the neighbour's number. */
const PREFIX = '0e:51:4c:00:00:00' as Mac;
const PREFIX_OCTETS = [0x0e, 0x51, 0x4c];
const RECEIVE_BUFFER = 32 << 20;
const ROUNDS = 64;
const PATIENCE = 5_000;
const LOOK_EVERY = 20;

export const placeholder = (number: number): Mac =>
  formatMac(Uint8Array.of(...PREFIX_OCTETS, (number >> 16) & 255, (number >> 8) & 255, number & 255));

export const isPlaceholder = (mac: Mac): boolean => mac.startsWith(PREFIX.slice(0, 8));

/** The neighbour whose placeholder the frame goes to. */
function placeholderOf(frame: Uint8Array): number | undefined {
  if (PREFIX_OCTETS.some((octet, at) => frame[at] !== octet)) return undefined;
  return (frame[3]! << 16) | (frame[4]! << 8) | frame[5]!;
}

export interface UnderlayOptions {
  readonly bridge: string;
  /** Of the bridge's own interface. */
  readonly link: Link;
  readonly directory: string;
  readonly netns: string | undefined;
  readonly database: OvsDatabase;
  readonly rtnetlink: Rtnetlink;
  readonly clock: Clock;
  linkOf(name: string): Link | undefined;
  onFrames(frames: readonly { readonly neighbour: number; readonly frame: Buffer }[]): void;
  onAnswer(answer: Answer): void;
}

export class Underlay {
  readonly bridge: string;
  readonly #options: UnderlayOptions;
  readonly #port: string;
  #openflow: OpenFlow | undefined;
  #inlet: LinuxSocket | undefined;
  #outlet: LinuxSocket | undefined;
  #output = 0;

  /** Makes the port, and the flow that leads to it. Rejects when the switch doesn't. */
  static async open(options: UnderlayOptions): Promise<Underlay> {
    const underlay = new Underlay(options);
    try {
      await underlay.#start();
    } catch (error) {
      await underlay.close();
      throw error;
    }
    return underlay;
  }

  private constructor(options: UnderlayOptions) {
    this.bridge = options.bridge;
    this.#options = options;
    // Of a life before this one: the interface has another number then, and the port is still there.
    const bridge = options.database.bridges.find(({ name }) => name === options.bridge);
    const standing = bridge?.interfaces.find(({ name }) => OUR_PORT.test(name));
    this.#port = standing?.name ?? `plnh${options.link.ifindex}`;
  }

  get closed(): boolean {
    return this.#openflow?.closed !== false;
  }

  /** From now on answers of `address` come to us alone. In this turn. */
  divert(address: Address): void {
    this.#openflow?.add({ match: { kind: 'answers', address }, output: this.#output });
  }

  undivert(address: Address): void {
    this.#openflow?.remove({ kind: 'answers', address });
  }

  /** `frame` is changed: it goes to `mac`. @returns `full`: the switch has to read first */
  send(frame: Buffer, mac: Mac): 'sent' | 'full' | 'refused' {
    frame.set(macBytes(mac), 0);
    try {
      this.#outlet!.send({ data: frame });
      return 'sent';
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      return error.code === 'ENOBUFS' || error.code === 'EAGAIN' ? 'full' : 'refused';
    }
  }

  async close(): Promise<void> {
    const { database } = this.#options;
    if (this.#openflow && !this.#openflow.closed) {
      this.#openflow.removeAll();
      await this.#openflow.done().catch(() => undefined);
    }
    this.#openflow?.close();
    this.#inlet?.close();
    this.#outlet?.close();
    // A database that is gone has nothing that could be removed.
    await database.removePort(this.bridge, this.#port).catch(() => undefined);
  }

  async #start(): Promise<void> {
    const { bridge, directory, database, rtnetlink, netns, link } = this.#options;
    await database.addInternalPort(bridge, this.#port);
    const port = await this.#portReady();
    await rtnetlink.setLink({ ifindex: port.ifindex, up: true });
    this.#inlet = LinuxSocket.open({
      family: AF.PACKET,
      type: SOCK.RAW,
      protocol: 0,
      ...(netns === undefined ? {} : { netns }),
    });
    this.#inlet.setOption(SOL.PACKET, PACKET.IGNORE_OUTGOING, 1);
    this.#inlet.setBuffer('receive', RECEIVE_BUFFER);
    this.#inlet.bind({ family: 'packet', ifindex: port.ifindex, protocol: ETH_P.ALL });
    this.#inlet.onReadable(() => this.#read());
    this.#outlet = LinuxSocket.open({
      family: AF.PACKET,
      type: SOCK.RAW,
      protocol: 0,
      ...(netns === undefined ? {} : { netns }),
    });
    // Protocol 0 hears nothing.
    this.#outlet.bind({ family: 'packet', ifindex: link.ifindex, protocol: 0 });
    this.#openflow = await OpenFlow.connect(`${directory}/${bridge}.mgmt`);
    this.#openflow.removeAll();
    this.#openflow.add({ match: { kind: 'destination', prefix: PREFIX }, output: this.#output });
    await this.#openflow.done();
  }

  async #portReady(): Promise<Link> {
    const { bridge, database, clock, linkOf } = this.#options;
    for (const end = clock.now() + PATIENCE; clock.now() < end; ) {
      const known = database.bridges.find(({ name }) => name === bridge);
      const output = known?.interfaces.find(({ name }) => name === this.#port)?.port;
      const link = linkOf(this.#port);
      if (output !== undefined && link) {
        this.#output = output;
        return link;
      }
      await new Promise<void>((resolve) => clock.schedule(clock.now() + LOOK_EVERY, resolve));
    }
    throw new Error(`Open vSwitch has not made the port ${this.#port} of ${bridge}`);
  }

  #read(): void {
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const messages = this.#inlet!.receiveBatch();
        if (messages.length === 0) return;
        const held: { neighbour: number; frame: Buffer }[] = [];
        for (const { data } of messages) {
          const neighbour = placeholderOf(data);
          if (neighbour !== undefined) held.push({ neighbour, frame: data });
          else {
            const answer = readAnswer(this.#options.link.ifindex, data);
            if (answer && typeof answer !== 'string') this.#options.onAnswer(answer);
          }
        }
        if (held.length > 0) this.#options.onFrames(held);
      }
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
    }
  }
}
