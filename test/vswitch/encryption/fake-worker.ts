/**
 * A packet worker in TypeScript, by docs/encryption.md and with the reference codec: real octets, so that what is on the wire
 * can be read. Frames go in by `transmit` and come out in `delivered`.
 */
import type { Address, Mac } from '../../../src/model/address.ts';
import type { Clock } from '../../../src/model/clock.ts';
import {
  decodePlainEsp,
  encodePlainEsp,
  open,
  seal,
  sealedHeader,
} from '../../../src/vswitch-bridge/encryption/codec/esp.ts';
import { ReplayWindow } from '../../../src/vswitch-bridge/encryption/codec/replay-window.ts';
import { parseSpi } from '../../../src/vswitch-bridge/encryption/codec/spi.ts';
import { decodeVxlan, encodeVxlan } from '../../../src/vswitch-bridge/encryption/codec/vxlan.ts';
import type {
  Indication,
  PeerIndex,
  PeerTraffic,
  SendState,
  Worker,
  WorkerEvents,
  WorkerSettings,
} from '../../../src/vswitch-bridge/encryption/worker-face.ts';

export interface Datagram {
  readonly at: number;
  readonly from: Address;
  readonly to: Address;
  /** UDP destination. */
  readonly port: number;
  readonly payload: Uint8Array;
}

/** What carries datagrams; a test's network. */
export type Wire = (datagram: Datagram) => void;

interface Slot {
  readonly key: Uint8Array;
  readonly window: ReplayWindow;
  armed: boolean;
}

interface Entry {
  readonly address: Address;
  send: SendState;
  sequence: bigint;
  acceptPlain: boolean;
  memo: Uint8Array;
  readonly slots: Map<number, Slot>;
  held: { readonly vni: number; readonly frame: Uint8Array; readonly until: number }[];
  readonly sent: { encrypted: bigint; plain: bigint; bytes: bigint };
  readonly received: { encrypted: bigint; plain: bigint; bytes: bigint };
  readonly refused: Record<string, bigint>;
  holdDropped: bigint;
  lastSent?: number;
  lastTcp?: number;
  lastOther?: number;
}

const IP_PROTOCOL = 14 + 9;
const TCP = 6;

export class FakeWorker implements Worker {
  readonly settings: WorkerSettings;
  readonly delivered: {
    readonly at: number;
    readonly from: Address;
    readonly vni: number;
    readonly frame: Uint8Array;
  }[] = [];
  readonly networks: { vni: number; device: string }[] = [];
  /** VNI → members and MACs. */
  readonly members = new Map<number, Set<Address>>();
  readonly macs = new Map<string, Address>();
  readonly calls: string[] = [];
  stopped = false;
  #events: WorkerEvents | undefined;
  #closed: (() => void) | undefined;
  readonly #clock: Clock;
  readonly #wire: Wire;
  readonly #entries = new Map<PeerIndex, Entry>();
  readonly #refused: Record<string, bigint> = {};
  #last = 0;

  constructor(settings: WorkerSettings, clock: Clock, wire: Wire) {
    this.settings = settings;
    this.#clock = clock;
    this.#wire = wire;
  }

  /** As OpenWorker: what stands is taken over. */
  attach(events: WorkerEvents, closed: () => void): this {
    this.#events = events;
    this.#closed = closed;
    return this;
  }

  /** The process has died. */
  die(): void {
    this.#entries.clear();
    this.#closed?.();
  }

  detach(): void {
    this.#events = undefined;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.#entries.clear();
    this.#events = undefined;
  }

  async setNetwork({ vni, device, bridge, routed }: Parameters<Worker['setNetwork']>[0]): Promise<void> {
    this.calls.push(`network ${vni} ${device} ${bridge}${routed ? ' routed' : ''}`);
    if (!this.networks.some((network) => network.vni === vni)) this.networks.push({ vni, device });
  }

  async removeNetwork(vni: number): Promise<void> {
    this.calls.push(`no network ${vni}`);
    this.networks.splice(
      this.networks.findIndex((network) => network.vni === vni),
      1,
    );
  }

  addMember(vni: number, address: Address): void {
    const members = this.members.get(vni) ?? new Set();
    this.members.set(vni, members.add(address));
  }

  removeMember(vni: number, address: Address): void {
    this.members.get(vni)?.delete(address);
  }

  setMac(vni: number, mac: Mac, address: Address): void {
    this.macs.set(`${vni} ${mac}`, address);
  }

  removeMac(vni: number, mac: Mac): void {
    this.macs.delete(`${vni} ${mac}`);
  }

  /** An instance's frame, for the host `to`. */
  transmit(to: Address, vni: number, frame: Uint8Array): void {
    const found = this.#of(to);
    if (!found) {
      count(this.#refused, 'no-peer');
      return;
    }
    const [index, entry] = found;
    const now = this.#clock.now();
    entry.lastSent = now;
    this.#expire(entry, now);
    if (entry.send.mode === 'hold') {
      if (entry.held.length === this.settings.hold.packets) {
        entry.held.shift();
        entry.holdDropped++;
      }
      entry.held.push({ vni, frame, until: now + this.settings.hold.lifetime });
      if (entry.held.length === 1) this.#events?.held(index);
    } else this.#emit(entry, vni, frame);
  }

  receive({ from, port, payload }: Datagram): void {
    const found = this.#of(from);
    if (!found) {
      count(this.#refused, 'unknown-peer');
      return;
    }
    const [index, entry] = found;
    if (port === 4789) {
      const vxlan = decodeVxlan(payload);
      if ('error' in vxlan) count(entry.refused, vxlan.error);
      else if (!vxlan.indication)
        this.#plain(index, entry, { version: 0, fp12: 0, off: false }, vxlan.vni, vxlan.frame);
      else this.#plain(index, entry, vxlan.indication, vxlan.vni, vxlan.frame);
      return;
    }
    if (payload.length < 4) {
      count(entry.refused, 'truncated');
      return;
    }
    const range = parseSpi(Buffer.from(payload).readUInt32BE(0))?.range;
    if (range === 'control') this.#events?.control(index, payload);
    else if (range === 'encrypted') this.#encrypted(index, entry, payload);
    else if (range === 'plain') {
      const plain = decodePlainEsp(payload);
      if ('error' in plain) count(entry.refused, plain.error);
      else this.#plain(index, entry, plain.indication, plain.packet.vni, plain.packet.frame);
    } else count(entry.refused, 'unknown-form');
  }

  #encrypted(index: PeerIndex, entry: Entry, payload: Uint8Array): void {
    const header = sealedHeader(payload);
    if ('error' in header) {
      count(entry.refused, header.error);
      return;
    }
    const { spi, sequence } = header;
    const slot = entry.slots.get(spi);
    if (!slot) {
      count(entry.refused, 'no-key');
      this.#events?.unreadable(index, spi);
      return;
    }
    if (!slot.window.fresh(sequence)) {
      count(entry.refused, 'replayed');
      return;
    }
    const packet = open(payload, slot.key);
    if ('error' in packet) {
      count(entry.refused, packet.error);
      if (packet.error === 'forged') this.#events?.forged(index, spi);
      return;
    }
    slot.window.accept(sequence);
    entry.received.encrypted++;
    if (packet.frame[IP_PROTOCOL] === TCP) entry.lastTcp = this.#clock.now();
    else entry.lastOther = this.#clock.now();
    this.#deliver(entry, packet.vni, packet.frame);
    if (!slot.armed) return;
    slot.armed = false;
    this.#events?.readable(index, spi);
  }

  #plain(index: PeerIndex, entry: Entry, indication: Indication, vni: number, frame: Uint8Array): void {
    if (entry.acceptPlain && this.settings.plainAllowed) {
      entry.received.plain++;
      this.#deliver(entry, vni, frame);
    } else count(entry.refused, 'plain-refused');
    this.#events?.plain(index, indication);
  }

  #deliver(entry: Entry, vni: number, frame: Uint8Array): void {
    entry.received.bytes += BigInt(frame.length);
    this.delivered.push({ at: this.#clock.now(), from: entry.address, vni, frame: Uint8Array.from(frame) });
  }

  #emit(entry: Entry, vni: number, frame: Uint8Array): void {
    const { send } = entry;
    entry.sequence++;
    entry.sent.bytes += BigInt(frame.length);
    if (send.mode === 'encrypt') {
      entry.sent.encrypted++;
      this.#put(entry, 4500, seal(send.spi, send.key, entry.sequence, { vni, sourcePort: 49152, frame }));
    } else if (send.mode === 'plain' && this.settings.plainAllowed) {
      entry.sent.plain++;
      const { plainForm } = this.settings;
      if (plainForm === 'vxlan') this.#put(entry, 4789, encodeVxlan(vni, frame, send.indication));
      else this.#put(entry, 4500, encodePlainEsp(send.indication, entry.sequence, { vni, sourcePort: 49152, frame }));
    } else count(entry.refused, 'not-sent');
  }

  #put({ address }: Entry, port: number, payload: Uint8Array): void {
    this.#wire({ at: this.#clock.now(), from: this.settings.local, to: address, port, payload });
  }

  #expire(entry: Entry, now: number): void {
    const kept = entry.held.filter(({ until }) => until > now);
    entry.holdDropped += BigInt(entry.held.length - kept.length);
    entry.held = kept;
  }

  #of(address: Address): [PeerIndex, Entry] | undefined {
    return [...this.#entries].find(([, entry]) => entry.address === address);
  }

  #entry(peer: PeerIndex): Entry {
    const entry = this.#entries.get(peer);
    if (!entry) throw new Error(`no entry ${peer}`);
    return entry;
  }

  get table() {
    const worker = this;
    return {
      adopted: [...this.#entries].map(([peer, { address, memo, slots }]) => ({
        peer,
        address,
        memo: Uint8Array.from(memo),
        receive: [...slots.keys()],
      })),
      add(address: Address): PeerIndex {
        worker.#entries.set(++worker.#last, {
          address,
          send: { mode: 'hold' },
          sequence: 0n,
          acceptPlain: false,
          memo: new Uint8Array(0),
          slots: new Map(),
          held: [],
          sent: { encrypted: 0n, plain: 0n, bytes: 0n },
          received: { encrypted: 0n, plain: 0n, bytes: 0n },
          refused: {},
          holdDropped: 0n,
        });
        return worker.#last;
      },
      remove: (peer: PeerIndex) => void worker.#entries.delete(peer),
      setSend(peer: PeerIndex, state: SendState): void {
        const entry = worker.#entry(peer);
        entry.send = state.mode === 'encrypt' ? { ...state, key: Uint8Array.from(state.key) } : state;
        if (state.mode === 'hold') return;
        worker.#expire(entry, worker.#clock.now());
        const { held } = entry;
        entry.held = [];
        if (state.mode !== 'drop') for (const { vni, frame } of held) worker.#emit(entry, vni, frame);
      },
      addReceive(peer: PeerIndex, spi: number, key: Uint8Array): void {
        worker.#entry(peer).slots.set(spi, { key: Uint8Array.from(key), window: new ReplayWindow(), armed: true });
      },
      removeReceive: (peer: PeerIndex, spi: number) => void worker.#entry(peer).slots.delete(spi),
      armReceive(peer: PeerIndex, spi: number): void {
        const slot = worker.#entry(peer).slots.get(spi);
        if (slot) slot.armed = true;
      },
      setAcceptPlain(peer: PeerIndex, accept: boolean): void {
        worker.#entry(peer).acceptPlain = accept;
      },
      setMemo(peer: PeerIndex, memo: Uint8Array): void {
        if (memo.length > 128) throw new RangeError('memo');
        worker.#entry(peer).memo = Uint8Array.from(memo);
      },
      sendControl: (peer: PeerIndex, datagram: Uint8Array) => worker.#put(worker.#entry(peer), 4500, datagram),
      traffic(peer: PeerIndex): PeerTraffic {
        const { sequence, sent, received, held, holdDropped, refused, lastSent, lastTcp, lastOther } =
          worker.#entry(peer);
        const now = worker.#clock.now();
        const age = (at: number | undefined) => (at === undefined ? undefined : now - at);
        return {
          sequence,
          sent: { ...sent },
          received: { ...received },
          held: held.length,
          holdDropped,
          refused: { ...refused },
          lastSent: age(lastSent),
          lastTcp: age(lastTcp),
          lastOther: age(lastOther),
        };
      },
      refused: () => ({ ...worker.#refused }),
    };
  }
}

function count(counters: Record<string, bigint>, reason: string): void {
  counters[reason] = (counters[reason] ?? 0n) + 1n;
}
