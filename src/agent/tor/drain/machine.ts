/*
 * Planned work on a switch without loss: `peerless drain` takes every server to the other switch, port by port, and
 * `peerless undrain` brings them back.
 *
 * 1. The preference of all that we announce is lowered (RFC 8326 GRACEFUL_SHUTDOWN and a longer path in BGP, the worst
 *    metric in OSPF), so that whatever has another path already moves, and what will have one moves at once. `pause`.
 * 2. A port: packets for its hosts wait from now on, still announced; then it is shut. Its servers see carrier loss and
 *    go to their other link.
 * 3. The other switch announces them. When that is seen through the fabric, and the gateway has turned (host.ts), they
 *    are withdrawn here and what waited goes back to the fabric: late, not lost.
 * 4. A host that nobody else announces within `timeout` has no other path: the port is opened again, and kept; unless
 *    `force`. `pause`, the next port.
 *
 * The way back is the one of the port-link groups: announced above the other's claim, waited for, opened.
 *
 * The machine is pure and knows no commands' life: whoever asked may go away. One port is under way at a time, so a stop,
 * a restart or an order the other way meets at most one, and that one is carried through first.
 */
import type { Address } from '../../../model/address.ts';
import type { Instant } from '../../../model/clock.ts';
import { MovingHost } from './host.ts';
import { DrainPort } from './port.ts';
import type {
  DrainEffect,
  DrainEvent,
  DrainMemory,
  DrainOrder,
  DrainPhase,
  DrainPortView,
  DrainSettings,
} from './types.ts';

/** How often a port that is under way is looked at (ms). */
const LOOK = 20;
/** How long (ms) the kernel, and the wait for the fabric before an opening, may take. */
const OPENING = 10_000;

const DEFAULTS: DrainSettings = { pause: 1_000, timeout: 5_000, force: false };

export class DrainMachine {
  /** How long after it shows another's claim a gateway uses it at the latest (ms). */
  readonly #lag: number;
  readonly #ports = new Map<string, DrainPort>();
  #phase: DrainPhase = 'none';
  #since: Instant = 0;
  #lowered = false;
  #settings: DrainSettings = DEFAULTS;
  /** Ports of the present order that are still to come. */
  #queue: string[] = [];
  #current: DrainPort | undefined;
  #nextAt: Instant | undefined;
  /** When the port under way is looked at again. */
  #lookAt: Instant = 0;
  /** What begins when the port under way is done. */
  #pending: Extract<DrainEvent, { type: 'drain' | 'undrain' }> | undefined;
  #effects: DrainEffect[] = [];

  constructor(options: { readonly lag: number }) {
    this.#lag = options.lag;
  }

  handle(event: DrainEvent, now: Instant): DrainEffect[] {
    switch (event.type) {
      case 'drain':
      case 'undrain':
        if (this.#current) this.#pending = event;
        else this.#order(event.type, event.order, now);
        break;
      case 'stop':
        this.#pending = undefined;
        this.#queue = [];
        break;
      case 'begun':
        this.#begun(event, now);
        break;
      case 'given':
        this.#letGo(this.#ports.get(event.port));
        this.#finish(event.port, 'kept', event.reason, now);
        break;
      case 'claim':
        this.#claim(event, now);
        break;
      case 'port':
        this.#port(event.port, event.open);
        break;
      case 'trouble':
        this.#trouble(event.port, event.reason, now);
        break;
      case 'tick':
        for (const [address, sighting] of event.seen) this.#current?.hosts.get(address)?.see(sighting, now);
        this.#lookAt = now + LOOK;
        break;
      case 'restore':
        this.#restore(event.memory, event.at);
        break;
    }
    this.#goOn(now);
    return this.#effects.splice(0);
  }

  nextDeadline(): Instant | undefined {
    return this.#current ? this.#lookAt : this.#nextAt;
  }

  get phase(): DrainPhase {
    return this.#phase;
  }

  get since(): Instant {
    return this.#since;
  }

  get lowered(): boolean {
    return this.#lowered;
  }

  get settings(): DrainSettings {
    return this.#settings;
  }

  /** Hosts whose sightings the next `tick` needs. */
  looksFor(): MovingHost[] {
    return this.#current ? this.#current.unsettled() : [];
  }

  /** Ports that this drain has shut. */
  shutPorts(): string[] {
    return this.#portsIn('moving', 'shut');
  }

  state(port: string): DrainPort['state'] | undefined {
    return this.#ports.get(port)?.state;
  }

  views(now: Instant, placeOf: (address: Address) => string | undefined): DrainPortView[] {
    return [...this.#ports.values()].map((port) => port.view(now, placeOf));
  }

  memory(): Omit<DrainMemory, 'since'> {
    const ports = [...this.#ports.values()].map(({ port, state, reason }) => ({ port, state, reason }));
    return { phase: this.#phase, lowered: this.#lowered, ports };
  }

  // ---- orders

  #order(type: 'drain' | 'undrain', order: DrainOrder, now: Instant): void {
    const { ports, whole, ...settings } = order;
    this.#settings = settings;
    if (type === 'drain') {
      this.#queue = ports.filter((port) => this.state(port) !== 'shut');
      for (const port of this.#portsIn('open')) this.#ports.delete(port);
      for (const port of this.#queue) this.#ports.set(port, new DrainPort(port));
      if (whole && !this.#lowered) this.#prefer(true);
      this.#nextAt = now + (whole ? settings.pause : 0);
      this.#enter('draining', now, `draining ${this.#queue.join(' ')}`);
      return;
    }
    for (const port of this.#portsIn('waiting', 'kept', 'open')) {
      if (whole || ports.includes(port)) this.#ports.delete(port);
    }
    this.#queue = this.#portsIn('shut').filter((port) => whole || ports.includes(port));
    // Before a port opens: what is announced for its hosts has to be better than what the other switch says.
    if (this.#lowered) this.#prefer(false);
    this.#nextAt = now;
    this.#enter('undraining', now, `bringing back ${this.#queue.join(' ')}`);
  }

  #prefer(low: boolean): void {
    this.#lowered = low;
    this.#effects.push({ type: 'prefer', low });
  }

  #restore(memory: DrainMemory, at: Instant): void {
    this.#phase = memory.phase === 'draining' || memory.phase === 'undraining' ? 'partial' : memory.phase;
    this.#since = at;
    for (const { port, state, reason } of memory.ports) {
      const record = new DrainPort(port);
      record.state = state === 'moving' || state === 'waiting' ? 'kept' : state === 'returning' ? 'shut' : state;
      record.reason = record.state === state ? reason : 'the agent was restarted meanwhile';
      record.isOpen = record.state !== 'shut';
      this.#ports.set(port, record);
    }
    if (memory.lowered) this.#prefer(true);
  }

  // ---- what comes in

  #begun({ port: name, open, hosts }: Extract<DrainEvent, { type: 'begun' }>, now: Instant): void {
    const port = this.#current;
    if (port?.port !== name) return;
    port.isOpen = open;
    for (const host of hosts) port.hosts.set(host.address, new MovingHost(host, now));
  }

  #claim({ address, claimed }: Extract<DrainEvent, { type: 'claim' }>, now: Instant): void {
    const host = this.#current?.hosts.get(address);
    if (host && !host.gone) host.claimedAt = claimed ? (host.claimedAt ?? now) : undefined;
  }

  #port(name: string, open: boolean): void {
    const port = this.#ports.get(name);
    if (port) port.isOpen = open;
  }

  #trouble(name: string, reason: string, now: Instant): void {
    const port = this.#ports.get(name);
    if (!port || port.state === 'kept' || port.state === 'open' || port.state === 'waiting') return;
    const state = port.isOpen ? 'kept' : 'shut';
    if (port === this.#current) {
      this.#letGo(port);
      this.#finish(name, state, reason, now);
    } else {
      port.end(state, reason, now);
      if (this.#phase === 'drained') this.#enter('partial', now, `${name}: ${reason}`, 'warning');
    }
    if (state === 'kept') this.#effects.push({ type: 'free', port: name, reason });
  }

  // ---- what follows

  #goOn(now: Instant): void {
    if (this.#current?.state === 'moving') this.#move(this.#current, now);
    if (this.#current?.state === 'returning') this.#return(this.#current, now);
    if (this.#current) return;
    if (this.#pending) {
      const { type, order } = this.#pending;
      this.#pending = undefined;
      this.#order(type, order, now);
    }
    if (this.#phase !== 'draining' && this.#phase !== 'undraining') return;
    if (this.#queue.length === 0) this.#conclude(now);
    else if (this.#nextAt !== undefined && now >= this.#nextAt) this.#next(now);
  }

  #next(now: Instant): void {
    const port = this.#ports.get(this.#queue.shift()!)!;
    this.#nextAt = undefined;
    this.#current = port;
    this.#lookAt = now + LOOK;
    if (this.#phase === 'draining') {
      port.begin('moving', now);
      this.#effects.push({ type: 'begin', port: port.port, reason: 'drained' });
    } else {
      port.begin('returning', now);
      this.#effects.push({ type: 'reopen', port: port.port });
    }
  }

  #move(port: DrainPort, now: Instant): void {
    const elapsed = now - port.beganAt!;
    if (port.isOpen) {
      if (elapsed >= OPENING) this.#trouble(port.port, 'the kernel did not shut it', now);
      return;
    }
    const turned = port.unsettled().filter((host) => !host.unawaited && host.hasTurned(this.#lag, now));
    this.#leave(turned, true);
    this.#leave(
      port.unsettled().filter((host) => host.unawaited),
      false,
    );
    if (port.unsettled().length === 0) {
      this.#finish(port.port, 'shut', '', now);
      return;
    }
    const lonely = port.unclaimed();
    if (elapsed < this.#settings.timeout || lonely.length === 0) return;
    const who = lonely.map((host) => host.address);
    const reason = `no other path seen for ${some(who)} (${port.port})`;
    if (this.#settings.force) {
      this.#leave(port.unsettled(), false);
      this.#finish(port.port, 'shut', `${reason}; shut all the same`, now);
      return;
    }
    this.#news(port.port, 'warning', `${reason}: ${port.port} is opened again`);
    port.begin('returning', now);
    port.reason = reason;
    this.#effects.push({ type: 'reopen', port: port.port });
  }

  /** After an undrain, or because there is no other path (then `reason` says so). */
  #return(port: DrainPort, now: Instant): void {
    const elapsed = now - port.beganAt!;
    if (!port.isOpen) {
      if (elapsed >= OPENING) this.#trouble(port.port, port.reason || 'the kernel did not open it', now);
      return;
    }
    if (port.reason === '') {
      this.#finish(port.port, 'open', '', now);
      return;
    }
    this.#leave(
      port.unsettled().filter((host) => host.hasTurned(this.#lag, now)),
      true,
    );
    if (port.unsettled().length > 0 && elapsed < this.#settings.timeout) return;
    this.#letGo(port);
    this.#finish(port.port, 'kept', port.reason, now);
  }

  /** Nobody waits for them here any more. */
  #letGo(port: DrainPort | undefined): void {
    this.#leave(port?.unsettled() ?? [], false);
  }

  #leave(hosts: readonly MovingHost[], turned: boolean): void {
    if (hosts.length === 0) return;
    for (const host of hosts) host.gone = true;
    this.#effects.push({ type: 'left', addresses: hosts.map((host) => host.address), turned });
  }

  #finish(name: string, state: 'shut' | 'open' | 'kept', reason: string, now: Instant): void {
    const port = this.#ports.get(name);
    if (!port) return;
    port.end(state, reason, now);
    const { hosts, moved, ms } = port.view(now, () => undefined);
    const what = state === 'shut' ? 'drained' : state === 'open' ? 'open again' : 'not drained';
    const how = state === 'shut' ? `, ${moved} of ${hosts} hosts seen elsewhere` : '';
    const message = `${name} ${what}${how} after ${ms ?? 0} ms${reason === '' ? '' : `: ${reason}`}`;
    this.#news(name, reason === '' ? 'info' : 'warning', message);
    if (port !== this.#current) return;
    this.#current = undefined;
    this.#nextAt = now + this.#settings.pause;
  }

  #conclude(now: Instant): void {
    this.#nextAt = undefined;
    const ports = [...this.#ports.values()];
    if (this.#phase === 'undraining' && ports.every((port) => port.state === 'open')) {
      this.#enter('none', now, 'all ports carry their servers again');
      return;
    }
    const others = ports.filter((port) => port.state !== 'shut' && port.state !== 'open');
    const reasons = others.flatMap((port) => (port.state === 'kept' ? [`${port.port}: ${port.reason}`] : []));
    const waiting = others.filter((port) => port.state === 'waiting').map(({ port }) => port);
    if (waiting.length > 0) reasons.push(`not begun: ${waiting.join(' ')}`);
    const shut = this.shutPorts().join(' ');
    if (this.#phase === 'undraining') reasons.push(...(shut === '' ? [] : [`still shut: ${shut}`]));
    if (reasons.length === 0) this.#enter('drained', now, `${shut} shut`);
    else this.#enter('partial', now, reasons.join('; '), 'warning');
  }

  #enter(phase: DrainPhase, now: Instant, message: string, severity: 'info' | 'warning' = 'info'): void {
    this.#phase = phase;
    this.#since = now;
    this.#effects.push({ type: 'news', what: 'phase', severity, message });
  }

  #news(port: string, severity: 'info' | 'warning', message: string): void {
    this.#effects.push({ type: 'news', what: 'port', severity, message, port });
  }

  #portsIn(...states: DrainPort['state'][]): string[] {
    return [...this.#ports.values()].filter(({ state }) => states.includes(state)).map(({ port }) => port);
  }
}

function some(addresses: readonly string[]): string {
  const shown = addresses.slice(0, 5).join(' ');
  return addresses.length <= 5 ? shown : `${shown} and ${addresses.length - 5} more`;
}
