/**
 * Two namespaces and a wire: `near` has the tunnels, `far` stands for all remote hosts, whose addresses it has. Its kernel
 * does not answer ARP; we do, as late as is asked for. What arrives is read from the wire, outer header and all.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import {
  AF,
  ETH_P,
  type IncomingMessage,
  LinuxSocket,
  PACKET,
  SOCK,
  SOL,
  SystemCallError,
  withNetns,
} from 'linux-sockets';
import { type Address, formatAddress, type Mac, parseMac } from '../../src/model/address.ts';
import { answer, arpRequestIn } from './frames.ts';
import type { OvsSwitch } from './ovs-switch.ts';

let made = 0;

export interface Arrival {
  /** Outer. */
  readonly to: Address;
  readonly sequence: number;
  readonly destinationMac: Mac;
}

export const remoteAddress = (index: number) => `10.20.1.${10 + index}` as Address;
export const innerAddress = (index: number) => `10.200.0.${10 + index}`;
export const innerMac = (index: number) => `02:00:00:00:01:${(10 + index).toString(16).padStart(2, '0')}`;
const NEAR = '10.20.1.1' as Address;
const PORT = 5001;

export class Rack {
  readonly near: string;
  readonly far: string;
  readonly count: number;
  readonly arrivals: Arrival[] = [];
  /** ms; undefined: nobody answers. */
  arpDelay: number | undefined = 0;
  /** Of the remotes, those that don't answer. */
  readonly silent = new Set<Address>();
  /** ARP requests for the remotes, by address; unicast ones apart. */
  readonly questions: { readonly target: Address; readonly unicast: boolean }[] = [];
  #mac: Mac;
  readonly #wire: LinuxSocket;
  readonly #arp: LinuxSocket;
  readonly #sender: LinuxSocket;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #sequences = new Map<number, number>();

  static async open(count: number): Promise<Rack> {
    const name = `ng${process.pid}x${made++}`;
    const [near, far] = [`${name}n`, `${name}f`];
    for (const netns of [near, far]) execFileSync('ip', ['netns', 'add', netns]);
    try {
      return new Rack(near, far, count);
    } catch (error) {
      for (const netns of [near, far]) execFileSync('ip', ['netns', 'del', netns]);
      throw error;
    }
  }

  private constructor(near: string, far: string, count: number) {
    this.near = near;
    this.far = far;
    this.count = count;
    for (const netns of [near, far]) {
      ip(netns, 'link set lo up');
      quiet(netns);
    }
    ip(near, `link add u0 type veth peer name u0 netns ${far}`);
    withNetns(far, () => writeFileSync('/proc/sys/net/ipv4/conf/u0/arp_ignore', '8'));
    ip(near, `addr add ${NEAR}/24 dev u0`);
    for (let index = 0; index < count; index++) ip(far, `addr add ${remoteAddress(index)}/24 dev u0`);
    for (const netns of [near, far]) ip(netns, 'link set u0 up');
    this.#mac = macOf(far, 'u0');
    this.#wire = packetSocket(far, 'u0', ETH_P.IP, 64 << 20);
    this.#wire.onReadable(() => this.#readWire());
    this.#arp = packetSocket(far, 'u0', ETH_P.ARP, 4 << 20);
    this.#arp.onReadable(() => this.#readArp());
    this.#sender = LinuxSocket.open({ family: AF.INET, type: SOCK.DGRAM, protocol: 0, netns: near });
    this.#sender.setBuffer('send', 64 << 20);
  }

  get mac(): Mac {
    return this.#mac;
  }

  /** A routed vxlan device `vx`, or a bridge `br0` with `vx` as its port; each remote's MAC in its forwarding database. */
  addTunnels({ bridge = false, port = 4789 } = {}): void {
    ip(this.near, `link add vx type vxlan id 7 local ${NEAR} dstport ${port} nolearning`);
    const inner = bridge ? 'br0' : 'vx';
    if (bridge) {
      ip(this.near, 'link add name br0 type bridge');
      ip(this.near, 'link set vx master br0');
      ip(this.near, 'link set br0 up');
    }
    ip(this.near, `addr add 10.200.0.1/24 dev ${inner}`);
    ip(this.near, 'link set vx up');
    for (let index = 0; index < this.count; index++) {
      ip(this.near, `neigh add ${innerAddress(index)} lladdr ${innerMac(index)} nud permanent dev ${inner}`);
      const entry = ['fdb', 'append', innerMac(index), 'dev', 'vx', 'dst', remoteAddress(index)];
      execFileSync('bridge', ['-n', this.near, ...entry]);
      if (bridge)
        execFileSync('bridge', ['-n', this.near, 'fdb', 'add', innerMac(index), 'dev', 'vx', 'master', 'static']);
    }
  }

  /** The wire becomes a port of `phy`, which has the address now; `int` has the tunnels, and is the inner interface. */
  async addOvsTunnels(ovs: OvsSwitch): Promise<void> {
    await ovs.vsctl(
      'add-br',
      'phy',
      '--',
      'set',
      'bridge',
      'phy',
      'datapath_type=netdev',
      '--',
      'add-port',
      'phy',
      'u0',
    );
    await ovs.vsctl('add-br', 'int', '--', 'set', 'bridge', 'int', 'datapath_type=netdev');
    ip(this.near, `addr flush dev u0`);
    ip(this.near, `addr add ${NEAR}/24 dev phy`);
    ip(this.near, 'addr add 10.200.0.1/24 dev int');
    // A switch that has to wait for a processor drops nothing before it has seen it.
    for (const name of ['phy', 'int']) ip(this.near, `link set ${name} txqueuelen 20000 up`);
    const ports: string[] = [];
    for (let index = 0; index < this.count; index++) {
      ip(this.near, `neigh add ${innerAddress(index)} lladdr ${innerMac(index)} nud permanent dev int`);
      const name = `vx${index}`;
      const options = [`options:remote_ip=${remoteAddress(index)}`, 'options:key=7', `ofport_request=${index + 1}`];
      ports.push('--', 'add-port', 'int', name, '--', 'set', 'interface', name, 'type=vxlan', ...options);
      await ovs.flow('int', `priority=100,dl_dst=${innerMac(index)},actions=output:${index + 1}`);
    }
    await ovs.vsctl(...ports.slice(1));
  }

  removeTunnels(): void {
    for (const name of ['vx', 'br0']) if (hasLink(this.near, name)) ip(this.near, `link del ${name}`);
  }

  forgetNeighbours(): void {
    ip(this.near, 'neigh flush dev u0');
  }

  /** To each remote, all at once; numbered on from the last. */
  burst(packets: number, octets = 1_200): void {
    for (let index = 0; index < this.count; index++) this.send(index, packets, octets);
  }

  /** To an inner address that is none of the remotes' own. */
  sendTo(address: string, packets: number, octets = 1_200): void {
    const data = Buffer.alloc(octets);
    for (let count = 0; count < packets; count++) {
      this.#sender.send({ data, to: { family: 'ipv4', address, port: PORT } });
    }
  }

  send(index: number, packets = 1, octets = 1_200): void {
    const data = Buffer.alloc(octets);
    for (let count = 0; count < packets; count++) {
      const sequence = this.#sequences.get(index) ?? 0;
      this.#sequences.set(index, sequence + 1);
      data.writeUInt32BE(sequence);
      this.#sender.send({ data, to: { family: 'ipv4', address: innerAddress(index), port: PORT } });
    }
  }

  sentTo(index: number): number {
    return this.#sequences.get(index) ?? 0;
  }

  arrivedAt(index: number): readonly number[] {
    const address = remoteAddress(index);
    return this.arrivals.filter(({ to }) => to === address).map(({ sequence }) => sequence);
  }

  /** Arrived of all that was sent, and whether each remote got them in order. */
  outcome(): { readonly lost: number; readonly inOrder: boolean } {
    let lost = 0;
    let inOrder = true;
    for (let index = 0; index < this.count; index++) {
      const arrived = this.arrivedAt(index);
      lost += this.sentTo(index) - arrived.length;
      inOrder &&= arrived.every((sequence, at) => at === 0 || sequence > arrived[at - 1]!);
    }
    return { lost, inOrder };
  }

  /** The far end gets another MAC and says so, as a ToR that takes over does. */
  changeMac(mac: Mac, announce: boolean): void {
    ip(this.far, `link set u0 address ${mac}`);
    this.#mac = mac;
    if (!announce) return;
    for (let index = 0; index < this.count; index++) {
      const frame = answer(this.#mac, remoteAddress(index), 'ff:ff:ff:ff:ff:ff' as Mac, remoteAddress(index));
      this.#arp.send({ data: frame });
    }
  }

  ip(command: string): string {
    return ip(this.near, command);
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    for (const socket of [this.#wire, this.#arp, this.#sender]) socket.close();
    for (const netns of [this.near, this.far]) execFileSync('ip', ['netns', 'del', netns]);
  }

  /** A wire that is down carries none. */
  #reply(frame: Uint8Array): void {
    try {
      this.#arp.send({ data: frame });
    } catch (error) {
      if (!(error instanceof SystemCallError) || error.code !== 'ENETDOWN') throw error;
    }
  }

  #readWire(): void {
    for (let batch = received(this.#wire); batch.length > 0; batch = received(this.#wire)) {
      for (const { data } of batch) {
        // Ethernet 14, IPv4 20 (protocol at 23, destination at 30), UDP 8, VXLAN 8, Ethernet 14, IPv4 20, UDP 8.
        if (data.length < 96 || data[23] !== 17 || data.readUInt16BE(84 - 8 + 2) === 0) continue;
        const inner = data.subarray(50);
        if (inner.length < 46 || inner[23] !== 17 || inner.readUInt16BE(36) !== PORT) continue;
        this.arrivals.push({
          to: formatAddress(data.subarray(30, 34)),
          sequence: inner.readUInt32BE(42),
          destinationMac: macText(data.subarray(0, 6)),
        });
      }
    }
  }

  #readArp(): void {
    for (let batch = received(this.#arp); batch.length > 0; batch = received(this.#arp)) {
      for (const { data } of batch) {
        const request = arpRequestIn(data);
        if (!request || request.senderAddress !== NEAR) continue;
        this.questions.push({ target: request.targetAddress, unicast: (data[0]! & 1) === 0 });
        if (this.arpDelay === undefined || this.silent.has(request.targetAddress)) continue;
        const timer = setTimeout(() => {
          this.#timers.delete(timer);
          this.#reply(answer(this.#mac, request.targetAddress, request.senderMac, NEAR));
        }, this.arpDelay);
        this.#timers.add(timer);
      }
    }
  }
}

export const ip = (netns: string, command: string): string =>
  execFileSync('ip', ['-n', netns, ...command.split(' ')], { encoding: 'utf8' });

export const macOf = (netns: string, name: string): Mac =>
  parseMac(/link\/ether (\S+)/.exec(ip(netns, `link show ${name}`))![1]!)!;

const hasLink = (netns: string, name: string): boolean => new RegExp(`: ${name}[:@]`).test(ip(netns, 'link'));

export const macText = (bytes: Uint8Array): Mac => Buffer.from(bytes).toString('hex').match(/../g)!.join(':') as Mac;

/** No addresses of its own making, so no packets of its own making. */
export function quiet(netns: string): void {
  withNetns(netns, () => {
    for (const name of ['all', 'default']) writeFileSync(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, '1');
  });
}

export function packetSocket(netns: string, name: string, protocol: number, buffer: number): LinuxSocket {
  const socket = LinuxSocket.open({ family: AF.PACKET, type: SOCK.RAW, protocol: 0, netns });
  socket.setBuffer('receive', buffer);
  socket.setOption(SOL.PACKET, PACKET.IGNORE_OUTGOING, 1);
  const ifindex = Number(/^(\d+):/.exec(ip(netns, `link show ${name}`))![1]);
  socket.bind({ family: 'packet', ifindex, protocol });
  return socket;
}

/** A link that goes down is told once, as an error. */
function received(socket: LinuxSocket): IncomingMessage[] {
  try {
    return socket.receiveBatch();
  } catch (error) {
    if (error instanceof SystemCallError && error.code === 'ENETDOWN') return [];
    throw error;
  }
}

/** Until it holds. A wait in vain ends: the runner gives a test up, but not what the test still waits for. */
export async function eventually(condition: () => boolean | Promise<boolean>, limit = 50_000): Promise<void> {
  const end = performance.now() + limit;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`in vain for ${limit} ms: ${condition}`);
    await pause(5);
  }
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
