/**
 * The whole agent under 10,000 hosts on 48 ports, of which 2 % flap every second: what it costs in processor and memory,
 * and what the fabric hears of it. Nobody else does this job, so there is no peer; what counts is that a minute is like
 * the one before.
 *
 * The ways to flap, in turn second by second (`--flap` chooses one):
 * - `port`: one port loses its carrier for 300 ms, its ~208 hosts speak when it is back (a hypervisor's link flaps);
 * - `move`: 200 hosts speak on another port, as virtual machines that are moved;
 * - `silent`: 200 hosts answer nothing for 10 s, then speak again on their port (a server hangs, and starts again).
 */
import { sleep, waitUntil } from '../../lab/processes.ts';
import type { BenchOptions } from '../options.ts';
import { type Report, row } from '../report.ts';
import { ScaleBed } from './bed.ts';

const PORTS = 48;
const HOSTS = 10_000;
const FLAPPING = HOSTS / 50;
const CARRIER_OFF = 300;
const SILENCE = 10;

type Flap = 'port' | 'move' | 'silent';
const FLAPS: readonly Flap[] = ['port', 'move', 'silent'];

interface Minute {
  readonly cpu: number;
  /** Of `cpu`, what the kernel did for the agent: system calls, and on veths also the way of its frames to the servers. */
  readonly system: number;
  readonly resident: number;
  readonly heap: number;
  readonly announced: number;
  readonly withdrawn: number;
  readonly updates: number;
  readonly hosts: number;
}

export async function endurance(options: BenchOptions): Promise<Report> {
  const minutes = options.runs ?? 10;
  const bed = await ScaleBed.open({ ...options, protocol: 'both', ports: PORTS, hosts: HOSTS });
  const measured: Minute[] = [];
  let idle: Minute;
  let unwell: string[] = [];
  try {
    const world = new World(bed, options.flap === undefined ? FLAPS : [options.flap]);
    options.onProgress(`endurance: ${HOSTS} hosts on ${PORTS} ports come`);
    await world.fill();
    idle = await world.measure(30, false);
    options.onProgress(`  at rest:   ${describe(idle)}`);
    for (let minute = 1; minute <= minutes; minute++) {
      const found = await world.measure(60, true);
      measured.push(found);
      options.onProgress(`  minute ${String(minute).padStart(2)}: ${describe(found)}`);
    }
    unwell = await world.settle();
  } finally {
    await bed.close();
  }
  const values = (pick: (minute: Minute) => number) => measured.map(pick);
  return {
    name: 'endurance',
    measures: `${HOSTS} hosts on ${PORTS} ports, ${FLAPPING} of them flapping each second; BGP and OSPF to one gateway`,
    command: `./run bench endurance --runs ${minutes}${options.flap ? ` --flap ${options.flap}` : ''}`,
    rows: [
      ...row('processor at rest', '% of a core', [idle.cpu]),
      ...row(
        'processor while they flap, by minute',
        '% of a core',
        values(({ cpu }) => cpu),
      ),
      ...row(
        'resident memory, end of each minute',
        'MiB',
        values(({ resident }) => resident),
      ),
      ...row(
        'heap in use, end of each minute',
        'MiB',
        values(({ heap }) => heap),
      ),
      ...row(
        'hosts announced to the gateway',
        '1/s',
        values(({ announced }) => announced),
      ),
      ...row(
        'hosts withdrawn from the gateway',
        '1/s',
        values(({ withdrawn }) => withdrawn),
      ),
      ...row(
        'OSPF and BGP packets with updates',
        '1/s',
        values(({ updates }) => updates),
      ),
      ...row(
        'hosts in the table',
        'hosts',
        values(({ hosts }) => hosts),
      ),
    ],
    notes: [
      'hosts announced and withdrawn: on both links and in both protocols, so four times what changed in the table',
      ...(options.flap === undefined ? [`flaps in turn, a second each: ${FLAPS.join(', ')}`] : []),
      ...unwell,
    ],
  };
}

const describe = ({ cpu, system, resident, heap, announced, withdrawn, updates, hosts }: Minute): string =>
  `${cpu.toFixed(1)} % of a core (${system.toFixed(1)} in the kernel), RSS ${resident.toFixed(0)} MiB, heap ${heap.toFixed(0)} MiB, ` +
  `+${announced.toFixed(0)} -${withdrawn.toFixed(0)} hosts/s at G, ${updates.toFixed(0)} updates/s, ` +
  `${hosts} hosts in the table`;

/** Who lives where, and what happens to them. */
class World {
  readonly #bed: ScaleBed;
  readonly #flaps: readonly Flap[];
  readonly #portOf = Array.from({ length: HOSTS }, (_, host) => host % PORTS);
  /** The second in which a silent host speaks again. */
  readonly #silentUntil = new Map<number, number>();
  #second = 0;
  #announced = 0;
  #withdrawn = 0;

  constructor(bed: ScaleBed, flaps: readonly Flap[]) {
    this.#bed = bed;
    this.#flaps = flaps;
    bed.onSighting(({ kind }) => {
      if (kind === 'announce') this.#announced++;
      else this.#withdrawn++;
    });
  }

  async fill(): Promise<void> {
    await this.#bed.ready();
    await this.#bed.place(this.#portOf.map((port, host) => [host, port]));
    if (!(await this.#all())) throw new Error(`the hosts were not learned: see ${this.#bed.directory}`);
    await sleep(15_000);
  }

  async measure(seconds: number, flapping: boolean): Promise<Minute> {
    const before = this.#bed.usage();
    const start = performance.now();
    const [announced, withdrawn] = [this.#announced, this.#withdrawn];
    const updates = updatesOf(await this.#bed.counters());
    for (let second = 1; second <= seconds; second++) {
      if (flapping) await this.#flap();
      await sleep(Math.max(0, start + second * 1000 - performance.now()));
    }
    const took = (performance.now() - start) / 1000;
    const after = this.#bed.usage();
    const counters = await this.#bed.counters();
    const status = await this.#bed.status();
    return {
      cpu: (100 * (after.cpu - before.cpu)) / took,
      system: (100 * (after.system - before.system)) / took,
      resident: after.resident,
      heap: (counters.process?.heapUsed ?? Number.NaN) / 2 ** 20,
      announced: (this.#announced - announced) / took,
      withdrawn: (this.#withdrawn - withdrawn) / took,
      updates: (updatesOf(counters) - updates) / took,
      hosts: status?.hosts.total ?? 0,
    };
  }

  /** Everybody is back: what is wrong then. */
  async settle(): Promise<string[]> {
    await this.#speak([...this.#silentUntil.keys()]);
    const all = await this.#all();
    const counters = await this.#bed.counters();
    const inKernel = await this.#bed.kernelHosts();
    return [
      ...(all ? [] : [`not all hosts are in the table: ${JSON.stringify((await this.#bed.status())?.hosts)}`]),
      ...(inKernel === HOSTS ? [] : [`${inKernel} of ${HOSTS} host routes are in the kernel`]),
      `frames dropped unread: ${counters.hostroutes?.['frames.dropped']}, resyncs with the kernel: ${counters.kernel?.['neighbours.resyncs']}, refused by the kernel: ${JSON.stringify(Object.fromEntries(Object.entries(counters['kernel.hosts'] ?? {}).filter(([name]) => name !== 'hosts')))}`,
    ];
  }

  /** Every living host is in the table. */
  #all(): Promise<boolean> {
    let round = 0;
    return waitUntil(
      async () => {
        const total = (await this.#bed.status())?.hosts.total ?? 0;
        // A frame may be lost on the way, and a server speaks again sooner or later.
        if (total < HOSTS && ++round % 20 === 0) await this.#speak(this.#portOf.map((_, host) => host));
        return total === HOSTS;
      },
      60_000,
      500,
    );
  }

  #speak(hosts: readonly number[]): Promise<void> {
    for (const host of hosts) this.#silentUntil.delete(host);
    return this.#bed.place(hosts.map((host) => [host, this.#portOf[host]!]));
  }

  async #flap(): Promise<void> {
    const flap = this.#flaps[this.#second++ % this.#flaps.length]!;
    const back = [...this.#silentUntil].filter(([, until]) => until <= this.#second).map(([host]) => host);
    if (back.length > 0) await this.#speak(back);
    if (flap === 'port') await this.#flapPort((this.#second * 7) % PORTS);
    else if (flap === 'move') await this.#move(this.#some());
    else {
      const hosts = this.#some();
      for (const host of hosts) this.#silentUntil.set(host, this.#second + SILENCE);
      await this.#bed.silence(hosts);
    }
  }

  async #flapPort(port: number): Promise<void> {
    this.#bed.setDownlinks([port], false);
    await sleep(CARRIER_OFF);
    this.#bed.setDownlinks([port], true);
    await sleep(20);
    const there = this.#portOf.flatMap((at, host) => (at === port && !this.#silentUntil.has(host) ? [host] : []));
    await this.#speak(there);
  }

  async #move(hosts: readonly number[]): Promise<void> {
    const room = new Array<number>(PORTS).fill(0);
    for (const port of this.#portOf) room[port]!++;
    for (const host of hosts) {
      const to = (this.#portOf[host]! + 1 + Math.floor(Math.random() * (PORTS - 1))) % PORTS;
      // The default limit is 256 hosts a port.
      if (room[to]! >= 250) continue;
      room[this.#portOf[host]!]!--;
      room[to]!++;
      this.#portOf[host] = to;
    }
    await this.#speak(hosts);
  }

  #some(): number[] {
    const chosen = new Set<number>();
    while (chosen.size < FLAPPING) {
      const host = Math.floor(Math.random() * HOSTS);
      if (!this.#silentUntil.has(host)) chosen.add(host);
    }
    return [...chosen];
  }
}

/** Packets that carry updates, of both protocols. */
function updatesOf(counters: Awaited<ReturnType<ScaleBed['counters']>>): number {
  return (counters.bgp?.sent_update ?? 0) + (counters.ospf?.['tx.link-state-update'] ?? 0);
}
