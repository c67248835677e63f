import test from 'ava';
import type { Address } from '../../../src/model/address.ts';
import { Ageing } from '../../../src/vswitch-bridge/fastpath/ageing/driver.ts';
import { PeerUpkeep } from '../../../src/vswitch-bridge/fastpath/ageing/peers.ts';
import * as layout from '../../../src/vswitch-bridge/fastpath/maps/layout.ts';
import { hostOf, knownPeers, markOf, peerRecords } from '../../../src/vswitch-bridge/fastpath/peers.ts';

const SECOND = 1e9;
const HOUR = 3600 * SECOND;
const LIFETIME = 60_000;

/** An array of the kernel's. */
function arrayMap(name: string, entries: number, size: number) {
  const values = Buffer.alloc(entries * size);
  const slice = (key: Buffer) => values.subarray(key.readUInt32LE(0) * size, (key.readUInt32LE(0) + 1) * size);
  return {
    name,
    values,
    maxEntries: entries,
    get: (key: Buffer, into?: Buffer) => {
      if (!into) return Buffer.from(slice(key));
      slice(key).copy(into);
      return into;
    },
    set: (key: Buffer, value: Buffer) => void slice(key).set(value),
    *batches() {
      const keys = Buffer.alloc(entries * 4);
      for (let index = 0; index < entries; index++) keys.writeUInt32LE(index, index * 4);
      yield { count: entries, keys, values: Buffer.from(values) };
    },
  };
}

function made(remotes: readonly string[] = []) {
  const peers = arrayMap('peers', layout.PEERS, layout.peer.size);
  const generation = arrayMap('peer_generation', layout.PEERS, 4);
  const restored = arrayMap('restored', layout.PEERS * layout.KEYS_A_PEER, layout.restored.size);
  const tables = { peers, peer_generation: generation, restored } as unknown as ConstructorParameters<
    typeof PeerUpkeep
  >[0]['tables'];
  const said: boolean[] = [];
  const upkeepOf = () => {
    const upkeep = new PeerUpkeep({ tables, lifetime: LIFETIME, crowded: (crowded) => void said.push(crowded) });
    upkeep.follow(remotes as Address[]);
    return upkeep;
  };
  const meet = (index: number, address: string, fields: Partial<layout.Peer> = {}) =>
    peers.values.set(
      layout.peer.encode({ address: address as Address, next_hop: address as Address, ...fields }),
      index * layout.peer.size,
    );
  const key = (index: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(index);
    return bytes;
  };
  return {
    ...{ peers, said, upkeepOf, meet },
    generationOf: (index: number) => generation.get(key(index))!.readUInt32LE(0),
    tell: (index: number, number: number, told: number) =>
      restored.set(key(index * layout.KEYS_A_PEER + number), layout.restored.encode({ told: BigInt(told) })),
    known: (): readonly string[] => knownPeers(tables.peers).map(({ peer: { address } }) => address),
    record: (index: number) => [...peerRecords(tables.peers)].find((one) => one.index === index)!,
  };
}

/** One sweep that shows these connections. */
function sweep(upkeep: PeerUpkeep, now: number, connections: readonly Buffer[] = []): void {
  const look = upkeep.look(now);
  for (const bytes of connections) look.see(bytes, 0);
  for (const _ of look.steps(() => now));
}

const GONE = '10.20.1.9';

/** A connection that lives, one direction of which leaves that way. */
function way(kind: (typeof layout.EXIT_KINDS)[number], target: number, side: number): Buffer {
  const bytes = layout.connection.encode({ state: 2, expires: BigInt(99 * HOUR) });
  const at = layout.connection.offsets.direction + side * layout.direction.size + layout.direction.offsets.exit;
  const exit = layout.exit.decode(Buffer.alloc(layout.exit.size));
  layout.exit.write(bytes, at, { ...exit, kind: layout.EXIT_KINDS.indexOf(kind), target });
  return bytes;
}

test('R3.6 a host that has gone gives its record back in steps, and each makes void what was learned of it', (t) => {
  const { upkeepOf, meet, known, record, generationOf } = made(['10.20.1.2']);
  meet(3, GONE);
  meet(4, '10.20.1.2');
  const upkeep = upkeepOf();
  sweep(upkeep, HOUR);
  t.deepEqual(known(), [GONE, '10.20.1.2'], 'nobody knows how long it has been silent');
  sweep(upkeep, HOUR + 599 * SECOND);
  t.is(known().length, 2);
  sweep(upkeep, HOUR + 601 * SECOND);
  t.is(generationOf(3), 1, 'nobody sends by it');
  sweep(upkeep, HOUR + 605 * SECOND);
  t.is(known().length, 2, 'but one may be about to');
  sweep(upkeep, HOUR + 606 * SECOND);
  t.deepEqual(known(), ['10.20.1.2']);
  t.is(markOf(record(3)), layout.PEER_LEAVING);
  t.is(generationOf(3), 2);
  sweep(upkeep, HOUR + 610 * SECOND);
  t.is(markOf(record(3)), layout.PEER_LEAVING, 'a program may be in the midst of it');
  sweep(upkeep, HOUR + 611 * SECOND);
  t.is(markOf(record(3)), layout.PEER_LEFT);
  t.is(generationOf(3), 3);
  t.is(hostOf(record(3)), undefined);
  const { next_hop, rewrite } = layout.peer.decode(record(3).bytes, record(3).at);
  t.is(next_hop as string, '0.0.0.0');
  t.is(Number(rewrite[layout.PEER_VOID_BEFORE]), HOUR + 611 * SECOND, 'what it has told is no key of the next');
  t.is(generationOf(4), 0);
  t.like(upkeep.counts(), { known: 1, left: 1 });
  sweep(upkeep, 99 * HOUR);
  t.deepEqual(known(), ['10.20.1.2'], 'a remote is silent for as long as it likes');
});

test('R3.6 what an agent before this one has begun is brought to its end', (t) => {
  const { upkeepOf, meet, record } = made();
  meet(3, GONE);
  const before = upkeepOf();
  for (const hour of [1, 2, 3]) sweep(before, hour * HOUR);
  t.is(markOf(record(3)), layout.PEER_LEAVING);
  const after = upkeepOf();
  sweep(after, 4 * HOUR);
  t.is(markOf(record(3)), layout.PEER_LEAVING);
  sweep(after, 4 * HOUR + 6 * SECOND);
  t.is(markOf(record(3)), layout.PEER_LEFT);
});

test('R3.6 whoever speaks, is spoken to, is known, or has been told a key stays', (t) => {
  const now = 2 * HOUR;
  const lately = BigInt(now - 300 * SECOND);
  for (const fields of [
    { last_sent: lately },
    { last_heard: lately },
    { rewrite: [BigInt(now + 1)] },
  ] as Partial<layout.Peer>[]) {
    const { upkeepOf, meet, known } = made();
    meet(3, GONE, fields);
    const upkeep = upkeepOf();
    sweep(upkeep, HOUR);
    sweep(upkeep, now - 10 * SECOND);
    sweep(upkeep, now);
    t.deepEqual(known(), [GONE]);
  }
  const { upkeepOf, meet, known, tell } = made();
  meet(3, GONE);
  tell(3, 17, now - 100 * SECOND);
  const upkeep = upkeepOf();
  sweep(upkeep, HOUR);
  for (const later of [0, 10, 19]) sweep(upkeep, now + later * SECOND);
  t.deepEqual(known(), [GONE]);
  for (const later of [21, 30]) sweep(upkeep, now + later * SECOND);
  t.deepEqual(known(), []);
});

test('R3.6 whoever speaks up while it is being left stays, and is asked from the beginning when it falls silent again', (t) => {
  const { upkeepOf, meet, known, generationOf } = made();
  meet(3, GONE);
  const upkeep = upkeepOf();
  sweep(upkeep, HOUR);
  sweep(upkeep, 2 * HOUR);
  t.is(generationOf(3), 1);
  meet(3, GONE, { last_sent: BigInt(2 * HOUR + SECOND) });
  sweep(upkeep, 2 * HOUR + 10 * SECOND);
  t.deepEqual(known(), [GONE]);
  sweep(upkeep, 3 * HOUR);
  t.deepEqual([known(), generationOf(3)], [[GONE], 2]);
  sweep(upkeep, 3 * HOUR + 10 * SECOND);
  t.deepEqual(known(), []);
});

test('R3.6 a connection that lives keeps the record of the host that it goes to', (t) => {
  const { upkeepOf, meet, known } = made();
  meet(3, GONE);
  const upkeep = upkeepOf();
  sweep(upkeep, HOUR);
  for (const side of [0, 1]) {
    for (const hour of [2, 3]) sweep(upkeep, hour * HOUR, [way('tunnel', 3, side)]);
    t.deepEqual(known(), [GONE]);
  }
  for (const hour of [4, 5]) sweep(upkeep, hour * HOUR, [way('tunnel', 4, 0), way('deliver', 3, 1)]);
  t.deepEqual(known(), []);
});

test('R3.6 before there is no room for another it is said, once, and once that there is room again', (t) => {
  const { upkeepOf, meet, said } = made();
  const upkeep = upkeepOf();
  const fill = (count: number, now: number) => {
    for (let index = 0; index < layout.PEERS; index++) {
      meet(index, index < count ? `10.20.${index >> 8}.${index & 255}` : '0.0.0.0', { last_sent: BigInt(now) });
    }
    sweep(upkeep, now);
  };
  fill(767, HOUR);
  t.deepEqual([said, upkeep.counts().crowded], [[], false]);
  for (const count of [768, 800, 700]) fill(count, HOUR);
  t.deepEqual([said, upkeep.counts().crowded], [[true], true]);
  fill(640, HOUR);
  t.deepEqual(said, [true, false]);
});

test('R3.6 the looks for old connections are those at which records are given back', async (t) => {
  const { upkeepOf, meet, known } = made();
  meet(3, GONE);
  const connections = arrayMap('connections', 2, layout.connection.size);
  const nothing = arrayMap('nothing', 0, 0);
  const tables = { connections, flows: nothing, sent_keys: nothing } as unknown as ConstructorParameters<
    typeof Ageing
  >[0];
  let now = 0;
  const clock = { now: () => now, schedule: () => ({ cancel: () => undefined }) };
  const ageing = new Ageing(tables, clock, 5000, undefined, upkeepOf());
  const looks = async (...hours: number[]) => {
    for (const hour of hours) {
      now = hour * 3_600_000;
      await ageing.sweep();
    }
  };
  connections.values.set(way('tunnel', 3, 0), layout.connection.size);
  await looks(1, 2, 3, 4);
  t.deepEqual(known(), [GONE], 'a connection goes there');
  connections.values.fill(0);
  await looks(5);
  t.deepEqual(known(), [GONE]);
  await looks(6);
  t.deepEqual(known(), []);
  await ageing.close();
});
