/**
 * A scripted neighbour and our TCP driver in one process of their own namespace (so on its loopback). Prints one JSON
 * object: whether written octets are in the peer's receive queue before the writing turn ends, and what became of the
 * session after each injected UPDATE.
 */

import type { Socket } from 'node:net';
import { createConnection, createServer } from 'node:net';
import { ioctl } from 'linux-sockets';
import { Framer } from '../../../src/bgp/codec/framer.ts';
import { parseMessage } from '../../../src/bgp/codec/parser.ts';
import { endOfRib, serialize, serializeUpdate } from '../../../src/bgp/codec/serializer.ts';
import { BgpSpeaker } from '../../../src/bgp/index.ts';
import type { Address, Mac, Prefix } from '../../../src/model/address.ts';
import { systemClock } from '../../../src/model/clock.ts';
import type { LearnedRoute } from '../../../src/model/hosts.ts';

const FIONREAD = 0x541b;
const result: Record<string, unknown> = {};
const learned = new Map<string, number>();
let notification: number[] | undefined;
/** What the peer has from us. */
const table = new Set<string>();
const CONTEXT = { fourOctetAs: true, families: new Set([4] as const), external: true, remoteAs: 65001 };
const until = async (ask: () => unknown) => {
  for (let round = 0; round < 400 && !ask(); round++) await new Promise((resolve) => setTimeout(resolve, 25));
};

let peer: Socket | undefined;
const server = createServer({ noDelay: true }, (socket) => {
  peer = socket;
  socket.on('error', () => {});
  const framer = new Framer();
  socket.write(
    serialize({
      type: 'OPEN',
      version: 4,
      myAs: 65000,
      holdTime: 0,
      identifier: '10.255.0.254' as Address,
      capabilities: [
        { code: 'four-octet-as', asn: 65000 },
        { code: 'multiprotocol', afi: 1, safi: 1 },
      ],
    }),
  );
  socket.write(serialize({ type: 'KEEPALIVE' }));
  socket.on('data', (data) => {
    for (const frame of framer.push(data)) {
      if (!('body' in frame)) continue;
      if (frame.type === 3) notification = [...frame.body.subarray(0, 2)];
      const message = parseMessage(frame, CONTEXT);
      if (message.type !== 'UPDATE') continue;
      for (const prefix of message.withdrawn) table.delete(prefix);
      for (const { prefixes } of message.reach) for (const prefix of prefixes) table.add(prefix);
    }
  });
});
await new Promise<void>((resolve) => server.listen(1790, '192.0.2.1', resolve));

const speaker = new BgpSpeaker({
  asn: 65001,
  routerId: '10.255.0.1' as Address,
  neighbors: [
    {
      address: '192.0.2.1' as Address,
      localAddress: '192.0.2.2' as Address,
      remoteAs: 65000,
      port: 1790,
      keepalive: 0,
      hold: 0,
    },
  ],
  announce: { communities: [] },
  prefixes: ['10.10.0.0/16' as Prefix],
  listen: { port: 1791, address: '192.0.2.2' as Address },
  clock: systemClock,
  log: { debug() {}, info() {}, warn() {}, error() {} },
  links: { port: () => undefined, portByIndex: () => undefined, ports: () => [], onChange: () => () => {} },
  onRoutes: (changes: readonly LearnedRoute[]) => {
    for (const change of changes) learned.set(change.prefix, change.nextHops.length);
  },
  onForeignClaim: () => {},
  onSession: () => {},
});
speaker.start();
const up = () => until(() => speaker.establishedWith('192.0.2.1' as Address));
await up();
await new Promise((resolve) => setTimeout(resolve, 200));

// The peer stops reading, so what arrives stays in its receive queue, where it can be counted.
peer!.pause();
const fd = (peer as unknown as { _handle: { fd: number } })._handle.fd;
const waiting = () => {
  const count = Buffer.alloc(4);
  ioctl(fd, FIONREAD, count);
  return count.readInt32LE(0);
};
await new Promise((resolve) => setTimeout(resolve, 50));
const announced = Array.from({ length: 1000 }, (_, index) => ({
  address: `10.10.${index >> 8}.${index & 255}` as Address,
  interface: 'A1',
  ifindex: 9,
  mac: '02:00:00:00:00:01' as Mac,
  level: 0 as const,
}));
const before = waiting();
speaker.apply({ withdrawn: [], announced });
result.announcedOctetsInTheSameTurn = waiting() - before;
const between = waiting();
speaker.apply({ withdrawn: announced.map((host) => host.address), announced: [] });
result.withdrawnOctetsInTheSameTurn = waiting() - between;

// Still not reading, until our kernel takes no more: then the newest words wait, and come when there is room again.
let rounds = 0;
const queued = () => speaker.sessions()[0]!.queued;
while (queued() === 0 && rounds++ < 20_000) {
  speaker.apply({ withdrawn: [], announced });
  speaker.apply({ withdrawn: announced.map((host) => host.address), announced: [] });
}
result.queuedAfterRounds = queued();
const kept = announced.slice(0, 10);
for (let round = 0; round < 50; round++) {
  speaker.apply({ withdrawn: [], announced: kept });
  if (round < 49) speaker.apply({ withdrawn: kept.map((host) => host.address), announced: [] });
}
result.queuedAtLast = queued();
peer!.resume();
await until(() => queued() === 0 && table.size === 10);
result.tableAfterBacklog = [...table].sort();

const good = serializeUpdate(
  {
    type: 'UPDATE',
    withdrawn: [],
    reach: [{ family: 4, nextHop: '192.0.2.1' as Address, prefixes: ['198.51.100.0/24' as Prefix] }],
    attributes: { origin: 0, asPath: [{ type: 'AS_SEQUENCE', asns: [65000] }] },
  },
  true,
);
async function inject(bytes: Uint8Array): Promise<object> {
  await up();
  peer!.write(good);
  await until(() => learned.get('198.51.100.0/24') === 1);
  notification = undefined;
  peer!.write(bytes);
  await until(() => learned.get('198.51.100.0/24') === 0);
  await new Promise((resolve) => setTimeout(resolve, 100));
  return {
    established: speaker.establishedWith('192.0.2.1' as Address),
    route: learned.get('198.51.100.0/24'),
    notification,
  };
}
const changed = (edit: (bytes: Buffer) => void) => {
  const bytes = Buffer.from(good);
  edit(bytes);
  return bytes;
};
// ORIGIN's value is the fourth octet of the attributes, which begin at 23.
result.treatAsWithdraw = await inject(changed((bytes) => bytes.writeUInt8(9, 26)));
// The length of the only NLRI, 198.51.100.0/24, is four octets from the end.
result.badPrefix = await inject(changed((bytes) => bytes.writeUInt8(77, bytes.length - 4)));
result.badMarker = await inject(changed((bytes) => bytes.writeUInt8(0, 0)));
await up();
peer!.write(endOfRib(4));
await until(() => speaker.initialRoutesReceived('192.0.2.1' as Address));
result.endOfRib = speaker.initialRoutesReceived('192.0.2.1' as Address);

// Strangers and garbage at our own listener.
const stranger = createConnection({ host: '192.0.2.2', port: 1791, localAddress: '192.0.2.9' });
stranger.on('error', () => {});
result.strangerClosed = await new Promise((resolve) => {
  stranger.on('close', () => resolve(true));
  setTimeout(() => resolve(false), 5000);
});
result.counters = speaker.counters();
await speaker.stop();
console.log(JSON.stringify(result));
process.exit();
