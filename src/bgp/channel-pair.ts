import type { Address } from '../model/address.ts';
import type { Clock, Instant, Timer } from '../model/clock.ts';
import type { Channel } from './channel.ts';
import { CEASE } from './codec/errors.ts';
import type { NotificationMessage } from './codec/messages.ts';
import type { Counters } from './counters.ts';
import { collisionWinner } from './machine/open.ts';
import { ceaseNotification } from './machine/session.ts';
import { stateRank } from './machine/state.ts';
import type { Connection, ConnectionHandlers } from './transport.ts';

/**
 * The two ways to one neighbour: the channel that connects, and at most one that came in. Of two one survives
 * (RFC 4271 §6.8); once it is Established the connecting one rests until it is lost.
 */
export class ChannelPair {
  readonly #make: (incoming: boolean) => Channel;
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #outgoing: Channel;
  #incoming: Channel | undefined;
  #running = false;
  /** After a stop of our own that asks for peace; holds for both directions. */
  #refuseUntil: Instant = Number.NEGATIVE_INFINITY;
  #peace: Timer | undefined;

  constructor(make: (incoming: boolean) => Channel, clock: Clock, counters: Counters) {
    this.#make = make;
    this.#clock = clock;
    this.#counters = counters;
    this.#outgoing = make(false);
  }

  get running(): boolean {
    return this.#running;
  }

  /** The further one: its state is the neighbour's. */
  get best(): Channel {
    const incoming = this.#incoming;
    if (!incoming) return this.#outgoing;
    return stateRank(incoming.session.state) > stateRank(this.#outgoing.session.state) ? incoming : this.#outgoing;
  }

  start(): void {
    this.#running = true;
    this.#outgoing.dispatch({ type: 'Start' });
  }

  stop(notification: NotificationMessage): void {
    this.#running = false;
    this.#peace?.cancel();
    this.#incoming?.dispatch({ type: 'ManualStop', notification });
    this.#outgoing.dispatch({ type: 'ManualStop', notification });
    this.#outgoing.stopTimer();
  }

  /** A connection came in. */
  accept(connection: Connection): ConnectionHandlers | undefined {
    const present = this.#incoming;
    if (this.#clock.now() < this.#refuseUntil) return undefined;
    // The newer of two is the live one, unless the older has already shown that it is.
    if (!this.#running || (present && stateRank(present.session.state) >= stateRank('OpenConfirm'))) return undefined;
    present?.dispatch({ type: 'OpenCollisionDump' });
    const channel = this.#make(true);
    this.#incoming = channel;
    const handlers = channel.adopt(connection);
    channel.dispatch({ type: 'TcpConnectionConfirmed' });
    return handlers;
  }

  /** RFC 4271 §6.8, at the receipt of a valid OPEN on `channel`. False: it was dumped. */
  survivesCollision(channel: Channel, remoteId: Address): boolean {
    const other = channel === this.#incoming ? this.#outgoing : this.#incoming;
    const state = other?.session.state;
    if (!other || (state !== 'OpenConfirm' && state !== 'Established')) return true;
    this.#counters.add('collisions');
    const winner = collisionWinner(channel.session.config, remoteId);
    const wins = state === 'OpenConfirm' && (winner === 'ours') !== channel.incoming;
    (wins ? other : channel).dispatch({ type: 'OpenCollisionDump' });
    return wins;
  }

  /** `channel` is Established: the other one is not needed. */
  established(channel: Channel): void {
    const resting = ceaseNotification(CEASE.collision);
    if (channel !== this.#outgoing) this.#outgoing.dispatch({ type: 'ManualStop', notification: resting });
    else this.#incoming?.dispatch({ type: 'OpenCollisionDump' });
  }

  cameIn(channel: Channel): boolean {
    return channel === this.#incoming;
  }

  /** The one that came in has ended. */
  forgetIncoming(): void {
    this.#incoming?.stopTimer();
    this.#incoming = undefined;
  }

  /** No session before `until`, whoever begins it. */
  refuse(until: Instant): void {
    this.#refuseUntil = until;
  }

  /** The Established one that came in is lost: the connecting one rested meanwhile. */
  resume(): void {
    if (!this.#running) return;
    if (this.#clock.now() >= this.#refuseUntil) {
      this.#outgoing.dispatch({ type: 'Start' });
      return;
    }
    this.#peace?.cancel();
    this.#peace = this.#clock.schedule(this.#refuseUntil, () => {
      if (this.#running && this.best.session.state !== 'Established') this.#outgoing.dispatch({ type: 'Start' });
    });
  }

  interfaceUp(): void {
    this.#outgoing.dispatch({ type: 'InterfaceUp' });
  }

  interfaceDown(name: string): void {
    this.#incoming?.dispatch({ type: 'InterfaceDown', interface: name });
    this.#outgoing.dispatch({ type: 'InterfaceDown', interface: name });
  }
}
