import type { Address, Prefix } from '../model/address.ts';
import { ipv4FromNumber } from '../model/address.ts';
import type { HeardHostRoute } from '../model/port-facts.ts';
import { hostOf } from './claims.ts';
import type { PathAttributes, UpdateMessage } from './codec/messages.ts';
import { marksOf } from './marks.ts';
import type { RibPeer } from './rib.ts';
import { containsAs, originAs } from './rib.ts';

/**
 * Every host route that neighbours announce, for a gateway's map (R4.8): one for each switch, by however many sessions it
 * says so. Who announces a route to us directly is known by the BGP Identifier of the session; who is behind a neighbour
 * by the mark on the route, which is as good as the neighbour's word.
 */
interface Heard {
  readonly routerId: Address;
  readonly portIndex: number | undefined;
  readonly shadow: boolean;
}

export class HeardHosts {
  readonly #heard = new Map<Address, Map<Address, Heard>>();
  readonly #localAs: () => number;
  readonly #emit: (route: HeardHostRoute) => void;

  constructor(localAs: () => number, emit: (route: HeardHostRoute) => void) {
    this.#localAs = localAs;
    this.#emit = emit;
  }

  update(peer: RibPeer, { withdrawn, reach, attributes }: UpdateMessage): void {
    this.withdraw(peer.address, withdrawn);
    if (reach.length === 0) return;
    // Our own AS in it: one that we have told ourselves.
    const heard = containsAs(attributes.asPath, this.#localAs()) ? undefined : this.#read(peer, attributes);
    for (const { prefixes } of reach) {
      for (const prefix of prefixes) {
        const address = hostOf(prefix);
        if (address) this.#set(peer.address, address, heard);
      }
    }
  }

  withdraw(peer: Address, prefixes: readonly Prefix[]): void {
    for (const prefix of prefixes) {
      const address = hostOf(prefix);
      if (address) this.#set(peer, address, undefined);
    }
  }

  #read(peer: RibPeer, attributes: PathAttributes): Heard {
    const { asPath = [], originatorId } = attributes;
    const { routerId, portIndex, shadow } = marksOf(attributes, originAs(asPath) ?? this.#localAs());
    const own = ipv4FromNumber(peer.remoteId);
    const first = asPath[0]?.asns[0];
    const direct = asPath.every(({ asns }) => asns.every((asn) => asn === first)) && originatorId === undefined;
    return { routerId: direct ? own : (routerId ?? originatorId ?? own), portIndex, shadow };
  }

  #set(peer: Address, address: Address, heard: Heard | undefined): void {
    const all = this.#heard.get(address) ?? new Map<Address, Heard>();
    const before = all.get(peer);
    if (!before && !heard) return;
    const another = heard && heard.routerId !== before?.routerId ? heard.routerId : undefined;
    const told = before && of(all, before.routerId);
    const toldOfAnother = another && of(all, another);
    if (heard) all.set(peer, heard);
    else all.delete(peer);
    if (all.size === 0) this.#heard.delete(address);
    else if (!before) this.#heard.set(address, all);
    if (before) this.#tell(address, told, of(all, before.routerId));
    if (another) this.#tell(address, toldOfAnother || undefined, of(all, another));
  }

  #tell(address: Address, before: Heard | undefined, after: Heard | undefined): void {
    if (before?.portIndex === after?.portIndex && before?.shadow === after?.shadow && !before === !after) return;
    const { routerId, portIndex, shadow } = (after ?? before)!;
    this.#emit({ address, routerId, portIndex, shadow, up: after !== undefined });
  }
}

/** Of the sessions of one switch: while one says that the host is there, it is. */
function of(all: ReadonlyMap<Address, Heard>, routerId: Address): Heard | undefined {
  let found: Heard | undefined;
  for (const heard of all.values()) {
    if (heard.routerId === routerId && (!found || (found.shadow && !heard.shadow))) found = heard;
  }
  return found;
}
