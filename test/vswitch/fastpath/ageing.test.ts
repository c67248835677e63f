import test from 'ava';
import fc from 'fast-check';
import type { Clock } from '../../../src/model/clock.ts';
import { Ageing } from '../../../src/vswitch-bridge/fastpath/ageing/driver.ts';
import { fateOf, Sweep } from '../../../src/vswitch-bridge/fastpath/ageing/sweep.ts';
import { connection, flowValue } from '../../../src/vswitch-bridge/fastpath/maps/layout.ts';

const record = (state: number, expires: number, generation: number) =>
  connection.encode({ state, expires: BigInt(expires), generation });
const value = (slot: number, direction: number, generation: number) =>
  flowValue.encode({ record: slot * 2 + direction, generation });

test('R1.4 R3.6 a key lives as long as its connection, and not when the record is another one now', (t) => {
  const now = 2 ** 40;
  const sweep = new Sweep(8, now);
  sweep.see(1, record(2, now + 1, 7), 0);
  sweep.see(2, record(2, now, 7), 0);
  sweep.see(3, record(0, now + 1, 7), 0);
  t.is(sweep.live, 1);
  t.is(sweep.fateOf(value(1, 0, 7), 0), 'live');
  t.is(sweep.fateOf(value(1, 1, 7), 0), 'live');
  t.is(sweep.fateOf(value(1, 0, 6), 0), 'stale');
  t.is(sweep.fateOf(value(2, 0, 7), 0), 'expired');
  t.is(sweep.fateOf(value(3, 0, 7), 0), 'expired');
  t.is(sweep.fateOf(value(800, 0, 7), 0), 'stale');
});

test('R3.6 a key and its record, looked at alone, have the fate that the sweep gives them', (t) => {
  fc.assert(
    fc.property(fc.nat(4), fc.nat(100), fc.nat(100), fc.nat(3), fc.nat(3), (state, expires, now, generation, of) => {
      const bytes = record(state, expires, generation);
      const sweep = new Sweep(3, now);
      sweep.see(2, bytes, 0);
      return sweep.fateOf(value(2, 1, of), 0) === fateOf(value(2, 1, of), bytes, now);
    }),
  );
  t.pass();
});

/** Tables of nothing, of which each batch takes a millisecond to read. */
function slowTables(batches: number, clock: { at: number }) {
  const map = {
    maxEntries: 4,
    *batches() {
      for (let batch = 0; batch < batches; batch += 1) {
        clock.at += 1;
        yield { count: 0, keys: Buffer.alloc(0), values: Buffer.alloc(0) };
      }
    },
  };
  return { connections: map, flows: map, sent_keys: map } as unknown as ConstructorParameters<typeof Ageing>[0];
}

test('R3.6 the event loop has its turn every few milliseconds of a look', async (t) => {
  const time = { at: 0 };
  const clock: Clock = { now: () => time.at, schedule: () => ({ cancel: () => undefined }) };
  const ageing = new Ageing(slowTables(100, time), clock, 5000);
  let others = 0;
  let looking = true;
  const other = () => {
    others += 1;
    if (looking) setImmediate(other);
  };
  setImmediate(other);
  await ageing.sweep();
  looking = false;
  t.true(others >= 90, `${others} turns of others in 300 ms`);
  t.is(ageing.counters().longestPortion, 3);
  t.is(ageing.counters().sweeps, 1);
  await ageing.close();
});

test('R3.6 a look that is under way ends when the fast path is closed', async (t) => {
  const time = { at: 0 };
  const due: (() => void)[] = [];
  const clock: Clock = {
    now: () => time.at,
    schedule: (_, run) => {
      due.push(run);
      return { cancel: () => undefined };
    },
  };
  const ageing = new Ageing(slowTables(1_000_000_000, time), clock, 5000);
  due[0]!();
  await new Promise((resolve) => setImmediate(resolve));
  await ageing.close();
  t.is(ageing.counters().sweeps, 0);
  t.is(due.length, 1);
});
