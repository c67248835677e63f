import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { Agent } from '../../src/cni/agent.ts';

test('an instance is known by its interface, also one that an earlier version has named', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'peerless-cni-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const asked: string[] = [];
  const instances = [
    { name: 'test-contain-eth0', interface: 'plc000000000001' },
    { name: 'test-container-2-eth0', interface: 'plc000000000002' },
  ];
  const server = createServer(({ method, url }, response) => {
    if (method !== 'GET') asked.push(`${method} ${url}`);
    response.end(JSON.stringify({ instances }));
  });
  const socket = join(folder, 'agent.sock');
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  t.teardown(() => server.close());
  const agent = new Agent(socket);
  t.is(await agent.instanceOn('plc000000000002'), 'test-container-2-eth0');
  await agent.removeOn('plc000000000001');
  await agent.removeOn('plc000000000003');
  t.deepEqual(asked, ['DELETE /v1/host/instances/test-contain-eth0']);
});
