/** The agent itself on a SONiC switch: from its configuration file to the hardware, and its control socket. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import path from 'node:path';
import test from 'ava';
import { eventually, inBoxes } from '../netlink/helpers.ts';
import { APPL, LAG, makeSonicBox, peer, RedisServer, type SonicBox } from './support/sonic-box.ts';

const PANEL = ['Ethernet4', 'Ethernet8', 'Ethernet16', 'Ethernet20'];

function startAgent({ tor, redis }: SonicBox): { readonly agent: ChildProcess; readonly log: () => string } {
  const configFile = path.join(redis.folder, 'peerless.yaml');
  writeFileSync(
    configFile,
    `
role: tor
routerId: 10.255.0.1
stateDirectory: ${redis.folder}/state
control: { socket: ${redis.folder}/peerless.sock, metrics: null }
hostRoutes: { prefixes: [10.10.10.0/24], ports: ['Ethernet[4,8]', ${LAG}] }
portLink:
  - { name: fabric, uplinks: [Ethernet0], downlinks: ['Ethernet[4,8]', ${LAG}], startupDelay: 0s, recoveryDelay: 300ms }
ports: { driver: auto, redis: ${redis.socket} }
`,
  );
  const source = new URL('../../lab/tor/agent-from-source.ts', import.meta.url).pathname;
  const agent = spawn(
    'ip',
    ['netns', 'exec', tor.netns, process.execPath, '--conditions=source', source, '--config', configFile],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let log = '';
  for (const stream of [agent.stdout, agent.stderr]) {
    stream!.on('data', (chunk: Buffer) => {
      log += chunk.toString();
    });
  }
  return { agent, log: () => log };
}

const answers = (socket: string): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = createConnection(socket, () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', () => resolve(false));
  });

test.serial(
  'R4.4 R4.6 R4.7 the agent finds that the box is SONiC, shuts and opens through it, and outlives Redis',
  async (t) => {
    t.timeout(120_000);
    const redis = new RedisServer();
    t.teardown(() => redis.dispose());
    await inBoxes(2, async (tor, server) => {
      const box = await makeSonicBox(tor, server, redis);
      const { agent, log } = startAgent(box);
      try {
        const carriers = () => PANEL.filter((port) => server.ip(`link show ${peer(port)}`).includes('LOWER_UP'));
        const uplink = (state: 'up' | 'down') => server.ip(`link set ${peer('Ethernet0')} ${state}`);
        while (!(await answers(`${redis.folder}/peerless.sock`))) {
          if (agent.exitCode !== null) throw new Error(log());
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        t.regex(log(), /ports are shut and opened through SONiC/);
        uplink('down');
        await eventually(() => carriers().length === 0);
        t.is(redis.cli(APPL, 'HGET', 'PORT_TABLE:Ethernet4', 'admin_status'), 'down');
        uplink('up');
        await eventually(() => carriers().length === PANEL.length);

        await redis.kill();
        await eventually(() => log().includes('fabric: frozen: Redis is gone'));
        uplink('down');
        await new Promise((resolve) => setTimeout(resolve, 300));
        t.is(carriers().length, PANEL.length);
        await redis.start();
        await eventually(() => log().split('sonic: ports read').length > 2);
        uplink('up');

        agent.kill('SIGTERM');
        const [code] = await once(agent, 'exit');
        t.is(code, 0, log());
        t.true(readFileSync(`${redis.folder}/state/ports.json`, 'utf8').includes('"version"'));
      } finally {
        agent.kill('SIGKILL');
        await box.daemons.stop();
        box.kernel.close();
      }
    });
  },
);
