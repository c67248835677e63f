/**
 * The cases beyond the worked example's own figures, driven once: VMs that move and fall silent behind a carrier that
 * stays, addresses alive twice, two hundred addresses behind one link, servers behind both switches, and a server that
 * comes back while the claims of before still stand.
 */
import test, { type ExecutionContext } from 'ava';
import { type CaseName, type LabResult, labRun, type PhaseRun, passed, renderTable } from '../../lab/index.ts';
import { Stand } from './stand.ts';

const V1 = ['10.10.10.11', '2001:db8:10::11'];

async function drive(
  t: ExecutionContext,
  options: Parameters<typeof Stand.up>[0],
  cases: readonly CaseName[],
): Promise<LabResult> {
  t.timeout(400_000);
  const stand = await Stand.up(options);
  t.teardown(() => stand.down());
  const result = await labRun({ name: stand.name, runs: 1, cases, keepSettings: true });
  t.deepEqual(result.problems, []);
  t.deepEqual([...new Set(result.runs.map((run) => run.case))].toSorted(), cases.toSorted());
  for (const run of result.runs) {
    const what = `${run.case} ${run.phase}`;
    t.deepEqual(run.unexpected, [], `${what}: what moved wrongly`);
    t.deepEqual(run.flickered, [], `${what}: what moved for a moment`);
    t.deepEqual(run.failures, [], what);
    t.is(run.lostElsewhere, 0, `${what}: loss of hosts that are not concerned: ${run.lossesElsewhere.join('; ')}`);
    if (run.lossless) t.true(run.lost <= run.lostAtGateway, `${what}: loss where nobody may lose`);
  }
  t.true(passed(result), renderTable(result));
  return result;
}

const phaseOf = (result: LabResult, name: CaseName, phase: string): PhaseRun =>
  result.runs.find((run) => run.case === name && run.phase === phase)!;

test.serial(
  'R4.1 R4.2 R4.5 R4.6 R4.7 VMs, old claims, duplicates, many addresses, both switches at once: frr, bgp, IPv4 and IPv6',
  async (t) => {
    const result = await drive(t, { gateway: 'frr', protocol: 'bgp', families: [4, 6] }, [
      'uplink',
      'vm-link',
      'vm-move',
      'failback-stale',
      'duplicate',
      'many',
      'active-active',
    ]);
    t.is(phaseOf(result, 'uplink', 'fault').moved.length, 4);
    const back = phaseOf(result, 'uplink', 'back');
    t.true(back.lost <= back.lostAtGateway, 'the ports open when both sessions are there');
    t.deepEqual(phaseOf(result, 'vm-link', 'fault').moved, V1, 'just that address moves');
    t.deepEqual(phaseOf(result, 'vm-link', 'silent').moved, V1, 'just that address is withdrawn');
    t.deepEqual(phaseOf(result, 'vm-move', 'port').moved, []);
    t.is(phaseOf(result, 'many', 'fault').moved.length, 2 * 201);
    const manyBack = phaseOf(result, 'many', 'back');
    t.true(manyBack.lost <= manyBack.lostAtGateway);
    t.true(result.runs.filter(({ lossless }) => lossless).length >= 3);
    const updates = ['ports', 'switches'].map((phase) => phaseOf(result, 'duplicate', phase).updates);
    t.log(`updates at G by duplicates: ${updates.join(' behind one switch, ')} behind both`);
  },
);

test.serial('R4.5 R4.7 VMs, old claims, both switches at once: bird, bgp, bridge ports', async (t) => {
  const result = await drive(t, { gateway: 'bird', protocol: 'bgp', ports: 'bridge' }, [
    'vm-link',
    'failback-stale',
    'active-active',
  ]);
  t.deepEqual(phaseOf(result, 'vm-link', 'fault').moved, V1.slice(0, 1), 'just that address moves');
  t.deepEqual(phaseOf(result, 'active-active', 'fault').moved, ['10.10.10.2']);
});
