/*
 * Random stories for two ends: rotations that reach one end or both, keys that come round again, restarts of agents and of workers,
 * a network that loses, doubles, delays and cuts, an attacker who replays and forges. At the end the versions meet, packets flow one way or both,
 * and both ends must be `valid` and lose nothing more.
 *
 * `node --conditions=source test/vswitch/encryption/schedules.ts --seeds 100000 [--seed FIRST]` plays many; one seed, one story.
 */
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import type { Policy } from '../../../src/vswitch-bridge/encryption/machine/settings.ts';
import { type Key, key, type Name, type Packet, type Protocol, seeded, World } from './world.ts';

const POLICIES: readonly Policy[] = ['available', 'overlap', 'strict'];
/** Versions meet and packets flow: `valid` on both ends within, ms. */
const AGREEMENT = 500;

export interface Outcome {
  readonly policy: Policy;
  readonly rotations: number;
  readonly restarts: number;
  /** Data packets by form, and control packets. */
  readonly packets: Readonly<Record<Packet['form'], number>>;
  /** Way from the versions' meeting to `valid` on both ends, ms. */
  readonly agreedAfter: number;
}

class Story {
  readonly random: () => number;
  readonly world: World;
  readonly policy: Policy;
  rotations = 0;
  restarts = 0;
  #issued: Key | undefined;
  #version = 0;
  readonly #loss: number;
  readonly #double: number;
  readonly #spread: number;
  readonly #attacker: boolean;
  #cut: Record<Name, boolean> = { a: false, b: false };
  #calm = false;

  constructor(seed: number) {
    this.random = seeded(seed);
    this.policy = this.pick(POLICIES);
    this.#loss = this.random() < 0.3 ? 0 : this.random() * 0.4;
    this.#double = this.random() * 0.2;
    this.#spread = this.random() * 40;
    this.#attacker = this.random() < 0.3;
    this.world = new World({ settings: { policy: this.policy }, random: this.random, network: this.network });
  }

  readonly network = (from: Name): number[] => {
    if (this.#calm) return [0.5];
    if (this.#cut[from] || this.random() < this.#loss) return [];
    const delay = () => 0.2 + this.random() * this.#spread;
    return this.random() < this.#double ? [delay(), delay() + 100 * this.random()] : [delay()];
  };

  pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.random() * items.length)]!;
  }

  /** The controller's next key: versions come round again after three, now and then with the very same octets. */
  issue(): Key {
    this.#version = (this.#version % 3) + 1;
    this.#issued = key(this.#version, Math.floor(this.random() * 6));
    this.rotations++;
    return this.#issued;
  }

  play(): number {
    const { world } = this;
    const first = this.issue();
    if (this.random() < 0.9) world.a.setKeys([first]);
    else world.a.setKeys([]);
    if (this.random() < 0.9) world.b.setKeys([first]);
    else world.b.setKeys([]);
    for (let step = 0, steps = 3 + this.random() * 15; step < steps; step++) {
      this.act();
      world.run(world.now + this.random() ** 2 * 400);
    }
    return this.meet();
  }

  act(): void {
    const { world } = this;
    const end = world[this.pick(['a', 'b'] as const)];
    const dice = this.random();
    if (dice < 0.2) end.rotate(this.issue());
    else if (dice < 0.35) {
      const next = this.issue();
      world.a.rotate(next);
      world.at(world.now + this.random() * 50, () => world.b.rotate(next));
    } else if (dice < 0.4 && this.#issued) end.rotate(this.#issued);
    else if (dice < 0.43) end.setKeys(end.keys.slice(1));
    else if (dice < 0.45) end.setKeys([]);
    else if (dice < 0.53) {
      this.restarts++;
      end.restart();
    } else if (dice < 0.6) {
      this.restarts++;
      end.restartAgent();
    } else if (dice < 0.68) this.#cut[end.name] = !this.#cut[end.name];
    else if (dice < 0.75 && this.#attacker) this.attack();
    else {
      const protocol: Protocol = this.pick(['tcp', 'udp']);
      world.flow(end.name, protocol, 1 + this.random() * 30, 1 + Math.floor(this.random() * 12));
    }
  }

  attack(): void {
    const { world } = this;
    for (let count = 0; count < 5; count++) {
      const to = world[this.pick(['a', 'b'] as const)];
      const recorded = world.capture.length > 0 ? this.pick(world.capture) : undefined;
      if (recorded && this.random() < 0.6) {
        to.receive(recorded.packet);
        continue;
      }
      const id = { version: Math.floor(this.random() * 4), fp12: Math.floor(this.random() * 4096) };
      const off = this.random() < 0.5;
      const fake = { id, payload: -1, protocol: 'udp' as const };
      if (this.random() < 0.5) to.receive({ form: 'plain', off, ...fake });
      else to.receive({ form: 'encrypted', traffic: 'forged', sequence: 1, ...fake });
    }
  }

  /** ms until both ends are `valid`. */
  meet(): number {
    const { world } = this;
    // What the controller has sent arrives.
    world.run(world.now + 50);
    this.#calm = true;
    const flows = this.pick([['a'], ['b'], ['a', 'b']] as const);
    const [ahead, behind] = this.random() < 0.5 ? [world.a, world.b] : [world.b, world.a];
    if (ahead.keys[0] && this.random() < 0.5) behind.rotate(ahead.keys[0]);
    else {
      const next = this.issue();
      ahead.rotate(next);
      behind.rotate(next);
    }
    const since = world.now;
    for (const name of flows) world.flow(name, this.pick(['tcp', 'udp']), 5, AGREEMENT / 5, 1000);
    let agreed: number | undefined;
    while (world.now < since + AGREEMENT) {
      world.run(world.now + 1);
      const valid = [world.a, world.b].every(({ machine, mode }) => machine.state === 'valid' && mode === 'encrypt');
      agreed = valid ? (agreed ?? world.now) : undefined;
    }
    if (agreed === undefined) {
      const { a, b } = world;
      throw new Error(`not agreed: a ${a.machine.state} ${a.mode}, b ${b.machine.state} ${b.mode}, flows ${flows}`);
    }
    this.#steady();
    return agreed - since;
  }

  /** Nothing is lost, nothing is plain, and the ends have nothing more to talk about. */
  #steady(): void {
    const { world } = this;
    // Packets of before may still be under way, and cause a question or two.
    world.run(world.now + 3000);
    const packets = world.capture.length;
    world.flow('a', 'udp', 10, 20, 5000);
    world.flow('b', 'tcp', 10, 20, 5000);
    world.run(world.now + 1000);
    for (const end of [world.a, world.b]) {
      const got = end.delivered.filter(({ payload }) => payload >= 5000 && payload < 5020);
      if (got.length !== 20 || got.some(({ form }) => form !== 'encrypted')) {
        throw new Error(`${end.name} got ${got.length} of 20 packets, ${got.map(({ form }) => form)}`);
      }
      if (end.delivered.some(({ payload }) => payload === -1) && this.policy !== 'available')
        throw new Error('forged data');
    }
    const said = world.capture.slice(packets).filter(({ packet }) => packet.form === 'control').length;
    if (said > 0) throw new Error(`${said} control packets where nothing is to be said`);
  }
}

/** @throws Error when an invariant does not hold: the message says which */
export function play(seed: number): Outcome {
  const story = new Story(seed);
  const agreedAfter = story.play();
  const packets = { encrypted: 0, plain: 0, control: 0 };
  for (const { packet } of story.world.capture) packets[packet.form]++;
  return { policy: story.policy, rotations: story.rotations, restarts: story.restarts, packets, agreedAfter };
}

function main(): void {
  const { values } = parseArgs({ options: { seeds: { type: 'string' }, seed: { type: 'string' } } });
  const count = Number(values.seeds ?? 1000);
  const first = Number(values.seed ?? 1);
  const total = { schedules: 0, rotations: 0, restarts: 0, encrypted: 0, plain: 0, control: 0, slowest: 0 };
  const failed: number[] = [];
  for (let seed = first; seed < first + count; seed++) {
    try {
      const { rotations, restarts, packets, agreedAfter } = play(seed);
      total.schedules++;
      total.rotations += rotations;
      total.restarts += restarts;
      total.encrypted += packets.encrypted;
      total.plain += packets.plain;
      total.control += packets.control;
      total.slowest = Math.max(total.slowest, agreedAfter);
    } catch (error) {
      failed.push(seed);
      if (failed.length <= 10) console.error(`seed ${seed}: ${(error as Error).message}`);
    }
  }
  console.log(JSON.stringify({ ...total, failed: failed.length }));
  if (failed.length > 0) process.exitCode = 1;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) main();
