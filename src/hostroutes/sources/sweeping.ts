import { SystemCallError } from 'linux-sockets';
import type { Address } from '../../model/address.ts';
import type { Clock } from '../../model/clock.ts';
import { isUp, type Port } from '../../model/ports.ts';
import { allNodesEcho, PortSocket, question } from '../../netlink/frames/index.ts';
import type { HostPolicy } from '../machine/types.ts';
import type { HostKernel, OpenPort, PortEar } from '../options.ts';
import type { Placement } from './placement.ts';
import type { Snooping } from './snooping.ts';
import { refuseSweep, Sweeper, type SweepPlace, type SweepPlan } from './sweep.ts';

/** When an operator asks and the configuration has said nothing. */
const DEFAULT_RATE = 200;

export interface SweepingOptions {
  readonly kernel: HostKernel;
  readonly placement: Placement;
  readonly clock: Clock;
  readonly snooping: Snooping;
  readonly netns: string | undefined;
  readonly openPort: OpenPort | undefined;
  /** A host already, here or behind the other switch. */
  known(address: Address): boolean;
}

/** Binds the sweep to the ports: where to ask, as whom, and by which socket. */
export class Sweeping {
  readonly #options: SweepingOptions;
  readonly #sweeper: Sweeper;
  /** Of bridges and VLAN interfaces, that only send; while a sweep lasts, since such interfaces come and go. */
  readonly #mouths = new Map<number, PortEar>();
  #policy: HostPolicy;
  #own: ReadonlySet<Address>;

  constructor(policy: HostPolicy, options: SweepingOptions) {
    this.#options = options;
    this.#policy = policy;
    this.#own = new Set(policy.ownAddresses);
    this.#sweeper = new Sweeper({
      clock: options.clock,
      ask: (place, address) => this.#ask(place, address),
      call: (place) => this.#call(place),
      known: (address) => this.#own.has(address) || options.known(address),
      done: () => this.#closeMouths(),
    });
  }

  get counters(): Readonly<Record<string, number>> {
    return this.#sweeper.count;
  }

  configure(policy: HostPolicy): void {
    this.#policy = policy;
    this.#own = new Set(policy.ownAddresses);
  }

  /** All ports that are up, if the policy wants it; those that are not have their turn when they come up. */
  start(): void {
    this.#sweepBehind(this.#upPorts());
  }

  portUp(port: Port): void {
    this.#sweepBehind([port]);
  }

  /** At an operator's wish. A text: why not. */
  request(): SweepPlan | string {
    const refusal = refuseSweep(this.#policy);
    if (refusal !== undefined) return refusal;
    const places = this.#options.placement.sweepPlaces(this.#upPorts());
    return this.#sweeper.sweep(places, this.#policy.sweep?.rate ?? DEFAULT_RATE, true);
  }

  /** An ARP reply from an address that nobody knew: it answers the sweep. */
  answers(address: Address): boolean {
    return this.#sweeper.listening && !this.#options.known(address);
  }

  stop(): void {
    this.#sweeper.stop();
    this.#closeMouths();
  }

  #closeMouths(): void {
    for (const mouth of this.#mouths.values()) mouth.close();
    this.#mouths.clear();
  }

  #sweepBehind(ports: readonly Port[]): void {
    const { sweep } = this.#policy;
    if (!sweep?.enabled || refuseSweep(this.#policy) !== undefined) return;
    this.#sweeper.sweep(this.#options.placement.sweepPlaces(ports), sweep.rate);
  }

  #upPorts(): Port[] {
    return this.#policy.ports.flatMap((name) => {
      const port = this.#options.kernel.port(name);
      return port && isUp(port) ? [port] : [];
    });
  }

  #ask({ interface: name }: SweepPlace, address: Address): boolean {
    const { kernel, placement, snooping } = this.#options;
    if (placement.isDownlink(name)) return snooping.ask({ port: name, address, mac: undefined });
    const port = kernel.port(name);
    const asker = port && placement.asker(port, address);
    return asker !== undefined && this.#send(port!, question(address, undefined, asker));
  }

  #call({ interface: name, prefix }: SweepPlace): boolean {
    const { kernel, placement, snooping } = this.#options;
    const port = kernel.port(name);
    const source = port && placement.addressIn(port, prefix);
    // Without an address of ours in the prefix nobody would answer from one.
    if (!source || !port.mac) return false;
    const frame = allNodesEcho(source, port.mac);
    return placement.isDownlink(name) ? snooping.send(name, frame) : this.#send(port, frame);
  }

  #send(port: Port, frame: Uint8Array): boolean {
    try {
      return this.#mouthOf(port).send(frame) === undefined;
    } catch (error) {
      if (error instanceof SystemCallError) return false;
      throw error;
    }
  }

  #mouthOf({ name, ifindex }: Port): PortEar {
    const known = this.#mouths.get(ifindex);
    if (known) return known;
    const { netns, openPort = (options, onReadable) => new PortSocket(options, onReadable) } = this.#options;
    const mouth = openPort(
      { name, ifindex, netns, bridged: false, multicast: false, hear: 'nothing' },
      () => undefined,
    );
    this.#mouths.set(ifindex, mouth);
    return mouth;
  }
}
