import { createServer, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import {
  AF,
  getSocketOption,
  IP,
  IPPROTO,
  IPV6,
  interfaceIndex,
  LinuxSocket,
  SO,
  SOCK,
  SOL,
  SystemCallError,
  setSocketOption,
  TCP,
  tcpMd5Key,
  withNetns,
} from '../src/index.ts';
import { collect, ip, pair } from './support.ts';

const ALL_SPF_ROUTERS = '224.0.0.5';

function ospfSocket(netns: string, name: string): { socket: LinuxSocket; ifindex: number } {
  const socket = LinuxSocket.open({ family: AF.INET, type: SOCK.RAW, protocol: IPPROTO.OSPF, netns });
  const ifindex = withNetns(netns, () => interfaceIndex(name));
  socket.setOption(SOL.IP, IP.PKTINFO, 1);
  socket.setOption(SOL.IP, IP.MULTICAST_TTL, 1);
  socket.setOption(SOL.IP, IP.MULTICAST_LOOP, 0);
  const membership = Buffer.alloc(12); // struct ip_mreqn
  membership.set([224, 0, 0, 5], 0);
  membership.writeInt32LE(ifindex, 8);
  socket.setOption(SOL.IP, IP.ADD_MEMBERSHIP, membership);
  return { socket, ifindex };
}

test.serial(
  'raw OSPF packets go to the multicast group by the interface named in IP_PKTINFO, and say where they came in',
  async (t) => {
    const [a, b] = pair(t);
    const sender = ospfSocket(a, 'v0');
    const receiver = ospfSocket(b, 'v1');
    t.teardown(() => {
      sender.socket.close();
      receiver.socket.close();
    });
    const packetInfo = Buffer.alloc(12); // struct in_pktinfo: ifindex, source, -
    packetInfo.writeInt32LE(sender.ifindex, 0);
    packetInfo.set([10, 9, 0, 1], 4);
    const body = Buffer.from('02010018', 'hex');
    t.is(
      sender.socket.send({
        data: body,
        to: { family: 'ipv4', address: ALL_SPF_ROUTERS, port: 0 },
        control: [{ level: SOL.IP, type: IP.PKTINFO, data: packetInfo }],
      }),
      4,
    );
    const [message] = await collect(receiver.socket, (all) => all.length > 0);
    t.deepEqual(message!.from, { family: 'ipv4', address: '10.9.0.1', port: 0 });
    t.deepEqual(message!.data.subarray(20), body); // raw IPv4 sockets give the IP header too
    t.is(message!.data[8], 1); // TTL
    const info = message!.control.find((one) => one.level === SOL.IP && one.type === IP.PKTINFO);
    t.is(info?.data.length, 12);
    t.is(Buffer.from(info!.data).readInt32LE(0), receiver.ifindex);
    t.deepEqual([...info!.data.subarray(8, 12)], [224, 0, 0, 5]);
  },
);

test.serial('IPv6: addresses, packet info and hop limit', async (t) => {
  const [a, b] = pair(t);
  ip('-n', a, 'addr', 'add', 'fd00:9::1/64', 'dev', 'v0', 'nodad');
  ip('-n', b, 'addr', 'add', 'fd00:9::2/64', 'dev', 'v1', 'nodad');
  const receiver = LinuxSocket.open({ family: AF.INET6, type: SOCK.DGRAM, protocol: 0, netns: b });
  const sender = LinuxSocket.open({ family: AF.INET6, type: SOCK.DGRAM, protocol: 0, netns: a });
  t.teardown(() => {
    receiver.close();
    sender.close();
  });
  receiver.bind({ family: 'ipv6', address: '::', port: 3784 });
  receiver.setOption(SOL.IPV6, IPV6.RECVPKTINFO, 1);
  receiver.setOption(SOL.IPV6, IPV6.RECVHOPLIMIT, 1);
  sender.setOption(SOL.IPV6, IPV6.UNICAST_HOPS, 255);
  sender.bind({ family: 'ipv6', address: 'fd00:9::1', port: 49152 });
  t.deepEqual(sender.localAddress(), { family: 'ipv6', address: 'fd00:9::1', port: 49152, scopeId: 0 });
  sender.send({ data: Buffer.from('x'), to: { family: 'ipv6', address: 'fd00:9::2', port: 3784 } });
  const [message] = await collect(receiver, (all) => all.length > 0);
  t.deepEqual(message!.from, { family: 'ipv6', address: 'fd00:9::1', port: 49152, scopeId: 0 });
  const types = message!.control.map((one) => one.type).sort((x, y) => x - y);
  t.deepEqual(types, [IPV6.PKTINFO, IPV6.HOPLIMIT]);
  t.is(Buffer.from(message!.control.find((one) => one.type === IPV6.HOPLIMIT)!.data).readInt32LE(0), 255);
});

test.serial('options of a Node socket: MINTTL is set and read back on its descriptor', async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen({ host: '127.0.0.1', port: 0 }, resolve));
  t.teardown(() => server.close());
  const fd = (server as unknown as { _handle: { fd: number } })._handle.fd;
  setSocketOption(fd, SOL.IP, IP.MINTTL, 254);
  t.is(getSocketOption(fd, SOL.IP, IP.MINTTL).readInt32LE(0), 254);
  t.is(t.throws(() => setSocketOption(fd, SOL.IP, IP.MINTTL, 300), { instanceOf: SystemCallError }).code, 'EINVAL');
});

/** A Node server with TCP MD5 keys in namespace b; what it echoes to a client in a with `secret`, or why not. */
async function md5Echo(t: ExecutionContext, secret: string | undefined, timeout: number): Promise<string> {
  const [a, b] = pair(t);
  const listening = LinuxSocket.open({ family: AF.INET, type: SOCK.STREAM, protocol: 0, netns: b });
  listening.bind({ family: 'ipv4', address: '10.9.0.2', port: 179 });
  const server = createServer((peer) => {
    peer.on('error', () => peer.destroy());
    peer.pipe(peer);
  });
  await new Promise<void>((resolve) => server.listen({ fd: listening.detach() }, resolve));
  t.teardown(() => server.close());
  const serverFd = (server as unknown as { _handle: { fd: number } })._handle.fd;
  setSocketOption(serverFd, IPPROTO.TCP, TCP.MD5SIG, tcpMd5Key('10.9.0.1', Buffer.from('right')));

  const connecting = LinuxSocket.open({ family: AF.INET, type: SOCK.STREAM, protocol: 0, netns: a });
  t.teardown(() => connecting.close());
  if (secret !== undefined) {
    connecting.setOption(IPPROTO.TCP, TCP.MD5SIG, tcpMd5Key('10.9.0.2', Buffer.from(secret)));
  }
  connecting.setOption(SOL.IP, IP.MINTTL, 1);
  connecting.connect({ family: 'ipv4', address: '10.9.0.2', port: 179 });
  const outcome = await Promise.race([
    new Promise<number>((resolve) => {
      connecting.onWritable(() => {
        connecting.onWritable(undefined);
        resolve(connecting.getOption(SOL.SOCKET, SO.ERROR).readInt32LE(0));
      });
    }),
    sleep(timeout, undefined, { ref: false }),
  ]);
  if (outcome === undefined) return 'silence';
  if (outcome !== 0) return `error ${outcome}`;
  const client = new Socket({ fd: connecting.detach() });
  t.teardown(() => client.destroy());
  client.write('hello');
  const [data] = await new Promise<[Buffer]>((resolve, reject) => {
    client.once('data', (chunk) => resolve([chunk]));
    client.once('error', reject);
  });
  return data.toString();
}

test.serial('TCP MD5: equal keys connect, and the socket then lives on as a net.Socket', async (t) => {
  t.is(await md5Echo(t, 'right', 30_000), 'hello');
});

test.serial('TCP MD5: a wrong key gets silence', async (t) => {
  t.is(await md5Echo(t, 'wrong', 1500), 'silence');
});

test.serial('TCP MD5: no key gets silence', async (t) => {
  t.is(await md5Echo(t, undefined, 1500), 'silence');
});

test.serial('TCP MD5: a key for a prefix is accepted, too long a secret is not', (t) => {
  const socket = LinuxSocket.open({ family: AF.INET, type: SOCK.STREAM, protocol: 0 });
  t.teardown(() => socket.close());
  socket.setOption(IPPROTO.TCP, TCP.MD5SIG_EXT, tcpMd5Key('10.9.0.0', Buffer.from('k'), 24));
  t.throws(() => tcpMd5Key('10.9.0.0', Buffer.alloc(81)), { instanceOf: RangeError });
  t.throws(() => tcpMd5Key('10.9.0.0', Buffer.from('k'), 33), { instanceOf: RangeError });
  t.throws(() => tcpMd5Key('10.9.0', Buffer.from('k')), { instanceOf: TypeError });
});
