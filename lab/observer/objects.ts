/**
 * G's host routes over next-hop objects (ours has them so). The kernel names the object alone in each route, tells of the
 * object once when it leads elsewhere, and of nothing when a port takes objects and routes with it: what they lead to is
 * put together here.
 */
import { decodeNextHop, Malformed, type Message, type Route, RTM } from 'rtnetlink-ts';
import type { TorName } from '../topology/plan.ts';

export class ObjectFib {
  readonly #torOf: ReadonlyMap<number, TorName>;
  readonly #onWay: (address: string, via: readonly TorName[]) => void;
  /** By id: a next hop's port, or a group's members. */
  readonly #ports = new Map<number, number>();
  readonly #groups = new Map<number, readonly number[]>();
  /** By address and metric: ids. */
  readonly #routes = new Map<string, Map<number, number>>();
  readonly #told = new Map<string, string>();

  constructor(torOf: ReadonlyMap<number, TorName>, onWay: (address: string, via: readonly TorName[]) => void) {
    this.#torOf = torOf;
    this.#onWay = onWay;
  }

  /** @returns whether the route is one over an object */
  route(address: string, { nextHopId, nextHops, metric = 0 }: Route, { type }: Message): boolean {
    if (nextHopId === undefined || nextHops.length > 0) return false;
    const routes = this.#routes.get(address) ?? new Map<number, number>();
    this.#routes.set(address, routes);
    if (type === RTM.DELROUTE) routes.delete(metric);
    else routes.set(metric, nextHopId);
    this.#tell(address);
    return true;
  }

  object(message: Message): void {
    const nextHop = decodeNextHop(message);
    if (nextHop instanceof Malformed) return;
    const { id, ifindex, group } = nextHop;
    if (message.type === RTM.DELNEXTHOP) {
      this.#ports.delete(id);
      this.#groups.delete(id);
    } else if (group) {
      this.#groups.set(
        id,
        group.map((member) => member.id),
      );
    } else if (ifindex !== undefined) this.#ports.set(id, ifindex);
    this.#tellAll();
  }

  /** A port lost its carrier: what led there is gone. */
  down(ifindex: number): void {
    for (const [id, port] of this.#ports) if (port === ifindex) this.#ports.delete(id);
    const gone = new Set<number>();
    for (const [id, members] of this.#groups) {
      const left = members.filter((member) => this.#ports.has(member));
      if (left.length > 0) this.#groups.set(id, left);
      else {
        this.#groups.delete(id);
        gone.add(id);
      }
    }
    for (const routes of this.#routes.values())
      for (const [metric, id] of routes) if (gone.has(id)) routes.delete(metric);
    this.#tellAll();
  }

  #tellAll(): void {
    for (const address of this.#routes.keys()) this.#tell(address);
  }

  #tell(address: string): void {
    const best = [...this.#routes.get(address)!].sort(([one], [other]) => one - other)[0];
    const tors = (best ? (this.#groups.get(best[1]) ?? [best[1]]) : []).map((id) =>
      this.#torOf.get(this.#ports.get(id) ?? 0),
    );
    const via = [...new Set(tors.filter((tor) => tor !== undefined))].toSorted();
    // Objects are told on another socket than routes: one that is not known yet will be.
    if (best && via.length === 0) return;
    if (this.#told.get(address) === via.join()) return;
    this.#told.set(address, via.join());
    this.#onWay(address, via);
  }
}
