/** Two hosts with their own stores of keys, the projection and a worker each, on one virtual clock. */
import { createHash } from 'node:crypto';
import type { Address, Mac, Prefix } from '../../../src/model/address.ts';
import type { OverlayNetwork, OverlayRemote, OverlayState } from '../../../src/model/overlay.ts';
import type { EncryptionEvent } from '../../../src/vswitch-bridge/encryption/driver/view.ts';
import type { KeyFollower, KeySource } from '../../../src/vswitch-bridge/encryption/keys/store.ts';
import {
  DEFAULT_SETTINGS,
  type MachineSettings,
  type Policy,
} from '../../../src/vswitch-bridge/encryption/machine/settings.ts';
import { Encryption } from '../../../src/vswitch-bridge/encryption/projection.ts';
import { VirtualClock } from '../../simulation/clock.ts';
import { type Datagram, FakeWorker } from './fake-worker.ts';
import { seeded } from './world.ts';

export const A = '10.20.1.1' as Address;
export const B = '10.20.1.2' as Address;

/** The octets of V`version` of round `round`. */
export const octets = (version: number, round = 0): Uint8Array =>
  new Uint8Array(createHash('sha256').update(`key ${version} ${round}`).digest());

/** A source of keys that a test speaks for. */
export class SaidKeys implements KeySource {
  #follower: KeyFollower | undefined;
  #issued: { readonly version: number; readonly issued: number; readonly key: Uint8Array }[] = [];
  #serial = 0;
  #trouble: string | undefined;
  started = false;

  /** @param trouble it can't be reached at the start */
  constructor(trouble?: string) {
    this.#trouble = trouble;
  }

  start(follower: KeyFollower): void {
    this.started = true;
    this.#follower = follower;
    if (this.#trouble === undefined) this.#tell();
    else follower.trouble(this.#trouble);
  }

  stop(): void {
    this.#follower = undefined;
  }

  issue(version: number, round = 0): void {
    this.#issued = this.#issued.filter((one) => one.version !== version);
    this.#issued.push({ version, issued: ++this.#serial, key: octets(version, round) });
    this.#tell();
  }

  /** Only this one is left. */
  only(version: number, round = 0): void {
    this.#issued = [];
    this.issue(version, round);
  }

  none(): void {
    this.#issued = [];
    this.#tell();
  }

  reached(): void {
    this.#trouble = undefined;
    this.#follower?.trouble(undefined);
    this.#tell();
  }

  #tell(): void {
    this.#follower?.listing({
      keys: this.#issued.map((one) => ({ ...one, key: Uint8Array.from(one.key) })),
      problems: [],
    });
  }
}

export interface Host {
  readonly address: Address;
  readonly keys: SaidKeys;
  readonly worker: FakeWorker;
  readonly events: EncryptionEvent[];
  encryption: Encryption;
}

const blue: OverlayNetwork = { name: 'blue', vni: 100, subnet: '10.200.0.0/16' as Prefix, encapsulation: 'vxlan' };

export function overlay(address: Address, remotes: readonly Address[], networks = [blue]): OverlayState {
  const list: OverlayRemote[] = remotes.flatMap((host) =>
    networks.map(({ name }) => ({ host, network: name, addresses: [], origin: 'configuration' as const })),
  );
  return {
    underlay: { address, device: 'eth0' },
    networks: new Map(networks.map((network) => [network.name, network])),
    instances: new Map(),
    remotes: new Map(list.map((remote) => [`${remote.network}/${remote.host}`, remote])),
    policy: { default: 'allow', initiate: 'both', rules: [] },
    services: new Map(),
    snat: [],
  };
}

const log = { debug() {}, info() {}, warn() {}, error() {} };

export class Pair {
  readonly clock = new VirtualClock();
  readonly capture: Datagram[] = [];
  /** The delays after which a datagram arrives; none: it is lost. */
  network: (datagram: Datagram) => readonly number[] = () => [0.5];
  readonly settings: MachineSettings;
  readonly plainForm: 'esp' | 'vxlan';
  readonly #random = seeded(7);
  a!: Host;
  b!: Host;

  private constructor(policy: Policy, plainForm: 'esp' | 'vxlan') {
    this.settings = { ...DEFAULT_SETTINGS, policy };
    this.plainForm = plainForm;
  }

  static async make(policy: Policy, plainForm: 'esp' | 'vxlan' = 'esp'): Promise<Pair> {
    const pair = new Pair(policy, plainForm);
    pair.a = await pair.host(A, B);
    pair.b = await pair.host(B, A);
    return pair;
  }

  async host(address: Address, peer: Address, from?: Host, keys = from?.keys ?? new SaidKeys()): Promise<Host> {
    const worker = from?.worker ?? this.#worker(address);
    const events = from?.events ?? [];
    const encryption = await Encryption.open(
      {
        settings: this.settings,
        versions: 3,
        source: keys,
        local: address,
        instance: new Uint8Array(8).fill(address === A ? 0xa : 0xb),
        random: (length) => Uint8Array.from({ length }, () => Math.floor(this.#random() * 256)),
        openWorker: async (events, closed) => worker.attach(events, closed),
        layout: {
          device: (vni) => `pltn${vni}`,
          bridge: (vni) => `plbr${vni}`,
          routerMac: (underlay) => `0e:50:${underlay}` as Mac,
        },
        clock: this.clock,
        log,
        record: (event) => void events.push(event),
      },
      overlay(address, [peer]),
    );
    return { address, keys, worker, events, encryption };
  }

  /** A frame of UDP or TCP with this number in it, from one host's instance to the other's. */
  send(from: Host, number: number, protocol: 'udp' | 'tcp' = 'udp'): void {
    from.worker.transmit(from.address === A ? B : A, 100, frame(number, protocol));
  }

  /** Every so many ms from now. */
  flow(from: () => Host, first: number, count: number, every = 10, protocol: 'udp' | 'tcp' = 'udp'): void {
    for (let index = 0; index < count; index++) {
      this.clock.after(index * every, () => this.send(from(), first + index, protocol));
    }
  }

  run(time: number): void {
    const end = this.clock.now() + time;
    while (this.clock.step(end)) {
      // Until it is that time.
    }
  }

  /** Numbers of the frames that came to a host, with the time. */
  got(host: Host): { readonly at: number; readonly number: number }[] {
    return host.worker.delivered.map(({ at, frame }) => ({ at, number: Buffer.from(frame).readUInt32BE(42) }));
  }

  #worker(address: Address): FakeWorker {
    return new FakeWorker(
      {
        local: address,
        port: 4500,
        plainForm: this.plainForm,
        plainAllowed: this.settings.policy === 'available',
        hold: { packets: 256, bytes: 1 << 19, lifetime: 1000 },
      },
      this.clock,
      (datagram) => {
        this.capture.push(datagram);
        for (const delay of this.network(datagram)) {
          this.clock.after(delay, () => (datagram.to === A ? this.a : this.b).worker.receive(datagram));
        }
      },
    );
  }
}

/** Ethernet, IPv4, UDP or TCP ports, and a number at octet 42. */
export function frame(number: number, protocol: 'udp' | 'tcp'): Uint8Array {
  const bytes = Buffer.alloc(60);
  bytes.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
  bytes.set([0x45, 0, 0, 46, 0, 0, 0, 0, 64, protocol === 'udp' ? 17 : 6, 0, 0, 10, 200, 1, 2, 10, 200, 2, 2], 14);
  bytes.writeUInt16BE(40000, 34);
  bytes.writeUInt16BE(9, 36);
  bytes.writeUInt16BE(26, 38);
  bytes.writeUInt32BE(number, 42);
  return bytes;
}
