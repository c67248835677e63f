import type { Mac } from '../../model/address.ts';
import type { Clock, Timer } from '../../model/clock.ts';
import type { Port } from '../../model/ports.ts';
import type { FdbEvent } from '../../netlink/index.ts';
import type { Evidence, HostEvent, Stationed } from '../machine/types.ts';
import type { HostKernel } from '../options.ts';
import type { Placement } from './placement.ts';

/**
 * A port that goes down takes its entries out of the bridge's table, and that may be told before the link's own message:
 * who has gone with its port need not be asked.
 */
const PATIENCE_MS = 50;

/** MACs that are waited for; a host among those beyond is found silent by its next routine probe. */
const WAITING = 4_096;

export interface StationsOptions {
  readonly kernel: HostKernel;
  readonly placement: Placement;
  readonly clock: Clock;
  /** The hosts known with this MAC. */
  known(mac: Mac): readonly Stationed[];
  onEvidence(events: HostEvent[]): void;
}

/**
 * Where the bridges hear the MACs of known hosts. The bridge's table follows every frame, ARP or not: the RARP frames
 * that a hypervisor sends for a VM it has taken over, and the first packet of whoever moved without a word.
 */
export class StationWatch {
  readonly #options: StationsOptions;
  readonly #vanished = new Map<string, FdbEvent>();
  #timer: Timer | undefined;
  #unsubscribe: (() => void) | undefined;
  readonly count = { 'fdb.moved': 0, 'fdb.elsewhere': 0, 'fdb.vanished': 0, 'fdb.unwatched': 0 };

  constructor(options: StationsOptions) {
    this.#options = options;
  }

  start(): void {
    this.#unsubscribe = this.#options.kernel.fdb.onFdb?.((event) => this.#heard(event));
  }

  stop(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#vanished.clear();
  }

  #heard(event: FdbEvent): void {
    const hosts = this.#hostsOf(event);
    if (hosts.length === 0) return;
    if (event.after === undefined) {
      this.#vanish(event);
      return;
    }
    const { kernel, placement, onEvidence } = this.#options;
    const port = kernel.portByIndex(event.after);
    if (!port) return;
    const here = placement.isDownlink(port.name);
    const elsewhere = hosts.filter((host) => host.port !== port.name);
    const events = here
      ? seenOn(port, event.mac, 'bridge', elsewhere, placement)
      : elsewhere.filter(({ live }) => live).map(doubtful);
    if (events.length === 0) return;
    this.count[here ? 'fdb.moved' : 'fdb.elsewhere'] += events.length;
    onEvidence(events);
  }

  /** Those who are or were behind a port of that bridge: the same MAC on a routed port is another story. */
  #hostsOf({ mac, bridge, vlan }: FdbEvent): Stationed[] {
    const { known, kernel } = this.#options;
    return known(mac).filter(
      (host) => kernel.port(host.port)?.master === bridge && (!host.vlan || vlan === undefined || host.vlan === vlan),
    );
  }

  #vanish(event: FdbEvent): void {
    if (this.#vanished.size >= WAITING) {
      this.count['fdb.unwatched']++;
      return;
    }
    this.#vanished.set(`${event.bridge} ${event.vlan ?? 0} ${event.mac}`, event);
    const { clock } = this.#options;
    this.#timer ??= clock.schedule(clock.now() + PATIENCE_MS, () => this.#ask());
  }

  #ask(): void {
    this.#timer = undefined;
    const { kernel, onEvidence } = this.#options;
    const events: HostEvent[] = [];
    for (const event of this.#vanished.values()) {
      if (kernel.fdb.portOf(event.mac, event.bridge, event.vlan)) continue;
      for (const host of this.#hostsOf(event)) if (host.live) events.push(doubtful(host));
    }
    this.#vanished.clear();
    if (events.length === 0) return;
    this.count['fdb.vanished'] += events.length;
    onEvidence(events);
  }
}

const doubtful = ({ address, port }: Stationed): HostEvent => ({ type: 'doubt', address, port });

/** What follows for known hosts from their MAC being seen on `port`. */
export function seenOn(
  port: Port,
  mac: Mac,
  how: Evidence,
  hosts: readonly Stationed[],
  placement: Placement,
): HostEvent[] {
  return hosts.map(({ address, vlan }) => {
    const { name, ifindex } = placement.routedOn(port, address);
    const place = { address, mac, port: port.name, interface: name, ifindex, how };
    return { type: 'present', ...place, ...(vlan === undefined ? {} : { vlan }) };
  });
}
