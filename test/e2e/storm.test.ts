/**
 * R4.1: a server that goes bad and floods its port with forged ARP and neighbour discovery. The real agents in the
 * worked example. Whether the others lose packets is asked in a flood that any machine carries beside its traffic; in
 * one that is as fast as the machine gives (at most 100,000 frames a second) a full queue of the machine says nothing
 * of the agent, and what is asked is whether A stays what it was.
 *
 * The kernel has one table of neighbours for all its namespaces. What is not A's own stands there for good (permanent),
 * as on boxes of their own; A must keep what it needs by its own means.
 */
import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { Helper } from '../../lab/helper.ts';
import { sleep } from '../../lab/processes.ts';
import { batch } from '../../lab/topology/build.ts';
import { type NodeName, namespaceOf, SERVERS, TORS } from '../../lab/topology/plan.ts';
import type { Flood } from './flooder.ts';
import { type Probed, Stand } from './stand.ts';

const FAST = 100_000;
const MODERATE = 10_000;
/** Nobody waits so long; a flood is over when its test is. */
const LONGEST = 240_000;
/** Growth (MiB) that would be a leak: 100,000 frames a second remembered for the whole flood would be far more. */
const MOST_GROWTH = 200;
/**
 * Entries of A's that compete for the kernel's table, beside those of its hosts (of which the port may have 256): some
 * are its own, a thousand fill it.
 */
const MOST_NEIGHBOURS = 50;
const OTHERS = ['C4', 'C1', 'C2'] as const;
const { uplink: UPLINK, peer: NEXT_HOP } = TORS.A;

let stand: Stand;
let most = 0;

test.before(async (t) => {
  t.timeout(120_000);
  stand = await Stand.up({ protocol: 'both', gateway: 'frr' });
  for (const tor of ['A', 'B'] as const) {
    await stand.signal('SIGTERM', tor);
    // What an operator does who does not trust his tenants: the address of a server is accepted where it belongs.
    stand.editConfig((config) => {
      config.hostRoutes.bindings = SERVERS.map(({ address, slot, mac }) => ({
        address,
        ports: [`${tor}${slot}`],
        macs: [mac],
      }));
    }, tor);
    await stand.start({ tor });
  }
  await stand.untilHome();
  await stand.probing(() => sleep(500));
  for (const node of ['G', 'X', ...SERVERS.map(({ name }) => name)] as const) await keepNeighbours(node);
  await keepNeighbours('B', TORS.B.uplink);
});

test.after.always(() => stand?.down());

interface Entry {
  readonly dst: string;
  readonly dev: string;
  readonly lladdr?: string;
  /** Written by the agent, and no garbage to the kernel. */
  readonly extern_learn?: null;
}

const neighbours = async (node: NodeName, ...which: string[]): Promise<Entry[]> =>
  JSON.parse(await stand.ip(node, '-j', '-4', 'neighbour', 'show', ...which)) as Entry[];

async function keepNeighbours(node: NodeName, device?: string): Promise<void> {
  const entries = await neighbours(node, ...(device === undefined ? [] : ['dev', device]));
  const kept = entries.flatMap(({ dst, dev, lladdr }) =>
    lladdr === undefined ? [] : [`neighbour replace ${dst} lladdr ${lladdr} dev ${dev ?? device} nud permanent`],
  );
  await batch(namespaceOf(stand.name, node), kept);
}

const competing = async (): Promise<number> =>
  (await neighbours('A')).filter(({ extern_learn }) => extern_learn === undefined).length;

/** As the kernel would use it: with a MAC. */
const hasNextHop = async (): Promise<boolean> =>
  (await neighbours('A', 'dev', UPLINK)).some(({ dst, lladdr }) => dst === NEXT_HOP && lladdr !== undefined);

const hostroutes = async (): Promise<Record<string, number>> => (await stand.counters()).hostroutes!;

const resident = (): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${stand.pid()}/status`, 'latin1'))?.[1]) / 1024;

async function flooding(rate: number, work: () => Promise<void>): Promise<{ sent: number; ms: number }> {
  const flooder = Helper.start('./flooder', import.meta.url, [namespaceOf(stand.name, 'C3'), 'bond0']);
  const options: Flood = {
    ms: LONGEST,
    rate,
    seed: 1,
    claims: ['10.10.10.2', '10.10.10.4', '10.10.10.254', '192.0.2.1', '10.255.0.1', '198.51.100.10'],
    gateway: '10.10.10.254',
  };
  try {
    const flood = flooder.request<{ sent: number; ms: number }>('flood', options);
    // When `work` fails nobody asks any more how the flood went, and it ends with its program.
    flood.catch(() => undefined);
    await stand.until('the storm is noticed', async () => (await hostroutes())['storms.now'] === 1, hostroutes);
    await work();
    await flooder.request('enough');
    return await flood;
  } finally {
    await flooder.stop();
  }
}

const untilCalm = (): Promise<void> =>
  stand.until('the storm is over', async () => (await hostroutes())['storms.now'] === 0, hostroutes);

const share = ({ sent, lost }: Probed): number => lost / sent;

test.serial('R4.1 in a flood that the machine carries the other servers lose nothing', async (t) => {
  t.timeout(300_000);
  // Routine questions come every few seconds: these seconds hold some to everybody.
  const window = () => sleep(3_000);
  const control = await stand.probing(window);
  await flooding(MODERATE, async () => {
    const results = await stand.probing(window);
    for (const server of OTHERS) {
      const { sent, lost } = results[server];
      const alone = control[server];
      t.log(`${server} lost ${lost} of ${sent}; without the flood ${alone.lost} of ${alone.sent}`);
      t.true(share(results[server]) <= share(alone) + 0.01, `${server} lost ${lost} of ${sent}`);
    }
  });
  await untilCalm();
  await stand.untilHome();
});

test.serial(
  'R4.1 in a flood of forged ARP and ND routes and next hops stay, one fails over, memory is bounded',
  async (t) => {
    t.timeout(400_000);
    const before = resident();
    const logged = stand.log().length;
    const storms = async () => (await stand.events()).filter(({ type }) => type === 'hosts.storm').length;
    const told = await storms();
    let slowest = 0;
    const { sent, ms } = await flooding(FAST, async () => {
      const { warnings } = await stand.status();
      t.true(
        warnings.some((warning) => warning.includes('storm') && warning.includes('A1')),
        warnings.join('; '),
      );
      await stand.until(
        'A has its next hop, and forged neighbours no more',
        async () => (await competing()) <= MOST_NEIGHBOURS && (await hasNextHop()),
        async () => [await competing(), await neighbours('A', 'dev', UPLINK), await hostroutes()],
      );
      const results = await stand.probing(async () => {
        for (let round = 0; round < 30; round++) {
          const start = performance.now();
          await stand.status();
          slowest = Math.max(slowest, performance.now() - start);
          await staysWhatItWas(t);
          await sleep(100);
        }
      });
      for (const server of OTHERS) {
        const { sent, lost } = results[server];
        t.log(`${server} lost ${lost} of ${sent}`);
        t.true(lost < sent, `${server} is cut off`);
      }
      // R4.5 in the midst of it.
      stand.cables(['A2'], false);
      await stand.until(
        'C4 is reached through B',
        async () => String((await stand.fib())['10.10.10.2']) === 'B',
        () => stand.fib(),
      );
    });
    t.log(
      `${Math.round((sent / ms) * 1000)} frames a second; slowest answer of the agent ${slowest.toFixed(0)} ms; at most ${most} competing neighbours`,
    );
    stand.cables(['A2'], true);
    const grown = resident() - before;
    t.true(grown < MOST_GROWTH, `the agent grew by ${grown.toFixed(0)} MiB`);
    const counters = await hostroutes();
    t.log(JSON.stringify(counters));
    for (const reason of ['binding', 'outside-prefixes', 'own-address', 'bad-address']) {
      t.true(counters[`refused.${reason}`]! > 0, reason);
    }
    t.true(counters.storms! >= 2);
    t.true(counters['neighbours.weeded']! > 0);
    t.is(counters['neighbours.weeding.failed'], 0);
    t.true(counters.hosts! <= 257);
    const lines = stand.log().slice(logged).split('\n').length;
    t.true(lines < 40_000, `${lines} lines of log at level debug`);
    await untilCalm();
    t.true((await storms()) - told <= 8, 'said when it began and when it was over, not more');
    await stand.untilHome();
  },
);

/** In the midst of the flood: its routes, its next hop, the entries of its hosts, and nobody forged. */
async function staysWhatItWas(t: ExecutionContext): Promise<void> {
  const kernel = await stand.kernelHosts();
  t.is(kernel['10.10.10.2'], 'A2');
  for (const address of ['10.10.10.4', '10.10.10.254', '192.0.2.1', '10.255.0.1']) t.false(address in kernel, address);
  t.true(await hasNextHop(), `${NEXT_HOP} on ${UPLINK}`);
  const rivals = await competing();
  most = Math.max(most, rivals);
  t.true(rivals <= MOST_NEIGHBOURS, `${rivals} neighbours that are no hosts`);
  const entries = await neighbours('A', 'dev', 'A2');
  const mac = SERVERS.find(({ name }) => name === 'C4')!.mac;
  t.true(
    entries.some(({ dst, lladdr }) => dst === '10.10.10.2' && lladdr === mac),
    'the entry of C4',
  );
}
