import { execFileSync, spawn } from 'node:child_process';
import test from 'ava';
import { Kernel, sshConnection } from '../../src/netlink/index.ts';
import { parseSessions, readLogins } from '../../src/netlink/logins.ts';

const ip = (words: string) => execFileSync('ip', words.split(' '), { encoding: 'utf8' });

test('established sessions to port 22, of both families, and nobody else', (t) => {
  const text = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: FE0A0A0A:0016 020A0A0A:D2F0 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 20 4 30 10 -1
   1: FE0A0A0A:0016 030A0A0A:D2F0 06 00000000:00000000 00:00000000 00000000     0        0 1 1 0 20 4 30 10 -1
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 20 4 30 10 -1
   3: FE0A0A0A:00B3 040A0A0A:D2F0 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 20 4 30 10 -1
   4: nonsense
   5:
   6: 0000000000000000FFFF0000FE0A0A0A:0016 0000000000000000FFFF0000050A0A0A:D2F0 01 0:0
   7: B80D0120000000000000000001000000:0016 B80D0120000000000000000002000000:D2F0 01 0:0
`;
  t.deepEqual(parseSessions(text, 22), [
    { local: '10.10.10.254', peer: '10.10.10.2' },
    { local: '10.10.10.254', peer: '10.10.10.5' },
    { local: '2001:db8::1', peer: '2001:db8::2' },
  ] as never);
});

test('SSH_CONNECTION names the session of a command', (t) => {
  t.deepEqual(sshConnection('10.10.10.2 54000 10.10.10.254 22'), {
    peer: '10.10.10.2',
    local: '10.10.10.254',
  } as never);
  t.deepEqual(sshConnection('fe80::2%A2 54000 fe80::1%A2 22'), { peer: 'fe80::2', local: 'fe80::1' } as never);
  for (const text of [undefined, '', 'x', '10.10.10.2 54000', '1 2 3 4']) t.is(sshConnection(text), undefined);
});

const LISTEN =
  "require('net').createServer((s) => s.resume()).listen(Number(process.argv[1]), '::', () => console.log('up'))";
const CONNECT =
  "const s = require('net').connect(Number(process.argv[2]), process.argv[1], () => console.log('up')); s.on('error', (e) => console.log(e.message))";

function program(netns: string, source: string, ...words: string[]) {
  const child = spawn('ip', ['netns', 'exec', netns, process.execPath, '-e', source, ...words], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const up = new Promise<void>((resolve, reject) => {
    child.stdout.once('data', (text) => (String(text).trim() === 'up' ? resolve() : reject(new Error(String(text)))));
  });
  return { up, end: () => child.kill('SIGKILL') };
}

for (const bridged of [false, true]) {
  test.serial(`the port of a login is found: ${bridged ? 'a member of a bridge' : 'a routed port'}`, async (t) => {
    const tor = `vdl${process.pid}${bridged ? 'b' : 'r'}t`;
    const server = `vdl${process.pid}${bridged ? 'b' : 'r'}s`;
    const programs: { end(): void }[] = [];
    for (const netns of [tor, server]) {
      ip(`netns add ${netns}`);
      ip(`-n ${netns} link set lo up`);
    }
    t.teardown(() => {
      for (const { end } of programs) end();
      for (const netns of [tor, server]) ip(`netns del ${netns}`);
    });
    for (const [index, port] of ['A1', 'A2'].entries()) {
      ip(`-n ${tor} link add ${port} type veth peer name eth${index} netns ${server}`);
      ip(`-n ${tor} link set ${port} up`);
    }
    ip(`-n ${server} link set eth1 up`);
    ip(`-n ${server} address add 10.10.10.2/24 dev eth1`);
    const holder = bridged ? 'br0' : 'A2';
    if (bridged) {
      ip(`-n ${tor} link add br0 type bridge forward_delay 0`);
      for (const port of ['A1', 'A2']) ip(`-n ${tor} link set ${port} master br0`);
      ip(`-n ${tor} link set br0 up`);
    }
    ip(`-n ${tor} address add 10.10.10.254/24 dev ${holder}`);
    const kernel = await Kernel.open({ netns: tor });
    t.teardown(() => kernel.close());
    t.deepEqual(await kernel.logins(), []);

    for (const [netns, source, ...words] of [
      [tor, LISTEN, '22'],
      [tor, LISTEN, '2222'],
      [server, CONNECT, '10.10.10.254', '2222'],
    ] as const) {
      const child = program(netns, source, ...words);
      programs.push(child);
      await child.up;
    }
    t.deepEqual(await kernel.logins(), [], 'a session to another port is no login');
    const also = { peer: '10.10.10.2', local: '10.10.10.254' } as never;
    t.true(
      (await kernel.logins([also])).some(({ port }) => port === 'A2'),
      'but by SSH_CONNECTION it is',
    );
    t.deepEqual(
      await kernel.logins([{ peer: '10.10.10.2', local: '203.0.113.1' } as never]),
      [],
      'one that ends elsewhere',
    );

    const login = program(server, CONNECT, '10.10.10.254', '22');
    programs.push(login);
    await login.up;
    const ports = async () => (await kernel.logins()).map(({ port }) => port);
    const end = Date.now() + 20_000;
    // The forwarding database is told of the member by notification.
    while (!(await ports()).includes('A2') && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 10));
    t.deepEqual(await ports(), bridged ? ['br0', 'A2'] : ['A2']);
    login.end();
    while ((await ports()).length > 0 && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 10));
    t.deepEqual(await ports(), []);
  });
}

test.serial('whoever asks is among the logins, however many others there are', async (t) => {
  const tor = `vdl${process.pid}mt`;
  const server = `vdl${process.pid}ms`;
  for (const netns of [tor, server]) ip(`netns add ${netns}`);
  const programs: { end(): void }[] = [];
  t.teardown(() => {
    for (const { end } of programs) end();
    for (const netns of [tor, server]) ip(`netns del ${netns}`);
  });
  ip(`-n ${tor} link add A2 type veth peer name C4 netns ${server}`);
  const others = Array.from({ length: 260 }, (_, index) => `10.10.${11 + (index >> 7)}.${1 + (index & 127)}`);
  const addresses = ['10.10.10.2', ...others].map((address) => `address add ${address}/16 dev C4\n`).join('');
  execFileSync('ip', ['-n', server, '-batch', '-'], { input: addresses });
  ip(`-n ${tor} address add 10.10.10.254/16 dev A2`);
  ip(`-n ${tor} link set A2 up`);
  ip(`-n ${server} link set C4 up`);
  const all = `
    const open = process.argv.slice(1).map((localAddress) => new Promise((done) =>
      require('net').connect({ host: '10.10.10.254', port: 22, localAddress }, done)));
    Promise.all(open).then(() => console.log('up'));`;
  for (const [netns, source, words] of [
    [tor, LISTEN, ['22']],
    [server, all, others],
  ] as const) {
    const child = program(netns, source, ...words);
    programs.push(child);
    await child.up;
  }
  const kernel = await Kernel.open({ netns: tor });
  t.teardown(() => kernel.close());
  const logins = await kernel.logins([{ peer: '10.10.10.2', local: '10.10.10.254' } as never]);
  t.is(logins.length, 256);
  t.true(logins.some(({ peer, port }) => peer === '10.10.10.2' && port === 'A2'));
});

test("a login through a VLAN's interface on a bridge comes by the member behind which its host is", async (t) => {
  const port = (name: string, ifindex: number, rest: object = {}) =>
    ({ name, ifindex, master: 0, kind: undefined, addresses: [], ...rest }) as never;
  const vlan = port('br0.100', 9, { kind: 'vlan', addresses: [{ address: '10.10.10.254', prefixLength: 24 }] });
  const ports = [vlan, port('br0', 5, { kind: 'bridge' }), port('A2', 3, { master: 5 })];
  const read = (gateway: string | undefined, places: Record<string, string>) =>
    readLogins(
      {
        rtnetlink: { getRoute: async () => ({ nextHops: [{ ifindex: 9, gateway }] }) as never },
        links: { port: () => undefined, portByIndex: () => vlan, ports: () => ports },
        memberTowards: () => undefined,
        placeOf: (peer) => places[peer],
      },
      [{ peer: '10.10.10.2', local: '10.10.10.254' } as never],
    );
  const names = async (...words: Parameters<typeof read>) => (await read(...words)).map(({ port: name }) => name);
  t.deepEqual(await names(undefined, { '10.10.10.2': 'A2' }), ['br0.100', 'A2']);
  t.deepEqual(await names('10.10.10.7', { '10.10.10.7': 'A2' }), ['br0.100', 'A2'], 'behind a server');
  t.deepEqual(await names('10.10.10.7', { '10.10.10.2': 'A2' }), ['br0.100'], 'what counts is the next hop');
  t.deepEqual(await names(undefined, { '10.10.10.2': 'br0.100' }), ['br0.100']);
});
