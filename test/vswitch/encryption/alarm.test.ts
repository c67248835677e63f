/** Whatever travels in plain text is told: at its first packet, for as long as it lasts, at both ends; and what is refused is not. */
import test from 'ava';
import { encodePlainEsp } from '../../../src/vswitch-bridge/encryption/codec/esp.ts';
import { encodeVxlan } from '../../../src/vswitch-bridge/encryption/codec/vxlan.ts';
import { A, B, frame, type Host, Pair } from './hosts.ts';

/** Between two looks, and how long after the last plain packet the alarm goes, ms. */
const LOOK = 500;
const QUIET = 10_000;

const alarms = ({ events }: Host) =>
  events.filter(({ type }) => type === 'encryption.plain').map(({ severity, fields }) => `${severity} ${fields.peer}`);
const warned = ({ encryption }: Host) => encryption.warnings().filter((warning) => warning.includes('in plain text'));

async function pair(policy: 'available' | 'overlap' | 'strict') {
  const both = await Pair.make(policy);
  for (const host of [both.a, both.b]) host.keys.only(1);
  both.run(50);
  return both;
}

test('R0.7 versions differ, available: both ends raise the alarm with the first plain packet, once, and end it when there is none', async (t) => {
  const both = await pair('available');
  const { a, b } = both;
  b.keys.only(2);
  both.flow(() => a, 0, 2000, 10);
  both.run(LOOK + 150);
  t.deepEqual([alarms(a), alarms(b)], [[`error ${B}`], [`error ${A}`]]);
  t.deepEqual([warned(a).length, warned(b).length], [1, 1]);
  t.is(a.encryption.counters().plainTextPeers, 1);
  t.true((a.encryption.view()[0]!.plainAge ?? Number.POSITIVE_INFINITY) <= LOOK);
  both.run(19_000);
  t.deepEqual(alarms(a), [`error ${B}`], 'said once while it lasts');
  a.keys.only(2);
  both.run(QUIET + 2 * LOOK + 1000);
  for (const [host, peer] of [
    [a, B],
    [b, A],
  ] as const) {
    t.deepEqual(alarms(host), [`error ${peer}`, `info ${peer}`]);
    t.deepEqual(warned(host), []);
  }
});

test('R0.4 a peer that answers no hello, available: what goes to it in plain text raises the alarm', async (t) => {
  const both = await pair('available');
  const { a } = both;
  both.network = ({ to }) => (to === B ? [] : [0.5]);
  a.worker.die();
  both.run(10);
  await new Promise((resolve) => setImmediate(resolve));
  both.flow(() => a, 0, 400, 10);
  both.run(5000);
  t.true(both.capture.some(({ payload, from }) => from === A && payload[0]! >>> 4 === 9));
  t.deepEqual(alarms(a), [`error ${B}`]);
  t.is(warned(a).length, 1);
});

for (const policy of ['available', 'overlap', 'strict'] as const) {
  test(`plain packets that somebody makes up are refused, counted, and no alarm: ${policy}`, async (t) => {
    const both = await pair(policy);
    const { a, b } = both;
    // What was under way when the ends began to encrypt is no alarm either.
    both.run(3000);
    const off = { version: 2, fp12: 0x123, off: true };
    const made = frame(0, 'udp');
    both.flow(() => a, 1, 100);
    for (let count = 0; count < 100; count++) {
      both.clock.after(count * 10, () => {
        const from = { at: 0, from: A, to: B };
        b.worker.receive({
          ...from,
          port: 4500,
          payload: encodePlainEsp(off, 1n, { vni: 100, sourcePort: 1, frame: made }),
        });
        b.worker.receive({ ...from, port: 4789, payload: encodeVxlan(100, made, off) });
      });
    }
    both.run(2000);
    t.deepEqual([alarms(a), alarms(b)], [[], []]);
    t.is(both.got(b).length, 100);
    t.deepEqual(b.encryption.view()[0]!.refused, { 'plain-refused': 200 });
    t.is(b.encryption.view()[0]!.received.plain, 0);
  });
}
