/**
 * One UDP packet a millisecond each way between the two ends of every pair; in the labs of switches from the client to
 * every server (each of its addresses) and back. Sockets are opened in the ends' namespaces; packets that fall due while
 * the process was not scheduled go out as soon as it is, with the time they really left.
 */
import { AF, LinuxSocket, type OutgoingMessage, SO, SOCK, SOL, SystemCallError } from 'linux-sockets';
import { monotonic } from '../monotonic.ts';
import { CLIENT, type Family, namespaceOf, SERVERS } from '../topology/plan.ts';
import { judgeStream, type StreamResult } from './streams.ts';

export type Direction = 'to-server' | 'from-server';

/** Who is probed. */
export interface Endpoint {
  /** What the results call it. */
  readonly name: string;
  /** The node in whose namespace it is. */
  readonly node: string;
  readonly address?: string | undefined;
  readonly address6?: string | undefined;
}

/** Where packets are sent and received. */
export interface Party {
  /** A name in /run/netns, or an absolute path. */
  readonly netns: string;
  readonly address: string;
}

/** `to-server` goes from `near` to `far`. */
export interface Pair {
  /** What the results call it. */
  readonly name: string;
  readonly family: Family;
  readonly near: Party;
  readonly far: Party;
}

export interface ProbeResult extends StreamResult {
  /** The endpoint's name. */
  readonly server: string;
  readonly family: Family;
  readonly direction: Direction;
  /** Packets that the sender's own kernel refused (no route, no carrier); they count as sent and lost. */
  readonly refused: number;
}

const PORT = 7001;
const INTERVAL = 1;
/** After a longer pause of this process the schedule starts anew instead of bursting. */
const MAX_CATCH_UP = 50;
/** Four minutes in one window. */
const CAPACITY = 240_000;
const MAGIC = 0x70726f62;
const SIZE = 24;

interface Stream {
  readonly server: string;
  readonly family: Family;
  readonly direction: Direction;
  readonly to: { family: 'ipv4' | 'ipv6'; address: string; port: number };
  readonly sentAt: Float64Array;
  readonly leftBy: Float64Array;
  readonly arrivals: Uint8Array;
  sent: number;
  highest: number;
  reordered: number;
  refused: number;
}

interface End {
  readonly socket: LinuxSocket;
  readonly streams: readonly number[];
}

export class Prober {
  readonly #lab: string;
  readonly #families: readonly Family[];
  #streams: Stream[] = [];
  #ends: End[] = [];
  #window = 0;
  #counting = false;
  #nextDue = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(lab: string, families: readonly Family[]) {
    this.#lab = lab;
    this.#families = families;
    this.endpoints(SERVERS.map(({ name, address, address6 }) => ({ name, node: name, address, address6 })));
  }

  /** From now on these are probed, and nobody else. What was counted is forgotten. */
  endpoints(endpoints: readonly Endpoint[]): void {
    this.pairs(
      this.#families.flatMap((family) =>
        endpoints.flatMap(({ name, node, address, address6 }): Pair[] => {
          const own = family === 4 ? address : address6;
          if (own === undefined) return [];
          const client = {
            netns: namespaceOf(this.#lab, 'X'),
            address: family === 4 ? CLIENT.address : CLIENT.address6,
          };
          return [{ name, family, near: client, far: { netns: namespaceOf(this.#lab, node), address: own } }];
        }),
      ),
    );
  }

  /** As `endpoints`, between anybody and anybody. */
  pairs(pairs: readonly Pair[]): void {
    for (const { socket } of this.#ends) socket.close();
    this.#streams = [];
    this.#ends = [];
    this.#counting = false;
    const ends = new Map<string, { party: Party; family: Family; streams: number[] }>();
    const streamsFrom = (party: Party, family: Family): number[] => {
      const key = `${party.netns} ${party.address}`;
      let end = ends.get(key);
      if (!end) {
        end = { party, family, streams: [] };
        ends.set(key, end);
      }
      return end.streams;
    };
    for (const { name, family, near, far } of pairs) {
      streamsFrom(near, family).push(this.#addStream(name, family, 'to-server', far.address));
      streamsFrom(far, family).push(this.#addStream(name, family, 'from-server', near.address));
    }
    this.#ends = [...ends.values()].map(({ party, family, streams }) => ({
      socket: this.#open(party.netns, family, party.address),
      streams,
    }));
  }

  start(): void {
    this.#nextDue = monotonic();
    this.#tick();
  }

  /** Forgets what was, and counts from here. */
  begin(): void {
    this.#window++;
    this.#counting = true;
    for (const stream of this.#streams) {
      stream.arrivals.fill(0, 0, stream.sent);
      stream.sent = 0;
      stream.highest = -1;
      stream.reordered = 0;
      stream.refused = 0;
    }
  }

  /** Sends nothing more into this window, waits `settle` ms for what is under way, and judges. */
  async end(settle: number): Promise<ProbeResult[]> {
    this.#counting = false;
    await new Promise((resolve) => setTimeout(resolve, settle));
    return this.#streams.map((stream) => ({
      server: stream.server,
      family: stream.family,
      direction: stream.direction,
      refused: stream.refused,
      ...judgeStream(stream, INTERVAL),
    }));
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const { socket } of this.#ends) socket.close();
  }

  #addStream(server: string, family: Family, direction: Direction, address: string): number {
    this.#streams.push({
      server,
      family,
      direction,
      to: { family: `ipv${family}`, address, port: PORT },
      sentAt: new Float64Array(CAPACITY),
      leftBy: new Float64Array(CAPACITY),
      arrivals: new Uint8Array(CAPACITY),
      sent: 0,
      highest: -1,
      reordered: 0,
      refused: 0,
    });
    return this.#streams.length - 1;
  }

  #open(netns: string, family: Family, address: string): LinuxSocket {
    const socket = LinuxSocket.open({
      family: family === 4 ? AF.INET : AF.INET6,
      type: SOCK.DGRAM,
      protocol: 0,
      netns,
    });
    socket.setOption(SOL.SOCKET, SO.RCVBUFFORCE, 4 << 20);
    socket.bind({ family: `ipv${family}`, address, port: PORT });
    return socket;
  }

  #tick(): void {
    const now = monotonic();
    let due = Math.floor((now - this.#nextDue) / INTERVAL) + 1;
    if (due > MAX_CATCH_UP) {
      this.#nextDue = now;
      due = 1;
    }
    if (due > 0) {
      this.#nextDue += due * INTERVAL;
      for (const endpoint of this.#ends) this.#send(endpoint, due);
    }
    for (const endpoint of this.#ends) this.#receive(endpoint);
    this.#timer = setTimeout(() => this.#tick(), INTERVAL);
  }

  #send(endpoint: End, count: number): void {
    const messages: OutgoingMessage[] = [];
    const owners: Stream[] = [];
    const firsts = this.#streams.map(({ sent }) => sent);
    for (let round = 0; round < count; round++) {
      for (const index of endpoint.streams) {
        const stream = this.#streams[index]!;
        const data = Buffer.allocUnsafe(SIZE);
        const at = monotonic();
        const counted = this.#counting && stream.sent < CAPACITY;
        data.writeUInt32BE(MAGIC, 0);
        data.writeUInt32BE(counted ? this.#window : 0, 4);
        data.writeUInt32BE(index, 8);
        data.writeUInt32BE(stream.sent, 12);
        data.writeDoubleBE(at, 16);
        if (counted) stream.sentAt[stream.sent++] = at;
        messages.push({ data, to: stream.to });
        owners.push(stream);
      }
    }
    for (let first = 0; first < messages.length; ) {
      try {
        first += endpoint.socket.sendBatch(first === 0 ? messages : messages.slice(first));
      } catch (error) {
        if (!(error instanceof SystemCallError)) throw error;
        owners[first]!.refused++;
        first++;
      }
    }
    const left = monotonic();
    for (const index of endpoint.streams) {
      const stream = this.#streams[index]!;
      stream.leftBy.fill(left, firsts[index], stream.sent);
    }
  }

  #receive(endpoint: End): void {
    for (;;) {
      const messages = endpoint.socket.receiveBatch();
      for (const { data } of messages) {
        if (data.length !== SIZE || data.readUInt32BE(0) !== MAGIC || data.readUInt32BE(4) !== this.#window) continue;
        const stream = this.#streams[data.readUInt32BE(8)];
        const sequence = data.readUInt32BE(12);
        if (!stream || sequence >= stream.sent) continue;
        if (stream.arrivals[sequence]! < 255) stream.arrivals[sequence]!++;
        if (sequence < stream.highest) stream.reordered++;
        else stream.highest = sequence;
      }
      if (messages.length < 64) return;
    }
  }
}
