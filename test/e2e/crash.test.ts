/**
 * The agent is killed at any moment of any case and started again. Afterwards no port is left shut, no route of a host
 * that is gone is left (in A's kernel, at G), and everything comes home.
 */
import test, { type ExecutionContext } from 'ava';
import { Faults } from '../../lab/faults.ts';
import { gone, sleep, waitUntil } from '../../lab/processes.ts';
import { loadState } from '../../lab/state.ts';
import { randomFrom, Stand } from './stand.ts';

const seed = Number(process.env.PEERLESS_SEED ?? Date.now() % 1_000_000);
const random = randomFrom(seed);
/** Whole milliseconds below `limit`. */
const below = (limit: number): number => Math.floor(random() * limit);

let stand: Stand;

test.before(async (t) => {
  t.timeout(120_000);
  t.log(`PEERLESS_SEED=${seed}`);
  stand = await Stand.up({ protocol: 'both', gateway: 'frr' });
});

test.after.always(() => stand?.down());

/** What must hold whenever nothing is broken any more. */
async function everythingIsBack(t: ExecutionContext, story: string): Promise<void> {
  try {
    await stand.untilHome();
    await stand.until(
      'both sessions are up',
      async () => (await stand.status()).sessions.every(({ up }) => up),
      () => stand.status(),
    );
  } catch (error) {
    t.log(stand.log().split('\n').slice(-40).join('\n'));
    throw new Error(`PEERLESS_SEED=${seed}: ${story}`, { cause: error });
  }
  t.pass();
}

const CASES = [
  { name: 'uplink', cable: 'A0', concerned: ['10.10.10.1', '10.10.10.2'] },
  { name: 'server link', cable: 'A2', concerned: ['10.10.10.2'] },
] as const;

for (const { name, cable, concerned } of CASES) {
  const movedAway = async () => {
    const fib = await stand.fib();
    return concerned.every((address) => fib[address]?.join() === 'B');
  };

  for (const range of [8, 60, 600]) {
    test.serial(
      `R4.5 R4.6 killed within ${range} ms of the loss of the ${name}, started again while it is lost`,
      async (t) => {
        t.timeout(180_000);
        const [untilKill, untilStart] = [below(range), below(400)];
        stand.cables([cable], false);
        await sleep(untilKill);
        await stand.signal('SIGKILL');
        await sleep(untilStart);
        await stand.start();
        const story = `${name} lost, killed ${untilKill} ms later, started ${untilStart} ms after that`;
        t.log(story);
        await stand.until(`${story}: the hosts are behind B`, movedAway, () => stand.fib());
        await stand.until(
          `${story}: A's kernel forgot them`,
          async () => {
            const kernel = await stand.kernelHosts();
            return !concerned.some((address) => address in kernel);
          },
          () => stand.kernelHosts(),
        );
        stand.cables([cable], true);
        await everythingIsBack(t, story);
      },
    );
  }

  for (const range of [900, 2000]) {
    test.serial(`R4.5 R4.6 R4.7 killed within ${range} ms of the return of the ${name}`, async (t) => {
      t.timeout(180_000);
      const [untilKill, untilStart] = [below(range), below(400)];
      stand.cables([cable], false);
      await stand.until(`${name}: moved to B`, movedAway, () => stand.fib());
      stand.cables([cable], true);
      await sleep(untilKill);
      await stand.signal('SIGKILL');
      await sleep(untilStart);
      await stand.start();
      const story = `${name} back, killed ${untilKill} ms later, started ${untilStart} ms after that`;
      t.log(story);
      await everythingIsBack(t, story);
    });
  }
}

test.serial(
  'R4.6 R4.7 killed in the make-before-break reopening: hosts are announced, ports not open yet',
  async (t) => {
    t.timeout(180_000);
    stand.cables(['A0'], false);
    await stand.until(
      'moved to B',
      async () => (await stand.fib())['10.10.10.1']?.join() === 'B',
      () => stand.fib(),
    );
    await stand.until(
      'ports are shut',
      async () => (await stand.shutPorts()).length === 4,
      () => stand.shutPorts(),
    );
    // The announcement of a host that is expected back is the moment: its port opens within 300 ms of it.
    const since = (await stand.events()).at(-1)!.seq;
    stand.cables(['A0'], true);
    const caught = await waitUntil(
      async () => (await stand.events()).some(({ seq, type }) => seq > since && type === 'hosts.returning'),
      40_000,
      2,
    );
    t.true(caught);
    await stand.signal('SIGKILL');
    t.log(`ports that were shut when it died: ${(await stand.shutPorts()).join(' ') || 'none'}`);
    await stand.start();
    await everythingIsBack(t, 'killed while reopening');
  },
);

test.serial('R4.7 killed at boot, ports held shut, twice', async (t) => {
  t.timeout(240_000);
  const faults = new Faults(stand.name);
  t.teardown(() => faults.close());
  const victim = {
    processes: () => loadState(stand.name).torProcesses.A,
    gone: async () => {
      t.true(await gone(loadState(stand.name).torProcesses.A, 5000));
    },
    start: async () => {
      for (let life = 0; life < 2; life++) {
        await stand.start({ holdAtBoot: true, wait: false });
        const untilKill = 200 + below(500);
        t.log(`boot ${life + 1}, killed after ${untilKill} ms`);
        await sleep(untilKill);
        await stand.signal('SIGKILL');
      }
      await stand.start({ holdAtBoot: true });
      t.is((await stand.shutPorts()).length, 4, 'servers stay at B until the fabric is there');
    },
  };
  await faults.losePower('A', victim);
  await stand.until(
    'moved to B',
    async () => (await stand.fib())['10.10.10.1']?.join() === 'B',
    () => stand.fib(),
  );
  await faults.restorePower('A', victim);
  await everythingIsBack(t, 'killed at boot');
});

test.serial(
  'killed and never missed: a host that left meanwhile is forgotten, the others keep their routes',
  async (t) => {
    t.timeout(180_000);
    await stand.signal('SIGKILL');
    stand.cables(['A2'], false);
    await stand.start();
    await stand.until(
      'C4 is behind B and A has only C3',
      async () =>
        (await stand.fib())['10.10.10.2']?.join() === 'B' &&
        Object.keys(await stand.kernelHosts()).join() === '10.10.10.1',
      async () => ({ fib: await stand.fib(), kernel: await stand.kernelHosts() }),
    );
    stand.cables(['A2'], true);
    await everythingIsBack(t, 'a host left while the agent was dead');
  },
);

test.serial("an operator's shut port stays shut through crash, loss and return of the uplink", async (t) => {
  t.timeout(180_000);
  await stand.ip('A', 'link', 'set', 'A3', 'down');
  t.teardown(() => stand.ip('A', 'link', 'set', 'A3', 'up'));
  await sleep(200);
  stand.cables(['A0'], false);
  await stand.until(
    'all are shut',
    async () => (await stand.shutPorts()).length === 4,
    () => stand.shutPorts(),
  );
  const killed = random() < 0.5;
  t.log(killed ? 'with a kill in between' : 'without a kill');
  if (killed) {
    await stand.signal('SIGKILL');
    await stand.start();
  }
  stand.cables(['A0'], true);
  await stand.until(
    'the others open',
    async () => (await stand.shutPorts()).length === 1,
    () => stand.shutPorts(),
  );
  await sleep(2500);
  t.deepEqual(await stand.shutPorts(), ['A3']);
  const { downlinks } = await stand.group();
  t.deepEqual(
    downlinks.map(({ port, adminUp, shutByUs }) => [port, adminUp, shutByUs]),
    [
      ['A1', true, false],
      ['A2', true, false],
      ['A3', false, false],
      ['A4', true, false],
    ],
  );
});
