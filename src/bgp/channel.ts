import { type Clock, type Instant, LATE, soon, type Timer } from '../model/clock.ts';
import { Framer } from './codec/framer.ts';
import type { Message, RouteRefreshMessage, UpdateMessage } from './codec/messages.ts';
import { parseMessage } from './codec/parser.ts';
import { serialize } from './codec/serializer.ts';
import type { UpdateContext } from './codec/update.ts';
import type { Effect, Session, SessionEvent } from './machine/session.ts';
import type { State } from './machine/state.ts';
import type { FsmEvent } from './machine/table.ts';
import type { Connection, ConnectionHandlers } from './transport.ts';

/** What a channel tells its neighbour. */
export interface ChannelOwner {
  /** Opens a connection for the channel that connects. */
  connect(channel: Channel, handlers: ConnectionHandlers): Connection;
  /** Before the session sees it: a look at every message, for counters and collisions. False: the channel was dumped. */
  received(channel: Channel, message: ReturnType<typeof parseMessage>): boolean;
  deliver(channel: Channel, message: UpdateMessage | RouteRefreshMessage): void;
  transition(channel: Channel, from: State, to: State, reason: string, cause: FsmEvent): void;
  drained(channel: Channel): void;
  sent(message: Message['type']): void;
  /** All messages of one read have been handled. */
  settled(): void;
}

/** Before the OPENs no family is agreed on; an UPDATE then is an error of the FSM anyway. */
const NO_FAMILIES: ReadonlySet<4 | 6> = new Set();
/** Octets of messages that are worked off in one turn: a full UPDATE, some eight hundred routes. */
const READ_AT_ONCE = 4_000;
/** RFC 9687 §3 wants more than the hold time; its default of 8 minutes would keep a failover waiting. */
const LEAST_SEND_HOLD = 20_000;

/** One session and its TCP connection: performs the machine's effects, feeds it octets and time. */
export class Channel {
  readonly session: Session;
  connection: Connection | undefined;
  readonly #owner: ChannelOwner;
  readonly #clock: Clock;
  #framer = new Framer();
  /** Read, and not worked off yet. */
  #unread: Uint8Array[] = [];
  #frames: ReturnType<Framer['push']> | undefined;
  #later: Timer | undefined;
  #timer: Timer | undefined;
  #timerAt: Instant = Number.POSITIVE_INFINITY;
  #blockedSince: Instant | undefined;

  constructor(session: Session, owner: ChannelOwner, clock: Clock) {
    this.session = session;
    this.#owner = owner;
    this.#clock = clock;
  }

  get incoming(): boolean {
    return this.session.config.incoming;
  }

  dispatch(event: SessionEvent): void {
    this.#perform(this.session.handle(event, this.#clock.now()));
    this.#schedule();
  }

  /** Takes over a connection that came in. */
  adopt(connection: Connection): ConnectionHandlers {
    this.connection = connection;
    this.#begin();
    return this.#handlers();
  }

  /** To be called after every write. */
  wrote(): void {
    if (this.connection && this.connection.backlog() > 0) this.#blockedSince ??= this.#clock.now();
    if (this.#blockedSince !== undefined) this.#schedule();
  }

  stopTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
  }

  #handlers(): ConnectionHandlers {
    return {
      onOpen: () => this.dispatch({ type: 'Tcp_CR_Acked' }),
      onData: (data) => this.#data(data),
      onDrain: () => {
        this.#blockedSince = undefined;
        this.#owner.drained(this);
      },
      onClose: (reason) => {
        const { connection } = this;
        if (this.#later) this.#work(Number.POSITIVE_INFINITY);
        // What was read last has ended the session.
        if (this.connection !== connection) return;
        this.connection = undefined;
        this.#begin();
        this.dispatch({ type: 'TcpConnectionFails', reason });
        this.#owner.settled();
      },
    };
  }

  /** A new stream, or none. */
  #begin(): void {
    this.#framer = new Framer();
    this.#unread = [];
    this.#frames = undefined;
    this.#later?.cancel();
    this.#later = undefined;
  }

  #data(data: Uint8Array): void {
    this.#unread.push(data);
    if (!this.#later) this.#work(READ_AT_ONCE);
  }

  /** A neighbour that tells of thousands at once leaves others their turns: one read may hold thirteen thousand routes. */
  #work(room: number): void {
    const { connection } = this;
    const paused = this.#later !== undefined;
    this.#later?.cancel();
    this.#later = undefined;
    for (let left = room; left > 0; ) {
      const frame = this.#next();
      if (!frame) {
        if (paused) connection?.resume?.();
        break;
      }
      left -= 'code' in frame ? 0 : frame.body.length;
      const message = 'code' in frame ? frame : parseMessage(frame, this.#context());
      if (this.#owner.received(this, message)) this.dispatch({ type: 'Received', message });
      // The session may have ended with this message; the rest is nobody's.
      if (this.connection !== connection) break;
    }
    if (this.connection === connection && connection && this.#frames) {
      if (!paused) connection.pause?.();
      this.#later = soon(this.#clock, () => this.#work(READ_AT_ONCE));
    }
    this.#owner.settled();
  }

  #next() {
    for (;;) {
      if (!this.#frames) {
        const data = this.#unread.shift();
        if (!data) return undefined;
        this.#frames = this.#framer.push(data);
      }
      const { value } = this.#frames.next();
      if (value) return value;
      this.#frames = undefined;
    }
  }

  #context(): UpdateContext {
    const { negotiated, config } = this.session;
    return {
      fourOctetAs: negotiated?.fourOctetAs ?? true,
      families: negotiated?.families ?? NO_FAMILIES,
      portFacts: negotiated?.portFacts ?? false,
      external: config.remoteAs !== config.localAs,
      // Without an OPEN nobody's UPDATE is looked at.
      remoteAs: negotiated?.remoteAs ?? 0,
    };
  }

  #perform(effects: readonly Effect[]): void {
    for (const effect of effects) {
      switch (effect.type) {
        case 'connect':
          this.#begin();
          this.connection = this.#owner.connect(this, this.#handlers());
          break;
        case 'close':
          this.connection?.close();
          this.connection = undefined;
          this.#begin();
          this.#blockedSince = undefined;
          break;
        case 'send':
          this.connection?.write(serialize(effect.message));
          this.#owner.sent(effect.message.type);
          this.wrote();
          break;
        case 'deliver':
          this.#owner.deliver(this, effect.message);
          break;
        case 'transition':
          this.#owner.transition(this, effect.from, effect.to, effect.reason, effect.cause);
          break;
      }
    }
  }

  /** A timer that fires too early is cheaper than one moved with every message. */
  #schedule(): void {
    const deadline = this.#deadline();
    if (deadline === undefined || deadline >= this.#timerAt) return;
    this.stopTimer();
    this.#timerAt = deadline;
    this.#timer = this.#clock.schedule(deadline, () => {
      // A keepalive may wait in the socket.
      if (this.#clock.now() - deadline > LATE) this.#timer = soon(this.#clock, () => this.#fire());
      else this.#fire();
    });
  }

  #fire(): void {
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    this.#perform(this.session.expire(now));
    if (this.#blockedSince !== undefined && now >= this.#blockedSince + this.#sendHold()) {
      this.#blockedSince = undefined;
      this.#perform(this.session.handle({ type: 'SendHoldTimer_Expires' }, now));
    }
    this.#schedule();
    this.#owner.settled();
  }

  #deadline(): Instant | undefined {
    const session = this.session.nextDeadline();
    if (this.#blockedSince === undefined) return session;
    return Math.min(session ?? Number.POSITIVE_INFINITY, this.#blockedSince + this.#sendHold());
  }

  #sendHold(): number {
    return Math.max(2 * (this.session.negotiated?.hold ?? 0), LEAST_SEND_HOLD);
  }
}
