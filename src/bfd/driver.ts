/*
 * BFD sessions on real sockets and the clock.
 *
 * A session lasts some hundred milliseconds without a packet, and a loop that was busy finds its timer due before the packets
 * that have come meanwhile. So whenever a timer runs, what waits in the sockets is read first: being slow to listen is no
 * silence of the peer's. (Being slow to speak is one of ours, and nothing here can hide it.)
 */
import { SystemCallError } from 'linux-sockets';
import { familyOf } from '../model/address.ts';
import { Alarm, type Instant } from '../model/clock.ts';
import { isUp, type PortChange } from '../model/ports.ts';
import { decodePacket, encodePacket } from './codec/packet.ts';
import { type Entry, earKey, idOf, viewOf } from './entry.ts';
import type { BfdOptions, BfdPeer, BfdSettings, SessionChange, SessionView, Speaker } from './face.ts';
import { BfdSession, type SessionEvent } from './machine/session.ts';
import { Memory } from './memory.ts';
import {
  type BfdSockets,
  type Ear,
  type Heard,
  type Mouth,
  type Place,
  SOURCE_PORTS,
  TTL,
  udpSockets,
} from './socket.ts';

/** More sessions are refused. */
const MOST_SESSIONS = 256;
/** Batches of 64 packets that one turn reads from one socket. */
const BATCHES = 4;
/** A socket that could not be opened is tried again after this long (ms). */
const OPEN_AGAIN = 1_000;
/** Source ports tried before that. */
const PORT_TRIES = 8;
/** How long a peer misses nothing after `pause`, and how long its agreement is waited for (ms). */
const RESTART_TIME = 10_000;
const AGREEMENT_WAIT = 500;
const AGREEMENT_LOOK = 10;
/** How often the last word is said: nobody is left to say it again. */
const FAREWELLS = 3;

interface OpenEar {
  readonly ear: Ear;
  readonly users: Set<Entry>;
}

export class BfdSpeaker implements Speaker {
  readonly #options: BfdOptions;
  readonly #random: () => number;
  readonly #sockets: BfdSockets;
  readonly #entries = new Map<string, Entry>();
  readonly #ears = new Map<string, OpenEar>();
  readonly #count = new Map<string, number>();
  readonly #memory: Memory;
  #settings: BfdSettings = { peers: [], interval: 100, multiplier: 3 };
  readonly #alarm: Alarm;
  #stopped = false;

  constructor(options: BfdOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
    this.#sockets = options.sockets ?? udpSockets;
    this.#memory = new Memory(options.store, options.log);
    this.#alarm = new Alarm(options.clock, () => this.#tick());
  }

  configure(settings: BfdSettings): void {
    if (this.#stopped) return;
    const { interval, multiplier } = settings;
    const other = interval !== this.#settings.interval || multiplier !== this.#settings.multiplier;
    this.#settings = settings;
    const wanted = new Map(settings.peers.map((peer) => [idOf(peer), peer]));
    for (const [id, entry] of [...this.#entries]) {
      const peer = wanted.get(id);
      if (!peer || peer.localAddress !== entry.peer.localAddress) this.#remove(id, entry);
      else if (other) this.#feed(entry, { type: 'configure', settings: { interval, multiplier } });
    }
    for (const [id, peer] of wanted) if (!this.#entries.has(id)) this.#add(id, peer);
    this.#save();
  }

  linkChanged({ name, before, after }: PortChange): void {
    const same = isUp(before) && isUp(after) && before?.ifindex === after?.ifindex;
    if (same) return;
    for (const entry of [...this.#entries.values()]) {
      if (entry.peer.interface !== name) continue;
      this.#hush(entry);
      this.#feed(entry, { type: 'path', up: false });
      if (isUp(after)) this.#open(entry);
    }
  }

  sessions(): SessionView[] {
    return [...this.#entries.values()].map((entry) => viewOf(entry, this.#settings.multiplier));
  }

  counters(): Record<string, number> {
    const up = [...this.#entries.values()].filter(({ session }) => session.state === 'Up').length;
    return { ...Object.fromEntries(this.#count), sessions: this.#entries.size, up };
  }

  stop(): void {
    if (this.#stopped) return;
    // Sessions end here, but not that they were.
    const seen = this.#memory.of(this.#entries.values()).map((one) => ({ ...one, session: undefined }));
    for (const [id, entry] of [...this.#entries]) this.#remove(id, entry);
    this.#memory.save(seen);
    this.abandon();
  }

  /** Ends without a word, as a crash would; peers notice after their detection time. */
  abandon(): void {
    this.#stopped = true;
    this.#alarm.set(undefined);
    for (const entry of this.#entries.values()) this.#hush(entry);
  }

  async pause(): Promise<void> {
    const { clock } = this.#options;
    const entries = [...this.#entries.values()];
    for (const entry of entries) this.#feed(entry, { type: 'stretch', detection: RESTART_TIME });
    const until = clock.now() + AGREEMENT_WAIT;
    while (entries.some(({ session }) => !session.settled) && clock.now() < until) {
      await new Promise<void>((resolve) => {
        clock.schedule(clock.now() + AGREEMENT_LOOK, resolve);
      });
    }
    this.#save();
  }

  // ---- sessions

  #add(id: string, peer: BfdPeer): void {
    if (this.#entries.size >= MOST_SESSIONS) {
      this.#tally('sessions.refused');
      return;
    }
    const { interval, multiplier } = this.#settings;
    const before = this.#memory.recall(peer);
    const session = new BfdSession({
      interval,
      multiplier,
      discriminator: this.#discriminator(),
      random: this.#random,
      direct: peer.interface !== undefined,
      remembered: this.#pathUp(peer) ? before?.session : undefined,
    });
    const entry: Entry = {
      peer,
      session,
      sourcePort: before?.sourcePort ?? this.#port(),
      mouth: undefined,
      retry: undefined,
      since: this.#options.clock.now(),
      reason: before?.session ? 'Up when the agent ended' : '',
      seenUp: before !== undefined,
      seenBefore: before !== undefined,
      failures: 0,
      received: 0,
      sent: 0,
    };
    this.#entries.set(id, entry);
    if (this.#pathUp(peer)) this.#open(entry);
  }

  #remove(id: string, entry: Entry): void {
    this.#entries.delete(id);
    this.#feed(entry, { type: 'disable' });
    this.#hush(entry);
    this.#arm();
  }

  #discriminator(): number {
    const taken = new Set([...this.#entries.values()].map(({ session }) => session.discriminator));
    for (const discriminator of this.#memory.discriminators()) taken.add(discriminator);
    for (;;) {
      const value = 1 + Math.floor(this.#random() * 0xffff_fffe);
      if (!taken.has(value)) return value;
    }
  }

  /** Of no other session. */
  #port(): number {
    const taken = new Set([...this.#entries.values()].map((entry) => entry.sourcePort));
    const { first, last } = SOURCE_PORTS;
    for (;;) {
      const port = first + Math.floor(this.#random() * (last - first + 1));
      if (!taken.has(port)) return port;
    }
  }

  #save(): void {
    if (!this.#stopped) this.#memory.save(this.#memory.of(this.#entries.values()));
  }

  // ---- sockets

  #pathUp({ interface: name }: BfdPeer): boolean {
    return name === undefined || isUp(this.#options.links.port(name));
  }

  #place({ address, interface: name }: BfdPeer): Place | undefined {
    const family = familyOf(address);
    const { netns } = this.#options;
    if (name === undefined) return { family, interface: undefined, netns };
    const port = this.#options.links.port(name);
    return port && { family, interface: { name, ifindex: port.ifindex }, netns };
  }

  #open(entry: Entry): void {
    const { clock, log } = this.#options;
    const { peer } = entry;
    entry.retry = undefined;
    const place = this.#place(peer);
    if (!place || !this.#pathUp(peer)) return;
    try {
      this.#listen(entry, place);
      entry.mouth = this.#mouth(entry, place);
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      this.#hush(entry);
      this.#tally(`sockets.failed.${error.code}`);
      entry.reason = `no socket: ${error.code}`;
      log.debug({ peer: peer.address, interface: peer.interface, code: error.code }, 'no socket for BFD yet');
      entry.retry = clock.schedule(clock.now() + OPEN_AGAIN, () => this.#open(entry));
      return;
    }
    this.#feed(entry, { type: 'path', up: true });
  }

  #listen(entry: Entry, place: Place): void {
    const key = earKey(entry.peer);
    let open = this.#ears.get(key);
    if (!open) {
      open = { ear: this.#sockets.ear(place, () => this.#read(key)), users: new Set() };
      this.#ears.set(key, open);
    }
    open.users.add(entry);
  }

  #mouth(entry: Entry, place: Place): Mouth {
    const { address, localAddress } = entry.peer;
    for (let tries = 1; ; tries++) {
      try {
        return this.#sockets.mouth(place, address, { address: localAddress, port: entry.sourcePort });
      } catch (error) {
        const taken = error instanceof SystemCallError && error.code === 'EADDRINUSE';
        if (!taken || tries >= PORT_TRIES) throw error;
        entry.sourcePort = this.#port();
      }
    }
  }

  #hush(entry: Entry): void {
    entry.retry?.cancel();
    entry.retry = undefined;
    entry.mouth?.close();
    entry.mouth = undefined;
    const key = earKey(entry.peer);
    const open = this.#ears.get(key);
    if (!open?.users.delete(entry) || open.users.size > 0) return;
    open.ear.close();
    this.#ears.delete(key);
  }

  #read(key: string): void {
    for (let batch = 0; batch < BATCHES; batch++) {
      let heard: Heard[];
      try {
        heard = this.#ears.get(key)?.ear.receive() ?? [];
      } catch (error) {
        if (!(error instanceof SystemCallError)) throw error;
        this.#tally(`receive.failed.${error.code}`);
        return;
      }
      for (const packet of heard) this.#heard(key, packet);
      if (heard.length < 64) return;
    }
  }

  /** RFC 5880 §6.8.6 up to the selection of the session, RFC 5881 §5. */
  #heard(key: string, { source, ttl, bytes }: Heard): void {
    this.#tally('received');
    const users = this.#ears.get(key)?.users ?? new Set<Entry>();
    const direct = !key.startsWith('/');
    if (direct && ttl !== TTL) {
      this.#tally('discarded.ttl');
      return;
    }
    const packet = decodePacket(bytes);
    if (typeof packet === 'string') {
      this.#tally(`discarded.${packet}`);
      return;
    }
    const { yourDiscriminator } = packet;
    // Only sessions of this ear: a discriminator that is known elsewhere says nothing of the way in.
    const entry = [...users].find(({ peer, session }) =>
      yourDiscriminator === 0 ? peer.address === source : session.discriminator === yourDiscriminator,
    );
    if (!entry) {
      this.#tally('discarded.no-session');
      return;
    }
    entry.received++;
    this.#feed(entry, { type: 'packet', packet });
  }

  // ---- effects

  #feed(entry: Entry, event: SessionEvent): void {
    const at = this.#options.clock.now();
    const changes: SessionChange[] = [];
    const { confirmed } = entry.session;
    for (const effect of entry.session.handle(event, at)) {
      if (effect.type === 'send') {
        const bytes = encodePacket(effect.packet);
        for (let times = event.type === 'disable' ? FAREWELLS : 1; times > 0; times--) this.#send(entry, bytes);
      } else if (effect.type === 'discard') this.#tally(`discarded.${effect.reason}`);
      else changes.push({ ...effect, peer: entry.peer.address, interface: entry.peer.interface, at });
    }
    for (const change of changes) this.#changed(entry, change);
    if (entry.session.confirmed !== confirmed) this.#save();
    this.#arm();
  }

  #send(entry: Entry, bytes: Uint8Array): void {
    if (!entry.mouth) return;
    const failure = entry.mouth.send(bytes);
    this.#tally(failure === undefined ? 'sent' : `send.failed.${failure}`);
    if (failure === undefined) entry.sent++;
  }

  #changed(entry: Entry, change: SessionChange): void {
    const { from, to, reason, failure, at, peer, interface: name } = change;
    entry.since = at;
    // While it is on its way up again, why it fell is what matters.
    if (from === 'Up' || to === 'Up') entry.reason = reason;
    const { remote, switchedOff } = entry.session;
    if (to === 'Up') {
      entry.seenBefore = entry.seenUp;
      entry.seenUp = true;
    } else if (switchedOff) {
      // Whoever switched it off on purpose may never switch it on again.
      entry.seenUp = false;
    } else if (from === 'Up' && !failure && remote.state === 'Down' && remote.discriminator !== 0) {
      entry.seenUp = entry.seenBefore;
    }
    if (failure) {
      entry.failures++;
      this.#tally('failures');
    }
    this.#options.onChange(change);
    this.#options.log.info({ peer, interface: name, from, to, reason, failure }, 'BFD session');
  }

  #arm(): void {
    let next: Instant | undefined;
    for (const { session, mouth } of this.#entries.values()) {
      const at = mouth && session.nextDeadline();
      if (at !== undefined && (next === undefined || at < next)) next = at;
    }
    this.#alarm.set(this.#stopped ? undefined : next);
  }

  #tick(): void {
    for (const key of [...this.#ears.keys()]) this.#read(key);
    for (const entry of [...this.#entries.values()]) if (entry.mouth) this.#feed(entry, { type: 'tick' });
    this.#arm();
  }

  #tally(name: string): void {
    this.#count.set(name, (this.#count.get(name) ?? 0) + 1);
  }
}
