/**
 * R4.1: a server that goes bad and floods its port with forged ARP and neighbour discovery. The real agents in the
 * worked example; the flood is as fast as the machine gives, at most 100,000 frames a second. What is asked is whether
 * the others notice, not how fast anything is.
 */
import { readFileSync } from 'node:fs';
import test from 'ava';
import { Helper } from '../../lab/helper.ts';
import { sleep } from '../../lab/processes.ts';
import { namespaceOf, SERVERS } from '../../lab/topology/plan.ts';
import type { Flood } from './flooder.ts';
import { Stand } from './stand.ts';

const SECONDS = 12;
const RATE = 100_000;
/** Growth (MiB) that would be a leak: 100,000 frames a second remembered for the whole flood would be far more. */
const MOST_GROWTH = 200;

let stand: Stand;

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
});

test.after.always(() => stand?.down());

const resident = (): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${stand.pid()}/status`, 'latin1'))?.[1]) / 1024;

async function flooding(work: () => Promise<void>): Promise<{ sent: number; ms: number }> {
  const flooder = Helper.start('./flooder', import.meta.url, [namespaceOf(stand.name, 'C3'), 'bond0']);
  const options: Flood = {
    ms: SECONDS * 1000,
    rate: RATE,
    seed: 1,
    claims: ['10.10.10.2', '10.10.10.4', '10.10.10.254', '192.0.2.1', '10.255.0.1', '198.51.100.10'],
    gateway: '10.10.10.254',
  };
  try {
    const flood = flooder.request<{ sent: number; ms: number }>('flood', options);
    await work();
    return await flood;
  } finally {
    await flooder.stop();
  }
}

test.serial(
  'R4.1 a flood of forged ARP and ND: the others lose nothing, one of them fails over, memory is bounded',
  async (t) => {
    t.timeout(300_000);
    const before = resident();
    const logged = stand.log().length;
    let slowest = 0;
    const { sent, ms } = await flooding(async () => {
      await stand.until(
        'the storm is noticed',
        async () => (await stand.counters()).hostroutes!['storms.now'] === 1,
        () => stand.counters(),
      );
      const { warnings } = await stand.status();
      t.true(
        warnings.some((warning) => warning.includes('storm') && warning.includes('A1')),
        warnings.join('; '),
      );
      // Routine questions come every few seconds: these seconds hold some to everybody.
      const results = await stand.probing(async () => {
        for (let round = 0; round < 30; round++) {
          const start = performance.now();
          await stand.status();
          slowest = Math.max(slowest, performance.now() - start);
          await sleep(100);
        }
      });
      for (const server of ['C4', 'C1', 'C2'] as const) {
        const { sent, lost } = results[server];
        t.true(lost <= sent / 100, `${server} lost ${lost} of ${sent}`);
      }
      const kernel = await stand.kernelHosts();
      t.is(kernel['10.10.10.2'], 'A2');
      for (const address of ['10.10.10.4', '10.10.10.254', '192.0.2.1', '10.255.0.1'])
        t.false(address in kernel, address);
      // R4.5 in the midst of it.
      stand.cables(['A2'], false);
      await stand.until(
        'C4 is reached through B',
        async () => String((await stand.fib())['10.10.10.2']) === 'B',
        () => stand.fib(),
      );
    });
    t.log(`${Math.round((sent / ms) * 1000)} frames a second; slowest answer of the agent ${slowest.toFixed(0)} ms`);
    stand.cables(['A2'], true);
    const grown = resident() - before;
    t.true(grown < MOST_GROWTH, `the agent grew by ${grown.toFixed(0)} MiB`);
    const { hostroutes } = await stand.counters();
    t.log(JSON.stringify(hostroutes));
    for (const reason of ['binding', 'outside-prefixes', 'own-address', 'bad-address']) {
      t.true(hostroutes![`refused.${reason}`]! > 0, reason);
    }
    t.true(hostroutes!.storms! >= 1);
    t.true(hostroutes!.hosts! <= 257);
    const lines = stand.log().slice(logged).split('\n').length;
    t.true(lines < 40_000, `${lines} lines of log at level debug`);
    await stand.until(
      'the storm is over',
      async () => (await stand.counters()).hostroutes!['storms.now'] === 0,
      () => stand.counters(),
    );
    const events = (await stand.events()).filter(({ type }) => type === 'hosts.storm');
    t.true(events.length <= 8, 'said when it began and when it was over, not more');
    await stand.untilHome();
  },
);
