/** What is written down for the next life: the log says what the state is, and what is not whole is not believed. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { encodeLsa, LsaType } from 'node-ospf-lsa';
import type { Clock } from '../../src/model/clock.ts';
import {
  decodeMemory,
  encodeAdjacencies,
  encodeGone,
  encodeLsaRecord,
  encodePulse,
  encodeStart,
  type Kept,
  type KeptAdjacency,
  PULSE_AT,
} from '../../src/ospf/codec/memory.ts';
import { memoryFile } from '../../src/ospf/index.ts';
import { Memory, type MemoryStore } from '../../src/ospf/memory.ts';
import { memoryInRam, quiet, type RamStore } from './memory-store.ts';
import { allFull, host, type Router, twoSwitches, type World } from './simulation.ts';

const u32 = fc.nat(0xffffffff);
const instant = fc.double({ min: 0, max: 1e9, noNaN: true });
const adjacency: fc.Arbitrary<KeptAdjacency> = fc.record({
  interface: fc.string(),
  area: u32,
  nssa: fc.boolean(),
  network: fc.constantFrom('point-to-point', 'broadcast'),
  helloInterval: u32,
  deadInterval: u32,
  address: u32,
  prefixLength: fc.nat(32),
  state: fc.constantFrom('Point-to-point', 'DR Other', 'Backup', 'DR'),
  designatedRouter: u32,
  backupDesignatedRouter: u32,
  neighbors: fc.array(
    fc.record({
      routerId: u32,
      address: u32,
      state: fc.constantFrom('2-Way', 'Full'),
      priority: fc.nat(255),
      options: fc.nat(255),
      designatedRouter: u32,
      backupDesignatedRouter: u32,
    }),
    { maxLength: 4 },
  ),
});
const pulse = fc.record({ at: instant, graceUntil: instant, cryptoSequence: u32 });
const lsa = (linkStateId: number, sequence: number) =>
  encodeLsa(
    { age: 3, options: 2, type: LsaType.AsExternal, linkStateId, advertisingRouter: 7, sequence },
    { kind: 'external', mask: 0xffffffff, metricType: 2, metric: 20, forwardingAddress: 0, tag: 0, tos: [] },
  );

function written(router: Router, world: World, store: RamStore): Memory {
  const clock: Clock = {
    now: () => world.now,
    schedule: (at, run) => {
      let cancelled = false;
      world.at(Math.max(at, world.now), () => {
        if (!cancelled) run();
      });
      return {
        cancel() {
          cancelled = true;
        },
      };
    },
  };
  const { core } = router.machine;
  return new Memory({ store, routerId: core.routerId, clock, log: quiet, core, count: (name) => count(core, name) });
}

const count = (core: Router['machine']['core'], name: string) =>
  core.counters.set(name, (core.counters.get(name) ?? 0) + 1);

function read(store: RamStore): Kept {
  const decoded = decodeMemory(store.read()!);
  if (!decoded.ok) throw new Error(decoded.detail);
  return decoded.value;
}

test('what is written is what is read: round trips', (t) => {
  fc.assert(
    fc.property(
      fc.string(),
      u32,
      pulse,
      fc.array(adjacency, { maxLength: 3 }),
      instant,
      (boot, routerId, beat, list, at) => {
        const area = { kind: 'area', id: routerId } as const;
        const bytes = Buffer.concat([
          encodeStart({ boot, routerId }, { at: 0, graceUntil: 0, cryptoSequence: 0 }),
          encodeLsaRecord({ kind: 'as' }, lsa(1, 5).raw, at),
          encodeLsaRecord(area, lsa(1, 6).raw, at),
          encodeLsaRecord(area, lsa(2, 1).raw, at),
          encodeAdjacencies([]),
          encodeLsaRecord({ kind: 'as' }, lsa(1, 9).raw, at + 1),
          encodeGone(area, lsa(2, 1).header),
          encodeGone({ kind: 'as' }, lsa(3, 1).header),
          encodeAdjacencies(list),
        ]);
        encodePulse(beat).copy(bytes, PULSE_AT);
        const decoded = decodeMemory(bytes);
        t.true(decoded.ok);
        if (!decoded.ok) return;
        t.deepEqual(decoded.value, {
          boot,
          routerId,
          pulse: beat,
          adjacencies: list,
          lsas: [
            { scope: { kind: 'as' }, lsa: lsa(1, 9), installedAt: at + 1 },
            { scope: area, lsa: lsa(1, 6), installedAt: at },
          ],
        });
      },
    ),
    { numRuns: 60 },
  );
});

test('cut off anywhere: what came before the last whole record is read; before the first, nothing', (t) => {
  const start = encodeStart({ boot: 'b', routerId: 1 }, { at: 1, graceUntil: 0, cryptoSequence: 2 });
  const records = [1, 2, 3].map((n) => encodeLsaRecord({ kind: 'as' }, lsa(n, n).raw, n));
  const whole = Buffer.concat([start, ...records]);
  for (let length = 0; length <= whole.length; length++) {
    const decoded = decodeMemory(whole.subarray(0, length));
    if (length < start.length) t.false(decoded.ok, `${length}`);
    else {
      t.true(decoded.ok, `${length}`);
      if (decoded.ok) t.is(decoded.value.lsas.length, Math.floor((length - start.length) / records[0]!.length));
    }
  }
});

test('any octet changed: refused with a reason, or read as if it were cut off there; never an exception', (t) => {
  const start = encodeStart({ boot: 'b', routerId: 1 }, { at: 1, graceUntil: 0, cryptoSequence: 2 });
  const whole = Buffer.concat([
    start,
    ...[1, 2, 3].map((n) => encodeLsaRecord({ kind: 'as' }, lsa(n, n).raw, n)),
    encodeAdjacencies([]),
  ]);
  const reasons = new Map<string, number>();
  for (let at = 0; at < whole.length; at++) {
    for (const flip of [1, 0x80, 0xff]) {
      const changed = Buffer.from(whole);
      changed[at]! ^= flip;
      const decoded = decodeMemory(changed);
      const reason = decoded.ok ? 'shorter' : decoded.reason;
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      // Only a length can make it look shorter.
      if (decoded.ok) t.true(decoded.value.lsas.length < 3 || at >= whole.length - 12, `octet ${at}`);
    }
  }
  t.deepEqual([...reasons.keys()].sort(), ['damaged', 'foreign', 'shorter', 'version']);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
      t.false(decodeMemory(noise).ok);
      decodeMemory(Buffer.concat([start, noise]));
    }),
  );
});

test('the log is at every moment what a snapshot of the speaker would be', (t) => {
  const { world, g, a, b } = twoSwitches();
  const store = memoryInRam();
  const memory = written(a, world, store);
  memory.begin();
  const flushed = (): Kept => {
    memory.flush();
    return read(store);
  };
  const compare = (what: string) => {
    const log = flushed();
    const ram = memoryInRam();
    // A second one would take the touched set over; the first goes on afterwards.
    const { touched } = a.machine.core;
    written(a, world, ram).begin();
    a.machine.core.touched = touched;
    const snapshot = read(ram);
    const key = ({ scope, lsa: { raw }, installedAt }: Kept['lsas'][number]) =>
      `${JSON.stringify(scope)} ${Buffer.from(raw).toString('hex')} ${installedAt}`;
    t.deepEqual(log.lsas.map(key).sort(), snapshot.lsas.map(key).sort(), what);
    t.deepEqual(log.adjacencies, snapshot.adjacencies, what);
  };
  compare('empty');
  world.until('Full everywhere', () => allFull(g, a, b));
  compare('Full');
  t.is(flushed().adjacencies[0]!.neighbors[0]!.state, 'Full');
  a.announce(host('10.10.10.1'), host('10.10.10.2'));
  b.announce(host('10.10.10.4'));
  compare('announced');
  world.run(700);
  a.withdraw('10.10.10.1');
  compare('being flushed');
  world.run(4000);
  b.withdraw('10.10.10.4');
  compare('gone');
  world.run(4000);
  compare('later');
  a.down(0);
  compare('down');
  t.deepEqual(flushed().adjacencies, []);
});

test('an LSA of ours is on the disk before it is sent; what is taken back, or said anew, is not waited for', (t) => {
  const { world, g, a, b } = twoSwitches();
  world.until('Full everywhere', () => allFull(g, a, b));
  const store = memoryInRam();
  const memory = written(a, world, store);
  memory.begin();
  /** As the driver does, up to the sending; then it is killed. */
  const happens = (event: Parameters<typeof a.machine.handle>[0]): number => {
    a.machine.handle(event, world.now);
    const before = store.bytes!.length;
    memory.ahead();
    const after = store.bytes!.length;
    a.machine.complete(world.now);
    return after - before;
  };
  const known = (): number => read(store).lsas.filter((each) => each.lsa.header.type === LsaType.AsExternal).length;
  const { address: C3 } = host('10.10.10.1');
  t.true(happens({ kind: 'hosts', delta: { announced: [host('10.10.10.1')], withdrawn: [] } }) > 0);
  t.is(known(), 1);
  t.is(happens({ kind: 'hosts', delta: { announced: [host('10.10.10.1', 1)], withdrawn: [] } }), 0);
  t.is(happens({ kind: 'hosts', delta: { announced: [], withdrawn: [C3] } }), 0);
  world.run(7_000);
  memory.flush();
  t.is(known(), 0);
  t.true(happens({ kind: 'hosts', delta: { announced: [host('10.10.10.1')], withdrawn: [] } }) > 0);
  t.is(known(), 1);
});

test('a log that has grown is written anew, and says the same', (t) => {
  const { world, g, a, b } = twoSwitches();
  const store = memoryInRam();
  const memory = written(a, world, store);
  memory.begin();
  world.until('Full everywhere', () => allFull(g, a, b));
  let longest = 0;
  const hosts = Array.from({ length: 200 }, (_, index) => `10.10.10.${index + 1}`);
  for (let round = 0; round < 110; round++) {
    a.announce(...hosts.map((each) => host(each, (round % 3) as 0 | 1 | 2)));
    memory.pulse(round);
    longest = Math.max(longest, store.bytes!.length);
  }
  t.true(longest > 1_000_000 && longest <= 1 << 20, `${longest}`);
  t.is(read(store).pulse.cryptoSequence, 109);
  t.true(store.bytes!.length < longest, 'it is shorter again');
  t.true(read(store).lsas.length >= 200);
});

test('of another boot, of another router, unreadable, too old: not believed, counted', (t) => {
  const { world, g, a, b } = twoSwitches();
  world.until('Full everywhere', () => allFull(g, a, b));
  const store = memoryInRam();
  const first = written(a, world, store);
  first.begin();
  first.pulse(77);
  first.leave();
  const { bytes } = store;
  const load = (change: Partial<RamStore>, router = a) => {
    router.machine.core.counters.clear();
    const kept = written(router, world, Object.assign(memoryInRam(), { bytes }, change)).load();
    return { kept, counters: Object.fromEntries(router.machine.core.counters) };
  };
  t.is(load({}).kept!.adjacencies.length, 1);
  t.is(load({}).kept!.pulse.cryptoSequence, 77);
  t.deepEqual(load({ boot: 'another' }), { kept: undefined, counters: { 'memory.of-another': 1 } });
  t.deepEqual(load({}, b), { kept: undefined, counters: { 'memory.of-another': 1 } });
  t.deepEqual(load({ bytes: undefined }), { kept: undefined, counters: {} });
  t.deepEqual(load({ bytes: Buffer.from('{"version":1}') }), { kept: undefined, counters: { 'memory.foreign': 1 } });
  const newer = Buffer.from(bytes!);
  newer[7] = 9;
  t.deepEqual(load({ bytes: newer }), { kept: undefined, counters: { 'memory.version': 1 } });
  const damaged = Buffer.from(bytes!);
  damaged[60]! ^= 1;
  t.deepEqual(load({ bytes: damaged }), { kept: undefined, counters: { 'memory.damaged': 1 } });
  const broken = () => {
    throw new Error('EIO');
  };
  t.deepEqual(load({ read: broken }), { kept: undefined, counters: { 'memory.unreadable': 1 } });
  world.run(4001);
  const late = load({});
  t.deepEqual([late.kept!.adjacencies, late.counters], [[], { 'memory.too-late': 1 }]);
  t.is(late.kept!.pulse.cryptoSequence, 77, 'which is true for ever');
});

test('a disk that is full: what can not be kept whole is not kept, and the speaker speaks on', (t) => {
  const { world, g, a, b } = twoSwitches();
  const store = memoryInRam();
  const memory = written(a, world, store);
  memory.begin();
  world.until('Full everywhere', () => allFull(g, a, b));
  memory.flush();
  t.truthy(store.bytes);
  store.broken = true;
  a.announce(host('10.10.10.1'));
  memory.flush();
  t.is(store.bytes, undefined);
  t.is(a.machine.core.counters.get('memory.not-written'), 1);
  t.is(a.machine.core.touched, undefined);
  world.until('announced all the same', () => g.routes.has('10.10.10.1/32'));
});

test('what a failing disk does not even remove is removed with a later hello, and written anew when the disk is well', (t) => {
  const { world, g, a, b } = twoSwitches();
  const store = memoryInRam();
  const memory = written(a, world, store);
  memory.begin();
  world.until('Full everywhere', () => allFull(g, a, b));
  memory.flush();
  store.broken = true;
  store.stubborn = true;
  a.announce(host('10.10.10.1'));
  memory.flush();
  t.truthy(store.bytes, 'old, and without the host');
  memory.pulse(1);
  t.truthy(store.bytes);
  store.stubborn = false;
  memory.pulse(2);
  t.is(store.bytes, undefined);
  world.run(10_000);
  memory.pulse(3);
  t.is(store.bytes, undefined, 'still full');
  store.broken = false;
  world.run(9_999);
  memory.pulse(4);
  t.is(store.bytes, undefined, 'not looked at so often');
  world.run(1);
  memory.pulse(5);
  const decoded = decodeMemory(store.bytes!);
  t.true(decoded.ok && decoded.value.adjacencies.length > 0);
  t.is(a.machine.core.counters.get('memory.not-written'), 2);
});

test('a clean stop leaves nothing to take up; the file is whole at every moment', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'peerless-memory-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'below', 'ospf.state');
  const store: MemoryStore = memoryFile(path);
  t.is(store.read(), undefined);
  store.replace(Buffer.from('abc'));
  store.write(Buffer.from('def'), 3);
  store.write(Buffer.from('X'), 1);
  t.is(readFileSync(path, 'latin1'), 'aXcdef');
  writeFileSync(`${path}.new`, 'left by a death in the midst of it');
  store.replace(Buffer.from('ghi'));
  t.is(Buffer.from(store.read()!).toString(), 'ghi');
  store.remove();
  t.is(store.read(), undefined);
  t.throws(() => store.write(Buffer.from('x'), 0));
});
