import type { Family } from '../model/address.ts';
import type { Instant } from '../model/clock.ts';
import type { Passing } from './adj-rib-out.ts';
import type { CommunitySet } from './codec/communities.ts';
import type { UpdateMessage } from './codec/messages.ts';
import type { Counters } from './counters.ts';
import type { OwnFacts } from './facts/own.ts';
import type { SwitchFacts } from './facts/switches.ts';
import type { State } from './machine/state.ts';
import type { NextHops } from './nexthop.ts';
import type { Origination } from './origination.ts';
import type { Peer } from './peer.ts';
import type { OwnRestart } from './restart.ts';
import type { Connection, ConnectionHandlers } from './transport.ts';
import type { BgpOptions } from './types.ts';

/** What the neighbours share. */
export interface PeerContext {
  options(): BgpOptions;
  readonly origination: Origination;
  readonly facts: OwnFacts;
  /** What is heard of others' ports. */
  readonly switchFacts: SwitchFacts;
  readonly passing: Passing;
  readonly nextHops: NextHops;
  readonly counters: Counters;
  readonly restart: OwnRestart;
  communities(): CommunitySet;
  connect(peer: Peer, handlers: ConnectionHandlers): Connection;
  speaksForItself(peer: Peer): boolean;
  update(peer: Peer, message: UpdateMessage): void;
  /** The session is lost; routes of the families in `kept` become stale, all others of the neighbour go. */
  lost(peer: Peer, kept: ReadonlySet<Family>): void;
  /** What is still stale goes, of one family or all. */
  flush(peer: Peer, family: Family | undefined): void;
  changed(peer: Peer, from: State, to: State, reason: string, at: Instant): void;
  settled(): void;
}
