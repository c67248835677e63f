/**
 * The agent is exchanged and its OSPF settings are changed while traffic flows: G does not notice, and nobody loses a
 * packet. By both protocols at once: what would be lost by one would not be hidden by the other, since G prefers BGP's
 * routes and the switch OSPF's absence shows in G's neighbour table.
 */
import { spawn } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { sleep, waitUntil } from '../../lab/processes.ts';
import { Stand } from './stand.ts';

const ROOT = new URL('../../', import.meta.url).pathname;
const ON_STOP = join(ROOT, 'packaging/on-stop');
/** A restarted agent has settled its tables by then. */
const SETTLED = 5_000;
/** Seconds. */
const DEAD = 20;

let stand: Stand;
let directory: string;

test.before(async (t) => {
  t.timeout(180_000);
  directory = mkdtempSync(join(tmpdir(), 'peerless-restart-'));
  stand = await Stand.up({ protocol: 'ospf', gateway: 'frr' });
  // A loaded machine may take longer for a start than the lab's dead interval of 4 s. This is a live change, too.
  await atGatewayPort(`ip ospf dead-interval ${DEAD}`);
  stand.editConfig((config) => {
    config.ospf.interfaces[0].dead = `${DEAD}s`;
  });
  await stand.signal('SIGHUP');
  await stand.until('both ends have the new dead interval', async () => {
    const [neighbor] = await stand.ask<{ state: string; deadIn: number }[]>('/v1/ospf/neighbors');
    // G has no neighbour to tell of while the adjacency begins anew.
    return neighbor?.state === 'Full' && neighbor.deadIn > 10_000 && (await changesAtG().catch(() => 0)) > 0;
  });
  await sleep(4_500);
});

test.after.always(async () => {
  await stand?.down();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

/** Configures G's port towards A. */
async function atGatewayPort(...lines: string[]): Promise<void> {
  const detail = await stand.frr('show ip ospf neighbor 10.255.0.1 detail');
  const port = /via interface ([^\s:]+)/.exec(detail)?.[1];
  if (port === undefined) throw new Error(detail);
  await stand.frr(['configure terminal', `interface ${port}`, ...lines].join('\n'));
}

/** How often G's neighbour A has changed its state. */
async function changesAtG(): Promise<number> {
  const text = await stand.frr('show ip ospf neighbor 10.255.0.1 detail');
  const found = /State is Full.*?(\d+) state changes/s.exec(text);
  if (!found) throw new Error(text);
  return Number(found[1]);
}

async function unnoticed(t: ExecutionContext, exchange: () => Promise<void>): Promise<void> {
  await stand.untilHome();
  // What the servers' teams and G had to do with each other before is over.
  await sleep(2_000);
  const before = await changesAtG();
  const lost = await stand.probing(async () => {
    await sleep(200);
    await exchange();
    await sleep(SETTLED);
  });
  t.is(await changesAtG(), before, 'G saw no change of the adjacency');
  for (const [server, result] of Object.entries(lost))
    t.is(result.lost, 0, `${server}: lost ${result.lost} of ${result.sent}`);
  await stand.untilHome();
}

test.serial('R4.7 killed and started: OSPF at G does not notice, no packet is lost', async (t) => {
  t.timeout(180_000);
  await unnoticed(t, async () => {
    await stand.signal('SIGKILL');
    await stand.start();
  });
  const { ospf } = await stand.counters();
  t.is(ospf!['resume.adjacencies'], 1);
});

test.serial(
  'R4.7 `peerless restart`, under a supervisor that starts what ends: lossless, and it says when it is done',
  async (t) => {
    t.timeout(180_000);
    const before = stand.pid();
    await unnoticed(t, async () => {
      const supervised = (async () => {
        if (!(await waitUntil(() => !stand.running(), 20_000, 20))) throw new Error('it did not leave');
        await stand.start();
      })();
      const { code, stdout, stderr } = await stand.cli(['restart', '--json', '--timeout', '60']);
      await supervised;
      t.is(code, 0, stderr);
      t.like(JSON.parse(stdout), { before, after: stand.pid() });
    });
    t.regex(stand.log(), /leaving for a restart/);
  },
);

test.serial(
  'R4.7 an upgrade: the next life comes from another place, at SIGUSR2; SIGTERM on its heels changes nothing',
  async (t) => {
    t.timeout(180_000);
    const place = join(directory, 'next');
    for (const part of ['bin', 'dist', 'package.json']) {
      mkdirSync(dirname(join(place, part)), { recursive: true });
      cpSync(join(ROOT, part), join(place, part), { recursive: true });
    }
    for (const part of ['node_modules', 'packages']) symlinkSync(join(ROOT, part), join(place, part));
    await unnoticed(t, async () => {
      // They may be taken in the other order than they were sent.
      process.kill(stand.pid(), 'SIGTERM');
      process.kill(stand.pid(), 'SIGUSR2');
      await stand.signal('SIGTERM');
      await stand.start({ program: join(place, 'bin/peerless') });
    });
    t.true(readFileSync(`/proc/${stand.pid()}/cmdline`, 'utf8').includes(place));
  },
);

/** What systemd does for `systemctl restart` and `stop`, with its list of jobs as it is then. */
async function systemdStops(jobs: string): Promise<void> {
  const folder = mkdtempSync(join(directory, 'systemd-'));
  writeFileSync(join(folder, 'systemctl'), `#!/bin/sh\necho '${jobs}'\n`);
  chmodSync(join(folder, 'systemctl'), 0o755);
  const pid = stand.pid();
  await new Promise<void>((resolve, reject) => {
    const env = { ...process.env, PATH: `${folder}:${process.env.PATH}`, MAINPID: String(pid) };
    const child = spawn(ON_STOP, ['peerless.service'], { env, stdio: 'inherit' });
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`on-stop: ${code}`))));
  });
  if (stand.running()) throw new Error('on-stop ended before the agent');
}

test.serial('R4.7 `systemctl restart`: the job says so, and nothing is withdrawn', async (t) => {
  t.timeout(180_000);
  await unnoticed(t, async () => {
    await systemdStops('181 peerless.service restart running');
    await stand.start();
  });
});

test.serial('`systemctl stop` withdraws everything, and the next life takes nothing up', async (t) => {
  t.timeout(180_000);
  await systemdStops('235 peerless.service stop running');
  await stand.until(
    "A's hosts are gone from G",
    async () => !Object.values(await stand.fib()).some((tors) => tors.includes('A')),
    () => stand.fib(),
  );
  t.deepEqual(await stand.kernelHosts(), {});
  await stand.start();
  await stand.untilHome();
  const { ospf } = await stand.counters();
  t.is(ospf!['resume.adjacencies'], undefined);
});

test.serial(
  'R4.7 an OSPF reload changes what differs, and G keeps the adjacency; a bad file changes nothing',
  async (t) => {
    t.timeout(180_000);
    const uplinkCost = async () => {
      const text = await stand.frr('show ip ospf database router 10.255.0.1');
      return Number(/point-to-point[\s\S]*?TOS 0 Metric: (\d+)/.exec(text)?.[1]);
    };
    const hostMetric = async () => {
      const text = await stand.frr('show ip ospf database external 10.10.10.1');
      return Number(/Metric: (\d+)/.exec(text)?.[1]);
    };
    await unnoticed(t, async () => {
      stand.editConfig((config) => {
        config.ospf.interfaces[0].cost = 33;
        config.ospf.announce.metric = 40;
      });
      await stand.signal('SIGHUP');
      await stand.until(
        'G has the new metrics',
        async () => (await uplinkCost()) === 33 && (await hostMetric()) === 40,
      );
      stand.editConfig((config) => {
        config.ospf.interfaces[0].cost = 0;
      });
      const refused = await stand.cli(['config', 'reload']);
      t.not(refused.code, 0);
      t.is(await uplinkCost(), 33);
      stand.editConfig((config) => {
        config.ospf.interfaces[0].cost = 10;
        config.ospf.announce.metric = 20;
      });
      const { code, stdout } = await stand.cli(['config', 'reload', '--json']);
      t.is(code, 0);
      t.deepEqual(JSON.parse(stdout).needsRestart, []);
      await stand.until(
        'and the old ones again',
        async () => (await uplinkCost()) === 10 && (await hostMetric()) === 20,
      );
    });
  },
);

test.serial('R4.7 with a key: the sequence number goes on, and the new life is believed', async (t) => {
  t.timeout(180_000);
  const keyFile = join(directory, 'ospf.key');
  await atGatewayPort('ip ospf authentication message-digest', 'ip ospf message-digest-key 1 md5 akey');
  writeFileSync(keyFile, 'akey\n', { mode: 0o600 });
  stand.editConfig((config) => {
    config.ospf.interfaces[0].authentication = { type: 'md5', keyId: 1, secretFile: keyFile };
  });
  // Live, too: both ends change within the dead interval, and only what is signed is heard from then on.
  await stand.signal('SIGHUP');
  await stand.until('signed hellos are taken', async () => {
    const [neighbor] = await stand.ask<{ state: string; deadIn: number }[]>('/v1/ospf/neighbors');
    const text = await stand.frr('show ip ospf interface');
    return neighbor?.state === 'Full' && neighbor.deadIn > (DEAD - 2) * 1000 && text.includes('ryptographic');
  });
  await unnoticed(t, async () => {
    await stand.signal('SIGKILL');
    await stand.start();
  });
});
