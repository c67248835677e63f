/** Two hosts in namespaces, each with a worker, a bridge, and an instance in a namespace of its own behind it. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Indication,
  OverlayWorker,
  overlayMtu,
  type WorkerError,
  type WorkerEvents,
  type WorkerOptions,
} from '../src/index.ts';

export const sh = (command: string, ...parameters: string[]): string =>
  execFileSync(command, parameters, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
export const ip = (...parameters: string[]): string => sh('ip', ...parameters);
export const inside = (netns: string, ...command: string[]): string => ip('netns', 'exec', netns, ...command);

export interface Teardown {
  teardown(run: () => void | Promise<void>): void;
}

export interface Heard {
  readonly kind: keyof WorkerEvents;
  readonly peer: number;
  readonly what?: unknown;
}

export interface Host {
  readonly name: string;
  readonly netns: string;
  /** The namespace of the instance, whose device is `eth0`. */
  readonly instance: string;
  readonly underlay: string;
  readonly address: string;
  readonly socket: string;
  readonly heard: Heard[];
  readonly refused: WorkerError[];
  worker: OverlayWorker;
}

export const VNI = 100;
let made = 0;

export function eventsInto(heard: Heard[]): WorkerEvents {
  return {
    unreadable: (peer, spi) => heard.push({ kind: 'unreadable', peer, what: spi }),
    readable: (peer, spi) => heard.push({ kind: 'readable', peer, what: spi }),
    forged: (peer, spi) => heard.push({ kind: 'forged', peer, what: spi }),
    plain: (peer, indication) => heard.push({ kind: 'plain', peer, what: indication }),
    held: (peer) => heard.push({ kind: 'held', peer }),
    control: (peer, datagram) => heard.push({ kind: 'control', peer, what: Buffer.from(datagram).toString('hex') }),
  };
}

export function optionsOf(host: Pick<Host, 'socket' | 'underlay' | 'heard' | 'refused'>): WorkerOptions {
  return {
    socket: host.socket,
    local: host.underlay,
    port: 4500,
    plainPort: 4789,
    underlayMtu: 1500,
    plainForm: 'esp',
    plainAllowed: true,
    hold: { packets: 256, bytes: 512 * 1024, lifetime: 1000 },
    events: eventsInto(host.heard),
    refused: (error) => host.refused.push(error),
    networkLost: () => {},
    closed: () => {},
  };
}

function end(pid: number): void {
  try {
    process.kill(pid);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** A bridge's new ports drop what comes until the kernel has come to their carriers: a second and more on a busy machine. */
const carried = ({ name, netns }: Host): Promise<void> =>
  until(`the ports of ${name}'s bridge forward`, () => {
    const ports = sh('bridge', '-n', netns, 'link', 'show')
      .split('\n')
      .filter((line) => line.includes('master br0'));
    return ports.length === 2 && ports.every((line) => line.includes('state forwarding'));
  });

export interface LabOptions {
  readonly overrides?: Partial<WorkerOptions>;
  /** Of the underlay (1500). */
  readonly mtu?: number;
  /** Of the instances; default: what fits. */
  readonly instanceMtu?: number;
}

/** Two hosts that are each other's peers and members of VNI 100; nothing is sent before `setSend`. */
export async function lab(t: Teardown, { overrides = {}, mtu = 1500, instanceMtu }: LabOptions = {}) {
  const prefix = `ow${process.pid}-${++made}`;
  const folder = mkdtempSync(join(tmpdir(), 'overlay-worker-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const hosts = await Promise.all(
    [1, 2].map(async (number): Promise<Host> => {
      const name = number === 1 ? 'a' : 'b';
      const host = {
        name,
        netns: `${prefix}-${name}`,
        instance: `${prefix}-${name}i`,
        underlay: `192.0.2.${number}`,
        address: `10.1.0.${number}`,
        socket: join(folder, `${name}.sock`),
        heard: [],
        refused: [],
      };
      for (const netns of [host.netns, host.instance]) {
        ip('netns', 'add', netns);
        t.teardown(() => void ip('netns', 'del', netns));
        ip('-n', netns, 'link', 'set', 'lo', 'up');
      }
      const on = (...words: string[]) => ip('-n', host.netns, ...words);
      on('link', 'add', 'br0', 'type', 'bridge');
      on('link', 'set', 'br0', 'up');
      on('link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', host.instance);
      // Both ends alike: a veth drops what is longer than the other end's MTU, unless it is GSO.
      const ours = String(instanceMtu ?? overlayMtu(mtu));
      on('link', 'set', 'v0', 'mtu', ours, 'master', 'br0', 'up');
      for (const device of ['br0', 'v0']) inside(host.netns, 'sysctl', '-qw', `net.ipv6.conf.${device}.disable_ipv6=1`);
      ip('-n', host.instance, 'addr', 'add', `${host.address}/24`, 'dev', 'eth0');
      ip('-n', host.instance, 'addr', 'add', `fd00::${number}/64`, 'dev', 'eth0', 'nodad');
      ip('-n', host.instance, 'link', 'set', 'eth0', 'mtu', ours, 'up');
      return host as unknown as Host;
    }),
  );
  const [a, b] = hosts as [Host, Host];
  ip('-n', a.netns, 'link', 'add', 'u0', 'type', 'veth', 'peer', 'name', 'u0', 'netns', b.netns);
  for (const host of hosts) {
    ip('-n', host.netns, 'addr', 'add', `${host.underlay}/24`, 'dev', 'u0');
    ip('-n', host.netns, 'link', 'set', 'u0', 'mtu', String(mtu), 'up');
    const through = ['ip', 'netns', 'exec', host.netns];
    host.worker = await OverlayWorker.open({ ...optionsOf(host), underlayMtu: mtu, through, ...overrides });
    const { pid } = host.worker;
    t.teardown(async () => {
      await host.worker.stop();
      end(pid); // a test may have let go of it
    });
    await host.worker.setNetwork({
      vni: VNI,
      device: `pltn${VNI}`,
      bridge: 'br0',
      mtu: instanceMtu ?? overlayMtu(mtu),
    });
  }
  await Promise.all(hosts.map(carried));
  const peerOfA = a.worker.table.add(b.underlay);
  const peerOfB = b.worker.table.add(a.underlay);
  a.worker.addMember(VNI, b.underlay);
  b.worker.addMember(VNI, a.underlay);
  return { a, b, peerOfA, peerOfB, hosts };
}

export const SPI_A = 0x80100001;
export const SPI_B = 0x80100002;
export const KEY_A = Buffer.alloc(36, 0x11);
export const KEY_B = Buffer.alloc(36, 0x22);

export type Lab = Awaited<ReturnType<typeof lab>>;

export function encrypt({ a, b, peerOfA, peerOfB }: Lab): void {
  b.worker.table.addReceive(peerOfB, SPI_A, KEY_A);
  a.worker.table.addReceive(peerOfA, SPI_B, KEY_B);
  a.worker.table.setSend(peerOfA, { mode: 'encrypt', spi: SPI_A, key: KEY_A });
  b.worker.table.setSend(peerOfB, { mode: 'encrypt', spi: SPI_B, key: KEY_B });
}

export function plain(
  { a, b, peerOfA, peerOfB }: Lab,
  indication: Indication = { version: 3, fp12: 0xabc, off: true },
) {
  for (const [host, peer] of [[a, peerOfA] as const, [b, peerOfB] as const]) {
    host.worker.table.setAcceptPlain(peer, true);
    host.worker.table.setSend(peer, { mode: 'plain', indication });
  }
}

/** A program in a namespace; resolves with what it wrote, also when it fails. */
export function run(netns: string, ...command: string[]): Promise<{ code: number | null; text: string }> {
  return new Promise((resolve) => {
    const child = spawn('ip', ['netns', 'exec', netns, ...command], { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
    });
    child.stderr.on('data', (chunk) => {
      text += chunk;
    });
    child.on('close', (code) => resolve({ code, text }));
  });
}

export async function until(what: string, condition: () => boolean, timeout = 20_000): Promise<void> {
  const end = performance.now() + timeout;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`did not happen within ${timeout} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
