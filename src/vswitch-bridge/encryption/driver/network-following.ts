/** The worker's TAPs and their members follow the overlay's VXLAN networks. */
import type { Address, Mac } from '../../../model/address.ts';
import { overlapping } from '../../../model/overlaps.ts';
import type { OverlayState } from '../../../model/overlay.ts';
import type { WorkerNetworks } from '../worker-face.ts';

/** How the slow path names its devices, and which MAC its bridges have on another host. */
export interface NetworkLayout {
  readonly device: (vni: number) => string;
  readonly bridge: (vni: number) => string;
  readonly routerMac: (underlay: Address) => Mac;
}

export class NetworkFollowing {
  readonly #layout: NetworkLayout;
  /** By VNI: who is a member. */
  readonly #made = new Map<number, Set<Address>>();
  readonly #stale = new Set<number>();
  #routed: ReadonlySet<number> = new Set();
  /** VNIs that an earlier agent has left. */
  readonly #left: Set<number>;

  constructor(layout: NetworkLayout, left: readonly number[]) {
    this.#layout = layout;
    this.#left = new Set(left);
  }

  /** It is set anew at the next `follow`. */
  renew(vni: number): void {
    this.#stale.add(vni);
  }

  /** @param hosts peers, and the VNIs of each */
  async follow(
    worker: WorkerNetworks,
    state: OverlayState,
    hosts: ReadonlyMap<Address, ReadonlySet<number>>,
  ): Promise<void> {
    const wanted = new Set<number>();
    for (const { vni, encapsulation } of state.networks.values()) if (encapsulation === 'vxlan') wanted.add(vni);
    for (const vni of new Set([...this.#made.keys(), ...this.#left])) {
      if (wanted.has(vni)) continue;
      await worker.removeNetwork(vni);
      this.#made.delete(vni);
    }
    this.#left.clear();
    const { device, bridge } = this.#layout;
    const routed = routedNetworks(state);
    for (const vni of wanted) if (routed.has(vni) !== this.#routed.has(vni)) this.#stale.add(vni);
    this.#routed = routed;
    for (const vni of wanted) {
      if (!this.#made.has(vni) || this.#stale.has(vni)) {
        await worker.setNetwork({ vni, device: device(vni), bridge: bridge(vni), routed: routed.has(vni) });
        this.#stale.delete(vni);
      }
      this.#members(worker, vni, hosts);
    }
  }

  /** The peer has another entry in the worker's table. */
  join(worker: WorkerNetworks, address: Address): void {
    for (const [vni, members] of this.#made) {
      if (!members.has(address)) continue;
      worker.addMember(vni, address);
      worker.setMac(vni, this.#layout.routerMac(address), address);
    }
  }

  #members(worker: WorkerNetworks, vni: number, hosts: ReadonlyMap<Address, ReadonlySet<number>>): void {
    const { routerMac } = this.#layout;
    const members = this.#made.get(vni) ?? new Set();
    this.#made.set(vni, members);
    for (const address of members) {
      if (hosts.get(address)?.has(vni)) continue;
      members.delete(address);
      worker.removeMac(vni, routerMac(address));
      worker.removeMember(vni, address);
    }
    for (const [address, networks] of hosts) {
      if (!networks.has(vni) || members.has(address)) continue;
      members.add(address);
      worker.addMember(vni, address);
      worker.setMac(vni, routerMac(address), address);
    }
  }
}

/**
 * VNIs of the networks that are routed to each other. A router sends under the VNI of the destination's network, which may
 * have none of its own instances, so that nobody lists it there as a remote.
 */
function routedNetworks({ networks }: OverlayState): ReadonlySet<number> {
  const withGateway = [...networks.values()].filter(({ gateway }) => gateway !== undefined);
  const alone = overlapping(withGateway);
  return new Set(withGateway.filter(({ name }) => !alone.has(name)).map(({ vni }) => vni));
}
