import { fileURLToPath } from 'node:url';
import test from 'ava';
import { Lab, sh } from './support/lab.ts';

test.serial(
  'on real sockets: octets leave in the same turn; malformed UPDATEs do as RFC 7606 says; strangers stay out',
  async (t) => {
    const lab = new Lab();
    t.teardown(() => lab.close());
    const namespace = lab.namespace('w');
    for (const host of [1, 2, 9]) sh('ip', '-n', namespace, 'addr', 'add', `192.0.2.${host}/32`, 'dev', 'lo');
    const script = fileURLToPath(new URL('./support/wire.ts', import.meta.url));
    const child = lab.spawn(namespace, process.execPath, ['--conditions=source', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout!.on('data', (text) => {
      output += text;
    });
    await new Promise((resolve) => child.once('close', resolve));
    const result = JSON.parse(output);
    t.true(result.announcedOctetsInTheSameTurn > 5000);
    t.is(result.withdrawnOctetsInTheSameTurn, 2 * 23 + 5000);
    t.true(result.queuedAfterRounds > 0 && result.queuedAtLast <= 1000);
    t.deepEqual(
      result.tableAfterBacklog,
      Array.from({ length: 10 }, (_, index) => `10.10.0.${index}/32`),
    );
    t.deepEqual(result.treatAsWithdraw, { established: true, route: 0 });
    t.deepEqual(result.badPrefix.notification, [3, 10]);
    t.is(result.badPrefix.route, 0);
    t.deepEqual(result.badMarker.notification, [1, 1]);
    t.true(result.endOfRib);
    t.true(result.strangerClosed);
    t.is(result.counters['treat-as-withdraw_attribute_origin'], 1);
    t.is(result.counters.error_update_nlri, 1);
    t.is(result.counters.error_header_marker, 1);
    t.is(result.counters.connections_from_strangers, 1);
  },
);
