/** Hosts with the machine of every day, and a kernel's XFRM in place of the packet worker. */
import type { Address, Mac } from '../../../../src/model/address.ts';
import type { EncryptionEvent } from '../../../../src/vswitch-bridge/encryption/driver/view.ts';
import { DEFAULT_SETTINGS, type Policy } from '../../../../src/vswitch-bridge/encryption/machine/settings.ts';
import { Encryption } from '../../../../src/vswitch-bridge/encryption/projection.ts';
import type { XfrmKernel, XfrmMemory } from '../../../../src/vswitch-bridge/encryption/xfrm/kernel-face.ts';
import { XfrmTable } from '../../../../src/vswitch-bridge/encryption/xfrm/table.ts';
import { VirtualClock } from '../../../simulation/clock.ts';
import type { Datagram } from '../fake-worker.ts';
import { overlay, SaidKeys } from '../hosts.ts';
import { seeded } from '../world.ts';
import { FakeMemory, FakeXfrm } from './fake-kernel.ts';

export interface XfrmHost {
  readonly address: Address;
  readonly keys: SaidKeys;
  readonly kernel: FakeXfrm;
  readonly memory: FakeMemory;
  readonly events: EncryptionEvent[];
  readonly logged: string[];
  encryption: Encryption;
  table: XfrmTable;
  /** Somebody has flushed what the kernel had. */
  lost: () => void;
  /** The agent dies in the midst of it: not another word from it, to the kernel, the disk or the peer. */
  crash: () => void;
}

export class XfrmWorld {
  readonly clock = new VirtualClock();
  readonly capture: Datagram[] = [];
  /** False: it is lost. */
  passes: (datagram: Omit<Datagram, 'at'>) => boolean = () => true;
  readonly hosts = new Map<Address, XfrmHost>();
  readonly #policy: Policy;
  readonly #random = seeded(11);

  constructor(policy: Policy = 'overlap') {
    this.#policy = policy;
  }

  /** `from`: the agent begins anew, the kernel has gone on. */
  async host(address: Address, peers: readonly Address[], from?: XfrmHost, keys = new SaidKeys()): Promise<XfrmHost> {
    const kernel = from?.kernel ?? new FakeXfrm(address, (datagram) => this.#carry(datagram));
    const memory = from?.memory ?? new FakeMemory();
    const host = { address, keys: from?.keys ?? keys, kernel, memory, events: from?.events ?? [], logged: [] } as Pick<
      XfrmHost,
      'address' | 'keys' | 'kernel' | 'memory' | 'events' | 'logged'
    > as XfrmHost;
    const say = (_: object, message: string): void => void host.logged.push(message);
    const log = { debug: say, info: say, warn: say, error: say };
    host.encryption = await Encryption.open(
      {
        settings: { ...DEFAULT_SETTINGS, policy: this.#policy },
        versions: 3,
        source: host.keys,
        local: address,
        instance: new Uint8Array(8).fill(Number(address.split('.')[3])),
        random: (length) => Uint8Array.from({ length }, () => Math.floor(this.#random() * 256)),
        openWorker: async (events, closed) => {
          const life = mortal(kernel, memory);
          host.crash = life.end;
          const table = await XfrmTable.open({
            ...{ ends: { local: address, port: 4500 }, kernel: life.kernel, memory: life.memory, events },
            ...{ clock: this.clock, log },
            defer: (run) => void this.clock.schedule(this.clock.now(), run),
          });
          kernel.table = table;
          host.table = table;
          host.lost = () => {
            table.close({ keep: true });
            closed();
          };
          const nothing = async () => undefined;
          return {
            ...{ table, networks: [], setNetwork: nothing as never, removeNetwork: nothing },
            ...{ addMember() {}, removeMember() {}, setMac() {}, removeMac() {} },
            detach: () => table.close({ keep: true }),
            stop: async () => table.close({ keep: false }),
          };
        },
        layout: {
          device: (vni) => `pltn${vni}`,
          bridge: (vni) => `plbr${vni}`,
          routerMac: (at) => `0e:50:${at}` as Mac,
        },
        ...{ clock: this.clock, log, record: (event: EncryptionEvent) => void host.events.push(event) },
      },
      overlay(address, peers),
    );
    this.hosts.set(address, host);
    return host;
  }

  async run(time: number): Promise<void> {
    const end = this.clock.now() + time;
    while (this.clock.step(end)) for (let turn = 0; turn < 4; turn++) await Promise.resolve();
  }

  #carry(datagram: Omit<Datagram, 'at'>): void {
    this.capture.push({ at: this.clock.now(), ...datagram });
    if (!this.passes(datagram)) return;
    this.clock.after(0.5, () => this.hosts.get(datagram.to)?.kernel.receive(datagram));
  }
}

export const state = ({ encryption }: XfrmHost, of: Address) =>
  encryption.view().find(({ address }) => address === of)!;

/** A kernel and a disk that hear nothing more of this agent once it has ended. */
function mortal(kernel: FakeXfrm, memory: FakeMemory) {
  let alive = true;
  const own: XfrmKernel = {
    apply: (requests) => (alive ? kernel.apply(requests) : []),
    associations: () => (alive ? kernel.associations() : new Promise(() => undefined)),
    policies: () => kernel.policies(),
    marks: (marks) => (alive ? kernel.marks(marks) : undefined),
    watch: (keys) => (alive ? kernel.watch(keys) : undefined),
    sendControl: (to, datagram) => (alive ? kernel.sendControl(to, datagram) : undefined),
    statistics: () => kernel.statistics(),
  };
  const disk: XfrmMemory = {
    load: () => memory.load(),
    save: (peer) => (alive ? memory.save(peer) : undefined),
    remove: (address) => (alive ? memory.remove(address) : undefined),
    keepOnly: (addresses) => (alive ? memory.keepOnly(addresses) : undefined),
  };
  const end = () => {
    alive = false;
  };
  return { kernel: own, memory: disk, end };
}
