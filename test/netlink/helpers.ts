import { execFileSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { AF, ETH_P, ioctl, LinuxSocket, SOCK, withNetns } from 'linux-sockets';
import type { Address, Mac, Prefix } from '../../src/model/address.ts';
import { parseAddress, parseMac, parsePrefix } from '../../src/model/address.ts';
import type { HostDelta, HostRoute } from '../../src/model/hosts.ts';
import type { Port } from '../../src/model/ports.ts';
import { Kernel, type KernelOptions } from '../../src/netlink/index.ts';

let made = 0;

export interface Box {
  readonly netns: string;
  ip(command: string): string;
}

/** `count` namespaces of this test's own, removed whatever happens. */
export async function inBoxes(count: number, run: (...boxes: Box[]) => Promise<void>): Promise<void> {
  const boxes = Array.from({ length: count }, () => {
    const netns = `pnl${process.pid}x${made++}`;
    return {
      netns,
      ip: (command: string) => execFileSync('ip', ['-n', netns, ...command.split(' ')], { encoding: 'utf8' }),
    };
  });
  try {
    for (const box of boxes) {
      execFileSync('ip', ['netns', 'add', box.netns]);
      box.ip('link set lo up');
    }
    await run(...boxes);
  } finally {
    for (const { netns } of boxes) execFileSync('ip', ['netns', 'del', netns]);
  }
}

/** A cable: `port` in one box, `serverPort` in the other, both up. */
export function cable(box: Box, port: string, server: Box, serverPort: string): void {
  box.ip(`link add ${port} type veth peer name ${serverPort} netns ${server.netns}`);
  box.ip(`link set ${port} up`);
  server.ip(`link set ${serverPort} up`);
}

export async function withKernel(
  box: Box,
  run: (kernel: Kernel) => Promise<void>,
  options: KernelOptions = {},
): Promise<void> {
  const kernel = await Kernel.open({ ...options, netns: box.netns });
  try {
    await run(kernel);
  } finally {
    kernel.close();
  }
}

/** Until the kernel's messages have come through. A wait in vain ends: the runner gives up a test, not its waiting. */
export async function eventually(condition: () => boolean): Promise<void> {
  const end = performance.now() + 50_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`in vain: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

export const upAndThere = (kernel: Kernel, ...names: string[]): Promise<void> =>
  eventually(() => names.every((name) => kernel.port(name)?.adminUp && kernel.port(name)?.carrier));

export const address = (text: string): Address => parseAddress(text)!;
export const prefix = (text: string): Prefix => parsePrefix(text)!;
export const mac = (text: string): Mac => parseMac(text)!;

export const host = (text: string, port: Port, hardware = '02:00:00:00:00:02'): HostRoute => ({
  address: address(text),
  interface: port.name,
  ifindex: port.ifindex,
  mac: mac(hardware),
  level: 0,
});

export const announce = (...announced: HostRoute[]): HostDelta => ({ withdrawn: [], announced });
export const withdraw = (...hosts: string[]): HostDelta => ({ withdrawn: hosts.map(address), announced: [] });

/** Opens a raw socket on an interface; frames are whole Ethernet frames. */
export function packetSocket(box: Box, interfaceName: string): LinuxSocket {
  const protocol = ETH_P.ALL;
  const socket = LinuxSocket.open({ family: AF.PACKET, type: SOCK.RAW, protocol, netns: box.netns });
  const ifindex = Number(/^(\d+):/.exec(box.ip(`link show ${interfaceName}`))![1]);
  socket.bind({ family: 'packet', ifindex, protocol });
  return socket;
}

export function frameFrom(source: string): Buffer {
  const frame = Buffer.alloc(60);
  frame.fill(0xff, 0, 6);
  Buffer.from(source.replaceAll(':', ''), 'hex').copy(frame, 6);
  // Local experimental EtherType.
  frame.writeUInt16BE(0x88b5, 12);
  return frame;
}

const TUNSETIFF = 0x400454ca;
const TUNSETCARRIER = 0x400454e2;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;

export interface Tap {
  setCarrier(on: boolean): void;
  close(): void;
}

/** A tap: an ordinary device of which we hold the cable (a veth hides late carrier events). */
export function tap(box: Box, name: string): Tap {
  const fd = withNetns(box.netns, () => {
    const opened = openSync('/dev/net/tun', 'r+');
    const request = Buffer.alloc(40);
    request.write(name);
    request.writeUInt16LE(IFF_TAP | IFF_NO_PI, 16);
    ioctl(opened, TUNSETIFF, request);
    return opened;
  });
  box.ip(`link set ${name} up`);
  return {
    setCarrier(on) {
      const value = Buffer.alloc(4);
      value.writeUInt32LE(Number(on));
      ioctl(fd, TUNSETCARRIER, value);
    },
    close: () => closeSync(fd),
  };
}
