import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { type FakeAgent, fakeAgent } from './fake-agent.ts';
import { type Outcome, PEERLESS, run } from './program.ts';

const root = new URL('../../', import.meta.url).pathname;

let agent: FakeAgent;
test.before(async () => {
  if (!existsSync(join(root, 'dist/src/commands')))
    throw new Error('these tests run what was built: ./run build first');
  agent = await fakeAgent();
});
test.after.always(() => agent.close());

const ask = (...argv: string[]): Promise<Outcome> => run([...argv, '--socket', agent.socket]);

/** The cells of a line: columns stand two or more spaces apart. */
const cells = (line: string): string[] => line.split(/ {2,}/);

const LISTINGS: readonly (readonly [string, readonly string[], RegExp])[] = [
  [
    'hosts',
    ['hosts'],
    /^ADDRESS +PORT +MAC +STATE +AGE +LEVEL +SOURCE +ANNOUNCED BY\n10\.10\.10\.1 +A1 +02:00:00:00:00:01 +reachable +1h00m +0 +arp 1\.2s +ospf kernel\n10\.10\.10\.2 +A2 +- +probing +0\.9s +2 +static 0\.5s +-\n$/,
  ],
  [
    'portlink list',
    ['portlink', 'list'],
    /^NAME +STATE +SINCE +UPLINKS +SHUT +WHY\nfabric +shut +\S+ +0\/1 +1\/2 +0 of 1 uplinks up, 1 needed\n$/,
  ],
  ['R4.1 hosts sweep', ['hosts', 'sweep'], /^Asking for 254 addresses on 4 interfaces: 1016 questions, about 6 s\.\n$/],
  [
    'R4.1 hosts clear',
    ['hosts', 'clear', '10.10.10.2'],
    /^ADDRESS +PORT +HELD +HOLD +MOVES +SUSPECT\n10\.10\.10\.2 +A2 +yes +4\.0s +5 +42s\nForgotten\.\n$/,
  ],
  [
    'portlink show',
    ['portlink', 'show', 'fabric'],
    /UPLINK +STATE +WHY\nA0 +down +carrier: no carrier\n\nDOWNLINK +ADMIN +CARRIER +NEIGHBOUR +SHUT BY US\nA1 +down +no +hv1 eth0 +yes, .*\nA2 +up +yes +- +no\n/,
  ],
  ['ospf neighbors', ['ospf', 'neighbors'], /10\.255\.0\.254 +192\.0\.2\.1 +A0 +0\.0\.0\.0 +Full .* 3\.4s +0\n/],
  [
    'ospf interfaces',
    ['ospf', 'interfaces'],
    /A0 +192\.0\.2\.2\/30 +0\.0\.0\.0 +point-to-point +Point-to-point +10 +1\.0s +4\.0s +1500 +1\/1\n/,
  ],
  [
    'ospf lsdb',
    ['ospf', 'lsdb'],
    /AS +external +10\.10\.10\.1 +10\.255\.0\.1 \* +12 +0x80000001 +0x0abc +36\n0\.0\.0\.0 +router/,
  ],
  [
    'bgp summary',
    ['bgp', 'summary'],
    /^AS 65001, router id 10\.255\.0\.1\n\nNEIGHBOR .*\n192\.0\.2\.1 +65000 +Established +\S+ +3 +2 +0 +KEEPALIVE received\n$/,
  ],
  [
    'bgp neighbors',
    ['bgp', 'neighbors'],
    /neighbor +192\.0\.2\.1\n[\s\S]*hold time +3\.0s\n[\s\S]*prefixes +3 received, 2 sent, 0 queued\n/,
  ],
  [
    'bgp routes',
    ['bgp', 'routes'],
    /in +\* 10\.10\.10\.1\/32 +192\.0\.2\.1 +192\.0\.2\.2 +IGP +- +- +65001 +65001:100 +-\nout/,
  ],
  ['events', ['events'], /^ +1 {2}.* {2}info +link\.down +link\.down happened\n/],
  [
    'failovers',
    ['failovers'],
    /^#7 .* A2 lost carrier \(A2\), 1 host\n +µs +\+µs +STEP\n +0 +0 +link event\n +42 +42 +host table\n +210 +168 +ospf first byte\n +1,250 +1,040 +kernel routes\n$/,
  ],
  ['counters', ['counters'], /ospf +rx\.hello +12\nospf +drop\.checksum +0\nbgp +received +4\n/],
  [
    'status',
    ['status'],
    /hosts +2 \(1 reachable, 1 probing\)\nlast failover +#7 .* A2 lost carrier, 1 host, kernel routes after 1,250 µs\n\nWARNING: A9 was shut[\s\S]*UPLINK +STATE +NEIGHBOUR +WHY\nA0 +down +spine-1 Ethernet1 +no carrier\n\nGROUP[\s\S]*ospf +10\.255\.0\.254 +A0 +Full/,
  ],
];

for (const [name, argv, pattern] of LISTINGS) {
  test(`${name}: aligned text, the same as JSON with --json, exit code 0`, async (t) => {
    const text = await ask(...argv);
    t.is(text.code, 0, text.err);
    t.regex(text.out, pattern);
    t.false(/[ \t]$/m.test(text.out), 'no trailing white space');
    const json = await ask(...argv, '--json');
    t.is(json.code, 0, json.err);
    t.is(json.err, '');
    t.truthy(JSON.parse(json.out));
  });
}

test('columns stand under each other', async (t) => {
  const { out } = await ask('hosts');
  const [header, first, second] = out.split('\n');
  for (const title of ['PORT', 'MAC', 'STATE']) {
    const column = header!.indexOf(title);
    for (const line of [first!, second!]) {
      t.regex(line[column]!, /\S/);
      t.is(line[column - 1], ' ');
    }
  }
  t.is(cells(header!).length, 8);
});

test('a terminal is never given control characters that came from elsewhere', async (t) => {
  const { out } = await ask('hosts', '--why');
  t.true(out.includes('evil?[31m name'));
  t.regex(out, /WHY +EVIDENCE\n[\s\S]*its ARP reply on A1\n/);
  t.false(out.includes('\u001b'));
});

test('filters go to the agent as a query', async (t) => {
  await ask('hosts', '--port', 'A 2', '--prefix', '10.10.10.0/26');
  t.true(agent.asked.includes('GET /v1/hosts?port=A+2&prefix=10.10.10.0%2F26'), agent.asked.join('\n'));
  const bad = await ask('hosts', '--prefix', '10.10.10.1/24');
  t.is(bad.code, 2);
  t.regex(bad.err, /'10\.10\.10\.1\/24' is not a prefix\nWrite one such as/);
});

test('lists on the command line may hold ranges with commas', async (t) => {
  const { code, out } = await ask(
    'portlink',
    'add',
    'new',
    '--uplinks',
    'swp[49,50],swp52',
    '--downlinks',
    'swp[1-48]',
    '--shut',
    '4',
    '--no-auto-recover',
    '--up-when',
    'carrier,bfd',
    '--recovery-delay',
    '30s',
    '--group-dry-run',
  );
  t.is(code, 0);
  t.is(out, 'PUT group\nfabric is shut: 0 of 1 uplinks up, 1 needed\n');
  const body = JSON.stringify({
    uplinks: ['swp[49,50]', 'swp52'],
    downlinks: ['swp[1-48]'],
    upWhen: ['carrier', 'bfd'],
    shut: 4,
    recoveryDelay: '30s',
    autoRecover: false,
    dryRun: true,
  });
  const asked = agent.asked.find((line) => line.startsWith('PUT /v1/portlink/new '));
  t.deepEqual(JSON.parse(asked!.slice('PUT /v1/portlink/new '.length)), JSON.parse(body));
});

const CHANGES: readonly (readonly [readonly string[], string])[] = [
  [['portlink', 'set', 'fabric', '--recovery-delay', '9s'], 'PATCH /v1/portlink/fabric'],
  [['portlink', 'remove', 'fabric'], 'DELETE /v1/portlink/fabric'],
  [['portlink', 'hold', 'fabric', 'shut'], 'POST /v1/portlink/fabric/hold'],
  [['portlink', 'release', 'fabric'], 'POST /v1/portlink/fabric/release'],
];

for (const [argv, path] of CHANGES) {
  test(`${argv.slice(0, 2).join(' ')}: --dry-run is asked of the agent and said to be one`, async (t) => {
    const dry = await ask(...argv, '--dry-run');
    t.is(dry.code, 0, dry.err);
    t.regex(dry.out, /^Dry run: nothing was changed\. This would be done:\n {2}\S+ \S+\n$/);
    t.true(
      agent.asked.some((line) => line.startsWith(`${path}?dryRun=1`)),
      agent.asked.join('\n'),
    );
    const done = await ask(...argv, '--json');
    t.is(JSON.parse(done.out).dryRun, false);
    t.true(agent.asked.some((line) => line === path || line.startsWith(`${path} `)));
  });
}

test('hold says how, and asks nothing when there is no terminal', async (t) => {
  await ask('portlink', 'hold', 'fabric', 'open');
  t.true(agent.asked.includes('POST /v1/portlink/fabric/hold {"state":"open"}'));
  t.is((await ask('portlink', 'hold', 'fabric', 'ajar')).code, 2);
});

function onTerminal(answer: string): Promise<Outcome> {
  const command = `${PEERLESS} portlink hold fabric shut --socket ${agent.socket}`;
  const child = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'pipe'] });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (!out.includes('[y/N]') && (out + text).includes('[y/N]')) child.stdin.write(`${answer}\n`);
    out += text;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, out, err: '' }));
  });
}

test.serial(
  'on a terminal hold shut tells what it would do and asks; no is exit code 1 and changes nothing',
  async (t) => {
    const done = 'POST /v1/portlink/fabric/hold {"state":"shut"}';
    const before = agent.asked.filter((line) => line === done).length;
    const no = await onTerminal('n');
    t.is(no.code, 1, no.out);
    t.regex(no.out, /This takes servers off this switch:\s+POST hold[\s\S]*Go on\? \[y\/N\]/);
    t.is(agent.asked.filter((line) => line === done).length, before);
    const yes = await onTerminal('y');
    t.is(yes.code, 0, yes.out);
    t.is(agent.asked.filter((line) => line === done).length, before + 1);
  },
);

test('exit code 1: the answer is no', async (t) => {
  const text = await ask('portlink', 'show', 'missing');
  t.is(text.code, 1);
  t.is(text.err, 'peerless: there is no group missing\nChoose one of: fabric.\n');
  t.is(text.out, '');
  const json = await ask('portlink', 'show', 'missing', '--json');
  t.is(json.code, 1);
  t.deepEqual(JSON.parse(json.out), {
    error: { message: 'there is no group missing', remedy: 'Choose one of: fabric.' },
  });
  t.is((await ask('bgp', 'neighbors', '192.0.2.99')).code, 1);
  t.is((await ask('counters', 'nonsense')).code, 1);
});

test('exit code 2: the command line or the settings are wrong', async (t) => {
  t.is((await ask('portlink', 'set', 'wrong', '--min-uplinks', '9')).code, 2);
  t.is((await ask('portlink', 'set', 'fabric')).code, 2);
  t.is((await ask('hosts', '--colour')).code, 2);
  t.is((await run(['nonsense'])).code, 2);
  t.is((await run(['portlink', 'nonsense'])).code, 2);
  t.is((await ask('failovers', '--last', 'x')).code, 2);
});

test('a command line that is wrong says what and what to do; with --json as JSON, as every failure', async (t) => {
  const wrong: readonly (readonly [readonly string[], string, string])[] = [
    [['nonsense'], 'there is no command nonsense', '`peerless --help` lists them.'],
    [
      ['portlink', 'nonsense', 'x'],
      'there is no command portlink nonsense x',
      '`peerless portlink --help` lists them.',
    ],
    [['status', 'extra'], 'status takes no extra', '`peerless status --help` says what it takes.'],
    [['--colour'], 'a command comes first, and not --colour', '`peerless --help` lists them.'],
  ];
  for (const [argv, message, remedy] of wrong) {
    const text = await run(argv);
    t.deepEqual(text, { code: 2, out: '', err: `peerless: ${message}\n${remedy}\n` });
    const json = await run([...argv, '--json']);
    t.is(json.code, 2);
    t.is(json.err, '');
    t.deepEqual(JSON.parse(json.out), { error: { message, remedy } });
  }
  const first = await run(['--json', 'status']);
  t.is(first.code, 2);
  t.is(JSON.parse(first.out).error.message, 'a command comes first, and not --json');
  const flag = await run(['status', '--colour', '--json']);
  t.is(flag.code, 2);
  t.regex(JSON.parse(flag.out).error.message, /Nonexistent flag: --colour/);
});

test('exit code 3: the agent cannot be reached, and what to do about it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'peerless-cli-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const nowhere = join(folder, 'none.sock');
  const text = await run(['status', '--socket', nowhere]);
  t.is(text.code, 3);
  t.is(text.out, '');
  t.regex(
    text.err,
    /^peerless: the agent can't be reached: there is no socket .*none\.sock\nStart it \(systemctl start peerless/,
  );
  const json = await run(['hosts', '--json'], { env: { PEERLESS_SOCKET: nowhere } });
  t.is(json.code, 3);
  t.regex(JSON.parse(json.out).error.message, /there is no socket/);
  t.is((await run(['events', '--follow', '--socket', nowhere])).code, 3);
  const lines = await run(['events', '--follow', '--json', '--socket', nowhere]);
  t.regex(JSON.parse(lines.out.split('\n')[0]!).error.message, /there is no socket/, 'an object a line, failures too');

  const dead = join(folder, 'dead.sock');
  const server = createServer((connection) => connection.end('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello'));
  await new Promise<void>((resolve) => server.listen(dead, resolve));
  const stranger = await run(['status', '--socket', dead]);
  t.is(stranger.code, 3);
  t.regex(stranger.err, /is not a Peerless agent/);
  server.close();
});

test('PEERLESS_SOCKET names the agent, and --socket goes before it', async (t) => {
  t.is((await run(['status'], { env: { PEERLESS_SOCKET: agent.socket } })).code, 0);
  t.is((await run(['status', '--socket', agent.socket], { env: { PEERLESS_SOCKET: '/nowhere' } })).code, 0);
});

test('events --follow: one a line until the agent closes, filtered, as JSON too', async (t) => {
  const text = await ask('events', '--follow', '--since', '4');
  t.is(text.code, 0, text.err);
  t.is(text.out.trimEnd().split('\n').length, 3);
  t.true(agent.asked.some((line) => line.startsWith('GET /v1/events?since=4&follow=1')));
  const json = await ask('events', '--follow', '--json', '--type', 'host');
  t.deepEqual(
    json.out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).type),
    ['host.withdrawn'],
  );
});

for (const [command, answer] of [
  ['status', /"pid":4711/],
  ['map', /^\[\]/],
] as const)
  test(`${command} --watch goes on through a restart of the agent`, async (t) => {
    const first = await fakeAgent();
    const child = spawn(PEERLESS, [command, '--watch', '--interval', '1', '--json', '--socket', first.socket], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    const ended = new Promise((resolve) => child.once('close', resolve));
    const until = (stream: NodeJS.ReadableStream, wanted: RegExp) =>
      Promise.race([
        ended.then((code) => Promise.reject(new Error(`ended with ${code}`))),
        new Promise<void>((resolve) =>
          stream.on('data', (chunk: Buffer) => wanted.test(chunk.toString()) && resolve()),
        ),
      ]);
    const gone = until(child.stderr, /can't be reached/);
    await until(child.stdout, answer);
    await first.close();
    await gone;
    const again = until(child.stdout, answer);
    const second = await fakeAgent(first.socket);
    await again;
    child.kill('SIGINT');
    t.is(await ended, 0);
    await second.close();
  });

test('config reload and show', async (t) => {
  t.is(
    (await ask('config', 'reload')).out,
    'kernel.table: 254 -> 100\nneeds a restart of the agent: kernel.table: 254 -> 100\n',
  );
  const shown = await ask('config', 'show');
  t.regex(shown.out, /^# \/etc\/peerless\/peerless\.yaml, loaded .*\nrole: tor\nrouterId: 10\.255\.0\.1\n$/);
  const example = await run(['config', 'show', '--file', join(root, 'docs/peerless.example.yaml')]);
  t.is(example.code, 0);
  t.regex(example.out, /autoRecover: true/);
});

test('restart: who took over from whom; without waiting; and nobody comes', async (t) => {
  const { code, out } = await ask('restart');
  t.is(code, 0);
  t.regex(out, /^Agent 4711 took over from 3822 within \d+ ms\.\n$/);
  t.is((await ask('restart', '--no-wait')).out, 'Agent 3822 ends.\n');
  t.like(JSON.parse((await ask('restart', '--no-wait', '--json')).out), { before: 3822, after: null });
  const dying = createHttpServer((request, response) => {
    if (request.method === 'POST') response.end(JSON.stringify({ pid: 3822, uptimeMs: 5 }));
    else response.socket?.destroy();
  });
  const socket = join(tmpdir(), `peerless-dying-${process.pid}.sock`);
  await new Promise<void>((resolve) => dying.listen(socket, resolve));
  t.teardown(() => dying.close());
  const failed = await run(['restart', '--timeout', '1', '--socket', socket]);
  t.is(failed.code, 3);
  t.regex(failed.err, /agent 3822 has left for a restart, and no other answers after 1 s\nStart it now/);
});

test('nobody reads any more: no complaint, and the exit code is what it was', async (t) => {
  for (const argv of [
    ['hosts', '--socket', agent.socket],
    ['lab', 'run', '--help'],
  ]) {
    const outcome = await run(['-o', 'pipefail', '-c', '"$@" | true', 'bash', PEERLESS, ...argv], { file: 'bash' });
    t.deepEqual(outcome, { code: 0, out: '', err: '' });
  }
});
