import test from 'ava';
import { A, B, SaidKeys } from './hosts.ts';
import { bothAtV1, data, isData, states, text, unique } from './story.ts';

for (const form of ['esp', 'vxlan'] as const) {
  test(`R0.4 R0.5 R0.6 R0.7 figure 1c, one-way UDP and no packet back at all, plain text as ${form}`, async (t) => {
    const pair = await bothAtV1('available', form);
    const { a, b, clock } = pair;
    pair.flow(() => a, 0, 5);
    pair.run(100);
    t.deepEqual(data(pair, a), Array(5).fill('encrypted V1'));

    // ①: B has V2, A has not.
    b.keys.only(2);
    const mismatch = clock.now();
    pair.flow(() => a, 100, 20);
    pair.run(300);
    t.deepEqual(states(pair), ['invalid', 'invalid']);
    t.deepEqual(unique(data(pair, a, mismatch)), ['encrypted V1', 'plain V1']);
    t.deepEqual(data(pair, b), [], 'nothing but dedicated packets went back');
    t.true(pair.capture.some((one) => one.from === B && text(one) === 'notification V2 off'));
    const first = pair.got(b).find(({ number }) => number >= 100)!;
    t.true(first.at - mismatch < 100, `readable after ${first.at - mismatch} ms`);
    t.is(b.encryption.view()[0]!.controls.notified.unreliable, 1);

    // V5 and V6: other versions, still plain.
    a.keys.only(5);
    b.keys.only(6);
    const later = clock.now();
    pair.flow(() => a, 200, 20);
    pair.run(300);
    t.deepEqual(unique(data(pair, a, later)), ['plain V5']);
    t.is(pair.got(b).filter(({ number }) => number >= 200).length, 20);

    // ②: V6 on both: encrypted again, within a round trip.
    a.keys.only(6);
    const met = clock.now();
    pair.flow(() => a, 300, 20);
    pair.run(300);
    t.deepEqual(states(pair), ['valid', 'valid']);
    t.deepEqual(unique(data(pair, a, met)), ['plain V6', 'encrypted V6']);
    t.is(data(pair, a, met).filter((line) => line === 'plain V6').length, 1);
    t.is(pair.got(b).filter(({ number }) => number >= 300).length, 20);
  });
}

test('R0.4 R0.7 figure 1c with data both ways: the indication is on every plain packet of the end that noticed', async (t) => {
  const pair = await bothAtV1('available');
  const { a, b, clock } = pair;
  pair.flow(() => a, 0, 5, 10, 'tcp');
  pair.flow(() => b, 0, 5, 10, 'tcp');
  pair.run(100);
  // What is dedicated to A is lost from here on: only data can tell it. Its answer tells B that the versions differ.
  pair.network = (one) => (one.from === B && !isData(text(one)) && text(one).includes('off') ? [] : [0.5]);
  b.keys.issue(2);
  pair.run(30);
  const since = clock.now();
  pair.flow(() => a, 100, 20, 5, 'tcp');
  pair.run(2);
  pair.flow(() => b, 100, 20, 5, 'tcp');
  pair.run(300);
  const fromB = data(pair, b, since);
  const off = fromB.filter((line) => line.startsWith('plain'));
  t.true(off.length > 0 && off[0] === 'plain V2 off', fromB.join());
  t.deepEqual(unique(data(pair, a, since)), ['encrypted V1', 'plain V1']);
  t.deepEqual(states(pair), ['invalid', 'invalid']);
  t.deepEqual(unique(off), ['plain V2 off', 'plain V2'], 'once A has answered in plain text the indication ends');
  a.keys.issue(2, 0);
  pair.network = () => [0.5];
  pair.flow(() => a, 200, 10, 5, 'tcp');
  pair.flow(() => b, 200, 10, 5, 'tcp');
  pair.run(200);
  t.deepEqual(states(pair), ['valid', 'valid']);
});

for (const policy of ['overlap', 'strict'] as const) {
  test(`R0.4 R0.7 figure 1c by policy ${policy}: no packet in plain text, and both ends find each other again`, async (t) => {
    const pair = await bothAtV1(policy);
    const { a, b } = pair;
    pair.flow(() => a, 0, 5);
    pair.run(100);
    b.keys.only(2);
    pair.flow(() => a, 100, 20);
    pair.run(400);
    t.deepEqual(states(pair), policy === 'overlap' ? ['invalid-notify', 'invalid-notify'] : ['invalid', 'invalid']);
    a.keys.only(5);
    b.keys.only(6);
    pair.flow(() => a, 200, 20);
    pair.run(400);
    a.keys.only(6);
    const waiting = pair.got(b).length;
    pair.flow(() => a, 300, 20);
    pair.run(300);
    t.deepEqual(states(pair), ['valid', 'valid']);
    const got = pair.got(b).map(({ number }) => number);
    t.is(got.filter((number) => number >= 300).length, 20, 'what was held arrived too');
    t.true(got.length - waiting > 20, 'and what had waited less than a second before');
    t.false(pair.capture.some((one) => text(one).startsWith('plain')));
  });
}

test('R0.1 overlap: a rotation that reaches one end later, every second for ten minutes, loses nothing', async (t) => {
  const pair = await bothAtV1('overlap');
  const { a, b, clock } = pair;
  const start = clock.now();
  let sent = 0;
  for (let second = 0; second < 600; second++) {
    const version = (second % 5) + 1;
    const late = (second * 37) % 900;
    clock.schedule(start + second * 1000, () => (second % 2 ? a : b).keys.issue(version, second + 1));
    clock.schedule(start + second * 1000 + late, () => (second % 2 ? b : a).keys.issue(version, second + 1));
    for (let packet = 0; packet < 20; packet++) {
      sent++;
      clock.schedule(start + second * 1000 + packet * 50, () => {
        pair.send(a, second * 100 + packet);
        pair.send(b, second * 100 + packet, 'tcp');
      });
    }
  }
  pair.run(601_000);
  for (const host of [a, b]) {
    t.is(pair.got(host).length, sent);
    t.is(new Set(pair.got(host).map(({ number }) => number)).size, sent);
    t.deepEqual(host.encryption.view()[0]!.refused, {});
  }
  t.false(pair.capture.some((one) => text(one).startsWith('plain')));
  t.is(new Set(data(pair, a)).size, 5);
});

for (const policy of ['available', 'overlap', 'strict'] as const) {
  test(`R0.8 the controller is dead for hours, the ends have different versions: ${policy}`, async (t) => {
    const pair = await bothAtV1(policy);
    const { a, b, clock } = pair;
    b.keys.issue(2);
    pair.run(1000);
    const since = clock.now();
    // A packet each way now and then, for six hours.
    for (let minute = 0; minute < 360; minute++) {
      clock.schedule(since + minute * 60_000, () => pair.send(a, 1000 + minute));
      clock.schedule(since + minute * 60_000 + 5, () => pair.send(b, 1000 + minute));
    }
    pair.run(6 * 3_600_000);
    const arrived = [a, b].map((host) => pair.got(host).filter(({ number }) => number >= 1000).length);
    if (policy === 'available') {
      t.true(
        arrived.every((count) => count >= 359),
        `${arrived}`,
      );
      t.true(
        a.encryption.warnings().some((warning) => warning.includes('plain text')) ||
          a.events.some(({ type }) => type === 'encryption.plain'),
      );
    } else if (policy === 'overlap') t.deepEqual(arrived, [360, 360], 'with V1, which both hold');
    else t.false(pair.capture.some((one) => text(one).startsWith('plain')));
    // The controller is back, and A gets what it has missed.
    a.keys.issue(2);
    const met = clock.now();
    pair.send(a, 5000);
    pair.run(20);
    t.deepEqual(states(pair), ['valid', 'valid']);
    pair.send(a, 5001);
    pair.send(b, 5001);
    pair.run(20);
    for (const host of [a, b]) t.true(pair.got(host).some(({ number }) => number === 5001));
    t.true(data(pair, a, met + 20).every((line) => line === 'encrypted V2'));
  });
}

test('R0.5 nothing sent back for longer than the threshold: the notification is repeated by a packet of its own', async (t) => {
  const pair = await bothAtV1('available');
  const { a, b, clock } = pair;
  b.keys.only(2);
  pair.run(100);
  // A is deaf: its packets come, nothing reaches it.
  pair.network = ({ to }) => (to === A ? [] : [0.5]);
  pair.send(a, 1);
  pair.run(60_000);
  t.is(b.encryption.view()[0]!.state, 'invalid-notify');
  t.is(b.encryption.view()[0]!.controls.notified.idle, undefined);
  const before = clock.now();
  pair.run(26 * 60_000);
  t.is(b.encryption.view()[0]!.controls.notified.idle, 1);
  t.true(clock.now() - before > pair.settings.notifyIdle);
});

test('the operator is told of whom nothing reaches, and why', async (t) => {
  const pair = await bothAtV1('strict');
  const { a, b } = pair;
  t.deepEqual(a.encryption.warnings(), []);
  b.keys.only(2);
  pair.send(a, 1);
  pair.run(6000);
  t.deepEqual(a.encryption.warnings(), [`nothing passes: other keys than ours are held by ${B}`]);
  a.keys.only(2);
  pair.run(100);
  t.deepEqual(a.encryption.warnings(), []);
  pair.network = () => [];
  a.worker.die();
  pair.run(10);
  await new Promise((resolve) => setImmediate(resolve));
  pair.run(6000);
  t.deepEqual(a.encryption.warnings(), [`nothing passes: no hello is answered by ${B}`]);
});

test('R0.4 an end that holds no key any more: plain with version 0 in available, held elsewhere', async (t) => {
  const pair = await bothAtV1('available');
  const { a, b } = pair;
  a.keys.none();
  pair.run(20);
  t.is(a.encryption.view()[0]!.state, 'invalid-notify');
  pair.send(a, 1);
  pair.send(b, 1);
  pair.run(50);
  t.is(data(pair, a)[0], 'plain V0 off');
  pair.send(b, 2);
  pair.run(50);
  t.true(pair.got(a).some(({ number }) => number === 2));
  t.true(pair.got(b).some(({ number }) => number === 1));
  pair.run(1000);
  t.true(
    a.events.some(({ type, severity }) => type === 'encryption.plain' && severity === 'error'),
    'the alarm',
  );
  t.true(a.encryption.warnings().some((warning) => warning.includes(`plain text: what is exchanged with ${B}`)));
  a.keys.issue(1);
  pair.run(20);
  t.deepEqual(states(pair), ['valid', 'valid']);
  pair.run(12_000);
  t.true(a.events.some(({ type, severity }) => type === 'encryption.plain' && severity === 'info'));

  const strict = await bothAtV1('strict');
  strict.a.keys.none();
  strict.send(strict.a, 1);
  strict.run(500);
  t.deepEqual(data(strict, strict.a), []);
  t.is(strict.a.encryption.view()[0]!.held, 1);
});

test('R0.1 V1 that comes round again is another key: its fingerprint is compared, on the wire too', async (t) => {
  const pair = await bothAtV1('available');
  const { a, b, clock } = pair;
  b.keys.only(1, 1);
  const since = clock.now();
  pair.flow(() => a, 100, 5);
  pair.run(200);
  t.deepEqual(states(pair), ['invalid', 'invalid']);
  t.deepEqual(unique(data(pair, a, since)), ['encrypted V1', 'plain V1']);
  a.keys.only(1, 1);
  pair.run(20);
  t.deepEqual(states(pair), ['valid', 'valid']);
});

test('R0.8 the agent restarts while the controller is dead: packets go on, nothing is said, and it goes on from its memo', async (t) => {
  const pair = await bothAtV1('overlap');
  const { a, b } = pair;
  pair.flow(() => a, 0, 100);
  pair.flow(() => b, 0, 100, 10, 'tcp');
  pair.run(300);
  await a.encryption.close({ keep: true });
  pair.run(200);
  const controls = pair.capture.filter((one) => !isData(text(one))).length;
  const keys = new SaidKeys('etcd is dead');
  pair.a = await pair.host(A, B, a, keys);
  t.is(pair.a.worker.table.adopted.length, 1);
  pair.run(800);
  t.is(pair.capture.filter((one) => !isData(text(one))).length, controls, 'it says nothing');
  keys.only(1);
  keys.reached();
  pair.flow(() => pair.a, 1000, 10);
  pair.run(200);
  b.keys.issue(2);
  keys.issue(2);
  pair.flow(() => pair.a, 2000, 10);
  pair.run(200);
  t.is(pair.got(b).length, 120);
  t.is(pair.got(pair.a).length, 100);
  t.deepEqual(b.encryption.view()[0]!.refused, {});
  t.deepEqual(states(pair), ['valid', 'valid']);
});

test('the worker dies: another is opened, the peers agree on new salts, and no old packet is accepted', async (t) => {
  const pair = await bothAtV1('overlap');
  const { a, b } = pair;
  pair.flow(() => a, 0, 10);
  pair.run(200);
  const recorded = pair.capture.filter((one) => text(one).startsWith('encrypted'));
  b.worker.die();
  pair.run(10);
  await new Promise((resolve) => setImmediate(resolve));
  pair.flow(() => a, 100, 10);
  pair.run(500);
  const got = pair.got(b).filter(({ number }) => number >= 100).length;
  t.true(got >= 9, `${got}`);
  for (const one of recorded) b.worker.receive(one);
  t.is(b.encryption.view()[0]!.refused['no-key'], recorded.length + (10 - got));
  t.true(b.events.some(({ message }) => message === 'the packet worker has ended'));
});

test('attacks: replayed, forged, truncated, turned round, wrong-peer and downgrade packets are refused by name', async (t) => {
  const pair = await bothAtV1('available');
  const { a, b, clock } = pair;
  pair.flow(() => a, 0, 3);
  pair.run(100);
  const before = pair.got(b).length;
  const encrypted = pair.capture.filter((one) => one.from === A && text(one).startsWith('encrypted'));
  const one = encrypted[0]!;
  b.worker.receive(one);
  b.worker.receive({ ...one, from: '10.20.1.9' as typeof A });
  a.worker.receive({ ...one, from: B, to: A });
  b.worker.receive({ ...one, payload: one.payload.subarray(0, 30) });
  const forged = Uint8Array.from(one.payload);
  forged[20]! ^= 1;
  forged[7]! += 100;
  forged[15]! += 100;
  b.worker.receive({ ...one, payload: forged });
  const unlike = Uint8Array.from(one.payload);
  unlike[7]! ^= 1;
  b.worker.receive({ ...one, payload: unlike });
  b.worker.receive({ ...one, payload: Buffer.from('9020000100000001', 'hex') });
  const plain = Buffer.concat([Buffer.from('90200001', 'hex'), Buffer.from('00000001', 'hex'), Buffer.alloc(2)]);
  b.worker.receive({ ...one, payload: plain });
  b.worker.receive({ ...one, payload: Buffer.from('b0000001', 'hex') });
  const controls = pair.capture.filter((each) => each.from === A && !isData(text(each)));
  for (const control of controls) b.worker.receive(control);
  const off = Uint8Array.from(controls.at(-1)!.payload);
  off[17]! |= 1;
  b.worker.receive({ ...one, payload: off });
  pair.run(100);
  t.is(pair.got(b).length, before);
  t.deepEqual(states(pair), ['valid', 'valid']);
  const { refused, controls: talk } = b.encryption.view()[0]!;
  t.like(refused, { replayed: 1, truncated: 2, forged: 1, malformed: 2, 'unknown-form': 1 });
  t.is(a.encryption.view()[0]!.refused['no-key'], 1);
  t.deepEqual(b.encryption.counters().refused, { 'unknown-peer': 1 });
  t.is(talk.discarded.forged, 1);
  t.true((talk.discarded.replayed ?? 0) >= 3);

  // A downgrade from off the path: plain packets with the indication, encrypted ones of a version that nobody has.
  const spoofed = clock.now();
  for (let count = 0; count < 50; count++) {
    const downgrade = pair.capture.length;
    b.worker.receive({
      ...one,
      payload: Buffer.from('8030000000000001000000000000000100000000000000000000000000000000000000000000', 'hex'),
    });
    pair.send(b, 900 + count);
    pair.send(a, 900 + count);
    pair.run(20);
    t.false(pair.capture.slice(downgrade).some((each) => text(each).startsWith('plain')));
  }
  for (const host of [a, b]) t.is(pair.got(host).filter(({ at }) => at >= spoofed).length, 50);
  t.deepEqual(states(pair), ['valid', 'valid']);
});
