import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import type { ExecutionContext } from 'ava';
import type { IncomingMessage, LinuxSocket } from '../src/index.ts';

let made = 0;

export const ip = (...parameters: string[]) => execFileSync('ip', parameters, { stdio: ['ignore', 'pipe', 'pipe'] });

/** A namespace of this test's own, with loopback up; removed when the test ends, however it ends. */
export function namespace(t: ExecutionContext): string {
  const name = `lsock-${process.pid}-${++made}`;
  ip('netns', 'add', name);
  t.teardown(() => ip('netns', 'del', name));
  ip('-n', name, 'link', 'set', 'lo', 'up');
  return name;
}

/** Two namespaces joined by `v0` (10.9.0.1/24) in the first and `v1` (10.9.0.2/24) in the second. */
export function pair(t: ExecutionContext): [string, string] {
  const first = namespace(t);
  const second = namespace(t);
  ip('-n', first, 'link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1', 'netns', second);
  ip('-n', first, 'addr', 'add', '10.9.0.1/24', 'dev', 'v0');
  ip('-n', second, 'addr', 'add', '10.9.0.2/24', 'dev', 'v1');
  ip('-n', first, 'link', 'set', 'v0', 'up');
  ip('-n', second, 'link', 'set', 'v1', 'up');
  return [first, second];
}

/** Collects messages until `enough` says so; rejects with what receiveBatch throws. */
export function collect(socket: LinuxSocket, enough: (all: IncomingMessage[]) => boolean): Promise<IncomingMessage[]> {
  const all: IncomingMessage[] = [];
  return new Promise((resolve, reject) => {
    socket.onReadable(() => {
      try {
        all.push(...socket.receiveBatch());
      } catch (error) {
        socket.onReadable(undefined);
        reject(error);
        return;
      }
      if (!enough(all)) return;
      socket.onReadable(undefined);
      resolve(all);
    });
  });
}

export const openDescriptors = (): number => readdirSync('/proc/self/fd').length;

/** nlmsghdr + rtgenmsg/ifinfomsg: RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP. */
export function linkDump(): Buffer {
  const request = Buffer.alloc(32);
  request.writeUInt32LE(32, 0);
  request.writeUInt16LE(18, 4);
  request.writeUInt16LE(0x301, 6);
  request.writeUInt32LE(7, 8);
  return request;
}

/** Types of the netlink messages in a datagram. */
export function netlinkTypes(data: Buffer): number[] {
  const types: number[] = [];
  for (let at = 0; at + 16 <= data.length; ) {
    types.push(data.readUInt16LE(at + 4));
    const length = data.readUInt32LE(at);
    if (length < 16) break;
    at += (length + 3) & ~3;
  }
  return types;
}
