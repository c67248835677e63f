import { isDeepStrictEqual } from 'node:util';
import type { TorConfig } from '../../config/index.ts';
import { switchName } from '../../config/places.ts';
import { encodeFact, MOST_ADDRESSES, MOST_MACS } from '../../gateway/index.ts';
import type { Address, Mac } from '../../model/address.ts';
import type { Clock, Instant, Timer } from '../../model/clock.ts';
import type { HostRoute } from '../../model/hosts.ts';
import type { CarriedFact, PortFact } from '../../model/port-facts.ts';
import { isOpen, type LinkState, type Port, type PortNeighbour } from '../../model/ports.ts';
import { BOUNCE, DRAIN } from '../../portlink/index.ts';
import type { GroupView } from '../api.ts';
import type { PortGroups } from './port-groups.ts';

/** Who is behind the ports is looked at no more often than this (ms): a failover moves thousands. */
const MACS_EVERY = 1_000;
/** LLDP neighbours come and go without a word (ms). */
const LOOK_AGAIN = 30_000;

export interface PortFactsOptions {
  readonly config: () => TorConfig;
  readonly clock: Clock;
  /** ms since 1970. */
  readonly wallClock: () => number;
  readonly links: LinkState;
  readonly groups: Pick<PortGroups, 'views' | 'keeperOf' | 'openerOf'>;
  /** Our hosts. */
  readonly hosts: () => readonly HostRoute[];
  readonly neighbours: (port: string) => readonly PortNeighbour[];
  /** Ports on which a session with a neighbour of the fabric stands. */
  readonly sessionPorts: () => Iterable<string>;
  publish(facts: readonly CarriedFact[]): void;
}

/** What was said last of one port. */
interface Said {
  readonly fact: PortFact;
  readonly carried: CarriedFact;
}

type Condition = Pick<PortFact, 'state' | 'reason'> & { readonly since?: number };

/**
 * What the gateway is told of our ports (R4.8, R4.9): their state, since when and why, who is at the other end. All that
 * happens only marks them; they are looked at in the next turn, after withdrawals and ports, once for everything.
 */
export class PortFacts {
  readonly #options: PortFactsOptions;
  readonly #said = new Map<string, Said>();
  readonly #macs = new Map<string, readonly Mac[]>();
  #timer: Timer | undefined;
  #macsTimer: Timer | undefined;
  #lookAgain: Timer | undefined;
  /** When what is marked happened first. */
  #touchedAt: Instant | undefined;
  #hostsTouched = true;
  #macsReadAt = Number.NEGATIVE_INFINITY;
  #running = false;

  constructor(options: PortFactsOptions) {
    this.#options = options;
  }

  /** To be called when ports and groups are known, before the speakers start. */
  start(): void {
    this.#running = true;
    this.#project();
    this.#later();
  }

  /** Something happened that may concern a port. */
  touch(at?: Instant): void {
    if (!this.#running) return;
    const { clock } = this.#options;
    const now = clock.now();
    // The cause may be named after its consequences.
    this.#touchedAt = Math.min(this.#touchedAt ?? now, at ?? now);
    this.#timer ??= clock.schedule(now, () => this.#project());
  }

  /** Somebody came to a port, or went: of interest when it is time to look at who is there, and else nothing. */
  hostsChanged(): void {
    this.#hostsTouched = true;
    const { clock } = this.#options;
    if (this.#running) this.#lookAtHosts(Math.max(clock.now(), this.#macsReadAt + MACS_EVERY));
  }

  #lookAtHosts(at: Instant): void {
    this.#macsTimer ??= this.#options.clock.schedule(at, () => {
      this.#macsTimer = undefined;
      this.touch();
    });
  }

  close(): void {
    this.#running = false;
    this.#timer?.cancel();
    this.#macsTimer?.cancel();
    this.#lookAgain?.cancel();
  }

  #later(): void {
    const { clock } = this.#options;
    this.#lookAgain = clock.schedule(clock.now() + LOOK_AGAIN, () => {
      this.touch();
      this.#later();
    });
  }

  #project(): void {
    const { config, clock, wallClock, groups, links, publish } = this.#options;
    this.#timer = undefined;
    const now = clock.now();
    const at = Math.round(wallClock() - (now - (this.#touchedAt ?? now)));
    this.#touchedAt = undefined;
    if (!config().portFacts) {
      if (this.#said.size > 0) publish([]);
      this.#said.clear();
      return;
    }
    const views = groups.views();
    this.#readMacs(now, views);
    const roles = this.#roles(views);
    let changed = this.#said.size === 0;
    for (const name of [...this.#said.keys()]) {
      if (roles.has(name) && links.port(name)) continue;
      this.#said.delete(name);
      changed = true;
    }
    for (const [name, role] of roles) {
      const port = links.port(name);
      if (port && this.#say(port, role, views, at)) changed = true;
    }
    if (changed) publish([...this.#said.values()].map(({ carried }) => carried));
  }

  /** True: it is other news than before. */
  #say(port: Port, role: PortFact['role'], views: readonly GroupView[], at: number): boolean {
    const { config, neighbours } = this.#options;
    const { routerId, name = switchName() } = config();
    const before = this.#said.get(port.name);
    const { since, ...condition } = conditionOf(port, role, views, this.#options, before?.fact);
    const [neighbour] = neighbours(port.name);
    const fact: PortFact = {
      routerId,
      switchName: name,
      port: port.name,
      ifindex: port.ifindex,
      role,
      ...condition,
      since: before?.fact.state === condition.state ? before.fact.since : (since ?? at),
      addresses: role === 'uplink' ? this.#addresses(port) : [],
      macs: role === 'downlink' ? (this.#macs.get(port.name) ?? []) : [],
      ...(neighbour ? { lldp: lldpOf(neighbour) } : {}),
    };
    if (before && isDeepStrictEqual(before.fact, fact)) return false;
    this.#said.set(port.name, { fact, carried: encodeFact(fact) });
    return true;
  }

  #roles(views: readonly GroupView[]): Map<string, PortFact['role']> {
    const { config, sessionPorts } = this.#options;
    const { hostRoutes, ospf } = config();
    const roles = new Map<string, PortFact['role']>();
    for (const name of hostRoutes.policy.ports) roles.set(name, 'downlink');
    for (const { downlinks } of views) for (const { port } of downlinks) roles.set(port, 'downlink');
    for (const { name } of ospf?.interfaces ?? []) roles.set(name, 'uplink');
    for (const name of sessionPorts()) roles.set(name, 'uplink');
    for (const { uplinks } of views) for (const { port } of uplinks) roles.set(port, 'uplink');
    return roles;
  }

  /** Those that a next hop may have; of a port in a bond or a bridge they are its master's. Link-local ones last. */
  #addresses(port: Port): Address[] {
    const { links } = this.#options;
    const owner = port.addresses.length > 0 ? port : (links.portByIndex(port.master) ?? port);
    const all = owner.addresses.map(({ address }) => address);
    const local = (address: Address): boolean => /^fe[89ab]/.test(address);
    return [...all.filter((each) => !local(each)), ...all.filter(local)].slice(0, MOST_ADDRESSES);
  }

  /** Of a port that is not up those stay that were behind it last: they name the server's port that came apart. */
  #readMacs(now: Instant, views: readonly GroupView[]): void {
    if (!this.#hostsTouched) return;
    const { links, groups, hosts } = this.#options;
    const due = this.#macsReadAt + MACS_EVERY;
    if (now < due) {
      this.#lookAtHosts(due);
      return;
    }
    this.#hostsTouched = false;
    this.#macsReadAt = now;
    const found = new Map<number, Set<Mac>>();
    for (const { ifindex, portIndex = ifindex, mac, shadow } of hosts()) {
      if (shadow) continue;
      const macs = found.get(portIndex) ?? new Set();
      found.set(portIndex, macs);
      if (macs.size < MOST_MACS) macs.add(mac);
    }
    for (const [name, role] of this.#roles(views)) {
      const port = links.port(name);
      if (role !== 'downlink' || !port) continue;
      const there = found.get(port.ifindex);
      const open = isOpen(port) && port.carrier && groups.keeperOf(name) === undefined;
      if (there || open) this.#macs.set(name, [...(there ?? [])].sort());
    }
  }
}

function conditionOf(
  port: Port,
  role: PortFact['role'],
  views: readonly GroupView[],
  { groups, links }: Pick<PortFactsOptions, 'groups' | 'links'>,
  before: PortFact | undefined,
): Condition {
  const { name } = port;
  if (!isOpen(port)) return { state: 'shut', ...keptShut(name, views, groups, links) };
  if (!port.carrier) {
    const had = before !== undefined && (before.state === 'up' || before.reason.includes(LOST));
    return { state: 'down', reason: `${name} ${had ? LOST : 'has no carrier'}` };
  }
  if (role === 'downlink') return { state: 'up', reason: '' };
  const silent = brokenUplink(name, views);
  return silent === undefined ? { state: 'up', reason: '' } : { state: 'down', reason: `${name}: ${silent}` };
}

const LOST = 'lost carrier';

/** What a group says of an uplink beside its carrier. */
function brokenUplink(name: string, views: readonly GroupView[]): string | undefined {
  for (const { uplinks } of views) {
    for (const { port, verdicts } of uplinks) {
      if (port !== name) continue;
      const broken = verdicts.find(({ condition, ok }) => !ok && condition !== 'carrier');
      if (broken) return broken.reason;
    }
  }
  return undefined;
}

function keptShut(
  name: string,
  views: readonly GroupView[],
  groups: Pick<PortGroups, 'keeperOf' | 'openerOf'>,
  links: LinkState,
): Omit<Condition, 'state'> {
  const keeper = groups.keeperOf(name);
  const opener = groups.openerOf(name);
  const view = views.find((group) => group.name === keeper);
  const downlink = views.flatMap(({ downlinks }) => downlinks).find(({ port }) => port === name);
  const since = downlink?.shutByUs && downlink.since !== undefined ? { since: Date.parse(downlink.since) } : {};
  if (keeper === DRAIN) return { reason: 'drained: planned work', ...since };
  if (keeper === BOUNCE || (keeper === undefined && opener !== undefined))
    return { reason: `${name} is about to be opened: the fabric is told of its hosts first`, ...since };
  if (!view) return { reason: `${name} was shut by an operator` };
  if (view.held === 'shut') return { reason: `held shut by an operator in group ${view.name}`, ...since };
  const lost = view.uplinks.flatMap(({ port, up, verdicts }) => {
    if (up) return [];
    const local = links.port(port);
    if (!local?.carrier) return [`${port} ${local ? LOST : 'is gone'}`];
    return [`${port}: ${verdicts.find(({ ok }) => !ok)?.reason ?? 'down'}`];
  });
  return { reason: `shut by group ${view.name}: ${lost.join(', ') || view.reason}`, ...since };
}

/** Linux hosts give the MAC as the port's id, and its name as the description. */
function lldpOf({ systemName, portId, portDescription }: PortNeighbour) {
  return { systemName, portId: /^([0-9a-f]{2}:){5}/i.test(portId) ? (portDescription ?? portId) : portId };
}
