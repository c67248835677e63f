import { execFileSync, spawnSync } from 'node:child_process';
import { AF, interfaceIndex, LinuxSocket, SOCK, withNetns } from 'linux-sockets';
import { type HostCause, type HostPolicy, HostRoutes, type HostRoutesOptions } from '../../src/hostroutes/index.ts';
import type { Memory } from '../../src/hostroutes/machine/types.ts';
import type { Address, Prefix } from '../../src/model/address.ts';
import { type Clock, systemClock } from '../../src/model/clock.ts';
import type { HostDelta, HostRoute } from '../../src/model/hosts.ts';
import { Kernel } from '../../src/netlink/index.ts';
import { address, policy } from './helpers.ts';

export const ip = (...words: string[]) => execFileSync('ip', words, { encoding: 'utf8' });
export const inside = (netns: string, ...words: string[]) =>
  execFileSync('ip', ['netns', 'exec', netns, ...words], { encoding: 'utf8' });

/** For what the programs send, not what they say: ping and arping fail when nobody answers them. */
export const send = (netns: string, ...words: string[]) => {
  const { error } = spawnSync('ip', ['netns', 'exec', netns, ...words]);
  if (error) throw error;
};

type Event = Parameters<HostRoutesOptions['onEvent']>[0];
let labs = 0;

/** A switch in a namespace and one host namespace behind each of its ports A1 and A2. */
export class Lab {
  readonly tor: string;
  readonly hosts: Record<'A1' | 'A2', string>;
  readonly deltas: { delta: HostDelta; cause: HostCause; took: number }[] = [];
  readonly events: Event[] = [];
  readonly model = new Map<Address, HostRoute>();
  kernel!: Kernel;
  routes!: HostRoutes;
  readonly #clock: Clock;
  #sockets: LinuxSocket[] = [];

  /**
   * `bridged`: the ports are members of br0, which has the gateway's address; otherwise each port has it. `clock`: of the
   * host table and its sources.
   */
  constructor(bridged: boolean, clock: Clock = systemClock) {
    this.#clock = clock;
    const id = `hr${process.pid}n${labs++}`;
    this.tor = `${id}t`;
    this.hosts = { A1: `${id}a`, A2: `${id}b` };
    for (const netns of [this.tor, ...Object.values(this.hosts)]) {
      ip('netns', 'add', netns);
      inside(netns, 'sysctl', '-qw', 'net.ipv6.conf.all.dad_transmits=0', 'net.ipv6.conf.default.dad_transmits=0');
      ip('-n', netns, 'link', 'set', 'lo', 'up');
    }
    if (bridged) {
      ip('-n', this.tor, 'link', 'add', 'br0', 'address', '02:00:00:00:00:fe', 'type', 'bridge');
      ip('-n', this.tor, 'link', 'set', 'br0', 'up');
      ip('-n', this.tor, 'address', 'add', '10.10.10.254/24', 'dev', 'br0');
    }
    for (const [port, netns] of Object.entries(this.hosts)) {
      const number = port[1]!;
      ip('-n', this.tor, 'link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns);
      ip('-n', netns, 'link', 'set', 'eth0', 'address', `02:00:00:00:00:0${number}`, 'up');
      if (bridged) ip('-n', this.tor, 'link', 'set', port, 'master', 'br0');
      ip('-n', this.tor, 'link', 'set', port, 'up');
      if (bridged) continue;
      ip('-n', this.tor, 'address', 'add', '10.10.10.254/32', 'dev', port);
      ip('-n', this.tor, 'address', 'add', '2001:db8::fe/128', 'dev', port, 'nodad');
    }
  }

  /** `remembered`: from an earlier life. */
  async start(overrides: Partial<HostPolicy> = {}, remembered: readonly Memory[] = []): Promise<void> {
    this.kernel = await Kernel.open({ netns: this.tor });
    const silent = () => undefined;
    this.routes = new HostRoutes({
      policy: policy({ ports: ['A1', 'A2'], ...overrides }),
      kernel: this.kernel,
      clock: this.#clock,
      log: { debug: silent, info: silent, warn: silent, error: (fields) => console.error(fields) },
      netns: this.tor,
      onDelta: (delta, cause, at) => {
        this.deltas.push({ delta, cause, took: this.#clock.now() - at });
        for (const gone of delta.withdrawn) this.model.delete(gone);
        for (const route of delta.announced) this.model.set(route.address, route);
      },
      onEvent: (event) => this.events.push(event),
    });
    this.kernel.onChange((change) => this.routes.portChange(change));
    this.routes.remember(remembered);
    this.routes.start();
  }

  /** A server's or VM's address in the host behind `port`; the kernel there answers ARP for it. */
  addHost(port: 'A1' | 'A2', text: string): void {
    ip('-n', this.hosts[port], 'address', 'add', text, 'dev', 'eth0', ...(text.includes(':') ? ['nodad'] : []));
  }

  removeHost(port: 'A1' | 'A2', text: string): void {
    ip('-n', this.hosts[port], 'address', 'del', text, 'dev', 'eth0');
  }

  /** A packet socket in the host behind `port`; it hears `protocol`, by default nothing. */
  wire(port: 'A1' | 'A2', protocol = 0): LinuxSocket {
    const netns = this.hosts[port];
    const socket = LinuxSocket.open({ family: AF.PACKET, type: SOCK.RAW, protocol: 0, netns });
    const ifindex = withNetns(netns, () => interfaceIndex('eth0'));
    socket.bind({ family: 'packet', ifindex, protocol });
    this.#sockets.push(socket);
    return socket;
  }

  /** One frame out of an interface of the switch's own namespace. */
  sendFrom(device: string, data: Uint8Array): void {
    const socket = LinuxSocket.open({ family: AF.PACKET, type: SOCK.RAW, protocol: 0, netns: this.tor });
    const ifindex = withNetns(this.tor, () => interfaceIndex(device));
    socket.bind({ family: 'packet', ifindex, protocol: 0 });
    socket.send({ data });
    socket.close();
  }

  at(text: string): { port: string | undefined; interface: string | undefined } {
    return { port: this.routes.find(address(text))?.port, interface: this.model.get(address(text))?.interface };
  }

  close(): void {
    this.routes?.stop();
    this.kernel?.close();
    for (const socket of this.#sockets) socket.close();
    for (const netns of [this.tor, ...Object.values(this.hosts)]) ip('netns', 'del', netns);
  }
}

/** Waits for something to come true; the limit is generous because machines are busy. */
export async function until(what: () => boolean, limit = 20_000): Promise<boolean> {
  const end = Date.now() + limit;
  while (!what()) {
    if (Date.now() > end) return false;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return true;
}

export const PREFIXES = ['10.10.10.0/24' as Prefix, '2001:db8::/64' as Prefix];
