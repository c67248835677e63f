/** RFC 4271 §6: what a neighbour said before it reset the connection is heard to the end, however far we were behind. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { withNetns } from 'linux-sockets';
import { tcpTransport } from '../../src/bgp/driver.ts';
import type { Address } from '../../src/model/address.ts';
import { systemClock } from '../../src/model/clock.ts';

const PORT = 1790;
const HERE = '127.0.0.1' as Address;
const SILENT = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
/** Fits into a receive window, so the kernel has it when the peer's write returns. */
const SAID = 30_000;

/** Says one octet, and when it is answered all the rest; then it is gone. */
const PEER = `
  const { createServer } = require('node:net');
  const { writeFileSync } = require('node:fs');
  createServer((socket) => {
    socket.write('a');
    socket.once('data', () => socket.write(Buffer.alloc(${SAID - 1}, 'b'), () => {
      socket.resetAndDestroy();
      setImmediate(() => writeFileSync(process.argv[1], ''));
    }));
  }).listen(${PORT}, '${HERE}', () => console.log('ready'));
`;

/** The file appears when the connection is reset. */
async function peer(t: ExecutionContext): Promise<{ netns: string; reset: string }> {
  const netns = `lw${process.pid}n${peers++}`;
  const directory = mkdtempSync(join(tmpdir(), 'peerless-words-'));
  execFileSync('ip', ['netns', 'add', netns]);
  t.teardown(() => {
    execFileSync('ip', ['netns', 'del', netns]);
    rmSync(directory, { recursive: true });
  });
  execFileSync('ip', ['-n', netns, 'link', 'set', 'lo', 'up']);
  const reset = join(directory, 'reset');
  const child = spawn('ip', ['netns', 'exec', netns, process.execPath, '-e', PEER, reset], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill());
  await new Promise((resolve) => child.stdout.once('data', resolve));
  return { netns, reset };
}
let peers = 0;

function untilReset(file: string): void {
  const still = new Int32Array(new SharedArrayBuffer(4));
  const end = performance.now() + 30_000;
  while (!existsSync(file)) {
    if (performance.now() > end) throw new Error('the peer does not reset the connection');
    Atomics.wait(still, 0, 0, 5);
  }
}

for (const [name, writes] of [
  ['a read that is paused', false],
  ['a write of ours', true],
] as const) {
  test.serial(`what was said before a reset is heard when ${name} finds it`, async (t) => {
    t.timeout(60_000);
    const { netns, reset } = await peer(t);
    const transport = tcpTransport({ clock: systemClock, log: SILENT });
    let heard = 0;
    const reason = await new Promise<string>((resolve) => {
      const connect = () =>
        transport.connect(
          { address: HERE, port: PORT },
          {
            onOpen: () => {},
            onDrain: () => {},
            onClose: resolve,
            onData: (data) => {
              if (heard === 0) {
                connection.pause!();
                connection.write(Buffer.from('x'));
                if (writes) {
                  // In this very turn, so nothing has been read since.
                  untilReset(reset);
                  connection.write(Buffer.from('y'));
                }
              }
              heard += data.length;
            },
          },
        );
      const connection = withNetns(netns, connect);
    });
    t.is(heard, SAID);
    t.regex(reason, /ECONNRESET|EPIPE/);
  });
}

test.serial('who has heard enough is told no more', async (t) => {
  t.timeout(60_000);
  const { netns, reset } = await peer(t);
  const transport = tcpTransport({ clock: systemClock, log: SILENT });
  const told: string[] = [];
  await new Promise<void>((resolve) => {
    const connection = withNetns(netns, () =>
      transport.connect(
        { address: HERE, port: PORT },
        {
          onOpen: () => {},
          onDrain: () => {},
          onClose: () => told.push('closed'),
          onData: () => {
            told.push('data');
            if (told.length === 1) {
              connection.pause!();
              connection.write(Buffer.from('x'));
              untilReset(reset);
              connection.write(Buffer.from('y'));
            } else connection.close(resolve);
          },
        },
      ),
    );
  });
  t.deepEqual(told, ['data', 'data']);
});
