/** `sender.ts ADDRESS SIZE SECONDS`: UDP as fast as sendmmsg gives it. Writes the seconds it took. */
import { LinuxSocket, SystemCallError } from 'linux-sockets';

const [address = '', size = '64', seconds = '3'] = process.argv.slice(2);
const BATCH = 64;

const socket = LinuxSocket.open({ family: 2, type: 2, protocol: 17 });
socket.connect({ family: 'ipv4', address, port: 9 });
const data = Buffer.alloc(Number(size), 7);
const batch = Array.from({ length: BATCH }, () => ({ data }));
const start = performance.now();
const end = start + Number(seconds) * 1000;
while (performance.now() < end) {
  try {
    socket.sendBatch(batch);
  } catch (error) {
    // What the socket's buffer does not take now it takes on another turn.
    if (!(error instanceof SystemCallError) || error.code !== 'EAGAIN') throw error;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
const took = (performance.now() - start) / 1000;
socket.close();
process.stdout.write(String(took));
