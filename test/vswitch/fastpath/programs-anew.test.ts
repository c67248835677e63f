/**
 * A receiver that begins with nothing while its sender goes on: keys of its new life have the numbers of the old one's. What
 * means the old pair must never be restored as the new one, whatever is lost, late, or by chance the same.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { type Control, pair, RECEIVER, SENDER, SteppedHost } from './support/stepped.ts';

const HOUR = 3_600_000_000_000n;
const SETTLE = 250_000_000n;
/** So many of 63 keys that many numbers are given in both lives. */
const OLD = Array.from({ length: 45 }, (_, index) => pair(1 + index));
const NEW = Array.from({ length: 45 }, (_, index) => pair(101 + index));
const SENDER_LIFE = { epoch: 7, born: 0n };
const FIRST = { epoch: 8, born: 0n };
const now = (): bigint => process.hrtime.bigint();

let sender: SteppedHost;
let receiver: SteppedHost;
test.before(() => {
  sender = new SteppedHost(`fpanew${process.pid}a`, SENDER);
  receiver = new SteppedHost(`fpanew${process.pid}b`, RECEIVER);
});
test.after.always(() => {
  for (const host of [sender, receiver]) host?.close();
});

interface Past {
  /** Packets of the old pairs, rewritten by the keys of the receiver's first life: on their way since then. */
  readonly late: readonly Buffer[];
  /** A key of that life, told with K, that has not arrived. */
  readonly lateKey: Control;
}

/** The hosts have agreed on keys of all the old pairs, and the receiver has just lost everything. */
async function agreedOnce(t: ExecutionContext): Promise<Past> {
  sender.begin(SENDER_LIFE);
  receiver.begin(FIRST);
  let lateKey: Control | undefined;
  for (const packet of OLD) {
    for (const host of [sender, receiver]) host.open(packet);
    const told = receiver.receiveTunnelled(packet)[0];
    if (!told) continue;
    lateKey = told.known ? told : heardBy(receiver, heardBy(sender, told));
    if (lateKey) sender.receive(lateKey.frame);
  }
  const late = OLD.flatMap((packet) => {
    const sent = sender.send(packet);
    if (sent.what !== 'sent' || sent.by !== 'rewritten') return [];
    t.deepEqual(receiver.receive(sent.frame), { what: 'restored', to: packet.daddr });
    return [sent.frame];
  });
  t.true(late.length > 35, `${late.length} of the old pairs have keys`);
  // The programs' clock goes by ticks: what was told in the same one is taken for told anew.
  await sleep(30);
  return { late, lateKey: lateKey! };
}

/** What `host` answers a word with. */
function heardBy(host: SteppedHost, control: Control | undefined): Control | undefined {
  const heard = control && host.receive(control.frame);
  return heard?.what === 'answered' ? heard.control : undefined;
}

/** Keys of the new life: what the receiver says of them. */
function tellAnew(): Control[] {
  return NEW.flatMap((packet) => {
    for (const host of [sender, receiver]) host.open(packet);
    return receiver.receiveTunnelled(packet);
  });
}

/** The sender's own key for what it gets from the receiver, which it believes to know. */
function toldBySender(): Control {
  const packet = NEW[0]!;
  sender.open(packet);
  sender.send(packet);
  const [told] = sender.receiveTunnelled(packet);
  return told!;
}

function noneIsRestored(t: ExecutionContext, late: readonly Buffer[], when: string): void {
  const restored = late.map((frame) => receiver.receive(frame)).filter(({ what }) => what === 'restored');
  t.deepEqual(restored, [], when);
}

test.serial(
  'R3.3 R3.8 a receiver that lost everything, and whose words are lost: what is sent by the old keys is nobody’s, and is said',
  async (t) => {
    const { late } = await agreedOnce(t);
    receiver.begin({ epoch: 9, born: now() - 2n * SETTLE });
    const keyOfSender = toldBySender();
    t.true(keyOfSender.known, 'the sender takes the receiver for the one that it knew');
    noneIsRestored(t, late, 'before anything was said');
    // Of what it says itself, nothing arrives. But it hears the sender, which has heard nothing of the new life.
    t.true(tellAnew().length > 35);
    receiver.receive(keyOfSender.frame);
    const [first, ...rest] = late;
    const outcome = receiver.receive(first!);
    t.is(outcome.what === 'answered' && outcome.control.kind, 'unknown', 'it complains');
    noneIsRestored(t, rest, 'the sender is known to be in rewrite mode');
    t.like(sender.send(OLD[0]!), { by: 'rewritten' });
    if (outcome.what === 'answered') sender.receive(outcome.control.frame);
    for (const packet of OLD) t.like(sender.send(packet), { what: 'sent', by: 'tunnel' });
  },
);

for (const epoch of [9, FIRST.epoch]) {
  const chance = epoch === FIRST.epoch ? ', though its epoch is by chance the same' : '';
  test.serial(
    `R3.3 a receiver that begins anew restores nothing before the sender has dropped the old keys, and what was on its way has arrived${chance}`,
    async (t) => {
      const { late } = await agreedOnce(t);
      const born = now() - 2n * SETTLE;
      receiver.begin({ epoch, born });
      const told = tellAnew();
      t.true(told.length > 35);
      t.deepEqual(
        told.filter(({ known }) => known),
        [],
        'no key may be used yet',
      );
      const hello = heardBy(sender, told[0])!;
      t.like(hello, { kind: 'hello', wants: true });
      for (const packet of OLD)
        t.like(sender.send(packet), { what: 'sent', by: 'tunnel' }, 'dropped with the first word');
      const before = now();
      t.is(heardBy(receiver, hello), undefined, 'not yet');
      // A tick of the coarse clock that the programs read may be 10 ms long, and come late.
      t.true(receiver.settled >= before + SETTLE - 100_000_000n, 'late ones have a while to arrive');
      receiver.settled = now() + HOUR;
      noneIsRestored(t, late, 'between HELLO and the while’s end');
      receiver.receive(hello.frame);
      t.true(receiver.settled > now() + HOUR / 2n, 'one HELLO counts');
      receiver.settled = now() - 100_000_000n;
      const key = heardBy(receiver, hello)!;
      t.like(key, { kind: 'key', known: true, epoch });
      sender.receive(key.frame);
      const sent = sender.send(NEW[0]!);
      t.like(sent, { by: 'rewritten' });
      t.deepEqual(sent.what === 'sent' && receiver.receive(sent.frame), { what: 'restored', to: NEW[0]!.daddr });
    },
  );
}

test.serial('R3.3 words of the life before that come late begin nothing in the new one', async (t) => {
  const { lateKey } = await agreedOnce(t);
  t.true(lateKey.known);
  // As the sender would answer a word of the receiver's without K, said before its end.
  const bare = Buffer.from(lateKey.frame);
  bare[43] = bare[43]! & ~0x02;
  const lateHello = heardBy(sender, { ...lateKey, frame: bare })!;
  t.like(lateHello, { kind: 'hello', wants: true });
  const epoch = 9;
  receiver.begin({ epoch, born: now() + HOUR });
  t.is(tellAnew().length, 0, 'it tells nothing while they may be on their way');
  receiver.receive(lateHello.frame);
  t.is(receiver.settled, 0n, 'nor believes that it was heard');
  // Now they have all arrived.
  sender.receive(lateKey.frame);
  receiver.live({ epoch, born: now() - 2n * SETTLE });
  const [told] = receiver.receiveTunnelled(NEW[1]!);
  t.false(told!.known);
  sender.receive(told!.frame);
  for (const packet of OLD) t.like(sender.send(packet), { what: 'sent', by: 'tunnel' });
});

test.serial('R3.3 an epoch that comes again does not bring its keys back', async (t) => {
  const { lateKey } = await agreedOnce(t);
  const other = Buffer.from(lateKey.frame);
  other[49] = 9;
  sender.receive(other);
  sender.receive(lateKey.frame);
  // That one key was told again.
  const rewritten = OLD.filter((packet) => {
    const sent = sender.send(packet);
    return sent.what === 'sent' && sent.by === 'rewritten';
  });
  t.true(rewritten.length <= 1, `${rewritten.length}`);
});

test.serial('R3.3 a host that began long ago agrees with one that it meets in one round trip', (t) => {
  sender.begin({ epoch: 5, born: 0n });
  receiver.begin({ epoch: 6, born: 1n });
  const packet = NEW[0]!;
  for (const host of [sender, receiver]) host.open(packet);
  const key = heardBy(receiver, heardBy(sender, receiver.receiveTunnelled(packet)[0]));
  t.like(key, { kind: 'key', known: true });
  sender.receive(key!.frame);
  const sent = sender.send(packet);
  t.like(sent, { by: 'rewritten' });
  t.deepEqual(sent.what === 'sent' && receiver.receive(sent.frame), { what: 'restored', to: packet.daddr });
});

test.serial(
  'R3.3 R3.8 what goes to another host from now on is not sent by the key of the host before, though both have the same epoch',
  (t) => {
    sender.begin({ epoch: 5, born: 0n });
    receiver.begin({ epoch: 6, born: 1n });
    const packet = NEW[0]!;
    for (const host of [sender, receiver]) host.open(packet);
    sender.receive(heardBy(receiver, heardBy(sender, receiver.receiveTunnelled(packet)[0]))!.frame);
    t.like(sender.send(packet), { by: 'rewritten' });
    sender.moved(packet, '10.20.1.3');
    t.like(sender.send(packet), { what: 'sent', by: 'tunnel' });
  },
);
