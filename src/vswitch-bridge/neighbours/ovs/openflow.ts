/** The few messages of OpenFlow 1.3.5 that add and remove a flow on a bridge's management socket. */
import { createConnection, type Socket } from 'node:net';
import { type Address, addressBytes, type Mac, macBytes } from '../../../model/address.ts';

const VERSION = 4;
const TYPE = {
  hello: 0,
  error: 1,
  echoRequest: 2,
  echoReply: 3,
  flowMod: 14,
  barrierRequest: 20,
  barrierReply: 21,
} as const;
const COMMAND = { add: 0, delete: 3, deleteStrict: 4 } as const;
const ANY = 0xffffffff;
/** OXM_OF_*: field numbers of §7.2.3.7. */
const FIELD = { ethDst: 3, ethType: 5, ipProto: 10, arpOp: 21, arpSpa: 22, icmpv6Type: 29, ndTarget: 31 } as const;

/** Of all our flows: "PLNH". */
export const COOKIE = 0x504c4e48n;
export const PRIORITY = 65_000;

export type Match =
  /** Frames to the MACs that begin with these three octets. */
  | { readonly kind: 'destination'; readonly prefix: Mac }
  /** ARP replies, or neighbour advertisements, that tell of this address. */
  | { readonly kind: 'answers'; readonly address: Address };

export interface Flow {
  readonly match: Match;
  /** OpenFlow port number. */
  readonly output: number;
}

function field(number: number, value: Uint8Array, mask?: Uint8Array): Uint8Array {
  const length = value.length + (mask?.length ?? 0);
  return Uint8Array.of(0x80, 0x00, (number << 1) | (mask ? 1 : 0), length, ...value, ...(mask ?? []));
}

const word = (value: number) => Uint8Array.of(value >> 8, value & 255);

function matchFields(match: Match): Uint8Array[] {
  if (match.kind === 'destination') {
    return [field(FIELD.ethDst, macBytes(match.prefix), Uint8Array.of(255, 255, 255, 0, 0, 0))];
  }
  const address = addressBytes(match.address);
  if (address.length === 4) {
    return [field(FIELD.ethType, word(0x0806)), field(FIELD.arpOp, word(2)), field(FIELD.arpSpa, address)];
  }
  return [
    field(FIELD.ethType, word(0x86dd)),
    field(FIELD.ipProto, Uint8Array.of(58)),
    field(FIELD.icmpv6Type, Uint8Array.of(136)),
    field(FIELD.ndTarget, address),
  ];
}

function message(type: number, id: number, body: Uint8Array): Buffer {
  const bytes = Buffer.alloc(8 + body.length);
  bytes[0] = VERSION;
  bytes[1] = type;
  bytes.writeUInt16BE(bytes.length, 2);
  bytes.writeUInt32BE(id >>> 0, 4);
  bytes.set(body, 8);
  return bytes;
}

function flowMod(command: number, match: Uint8Array[], output: number | undefined, cookieMask: bigint): Uint8Array {
  const fields = Buffer.concat(match);
  const matchLength = 4 + fields.length;
  const padded = (matchLength + 7) & ~7;
  const instruction = output === undefined ? 0 : 24;
  const bytes = Buffer.alloc(40 + padded + instruction);
  bytes.writeBigUInt64BE(COOKIE, 0);
  bytes.writeBigUInt64BE(cookieMask, 8);
  bytes[16] = command === COMMAND.delete ? 0xff : 0; // OFPTT_ALL, or the first table
  bytes[17] = command;
  bytes.writeUInt16BE(PRIORITY, 22);
  bytes.writeUInt32BE(ANY, 24); // OFP_NO_BUFFER
  bytes.writeUInt32BE(ANY, 28);
  bytes.writeUInt32BE(ANY, 32);
  bytes.writeUInt16BE(1, 40); // OFPMT_OXM
  bytes.writeUInt16BE(matchLength, 42);
  fields.copy(bytes, 44);
  if (output === undefined) return bytes;
  const at = 40 + padded;
  bytes.writeUInt16BE(4, at); // OFPIT_APPLY_ACTIONS
  bytes.writeUInt16BE(24, at + 2);
  bytes.writeUInt16BE(0, at + 8); // OFPAT_OUTPUT
  bytes.writeUInt16BE(16, at + 10);
  bytes.writeUInt32BE(output, at + 12);
  return bytes;
}

export const encode = {
  hello: (id: number) => message(TYPE.hello, id, Uint8Array.of(0, 1, 0, 8, 0, 0, 0, 1 << VERSION)),
  add: (id: number, { match, output }: Flow) =>
    message(TYPE.flowMod, id, flowMod(COMMAND.add, matchFields(match), output, 0n)),
  remove: (id: number, match: Match) =>
    message(TYPE.flowMod, id, flowMod(COMMAND.deleteStrict, matchFields(match), undefined, 0n)),
  removeAll: (id: number) => message(TYPE.flowMod, id, flowMod(COMMAND.delete, [], undefined, 0xffff_ffff_ffff_ffffn)),
  barrier: (id: number) => message(TYPE.barrierRequest, id, new Uint8Array(0)),
  echoReply: (id: number, body: Uint8Array) => message(TYPE.echoReply, id, body),
};

const TIMEOUT = 5_000;

/** A connection to `<bridge>.mgmt`. Writes in this turn; `done` waits until the switch has done all that was written. */
export class OpenFlow {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, { resolve: () => void; reject: (error: Error) => void; timer: NodeJS.Timeout }>();
  #received = Buffer.alloc(0);
  #id = 1;
  #refused: Error | undefined;
  #closed = false;

  static connect(path: string): Promise<OpenFlow> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(path);
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new OpenFlow(socket));
      });
    });
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#data(chunk));
    socket.on('error', (error) => this.#end(error));
    socket.on('close', () => this.#end(new Error('the switch closed the connection')));
    socket.write(encode.hello(this.#id++));
  }

  get closed(): boolean {
    return this.#closed;
  }

  add(flow: Flow): void {
    this.#write(encode.add(this.#id++, flow));
  }

  remove(match: Match): void {
    this.#write(encode.remove(this.#id++, match));
  }

  removeAll(): void {
    this.#write(encode.removeAll(this.#id++));
  }

  /** Rejects when the switch refused something written before, or is gone. */
  done(): Promise<void> {
    if (this.#closed) return Promise.reject(new Error('the switch is gone'));
    const id = this.#id++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error('the switch does not answer'));
      }, TIMEOUT);
      timer.unref();
      this.#waiting.set(id, { resolve, reject, timer });
      this.#write(encode.barrier(id));
    });
  }

  close(): void {
    this.#end(undefined);
  }

  #write(bytes: Buffer): void {
    if (!this.#closed) this.#socket.write(bytes);
  }

  #data(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk]);
    while (this.#received.length >= 8) {
      const length = this.#received.readUInt16BE(2);
      if (length < 8) {
        this.#end(new Error('what came is no OpenFlow'));
        return;
      }
      if (this.#received.length < length) return;
      this.#message(this.#received.subarray(0, length));
      this.#received = this.#received.subarray(length);
    }
  }

  #message(bytes: Buffer): void {
    const id = bytes.readUInt32BE(4);
    if (bytes[1] === TYPE.echoRequest) this.#write(encode.echoReply(id, bytes.subarray(8)));
    else if (bytes[1] === TYPE.error) {
      this.#refused = new Error(`OpenFlow error ${bytes.readUInt16BE(8)}, ${bytes.readUInt16BE(10)}`);
    } else if (bytes[1] === TYPE.barrierReply) {
      const waiting = this.#waiting.get(id);
      if (!waiting) return;
      this.#waiting.delete(id);
      clearTimeout(waiting.timer);
      const refused = this.#refused;
      this.#refused = undefined;
      if (refused) waiting.reject(refused);
      else waiting.resolve();
    }
  }

  #end(error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.destroy();
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(error ?? new Error('closed'));
    }
    this.#waiting.clear();
  }
}
