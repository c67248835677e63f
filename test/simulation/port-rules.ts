/**
 * What must hold of ports. The rules are worked out here from the groups' settings and from the cables as they are, not
 * from what the agent thinks of them; only what it has learned of the fabric is asked of it.
 */
import type { GroupView } from '../../src/agent/api.ts';
import { BOUNCE } from '../../src/portlink/index.ts';
import { isOn } from './box.ts';
import { type GroupSettings, levelOf, SLOTS, shutOn } from './scene.ts';
import type { Side } from './server.ts';
import type { Life } from './tor.ts';
import type { World } from './world.ts';

/** See invariants.ts. */
const SLACK = 2_500;
/** A port that has come back is shut for the crowd behind it, but not again for its having been opened. */
const MOST_BOUNCES = { count: 10, within: 10_000 } as const;

export class PortRules {
  readonly #world: World;
  /** Of the agent that is looked at. */
  #views: readonly GroupView[] = [];
  /** Port: nothing speaks for keeping it shut since. */
  readonly #free = new Map<string, number>();
  /** Port: its group must have it shut since. */
  readonly #due = new Map<string, number>();
  /** Port: it is shut, and the agent says that it isn't its doing, since. */
  readonly #unowned = new Map<string, number>();
  /** Group: its uplinks were shut by us, and are not counted as lost until. */
  readonly #grace = new Map<string, number>();
  /** Port: when it was shut for its crowd. */
  readonly #bounced = new Map<string, number[]>();

  constructor(world: World) {
    this.#world = world;
    world.onShut = (side, ports) => this.#reasons(side, ports);
    // Between two looks the reason can come and go again.
    world.uplinkListeners.push((side) => this.#anew(side));
    world.listeners.push((side, { type, message }) => {
      if (type === 'portlink.state' || type === 'config.changed') this.#anew(side);
      else if (type === 'upstream' && message.includes('not ready')) this.#anew(side);
    });
  }

  #anew(side: Side): void {
    for (const port of this.#free.keys()) if (port.startsWith(side)) this.#free.delete(port);
  }

  look(side: Side): void {
    const { tors, scene } = this.#world;
    const { life } = tors[side];
    const agent = life && !life.stopping ? life.agent : undefined;
    this.#views = agent?.groups.views() ?? [];
    for (const slot of [...SLOTS, ...scene.uplinks]) this.#ownership(side, slot, agent ? life : undefined);
    for (const slot of SLOTS) this.#groupOf(side, slot, agent ? life : undefined);
  }

  /**
   * A port is shut: by an operator, or by somebody that the agent knows: planned work, a group, or one that is gone while
   * the kernel refuses the opening. That it goes on asking is seen by its being `free`, below.
   */
  #ownership(side: Side, slot: number, life: Life | undefined): void {
    const world = this.#world;
    const now = world.clock.now();
    const port = world.port(side, slot);
    const ours = world.scene.uplinks.includes(slot)
      ? port.byAgent
      : life?.agent?.groups.keeperOf(port.name) !== undefined ||
        this.#views.some(({ downlinks }) => downlinks.some((each) => each.port === port.name && each.shutByUs));
    if (!life || port.adminUp || port.operator || ours || world.tors[side].sonic?.troubled()) {
      this.#unowned.delete(port.name);
      return;
    }
    const since = this.#unowned.get(port.name) ?? now;
    this.#unowned.set(port.name, since);
    if (now - since > SLACK) world.violation(`${port.name} is shut, and no group says why`);
  }

  #groupOf(side: Side, slot: number, life: Life | undefined): void {
    const world = this.#world;
    const now = world.clock.now();
    const port = world.port(side, slot);
    const settings = world.settings[side];
    const group = settings.groups.find(({ downlinks }) => downlinks.includes(slot));
    const view = group && this.#views.find(({ name }) => name === group.name);
    const troubled = world.tors[side].sonic?.troubled() === true;
    const startedUp =
      life !== undefined && now - life.bornAt > Math.max(settings.startupDelay, world.base.startupDelay);
    const acts =
      !troubled && view !== undefined && view.held === undefined && startedUp && settings.enabled && !group!.dryRun;
    if (!port.adminUp || !view || view.state === 'up') port.overridden = false;
    if (group?.uplinks.some((each) => world.port(side, each).byAgent))
      this.#grace.set(`${side} ${group.name}`, now + settings.recoveryDelay + SLACK);
    const grace = (this.#grace.get(`${side} ${group?.name}`) ?? 0) > now;

    const carriers = group?.uplinks.filter((each) => isOn(world.port(side, each))).length ?? 0;
    const due = acts && !grace && shutOn(group!, levelOf(group!, carriers)).has(slot);
    this.#count(this.#due, port.name, due && port.adminUp && !port.overridden && !port.operator);
    const late = now - (this.#due.get(port.name) ?? now);
    if (late > (group?.deferDelay ?? 0) + 2 * SLACK)
      world.violation(`${port.name} is open, and its group has had ${carriers} uplinks for ${late.toFixed(0)} ms`);

    const up =
      group?.uplinks.filter((each) => isOn(world.port(side, each)) && this.#holds(life, side, each)).length ?? 0;
    const free =
      life !== undefined &&
      startedUp &&
      !troubled &&
      view?.held === undefined &&
      !port.adminUp &&
      !port.operator &&
      !this.#isDrained(life, port.name) &&
      life.agent!.fabric.readiness().ready &&
      !(group && settings.enabled && shutOn(group, levelOf(group, up)).has(slot));
    this.#count(this.#free, port.name, free);
    const bound = Math.max(world.base.recoveryDelay, settings.recoveryDelay, 2_000) + 300 + 2 * SLACK;
    const waited = now - (this.#free.get(port.name) ?? now);
    if (waited > bound) world.violation(`${port.name} is still shut ${waited.toFixed(0)} ms after its reason has gone`);
  }

  #count(since: Map<string, number>, port: string, holds: boolean): void {
    if (!holds) since.delete(port);
    else if (!since.has(port)) since.set(port, this.#world.clock.now());
  }

  /** The conditions of an uplink beside its carrier, as the agent's own fabric has them. */
  #holds(life: Life | undefined, side: Side, slot: number): boolean {
    const fabric = life?.agent?.fabric;
    return this.#world.settings[side].upWhen.every((condition) => {
      if (condition === 'adjacency') return fabric?.adjacency(`${side}${slot}`).ready;
      if (condition === 'nexthop') return this.#reaches(side, slot);
      if (condition === 'default-route') return fabric?.defaultRoute(`${side}${slot}`).ready;
      return true;
    });
  }

  #reaches(side: Side, slot: number): boolean {
    const uplinks = this.#views.flatMap((view) => view.uplinks);
    const verdicts = uplinks.find(({ port }) => port === `${side}${slot}`)?.verdicts ?? [];
    return verdicts.some(({ condition, ok }) => condition === 'nexthop' && ok);
  }

  /** The agent is shutting ports now: each has its group's reason, as the agent sees the ports. */
  #reasons(side: Side, ports: readonly string[]): void {
    const world = this.#world;
    const { life } = world.tors[side];
    // At its start it may be told to keep them shut, and takes over what an earlier life had shut.
    if (!life?.agent || life.stopping) return;
    for (const name of ports) {
      const slot = Number(name.slice(1));
      const groups = world.settings[side].groups;
      if (this.#isDrained(life, name) || this.#isBounced(side, life, name)) continue;
      if (!groups.some((group) => this.#reason(side, life, group, slot)))
        world.violation(`${side} shuts ${name}, and no group has a reason`);
    }
  }

  /** Somebody asked for it, and has not asked for the contrary. */
  #isDrained({ agent }: Life, name: string): boolean {
    const state = agent!.drain.view().ports.find(({ port }) => port === name)?.state;
    return state === 'moving' || state === 'shut';
  }

  /** The settings want it shut for a crowd when it comes up, and it is not so again and again. */
  #isBounced(side: Side, life: Life, name: string): boolean {
    const { bounceFrom, returning } = this.#world.settings[side];
    if (life.agent!.groups.keeperOf(name) !== BOUNCE) return false;
    const now = this.#world.clock.now();
    const lately = (this.#bounced.get(name) ?? []).filter((at) => now - at < MOST_BOUNCES.within);
    this.#bounced.set(name, [...lately, now]);
    return bounceFrom !== undefined && returning !== 'never' && lately.length < MOST_BOUNCES.count;
  }

  #reason(side: Side, life: Life, group: GroupSettings, slot: number): boolean {
    const { upWhen, enabled } = this.#world.settings[side];
    const view = life.agent!.groups.view(group.name);
    if (!view || !enabled || group.dryRun) return false;
    const sees = (each: number): boolean => {
      const port = life.kernel.port(`${side}${each}`);
      return port?.adminUp === true && port.carrier;
    };
    if (group.downlinks.includes(slot)) {
      if (view.held === 'shut') return true;
      const up = group.uplinks.filter((each) =>
        upWhen.length === 1 ? sees(each) : view.uplinks.find(({ port }) => port === `${side}${each}`)?.up,
      );
      return shutOn(group, levelOf(group, up.length)).has(slot);
    }
    const mapped = group.uplinks.includes(slot) && group.direction !== 'uplink' && group.shutUplinks;
    return mapped && !group.downlinks.some(sees);
  }
}
