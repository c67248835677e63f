/** Which port of a bridge a MAC was heard on; moves are followed. */
import { type Neighbour, NTF, NUD, type Subscription } from 'rtnetlink-ts';
import { type Mac, parseMac } from '../model/address.ts';
import type { Instant } from '../model/clock.ts';
import type { LinkState, Port } from '../model/ports.ts';
import { Listeners } from './listeners.ts';

export interface FdbEvent {
  readonly mac: Mac;
  readonly bridge: number;
  readonly vlan: number | undefined;
  /** Port ifindex before and after; undefined: not known. A move has both. */
  readonly before: number | undefined;
  readonly after: number | undefined;
  readonly at: Instant;
}

/** VLAN 0 stands for "none". */
type PortOfVlan = Map<number, number>;

export class ForwardingDatabase {
  readonly #links: LinkState;
  readonly #entries = new Map<string, PortOfVlan>();
  readonly #listeners = new Listeners<FdbEvent>();

  constructor(subscription: Subscription, links: LinkState) {
    this.#links = links;
    for (const entry of subscription.table('fdb').values()) this.#store(undefined, entry);
    subscription.onChange((change) => {
      if (change.kind !== 'fdb') return;
      this.#store(change.before, change.after);
      if (this.#listeners.wanted) this.#tell(change.before, change.after, change.at);
    });
  }

  /**
   * The port behind which `bridgeIfindex` has heard `mac`; without `vlan`, in the untagged entry or else the one heard
   * last. The addresses of the bridge itself are behind no port.
   */
  portOf(mac: Mac, bridgeIfindex: number, vlan?: number): Port | undefined {
    const vlans = this.#entries.get(`${bridgeIfindex} ${mac}`);
    if (!vlans) return undefined;
    let ifindex = vlans.get(vlan ?? 0);
    if (ifindex === undefined && vlan === undefined) for (const each of vlans.values()) ifindex = each;
    return ifindex === undefined ? undefined : this.#links.portByIndex(ifindex);
  }

  onFdb(listener: (event: FdbEvent) => void): () => void {
    return this.#listeners.add(listener);
  }

  #store(before: Neighbour | undefined, after: Neighbour | undefined): void {
    const entry = (after ?? before)!;
    const key = `${entry.master} ${entry.linkAddress}`;
    const vlan = entry.vlan ?? 0;
    const vlans = this.#entries.get(key);
    if (after && behindPort(after)) {
      // Deleted first, so that the last heard is the last in the map.
      vlans?.delete(vlan);
      if (vlans) vlans.set(vlan, after.ifindex);
      else this.#entries.set(key, new Map([[vlan, after.ifindex]]));
    } else if (vlans && before && behindPort(before)) {
      vlans.delete(vlan);
      if (vlans.size === 0) this.#entries.delete(key);
    }
  }

  #tell(before: Neighbour | undefined, after: Neighbour | undefined, at: Instant): void {
    const from = before && behindPort(before) ? before.ifindex : undefined;
    const to = after && behindPort(after) ? after.ifindex : undefined;
    const { linkAddress, master, vlan } = (after ?? before)!;
    const mac = parseMac(linkAddress ?? '');
    if (!mac || (from === undefined && to === undefined)) return;
    this.#listeners.tell({ mac, bridge: master, vlan, before: from, after: to, at });
  }
}

/** Learned or static behind a port of a bridge; permanent entries are the ports' own addresses. */
function behindPort(entry: Neighbour): boolean {
  return entry.master !== 0 && !(entry.flags & NTF.SELF) && !(entry.state & NUD.PERMANENT);
}
