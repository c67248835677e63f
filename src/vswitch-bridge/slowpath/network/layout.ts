/** The wanted objects of the whole table, recomputed for the networks that a change touches and for no others. */
import { familyOf } from '../../../model/address.ts';
import type { OverlayChange, OverlayNetwork, OverlayState } from '../../../model/overlay.ts';
import { betweenObjects, type Facts, isLaidOut, membersOf, networkObjects, tableOf } from './desired.ts';
import { type Domains, domainsOf } from './domains.ts';
import { bridgeName } from './names.ts';
import { byKey, type Difference, difference, type LayoutObject, type ObjectMap } from './objects.ts';

/** No network is called so. */
const BETWEEN = '';
const NOTHING: ObjectMap = new Map();

export class Layout {
  readonly #facts: Facts;
  readonly #parts = new Map<string, ObjectMap>();
  readonly #objects = new Map<string, LayoutObject>();
  /** By their devices. */
  #instances: ReadonlyMap<string, string> = new Map();
  #state: OverlayState;
  #domains: Domains;

  constructor(state: OverlayState, facts: Facts) {
    this.#facts = facts;
    this.#state = state;
    this.#domains = domainsOf([]);
    this.#recompute(undefined);
  }

  get objects(): ObjectMap {
    return this.#objects;
  }

  get state(): OverlayState {
    return this.#state;
  }

  get domains(): Domains {
    return this.#domains;
  }

  /** Those that are laid out by us. */
  get networks(): readonly OverlayNetwork[] {
    return [...this.#state.networks.values()].filter(isLaidOut);
  }

  instanceOf(device: string): string | undefined {
    return this.#instances.get(device);
  }

  networkOfBridge(bridge: string): OverlayNetwork | undefined {
    return this.networks.find(({ vni }) => bridgeName(vni) === bridge);
  }

  tableOf(network: OverlayNetwork): number | undefined {
    return network.gateway === undefined ? undefined : tableOf(network, this.#domains);
  }

  /** Whether the bridge of this name carries IPv6 of its own. */
  isSix(bridge: string): boolean {
    const network = this.networkOfBridge(bridge);
    return network?.gateway !== undefined && familyOf(network.subnet) === 6;
  }

  apply(state: OverlayState, changes: readonly OverlayChange[]): Difference {
    const { address, device } = this.#state.underlay;
    const moved = address !== state.underlay.address || device !== state.underlay.device;
    this.#state = state;
    const touched = new Set<string>();
    let all = moved;
    for (const change of changes) {
      // A network or a service's address that comes or goes may change who overlaps whom.
      if (change.kind === 'network' || change.kind === 'service') all = true;
      else if (change.kind === 'instance' || change.kind === 'remote') touched.add(change.item.network);
    }
    return this.#recompute(all ? undefined : touched);
  }

  /** The facts about devices are others now. */
  refresh(): Difference {
    return this.#recompute(undefined);
  }

  #recompute(touched: ReadonlySet<string> | undefined): Difference {
    const { networks, underlay } = this.#state;
    const laidOut = this.networks;
    this.#instances = new Map([...this.#state.instances.values()].map((each) => [each.interface, each.name]));
    const names = touched ?? new Set([BETWEEN, ...this.#parts.keys(), ...laidOut.map(({ name }) => name)]);
    if (!touched) this.#domains = domainsOf(laidOut, this.#state.services.values());
    const members = membersOf(this.#state, names);
    const before = new Map<string, LayoutObject>();
    const after = new Map<string, LayoutObject>();
    for (const name of names) {
      for (const [key, object] of this.#parts.get(name) ?? NOTHING) before.set(key, object);
      const network = networks.get(name);
      let part: ObjectMap = NOTHING;
      if (name === BETWEEN) part = byKey(betweenObjects(this.#state, this.#domains));
      else if (network && isLaidOut(network)) {
        part = byKey(networkObjects(network, members.get(name)!, this.#domains, underlay, this.#facts));
      }
      if (part.size > 0) this.#parts.set(name, part);
      else this.#parts.delete(name);
      for (const [key, object] of part) after.set(key, object);
    }
    for (const key of before.keys()) if (!after.has(key)) this.#objects.delete(key);
    for (const [key, object] of after) this.#objects.set(key, object);
    return difference(before, after);
  }
}
