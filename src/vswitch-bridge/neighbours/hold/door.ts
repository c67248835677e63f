/**
 * The door: a pair of interfaces through which the hold program sends frames to the agent. They come with their virtio
 * header (partial checksums, segment trains), so what goes back into the tunnel is what was to go there.
 *
 * A pair and a packet socket, not a TAP: the socket's buffer is bounded in octets whatever their sizes are, and it needs
 * no thread of its own to be read.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { AF, LinuxSocket, PACKET, SO, SOCK, SOL, SystemCallError, withNetns } from 'linux-sockets';
import { type Rtnetlink, vethPeer } from 'rtnetlink-ts';
import { type HeldFrame, HOLD_ETHERTYPE, parseHeld, RELEASED_PRIORITY } from './layout.ts';

export const DOOR = 'plnbh0';
const ROOM = 'plnbh1';
/** Longest frame of a segment train, and our header. */
const MTU = 65_535;
/** The kernel's own bound on what waits to be read, in octets with its overhead. */
const RECEIVE_BUFFER = 32 << 20;
const ROUNDS = 64;

export class Door {
  readonly ifindex: number;
  readonly #rtnetlink: Rtnetlink;
  readonly #inlet: LinuxSocket;
  readonly #outlet: LinuxSocket;
  #mark = 0;

  /** Makes the pair; an older one of ours is replaced. @throws NetlinkError, SystemCallError */
  static async open(options: {
    readonly rtnetlink: Rtnetlink;
    readonly netns: string | undefined;
    onFrames(frames: readonly HeldFrame[]): void;
  }): Promise<Door> {
    const { rtnetlink, netns } = options;
    if (await rtnetlink.getLink({ name: DOOR })) await rtnetlink.deleteLink({ name: DOOR });
    await rtnetlink.addLink({ name: DOOR, mtu: MTU, kind: 'veth', kindData: vethPeer({ name: ROOM, mtu: MTU }) });
    const quiet = () => {
      for (const name of [DOOR, ROOM]) {
        const mode = `/proc/sys/net/ipv6/conf/${name}/addr_gen_mode`;
        if (existsSync(mode)) writeFileSync(mode, '1');
      }
    };
    if (netns === undefined) quiet();
    else withNetns(netns, quiet);
    const door = await rtnetlink.getLink({ name: DOOR });
    const room = await rtnetlink.getLink({ name: ROOM });
    if (!door || !room) throw new Error(`${DOOR} vanished while it was made`);
    for (const { ifindex } of [door, room]) await rtnetlink.setLink({ ifindex, up: true });
    const inside = netns === undefined ? {} : { netns };
    const inlet = LinuxSocket.open({ family: AF.PACKET, type: SOCK.RAW, protocol: 0, ...inside });
    try {
      inlet.setOption(SOL.PACKET, PACKET.VNET_HDR, 1);
      inlet.setBuffer('receive', RECEIVE_BUFFER);
      inlet.bind({ family: 'packet', ifindex: room.ifindex, protocol: HOLD_ETHERTYPE });
      const outlet = LinuxSocket.open({ family: AF.PACKET, type: SOCK.RAW, protocol: 0, ...inside });
      outlet.setOption(SOL.PACKET, PACKET.VNET_HDR, 1);
      outlet.setOption(SOL.SOCKET, SO.PRIORITY, RELEASED_PRIORITY);
      return new Door(rtnetlink, door.ifindex, inlet, outlet, (frames) => options.onFrames(frames));
    } catch (error) {
      inlet.close();
      throw error;
    }
  }

  private constructor(
    rtnetlink: Rtnetlink,
    ifindex: number,
    inlet: LinuxSocket,
    outlet: LinuxSocket,
    onFrames: (frames: readonly HeldFrame[]) => void,
  ) {
    this.#rtnetlink = rtnetlink;
    this.ifindex = ifindex;
    this.#inlet = inlet;
    this.#outlet = outlet;
    inlet.onReadable(() => this.#read(onFrames));
  }

  /** Back into the tunnel device, with the mark that it had. @returns whether the kernel took it */
  send({ frame, ifindex, mark }: HeldFrame): boolean {
    try {
      if (mark !== this.#mark) {
        this.#outlet.setOption(SOL.SOCKET, SO.MARK, mark);
        this.#mark = mark;
      }
      this.#outlet.send({ data: frame, to: { family: 'packet', ifindex, protocol: frame.readUInt16BE(10 + 12) } });
      return true;
    } catch (error) {
      // The device is gone or down, or a queue behind it is full.
      if (error instanceof SystemCallError) return false;
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#inlet.close();
    this.#outlet.close();
    if (await this.#rtnetlink.getLink({ ifindex: this.ifindex }))
      await this.#rtnetlink.deleteLink({ ifindex: this.ifindex });
  }

  #read(onFrames: (frames: readonly HeldFrame[]) => void): void {
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const messages = this.#inlet.receiveBatch();
        if (messages.length === 0) return;
        onFrames(messages.map(({ data }) => parseHeld(data)).filter((held) => held !== undefined));
      }
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
    }
  }
}

/**
 * bpf_fib_lookup asks as if for a packet that came by lo, and refuses where lo doesn't forward. @returns what puts it back
 */
export function letLoopbackForward(netns: string | undefined): () => void {
  const inside = (run: () => void) => (netns === undefined ? run() : withNetns(netns, run));
  const changed: string[] = [];
  inside(() => {
    for (const family of ['ipv4', 'ipv6']) {
      const path = `/proc/sys/net/${family}/conf/lo/forwarding`;
      if (!existsSync(path) || readFileSync(path, 'utf8').trim() === '1') continue;
      writeFileSync(path, '1');
      changed.push(path);
    }
  });
  return () =>
    inside(() => {
      for (const path of changed) writeFileSync(path, '0');
    });
}
