/**
 * What runs inside an instance's namespace: `node instance.ts serve | tcp ADDRESS OCTETS | udp ADDRESS COUNT SIZE | segments
 * ADDRESS COUNT SIZE`. The server answers TCP with the SHA-256 of what came, and UDP by the datagram itself.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import { LinuxSocket } from 'linux-sockets';

const PORT = 7000;
const UNDER_WAY = 100;
/** Milliseconds until what has not come is counted as lost. */
const PATIENCE = 15_000;
const [mode, address = '', first = '0', second = '0'] = process.argv.slice(2);
const v6 = address.includes(':');

function serve(): void {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const hash = createHash('sha256');
    socket.on('data', (data) => hash.update(data));
    socket.on('end', () => socket.end(hash.digest('hex')));
    socket.on('error', () => socket.destroy());
  });
  server.listen(PORT, '::', () => {
    const echo = createSocket({ type: 'udp6', recvBufferSize: 8 << 20 });
    echo.on('message', (message, from) => echo.send(message, from.port, from.address));
    echo.bind(PORT, '::', () => process.stdout.write('ready\n'));
  });
}

function tcp(octets: number): void {
  const hash = createHash('sha256');
  const socket = connect(PORT, address);
  let answer = '';
  socket.on('data', (data) => {
    answer += data;
  });
  socket.on('end', () => {
    process.stdout.write(answer === hash.digest('hex') ? 'same\n' : 'different\n');
    process.exit(answer ? 0 : 1);
  });
  socket.on('error', (error) => {
    process.stdout.write(`${error.message}\n`);
    process.exit(1);
  });
  let left = octets;
  const more = () => {
    while (left > 0) {
      const chunk = randomBytes(Math.min(left, 1 << 20));
      left -= chunk.length;
      hash.update(chunk);
      if (!socket.write(chunk)) {
        socket.once('drain', more);
        return;
      }
    }
    socket.end();
  };
  socket.on('connect', more);
}

/** Each datagram tells its number and a sum of its content, so that a wrong or doubled echo is seen. */
function datagram(number: number, size: number): Buffer {
  const bytes = randomBytes(size);
  bytes.writeUInt32BE(number, 0);
  createHash('sha256').update(bytes.subarray(0, 4)).update(bytes.subarray(12)).digest().copy(bytes, 4, 0, 8);
  return bytes;
}

function right(bytes: Buffer, size: number): boolean {
  const sum = createHash('sha256').update(bytes.subarray(0, 4)).update(bytes.subarray(12)).digest().subarray(0, 8);
  return bytes.length === size && sum.equals(bytes.subarray(4, 12));
}

function finish(seen: ReadonlySet<number>, wrong: number): never {
  process.stdout.write(`${seen.size} back, ${wrong} wrong\n`);
  process.exit(0);
}

function udp(count: number, size: number): void {
  const socket = createSocket({ type: v6 ? 'udp6' : 'udp4', recvBufferSize: 8 << 20 });
  const seen = new Set<number>();
  let wrong = 0;
  socket.on('message', (message) => {
    const number = message.readUInt32BE(0);
    if (!right(message, size) || seen.has(number)) wrong++;
    seen.add(number);
    if (seen.size === count) finish(seen, wrong);
  });
  let next = 0;
  const pace = setInterval(() => {
    // No more under way than the echo's socket has room for, however late its turn comes.
    for (let burst = 0; burst < 16 && next < count && next - seen.size < UNDER_WAY; burst++) {
      socket.send(datagram(next++, size), PORT, address);
    }
    if (next === count) clearInterval(pace);
  }, 5);
  setTimeout(() => finish(seen, wrong), PATIENCE);
}

/** One sendmsg with UDP_SEGMENT carries all datagrams of a burst (SOL_UDP 17, UDP_SEGMENT 103). */
function segments(count: number, size: number): void {
  const socket = LinuxSocket.open({ family: 2, type: 2, protocol: 17 });
  socket.setOption(17, 103, size);
  socket.connect({ family: 'ipv4', address, port: PORT });
  const seen = new Set<number>();
  let wrong = 0;
  socket.onReadable(() => {
    for (const { data } of socket.receiveBatch()) {
      const number = data.readUInt32BE(0);
      if (!right(Buffer.from(data), size) || seen.has(number)) wrong++;
      seen.add(number);
    }
    if (seen.size === count) finish(seen, wrong);
  });
  const most = Math.floor(60_000 / size);
  let next = 0;
  const pace = setInterval(() => {
    const burst: Buffer[] = [];
    if (next - seen.size > UNDER_WAY) return;
    while (burst.length < Math.min(most, 40) && next < count) burst.push(datagram(next++, size));
    socket.send({ data: Buffer.concat(burst) });
    if (next === count) clearInterval(pace);
  }, 20);
  setTimeout(() => finish(seen, wrong), PATIENCE);
}

if (mode === 'serve') serve();
else if (mode === 'tcp') tcp(Number(first));
else if (mode === 'udp') udp(Number(first), Number(second));
else segments(Number(first), Number(second));
