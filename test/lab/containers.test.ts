import test from 'ava';
import { labDown, labRun, labUp } from '../../lab/index.ts';

const LAB = `labct${process.pid}`;

test.serial(
  'R4.5 R4.6 the worked example with G, A and B in containers: the right routes move, nobody else loses a packet',
  async (t) => {
    t.timeout(10 * 60_000, 'the first time an image is built');
    t.teardown(() => labDown({ name: LAB }));
    const onProgress = (message: string) => t.log(message);
    const up = await labUp({ name: LAB, protocol: 'bgp', containers: true, onProgress });
    t.deepEqual(up.fib, { '10.10.10.1': ['A'], '10.10.10.2': ['A'], '10.10.10.4': ['B'], '10.10.10.5': ['B'] });
    const { rows, problems } = await labRun({ name: LAB, runs: 1, cases: ['server-link', 'uplink'], onProgress });
    t.deepEqual(problems, []);
    const seen = rows.map((row) => `${row.case} ${row.phase}: ${row.moved.join(' ')}`);
    t.deepEqual(seen, [
      'server-link fault: 10.10.10.2',
      'server-link back: 10.10.10.2',
      'uplink fault: 10.10.10.1 10.10.10.2',
      'uplink back: 10.10.10.1 10.10.10.2',
    ]);
    for (const row of rows) {
      t.true(row.asExpected, `${row.case} ${row.phase}`);
      t.is(row.lostElsewhere, 0, `${row.case} ${row.phase}: servers that are not concerned`);
      if (row.phase === 'back') t.is(row.lost.max, 0, `${row.case}: the way back`);
    }
  },
);
