/*
 * Two ends of the agreement, their packet workers and the network between them, on a virtual clock: what the machine is played
 * against. The workers keep to docs/encryption.md, "What the worker does"; encryption itself is only named here (the
 * codec's tests have the octets), so that a hundred thousand stories can be played.
 */
import { deepEqual } from 'node:assert/strict';
import type { ControlPacket, Trust } from '../../../src/vswitch-bridge/encryption/codec/control.ts';
import {
  type KeyId,
  type ShortKeyId,
  sameKey,
  shorten,
} from '../../../src/vswitch-bridge/encryption/codec/identity.ts';
import { ReplayWindow } from '../../../src/vswitch-bridge/encryption/codec/replay-window.ts';
import type { PeerEffect, SendChoice } from '../../../src/vswitch-bridge/encryption/machine/events.ts';
import { PeerMachine } from '../../../src/vswitch-bridge/encryption/machine/peer.ts';
import { DEFAULT_SETTINGS, type MachineSettings } from '../../../src/vswitch-bridge/encryption/machine/settings.ts';

export type Name = 'a' | 'b';
export type Protocol = 'tcp' | 'udp';

/** A version key: equal secrets are equal octets. */
export interface Key extends KeyId {
  readonly secret: number;
}

export const key = (version: number, secret: number): Key => ({
  version,
  secret,
  fingerprint: Math.imul(secret + 1, 0x9e3779b1) >>> 0,
});

export type Packet =
  | {
      readonly form: 'encrypted';
      readonly id: ShortKeyId;
      /** Names the traffic key as its derivation does. */
      readonly traffic: string;
      readonly sequence: number;
      readonly payload: number;
      readonly protocol: Protocol;
    }
  | {
      readonly form: 'plain';
      readonly id: ShortKeyId;
      readonly off: boolean;
      readonly payload: number;
      readonly protocol: Protocol;
    }
  | { readonly form: 'control'; readonly packet: ControlPacket; readonly secrets: readonly number[] };

export interface Sent {
  readonly at: number;
  readonly from: Name;
  readonly packet: Packet;
}

interface Slot {
  readonly key: KeyId;
  readonly window: ReplayWindow;
  armed: boolean;
}

interface Waiting {
  readonly payload: number;
  readonly protocol: Protocol;
  readonly until: number;
}

/** What the network does to a packet: the delays after which it arrives; none: it is lost. */
export type Network = (from: Name, packet: Packet) => readonly number[];

const INSTANCE = { a: new Uint8Array(8).fill(0xa), b: new Uint8Array(8).fill(0xb) };
const HOLD = { packets: 64, lifetime: 1000 };

export class End {
  readonly name: Name;
  readonly world: World;
  keys: readonly Key[] = [];
  machine: PeerMachine;
  sequence = 0;
  choice: SendChoice = { mode: 'hold' };
  held: Waiting[] = [];
  slots = new Map<string, Slot>();
  acceptPlain = false;
  lastSent: number | undefined;
  lastTcp: number | undefined;
  lastOther: number | undefined;
  /** Payloads handed to the instances. */
  readonly delivered: { readonly at: number; readonly payload: number; readonly form: Packet['form'] }[] = [];
  readonly effects: { readonly at: number; readonly effect: PeerEffect }[] = [];
  readonly refused = new Map<string, number>();

  constructor(name: Name, world: World) {
    this.name = name;
    this.world = world;
    this.machine = this.#machine(undefined);
  }

  get peer(): Name {
    return this.name === 'a' ? 'b' : 'a';
  }

  get mode(): SendChoice['mode'] {
    return this.choice.mode;
  }

  #machine(memo: Uint8Array | undefined): PeerMachine {
    const { settings, octets } = this.world;
    return new PeerMachine({ settings, instance: INSTANCE[this.name], random: octets, memo });
  }

  /** A new worker and a new agent. */
  restart(): void {
    this.sequence = 0;
    this.held = [];
    this.slots = new Map();
    this.choice = { mode: 'hold' };
    this.acceptPlain = false;
    this.lastSent = undefined;
    this.lastTcp = undefined;
    this.lastOther = undefined;
    this.machine = this.#machine(undefined);
    this.setKeys(this.keys);
  }

  /** The worker goes on. */
  restartAgent(): void {
    this.machine = this.#machine(this.machine.memo());
    this.setKeys(this.keys);
  }

  /** The newest first. */
  setKeys(keys: readonly Key[]): void {
    this.keys = keys;
    this.handle({ type: 'keys', held: keys.map(({ version, fingerprint }) => ({ version, fingerprint })) });
  }

  /** The last received is the newest; `most` are kept. */
  rotate(next: Key, most = 3): void {
    this.setKeys([next, ...this.keys.filter(({ version }) => version !== next.version)].slice(0, most));
  }

  tick(): void {
    const { lastSent, lastTcp, lastOther } = this;
    this.handle({ type: 'tick', flow: { lastSent, lastTcp, lastOther } });
  }

  handle(event: Parameters<PeerMachine['handle']>[0]): void {
    for (const effect of this.machine.handle(event, this.world.now)) this.#perform(effect);
  }

  /** An instance sends. */
  send(payload: number, protocol: Protocol): void {
    const { now } = this.world;
    this.lastSent = now;
    this.held = this.held.filter(({ until }) => until > now);
    if (this.choice.mode !== 'hold') {
      this.#emit(payload, protocol);
      return;
    }
    if (this.held.length === HOLD.packets) this.held.shift();
    this.held.push({ payload, protocol, until: now + HOLD.lifetime });
    if (this.held.length === 1) this.handle({ type: 'held' });
  }

  receive(packet: Packet): void {
    const { now } = this.world;
    switch (packet.form) {
      case 'control':
        this.handle({ type: 'control', packet: packet.packet, trust: this.#trust(packet.packet, packet.secrets) });
        break;
      case 'plain':
        if (this.acceptPlain) this.#deliver(packet);
        else this.#refuse('plain-refused');
        this.handle({ type: 'plain', key: packet.id, off: packet.off });
        break;
      case 'encrypted': {
        const slot = this.slots.get(packet.traffic);
        if (!slot) {
          this.#refuse('no-key');
          const { lastSent, lastTcp, lastOther } = this;
          this.handle({ type: 'unreadable', key: packet.id, flow: { lastSent, lastTcp, lastOther } });
          break;
        }
        if (!slot.window.fresh(BigInt(packet.sequence))) {
          this.#refuse('replayed');
          break;
        }
        slot.window.accept(BigInt(packet.sequence));
        if (packet.protocol === 'tcp') this.lastTcp = now;
        else this.lastOther = now;
        this.#deliver(packet);
        if (slot.armed) {
          slot.armed = false;
          this.handle({ type: 'readable', key: slot.key });
        }
        break;
      }
    }
  }

  #trust(packet: ControlPacket, secrets: readonly number[]): Trust {
    let trust: Trust = 'unauthenticated';
    for (const [index, id] of packet.held.entries()) {
      const own = this.keys.find((candidate) => sameKey(candidate, id));
      if (!own) continue;
      if (own.secret !== secrets[index]) return 'forged';
      trust = 'authenticated';
    }
    return trust;
  }

  #perform(effect: PeerEffect): void {
    const { world } = this;
    this.effects.push({ at: world.now, effect });
    switch (effect.type) {
      case 'control':
        deepEqual(
          effect.packet.held,
          this.keys.map(({ version, fingerprint }) => ({ version, fingerprint })),
        );
        world.carry(this.name, {
          form: 'control',
          packet: effect.packet,
          secrets: this.keys.map(({ secret }) => secret),
        });
        break;
      case 'send':
        this.choice = effect.choice;
        if (effect.choice.mode !== 'hold') {
          const waiting = this.held.filter(({ until }) => until > world.now);
          this.held = [];
          for (const { payload, protocol } of waiting) this.#emit(payload, protocol);
        }
        break;
      case 'receive': {
        const { keys, life } = effect.reception;
        const slots = new Map<string, Slot>();
        for (const id of keys) {
          const traffic = this.#traffic(id, this.peer, life!.salt, this.machine.salt);
          slots.set(traffic, this.slots.get(traffic) ?? { key: id, window: new ReplayWindow(), armed: true });
        }
        this.slots = slots;
        break;
      }
      case 'arm':
        for (const slot of this.slots.values()) slot.armed = true;
        break;
      case 'accept-plain':
        this.acceptPlain = effect.accept;
        break;
      default:
        break;
    }
  }

  #emit(payload: number, protocol: Protocol): void {
    const { choice, world } = this;
    this.sequence++;
    if (choice.mode === 'encrypt') {
      const traffic = this.#traffic(choice.key, this.name, this.machine.salt, choice.life.salt);
      world.nonce(traffic, this.sequence);
      const id = shorten(choice.key);
      world.carry(this.name, { form: 'encrypted', id, traffic, sequence: this.sequence, payload, protocol });
    } else if (choice.mode === 'plain') {
      const id = choice.newest ? shorten(choice.newest) : { version: 0, fp12: 0 };
      world.carry(this.name, { form: 'plain', id, off: choice.off, payload, protocol });
    }
  }

  #traffic(id: KeyId, sender: Name, salt: Uint8Array, peerSalt: Uint8Array): string {
    const secret = this.keys.find((own) => sameKey(own, id))?.secret;
    if (secret === undefined) throw new Error(`${this.name} uses V${id.version}, which it does not hold`);
    return `${sender} ${secret} V${id.version} ${Buffer.from(salt).toString('hex')} ${Buffer.from(peerSalt).toString('hex')}`;
  }

  #deliver(packet: Exclude<Packet, { readonly form: 'control' }>): void {
    this.delivered.push({ at: this.world.now, payload: packet.payload, form: packet.form });
  }

  #refuse(reason: string): void {
    this.refused.set(reason, (this.refused.get(reason) ?? 0) + 1);
  }
}

export interface WorldOptions {
  readonly settings?: Partial<MachineSettings>;
  readonly network?: Network;
  /** 0 <= x < 1. */
  readonly random: () => number;
}

interface Pending {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

export class World {
  now = 1000;
  readonly settings: MachineSettings;
  readonly a: End;
  readonly b: End;
  /** Everything that was given to the network. */
  readonly capture: Sent[] = [];
  network: Network;
  readonly #random: () => number;
  readonly #nonces = new Set<string>();
  #pending: Pending[] = [];
  #order = 0;

  constructor({ settings, network, random }: WorldOptions) {
    this.settings = { ...DEFAULT_SETTINGS, ...settings };
    this.network = network ?? (() => [0.5]);
    this.#random = random;
    this.a = new End('a', this);
    this.b = new End('b', this);
  }

  readonly octets = (length: number): Uint8Array =>
    Uint8Array.from({ length }, (_, index) => (index === 0 ? 1 : 0) + Math.floor(this.#random() * 255));

  /** Invariant: no sequence number twice under one traffic key. */
  nonce(traffic: string, sequence: number): void {
    const nonce = `${traffic} ${sequence}`;
    if (this.#nonces.has(nonce)) throw new Error(`nonce used twice: ${nonce}`);
    this.#nonces.add(nonce);
  }

  carry(from: Name, packet: Packet): void {
    // Invariant: by policy.
    if (packet.form === 'plain' && this.settings.policy !== 'available') throw new Error(`plain text from ${from}`);
    this.capture.push({ at: this.now, from, packet });
    const to = from === 'a' ? this.b : this.a;
    for (const delay of this.network(from, packet)) this.at(this.now + delay, () => to.receive(packet));
  }

  at(at: number, run: () => void): void {
    this.#pending.push({ at, order: this.#order++, run });
  }

  /** Every so many ms from now, `count` times. */
  flow(from: Name, protocol: Protocol, every: number, count: number, first = 1): void {
    const end = this[from];
    for (let index = 0; index < count; index++) {
      this.at(this.now + index * every, () => end.send(first + index, protocol));
    }
  }

  run(until: number): void {
    for (let steps = 0; ; steps++) {
      if (steps > 200_000) throw new Error('no end: the ends go on talking');
      const next = this.#next();
      const deadlines = [this.a.machine.nextDeadline(), this.b.machine.nextDeadline()];
      const [a, b] = deadlines.map((at) => at ?? Number.POSITIVE_INFINITY) as [number, number];
      const at = Math.min(next?.at ?? Number.POSITIVE_INFINITY, a, b);
      if (at > until) break;
      this.now = Math.max(this.now, at);
      if (next && next.at <= at) {
        this.#pending.splice(this.#pending.indexOf(next), 1);
        next.run();
      } else if (a <= at) this.a.tick();
      else this.b.tick();
    }
    this.now = until;
  }

  #next(): Pending | undefined {
    let first: Pending | undefined;
    for (const item of this.#pending) {
      if (!first || item.at < first.at || (item.at === first.at && item.order < first.order)) first = item;
    }
    return first;
  }
}

/** mulberry32. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
