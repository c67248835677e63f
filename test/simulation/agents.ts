/** How agents begin and end: started, killed at any instant, stopped, without power, told to read their file again. */
import type { Surroundings, SwitchKernel } from '../../src/agent/tor/surroundings.ts';
import { TorSwitch } from '../../src/agent/tor/switch.ts';
import type { Loaded, TorConfig } from '../../src/config/index.ts';
import { formatProblem, parseConfig } from '../../src/config/index.ts';
import type { Address } from '../../src/model/address.ts';
import type { Log } from '../../src/model/log.ts';
import { SonicPorts } from '../../src/portlink/drivers/sonic/ports.ts';
import type { Call } from './calls.ts';
import { LifeClock } from './clock.ts';
import type { DiskUser } from './disk.ts';
import { KernelFace } from './face.ts';
import { configText, type Settings, SLOTS } from './scene.ts';
import type { Side } from './server.ts';
import { sonicKernel } from './sonic-kernel.ts';
import type { Life, Tor } from './tor.ts';
import type { World } from './world.ts';

const EPOCH = 1_700_000_000_000;
/** What an agent may say at level error when its machine fails it, and not otherwise. */
const EXCUSED = [
  'no packet socket on this port',
  'no packet socket on this uplink',
  'what is known of a drain can not be used',
  'the drain is not remembered',
  'OSPF cannot open its socket',
  'shutting ports without a record on disk',
  'the state was not saved',
  'the memory of hosts was not saved',
  'the memory of OSPF adjacencies',
  'next hops that were alive are not saved',
];

export class Agents {
  readonly #world: World;
  readonly #configs = new Map<string, Loaded & { config: TorConfig }>();

  constructor(world: World) {
    this.#world = world;
  }

  config(side: Side): Loaded & { config: TorConfig } {
    const text = configText(side, this.#world.scene, this.#world.settings[side]);
    const known = this.#configs.get(text);
    if (known) return known;
    const loaded = parseConfig(text, 'simulated.yaml');
    if (!loaded.ok) throw new Error(loaded.problems.map(formatProblem).join('\n'));
    if (loaded.config.role !== 'tor') throw new Error('no switch');
    const config = { ...loaded, config: loaded.config };
    this.#configs.set(text, config);
    return config;
  }

  start(side: Side, holdAtBoot = false): void {
    const world = this.#world;
    const tor = world.tors[side];
    if (tor.life || !tor.powered) return;
    const clock = new LifeClock(world.clock);
    const enter = (call: Call): void => this.#enter(tor, clock, call);
    const user: DiskUser = { clock, random: world.random, fate: tor.fate, enter };
    const face = new KernelFace({
      ...user,
      box: tor.box,
      shuts: (ports) => world.onShut(side, ports),
      transmit: (port, frame) => world.fromSwitch(side, port, frame),
      routesChanged: () => world.clock.after(0.01, () => world.traffic()),
      story: (what) => world.story(what),
      violation: (what) => world.violation(what),
    });
    const bornAt = world.clock.now();
    const life: Life = { clock, face, kernel: face, agent: undefined, bornAt, heldAtBoot: holdAtBoot, stopping: false };
    tor.life = life;
    world.story(`${side} agent starts${holdAtBoot ? ', ports held' : ''}`);
    const loaded = this.config(side);
    const surroundings: Surroundings = {
      transport: world.tcp.transport(
        (peer) => world.links.find((link) => link.peer === peer)!.local as Address,
        world.linksOf(side).map(({ local }) => local as Address),
        { alive: () => !clock.dead, enter, fate: tor.fate },
      ),
      openPort: face.openPort,
      openOspfSocket: world.gateway.wire.sockets(clock, enter),
      random: world.random.next,
      wallClock: () => EPOCH + world.clock.now(),
      portState: tor.disk.portState(user),
      hostMemory: tor.disk.memory(user, 'hosts'),
      ospfMemory: tor.disk.adjacencies(user),
      drainMemory: tor.disk.memory(user, 'drain'),
      hopMemory: tor.disk.memory(user, 'hops'),
    };
    const log = this.#log(side, clock);
    this.#open(tor, life, user, log)
      .then((kernel) => TorSwitch.start({ loaded, clock, log, kernel, holdAtBoot, surroundings }))
      .then(
        (agent) => {
          if (clock.dead) return;
          life.agent = agent;
          if (this.config(side) !== loaded) agent.reload(this.config(side));
          agent.events.follow((event) => {
            world.remember(`${side} ${event.monotonicUs} ${event.type} ${event.message}`);
            if (!clock.dead) for (const listener of world.listeners) listener(side, event);
          });
        },
        (error: Error) => {
          if (clock.dead) return;
          world.story(`${side} agent can not start: ${error.message}`);
          this.crash(side);
          world.clock.after(1_000, () => this.start(side, holdAtBoot));
        },
      );
  }

  async #open({ side, sonic }: Tor, life: Life, user: DiskUser, log: Log): Promise<SwitchKernel> {
    const { face, clock } = life;
    if (!sonic) return face;
    const makeClient = sonic.redis.clients(user);
    const ports = await SonicPorts.open({ beneath: face, clock, log, makeClient });
    life.kernel = sonicKernel(face, ports, (names, up) => {
      this.#world.story(`${side} asks SONiC to ${up ? 'open' : 'shut'} ${names.join(' ')}`);
      if (!up) this.#world.onShut(side, names);
    });
    return life.kernel;
  }

  #enter(tor: Tor, clock: LifeClock, call: Call): void {
    if (clock.dead) return;
    if (!tor.fate.kills(call) && (tor.doom === undefined || --tor.doom > 0)) return;
    tor.doom = undefined;
    tor.fate.struck(call, 'death');
    this.#world.story(`${tor.side} agent dies in ${call}`);
    this.crash(tor.side);
    this.#world.clock.after(this.#world.random.between(50, 4_000), () => this.start(tor.side));
  }

  /** SIGKILL: no word, no file, no timer. */
  crash(side: Side): void {
    const { tors, tcp } = this.#world;
    const tor = tors[side];
    if (!tor.life) return;
    this.#world.story(`${side} agent dies`);
    tor.life.face.close();
    tor.life = undefined;
    for (const { local } of this.#world.linksOf(side)) tcp.died(local as Address);
    // Shut while the disk was full: nobody can tell any more who did it.
    for (const name of tor.disk.unrecorded) {
      const port = tor.box.ports.get(name);
      if (port && !port.adminUp && !tor.disk.shutPorts.includes(name)) port.operator = true;
    }
    tor.disk.unrecorded.clear();
  }

  /** SIGTERM, and started again. */
  restart(side: Side): void {
    const world = this.#world;
    const tor = world.tors[side];
    const { life } = tor;
    if (!life?.agent || life.stopping) return;
    life.stopping = true;
    world.story(`${side} agent stops`);
    const over = (error?: Error): void => {
      if (error) world.story(`${side} agent could not leave cleanly: ${error.message}`);
      if (tor.life !== life) return;
      this.crash(side);
      world.clock.after(world.random.between(10, 1_000), () => this.start(side));
    };
    life.agent.stop().then(() => over(), over);
  }

  /** The whole switch is dark; its kernel forgets everything. */
  powerOff(side: Side): void {
    const world = this.#world;
    const tor = world.tors[side];
    if (!tor.powered) return;
    this.crash(side);
    world.story(`${side} loses power`);
    tor.powered = false;
    for (const slot of [...world.scene.uplinks, ...SLOTS]) world.cable(side, slot, 'power', true);
    tor.box.removePort('plhold0');
    tor.box.routes.clear();
    tor.box.backups.lost();
    tor.box.shadows.clear();
    tor.box.neighbours.clear();
    tor.box.fdb.clear();
  }

  powerOn(side: Side): void {
    const world = this.#world;
    const tor = world.tors[side];
    if (tor.powered) return;
    world.story(`${side} boots`);
    tor.powered = true;
    tor.disk.boots++;
    tor.sonic?.boot();
    for (const slot of [...world.scene.uplinks, ...SLOTS]) {
      const port = world.port(side, slot);
      port.operator = false;
      tor.box.setAdmin(port, true);
      world.cable(side, slot, 'power', false);
    }
    this.start(side, world.random.chance(0.7));
  }

  reload(side: Side, change: Partial<Settings>): void {
    const world = this.#world;
    world.settings[side] = { ...world.settings[side], ...change };
    const { life } = world.tors[side];
    world.story(`${side} is configured: ${JSON.stringify(change)}`);
    if (life?.agent && !life.stopping) life.agent.reload(this.config(side));
  }

  #log(side: Side, clock: LifeClock): Log {
    const quiet = (): void => {};
    const world = this.#world;
    return {
      debug: quiet,
      info: quiet,
      warn: quiet,
      error: (fields, message) => {
        const event = (fields as { event?: string }).event;
        if (clock.dead || event === 'agent.error' || event === 'kernel.error') return;
        if (EXCUSED.some((each) => message?.includes(each))) {
          world.remember(`${side} ${message}`);
          return;
        }
        const error = (fields as { err?: Error }).err;
        world.violation(`${side} logs an error: ${message} ${error?.stack ?? JSON.stringify(fields)}`);
      },
    };
  }
}
