/** One peer: its machine, its entry in the worker's table and its timer. */
import type { Address } from '../../../model/address.ts';
import { Alarm, type Clock, type Instant } from '../../../model/clock.ts';
import { type ControlPacket, decodeControl, encodeControl, judgeControl, type PeerState } from '../codec/control.ts';
import { type End, trafficKey } from '../codec/derivation.ts';
import { type KeyId, keyText, NO_KEY, sameKey, shorten } from '../codec/identity.ts';
import { parseSpi } from '../codec/spi.ts';
import type { KeyRing } from '../keys/ring.ts';
import type { PeerLife } from '../machine/association.ts';
import type { Flow, NotificationTrigger, PeerEffect, PeerEvent, Reception, SendChoice } from '../machine/events.ts';
import { LATEST_IN_MEMO } from '../machine/memo.ts';
import { PeerMachine } from '../machine/peer.ts';
import type { PeerOptions } from '../machine/settings.ts';
import type { Indication, PeerIndex, PeerTable, SendState } from '../worker-face.ts';
import { RetiredSpis } from './retired-spis.ts';
import type { PeerView } from './view.ts';

export type StateChange = Extract<PeerEffect, { readonly type: 'state' }>;

export interface PeerDriverOptions extends PeerOptions {
  readonly address: Address;
  readonly local: Address;
  readonly table: PeerTable;
  readonly index: PeerIndex;
  /** SPIs that the entry has from an earlier agent: their replay windows must stay. */
  readonly installed: readonly number[];
  readonly ring: KeyRing;
  readonly clock: Clock;
  readonly changed: (change: StateChange) => void;
  /** Another entry, with other salts, is to take this one's place. */
  readonly renew: () => void;
}

interface LastChange {
  readonly at: Instant;
  readonly reason: string;
}

export class PeerDriver {
  readonly address: Address;
  readonly #options: PeerDriverOptions;
  readonly #machine: PeerMachine;
  readonly #alarm: Alarm;
  /** SPI → version. */
  #slots: ReadonlyMap<number, KeyId> = new Map();
  #slotLife: PeerLife | undefined;
  /** Slots of the present life that are no more. */
  readonly #retired = new RetiredSpis();
  /** The very same key has come back after it had gone: only other salts make it usable. */
  #spent = false;
  readonly #adopted: Set<number>;
  /** The life that an earlier agent has left, until it is known what of it goes on. */
  #inherited: PeerLife | undefined;
  /** When the latest key was issued that had a slot in this life; in the memo too. */
  #latest: number;
  readonly #notified: Partial<Record<NotificationTrigger, number>> = {};
  readonly #discarded: Record<string, number> = {};
  #last: LastChange;
  #changes = 0;
  #controls = { sent: 0, received: 0 };
  /** Until it has been told what keys there are: what an earlier agent has set goes on, and nothing is said. */
  #dormant = true;
  /** Plain packets that were known of at the last look, and when there was one last. */
  #plainSeen = 0n;
  #plainAt: Instant | undefined;

  constructor(options: PeerDriverOptions) {
    const { address, clock, installed, table, index } = options;
    this.address = address;
    this.#options = options;
    this.#machine = new PeerMachine(options);
    this.#alarm = new Alarm(clock, () => this.#handle({ type: 'tick', flow: this.#flow() }));
    this.#adopted = new Set(installed);
    this.#inherited = this.#machine.life;
    this.#latest = readLatest(options.memo);
    this.#last = { at: clock.now(), reason: options.memo ? 'as an earlier agent left it' : 'new' };
    const { sent, received } = table.traffic(index);
    this.#plainSeen = sent.plain + received.plain;
  }

  get state(): PeerState {
    return this.#machine.state;
  }

  get index(): PeerIndex {
    return this.#options.index;
  }

  /** Our keys have changed. */
  keys(): void {
    this.#dormant = false;
    this.#handle({ type: 'keys', held: this.#options.ring.ids });
  }

  unreadable(spi: number): void {
    const parsed = parseSpi(spi);
    if (parsed?.range === 'encrypted') this.#handle({ type: 'unreadable', key: parsed, flow: this.#flow() });
  }

  readable(spi: number): void {
    const key = this.#slots.get(spi);
    if (key) this.#handle({ type: 'readable', key });
  }

  forged(): void {
    this.#handle({ type: 'forged' });
  }

  plain({ version, fp12, off }: Indication): void {
    this.#handle({ type: 'plain', key: { version, fp12 }, off });
  }

  held(): void {
    this.#handle({ type: 'held' });
  }

  control(datagram: Uint8Array): void {
    const packet = decodeControl(datagram);
    if ('error' in packet) {
      this.#discard(packet.error);
      return;
    }
    this.#controls.received++;
    const { ring, local } = this.#options;
    const trust = judgeControl(datagram, packet, ring.controlKeys, this.address, local);
    this.#handle({ type: 'control', packet, trust });
  }

  /** Whether packets have travelled in plain text since the last look. */
  plainTravelled(): boolean {
    const { table, index, clock } = this.#options;
    const { sent, received } = table.traffic(index);
    const plain = sent.plain + received.plain;
    const travelled = plain > this.#plainSeen;
    this.#plainSeen = plain;
    if (travelled) this.#plainAt = clock.now();
    return travelled;
  }

  /** `forget`: the entry goes too. */
  close(forget: boolean): void {
    this.#alarm.set(undefined);
    if (forget) this.#options.table.remove(this.#options.index);
  }

  view(): PeerView {
    const { table, index, clock, ring } = this.#options;
    const { said, choice, state, life } = this.#machine;
    const { sent, received, held, holdDropped, refused } = table.traffic(index);
    return {
      address: this.address,
      ...(life ? { instance: Buffer.from(life.instance).toString('hex') } : {}),
      state,
      reason: this.#last.reason,
      age: clock.now() - this.#last.at,
      changes: this.#changes,
      sending: choice.mode,
      ...(choice.mode === 'encrypt' ? { version: keyText(choice.key) } : {}),
      ours: ring.ids.map(keyText),
      theirs: said?.held.map(keyText) ?? [],
      authenticated: said?.authenticated ?? false,
      sent: { encrypted: Number(sent.encrypted), plain: Number(sent.plain), bytes: Number(sent.bytes) },
      received: { encrypted: Number(received.encrypted), plain: Number(received.plain), bytes: Number(received.bytes) },
      held,
      holdDropped: Number(holdDropped),
      refused: Object.fromEntries(Object.entries(refused).map(([reason, count]) => [reason, Number(count)])),
      controls: { ...this.#controls, notified: { ...this.#notified }, discarded: { ...this.#discarded } },
      ...(this.#plainAt === undefined ? {} : { plainAge: clock.now() - this.#plainAt }),
    };
  }

  #flow(): Flow {
    const { table, index, clock } = this.#options;
    const now = clock.now();
    const { lastSent, lastTcp, lastOther } = table.traffic(index);
    const instant = (age: number | undefined) => (age === undefined ? undefined : now - age);
    return { lastSent: instant(lastSent), lastTcp: instant(lastTcp), lastOther: instant(lastOther) };
  }

  #handle(event: PeerEvent): void {
    if (this.#dormant) return;
    const effects = this.#machine.handle(event, this.#options.clock.now());
    for (const effect of effects) this.#perform(effect);
    if (effects.length > 0) {
      this.#options.table.setMemo(this.#options.index, withLatest(this.#machine.memo(), this.#latest));
    }
    this.#alarm.set(this.#machine.nextDeadline());
    if (this.#spent) this.#options.renew();
  }

  #perform(effect: PeerEffect): void {
    const { table, index } = this.#options;
    switch (effect.type) {
      case 'control':
        this.#controls.sent++;
        table.sendControl(index, this.#encode(effect.packet));
        break;
      case 'send':
        this.#send(effect.choice);
        break;
      case 'receive':
        this.#receive(effect.reception);
        break;
      case 'arm':
        for (const spi of this.#slots.keys()) table.armReceive(index, spi);
        break;
      case 'accept-plain':
        table.setAcceptPlain(index, effect.accept);
        break;
      case 'state':
        this.#changes++;
        this.#last = { at: this.#options.clock.now(), reason: effect.reason };
        this.#options.changed(effect);
        break;
      case 'notified':
        this.#notified[effect.trigger] = (this.#notified[effect.trigger] ?? 0) + 1;
        break;
      case 'discard':
        this.#discard(effect.reason);
        break;
    }
  }

  #encode(packet: ControlPacket): Uint8Array {
    const { ring, local } = this.#options;
    return encodeControl(packet, ring.controlKeys.slice(0, packet.held.length), local, this.address);
  }

  #send(choice: SendChoice): void {
    const { table, index } = this.#options;
    if (choice.mode !== 'encrypt') {
      const state: SendState =
        choice.mode === 'hold'
          ? { mode: 'hold' }
          : { mode: 'plain', indication: { ...(choice.newest ? shorten(choice.newest) : NO_KEY), off: choice.off } };
      table.setSend(index, state);
      return;
    }
    const { ours, theirs } = this.#ends(choice.life);
    this.#withKey(choice.key, ours, theirs, (spi, key) => table.setSend(index, { mode: 'encrypt', spi, key }));
  }

  #receive({ keys, life }: Reception): void {
    const { table, index } = this.#options;
    const wanted = new Map<number, KeyId>();
    let latest = this.#latest;
    for (const id of life ? keys : []) {
      const known = life === this.#slotLife ? [...this.#slots].find(([, own]) => sameKey(own, id)) : undefined;
      if (known) {
        wanted.set(known[0], id);
        continue;
      }
      const { ours, theirs } = this.#ends(life!);
      this.#withKey(id, theirs, ours, (spi, key) => {
        // A replay window must not begin anew under the same key: one of this agent's time, or of the one before it.
        const issued = this.#options.ring.find(id)?.issued ?? 0;
        const gone = life === this.#inherited && !this.#adopted.has(spi) && issued <= this.#latest;
        if (gone || (life === this.#slotLife && this.#retired.has(spi, issued))) {
          this.#spent = true;
          return;
        }
        latest = Math.max(latest, issued);
        wanted.set(spi, id);
        if (!this.#adopted.has(spi)) table.addReceive(index, spi, key);
      });
    }
    this.#latest = latest;
    this.#inherited = undefined;
    if (life !== this.#slotLife) this.#retired.clear();
    for (const spi of [...this.#slots.keys(), ...this.#adopted]) {
      if (wanted.has(spi)) continue;
      table.removeReceive(index, spi);
      this.#retired.add(spi, latest);
    }
    this.#adopted.clear();
    this.#slots = wanted;
    this.#slotLife = life;
  }

  #ends(life: { readonly salt: Uint8Array; readonly instance: Uint8Array }): {
    readonly ours: End;
    readonly theirs: End;
  } {
    const { local, instance } = this.#options;
    return {
      ours: { address: local, instance, salt: this.#machine.salt },
      theirs: { address: this.address, ...life },
    };
  }

  #withKey(id: KeyId, sender: End, receiver: End, use: (spi: number, key: Uint8Array) => void): void {
    const held = this.#options.ring.find(id);
    if (!held) throw new Error(`${keyText(id)} is used and not held`);
    const derived = trafficKey(held.key, id, sender, receiver);
    use(derived.spi, derived.key);
    derived.key.fill(0);
  }

  #discard(reason: string): void {
    this.#discarded[reason] = (this.#discarded[reason] ?? 0) + 1;
  }
}

/** Where the machine's memo ends: 7 octets, ms since 1970. */
function withLatest(memo: Uint8Array, latest: number): Uint8Array {
  const view = Buffer.from(memo.buffer, memo.byteOffset, memo.length);
  view[LATEST_IN_MEMO] = Math.floor(latest / 2 ** 48);
  view.writeUIntBE(latest % 2 ** 48, LATEST_IN_MEMO + 1, 6);
  return memo;
}

function readLatest(memo: Uint8Array | undefined): number {
  if (!memo || memo.length < LATEST_IN_MEMO + 7) return 0;
  const view = Buffer.from(memo.buffer, memo.byteOffset, memo.length);
  return view[LATEST_IN_MEMO]! * 2 ** 48 + view.readUIntBE(LATEST_IN_MEMO + 1, 6);
}
