import { spawnSync } from 'node:child_process';
import { closeSync, constants, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import {
  AF,
  interfaceIndex,
  ioctl,
  isWouldBlock,
  LinuxSocket,
  lockFile,
  NETLINK,
  openFile,
  SOCK,
  SystemCallError,
  withNetns,
} from '../src/index.ts';
import { native } from '../src/native.ts';
import { ip, linkDump, namespace, openDescriptors } from './support.ts';

const kernel = { family: 'netlink', pid: 0, groups: 0 } as const;
const open = () => LinuxSocket.open({ family: AF.NETLINK, type: SOCK.RAW, protocol: NETLINK.ROUTE });
const index = fileURLToPath(new URL('../src/index.ts', import.meta.url));
const where = () => readlinkSync('/proc/thread-self/ns/net');

test('a closed socket answers EBADF to everything, and closing again is fine', (t) => {
  const socket = open();
  socket.onReadable(() => t.fail());
  socket.close();
  socket.close();
  t.is(socket.fd, -1);
  const uses: (() => unknown)[] = [
    () => socket.bind(kernel),
    () => socket.connect(kernel),
    () => socket.localAddress(),
    () => socket.setOption(1, 8, 1),
    () => socket.getOption(1, 8),
    () => socket.attachFilter([{ code: 6, jt: 0, jf: 0, k: 0 }]),
    () => socket.send({ data: Buffer.alloc(1) }),
    () => socket.sendBatch([{ data: Buffer.alloc(1) }]),
    () => socket.receiveBatch(),
    () => socket.onReadable(() => {}),
    () => socket.onWritable(() => {}),
    () => socket.detach(),
    () => socket.listen(),
  ];
  for (const use of uses) t.is(t.throws(use, { instanceOf: SystemCallError }, String(use)).code, 'EBADF', String(use));
  socket.onReadable(undefined);
  socket.ref();
  socket.unref();
});

test('a lock belongs to one open file, and ends when that is closed', (t) => {
  const one = openFile(index, constants.O_RDONLY);
  const other = openFile(index, constants.O_RDONLY);
  t.teardown(() => closeSync(other));
  t.true(lockFile(one));
  t.true(lockFile(one));
  t.false(lockFile(other));
  closeSync(one);
  t.true(lockFile(other));
  t.is(t.throws(() => lockFile(-1), { instanceOf: SystemCallError }).code, 'EBADF');
});

test('wrong arguments are typed errors, never an abort', (t) => {
  const socket = open();
  t.teardown(() => socket.close());
  const loose = socket as unknown as Record<string, (...args: unknown[]) => unknown>;
  const wrong: (() => unknown)[] = [
    () => loose.bind!({ family: 'netlink' }.family),
    () => loose.bind!({ family: 'other' }),
    () => loose.bind!({ family: 'ipv4', address: 'nonsense', port: 1 }),
    () => loose.send!({ data: 'text' }),
    () => loose.send!({ data: new Uint16Array(4) }),
    () => loose.sendBatch!([{ data: Buffer.alloc(1) }, { data: 5 }]),
    () => loose.setOption!(1, 8, 'x'),
    () => loose.setOption!('a', 8, 1),
    () => loose.onReadable!(5),
    () => loose.attachFilter!([{ code: 1, jt: 0, jf: 0, k: 0 }, null]),
    () => native.poll({} as never, 1),
    () => native.adopt(1, 5 as never),
    () => (native.receiveBatch as (...args: unknown[]) => unknown)(socket.fd),
    () => native.receiveBatch(socket.fd, Buffer.alloc(8), 8, 4, 2, 1, new Uint8Array(16) as never),
    () => native.parseAddress(5 as never, Buffer.alloc(16)),
  ];
  for (const use of wrong) t.throws(use, { any: true } as never, String(use));
  // Sizes that don't fit are refused before the kernel could write past them.
  t.is(native.receiveBatch(socket.fd, Buffer.alloc(8), 8, 4, 2, 2, new Int32Array(16)), -22);
  t.is(native.receiveBatch(socket.fd, Buffer.alloc(8), 8, 8, 2, 1, new Int32Array(16)), -22);
  t.is(native.receiveBatch(socket.fd, Buffer.alloc(8), 8, 4, 2, 1, new Int32Array(3)), -22);
  t.is(native.parseAddress('x'.repeat(200), Buffer.alloc(16)), 0);
  t.is(t.throws(() => interfaceIndex('no-such-device-at-all'), { instanceOf: SystemCallError }).code, 'ENODEV');
});

test('nothing to read is an empty batch; a full send buffer is EAGAIN', (t) => {
  const socket = open();
  t.teardown(() => socket.close());
  t.deepEqual(socket.receiveBatch(), []);
  const stream = LinuxSocket.open({ family: AF.UNIX, type: SOCK.DGRAM, protocol: 0 });
  t.teardown(() => stream.close());
  t.is(t.throws(() => stream.send({ data: Buffer.alloc(1) }), { instanceOf: SystemCallError }).code, 'ENOTCONN');
  t.false(isWouldBlock(new Error('x')));
});

test.serial('10,000 sockets opened, polled and closed leave no descriptor behind', async (t) => {
  for (let round = 0; round < 50; round++) open().close(); // warm up: epoll, pools
  await sleep(1);
  const before = openDescriptors();
  for (let round = 0; round < 10_000; round++) {
    const socket = open();
    if (round % 2) socket.onReadable(() => {});
    socket.close();
    if (round % 500 === 0) await new Promise(setImmediate);
  }
  t.is(openDescriptors(), before);
});

test.serial('a socket may close itself, and others, inside its listener', async (t) => {
  const first = open();
  const second = open();
  for (const socket of [first, second]) socket.bind(kernel);
  let calls = 0;
  await new Promise<void>((resolve) => {
    for (const socket of [first, second]) {
      socket.onWritable(() => {});
      socket.onReadable(() => {
        calls++;
        first.close();
        second.close();
        resolve();
      });
    }
    for (const socket of [first, second]) socket.send({ data: linkDump(), to: kernel });
  });
  await sleep(20);
  t.is(calls, 1);
});

function run(body: string, ...flags: string[]): { status: number | null; stdout: string; stderr: string } {
  const script = `import { LinuxSocket } from ${JSON.stringify(index)};
    const kernel = { family: 'netlink', pid: 0, groups: 0 };
    const open = () => { const s = LinuxSocket.open({ family: 16, type: 3, protocol: 0 }); s.bind(kernel); return s; };
    const dump = Buffer.from(${JSON.stringify([...linkDump()])});
    ${body}`;
  const done = spawnSync(process.execPath, [...flags, '--input-type=module', '--eval', script], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { status: done.status, stdout: done.stdout, stderr: done.stderr };
}

test.serial('what a listener throws is an uncaughtException, and the next events are served', (t) => {
  const { status, stdout, stderr } = run(`
    const s = open();
    let thrown = 0;
    process.on('uncaughtException', (error) => {
      console.log('caught', error.message);
      if (++thrown === 2) s.close();
    });
    s.onReadable(() => { throw new Error('from listener'); });
    s.send({ data: dump, to: kernel });`);
  t.is(status, 0, stderr);
  t.is(stdout, 'caught from listener\ncaught from listener\n');
  const unhandled = run(
    `const s = open(); s.onReadable(() => { throw new Error('nobody listens'); }); s.send({ data: dump, to: kernel });`,
  );
  t.is(unhandled.status, 1);
  t.regex(unhandled.stderr, /nobody listens/);
});

test.serial('promises and nextTick of a listener run before the next event', (t) => {
  const { stdout, stderr } = run(`
    const s = open();
    s.onReadable(() => {
      s.receiveBatch(1);
      s.onReadable(undefined);
      setImmediate(() => { console.log('immediate'); s.close(); });
      Promise.resolve().then(() => console.log('promise'));
      process.nextTick(() => console.log('tick'));
    });
    s.send({ data: dump, to: kernel });`);
  t.is(stdout, 'tick\npromise\nimmediate\n', stderr);
});

test.serial('listening keeps the process alive, unref and forgetting do not', (t) => {
  t.is(run(`const s = open(); s.onReadable(() => {}); s.unref();`).status, 0);
  t.is(run(`const s = open(); s.unref(); s.onReadable(() => {});`).status, 0);
  t.is(run(`open();`).status, 0);
  const kept = run(
    `const s = open(); s.onReadable(() => {}); setTimeout(() => { console.log('kept'); s.close(); }, 50).unref();`,
  );
  t.is(kept.stdout, 'kept\n', kept.stderr);
});

test.serial('a forgotten socket is closed by the collector, a listening one is not', (t) => {
  const { stdout, stderr, status } = run(
    `import { readdirSync } from 'node:fs';
    import { setTimeout as sleep } from 'node:timers/promises';
    const count = () => readdirSync('/proc/self/fd').length;
    open().close();
    const before = count();
    for (let i = 0; i < 100; i++) { const s = open(); if (i % 2) { s.onReadable(() => {}); s.onReadable(undefined); } }
    (() => { const s = open(); s.onReadable(() => { console.log('heard'); s.close(); }); s.send({ data: dump, to: kernel }); })();
    for (let i = 0; i < 20; i++) { globalThis.gc(); await sleep(5); }
    console.log(count() - before < 10);`,
    '--expose-gc',
  );
  t.is(status, 0, stderr);
  t.is(stdout, 'heard\ntrue\n');
});

test.serial('the end of a worker closes its sockets, listening or not', async (t) => {
  const spawn = async () => {
    const worker = new Worker(
      `import(${JSON.stringify(index)}).then(({ LinuxSocket }) => {
        globalThis.kept = [];
        for (let i = 0; i < 20; i++) {
          const s = LinuxSocket.open({ family: 16, type: 3, protocol: 0 });
          globalThis.kept.push(s);
          if (i % 2) s.onReadable(() => {});
        }
        require('node:worker_threads').parentPort.postMessage('ready');
      });`,
      { eval: true },
    );
    await new Promise((resolve) => worker.once('message', resolve));
    await worker.terminate();
  };
  await spawn();
  const before = openDescriptors();
  for (let round = 0; round < 5; round++) await spawn();
  t.true(openDescriptors() <= before);
});

test.serial('withNetns comes back, also after a throw, and refuses promises', (t) => {
  const netns = namespace(t);
  ip('-n', netns, 'link', 'add', 'only-here', 'type', 'bridge');
  const home = where();
  t.not(
    withNetns(netns, () => where()),
    home,
  );
  t.is(where(), home);
  t.true(withNetns(`/run/netns/${netns}`, () => interfaceIndex('only-here')) > 0);
  t.throws(() => interfaceIndex('only-here'), { instanceOf: SystemCallError });
  t.throws(
    () =>
      withNetns(netns, () => {
        throw new Error('inside');
      }),
    { message: 'inside' },
  );
  t.is(where(), home);
  t.throws(() => withNetns(netns, async () => {}), { instanceOf: TypeError });
  t.is(where(), home);
  t.is(t.throws(() => withNetns('no-such-namespace', () => 1), { instanceOf: SystemCallError }).code, 'ENOENT');
  t.is(where(), home);
  t.is(
    withNetns(netns, () => withNetns(namespace(t), () => 5)),
    5,
  );
  const before = openDescriptors();
  for (let round = 0; round < 100; round++) LinuxSocket.open({ family: 16, type: 3, protocol: 0, netns }).close();
  t.is(openDescriptors(), before);
});

test.serial('ioctl reads and writes in place: a TAP device is made in a namespace', (t) => {
  const netns = namespace(t);
  const request = Buffer.alloc(40); // struct ifreq
  request.write('lstap%d');
  request.writeUInt16LE(0x0002 | 0x1000, 16); // IFF_TAP | IFF_NO_PI
  const fd = openFile('/dev/net/tun', 2);
  t.teardown(() => closeSync(fd));
  withNetns(netns, () => ioctl(fd, 0x400454ca, request)); // TUNSETIFF
  t.regex(request.toString('latin1', 0, 16), /^lstap0\0/);
  t.is(t.throws(() => ioctl(fd, 0xdeadbeef, Buffer.alloc(4)), { instanceOf: SystemCallError }).code, 'EINVAL');
});
