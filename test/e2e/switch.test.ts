/**
 * One lab, FRR and both protocols: what an operator does to ports and to the agent's life, and what servers do. The
 * crashes are in crash.test.ts, changes of the configuration in live-configuration.test.ts, the malicious and the mistaken
 * in hostile-input.test.ts.
 */
import test from 'ava';
import { sleep } from '../../lab/processes.ts';
import { namespaceOf } from '../../lab/topology/plan.ts';
import { Stand } from './stand.ts';

let stand: Stand;

test.before(async (t) => {
  t.timeout(120_000);
  stand = await Stand.up({ protocol: 'both', gateway: 'frr' });
  await stand.untilHome();
});

test.afterEach.always((t) => stand.mend(t));

test.after.always(() => stand?.down());

// ------------------------------------------------------------------ the operator's ports

test.serial("R4.6 an operator's shut port is not opened by the return of the uplink", async (t) => {
  t.timeout(120_000);
  await stand.ip('A', 'link', 'set', 'A3', 'down');
  stand.cables(['A0'], false);
  await stand.until(
    'all are shut',
    async () => (await stand.shutPorts()).length === 4,
    () => stand.shutPorts(),
  );
  stand.cables(['A0'], true);
  await stand.until(
    'the others are open',
    async () => (await stand.shutPorts()).length === 1,
    () => stand.shutPorts(),
  );
  await sleep(2000);
  t.deepEqual(await stand.shutPorts(), ['A3']);
  await stand.ip('A', 'link', 'set', 'A3', 'up');
  await stand.untilHome();
});

test.serial(
  'R4.6 a port that the operator shuts while we hold it shut stays his; one that he opens stays open',
  async (t) => {
    t.timeout(120_000);
    stand.cables(['A0'], false);
    await stand.until(
      'all are shut',
      async () => (await stand.shutPorts()).length === 4,
      () => stand.shutPorts(),
    );
    await sleep(1000);
    await stand.ip('A', 'link', 'set', 'A4', 'up');
    await sleep(1500);
    t.deepEqual(await stand.shutPorts(), ['A1', 'A2', 'A3']);
    stand.cables(['A0'], true);
    await stand.untilHome();
    t.deepEqual(await stand.shutPorts(), []);
  },
);

// ------------------------------------------------------------------ the agent's life

test.serial(
  'SIGTERM withdraws at once, takes our routes away, leaves the ports; a start brings everything back',
  async (t) => {
    t.timeout(120_000);
    const before = await stand.routes('A');
    await stand.signal('SIGTERM');
    const after = await stand.routes('A');
    // Dead is 4 s, hold 3 s: what goes earlier was withdrawn, not timed out.
    await stand.until(
      'withdrawn at G',
      async () => {
        const fib = await stand.fib();
        // Not to A: B may still believe, for a moment, in hosts that have only just gone home.
        return ['10.10.10.1', '10.10.10.2'].every((address) => !(fib[address] ?? []).includes('A'));
      },
      () => stand.fib(),
      2000,
    );
    const fib = await stand.fib();
    t.deepEqual([fib['10.10.10.4'], fib['10.10.10.5']], [['B'], ['B']]);
    t.deepEqual(
      after.filter(({ protocol }) => ['201', '202', '203'].includes(protocol ?? '')),
      [],
      "A's kernel holds nothing of ours",
    );
    t.true(before.some(({ protocol }) => protocol === '201'));
    t.deepEqual(await stand.shutPorts(), []);
    await stand.start();
    await stand.untilHome();
    const uncommon = (await stand.events()).filter(({ severity }) => severity === 'error');
    t.deepEqual(uncommon, []);
  },
);

test.serial('SIGTERM while the ports are shut leaves them shut, and the next life opens them', async (t) => {
  t.timeout(120_000);
  stand.cables(['A0'], false);
  await stand.until(
    'all are shut',
    async () => (await stand.shutPorts()).length === 4,
    () => stand.shutPorts(),
  );
  await stand.signal('SIGTERM');
  t.is((await stand.shutPorts()).length, 4);
  stand.cables(['A0'], true);
  await stand.start();
  await stand.untilHome();
  t.pass();
});

test.serial('a second agent for the same switch is refused before it touches anything', async (t) => {
  const routes = await stand.routes('A');
  const second = await stand.cli(['agent', '--config', stand.configFile()]);
  t.not(second.code, 0);
  t.regex(second.stderr, /another agent answers/);
  t.deepEqual(await stand.routes('A'), routes);
  t.true(await stand.answers());
});

// ------------------------------------------------------------------ what servers do

const VM = '10.10.10.30';
const OTHER_VM = '10.10.10.31';

test.serial(
  'R4.1 R4.5 a server with several addresses; a VM moves between ports at once; one that falls silent goes alone',
  async (t) => {
    t.timeout(120_000);
    await stand.addAddress('C3', VM);
    await stand.addAddress('C3', OTHER_VM);
    await stand.until(
      'all three are behind A1',
      async () => {
        const kernel = await stand.kernelHosts();
        return [VM, OTHER_VM, '10.10.10.1'].every((address) => kernel[address] === 'A1');
      },
      () => stand.kernelHosts(),
    );
    const atG = async (address: string) => (await stand.routes('G')).find(({ dst }) => dst === address)?.gateway;
    await stand.until('G has the VM', async () => (await atG(VM)) === '192.0.2.2');

    await stand.removeAddress('C3', VM);
    const moved = Date.now();
    await stand.addAddress('C4', VM);
    await stand.until(
      'the VM is behind A2',
      async () => (await stand.kernelHosts())[VM] === 'A2',
      () => stand.hosts(),
      3000,
    );
    t.log(`moved within ${Date.now() - moved} ms, the test's own programs included`);
    t.is((await stand.hosts()).find(({ address }) => address === VM)?.state, 'reachable');
    const ping = await stand.exec('X', 'ping', '-c', '3', '-i', '0.2', '-W', '1', VM);
    t.is(ping.code, 0, ping.stdout);

    await stand.removeAddress('C4', VM);
    await stand.until(
      'the silent VM is withdrawn',
      async () => (await atG(VM)) === undefined && !(VM in (await stand.kernelHosts())),
      () => stand.hosts(),
    );
    t.like(await stand.kernelHosts(), { '10.10.10.1': 'A1', '10.10.10.2': 'A2', [OTHER_VM]: 'A1' });
    t.false((await stand.hosts()).some(({ address, state }) => address === VM && state !== 'gone'));
    await stand.removeAddress('C3', OTHER_VM);
    await stand.until('the other one too', async () => (await atG(OTHER_VM)) === undefined);
  },
);

test.serial('nothing that was told or logged is a defect of the program', (t) => {
  for (const tor of ['A', 'B'] as const) t.deepEqual(stand.defects(tor), [], namespaceOf(stand.name, tor));
});
