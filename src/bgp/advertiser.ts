import type { Address, Family } from '../model/address.ts';
import type { Channel } from './channel.ts';
import type { CommunitySet } from './codec/communities.ts';
import { afiOf, SAFI_UNICAST } from './codec/messages.ts';
import { serialize } from './codec/serializer.ts';
import type { Counters } from './counters.ts';
import type { NextHops } from './nexthop.ts';
import type { Origination } from './origination.ts';
import { RouteBatch } from './origination.ts';
import type { OutboxOptions } from './outbox.ts';
import { Outbox } from './outbox.ts';
import type { Connection } from './transport.ts';

export interface AdvertiserContext {
  readonly localAs: number;
  readonly origination: Origination;
  readonly nextHops: NextHops;
  readonly counters: Counters;
  communities(): CommunitySet;
  /** The neighbour takes so little that the session has to be given up. */
  overrun(): void;
}

/** What one Established session is told: the table at its start, the changes after, the table again when asked. */
export class Advertiser {
  readonly #context: AdvertiserContext;
  readonly #channel: Channel;
  readonly #connection: Connection;
  readonly #external: boolean;
  readonly #outbox: Outbox;
  #ended = false;

  constructor(context: AdvertiserContext, channel: Channel, external: boolean) {
    this.#context = context;
    this.#channel = channel;
    this.#connection = channel.connection!;
    this.#external = external;
    this.#outbox = new Outbox(this.#connection, this.#options());
  }

  /** Families that the neighbour is told of. */
  get families(): readonly Family[] {
    return this.#outbox.families;
  }

  get waiting(): number {
    return this.#outbox.waiting;
  }

  get updatesSent(): number {
    return this.#outbox.updatesSent;
  }

  get prefixesSent(): number {
    let count = 0;
    for (const route of this.#context.origination.routes()) if (this.families.includes(route.family)) count++;
    return count;
  }

  /** UPDATEs written now; 0 when they wait. */
  send(batch: RouteBatch): number {
    return this.#account(this.#outbox.send(batch));
  }

  /** The whole table, as far as it is known. */
  begin(): void {
    this.send(this.#context.origination.full());
  }

  /** The table was whole: what the neighbour still has of an earlier session is to go (RFC 4724 §4.2). */
  endOfRib(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#outbox.sendEndOfRib();
    this.#channel.wrote();
  }

  /** RFC 2918: asks for the neighbour's table again; for how many families. */
  requestRefresh(): number {
    const { families, routeRefresh } = this.#channel.session.negotiated!;
    if (!routeRefresh) return 0;
    for (const family of families) {
      const request = { type: 'ROUTE-REFRESH', afi: afiOf(family), safi: SAFI_UNICAST, subtype: 0 } as const;
      this.#connection.write(serialize(request));
    }
    this.#channel.wrote();
    return families.size;
  }

  drained(): void {
    this.#account(this.#outbox.drained());
  }

  /** All again, with attributes as they are now. */
  renew(): void {
    this.#outbox.renew(this.#options());
    this.send(this.#context.origination.full());
  }

  /** The addresses of the session's port have changed: what we give as next hop may have come or gone. */
  checkNextHops(): void {
    const before = this.#outbox.nextHops;
    const after = this.#nextHops();
    if (after[4] === before[4] && after[6] === before[6]) return;
    const batch = new RouteBatch();
    for (const route of this.#context.origination.routes()) if (!after[route.family]) batch.withdraw(route);
    this.send(batch);
    this.renew();
  }

  #nextHops(): Partial<Record<Family, Address>> {
    const local = this.#connection.localAddress;
    return local ? this.#context.nextHops.ours(local) : {};
  }

  #options(): OutboxOptions {
    const { localAs, communities, counters } = this.#context;
    const { fourOctetAs, families } = this.#channel.session.negotiated!;
    const nextHops = this.#nextHops();
    for (const family of families) if (!nextHops[family]) counters.add(`no_next_hop_ipv${family}`);
    return { localAs, external: this.#external, fourOctetAs, families, nextHops, communities: communities() };
  }

  #account(updates: number | undefined): number {
    this.#channel.wrote();
    if (updates === undefined) this.#context.overrun();
    else if (updates > 0) this.#context.counters.add('sent_update', updates);
    return updates ?? 0;
  }
}
