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
 * by the mark on the route, which is as good as the neighbour's word: it counts for nothing while the switch has a session
 * of its own, and speaks for itself.
 */
interface Heard {
  readonly routerId: Address;
  /** By the identifier of the session itself. */
  readonly direct: boolean;
  readonly portIndex: number | undefined;
  readonly shadow: boolean;
}

export class HeardHosts {
  readonly #heard = new Map<Address, Map<Address, Heard>>();
  /** By the neighbour's address, of those with a session. */
  readonly #present = new Map<Address, Address>();
  #speaking: ReadonlySet<Address> = new Set();
  readonly #localAs: () => number;
  readonly #emit: (route: HeardHostRoute) => void;

  constructor({ localAs, emit }: { localAs(): number; emit(route: HeardHostRoute): void }) {
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

  /** A session was made, or ended. */
  session({ address: neighbor, remoteId }: RibPeer, up: boolean): void {
    const routerId = ipv4FromNumber(remoteId);
    const before = [...this.#heard].flatMap(([address, all]) =>
      isNamed(all, routerId) ? [{ address, all, told: this.#of(all, routerId) }] : [],
    );
    if (up) this.#present.set(neighbor, routerId);
    else this.#present.delete(neighbor);
    this.#speaking = new Set(this.#present.values());
    for (const { address, all, told } of before) this.#tell(address, told, this.#of(all, routerId));
  }

  #read(peer: RibPeer, attributes: PathAttributes): Heard {
    const { asPath = [], originatorId } = attributes;
    const { routerId, portIndex, shadow } = marksOf(attributes, originAs(asPath) ?? this.#localAs());
    const own = ipv4FromNumber(peer.remoteId);
    const first = asPath[0]?.asns[0];
    const direct = asPath.every(({ asns }) => asns.every((asn) => asn === first)) && originatorId === undefined;
    const whose = direct ? own : (routerId ?? originatorId ?? own);
    return { routerId: whose, direct: whose === own, portIndex, shadow };
  }

  #set(peer: Address, address: Address, heard: Heard | undefined): void {
    const all = this.#heard.get(address) ?? new Map<Address, Heard>();
    const before = all.get(peer);
    if (!before && !heard) return;
    const another = heard && heard.routerId !== before?.routerId ? heard.routerId : undefined;
    const told = before && this.#of(all, before.routerId);
    const toldOfAnother = another && this.#of(all, another);
    if (heard) all.set(peer, heard);
    else all.delete(peer);
    if (all.size === 0) this.#heard.delete(address);
    else if (!before) this.#heard.set(address, all);
    if (before) this.#tell(address, told, this.#of(all, before.routerId));
    if (another) this.#tell(address, toldOfAnother || undefined, this.#of(all, another));
  }

  /** Of the sessions of one switch: while one says that the host is there, it is. */
  #of(all: ReadonlyMap<Address, Heard>, routerId: Address): Heard | undefined {
    const speaks = this.#speaking.has(routerId);
    let found: Heard | undefined;
    for (const heard of all.values()) {
      if (heard.routerId !== routerId || (speaks && !heard.direct)) continue;
      if (!found || (found.shadow && !heard.shadow)) found = heard;
    }
    return found;
  }

  #tell(address: Address, before: Heard | undefined, after: Heard | undefined): void {
    if (before?.portIndex === after?.portIndex && before?.shadow === after?.shadow && !before === !after) return;
    const { routerId, portIndex, shadow } = (after ?? before)!;
    this.#emit({ address, routerId, portIndex, shadow, up: after !== undefined });
  }
}

/** Somebody else says so in the switch's name. */
function isNamed(all: ReadonlyMap<Address, Heard>, routerId: Address): boolean {
  for (const heard of all.values()) if (!heard.direct && heard.routerId === routerId) return true;
  return false;
}
