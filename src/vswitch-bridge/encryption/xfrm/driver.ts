/*
 * The kernel's side of the XFRM back end: netlink for SAs and policies, a UDP socket that makes the kernel take what comes to its port for
 * ESP (RFC 3948), and a packet socket for what the kernel would only drop: control packets, and packets of versions that nobody holds.
 *
 * Both go on without the agent: SAs and policies by themselves, the UDP socket in the hands of another process (holder.ts).
 */
import { readFileSync } from 'node:fs';
import { AF, ETH_P, isWouldBlock, LinuxSocket, NETLINK, SO, SOCK, SOL, SystemCallError } from 'linux-sockets';
import { type Connection, forEachMessage, Malformed, type Message } from 'rtnetlink-ts';
import type { Address } from '../../../model/address.ts';
import type { Log } from '../../../model/log.ts';
import { parseSpi } from '../codec/spi.ts';
import type { Indication } from '../worker-face.ts';
import { type ListedAssociation, readAssociationId } from './codec/association.ts';
import { UDP_ENCAP, UDP_ENCAP_ESPINUDP, XFRM_MSG, XFRMNLGRP, xfrmMessageName } from './codec/constants.ts';
import { packetFilter, readUdpPacket } from './codec/packet-filter.ts';
import { type Policy, readPolicyId } from './codec/policy.ts';
import type { SaId } from './codec/structures.ts';
import type { XfrmKernel, XfrmRefusal, XfrmRequest } from './kernel-face.ts';
import { type Ends, peerOfSelector } from './projection.ts';
import { listAssociations, listPolicies, messageOf, openXfrm, reasonOf } from './requests.ts';

/** What comes in beside the data. */
export interface XfrmArrivals {
  control(from: Address, datagram: Uint8Array): void;
  plain(from: Address, indication: Indication): void;
  unreadable(from: Address, spi: number): void;
}

export interface XfrmDriverOptions {
  readonly ends: Ends;
  readonly arrivals: XfrmArrivals;
  /** Whether an SA that somebody else has deleted was one of ours. */
  readonly isOurs: (id: SaId) => boolean;
  /** Somebody else has deleted SAs or policies of ours. */
  readonly lost: (reason: string) => void;
  /** Makes nftables mark what comes from each address. Rejects when it does not. */
  readonly loadMarks: (marks: ReadonlyMap<Address, number>) => Promise<void>;
  readonly log: Log;
  readonly netns?: string | undefined;
}

const RECEIVE_BUFFER = 1 << 20;
const BATCHES_PER_TURN = 4;

export class XfrmDriver implements XfrmKernel {
  readonly #options: XfrmDriverOptions;
  readonly #netlink: Connection;
  readonly #monitor: LinuxSocket;
  readonly #udp: LinuxSocket;
  readonly #packets: LinuxSocket;
  /** As last asked for. */
  #marks: ReadonlyMap<Address, number> | undefined;
  #marksStale = false;
  #marksLoading: Promise<void> = Promise.resolve();
  #marksRefused: Error | undefined;
  #closed = false;

  /** @throws SystemCallError */
  static open(options: XfrmDriverOptions): XfrmDriver {
    return new XfrmDriver(options);
  }

  private constructor(options: XfrmDriverOptions) {
    const { ends, netns } = options;
    this.#options = options;
    const place = netns === undefined ? {} : { netns };
    const opened: { close(): void }[] = [];
    const own = <T extends { close(): void }>(one: T): T => {
      opened.push(one);
      return one;
    };
    try {
      this.#netlink = own(openXfrm(netns));
      this.#monitor = own(LinuxSocket.open({ family: AF.NETLINK, type: SOCK.RAW, protocol: NETLINK.XFRM, ...place }));
      this.#monitor.setBuffer('receive', RECEIVE_BUFFER);
      this.#monitor.bind({ family: 'netlink', pid: 0, groups: bit(XFRMNLGRP.SA) | bit(XFRMNLGRP.POLICY) });
      this.#monitor.onReadable(() => this.#overhear());
      this.#udp = own(openEspPort(ends, netns));
      // Of a port that several have, some of what comes stays with this one; the kernel has taken what is ESP.
      this.#udp.onReadable(() => this.#discard(this.#udp));
      this.#packets = own(LinuxSocket.open({ family: AF.PACKET, type: SOCK.DGRAM, protocol: ETH_P.IP, ...place }));
      this.#packets.setBuffer('receive', RECEIVE_BUFFER);
      this.#packets.attachFilter(packetFilter(ends.port, new Set()));
      this.#packets.onReadable(() => this.#arrived());
    } catch (error) {
      // Whoever opens it tries again, and again: each time a few descriptors more.
      for (const one of opened) one.close();
      throw error;
    }
    for (const socket of [this.#monitor, this.#udp, this.#packets]) socket.unref();
  }

  /** The descriptor of the socket that makes the kernel take packets for ESP. */
  get espPort(): number {
    return this.#udp.fd;
  }

  apply(requests: readonly XfrmRequest[]): readonly XfrmRefusal[] {
    if (requests.length === 0 || this.#closed) return [];
    const { refused } = this.#netlink.sendAndSee(requests.map(messageOf));
    return refused.map(({ index, refusal }) => ({ request: requests[index]!, reason: reasonOf(refusal) }));
  }

  associations(): Promise<ListedAssociation[]> {
    return listAssociations(this.#netlink);
  }

  policies(): Promise<Policy[]> {
    return listPolicies(this.#netlink);
  }

  marks(marks: ReadonlyMap<Address, number>): void {
    this.#marks = marks;
    this.#marksStale = true;
    this.#marksLoading = this.#marksLoading.then(() => this.#loadMarks());
  }

  /** Somebody has taken the rules away. */
  markAgain(): void {
    if (this.#marks) this.marks(this.#marks);
  }

  /** Rejects when the marks that were last asked for were refused. */
  async marked(): Promise<void> {
    await this.#marksLoading;
    if (this.#marksRefused) throw this.#marksRefused;
  }

  watch(keys: ReadonlySet<number>): void {
    this.#packets.attachFilter(packetFilter(this.#options.ends.port, keys));
  }

  sendControl(to: Address, datagram: Uint8Array): void {
    try {
      this.#udp.send({ data: datagram, to: { family: 'ipv4', address: to, port: this.#options.ends.port } });
    } catch (error) {
      // No way there, or no room: it is said again.
      if (!(error instanceof SystemCallError)) throw error;
      this.#options.log.debug({ err: error, to }, 'a control packet did not leave');
    }
  }

  statistics(): Readonly<Record<string, bigint>> {
    return readStatistics();
  }

  /** Resolves when the marks have been loaded. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const socket of [this.#monitor, this.#udp, this.#packets]) socket.close();
    this.#netlink.close();
    await this.#marksLoading;
  }

  /** One load at a time; of what is asked for meanwhile, the last. */
  async #loadMarks(): Promise<void> {
    const { loadMarks, log } = this.#options;
    if (!this.#marks || !this.#marksStale) return;
    this.#marksStale = false;
    try {
      await loadMarks(this.#marks);
      this.#marksRefused = undefined;
    } catch (error) {
      this.#marksRefused = error as Error;
      log.error({ err: error }, 'packets of peers can not be told apart: what they encrypt is not read');
    }
  }

  #arrived(): void {
    const { ends, arrivals } = this.#options;
    for (const data of received(this.#packets)) {
      const packet = readUdpPacket(data);
      if (packet?.destination !== ends.local || packet.destinationPort !== ends.port) continue;
      const { source, payload } = packet;
      if (payload.length < 4) continue;
      const spi = payload.readUInt32BE(0);
      const parsed = parseSpi(spi);
      if (parsed?.range === 'control') arrivals.control(source, Uint8Array.from(payload));
      else if (parsed?.range === 'plain') {
        const { version, fp12, off } = parsed;
        arrivals.plain(source, { version, fp12, off });
      } else if (parsed?.range === 'encrypted') arrivals.unreadable(source, spi);
    }
  }

  /** What we do ourselves is not told: its process id is our socket's. */
  #overhear(): void {
    for (const data of received(this.#monitor)) {
      forEachMessage(data, (message) => {
        const { type } = message;
        if (type === XFRM_MSG.FLUSHSA || type === XFRM_MSG.FLUSHPOLICY)
          this.#options.lost(`${xfrmMessageName(type)} of another program`);
        if ((type !== XFRM_MSG.DELSA && type !== XFRM_MSG.DELPOLICY) || message.pid === this.#netlink.port) return;
        const deleted = type === XFRM_MSG.DELSA ? this.#ownAssociation(message) : this.#ownPolicy(message);
        if (deleted !== undefined) this.#options.lost(`another program has deleted the ${deleted}`);
      });
    }
  }

  #ownAssociation(message: Message): string | undefined {
    const id = readAssociationId(message);
    if (id === undefined || id instanceof Malformed || !this.#options.isOurs(id)) return undefined;
    return `SA ${id.spi.toString(16)} to ${id.destination}`;
  }

  #ownPolicy(message: Message): string | undefined {
    const id = readPolicyId(message);
    const peer = id === undefined || id instanceof Malformed ? undefined : peerOfSelector(this.#options.ends, id);
    if (!id || id instanceof Malformed || peer === undefined) return undefined;
    return `policy for what ${id.direction === 'in' ? 'comes in from' : 'goes out to'} ${peer}`;
  }

  #discard(socket: LinuxSocket): void {
    for (const _ of received(socket));
  }
}

const bit = (group: number): number => 1 << (group - 1);

function* received(socket: LinuxSocket): Generator<Buffer> {
  for (let batch = 0; batch < BATCHES_PER_TURN; batch++) {
    let datagrams: ReturnType<LinuxSocket['receiveBatch']>;
    try {
      datagrams = socket.receiveBatch(64);
    } catch (error) {
      if (isWouldBlock(error)) return;
      // What was lost for want of room is said again, or seen at the next look.
      if (error instanceof SystemCallError) return;
      throw error;
    }
    if (datagrams.length === 0) return;
    for (const { data } of datagrams) yield data;
  }
}

/** The kernel takes what comes to it for ESP. Several may have it: the agent of now, and who held it for the one before. */
export function openEspPort({ local, port }: Ends, netns?: string): LinuxSocket {
  const socket = LinuxSocket.open({
    family: AF.INET,
    type: SOCK.DGRAM,
    protocol: 17,
    ...(netns === undefined ? {} : { netns }),
  });
  try {
    socket.setOption(SOL.SOCKET, SO.REUSEADDR, 1);
    socket.setOption(SOL.SOCKET, SO.REUSEPORT, 1);
    socket.setOption(SOL.UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP);
    socket.bind({ family: 'ipv4', address: local, port });
  } catch (error) {
    socket.close();
    throw error;
  }
  return socket;
}

const COUNTED: Readonly<Record<string, string>> = {
  XfrmInNoStates: 'no-key',
  XfrmInStateProtoError: 'forged',
  XfrmInStateSeqError: 'replayed',
  XfrmInStateMismatch: 'wrong-peer',
  XfrmInHdrError: 'malformed',
  XfrmInTmplMismatch: 'plain-refused',
  XfrmInNoPols: 'plain-refused',
  XfrmInPolBlock: 'plain-refused',
  XfrmOutPolBlock: 'not-sent',
  XfrmOutNoStates: 'not-sent',
};

/** Of the whole namespace, other users of IPsec included. */
function readStatistics(): Readonly<Record<string, bigint>> {
  try {
    return parseStatistics(readFileSync('/proc/net/xfrm_stat', 'utf8'));
  } catch (error) {
    // A kernel without CONFIG_XFRM_STATISTICS.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
}

/** @param text as /proc/net/xfrm_stat has it */
export function parseStatistics(text: string): Readonly<Record<string, bigint>> {
  const counted: Record<string, bigint> = {};
  for (const line of text.split('\n')) {
    const [name = '', value = ''] = line.trim().split(/\s+/);
    const reason = COUNTED[name];
    if (reason === undefined || !/^[1-9]\d*$/.test(value)) continue;
    counted[reason] = (counted[reason] ?? 0n) + BigInt(value);
  }
  return counted;
}
