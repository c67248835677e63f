import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { AF, LinuxSocket, MSG, NETLINK, SO, SOCK, SOL, SystemCallError } from '../src/index.ts';
import { collect, ip, linkDump, namespace, netlinkTypes } from './support.ts';

const kernel = { family: 'netlink', pid: 0, groups: 0 } as const;
const open = (netns: string) =>
  LinuxSocket.open({ family: AF.NETLINK, type: SOCK.RAW, protocol: NETLINK.ROUTE, netns });

test.serial('a link dump in a namespace shows the links of that namespace only', async (t) => {
  const netns = namespace(t);
  ip('-n', netns, 'link', 'add', 'dum0', 'type', 'bridge');
  const socket = open(netns);
  t.teardown(() => socket.close());
  socket.bind(kernel);
  const own = socket.localAddress();
  t.true(own.family === 'netlink' && own.pid > 0);
  t.is(socket.send({ data: linkDump(), to: kernel }), 32);
  const messages = await collect(socket, (all) => all.some((one) => netlinkTypes(one.data).includes(3)));
  t.deepEqual(messages[0]!.from, { family: 'netlink', pid: 0, groups: 0 });
  const text = Buffer.concat(messages.map((one) => one.data)).toString('latin1');
  t.regex(text, /dum0\0/);
  t.regex(text, /lo\0/);
  t.notRegex(text, /eth0\0/);
});

test.serial('a connected netlink socket needs no address, and data may come in pieces', async (t) => {
  const socket = open(namespace(t));
  t.teardown(() => socket.close());
  socket.connect(kernel);
  const request = linkDump();
  t.is(socket.send({ data: [request.subarray(0, 16), request.subarray(16)] }), 32);
  const messages = await collect(socket, (all) => all.some((one) => netlinkTypes(one.data).includes(3)));
  t.true(messages.length > 0);
});

test.serial('ENOBUFS of an overflowed subscription is a typed error, and the socket goes on', async (t) => {
  const netns = namespace(t);
  const socket = open(netns);
  t.teardown(() => socket.close());
  socket.setOption(SOL.SOCKET, SO.RCVBUF, 1);
  socket.bind({ family: 'netlink', pid: 0, groups: 1 }); // RTMGRP_LINK
  for (let index = 0; index < 30; index++) ip('-n', netns, 'link', 'add', `dum${index}`, 'type', 'bridge');
  let wakes = 0;
  const error = await new Promise<SystemCallError>((resolve, reject) => {
    socket.onReadable(() => {
      wakes++;
      try {
        socket.receiveBatch();
      } catch (caught) {
        resolve(caught as SystemCallError);
      }
      if (wakes > 100) reject(new Error('no ENOBUFS'));
    });
  });
  t.true(error instanceof SystemCallError);
  t.is(error.code, 'ENOBUFS');
  t.is(error.syscall, 'recvmmsg');
  // What was queued before the overflow is read, then a new event is heard by the same, still polling socket.
  while (socket.receiveBatch().length > 0);
  const next = collect(socket, (all) => all.length > 0);
  ip('-n', netns, 'link', 'add', 'late', 'type', 'bridge');
  t.true((await next).some((one) => one.data.toString('latin1').includes('late\0')));
});

test.serial('a message longer than the slot is cut and says MSG_TRUNC', async (t) => {
  const netns = namespace(t);
  const receiver = LinuxSocket.open({ family: AF.NETLINK, type: SOCK.RAW, protocol: 2, netns }); // NETLINK_USERSOCK
  const sender = LinuxSocket.open({ family: AF.NETLINK, type: SOCK.RAW, protocol: 2, netns });
  t.teardown(() => {
    receiver.close();
    sender.close();
  });
  receiver.bind(kernel);
  receiver.setOption(SOL.SOCKET, SO.RCVBUFFORCE, 1 << 20);
  sender.setOption(SOL.SOCKET, SO.SNDBUFFORCE, 1 << 20);
  sender.send({ data: Buffer.alloc(70_000, 7), to: receiver.localAddress() });
  const [message] = await collect(receiver, (all) => all.length > 0);
  t.is(message!.data.length, 65536);
  t.is(message!.flags & MSG.TRUNC, MSG.TRUNC);
  t.is(message!.data[65535], 7);
});

test.serial('a listener that leaves something unread is called again; one that is removed is not', async (t) => {
  const socket = open(namespace(t));
  t.teardown(() => socket.close());
  socket.bind(kernel);
  let calls = 0;
  socket.onReadable(() => {
    calls++;
    if (calls === 3) socket.onReadable(undefined);
  });
  socket.send({ data: linkDump(), to: kernel });
  while (calls < 3) await sleep(1);
  await sleep(20);
  t.is(calls, 3);
  t.true(socket.receiveBatch(1).length === 1);
});
