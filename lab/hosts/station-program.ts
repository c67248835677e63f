/** Runs inside an instance's namespace: sends and receives what the lab's controller asks for, and counts. */
import { createHash } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { connect, createServer, type Server, type Socket as Stream } from 'node:net';
import { setSocketOption } from 'linux-sockets';
import { serveHelper } from '../helper.ts';
import type { TcpAnswer, TcpRequest, UdpReceipt, UdpRequest, UdpSent } from './station.ts';

const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const IPPROTO_UDP = 17;
const UDP_SEGMENT = 103;
/** Number of the packet, in the first octets of each. */
const NUMBER = 4;

const receivers = new Map<number, { socket: Socket; receipt: UdpReceipt; numbers: Set<number>; last: number }>();
const servers = new Map<number, Server>();

/** Every octet follows from the packet's number: what arrives changed is seen. */
function fill(packet: Buffer, number: number): void {
  packet.fill(number & 0xff);
  packet.writeUInt32BE(number, 0);
}

function intact(packet: Buffer): boolean {
  const octet = packet.readUInt32BE(0) & 0xff;
  for (let at = NUMBER; at < packet.length; at++) if (packet[at] !== octet) return false;
  return true;
}

const descriptor = (socket: Socket): number => (socket as unknown as { _handle: { fd: number } })._handle.fd;

/** Bursts wait while this process is not running: what the socket drops would look like a loss on the way. */
const deepen = (socket: Socket): void => setSocketOption(descriptor(socket), SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20);

async function listenUdp({ port, echo }: { port: number; echo: boolean }): Promise<void> {
  const socket = createSocket('udp4');
  const state = {
    socket,
    receipt: { received: 0, duplicates: 0, corrupted: 0, reordered: 0, bytes: 0, from: [] as string[] },
    numbers: new Set<number>(),
    last: -1,
  };
  receivers.set(port, state);
  socket.on('message', (packet, sender) => {
    const { receipt, numbers } = state;
    if (packet.length < NUMBER || !intact(packet)) {
      receipt.corrupted++;
      return;
    }
    const number = packet.readUInt32BE(0);
    if (numbers.has(number)) receipt.duplicates++;
    else receipt.received++;
    numbers.add(number);
    if (number < state.last) receipt.reordered++;
    state.last = Math.max(state.last, number);
    receipt.bytes += packet.length;
    const from = `${sender.address}:${sender.port}`;
    if (!receipt.from.includes(from) && receipt.from.length < 100) receipt.from.push(from);
    if (echo) socket.send(packet, sender.port, sender.address);
  });
  await new Promise<void>((resolve) => socket.bind(port, resolve));
  deepen(socket);
}

function receiptOf({ port, close }: { port: number; close: boolean }): UdpReceipt | undefined {
  const state = receivers.get(port);
  if (state && close) {
    state.socket.close();
    receivers.delete(port);
  }
  return state?.receipt;
}

async function sendUdp(request: UdpRequest & { readonly to: string }): Promise<UdpSent> {
  const { to, port, count, size = 1000, interval = 1, segment = 1, sourcePort = 0, wait = 0 } = request;
  const socket = createSocket('udp4');
  let refused = 0;
  const answered = new Set<number>();
  socket.on('message', (packet) => {
    if (packet.length >= NUMBER && intact(packet)) answered.add(packet.readUInt32BE(0));
  });
  // ICMP errors come as errors of the socket.
  socket.on('error', () => refused++);
  await new Promise<void>((resolve) => socket.bind(sourcePort, resolve));
  socket.setSendBufferSize(8 << 20);
  deepen(socket);
  if (segment > 1) setSocketOption(descriptor(socket), IPPROTO_UDP, UDP_SEGMENT, size);
  for (let number = 0; number < count; number += segment) {
    const many = Math.min(segment, count - number);
    const data = Buffer.allocUnsafe(size * many);
    for (let each = 0; each < many; each++) fill(data.subarray(each * size, (each + 1) * size), number + each);
    await new Promise<void>((resolve) => {
      socket.send(data, port, to, (error) => {
        if (error) refused++;
        resolve();
      });
    });
    if (interval > 0) await new Promise((resolve) => setTimeout(resolve, interval));
  }
  const end = performance.now() + wait;
  while (answered.size < count && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 5));
  const local = socket.address().port;
  socket.close();
  return { sent: count, refused, answered: answered.size, port: local };
}

/** Answers each connection with the digest of what it sent, once the sender has ended its side. */
async function listenTcp({ port }: { port: number }): Promise<void> {
  const server = createServer({ allowHalfOpen: true }, (stream) => {
    const hash = createHash('sha256');
    stream.on('data', (data) => hash.update(data));
    stream.on('end', () => stream.end(`${hash.digest('hex')} ${stream.remoteAddress} ${stream.remotePort}`));
    stream.on('error', () => stream.destroy());
  });
  servers.set(port, server);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '0.0.0.0', resolve);
  });
}

function closeTcp({ port }: { port: number }): void {
  servers.get(port)?.close();
  servers.delete(port);
}

function sendTcp({ to, port, bytes, patience }: TcpRequest & { readonly to: string }): Promise<TcpAnswer> {
  return new Promise((resolve) => {
    const started = performance.now();
    const hash = createHash('sha256');
    const stream: Stream = connect({ host: to, port });
    let answer = '';
    let connected: number | undefined;
    const finish = (outcome: TcpAnswer['outcome']): void => {
      clearTimeout(timer);
      stream.destroy();
      const [digest, ...from] = answer.split(' ');
      const intactThere = outcome === 'done' && digest === hash.digest('hex');
      const milliseconds = performance.now() - started;
      resolve({
        outcome: outcome === 'done' && !intactThere ? 'corrupted' : outcome,
        milliseconds,
        from: from.join(':'),
        connected,
      });
    };
    const timer = setTimeout(() => finish('timeout'), patience ?? 10_000);
    stream.on('error', (error: NodeJS.ErrnoException) => finish(error.code === 'ECONNREFUSED' ? 'refused' : 'failed'));
    stream.setEncoding('utf8').on('data', (text) => {
      answer += text;
    });
    stream.on('end', () => finish('done'));
    stream.on('connect', async () => {
      connected = performance.now() - started;
      let left = bytes ?? 1_000_000;
      let turn = 0;
      while (left > 0 && !stream.destroyed) {
        const chunk = Buffer.alloc(Math.min(left, 262_144), turn++ & 255);
        hash.update(chunk);
        left -= chunk.length;
        if (!stream.write(chunk)) await new Promise((go) => stream.once('drain', go));
      }
      stream.end();
    });
  });
}

serveHelper({ listenUdp, receiptOf, sendUdp, listenTcp, closeTcp, sendTcp });
