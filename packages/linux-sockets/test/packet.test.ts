import test from 'ava';
import { AF, ETH_P, interfaceIndex, LinuxSocket, PACKET, SOCK, SOL, SystemCallError, withNetns } from '../src/index.ts';
import { collect, ip, pair } from './support.ts';

const ETHER = 0x88b5; // local experimental

function frame(mark: number): Buffer {
  const bytes = Buffer.alloc(60);
  bytes.fill(255, 0, 6);
  bytes.set([2, 0, 0, 0, 0, 1], 6);
  bytes.writeUInt16BE(ETHER, 12);
  bytes[14] = mark;
  return bytes;
}

function open(netns: string, name: string, protocol: number): LinuxSocket {
  const socket = LinuxSocket.open({ family: AF.PACKET, type: SOCK.RAW, protocol: 0, netns });
  const ifindex = withNetns(netns, () => interfaceIndex(name));
  socket.bind({ family: 'packet', ifindex, protocol });
  return socket;
}

test.serial('frames cross a veth pair, the classic BPF filter lets through only what it accepts', async (t) => {
  const [a, b] = pair(t);
  const receiver = LinuxSocket.open({ family: AF.PACKET, type: SOCK.RAW, protocol: 0, netns: b });
  // Filter first, then bind: nothing unfiltered can be queued. Accepts our ethertype with an odd mark.
  receiver.attachFilter([
    { code: 0x28, jt: 0, jf: 0, k: 12 }, // ldh [12]
    { code: 0x15, jt: 0, jf: 3, k: ETHER }, // jeq
    { code: 0x30, jt: 0, jf: 0, k: 14 }, // ldb [14]
    { code: 0x45, jt: 0, jf: 1, k: 1 }, // jset #1
    { code: 0x06, jt: 0, jf: 0, k: 0xffffffff }, // accept
    { code: 0x06, jt: 0, jf: 0, k: 0 }, // drop
  ]);
  const ifindex = withNetns(b, () => interfaceIndex('v1'));
  receiver.bind({ family: 'packet', ifindex, protocol: ETH_P.ALL });
  const sender = open(a, 'v0', 0);
  t.teardown(() => {
    receiver.close();
    sender.close();
  });
  const to = {
    family: 'packet',
    ifindex: withNetns(a, () => interfaceIndex('v0')),
    protocol: ETHER,
    address: Buffer.alloc(6, 255),
  } as const;
  t.is(sender.sendBatch([1, 2, 3, 4, 5].map((mark) => ({ data: frame(mark), to }))), 5);
  const messages = await collect(receiver, (all) => all.length >= 3);
  t.deepEqual(
    messages.map((one) => one.data[14]),
    [1, 3, 5],
  );
  t.deepEqual(messages[0]!.data, frame(1));
  const from = messages[0]!.from;
  t.true(from?.family === 'packet');
  if (from?.family !== 'packet') return;
  t.is(from.ifindex, ifindex);
  t.is(from.protocol, ETHER);
  t.is(from.pkttype, PACKET.BROADCAST);
  t.deepEqual([...(from.address ?? [])], [2, 0, 0, 0, 0, 1]);
});

test.serial('batches of more than one system call are counted whole', async (t) => {
  const [a, b] = pair(t);
  const receiver = open(b, 'v1', ETHER);
  const sender = open(a, 'v0', ETHER);
  t.teardown(() => {
    receiver.close();
    sender.close();
  });
  t.is(sender.sendBatch([]), 0);
  t.is(sender.sendBatch(Array.from({ length: 300 }, (_, index) => ({ data: frame(index & 255) }))), 300);
  t.is(sender.sendData([]), 0);
  t.is(sender.sendData(Array.from({ length: 300 }, (_, index) => frame((300 + index) & 255))), 300);
  // The frames cross the veth in softirqs, which may run later than the send returns. Reading the statistics resets them.
  let seen = 0;
  let dropped = 0;
  for (let attempt = 0; seen < 600 && attempt < 1_000; attempt++) {
    const statistics = receiver.getOption(SOL.PACKET, PACKET.STATISTICS, 8);
    seen += statistics.readUInt32LE(0);
    dropped += statistics.readUInt32LE(4);
    if (seen < 600) await new Promise((resolve) => setTimeout(resolve, 10));
  }
  t.is(seen, 600);
  t.is(receiver.waiting(), 60);
  const first = receiver.receiveBatch(10);
  t.is(first.length, 10);
  t.is(receiver.receiveBatch(0).length, 1);
  t.is(receiver.receiveBatch(1000).length, 64);
  const data = receiver.receiveData(5);
  t.is(data.length, 5);
  t.deepEqual(data[0], frame(data[0]![14]!));
  t.is((data[1]![14]! - data[0]![14]!) & 255, 1);
  let total = 80;
  for (let batch = receiver.receiveBatch(); batch.length > 0; batch = receiver.receiveBatch()) total += batch.length;
  t.is(receiver.waiting(), 0);
  t.deepEqual(receiver.receiveData(), []);
  // The receive buffer may have been too small for all; every one that was not received was counted by the kernel.
  t.is(total + dropped, 600);
});

test.serial(
  'ENETDOWN on send and on receive is a typed error, and the socket works again when the device is up',
  async (t) => {
    t.timeout(60_000);
    const [a, b] = pair(t);
    const receiver = open(b, 'v1', ETHER);
    const sender = open(a, 'v0', ETHER);
    t.teardown(() => {
      receiver.close();
      sender.close();
    });
    const heard = collect(receiver, () => false);
    ip('-n', b, 'link', 'set', 'v1', 'down');
    t.is((await t.throwsAsync(heard, { instanceOf: SystemCallError })).code, 'ENETDOWN');
    ip('-n', a, 'link', 'set', 'v0', 'down');
    const onSend = t.throws(() => sender.sendBatch([{ data: frame(1) }]), { instanceOf: SystemCallError });
    t.is(onSend.code, 'ENETDOWN');
    ip('-n', a, 'link', 'set', 'v0', 'up');
    ip('-n', b, 'link', 'set', 'v1', 'up');
    const again = collect(receiver, (all) => all.length > 0);
    // Until the kernel has given the device its queue, some time after the carrier is there, it takes frames and drops them.
    const speaking = setInterval(() => {
      try {
        sender.send({ data: frame(9) });
      } catch (error) {
        // The error that the socket still had of the time when the device was down.
        if (!(error instanceof SystemCallError && error.code === 'ENETDOWN')) throw error;
      }
    }, 20);
    t.teardown(() => clearInterval(speaking));
    t.is((await again)[0]!.data[14], 9);
    clearInterval(speaking);
  },
);

test.serial('sendBatch stops at the first message that fails, and throws only when that is the first of all', (t) => {
  const [a] = pair(t);
  const sender = open(a, 'v0', ETHER);
  t.teardown(() => sender.close());
  const bad = { data: Buffer.alloc(9000) }; // longer than the MTU
  t.is(sender.sendBatch([{ data: frame(1) }, { data: frame(2) }, bad, { data: frame(3) }]), 2);
  const error = t.throws(() => sender.sendBatch([bad, { data: frame(1) }]), { instanceOf: SystemCallError });
  t.is(error.code, 'EMSGSIZE');
  t.is(sender.sendData([frame(1), bad.data, frame(3)]), 1);
  t.is(sender.sendData([bad.data, frame(2), frame(3)], 1), 2);
  t.is(t.throws(() => sender.sendData([bad.data, frame(1)]), { instanceOf: SystemCallError }).code, 'EMSGSIZE');
});
