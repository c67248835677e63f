/**
 * What servers of the two switches send each other, on every planned way: a link or an uplink that comes back, drain and
 * undrain. Agents, kernels and gateways are real.
 */
import test from 'ava';
import { Faults } from '../../lab/faults.ts';
import { Helper } from '../../lab/helper.ts';
import type { ProbeResult } from '../../lab/probe/prober.ts';
import { sleep } from '../../lab/processes.ts';
import { namespaceOf, SERVERS, type ServerName } from '../../lab/topology/plan.ts';
import { Stand } from './stand.ts';

/** C3 and C4 are at home on A, C1 and C5 on B. */
const PAIRS = [
  ['C1', 'C4'],
  ['C3', 'C4'],
  ['C1', 'C3'],
] as const;
/**
 * Packets of a millisecond each that may be lost in one direction of a pair on a busy processor: those between carrier and
 * the server's own switch-over, and those of an instant in which the loop was late. Ways back used to cost two hundred.
 */
const BUSY = 25;

for (const gateway of ['bird', 'frr'] as const) {
  test.serial(
    `R4.7 servers of two switches lose next to nothing on ways back, drain and undrain, ${gateway}`,
    async (t) => {
      t.timeout(240_000);
      const stand = await Stand.up({ protocol: 'bgp', gateway });
      t.teardown(() => stand.down());
      await stand.untilHome();
      const at = (name: ServerName) => ({
        netns: namespaceOf(stand.name, name),
        address: SERVERS.find((server) => server.name === name)!.address,
      });
      const probe = Helper.start('./probe/main', new URL('../../lab/lab.ts', import.meta.url).href, [stand.name]);
      t.teardown(() => probe.stop());
      const faults = new Faults(stand.name);
      t.teardown(() => faults.close());
      await probe.request(
        'pairs',
        PAIRS.map(([near, far]) => ({ name: `${near}-${far}`, family: 4, near: at(near), far: at(far) })),
      );
      const during = async (what: string, work: () => unknown, settle: number): Promise<ProbeResult[]> => {
        await probe.request('begin');
        await sleep(300);
        await work();
        await sleep(settle);
        const results = await probe.request<ProbeResult[]>('end', 300);
        for (const { server, direction, sent, lost, where } of results) {
          t.true(sent > 500, `${what}: ${server} ${direction}`);
          if (lost > 0) t.log(`${what}: ${server} ${direction} lost ${lost} of ${sent} ${JSON.stringify(where)}`);
        }
        return results;
      };
      const spared = (what: string, results: readonly ProbeResult[]) => {
        for (const { server, direction, lost } of results)
          t.true(lost <= BUSY, `${what}: ${server} ${direction} lost ${lost}`);
      };

      // Who has come back once is expected to.
      for (const round of ['first', 'second'] as const) {
        await during(`A2 lost, ${round}`, () => faults.cables(['A2'], false), 700);
        const back = await during(`A2 back, ${round}`, () => faults.cables(['A2'], true), 1_200);
        if (round === 'second') spared('A2 back', back);
        // On a busy machine it is not all the way back by then, and would not have come back once.
        await stand.untilHome();
      }
      await during("A's uplink lost", () => faults.cables(['A0'], false), 1_500);
      spared("A's uplink back", await during("A's uplink back", () => faults.cables(['A0'], true), 8_000));
      await stand.untilHome();
      const order = async (word: string) => {
        const { code, stdout, stderr } = await stand.cli([word, '--pause', '200ms']);
        t.is(code, 0, `${stdout}${stderr}`);
      };
      spared('drain', await during('drain', () => order('drain'), 500));
      spared('undrain', await during('undrain', () => order('undrain'), 2_500));
    },
  );
}
