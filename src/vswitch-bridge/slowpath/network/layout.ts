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
  #bridges: ReadonlyMap<string, OverlayNetwork> = new Map();
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

  /** Networks that another has laid out. */
  get hasOthers(): boolean {
    return [...this.#state.networks.values()].some((network) => !isLaidOut(network));
  }

  networkOfBridge(bridge: string): OverlayNetwork | undefined {
    return this.#bridges.get(bridge);
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
    for (const change of changes) {
      if (change.kind === 'network') touched.add(change.item.name);
      else if (change.kind === 'service') touched.add(change.item.network);
      else if (change.kind === 'instance' || change.kind === 'remote') touched.add(change.item.network);
    }
    if (moved) return this.#recompute(undefined);
    if (changes.some(({ kind }) => kind === 'network' || kind === 'service')) {
      const concerned = this.#redivide();
      if (concerned === undefined) return this.#recompute(undefined);
      for (const name of concerned) touched.add(name);
    }
    return this.#recompute(touched);
  }

  /** A network or an address that comes or goes may change who overlaps whom. @returns those; undefined: perhaps all */
  #redivide(): string[] | undefined {
    const before = this.#domains;
    const after = domainsOf(this.networks, this.#state.services.values());
    this.#domains = after;
    if (!sameSet(before.ambiguous, after.ambiguous)) return undefined;
    const moved = this.networks.filter(({ name }) => before.shared.has(name) !== after.shared.has(name));
    return [BETWEEN, ...moved.map(({ name }) => name)];
  }

  /** The facts about devices are others now. */
  refresh(): Difference {
    return this.#recompute(undefined);
  }

  #recompute(touched: ReadonlySet<string> | undefined): Difference {
    const { networks, underlay } = this.#state;
    const laidOut = this.networks;
    this.#bridges = new Map(laidOut.map((network) => [bridgeName(network.vni), network]));
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

const sameSet = <T>(one: ReadonlySet<T>, other: ReadonlySet<T>): boolean =>
  one.size === other.size && [...one].every((each) => other.has(each));
