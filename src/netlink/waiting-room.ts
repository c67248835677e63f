import { readFileSync, writeFileSync } from 'node:fs';
import { AF, ETH_P, isWouldBlock, LinuxSocket, MSG, PACKET, SO, SOCK, SOL, withNetns } from 'linux-sockets';
import { type Rtnetlink, vethPeer } from 'rtnetlink-ts';
import { type Address, formatAddress, type Mac, macBytes } from '../model/address.ts';
import { type Clock, type Instant, systemClock } from '../model/clock.ts';
import type { HostRoute } from '../model/hosts.ts';

/**
 * A place where packets wait for a host that is on its way here.
 *
 * A veth pair: the route of such a host leads into one end, a packet socket listens at the other. Nothing else hears the
 * packets there: they are addressed to a MAC that nobody has, so the kernel's own stack lets them pass. Frames keep
 * their virtio header (partial checksums, segmentation), so what comes out is what went in.
 */

/** The end that routes lead into; with it goes the other. */
export const DOOR = 'plhold0';
const ROOM = 'plhold1';
/** Locally administered, of no interface. */
const NOBODY = '02:00:00:00:00:01' as Mac;

/** struct virtio_net_hdr, then Ethernet. */
const VNET = 10;
const ETHERNET = VNET + 14;

/** A flow of a thousand packets a second may wait for a gateway that computes its routes once a second. */
const PER_HOST = 4_096;
const BYTES = 16 << 20;
/** Of all hosts that may never come (see `Guests`): a flood must not take the room of those that do. */
const GUEST_BYTES = 8 << 20;
const BATCH = 64;

/** Of packets that come out of the door again because their hosts' group has come: fwmark, by which a rule knows them. */
export const REDIRECTED = 0x20101;

/** Hosts that we stand by for: they come when another switch has failed, and mostly it has not. */
export interface Guests {
  has(address: Address): boolean;
  /** More came for this one than may wait. */
  onOverflow(address: Address): void;
}

interface Queue {
  readonly frames: Buffer[];
  /** When each came. */
  readonly arrivals: Instant[];
  readonly guest: boolean;
}

/** Where the kernel route of a host points while its packets wait. */
export interface Door {
  readonly interface: string;
  readonly ifindex: number;
  readonly mac: Mac;
}

export class WaitingRoom {
  readonly door: Door;
  readonly #rtnetlink: Rtnetlink;
  readonly #socket: LinuxSocket;
  readonly #roomIfindex: number;
  readonly #doorMac: Uint8Array;
  readonly #waiting = new Map<Address, Queue>();
  readonly #onArrival: (address: Address) => void;
  readonly #clock: Pick<Clock, 'now'>;
  #guests: Guests | undefined;
  #bytes = 0;
  #guestBytes = 0;
  readonly #count = { waited: 0, delivered: 0, forwarded: 0, expired: 0, overflowed: 0, unsent: 0 };

  /**
   * Makes the pair of interfaces (an older one of ours is replaced).
   *
   * @param onArrival the first packet for an address came: the fabric has turned to us
   * @throws NetlinkError, SystemCallError where the kernel has no veth or we have no right
   */
  static async open(options: {
    readonly rtnetlink: Rtnetlink;
    readonly netns?: string;
    readonly clock?: Pick<Clock, 'now'>;
    onArrival(address: Address): void;
  }): Promise<WaitingRoom> {
    const { rtnetlink, netns, clock = systemClock } = options;
    if (await rtnetlink.getLink({ name: DOOR })) await rtnetlink.deleteLink({ name: DOOR });
    await rtnetlink.addLink({ name: DOOR, kind: 'veth', kindData: vethPeer({ name: ROOM }) });
    const inside = (run: () => void) => (netns === undefined ? run() : withNetns(netns, run));
    inside(keepQuiet);
    const door = await rtnetlink.getLink({ name: DOOR });
    const room = await rtnetlink.getLink({ name: ROOM });
    if (!door?.address || !room) throw new Error(`${DOOR} vanished while it was made`);
    await rtnetlink.setLink({ ifindex: door.ifindex, up: true });
    await rtnetlink.setLink({ ifindex: room.ifindex, up: true });
    const socket = LinuxSocket.open({
      family: AF.PACKET,
      type: SOCK.RAW,
      protocol: 0,
      ...(netns === undefined ? {} : { netns }),
    });
    try {
      socket.setOption(SOL.PACKET, PACKET.VNET_HDR, 1);
      socket.setOption(SOL.PACKET, PACKET.IGNORE_OUTGOING, 1);
      socket.setBuffer('receive', BYTES);
      socket.bind({ family: 'packet', ifindex: room.ifindex, protocol: ETH_P.ALL });
    } catch (error) {
      socket.close();
      throw error;
    }
    const where = { interface: DOOR, ifindex: door.ifindex, mac: NOBODY };
    const doorMac = macBytes(door.address as Mac);
    return new WaitingRoom(rtnetlink, socket, where, room.ifindex, doorMac, clock, options.onArrival);
  }

  private constructor(
    rtnetlink: Rtnetlink,
    socket: LinuxSocket,
    door: Door,
    roomIfindex: number,
    doorMac: Uint8Array,
    clock: Pick<Clock, 'now'>,
    onArrival: (address: Address) => void,
  ) {
    this.#rtnetlink = rtnetlink;
    this.#socket = socket;
    this.door = door;
    this.#roomIfindex = roomIfindex;
    this.#doorMac = doorMac;
    this.#clock = clock;
    this.#onArrival = onArrival;
    socket.onReadable(() => this.#receive());
  }

  /** Less is kept for these. */
  limit(guests: Guests): void {
    this.#guests = guests;
  }

  /** The hosts are at these routes: what waits for each goes there, in the order in which it came. */
  deliver(routes: readonly HostRoute[], sourceMac: (route: HostRoute) => Mac): void {
    if (routes.length === 0) return;
    this.#receive();
    if (this.#waiting.size === 0) return;
    for (const route of routes) {
      const frames = this.#take(route.address);
      if (frames.length === 0) continue;
      const header = new Uint8Array(12);
      header.set(macBytes(route.mac), 0);
      header.set(macBytes(sourceMac(route)), 6);
      this.#count.delivered += this.#send(frames, header, route.ifindex);
    }
  }

  /** These hosts did not come: what waits goes the way that the routes show now. */
  forward(addresses: readonly Address[]): void {
    this.#receive();
    const header = new Uint8Array(12);
    header.set(this.#doorMac, 0);
    header.set(macBytes(NOBODY), 6);
    for (const address of addresses) {
      this.#count.forwarded += this.#send(this.#take(address), header, this.#roomIfindex);
    }
  }

  /** The hosts for which this is true can be reached: the kernel knows the way of what has REDIRECTED on it. */
  redirect(which: (address: Address) => boolean): void {
    this.#receive();
    const addresses = [...this.#waiting.keys()].filter(which);
    if (addresses.length === 0) return;
    this.#socket.setOption(SOL.SOCKET, SO.MARK, REDIRECTED);
    this.forward(addresses);
    this.#socket.setOption(SOL.SOCKET, SO.MARK, 0);
  }

  /** Packets that came before `before` have waited long enough, and are dropped. @returns how many still wait */
  expire(address: Address, before: Instant): number {
    this.#receive();
    const queue = this.#waiting.get(address);
    if (!queue) return 0;
    const fresh = queue.arrivals.findIndex((at) => at >= before);
    const old = fresh < 0 ? queue.frames.length : fresh;
    this.#count.expired += old;
    if (old === queue.frames.length) {
      this.#take(address);
      return 0;
    }
    queue.arrivals.splice(0, old);
    for (const frame of queue.frames.splice(0, old)) this.#free(queue, frame);
    return queue.frames.length;
  }

  /** How many packets wait for this host. */
  waitingFor(address: Address): number {
    return this.#waiting.get(address)?.frames.length ?? 0;
  }

  counters(): Readonly<Record<string, number>> {
    return { ...this.#count, waiting: this.#bytes };
  }

  async close(): Promise<void> {
    this.#socket.close();
    await this.#rtnetlink.deleteLink({ ifindex: this.door.ifindex });
  }

  #receive(): void {
    for (let batch = this.#socket.receiveBatch(BATCH); batch.length > 0; batch = this.#socket.receiveBatch(BATCH)) {
      const now = this.#clock.now();
      for (const { data, flags } of batch) {
        const address = destination(data);
        if (address === undefined) continue;
        if (flags & MSG.TRUNC) this.#count.overflowed++;
        else this.#keep(address, data, now);
      }
    }
  }

  #keep(address: Address, frame: Buffer, now: Instant): void {
    const known = this.#waiting.get(address);
    const queue = known ?? { frames: [], arrivals: [], guest: this.#guests?.has(address) === true };
    const full = queue.frames.length >= PER_HOST || this.#bytes + frame.length > BYTES;
    if (full || (queue.guest && this.#guestBytes + frame.length > GUEST_BYTES)) {
      this.#count.overflowed++;
      if (queue.guest) this.#guests!.onOverflow(address);
      return;
    }
    this.#count.waited++;
    this.#bytes += frame.length;
    if (queue.guest) this.#guestBytes += frame.length;
    queue.frames.push(frame);
    queue.arrivals.push(now);
    if (known) return;
    this.#waiting.set(address, queue);
    this.#onArrival(address);
  }

  #take(address: Address): readonly Buffer[] {
    const queue = this.#waiting.get(address);
    if (!queue) return [];
    this.#waiting.delete(address);
    for (const frame of queue.frames) this.#free(queue, frame);
    return queue.frames;
  }

  #free(queue: Queue, frame: Buffer): void {
    this.#bytes -= frame.length;
    if (queue.guest) this.#guestBytes -= frame.length;
  }

  #send(frames: readonly Buffer[], header: Uint8Array, ifindex: number): number {
    const to = { family: 'packet' as const, ifindex, protocol: 0 };
    let sent = 0;
    for (const frame of frames) {
      frame.set(header, VNET);
      try {
        this.#socket.send({ data: frame, to });
        sent++;
      } catch (error) {
        if (!isWouldBlock(error) && !(error instanceof Error && 'errno' in error)) throw error;
        this.#count.unsent++;
      }
    }
    return sent;
  }
}

function destination(frame: Buffer): Address | undefined {
  if (frame.length < ETHERNET) return undefined;
  const type = frame.readUInt16BE(ETHERNET - 2);
  if (type === ETH_P.IP && frame.length >= ETHERNET + 20) {
    return formatAddress(frame.subarray(ETHERNET + 16, ETHERNET + 20));
  }
  if (type === ETH_P.IPV6 && frame.length >= ETHERNET + 40) {
    // Multicast is the kernel's own (listener reports, router solicitations), nobody waits for it.
    return frame[ETHERNET + 24] === 0xff ? undefined : formatAddress(frame.subarray(ETHERNET + 24, ETHERNET + 40));
  }
  return undefined;
}

/** The pair speaks for nobody: no address of its own, and what it forwards may come from anywhere. */
function keepQuiet(): void {
  for (const name of [DOOR, ROOM]) {
    writeFileSync(`/proc/sys/net/ipv4/conf/${name}/rp_filter`, '0');
    const ipv6 = `/proc/sys/net/ipv6/conf/${name}`;
    if (readable(`${ipv6}/addr_gen_mode`)) {
      writeFileSync(`${ipv6}/addr_gen_mode`, '1');
      writeFileSync(`${ipv6}/accept_ra`, '0');
    }
  }
}

function readable(path: string): boolean {
  try {
    readFileSync(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
