import { mkdtempSync, readdirSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test from 'ava';
import { ControlError, ControlServer } from '../../src/agent/control/server.ts';
import { pointTo } from '../../src/agent/control/signpost.ts';

function ask(
  socketPath: string,
  method: string,
  path: string,
  body?: string,
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, method, path }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
    });
    call.on('error', reject);
    call.end(body);
  });
}

async function serve(
  t: { teardown(run: () => Promise<void>): void },
  prepare: (server: ControlServer) => void,
): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'peerless-control-'));
  const path = join(directory, 'agent.sock');
  const server = new ControlServer();
  prepare(server);
  await server.listen(path);
  t.teardown(async () => {
    await server.close();
    rmSync(directory, { recursive: true });
  });
  return path;
}

test('a path answers by method and parameter; errors carry status and remedy', async (t) => {
  const path = await serve(t, (server) => {
    server.on('GET', '/v1/things/:name', ({ parameters, query }) => ({
      name: parameters.name,
      port: query.get('port'),
    }));
    server.on('POST', '/v1/things/:name', ({ body }) => body);
    server.on('DELETE', '/v1/things/:name', () => {
      throw new ControlError(409, 'in use', 'release it first');
    });
  });
  t.deepEqual(await ask(path, 'GET', '/v1/things/a%20b?port=A1'), {
    status: 200,
    body: '{"name":"a b","port":"A1"}\n',
  });
  t.deepEqual(await ask(path, 'POST', '/v1/things/x', '{"k":1}'), { status: 200, body: '{"k":1}\n' });
  t.deepEqual(await ask(path, 'DELETE', '/v1/things/x'), {
    status: 409,
    body: '{"error":{"message":"in use","remedy":"release it first"}}\n',
  });
  t.is((await ask(path, 'GET', '/v1/none')).status, 404);
  t.is((await ask(path, 'PUT', '/v1/things/x')).status, 405);
  t.is((await ask(path, 'GET', '/v1/things/%zz')).status, 400);
  t.is((await ask(path, 'POST', '/v1/things/x', '{')).status, 400);
  t.is((await ask(path, 'POST', '/v1/things/x', JSON.stringify('x'.repeat(300_000)))).status, 413);
});

test('only root and the group may open the socket, and a second agent is refused', async (t) => {
  const path = await serve(t, () => {});
  t.is(statSync(path).mode & 0o777, 0o660);
  await t.throwsAsync(new ControlServer().listen(path), { message: /another agent answers/ });
});

test('a stream goes on line by line until the client leaves', async (t) => {
  const closed = Promise.withResolvers<void>();
  const path = await serve(t, (server) => {
    server.onStream('/v1/events', 'follow', (_, stream) => {
      stream.write({ seq: 1 });
      stream.write({ seq: 2 });
      stream.onClose(() => closed.resolve());
    });
  });
  const text = await new Promise<string>((resolve, reject) => {
    const call = request({ socketPath: path, path: '/v1/events?follow=1' }, (response) => {
      let seen = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        seen += chunk;
        if (seen.split('\n').length > 2) {
          resolve(seen);
          call.destroy();
        }
      });
      response.on('error', () => {});
    });
    call.on('error', reject);
    call.end();
  });
  t.is(text, '{"seq":1}\n{"seq":2}\n');
  await closed.promise;
});

test('the link to a socket of our own choice goes at a clean stop, also when an earlier life was killed', async (t) => {
  const socket = await serve(t, () => {});
  const usual = join(dirname(socket), 'netns/A.sock');
  const silent = () => undefined;
  const log = { debug: silent, info: silent, warn: silent, error: silent };
  const own = { netns: 'A', stateDirectory: '', socket: usual };
  await pointTo(socket, log, own);
  const takeAway = await pointTo(socket, log, own);
  t.is(readlinkSync(usual), socket);
  const other = await serve(t, () => {});
  (await pointTo(other, log, own))();
  t.is(readlinkSync(usual), socket, 'of two agents in a namespace the first is found');
  takeAway();
  t.deepEqual(readdirSync(dirname(usual)), []);
});
