import { z } from 'zod';
import type { PortLinkGroup } from '../../config/index.ts';
import { type Address, parseAddress, parseMac } from '../../model/address.ts';
import type { Clock, Instant, Timer } from '../../model/clock.ts';
import type { Log } from '../../model/log.ts';
import { isUp, type LinkState, onLink, type Port, type PortChange } from '../../model/ports.ts';
import { type Asked, MOST_HOPS, NextHopDriver, type OpenUplink, type SeenHop } from '../../portlink/index.ts';
import type { EventLog } from '../events.ts';
import type { MemoryStore } from '../memory-store.ts';
import type { Readiness } from './fabric/types.ts';

/** Uplinks on which nobody is known to ask look for routes of others this often (ms). */
const LOOK = 5_000;
/** Written at most this often (ms). */
const SPACING = 1_000;

const memory = z.object({
  version: z.literal(1),
  hops: z.array(z.object({ port: z.string(), address: z.string(), mac: z.string() })),
});

export interface NextHopsOptions {
  readonly links: Pick<LinkState, 'port' | 'portByIndex'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly store: MemoryStore;
  readonly openUplink?: OpenUplink | undefined;
  /** Neighbours of our own speakers on a port, whatever their state. */
  neighbours(port: Port): readonly Address[];
  /** Gateways of the kernel's routes through an interface, default routes first. */
  routed?: ((ifindex: number) => Promise<readonly Address[]>) | undefined;
  readonly events: EventLog;
  /** An uplink is judged otherwise; `cause` in plain words when it is not ready any more. */
  onVerdict(port: string, at: Instant, cause: string | undefined): void;
  /** After that: the verdict on an uplink that is up turned. */
  onTurn(port: string, ready: boolean, at: Instant): void;
}

/**
 * `upWhen: [nexthop]`: whom to ask on which uplink. What the configuration says; else the neighbours of our own speakers
 * there; else, where another daemon routes, the gateways of the kernel's routes.
 */
export class NextHops {
  readonly #options: NextHopsOptions;
  readonly #driver: NextHopDriver;
  readonly #routed = new Map<string, readonly Address[]>();
  readonly #ready = new Map<string, boolean>();
  #groups: readonly PortLinkGroup[] = [];
  #lookTimer: Timer | undefined;
  #saveTimer: Timer | undefined;
  #unsaved: readonly SeenHop[] | undefined;

  constructor(options: NextHopsOptions) {
    this.#options = options;
    const { links, clock, log, openUplink } = options;
    this.#driver = new NextHopDriver({
      links,
      clock,
      log,
      openUplink,
      onVerdict: (port, at) => this.#judged(port, at),
      store: { load: () => this.#load(), save: (hops) => this.#saveLater(hops) },
    });
  }

  configure(groups: readonly PortLinkGroup[]): void {
    this.#groups = groups.filter((group) => group.enabled && group.upWhen.includes('nexthop'));
    this.refresh();
    this.#look();
  }

  /** Neighbours or addresses may have changed. */
  refresh(): void {
    const asked = new Map<string, Asked>();
    for (const name of this.#uplinks()) {
      const configured = this.#configured(name);
      const port = this.#options.links.port(name);
      const neighbours = port ? this.#options.neighbours(port) : [];
      const hops = [configured, neighbours].find((some) => some.length > 0) ?? this.#routed.get(name) ?? [];
      asked.set(name, { hops: [...new Set(hops)].slice(0, MOST_HOPS), configured: configured.length > 0 });
    }
    this.#driver.watch(asked);
  }

  portChanged(change: PortChange): void {
    if (!this.#uplinks().has(change.name)) return;
    this.#driver.portChanged(change);
    this.refresh();
    if (isUp(change.after) && !isUp(change.before)) this.#look();
  }

  readiness(port: string): Readiness {
    const verdict = this.#driver.verdict(port);
    return { ready: verdict?.ok ?? true, reason: verdict?.reason ?? 'not judged yet' };
  }

  counters(): Record<string, number> {
    return this.#driver.counters();
  }

  close(): void {
    this.#driver.close();
    this.#lookTimer?.cancel();
    this.#save();
  }

  #judged(port: string, at: Instant): void {
    const { ready, reason } = this.readiness(port);
    const message = `${port}: ${reason}`;
    const before = this.#ready.get(port) ?? true;
    this.#ready.set(port, ready);
    this.#options.onVerdict(port, at, ready || !before ? undefined : message);
    if (ready === before) return;
    this.#options.onTurn(port, ready, at);
    this.#options.events.record({
      type: ready ? 'nexthop.alive' : 'nexthop.silent',
      severity: ready ? 'info' : 'warning',
      message,
      at,
      fields: { port, reason },
    });
  }

  #uplinks(): Set<string> {
    return new Set(this.#groups.flatMap((group) => group.uplinks));
  }

  /** Those in the port's subnets; one that is in no uplink's subnet (link-local, unnumbered) is asked on all of them. */
  #configured(name: string): Address[] {
    const hops: Address[] = [];
    for (const { nexthops, uplinks } of this.#groups) {
      if (!uplinks.includes(name)) continue;
      const reached = (address: Address) =>
        uplinks.filter((uplink) => {
          const port = this.#routedPort(uplink);
          return port !== undefined && onLink(port, address);
        });
      for (const address of nexthops) {
        const places = reached(address);
        if (places.length === 0 || places.includes(name)) hops.push(address);
      }
    }
    return hops;
  }

  /** Where the addresses are: the port, or the bridge or bond that it is in. */
  #routedPort(name: string): Port | undefined {
    const { links } = this.#options;
    const port = links.port(name);
    return port && (links.portByIndex(port.master) ?? port);
  }

  /** Routes of others are looked up only where nobody else is known; a full table is not read for nothing. */
  #look(): void {
    const { routed, links, clock, log } = this.#options;
    this.#lookTimer?.cancel();
    if (!routed || this.#groups.length === 0) return;
    this.#lookTimer = clock.schedule(clock.now() + LOOK, () => this.#look());
    for (const name of this.#uplinks()) {
      const port = links.port(name);
      const out = this.#routedPort(name);
      if (!port || !out || !isUp(port) || this.#configured(name).length > 0) continue;
      if (this.#options.neighbours(port).length > 0) continue;
      routed(out.ifindex).then(
        (hops) => {
          if (hops.join() === (this.#routed.get(name) ?? []).join()) return;
          this.#routed.set(name, hops);
          this.refresh();
        },
        (error: unknown) => log.warn({ err: error, port: name }, 'routes through this uplink can not be read'),
      );
    }
  }

  #load(): SeenHop[] {
    const text = this.#options.store.read();
    if (text === undefined) return [];
    return memory.parse(JSON.parse(text)).hops.flatMap(({ port, address: a, mac: m }) => {
      const address = parseAddress(a);
      const mac = parseMac(m);
      return address && mac ? [{ port, address, mac }] : [];
    });
  }

  #saveLater(hops: readonly SeenHop[]): void {
    const { clock } = this.#options;
    this.#unsaved = hops;
    this.#saveTimer ??= clock.schedule(clock.now() + SPACING, () => this.#save());
  }

  #save(): void {
    this.#saveTimer?.cancel();
    this.#saveTimer = undefined;
    if (this.#unsaved === undefined) return;
    const hops = this.#unsaved;
    this.#unsaved = undefined;
    try {
      this.#options.store.write(JSON.stringify({ version: 1, hops }));
    } catch (error) {
      this.#options.log.error({ err: error }, 'next hops that were alive are not saved');
    }
  }
}
