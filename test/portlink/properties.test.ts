import test from 'ava';
import fc from 'fast-check';
import type { PortLinkEffect, PortLinkEvent, PortLinkGroupConfig } from '../../src/portlink/index.ts';
import { PortLinkGroups } from '../../src/portlink/index.ts';
import { group } from './support.ts';

const UPLINKS = ['U0', 'U1'];
const DOWNLINKS = ['D0', 'D1', 'D2', 'D3'];
const STARTUP = 1000;
/** An operator keeps away from a port that we have just touched: who was last would be anybody's guess. */
const QUIET = 2000;

type Step =
  | { do: 'carrier'; port: string; on: boolean }
  | { do: 'operator'; port: string; up: boolean }
  | { do: 'upstream'; ready: boolean }
  | { do: 'hold'; group: number; state: 'open' | 'shut' | undefined }
  | { do: 'blind'; blind: boolean }
  | { do: 'wait'; ms: number }
  | { do: 'latency'; ms: number }
  | { do: 'refuse'; refuse: boolean }
  | { do: 'crash' };

interface KernelPort {
  adminUp: boolean;
  carrier: boolean;
  downBy: 'us' | 'operator' | undefined;
  touchedAt: number;
}

/** The kernel, the operator, and an agent whose view of both lags behind. Checks every effect as it comes. */
class World {
  now = 0;
  startedAt = 0;
  latency = 0;
  refuse = false;
  machine: PortLinkGroups;
  readonly configs: PortLinkGroupConfig[];
  readonly kernel = new Map<string, KernelPort>();
  #inFlight: { at: number; event: PortLinkEvent }[] = [];
  readonly holds = new Map<string, 'open' | 'shut'>();
  blind = false;
  readonly uplinkSeen = new Map<string, boolean>();
  readonly belowSince = new Map<string, number>();
  readonly someSince = new Map<string, number>();
  upstream = false;

  constructor(configs: PortLinkGroupConfig[]) {
    this.configs = configs;
    for (const port of [...UPLINKS, ...DOWNLINKS]) {
      this.kernel.set(port, { adminUp: true, carrier: true, downBy: undefined, touchedAt: -QUIET });
    }
    this.machine = new PortLinkGroups(configs, 0);
    this.#showAll();
  }

  step(step: Step): void {
    switch (step.do) {
      case 'carrier': {
        this.kernel.get(step.port)!.carrier = step.on;
        this.#notify(step.port);
        break;
      }
      case 'operator': {
        this.#flush(); // what would cross with the operator's command has arrived
        const port = this.kernel.get(step.port)!;
        if (this.now - port.touchedAt < QUIET || port.adminUp === step.up) break;
        port.adminUp = step.up;
        port.downBy = step.up ? undefined : 'operator';
        this.#notify(step.port);
        this.#flush();
        break;
      }
      case 'upstream':
        this.#send({ type: 'upstream', ready: step.ready, reason: '' });
        break;
      case 'hold': {
        const { name } = this.configs[step.group % this.configs.length]!;
        if (step.state) this.holds.set(name, step.state);
        else this.holds.delete(name);
        this.#send(step.state ? { type: 'hold', group: name, state: step.state } : { type: 'release', group: name });
        break;
      }
      case 'blind':
        this.blind = step.blind;
        this.#send({ type: 'blind', blind: step.blind, reason: 'resync' });
        break;
      case 'wait':
        this.wait(step.ms);
        break;
      case 'latency':
        this.latency = step.ms;
        break;
      case 'refuse':
        this.refuse = step.refuse;
        break;
      case 'crash': {
        const memory = this.machine.memory();
        this.#inFlight = [];
        this.blind = false;
        this.startedAt = this.now;
        this.uplinkSeen.clear();
        this.belowSince.clear();
        this.someSince.clear();
        this.upstream = false;
        this.machine = new PortLinkGroups(this.configs, this.now);
        this.#send({ type: 'restore', memory });
        this.#showAll();
        this.#send({ type: 'upstream', ready: true, reason: '' });
        break;
      }
    }
  }

  wait(ms: number): void {
    const end = this.now + ms;
    for (let turns = 0; ; turns++) {
      if (turns > 10_000) throw new Error('ticks without end');
      const tick = this.machine.nextDeadline() ?? Number.POSITIVE_INFINITY;
      const arrival = this.#inFlight[0]?.at ?? Number.POSITIVE_INFINITY;
      const next = Math.min(tick, arrival);
      if (next > end) break;
      this.now = Math.max(this.now, next);
      if (arrival <= tick) this.#send(this.#inFlight.shift()!.event);
      else this.#send({ type: 'tick' });
    }
    this.now = end;
  }

  #flush(): void {
    for (const { event } of this.#inFlight.splice(0)) this.#send(event);
  }

  #showAll(): void {
    for (const port of this.kernel.keys()) this.#send(this.#observation(port));
  }

  #observation(name: string): PortLinkEvent {
    const { adminUp, carrier } = this.kernel.get(name)!;
    return { type: 'port', port: name, adminUp, carrier: adminUp && carrier };
  }

  #arrive(event: PortLinkEvent): void {
    const at = Math.max(this.now + this.latency, this.#inFlight.at(-1)?.at ?? 0);
    this.#inFlight.push({ at, event });
  }

  #notify(name: string): void {
    const event = this.#observation(name);
    if (this.latency === 0 && this.#inFlight.length === 0) this.#send(event);
    else this.#arrive(event);
  }

  #send(event: PortLinkEvent): void {
    if (event.type === 'port' && UPLINKS.includes(event.port)) {
      this.uplinkSeen.set(event.port, event.adminUp && event.carrier);
    }
    if (event.type === 'upstream') this.upstream = event.ready;
    for (const { name, uplinks, minUplinks } of this.configs) {
      const some = uplinks.some((port) => this.uplinkSeen.get(port));
      if (some) this.someSince.set(name, this.someSince.get(name) ?? this.now);
      else this.someSince.delete(name);
      const below = uplinks.filter((port) => this.uplinkSeen.get(port)).length < minUplinks;
      if (below) this.belowSince.set(name, this.belowSince.get(name) ?? this.now);
      else this.belowSince.delete(name);
    }
    for (const effect of this.machine.handle(event, this.now)) this.#check(effect);
  }

  #check(effect: PortLinkEffect): void {
    const config = this.configs.find(({ name }) => name === effect.group)!;
    if (effect.type === 'withdraw' || effect.type === 'shut') {
      if (config.dryRun || !config.enabled) throw new Error(`${effect.type} by a group that must not act`);
      if (effect.ports.some((port) => !config.downlinks.includes(port))) throw new Error('a port of nobody');
      const below = this.belowSince.get(config.name);
      const lost = below !== undefined && below + config.deferDelay <= this.now;
      const acting = this.now >= this.startedAt + config.startupDelay && !this.blind && lost;
      const hold = this.holds.get(config.name);
      if (hold === 'open') throw new Error('shut while held open');
      if (hold !== 'shut' && !acting) throw new Error('shut without a reason');
    }
    if (effect.type !== 'shut' && effect.type !== 'open') return;
    if (effect.type === 'open' && this.holds.get(config.name) !== 'open') {
      const some = this.someSince.get(config.name);
      if (some === undefined || some + config.recoveryDelay > this.now) throw new Error('opened before recoveryDelay');
      if (!this.upstream) throw new Error('opened before the upstream was ready');
      if (this.blind) throw new Error('opened while blind');
      if (this.holds.get(config.name) === 'shut') throw new Error('opened while held shut');
    }
    const up = effect.type === 'open';
    for (const name of effect.ports) {
      const port = this.kernel.get(name)!;
      port.touchedAt = this.now;
      if (up && port.downBy === 'operator') throw new Error(`an operator's shut of ${name} was undone`);
      if (this.refuse || port.adminUp === up) continue;
      port.adminUp = up;
      port.downBy = up ? undefined : 'us';
      this.#arrive(this.#observation(name));
    }
    if (this.refuse) {
      this.#arrive({ type: up ? 'openFailed' : 'shutFailed', ports: effect.ports, reason: 'refused' });
    } else {
      this.#arrive({ type: up ? 'openDone' : 'shutDone', ports: effect.ports });
    }
  }
}

const port = fc.constantFrom(...UPLINKS, ...DOWNLINKS);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('carrier' as const), port: fc.constantFrom(...UPLINKS), on: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('carrier' as const), port, on: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('operator' as const), port, up: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('upstream' as const), ready: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('hold' as const),
      group: fc.nat(1),
      state: fc.constantFrom('open' as const, 'shut' as const, undefined),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('blind' as const), blind: fc.boolean() }) },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(0, 1, 50, 100, 700, 3000) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('latency' as const), ms: fc.constantFrom(0, 5, 200, 450) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('refuse' as const), refuse: fc.boolean() }) },
  { weight: 1, arbitrary: fc.constant({ do: 'crash' as const }) },
);

const config = (name: string, uplinks: string[], downlinks: string[]) =>
  fc
    .record({
      minUplinks: fc.integer({ min: 1, max: uplinks.length }),
      shut: fc.constantFrom('all' as const, { count: 1 }, { percent: 50 }),
      priority: fc.constantFrom([], [downlinks[1]!]),
      deferDelay: fc.constantFrom(0, 60),
      recoveryDelay: fc.constantFrom(0, 1, 400),
    })
    .map((some) => group({ name, uplinks, downlinks, startupDelay: STARTUP, ...some }));

const configs = fc.tuple(config('left', ['U0', 'U1'], ['D0', 'D1']), config('right', ['U1'], ['D2', 'D3']));

test('whatever happens: no shut without its reason, no operator undone, and all open again once all is well', (t) => {
  fc.assert(
    fc.property(configs, fc.array(step, { minLength: 1, maxLength: 60 }), (groups, steps) => {
      const world = new World(groups);
      for (const one of steps) world.step(one);
      world.step({ do: 'refuse', refuse: false });
      for (const name of UPLINKS) {
        world.wait(QUIET);
        world.step({ do: 'operator', port: name, up: true });
        world.step({ do: 'carrier', port: name, on: true });
      }
      world.step({ do: 'blind', blind: false });
      world.step({ do: 'hold', group: 0, state: undefined });
      world.step({ do: 'hold', group: 1, state: undefined });
      world.step({ do: 'upstream', ready: true });
      world.wait(60_000);
      for (const [name, { adminUp, downBy }] of world.kernel) {
        if (!adminUp && downBy !== 'operator') throw new Error(`${name} was left shut`);
      }
      const left = world.machine.memory().ports;
      if (left.length > 0) throw new Error(`still remembered: ${left.map((one) => one.port).join()}`);
      for (const view of world.machine.views())
        if (view.state !== 'up') throw new Error(`${view.name} is ${view.state}`);
      if (world.machine.nextDeadline() !== undefined) throw new Error('ticks for ever');
    }),
    { numRuns: 2000 },
  );
  t.pass();
});

test('whatever happened: with no uplink left, every downlink that nobody opened against us ends shut', (t) => {
  fc.assert(
    fc.property(configs, fc.array(step, { maxLength: 40 }), (groups, steps) => {
      const world = new World(groups);
      for (const one of steps) world.step(one);
      // All well first, so that no old quarrel with an operator is left.
      world.step({ do: 'refuse', refuse: false });
      for (const name of UPLINKS) {
        world.wait(QUIET);
        world.step({ do: 'operator', port: name, up: true });
        world.step({ do: 'carrier', port: name, on: true });
      }
      world.step({ do: 'blind', blind: false });
      world.step({ do: 'hold', group: 0, state: undefined });
      world.step({ do: 'hold', group: 1, state: undefined });
      world.step({ do: 'upstream', ready: true });
      world.wait(60_000);
      for (const name of UPLINKS) world.step({ do: 'carrier', port: name, on: false });
      world.wait(60_000);
      for (const name of DOWNLINKS) if (world.kernel.get(name)!.adminUp) throw new Error(`${name} is open`);
    }),
    { numRuns: 500 },
  );
  t.pass();
});

test('dryRun and disabled: never a shut or a withdrawal, whatever happens', (t) => {
  fc.assert(
    fc.property(configs, fc.array(step, { maxLength: 60 }), ([left, right], steps) => {
      // World throws on any shut or withdrawal by these groups.
      const world = new World([
        { ...left, dryRun: true },
        { ...right, enabled: false },
      ]);
      for (const one of steps) world.step(one);
      world.wait(60_000);
      for (const { adminUp, downBy } of world.kernel.values()) {
        if (!adminUp && downBy === 'us') throw new Error('shut after all');
      }
    }),
    { numRuns: 500 },
  );
  t.pass();
});
