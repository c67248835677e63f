/** The commands against a scripted agent: what they ask, what they print, and how they end. */
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { DrainPlan, DrainPortStatus, DrainView, UndrainPlan } from '../../src/agent/api.ts';
import type { Address } from '../../src/model/address.ts';

const PEERLESS = new URL('../../bin/peerless', import.meta.url).pathname;
const C3 = '10.10.10.1' as Address;

const port = (state: DrainPortStatus['state'], fields: Partial<DrainPortStatus> = {}): DrainPortStatus => ({
  port: 'A1',
  state,
  hosts: 1,
  moved: 0,
  returned: 0,
  unmoved: [],
  reason: '',
  ...fields,
});

const view = (phase: DrainView['phase'], reason: string, ...ports: DrainPortStatus[]): DrainView => ({
  phase,
  since: '2026-01-01T10:00:00.000Z',
  reason,
  preference: 'lowered',
  settings: { pauseMs: 1_000, timeoutMs: 5_000, force: false },
  ports,
});

let count = 0;

/** Answers an order with the first view and each look with the next; the last one stays. */
async function agent(t: ExecutionContext, views: readonly unknown[]): Promise<{ socket: string; asked: string[] }> {
  const socket = join(tmpdir(), `peerless-drain-${process.pid}-${count++}.sock`);
  rmSync(socket, { force: true });
  const asked: string[] = [];
  let next = 0;
  const server: Server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request.setEncoding('utf8') as AsyncIterable<string>) body += chunk;
    if (request.method !== 'GET') asked.push(`${request.method} ${request.url} ${body}`.trim());
    const stops = request.url === '/v1/drain/stop';
    const answer = views[Math.min(next, views.length - 1)];
    if (!stops && (views.length < 3 || next < 2 || asked.some((line) => line.includes('stop')))) next++;
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer));
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  t.teardown(
    () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  );
  return { socket, asked };
}

interface Run {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function run(
  socket: string,
  argv: readonly string[],
  onOutput?: (out: string, kill: () => void) => void,
): Promise<Run> {
  const { SSH_CONNECTION: _, ...inherited } = process.env;
  const child = spawn(PEERLESS, [...argv, '--socket', socket], {
    env: { ...inherited, NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
    onOutput?.(out, () => child.kill('SIGINT'));
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, out, err })));
}

const MOVING = view('draining', 'draining A1', port('moving', { ms: 53 }));
const DRAINED = view('drained', 'A1 shut', port('shut', { moved: 1, ms: 226.8 }));

test('drain: the order, a line for each change, exit code 0', async (t) => {
  const { socket, asked } = await agent(t, [MOVING, DRAINED]);
  const { code, out } = await run(socket, ['drain', '--port', 'A1', '--pause', '2s', '--force']);
  t.is(out, 'A1  moving     0 of 1 hosts moved  53 ms\nA1  shut       1 of 1 hosts moved  227 ms\nA1 shut\n');
  t.is(code, 0);
  t.deepEqual(asked, ['POST /v1/drain {"ports":["A1"],"pause":"2s","timeout":"5s","force":true}']);
});

test('drain --json: an object a line, the answer last', async (t) => {
  const { socket } = await agent(t, [MOVING, DRAINED]);
  const { code, out } = await run(socket, ['drain', '--json']);
  t.is(code, 0);
  const lines = out.trimEnd().split('\n');
  t.deepEqual(
    lines.map((line) => JSON.parse(line)),
    [MOVING.ports[0], DRAINED.ports[0], DRAINED],
  );
});

test('drain that is not complete: why, how to go on, exit code 1', async (t) => {
  const reason = 'no other path seen for 10.10.10.1 (A1)';
  const { socket } = await agent(t, [view('partial', `A1: ${reason}`, port('kept', { unmoved: [C3], reason }))]);
  const { code, out } = await run(socket, ['drain']);
  t.is(code, 1);
  t.regex(out, /A1 {2}kept .* no other path seen for 10\.10\.10\.1 \(A1\)\nA1: no other path/);
  t.regex(out, /`peerless drain` goes on with what is left, `peerless undrain` brings everything back\.\n$/);
});

test('drain --dry-run: ports, hosts, who announces them already, warnings', async (t) => {
  const plan: DrainPlan = {
    preference: 'lowered',
    ports: [
      { port: 'A1', hosts: [{ address: C3, otherPath: [] }] },
      { port: 'A2', hosts: [{ address: '10.10.10.2' as Address, otherPath: ['AS65002'] }] },
      { port: 'A3', hosts: [] },
    ],
    warnings: ['the fabric is not ready (no session)'],
  };
  const { socket, asked } = await agent(t, [plan]);
  const { code, out } = await run(socket, ['drain', '--dry-run']);
  t.is(code, 0);
  t.is(asked[0]!.split(' ')[1], '/v1/drain?dryRun=1');
  t.regex(out, /shut A1\n {4}10\.10\.10\.1 {2}moves, if it has a standby link\n/);
  t.regex(out, /shut A2\n {4}10\.10\.10\.2 {2}announced by AS65002 too\n {2}shut A3, which has no hosts\n/);
  t.regex(out, /WARNING: the fabric is not ready/);
});

test('Ctrl-C asks the agent to stop after the port, waits for that, and exits 1', async (t) => {
  const stopped = view('partial', 'not begun: A2', port('shut', { moved: 1, ms: 230 }));
  const { socket, asked } = await agent(t, [MOVING, MOVING, stopped]);
  let sent = false;
  const { code, out, err } = await run(socket, ['drain'], (_, interrupt) => {
    if (!sent) interrupt();
    sent = true;
  });
  t.is(code, 1);
  t.regex(err, /Stopping after this port/);
  t.true(asked.some((line) => line.startsWith('POST /v1/drain/stop')));
  t.regex(out, /A1 {2}shut .*\nnot begun: A2\n/);
});

test('undrain: back to normal is 0, ports that stay shut are 1, nothing to do is said', async (t) => {
  const open = view('none', 'all ports carry their servers again', port('open', { moved: 1, returned: 1, ms: 92 }));
  const good = await agent(t, [view('undraining', 'bringing back A1', port('returning', { ms: 2 })), open]);
  const fine = await run(good.socket, ['undrain', '--group', 'fabric']);
  t.is(fine.code, 0);
  t.regex(fine.out, /A1 {2}open {7}1 of 1 hosts back {2}92 ms\nall ports carry/);
  t.deepEqual(good.asked, ['POST /v1/undrain {"groups":["fabric"],"pause":"1s"}']);

  const kept = port('kept', { reason: 'group fabric keeps it shut' });
  const bad = await agent(t, [view('partial', 'A1: group fabric keeps it shut', kept)]);
  t.is((await run(bad.socket, ['undrain'])).code, 1);

  const idle = await agent(t, [{ ...view('none', ''), since: undefined }]);
  const nothing = await run(idle.socket, ['undrain']);
  t.is(nothing.code, 0);
  t.is(nothing.out, 'Nothing is drained.\n');
});

test('undrain --dry-run: the preference, which ports are opened, which are not and why', async (t) => {
  const plan: UndrainPlan = {
    preference: 'normal',
    ports: [
      { port: 'A1', opened: true, reason: '' },
      { port: 'A2', opened: false, reason: 'group fabric keeps it shut' },
    ],
    warnings: ['the fabric is not ready (no session): refused without --force'],
  };
  const { socket, asked } = await agent(t, [plan]);
  const { code, out } = await run(socket, ['undrain', '--dry-run']);
  t.is(code, 0);
  t.is(asked[0]!.split(' ')[1], '/v1/undrain?dryRun=1');
  t.is(
    out,
    `Dry run: nothing was changed. This would be done:
  all announcements become as preferable as they were
  open A1
  leave A2: group fabric keeps it shut
WARNING: the fabric is not ready (no session): refused without --force
`,
  );
  t.deepEqual(JSON.parse((await run(socket, ['undrain', '--dry-run', '--json'])).out), plan);

  const idle = await agent(t, [{ preference: 'unchanged', ports: [], warnings: [] } satisfies UndrainPlan]);
  t.regex((await run(idle.socket, ['undrain', '--dry-run'])).out, /would be done:\n {2}nothing\n$/);
});
