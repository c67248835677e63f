/**
 * A worker and the agent's hold on it. `OverlayWorker.open` finds one that runs (an earlier agent's: it has gone on with
 * what it was told last) or starts one, detached, in this process's network namespace.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Connection, type ConnectionEvents, WorkerError } from './connection.ts';
import { native } from './native.ts';
import { deviceName, EVENT, type Frame, ipv4Bytes, LAYOUT_VERSION, MESSAGE, macBytes, u32 } from './protocol.ts';
import { type PeerDescription, type WorkerEvents, WorkerTable } from './table.ts';

export interface WorkerOptions<A extends string = string> {
  /** Unix socket, in a folder of the agent's on a tmpfs; at most 106 octets. `PATH.counters` is made beside it. */
  readonly socket: string;
  /** IPv4 underlay address. */
  readonly local: A;
  /** UDP port of ours and of all peers. */
  readonly port: number;
  /** 0: plain VXLAN is neither sent nor received. See `plainBound`. */
  readonly plainPort: number;
  readonly underlayMtu: number;
  /**
   * Flows leave from these UDP ports, each flow from one, so that the underlay spreads them over its paths (RFC 7348 §5);
   * default: `SOURCE_PORTS`. One that is another's is left out; without any, everything leaves from `port`. At most 64.
   */
  readonly sourcePorts?: { readonly first: number; readonly count: number };
  readonly plainForm: 'esp' | 'vxlan';
  /** False: no packet leaves or is delivered in plain text, whatever an entry says. */
  readonly plainAllowed: boolean;
  /** Packets, octets, milliseconds. */
  readonly hold: { readonly packets: number; readonly bytes: number; readonly lifetime: number };
  /** Seconds until a learned MAC address is forgotten (300). */
  readonly ageing?: number;
  /** Words before the worker's own command line: what enters a namespace, sets a priority, names processors. */
  readonly through?: readonly string[];
  readonly events: WorkerEvents;
  /** A command that nobody waits for was refused: a fault of ours, or the worker is out of room. */
  readonly refused: (error: WorkerError) => void;
  /** Somebody has deleted the TAP of this VNI. `setNetwork` makes it anew. */
  readonly networkLost: (vni: number) => void;
  /** The worker has ended, or another agent took it over. Its TAPs are gone with it. */
  readonly closed: () => void;
}

export interface EncryptedNetwork {
  /** 24 bits. */
  readonly vni: number;
  /** Of the TAP, e.g. `pltn100`. */
  readonly device: string;
  /** The bridge that the TAP is put into. */
  readonly bridge?: string;
  /** Of the TAP; default: what fits the underlay without fragments. */
  readonly mtu?: number;
  /** Members of any network of which this is said may send into all of them. */
  readonly routed?: boolean;
}

/** One MAC address behind a peer. */
export interface LearnedMac {
  readonly mac: string;
  readonly peer: string;
  /** Set by `setMac`, not learned. */
  readonly fixed: boolean;
}

interface Hello {
  readonly layout: number;
  readonly pid: number;
  readonly port: number;
  readonly plainPort: number;
  readonly plainBound: boolean;
  readonly address: string;
  readonly sourceFirst: number;
  readonly sourceWanted: number;
  readonly sourceBound: number;
  readonly shared: string;
  readonly sharedLength: number;
  readonly places: number;
  readonly lastNumber: number;
  readonly counters: readonly string[];
  readonly networks: readonly { readonly vni: number; readonly device: string }[];
}

/** Dynamic ports (RFC 6335 §6) beyond those that Linux gives to whoever asks for any. */
export const SOURCE_PORTS = { first: 61_440, count: 16 } as const;

const ANSWER_TIMEOUT = 5000;
const START_TIMEOUT = 10_000;
const START_PAUSE = 10;

/** Largest inner IP packet that leaves encrypted in one piece: outer IPv4 and UDP, ESP, IV, ICV, UDP, VXLAN, Ethernet. */
export const overlayMtu = (underlayMtu: number): number => ((underlayMtu - 28 - 32) & ~3) - 2 - 16 - 14;

/** undefined: no worker listens there. */
async function found(socket: string, events: ConnectionEvents): Promise<Connection | undefined> {
  try {
    return await Connection.open(socket, events);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ECONNREFUSED') return undefined;
    throw error;
  }
}

const nothing = (): void => undefined;

export class OverlayWorker<A extends string = string> {
  readonly table: WorkerTable<A>;
  readonly pid: number;
  /** It ran before this process did. */
  readonly adopted: boolean;
  /** False: `plainPort` is 0 or another's (a kernel tunnel's); plain VXLAN is neither sent nor received. */
  readonly plainBound: boolean;
  /** How many of `sourcePorts` were free. */
  readonly sourcePorts: number;
  /** VNIs and devices that an earlier agent has left. */
  readonly networks: Hello['networks'];
  readonly #connection: Connection;
  readonly #options: WorkerOptions<A>;
  /** Wanted members, also of peers that are not in the table yet. */
  readonly #members = new Map<number, Set<string>>();
  readonly #made = new Set<number>();

  private constructor(
    connection: Connection,
    options: WorkerOptions<A>,
    hello: Hello,
    peers: readonly PeerDescription[],
    adopted: boolean,
  ) {
    this.#connection = connection;
    this.#options = options;
    this.pid = hello.pid;
    this.networks = hello.networks;
    this.adopted = adopted;
    this.plainBound = hello.plainBound;
    this.sourcePorts = hello.sourceBound;
    for (const { vni } of hello.networks) this.#made.add(vni);
    for (const { address, networks } of peers) for (const vni of networks) this.#membersOf(vni).add(address);
    const shared = new BigUint64Array(native.map(hello.shared, hello.sharedLength));
    this.table = new WorkerTable<A>(connection, hello, shared, peers, (address) => this.#joined(address));
  }

  /** @throws WorkerError, or an Error that says what the worker said when it could not start */
  static async open<A extends string = string>(options: WorkerOptions<A>): Promise<OverlayWorker<A>> {
    ipv4Bytes(options.local);
    const running = await OverlayWorker.#attach(options, true);
    if (running) return running;
    let failure = '';
    const { first, count } = options.sourcePorts ?? SOURCE_PORTS;
    const program = fileURLToPath(
      new URL(import.meta.url.endsWith('.ts') ? './main.ts' : './main.js', import.meta.url),
    );
    const [command, ...parameters] = [
      ...[
        ...(options.through ?? []),
        process.execPath,
        program,
        '--socket',
        options.socket,
        '--address',
        options.local,
      ],
      ...['--port', String(options.port), '--plain-port', String(options.plainPort)],
      ...['--underlay-mtu', String(options.underlayMtu)],
      ...['--source-first', String(first), '--source-ports', String(count)],
    ];
    const child = spawn(command!, parameters, { detached: true, stdio: ['ignore', 'ignore', 'pipe'], cwd: '/' });
    child.stderr.on('data', (text) => {
      failure += text;
    });
    let ended = false;
    child.on('exit', () => {
      ended = true;
    });
    child.on('error', (error) => {
      ended = true;
      failure += error.message;
    });
    const until = performance.now() + START_TIMEOUT;
    for (;;) {
      const worker = await OverlayWorker.#attach(options, false);
      if (worker) {
        child.stderr.destroy();
        child.unref();
        return worker;
      }
      if (ended) throw new Error(`the overlay worker has not started: ${failure.trim()}`);
      if (performance.now() > until) {
        child.kill();
        throw new Error(`the overlay worker did not answer within ${START_TIMEOUT} ms`);
      }
      await new Promise((resolve) => setTimeout(resolve, START_PAUSE));
    }
  }

  /** Ends the worker that listens there, whatever it was told; starts none. False: there was none. */
  static async end(socket: string): Promise<boolean> {
    const connection = await found(socket, { message: nothing, refused: nothing, closed: nothing });
    await connection?.finish();
    return connection !== undefined;
  }

  /** undefined: nobody listens there, or what did was of another layout or address and has been told to end. */
  static async #attach<A extends string>(
    options: WorkerOptions<A>,
    adopted: boolean,
  ): Promise<OverlayWorker<A> | undefined> {
    let worker: OverlayWorker<A> | undefined;
    const early: Frame[] = [];
    const connection = await found(options.socket, {
      message: (frame) => {
        if (worker) worker.#dispatch(frame);
        else early.push(frame);
      },
      refused: (error) => options.refused(error),
      closed: () => {
        if (worker) options.closed();
      },
    });
    if (!connection) return undefined;
    const impatience = setTimeout(() => connection.close(), ANSWER_TIMEOUT);
    const hello = await connection.ask('hello', u32(LAYOUT_VERSION)).then(
      (text) => JSON.parse(text) as Hello,
      (error) => error as Error,
    );
    clearTimeout(impatience);
    const { first, count } = options.sourcePorts ?? SOURCE_PORTS;
    // What is silent still has the ports and the devices: another beside it would get neither.
    if (hello instanceof Error && !(hello instanceof WorkerError)) throw hello;
    const fits =
      !(hello instanceof Error) &&
      hello.address === options.local &&
      hello.port === options.port &&
      hello.plainPort === options.plainPort &&
      hello.sourceFirst === first &&
      hello.sourceWanted === count;
    if (!fits) {
      await connection.finish();
      return undefined;
    }
    const peers = JSON.parse(await connection.ask('peers')) as PeerDescription[];
    worker = new OverlayWorker<A>(connection, options, hello, peers, adopted);
    await worker.setUnderlayMtu(options.underlayMtu);
    for (const frame of early) worker.#dispatch(frame);
    return worker;
  }

  /** @throws WorkerError */
  async setUnderlayMtu(mtu: number): Promise<void> {
    const { ageing = 300, plainAllowed, plainForm, hold } = this.#options;
    await this.#connection.ask(
      'settings',
      u32(mtu, ageing, plainAllowed ? 1 : 0, plainForm === 'vxlan' ? 1 : 0, hold.packets, hold.bytes, hold.lifetime),
    );
  }

  /** Makes the TAP, or changes what is said of it. @throws WorkerError (EBUSY: the device is another's) */
  async setNetwork({ vni, device, bridge = '', mtu, routed = false }: EncryptedNetwork): Promise<void> {
    const wanted = mtu ?? overlayMtu(this.#options.underlayMtu);
    await this.#connection.ask('networkSet', u32(vni, wanted, routed ? 1 : 0), deviceName(device), deviceName(bridge));
    this.#made.add(vni);
    for (const address of this.#membersOf(vni)) this.#join(vni, address, true);
  }

  /** Removes the TAP. @throws WorkerError */
  async removeNetwork(vni: number): Promise<void> {
    this.#members.delete(vni);
    this.#made.delete(vni);
    await this.#connection.ask('networkDelete', u32(vni));
  }

  /** A peer of this network: broadcasts go to it, and frames of this network are taken from it. */
  addMember(vni: number, address: A): void {
    this.#membersOf(vni).add(address);
    this.#join(vni, address, true);
  }

  removeMember(vni: number, address: A): void {
    this.#membersOf(vni).delete(address);
    this.#join(vni, address, false);
  }

  /** A MAC address that is not to be learned elsewhere. The peer must be in the table. */
  setMac(vni: number, mac: string, address: A): void {
    const place = this.table.placeOf(address);
    if (!place) throw new RangeError(`${address} is no peer of the worker`);
    this.#connection.tell('fdbSet', place, u32(vni), macBytes(mac), Buffer.of(1, 0));
  }

  removeMac(vni: number, mac: string): void {
    this.#connection.tell('fdbSet', u32(0, 0, vni), macBytes(mac), Buffer.of(0, 0));
  }

  /** @throws WorkerError */
  async macs(vni: number): Promise<LearnedMac[]> {
    return JSON.parse(await this.#connection.ask('fdbList', u32(vni))) as LearnedMac[];
  }

  /** As the worker has them. */
  async peers(): Promise<PeerDescription[]> {
    return JSON.parse(await this.#connection.ask('peers')) as PeerDescription[];
  }

  /** Lets go; the worker carries on. */
  detach(): void {
    this.#connection.close();
  }

  /** Ends the worker: when this resolves, TAPs, ports and keys are gone. */
  async stop(): Promise<void> {
    await this.#connection.finish();
  }

  #dispatch(frame: Frame): void {
    if (frame.type === MESSAGE.event && frame.body.readUInt16LE(0) === EVENT.networkLost) {
      this.#options.networkLost(frame.body.readUInt32LE(12));
    } else {
      this.table.dispatch(frame, this.#options.events);
    }
  }

  #membersOf(vni: number): Set<string> {
    let members = this.#members.get(vni);
    if (!members) {
      members = new Set();
      this.#members.set(vni, members);
    }
    return members;
  }

  #joined(address: A): void {
    for (const [vni, members] of this.#members) if (members.has(address)) this.#join(vni, address, true);
  }

  #join(vni: number, address: string, member: boolean): void {
    const place = this.table.placeOf(address);
    if (place && this.#made.has(vni)) this.#connection.tell('memberSet', place, u32(vni, member ? 1 : 0));
  }
}
