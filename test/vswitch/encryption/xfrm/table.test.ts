/** The machine over a kernel's XFRM: the same agreement, other hands. */
import test from 'ava';
import type { Address } from '../../../../src/model/address.ts';
import { seal } from '../../../../src/vswitch-bridge/encryption/codec/esp.ts';
import { REQID } from '../../../../src/vswitch-bridge/encryption/xfrm/projection.ts';
import { A, B, frame, SaidKeys } from '../hosts.ts';
import { state, type XfrmHost, XfrmWorld } from './hosts.ts';

const C = '10.20.1.3' as Address;

async function pair(policy: 'overlap' | 'strict' = 'overlap') {
  const world = new XfrmWorld(policy);
  const a = await world.host(A, [B]);
  const b = await world.host(B, [A]);
  for (const { keys } of [a, b]) keys.issue(1);
  await world.run(50);
  return { world, a, b };
}

const numbers = ({ kernel }: XfrmHost) => kernel.delivered.map(({ number }) => number);
/** In order, from the last one who called. */
const since = ({ kernel }: XfrmHost) => kernel.calls.splice(0);
const outbound = ({ kernel }: XfrmHost) =>
  [...kernel.states.values()].filter(({ sa }) => sa.source === kernel.local).map(({ sa }) => sa.spi);
const versionOf = (spi: number) => (spi >>> 20) & 0xff;

test('R0.1 R0.3 two hosts agree, and everything between them is encrypted by the kernel', async (t) => {
  const { world, a, b } = await pair();
  t.is(state(a, B).state, 'valid');
  t.is(state(a, B).sending, 'encrypt');
  for (let number = 1; number <= 5; number++) {
    a.kernel.transmit(B, number);
    b.kernel.transmit(A, 10 + number);
  }
  await world.run(10);
  t.deepEqual(numbers(b), [1, 2, 3, 4, 5]);
  t.deepEqual(numbers(a), [11, 12, 13, 14, 15]);
  t.false(
    world.capture.some(({ port }) => port === 4789),
    'nothing left as plain VXLAN',
  );
  await world.run(6000);
  const { sent, received } = state(a, B);
  t.deepEqual([sent.encrypted, received.encrypted, sent.plain, received.plain], [5, 5, 0, 0]);
  for (const { sa } of a.kernel.states.values()) {
    t.is(sa.reqid, REQID);
    t.deepEqual(sa.encapsulation, { sourcePort: 4500, destinationPort: 4500 });
  }
});

test('rotation: what comes in is readable first, then the peer hears of it, then it is sent under, then the old ones go; nothing is lost', async (t) => {
  const { world, a, b } = await pair();
  let number = 0;
  const flow = (count: number) => {
    for (let at = 0; at < count; at++)
      world.clock.after(at * 3, () => {
        a.kernel.transmit(B, ++number);
        b.kernel.transmit(A, number);
      });
  };
  flow(400);
  since(a);
  world.clock.after(100, () => a.keys.issue(2));
  await world.run(120);
  const first = since(a);
  // B does not have V2 yet: it can be read, it is not sent under.
  t.regex(first[0]!, /^in 802/);
  t.is(first[1], `control to ${B}`);
  t.false(first.some((call) => call.startsWith('out ') || call.startsWith('policy')));
  world.clock.after(100, () => b.keys.issue(2));
  await world.run(200);
  const second = since(a).filter((call) => !call.startsWith('control'));
  t.regex(second[0]!, /^out 802/);
  t.is(second[1], `policy out ${second[0]!.slice(4)}`);
  for (const version of [3, 4]) {
    world.clock.after(100, () => a.keys.issue(version));
    world.clock.after(130, () => b.keys.issue(version));
    await world.run(200);
  }
  // FakeXfrm throws when an SA goes that a policy still names.
  const third = since(a).filter((call) => !call.startsWith('control'));
  const at = (start: RegExp) => third.findIndex((call) => start.test(call));
  t.true(at(/^in 804/) < at(/^out 804/) && at(/^out 804/) < at(/^policy out 804/));
  await world.run(1000);
  t.deepEqual(
    numbers(b),
    Array.from({ length: 400 }, (_, index) => index + 1),
  );
  t.deepEqual(numbers(a), numbers(b));
  t.deepEqual(outbound(a).map(versionOf).sort(), [2, 3, 4], 'three versions are held');
});

test('a version that is gone back to goes on counting; a key that comes back after it had gone is never sent under again', async (t) => {
  const { world, a, b } = await pair();
  for (const version of [2, 1]) {
    // V1 becomes the newest once more, with other octets; then B alone loses V2.
    a.keys.issue(version, version);
    b.keys.issue(version, version);
    await world.run(100);
    a.kernel.transmit(B, version);
    await world.run(10);
  }
  b.keys.only(2, 2);
  await world.run(100);
  t.is(versionOf(Number([...a.kernel.policyList.values()].find(({ template }) => template?.spi)!.template!.spi)), 2);
  a.kernel.transmit(B, 3);
  await world.run(10);
  // FakeXfrm throws when a number is used twice under a key.
  b.keys.issue(1, 1);
  await world.run(100);
  a.kernel.transmit(B, 4);
  await world.run(100);
  t.deepEqual(numbers(b), [2, 1, 3, 4]);
  // The very same V7, gone and back: other salts, so another key.
  for (const { keys } of [a, b]) keys.only(7);
  await world.run(100);
  a.kernel.transmit(B, 5);
  await world.run(10);
  const before = new Set(a.kernel.states.keys());
  for (const { keys } of [a, b]) keys.only(8);
  await world.run(100);
  for (const { keys } of [a, b]) keys.only(7);
  await world.run(3000);
  a.kernel.transmit(B, 6);
  await world.run(100);
  t.is(state(a, B).state, 'valid');
  t.deepEqual(numbers(b).slice(-2), [5, 6]);
  t.false([...a.kernel.states.keys()].some((name) => before.has(name)));
});

test('R0.8 the agent ends and begins anew while the controller is dead: SAs, windows and numbers go on', async (t) => {
  const { world, a, b } = await pair();
  a.kernel.transmit(B, 1);
  await world.run(600);
  const spis = outbound(a);
  await a.encryption.close({ keep: true });
  a.kernel.transmit(B, 2);
  const unreachable = new SaidKeys('no controller');
  const again = await world.host(A, [B], { ...a, keys: unreachable });
  await world.run(1000);
  again.kernel.transmit(B, 3);
  await world.run(3_600_000);
  again.kernel.transmit(B, 4);
  await world.run(10);
  t.deepEqual(numbers(b), [1, 2, 3, 4]);
  t.deepEqual(outbound(again), spis);
  unreachable.issue(1);
  unreachable.reached();
  await world.run(100);
  t.is(state(again, B).state, 'valid');
  t.deepEqual(outbound(again), spis, 'the same life, the same keys');
  again.kernel.transmit(B, 5);
  await world.run(10);
  t.is(numbers(b).at(-1), 5);
  // SAs that went while no agent ran: their numbers are not begun again, another life is.
  await again.encryption.close({ keep: true });
  again.kernel.states.clear();
  const third = await world.host(A, [B], again);
  await world.run(200);
  third.kernel.transmit(B, 6);
  await world.run(10);
  t.is(numbers(b).at(-1), 6);
  t.notDeepEqual(outbound(third), spis);
});

test('an attacker: replayed, forged, wrong peer, unknown version, plain: none is delivered, each is counted by its name', async (t) => {
  const world = new XfrmWorld();
  const a = await world.host(A, [B, C]);
  const b = await world.host(B, [A]);
  const c = await world.host(C, [A]);
  for (const { keys } of [a, b, c]) keys.issue(1);
  await world.run(50);
  b.kernel.transmit(A, 1);
  c.kernel.transmit(A, 2);
  await world.run(10);
  t.deepEqual(numbers(a), [1, 2]);
  const genuine = world.capture.filter(({ from, payload }) => from === B && payload[0]! >>> 4 === 8).at(-1)!;
  const attack = (payload: Uint8Array, from = B, port = 4500) => a.kernel.receive({ from, port, payload });
  attack(genuine.payload);
  const forged = Uint8Array.from(genuine.payload);
  forged[40]! ^= 1;
  Buffer.from(forged.buffer).writeUInt32BE(9, 4);
  Buffer.from(forged.buffer).writeBigUInt64BE(9n, 8);
  attack(forged);
  attack(genuine.payload, C);
  attack(frame(66, 'udp'), B, 4789);
  const stranger = seal(0x80912300, new Uint8Array(36).fill(1), 1n, {
    vni: 100,
    sourcePort: 1,
    frame: frame(67, 'udp'),
  });
  attack(stranger);
  attack(Buffer.from('9000000000000001', 'hex'));
  attack(genuine.payload.subarray(0, 20));
  await world.run(6000);
  t.deepEqual(numbers(a), [1, 2]);
  const { refused } = state(a, B);
  t.is(refused.replayed, 1);
  t.is(refused.forged, 1);
  t.is(refused['no-key'], 1);
  t.is(refused['plain-refused'], 1);
  t.is(a.kernel.counted['plain-refused'], 1n);
  t.is(a.kernel.counted.malformed, 1n);
  t.true((a.kernel.counted['no-key'] ?? 0n) >= 2n);
  t.is(state(a, B).state, 'valid', 'and nobody was talked out of encrypting');
  t.deepEqual((a.encryption.counters().refused as Record<string, number>).malformed, 1);
});

test('a flood of packets that nobody can read is counted, and makes nobody busy', async (t) => {
  const { world, a, b } = await pair();
  await world.run(1000);
  const made = (number: number) =>
    Buffer.from(`80912300${number.toString(16).padStart(8, '0')}${'00'.repeat(40)}`, 'hex');
  const said = state(a, B).controls.sent;
  for (let count = 0; count < 5000; count++) {
    world.clock.after(count / 50, () => a.kernel.receive({ from: B, port: 4500, payload: made(count) }));
  }
  await world.run(200);
  t.is(state(a, B).refused['no-key'], 5000);
  t.true(state(a, B).controls.sent - said < 30, `${state(a, B).controls.sent - said}`);
  b.kernel.transmit(A, 1);
  await world.run(10);
  t.deepEqual(numbers(a), [1]);
});

test('no common key: nothing leaves, whatever was installed before; when versions meet, both are valid within a round trip', async (t) => {
  for (const policy of ['overlap', 'strict'] as const) {
    const { world, a, b } = await pair(policy);
    a.keys.only(2);
    await world.run(100);
    const before = world.capture.length;
    a.kernel.transmit(B, 1);
    b.kernel.transmit(A, 2);
    await world.run(10);
    const left = world.capture.slice(before);
    t.false(left.some(({ port }) => port === 4789));
    // `strict` finds out by what can't be read: one packet of each, which nobody can read.
    t.is(left.filter(({ payload }) => payload[0]! >>> 4 === 8).length, policy === 'overlap' ? 0 : 2);
    await world.run(10);
    t.deepEqual([state(a, B).sending, state(b, A).sending], ['hold', 'hold']);
    a.kernel.transmit(B, 1);
    b.kernel.transmit(A, 2);
    t.deepEqual([numbers(a), numbers(b)], [[], []]);
    t.true((a.kernel.counted['not-sent'] ?? 0n) >= 1n);
    const start = world.clock.now();
    b.keys.only(2);
    // A round trip of 1 ms, and the 5 ms between two packets of one end.
    await world.run(6);
    t.true(world.clock.now() - start <= 6);
    t.deepEqual(
      [state(a, B).state, state(b, A).state, state(a, B).sending, state(b, A).sending],
      [...['valid', 'valid'], ...['encrypt', 'encrypt']],
    );
    a.kernel.transmit(B, 3);
    await world.run(10);
    t.deepEqual(numbers(b), [3]);
  }
});

test('what the kernel refuses stops that peer alone, and is tried anew under other salts', async (t) => {
  const world = new XfrmWorld();
  const a = await world.host(A, [B, C]);
  const b = await world.host(B, [A]);
  const c = await world.host(C, [A]);
  a.kernel.refuse = (request) => (request.op === 'add-sa' && request.sa.source === B ? 'ENOMEM' : undefined);
  for (const { keys } of [a, b, c]) keys.issue(1);
  await world.run(300);
  a.kernel.transmit(B, 1);
  a.kernel.transmit(C, 2);
  await world.run(10);
  t.deepEqual([numbers(b), numbers(c)], [[], [2]]);
  t.deepEqual(a.table.problems(), [`${B}: ENOMEM`]);
  t.true(a.logged.some((message) => /the kernel refused/.test(message)));
  a.kernel.refuse = () => undefined;
  await world.run(10_000);
  t.deepEqual(a.table.problems(), []);
  a.kernel.transmit(B, 3);
  b.kernel.transmit(A, 4);
  await world.run(10);
  t.deepEqual([numbers(b), numbers(a)], [[3], [4]]);
});

test('somebody flushes the SAs: all of them are agreed upon anew, and never begun again under the same keys', async (t) => {
  const { world, a, b } = await pair();
  a.kernel.transmit(B, 1);
  await world.run(10);
  const before = outbound(a).join();
  a.kernel.states.clear();
  a.lost();
  await world.run(3000);
  a.kernel.transmit(B, 2);
  b.kernel.transmit(A, 3);
  await world.run(10);
  t.deepEqual([numbers(b), numbers(a)], [[1, 2], [3]]);
  t.not(outbound(a).join(), before);
});

test('a peer that goes, and an agent that ends for good, leave no key in the kernel, and what keeps plain text in', async (t) => {
  const { world, a } = await pair();
  await a.encryption.apply({ ...(await empty()) }, [{ kind: 'network', op: 'removed', item: BLUE }]);
  await world.run(10);
  t.is(a.kernel.states.size, 0);
  t.is(a.kernel.policyList.size, 2, 'what blocks everybody stays');
  a.kernel.transmit(B, 1);
  t.is(a.kernel.counted['not-sent'], 1n);
  t.is(a.memory.peers.size, 0);
  await a.encryption.close({ keep: false });
  t.is(a.kernel.policyList.size, 2, 'for as long as there are tunnels');
});

const BLUE = { name: 'blue', vni: 100, subnet: '10.200.0.0/16', encapsulation: 'vxlan' } as never;
const empty = async () => (await import('../hosts.ts')).overlay(A, []);
