/*
 * Binds the drain's machine to the host table, the port-link groups, the speakers and the clock. Nothing here is in a
 * hurry: what must be quick happens in the host table and the groups.
 */

import { join } from 'node:path';
import type { TorConfig } from '../../../config/index.ts';
import type { HostRoutes } from '../../../hostroutes/index.ts';
import { type Address, familyOf } from '../../../model/address.ts';
import type { Clock, Instant, Timer } from '../../../model/clock.ts';
import type { ForeignClaim } from '../../../model/hosts.ts';
import type { Log } from '../../../model/log.ts';
import { isOpen, type LinkState, type PortChange } from '../../../model/ports.ts';
import { DRAIN } from '../../../portlink/index.ts';
import type { DrainPlan, DrainView, UndrainPlan } from '../../api.ts';
import type { EventLog, WallClock } from '../../events.ts';
import { memoryFile } from '../../memory-store.ts';
import type { Fabric } from '../fabric.ts';
import type { PortGroups } from '../port-groups.ts';
import type { Room, Surroundings } from '../surroundings.ts';
import { DrainMachine } from './machine.ts';
import { planDrain, planUndrain } from './plans.ts';
import { DrainStore } from './store.ts';
import type { DrainEffect, DrainEvent, DrainOrder, Sighting } from './types.ts';

/**
 * From the moment packets wait until the port is shut (ms): what is queued in the port still goes out, and a switch whose
 * hardware forwards has taken the route up.
 */
const BEFORE_SHUT = 50;
/** How often a fabric that is not ready yet is asked again (ms). */
const ASK_AGAIN = 200;

export interface DrainOptions {
  readonly clock: Clock;
  readonly wall: WallClock;
  readonly log: Log;
  readonly events: EventLog;
  readonly links: LinkState;
  readonly hosts: Pick<HostRoutes, 'hosts' | 'find' | 'leave' | 'left' | 'blockPorts'>;
  readonly groups: Pick<PortGroups, 'drain' | 'undrain' | 'keeperOf' | 'openerOf' | 'heirOf'>;
  readonly fabric: Pick<Fabric, 'leastPreferred' | 'readiness' | 'tells'>;
  /** Where packets wait; undefined: there is no such place. */
  readonly room: Pick<Room, 'waitingFor'> | undefined;
  config(): TorConfig;
  /** In a simulation, or a rehearsal, nothing is kept unless it says where. */
  readonly surroundings: Pick<Surroundings, 'wallClock' | 'drainMemory'> | undefined;
}

/**
 * How long after it shows another's claim a gateway uses it at the latest (ms). In BGP it shows what it has chosen; an LSA
 * it passes on before it computes with it, which BIRD does once a second.
 */
const lagOf = ({ ospf }: TorConfig): number => (ospf ? 1_200 : 100);

export class Drain {
  readonly #options: DrainOptions;
  readonly #machine: DrainMachine;
  readonly #store: DrainStore;
  readonly #wallClock: () => number;
  readonly #queue: DrainEvent[] = [];
  readonly #shutting = new Map<string, Timer>();
  #handling = false;
  #timer: Timer | undefined;
  #recovery: Timer | undefined;
  #reason = '';
  /** `since` of the machine, and the same as wall-clock time. */
  #since = { at: 0, wall: 0 };
  #started = false;
  #stopped = false;

  constructor(options: DrainOptions) {
    this.#options = options;
    const config = options.config();
    const { surroundings } = options;
    this.#wallClock = surroundings?.wallClock ?? Date.now;
    this.#machine = new DrainMachine({ lag: lagOf(config) });
    // A switch that loses power for planned work comes back drained.
    const file = () => memoryFile(join(config.stateDirectory, 'drain.json'), { synced: true });
    const store = surroundings ? surroundings.drainMemory : file();
    this.#store = new DrainStore({ store, log: options.log });
  }

  /** What an earlier life left: its preference is set, and these ports must be kept shut from the start. */
  restore(): string[] {
    const { clock, hosts } = this.#options;
    const memory = this.#store.load();
    if (!memory) return [];
    this.#handle({ type: 'restore', memory, at: clock.now() - (this.#wallClock() - memory.since) });
    const ports = this.#machine.shutPorts();
    if (ports.length > 0) hosts.blockPorts(ports, true, 'drained');
    this.#reason = `drained by an earlier run: ${ports.join(' ')}`;
    return ports;
  }

  /** The groups know their ports. */
  started(): void {
    this.#started = true;
    this.#recover();
  }

  /**
   * A port that the groups keep shut for us, and that is not to be drained (it was being shut when an earlier life ended, its
   * opening was refused, or its shutting came after all), is opened again, once its servers would find a way out, and
   * until that has come to pass.
   */
  #recover(): void {
    const { groups, fabric } = this.#options;
    this.#recovery?.cancel();
    if (!this.#started || this.#stopped) return;
    const stuck = this.#downlinks().filter((port) => groups.keeperOf(port) === DRAIN && !this.#isOpen(port));
    const unwanted = stuck.filter((port) => (this.#machine.state(port) ?? 'kept') === 'kept');
    // The groups let go of no port that has just been refused to them.
    const returning = stuck.filter((port) => this.#machine.state(port) === 'returning');
    if (unwanted.length + returning.length === 0) return;
    if (unwanted.length > 0 && fabric.readiness().ready) groups.undrain(unwanted);
    this.#recoverSoon();
    for (const port of returning) this.#reopen(port);
  }

  #recoverSoon(): void {
    const { clock } = this.#options;
    this.#recovery = clock.schedule(clock.now() + ASK_AGAIN, () => this.#recover());
  }

  #isOpen(port: string): boolean {
    const known = this.#options.links.port(port);
    return known !== undefined && isOpen(known);
  }

  drain(order: DrainOrder): void {
    this.#handle({ type: 'drain', order });
  }

  undrain(order: DrainOrder): void {
    this.#handle({ type: 'undrain', order });
  }

  /** Nothing is begun after the port that is under way. */
  halt(): void {
    this.#handle({ type: 'stop' });
  }

  claimed({ address, level }: ForeignClaim): void {
    if (this.#machine.phase === 'draining') this.#handle({ type: 'claim', address, claimed: level !== undefined });
  }

  portChanged({ name, after }: PortChange): void {
    if (this.#machine.state(name) !== undefined)
      this.#handle({ type: 'port', port: name, open: after !== undefined && isOpen(after) });
    else if (this.#options.groups.keeperOf(name) === DRAIN) this.#recover();
  }

  trouble(ports: readonly string[], reason: string): void {
    for (const port of ports) {
      this.#handle({ type: 'port', port, open: this.#isOpen(port) });
      this.#handle({ type: 'trouble', port, reason });
    }
  }

  close(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#recovery?.cancel();
    for (const timer of this.#shutting.values()) timer.cancel();
  }

  get active(): boolean {
    return this.#machine.phase !== 'none';
  }

  view(): DrainView {
    const { clock, wall, hosts } = this.#options;
    const { phase, since, lowered, settings } = this.#machine;
    const placeOf = (address: Address): string | undefined => {
      const host = hosts.find(address);
      return host && host.state !== 'gone' && host.state !== 'shadow' ? host.port : undefined;
    };
    return {
      phase,
      ...(phase === 'none' && since === 0 ? {} : { since: wall.iso(since) }),
      reason: this.#reason,
      preference: lowered ? 'lowered' : 'normal',
      settings: { pauseMs: settings.pause, timeoutMs: settings.timeout, force: settings.force },
      ports: this.#machine
        .views(clock.now(), placeOf)
        .map(({ ms, ...port }) => (ms === undefined ? port : { ...port, ms })),
    };
  }

  /** What `drain` would do. `warnings`: what else there is to say. */
  plan(order: DrainOrder, warnings: readonly string[]): DrainPlan {
    return planDrain(order, this.#options, warnings);
  }

  /** What `undrain` would do. */
  planBack(order: DrainOrder): UndrainPlan {
    const ports = this.#machine.shutPorts().filter((port) => order.whole || order.ports.includes(port));
    const underWay = this.#machine.shutPorts().find((port) => this.#machine.state(port) === 'moving');
    return planUndrain(ports, { ...this.#options, active: this.active, lowered: this.#machine.lowered, underWay });
  }

  /** Ports that can be drained: open ones, those that a group has shut, and those that it is about to open. */
  candidates(): string[] {
    const { links, groups } = this.#options;
    return this.#downlinks().filter((name) => {
      const port = links.port(name);
      const ours = groups.keeperOf(name) !== undefined || groups.openerOf(name) !== undefined;
      return port !== undefined && (isOpen(port) || ours);
    });
  }

  counters(): Record<string, number> {
    const { ports, phase, preference } = this.view();
    const count = (state: string) => ports.filter((port) => port.state === state).length;
    return {
      active: phase === 'none' ? 0 : 1,
      drained: phase === 'drained' ? 1 : 0,
      lowered: preference === 'lowered' ? 1 : 0,
      'ports.shut': count('shut'),
      'ports.moving': count('moving'),
      'ports.kept': count('kept'),
      'hosts.moved': ports.reduce((sum, port) => sum + port.moved, 0),
      'hosts.unmoved': ports.reduce((sum, port) => sum + port.unmoved.length, 0),
    };
  }

  #downlinks(): string[] {
    const { hostRoutes, portLink } = this.#options.config();
    return [...new Set([...hostRoutes.policy.ports, ...portLink.flatMap((group) => group.downlinks)])];
  }

  #handle(event: DrainEvent): void {
    if (this.#stopped) return;
    this.#queue.push(event);
    if (this.#handling) return;
    this.#handling = true;
    let claimsOnly = true;
    try {
      for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
        if (next.type !== 'claim') claimsOnly = false;
        const now = this.#options.clock.now();
        const effects = this.#machine.handle(next, now);
        // Before the first port is shut: a crash must not leave it unexplained.
        this.#save();
        for (const effect of effects) this.#perform(effect, now);
      }
    } finally {
      this.#handling = false;
    }
    this.#arm();
    // There may be thousands of claims, and they change nothing about ports.
    if (!claimsOnly) this.#recover();
  }

  #perform(effect: DrainEffect, now: Instant): void {
    const { hosts, events } = this.#options;
    switch (effect.type) {
      case 'prefer':
        this.#options.fabric.leastPreferred(effect.low);
        return;
      case 'begin':
        this.#begin(effect.port, effect.reason, now);
        return;
      case 'left':
        hosts.left(effect.addresses, effect.turned);
        return;
      case 'reopen':
        this.#reopen(effect.port);
        return;
      case 'free': {
        // Unless a group has shut it in the same turn: then it is closed to its servers by that.
        const keeper = this.#options.groups.keeperOf(effect.port);
        if (keeper === undefined || keeper === DRAIN) hosts.blockPorts([effect.port], false, effect.reason);
        return;
      }
      case 'news':
        if (effect.what === 'phase') this.#reason = effect.message;
        events.record({
          type: `drain.${effect.what}`,
          severity: effect.severity,
          message: effect.message,
          at: now,
          fields: { phase: this.#machine.phase, ...(effect.port === undefined ? {} : { port: effect.port }) },
        });
    }
  }

  #begin(port: string, reason: string, now: Instant): void {
    const { hosts, groups, links, clock, fabric } = this.#options;
    const known = links.port(port);
    const open = known !== undefined && isOpen(known);
    // Shut by a group, or about to be opened by it: from now on no group opens it.
    if (!open) groups.drain([port]);
    if (!open && groups.keeperOf(port) !== DRAIN) {
      this.#handle({ type: 'given', port, reason: known ? 'it was shut by somebody else' : 'there is no such port' });
      return;
    }
    const there = hosts.hosts().filter((host) => host.port === port);
    hosts.leave([port], reason, now);
    this.#handle({
      type: 'begun',
      port,
      open,
      hosts: there.map(({ address, rivals }) => {
        return { address, claimed: rivals.length > 0, told: fabric.tells(familyOf(address)) };
      }),
    });
    if (!open) return;
    const timer = clock.schedule(now + BEFORE_SHUT, () => {
      this.#shutting.delete(port);
      const state = this.#machine.state(port);
      // `shut`: somebody was faster; if it was a group, it must not open it.
      if (state !== 'moving' && state !== 'shut') return;
      // Where packets can't wait they are announced until now; as with any port of ours, the withdrawal goes first.
      hosts.blockPorts([port], true, reason);
      groups.drain([port]);
    });
    this.#shutting.set(port, timer);
  }

  #reopen(port: string): void {
    const { groups, links, hosts } = this.#options;
    const known = links.port(port);
    const open = known !== undefined && isOpen(known);
    const ours = groups.keeperOf(port) === DRAIN;
    if (ours) groups.undrain([port]);
    const keeper = groups.keeperOf(port);
    // Whoever opens it, servers may be learned there again.
    if (keeper === undefined) hosts.blockPorts([port], false, 'not drained any more');
    // Still ours: the groups are in the midst of something else, and release it after that.
    if (keeper !== undefined && keeper !== DRAIN) {
      this.#handle({ type: 'given', port, reason: `group ${keeper} keeps it shut` });
    } else if (open) this.#handle({ type: 'port', port, open });
    else if (!ours) {
      this.#handle({ type: 'given', port, reason: known ? 'it was shut by somebody else' : 'there is no such port' });
    }
  }

  #save(): void {
    const { clock } = this.#options;
    const at = this.#machine.since;
    if (this.#since.at !== at) this.#since = { at, wall: Math.round(this.#wallClock() - (clock.now() - at)) };
    this.#store.save({ ...this.#machine.memory(), since: this.#since.wall });
  }

  #arm(): void {
    const { clock } = this.#options;
    this.#timer?.cancel();
    const at = this.#stopped ? undefined : this.#machine.nextDeadline();
    this.#timer =
      at === undefined ? undefined : clock.schedule(at, () => this.#handle({ type: 'tick', seen: this.#look() }));
  }

  #look(): Map<Address, Sighting> {
    const { hosts, room } = this.#options;
    const seen = new Map<Address, Sighting>();
    for (const { address } of this.#machine.looksFor()) {
      const host = hosts.find(address);
      const port = host && host.state !== 'gone' && host.state !== 'shadow' ? host.port : undefined;
      seen.set(address, { waiting: room?.waitingFor?.(address) ?? 0, port });
    }
    return seen;
  }
}
