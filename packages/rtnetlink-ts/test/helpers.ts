import { execFileSync } from 'node:child_process';
import {
  forEachMessage,
  type Link,
  Malformed,
  type Message,
  MessageWriter,
  type Rtnetlink,
  vethPeer,
} from 'rtnetlink-ts';

let made = 0;

/** Runs with a namespace of its own and removes it whatever happens. */
export async function inNamespace(
  run: (netns: string, ip: (command: string) => string) => Promise<void>,
): Promise<void> {
  const netns = `rtnl${process.pid}x${made++}`;
  execFileSync('ip', ['netns', 'add', netns]);
  const ip = (command: string) => execFileSync('ip', ['-n', netns, ...command.split(' ')], { encoding: 'utf8' });
  try {
    ip('link set lo up');
    await run(netns, ip);
  } finally {
    execFileSync('ip', ['netns', 'del', netns]);
  }
}

/** Both ends are up. */
export async function vethPair(rtnetlink: Rtnetlink, name: string, peer: string): Promise<[Link, Link]> {
  await rtnetlink.addLink({ name, kind: 'veth', kindData: vethPeer({ name: peer }) });
  // The kernel sets no end of a pair up before the other one is there.
  for (const end of [name, peer]) await rtnetlink.setLink({ name: end, up: true });
  return [(await rtnetlink.getLink({ name }))!, (await rtnetlink.getLink({ name: peer }))!];
}

/** Until the kernel's messages have come through. A wait in vain ends: the runner gives up a test, not its waiting. */
export async function eventually(condition: () => boolean): Promise<void> {
  const end = performance.now() + 50_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`in vain: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** One message made by `write`, taken apart again. */
export function throughTheWire(type: number, write: (writer: MessageWriter) => void): Message {
  const writer = new MessageWriter(16);
  writer.begin(type, 0, 1);
  write(writer);
  writer.end();
  return only(Buffer.from(writer.bytes()));
}

export function only(bytes: Buffer): Message {
  const messages: Message[] = [];
  const malformed = forEachMessage(bytes, (message) => messages.push(message));
  if (malformed instanceof Malformed || messages.length !== 1) throw new Error(`not one message: ${malformed?.reason}`);
  return messages[0]!;
}
