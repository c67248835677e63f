/**
 * `upWhen: [default-route]` where the default route is not ours: the operator's own, or another daemon's. Notifications
 * say all that is needed, but that the kernel takes the routes of a port along which is set down: those are forgotten
 * with it. Of a route with several next hops that one comes back with its port, without a word: routes are read again when
 * such a port is up. Routes stay when merely the carrier goes, and count again when it is back.
 */
import { type Route, RT_TABLE, RTN } from 'rtnetlink-ts';
import type { Clock } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import { isOpen, isUp, type LinkState, type PortChange } from '../../model/ports.ts';
import type { RouteWatch } from '../../netlink/index.ts';
import { RouteReading } from '../route-reading.ts';

export interface ForeignDefaultsOptions {
  readonly watch: () => Promise<Pick<RouteWatch, 'onRoute' | 'routes'>>;
  readonly links: LinkState;
  readonly clock: Clock;
  readonly log: Log;
  /** Protocol numbers of our own speakers, whose routes are judged by what was learned. */
  readonly own: ReadonlySet<number>;
  /** Ask `through` again. */
  onChange(): void;
}

export class ForeignDefaults {
  readonly #options: ForeignDefaultsOptions;
  /** The ports of each default route, by what tells it from the others. */
  readonly #routes = new Map<string, readonly number[]>();
  /** Ports that were set down, and routes with them. Of all others the kernel tells, and to read all routes is much work. */
  readonly #parted = new Set<number>();
  #reading: RouteReading | undefined;
  #unsubscribe: (() => void) | undefined;
  #wanted = false;

  constructor(options: ForeignDefaultsOptions) {
    this.#options = options;
  }

  /** Whether some group asks for it; what there is was read when this resolves. Rejects when that can't be. */
  async configure(wanted: boolean): Promise<void> {
    if (wanted === this.#wanted) return;
    if (!wanted) return this.close();
    this.#wanted = true;
    const watch = await this.#options.watch().catch((error: Error) => {
      this.#wanted = false;
      throw error;
    });
    // It was asked for no more, or twice, meanwhile.
    if (!this.#wanted || this.#unsubscribe) return;
    const { clock, log } = this.#options;
    const reading = new RouteReading({
      ...{ clock, log, what: "the kernel's default routes" },
      read: () => watch.routes(),
      take: (routes) => this.#take(routes),
    });
    this.#reading = reading;
    this.#unsubscribe = watch.onRoute(({ before, after }) => {
      if (!isDefault(before) && !isDefault(after)) return;
      reading.noticed();
      if (isDefault(before)) this.#routes.delete(keyOf(before));
      if (isDefault(after)) this.#add(after);
      this.#options.onChange();
    });
    await reading.now().catch(() => reading.later());
  }

  /** Somebody's default route leads through the port, and the port is up. */
  through(name: string): boolean {
    const port = this.#options.links.port(name);
    if (!port || !isUp(port)) return false;
    for (const ports of this.#routes.values()) if (ports.includes(port.ifindex)) return true;
    return false;
  }

  linkChanged({ before, after }: PortChange): void {
    if (after && isUp(after) && this.#parted.delete(after.ifindex)) this.#reading?.later();
    if (this.#routes.size === 0 || (after && isOpen(after))) return;
    const { ifindex } = (after ?? before)!;
    for (const [key, ports] of this.#routes) {
      if (!ports.includes(ifindex)) continue;
      if (after) this.#parted.add(ifindex);
      // One of several ways goes alone.
      const left = ports.filter((port) => port !== ifindex);
      if (left.length > 0) this.#routes.set(key, left);
      else this.#routes.delete(key);
    }
  }

  close(): void {
    this.#wanted = false;
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#reading?.close();
    this.#reading = undefined;
    this.#routes.clear();
    this.#parted.clear();
  }

  #take(routes: readonly Route[]): void {
    this.#routes.clear();
    for (const route of routes) if (isDefault(route)) this.#add(route);
    this.#options.onChange();
  }

  #add(route: Route): void {
    if (route.type !== RTN.UNICAST || route.table === RT_TABLE.LOCAL || this.#options.own.has(route.protocol)) return;
    const ports = route.nextHops.flatMap(({ ifindex }) => ifindex ?? []);
    if (ports.length > 0) this.#routes.set(keyOf(route), ports);
  }
}

const isDefault = (route: Route | undefined): route is Route =>
  route?.destination === '0.0.0.0/0' || route?.destination === '::/0';

const keyOf = ({ table, destination, metric, protocol, nextHops }: Route): string =>
  `${table} ${destination} ${metric ?? 0} ${protocol} ${nextHops.map((hop) => `${hop.ifindex} ${hop.gateway}`).join()}`;
