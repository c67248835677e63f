/**
 * Nobody has an IPv4 address, the fabric neither: servers of IPv6 alone, BGP by IPv6, and the failures of the worked
 * example, half of them with FRR as G and half with BIRD.
 */
import test from 'ava';
import { type CaseName, type GatewayKind, labRun, passed, renderTable } from '../../lab/index.ts';
import { Stand } from './stand.ts';

const CASES: readonly (readonly [GatewayKind, readonly CaseName[]])[] = [
  ['frr', ['uplink', 'restart', 'drain']],
  ['bird', ['server-link', 'vm-link']],
];

for (const [gateway, cases] of CASES) {
  test.serial(`R4.1 R4.2 R4.5 R4.6 R4.7 IPv6 alone: ${cases.join(', ')}, ${gateway}`, async (t) => {
    t.timeout(240_000);
    const stand = await Stand.up({ protocol: 'bgp', gateway, families: [6] });
    t.teardown(() => stand.down());
    const four = await stand.ip('A', '-4', 'address', 'show', 'scope', 'global');
    t.is(four, '');
    const result = await labRun({ name: stand.name, runs: 1, cases });
    t.deepEqual(result.problems, []);
    t.deepEqual([...new Set(result.runs.map((run) => run.case))].toSorted(), cases.toSorted());
    t.true(passed(result), renderTable(result));
    for (const row of result.rows) t.true(row.asExpected, `${row.case} ${row.phase}`);
    for (const { moved } of result.runs) for (const address of moved) t.true(address.includes(':'), address);
    t.deepEqual(stand.defects('A'), []);
  });
}
