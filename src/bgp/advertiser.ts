import type { Address, Family, Prefix } from '../model/address.ts';
import { addressBytes, ipv4ToNumber } from '../model/address.ts';
import type { Passing } from './adj-rib-out.ts';
import { AdjRibOut } from './adj-rib-out.ts';
import type { Channel } from './channel.ts';
import { writeAttributes } from './codec/attributes.ts';
import type { CommunitySet } from './codec/communities.ts';
import type { PathAttributes } from './codec/messages.ts';
import { AFI, afiOf, familyOfAfi, SAFI_PORT_FACTS, SAFI_UNICAST } from './codec/messages.ts';
import { serialize } from './codec/serializer.ts';
import { Writer } from './codec/writer.ts';
import type { Counters } from './counters.ts';
import { FactOutbox } from './facts/outbox.ts';
import type { FactBatch, OwnFacts } from './facts/own.ts';
import type { NextHops } from './nexthop.ts';
import type { Origination, OwnRoute } from './origination.ts';
import { RouteBatch } from './origination.ts';
import type { OutboxOptions } from './outbox.ts';
import { Outbox } from './outbox.ts';
import type { Connection } from './transport.ts';

export interface AdvertiserContext {
  readonly localAs: number;
  readonly external: boolean;
  readonly origination: Origination;
  readonly facts: OwnFacts;
  /** What is passed on; undefined: nothing. */
  readonly passing: Passing | undefined;
  /** The neighbour is told the port of each host. */
  readonly portFacts: boolean;
  readonly nextHops: NextHops;
  readonly counters: Counters;
  communities(): CommunitySet;
  /** The neighbour takes so little that the session has to be given up. */
  overrun(): void;
}

/**
 * What one Established session is told: the table at its start, the changes after, the table again when asked. Our own
 * hosts come first, then what is passed on, then the facts of our ports.
 */
export class Advertiser {
  readonly #context: AdvertiserContext;
  readonly #channel: Channel;
  readonly #connection: Connection;
  readonly #outbox: Outbox;
  readonly #facts: FactOutbox | undefined;
  readonly #passedOn: AdjRibOut | undefined;
  #ended = false;
  #endWaits = false;
  #updatesBeside = 0;

  constructor(context: AdvertiserContext, channel: Channel) {
    this.#context = context;
    this.#channel = channel;
    this.#connection = channel.connection!;
    this.#outbox = new Outbox(this.#connection, this.#options());
    this.#facts = this.#factOutbox();
    if (context.passing) this.#passedOn = new AdjRibOut(this.#connection, context.passing, this.#passingOptions());
  }

  /** Families that the neighbour is told of. */
  get families(): readonly Family[] {
    return this.#outbox.families;
  }

  get waiting(): number {
    return this.#outbox.waiting + (this.#passedOn?.waiting ?? 0);
  }

  get updatesSent(): number {
    return this.#outbox.updatesSent + this.#updatesBeside;
  }

  get prefixesSent(): number {
    let count = this.#passedOn?.size ?? 0;
    for (const family of this.families) count += this.#context.origination.countOf(family);
    return count;
  }

  /** 0 where they are not carried. */
  get factsSent(): number {
    return this.#facts ? this.#context.facts.size : 0;
  }

  attributesOf(route: OwnRoute): PathAttributes {
    return this.#outbox.attributes.of(route.family, route);
  }

  passedOn(): Iterable<{ readonly prefix: Prefix; readonly attributes: PathAttributes }> {
    return this.#passedOn?.routes() ?? [];
  }

  /** UPDATEs written now; 0 when they wait. */
  send(batch: RouteBatch): number {
    return this.#account(this.#outbox.send(batch));
  }

  /** Other routes are selected for these prefixes. */
  pass(prefixes: readonly Prefix[]): void {
    if (this.#passedOn) this.#beside(this.#passedOn.changed(prefixes));
  }

  /** Facts of our ports that are new, or said no more. */
  publish(batch: FactBatch): void {
    if (!this.#facts) return;
    this.#beside(this.#facts.send(batch));
    this.#beside(this.#facts.endOfRib());
  }

  /** The whole table, as far as it is known. */
  begin(): void {
    this.send(this.#context.origination.full());
    if (this.#passedOn) this.#beside(this.#passedOn.dump());
    if (this.#context.facts.known) this.publish(this.#context.facts.all());
  }

  /** The table was whole: what the neighbour still has of an earlier session is to go (RFC 4724 §4.2). */
  endOfRib(): void {
    if (this.#ended) return;
    this.#endWaits = this.#passedOn !== undefined && this.#passedOn.waiting > 0;
    if (this.#endWaits) return;
    this.#ended = true;
    this.#outbox.sendEndOfRib();
    this.#channel.wrote();
  }

  /** RFC 2918: the neighbour wants a table again. False for a family that we don't have. */
  refresh(afi: number, safi: number): boolean {
    const family = familyOfAfi(afi, safi);
    if (family) {
      this.send(this.#context.origination.full(family));
      if (this.#passedOn) this.#beside(this.#passedOn.dump(family));
    } else if (afi === AFI.ipv4 && safi === SAFI_PORT_FACTS && this.#facts) {
      this.#beside(this.#facts.send(this.#context.facts.all()));
    } else return false;
    return true;
  }

  /** RFC 2918: asks for the neighbour's tables again; for how many. */
  requestRefresh(): number {
    const { families, routeRefresh } = this.#channel.session.negotiated!;
    if (!routeRefresh) return 0;
    const tables = [...families].map((family) => ({ afi: afiOf(family), safi: SAFI_UNICAST }));
    if (this.#facts) tables.push({ afi: AFI.ipv4, safi: SAFI_PORT_FACTS });
    for (const { afi, safi } of tables) {
      this.#connection.write(serialize({ type: 'ROUTE-REFRESH', afi, safi, subtype: 0 }));
    }
    this.#channel.wrote();
    return tables.length;
  }

  drained(): void {
    this.#account(this.#outbox.drained());
    if (this.#passedOn) this.#beside(this.#passedOn.drained());
    if (this.#endWaits) this.endOfRib();
    if (this.#facts) this.#beside(this.#facts.drained());
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
    if (this.#passedOn) this.#beside(this.#passedOn.renew(this.#passingOptions()));
  }

  #nextHops(): Partial<Record<Family, Address>> {
    const local = this.#connection.localAddress;
    return local ? this.#context.nextHops.ours(local) : {};
  }

  #options(): OutboxOptions {
    const { localAs, external, communities, counters, portFacts } = this.#context;
    const { fourOctetAs, families } = this.#channel.session.negotiated!;
    const nextHops = this.#nextHops();
    for (const family of families) if (!nextHops[family]) counters.add(`no_next_hop_ipv${family}`);
    return { localAs, external, fourOctetAs, families, nextHops, portFacts, communities: communities() };
  }

  #passingOptions() {
    const { fourOctetAs, families, remoteAs, remoteId } = this.#channel.session.negotiated!;
    const ours = this.#nextHops();
    const nextHops: Partial<Record<Family, Address>> = {};
    for (const family of families) if (ours[family]) nextHops[family] = ours[family];
    const { localAs } = this.#context;
    return { remoteId: ipv4ToNumber(remoteId), remoteAs, localAs, fourOctetAs, nextHops };
  }

  #factOutbox(): FactOutbox | undefined {
    const { portFacts, fourOctetAs } = this.#channel.session.negotiated!;
    const local = this.#connection.localAddress;
    if (!portFacts || !local) return undefined;
    const { localAs, external } = this.#context;
    const writer = new Writer();
    const shared: PathAttributes = external
      ? { origin: 0, asPath: [{ type: 'AS_SEQUENCE', asns: [localAs] }] }
      : { origin: 0, asPath: [], localPreference: 100 };
    writeAttributes(writer, shared, { fourOctetAs });
    return new FactOutbox(this.#connection, { attributes: writer.done(), nextHop: addressBytes(local) });
  }

  #beside(updates: number | undefined): void {
    this.#updatesBeside += this.#account(updates);
  }

  #account(updates: number | undefined): number {
    this.#channel.wrote();
    if (updates === undefined) this.#context.overrun();
    else if (updates > 0) this.#context.counters.add('sent_update', updates);
    return updates ?? 0;
  }
}
