/**
 * Every way from the agent to its machine, by what can befall it there. The two tables below have an entry for each
 * member of the agent's faces: one that comes new does not compile until it is listed.
 */
import type { Surroundings, SwitchKernel } from '../../src/agent/tor/surroundings.ts';
import type { Random } from './random.ts';

/** `lost`: it is done, or was said, and nobody hears of it. `death`: the agent dies of it, before or after it is done. */
export type Fault = 'error' | 'delay' | 'lost' | 'death';

export const CALLS = {
  'ports: shut': ['error', 'delay', 'death'],
  'ports: open': ['error', 'delay', 'death'],
  'link notification': ['delay', 'lost'],
  'neighbour notification': ['delay', 'lost'],
  'fdb notification': ['delay', 'lost'],
  RTM_NEWROUTE: ['error', 'delay', 'death'],
  RTM_DELROUTE: ['error', 'delay', 'death'],
  RTM_NEWNEIGH: ['error', 'delay', 'death'],
  RTM_DELNEIGH: ['error', 'delay', 'death'],
  'unreachable route': ['error', 'delay', 'death'],
  'dump routes': ['error', 'delay', 'death'],
  'dump neighbours': ['error', 'delay', 'death'],
  'waiting room': ['error', 'delay', 'death'],
  'packet socket: open': ['error', 'death'],
  'packet socket: send': ['error', 'delay', 'lost', 'death'],
  'packet socket: receive': ['error', 'delay', 'lost'],
  'OSPF socket: open': ['error', 'death'],
  'OSPF socket: send': ['error', 'delay', 'lost', 'death'],
  'OSPF socket: receive': ['error', 'delay', 'lost'],
  'TCP: connect': ['error', 'delay', 'lost', 'death'],
  'TCP: write': ['delay', 'lost', 'death'],
  'Redis: connect': ['error'],
  'Redis: command': ['error', 'delay', 'death'],
  'Redis: notification': ['delay', 'lost'],
  'disk: intend': ['error', 'death'],
  'disk: save': ['error', 'delay', 'death'],
  'disk: memory read': ['error'],
  'disk: memory write': ['error', 'death'],
} as const satisfies Record<string, readonly Fault[]>;

export type Call = keyof typeof CALLS;

const ROUTES: readonly Call[] = [
  'RTM_NEWROUTE',
  'RTM_DELROUTE',
  'RTM_NEWNEIGH',
  'RTM_DELNEIGH',
  'unreachable route',
  'dump routes',
  'dump neighbours',
];
/** Answered out of what notifications have told. */
const MIRROR: readonly Call[] = ['link notification'];
/** Nothing that could fail, and nothing that an invariant hangs on. */
const NONE: readonly Call[] = [];

export const FACE: Record<keyof SwitchKernel, readonly Call[]> = {
  port: MIRROR,
  portByIndex: MIRROR,
  ports: MIRROR,
  onChange: MIRROR,
  setAdmin: ['ports: shut', 'ports: open', 'Redis: command'],
  watchCarriers: NONE,
  hostRoutes: ROUTES,
  learnedRoutes: ROUTES,
  counters: NONE,
  close: NONE,
  neighbours: ['neighbour notification'],
  fdb: ['fdb notification'],
  onBlind: ['Redis: connect', 'Redis: command', 'Redis: notification'],
  waitingRoom: ['waiting room'],
  fabricRules: NONE,
  contestedRules: NONE,
  shadowTable: NONE,
  removeShadows: NONE,
  isShut: NONE,
  repairPath: NONE,
  removeRepair: NONE,
  // Shut ports have no addresses to lose there.
  keepAddresses: NONE,
  // For agents on whose switch another daemon routes, which these have not.
  gatewaysVia: NONE,
  // Who is logged in: nobody is, there.
  logins: NONE,
  handoffTable: NONE,
  watchRoutes: NONE,
  // What an earlier configuration left in other tables: these have had no other.
  removeStrays: NONE,
  lldp: NONE,
};

export const MACHINE: Record<keyof Surroundings, readonly Call[]> = {
  transport: ['TCP: connect', 'TCP: write'],
  openPort: ['packet socket: open', 'packet socket: send', 'packet socket: receive'],
  openOspfSocket: ['OSPF socket: open', 'OSPF socket: send', 'OSPF socket: receive'],
  random: NONE,
  wallClock: NONE,
  portState: ['disk: intend', 'disk: save'],
  hostMemory: ['disk: memory read', 'disk: memory write'],
  ospfMemory: ['disk: memory read', 'disk: memory write'],
  drainMemory: ['disk: memory read', 'disk: memory write'],
  hopMemory: ['disk: memory read', 'disk: memory write'],
  // BFD is switched off in these stories: how often it speaks would leave time for little else.
  bfdSockets: NONE,
  bfdMemory: NONE,
};

/** How often each call was hit by each fault. */
export class Coverage {
  readonly counts = new Map<string, number>();

  hit(call: Call, fault: Fault): void {
    const key = `${call}: ${fault}`;
    this.counts.set(key, (this.counts.get(key) ?? 0) + 1);
  }

  add(other: Coverage): void {
    for (const [key, count] of other.counts) this.counts.set(key, (this.counts.get(key) ?? 0) + count);
  }

  missing(): string[] {
    return Object.entries(CALLS).flatMap(([call, faults]) =>
      faults.map((fault) => `${call}: ${fault}`).filter((key) => !this.counts.has(key)),
    );
  }

  lines(): string[] {
    return Object.entries(CALLS).map(
      ([call, faults]) =>
        `${call.padEnd(24)} ${faults.map((fault) => `${fault} ${this.counts.get(`${call}: ${fault}`) ?? 0}`).join(', ')}`,
    );
  }
}

/** How faulty the machine is now: probabilities. */
export interface Weather {
  error: number;
  delay: number;
  lostNotice: number;
  lostFrame: number;
  lostPacket: number;
}

const FINE: Weather = { error: 0, delay: 0.05, lostNotice: 0, lostFrame: 0, lostPacket: 0 };

/** What befalls the calls of one switch: by its weather, or, for tests of one fault, that one always and no other. */
export class Fate {
  only: { readonly call: Call; readonly fault: Fault } | undefined;
  readonly #random: Random;
  readonly #coverage: Coverage;
  #weather: Weather = FINE;

  constructor(random: Random, coverage: Coverage) {
    this.#random = random;
    this.#coverage = coverage;
  }

  get isFine(): boolean {
    return this.#weather.error === 0 && this.#weather.lostPacket === 0;
  }

  get refuses(): boolean {
    return this.#weather.error > 0;
  }

  change(weather: Partial<Weather>): void {
    this.#weather = { ...FINE, ...weather };
  }

  /** `share`: of its usual probability. */
  strikes(call: Call, fault: Exclude<Fault, 'death'>, share = 1): boolean {
    const struck = this.only ? this.#isOnly(call, fault) : this.#random.chance(this.#chanceOf(call, fault) * share);
    if (struck) this.struck(call, fault);
    return struck;
  }

  /** The agent is to die in this call. */
  kills(call: Call): boolean {
    return this.#isOnly(call, 'death');
  }

  struck(call: Call, fault: Fault): void {
    this.#coverage.hit(call, fault);
  }

  #isOnly(call: Call, fault: Fault): boolean {
    return this.only?.call === call && this.only.fault === fault;
  }

  #chanceOf(call: Call, fault: Fault): number {
    const { error, delay, lostNotice, lostFrame, lostPacket } = this.#weather;
    if (fault === 'error') return error;
    if (fault === 'delay') return delay;
    if (call.endsWith('notification')) return lostNotice;
    if (call.startsWith('Redis')) return lostNotice / 4;
    return call.startsWith('packet') ? lostFrame : lostPacket;
  }
}
