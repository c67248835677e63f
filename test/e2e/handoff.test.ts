/**
 * R4.10: the worked example's failures where the agent is not the one who speaks: FRR and BIRD beside it with the shipped
 * examples, and nobody at all. The daemons' own delays are theirs; where everything ends, and who is not concerned, is
 * ours.
 */
import test from 'ava';
import { labRun } from '../../lab/index.ts';
import { Stand } from './stand.ts';

test.serial('R4.10 R4.2 R4.5 R4.6 FRR, BIRD, or static routes at G: both failures and their way back', async (t) => {
  t.timeout(400_000);
  const stand = await Stand.up({ gateway: 'frr', protocol: 'bgp', variant: 'handoff-frr' });
  t.teardown(() => stand.down());
  const result = await labRun({
    name: stand.name,
    runs: 1,
    cases: ['handoff-frr', 'handoff-bird', 'static'],
    keepSettings: true,
  });
  t.deepEqual(result.problems, []);
  t.is(result.runs.length, 12);
  for (const run of result.runs) {
    const what = `${run.case} ${run.phase}`;
    t.deepEqual(run.unexpected, [], `${what}: what moved wrongly`);
    t.is(run.lostElsewhere, 0, `${what}: loss of servers that are not concerned: ${run.lossesElsewhere.join('; ')}`);
    t.deepEqual(run.moved, /uplink/.test(run.phase) ? ['10.10.10.1', '10.10.10.2'] : ['10.10.10.2'], what);
    t.log(`${what}: ${run.lost} lost`);
  }
});
