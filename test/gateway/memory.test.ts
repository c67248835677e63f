import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { mapFile } from '../../src/gateway/index.ts';
import { PortMap } from '../../src/gateway/machine/map.ts';
import { recall, remembered } from '../../src/gateway/machine/memory.ts';
import type { Address } from '../../src/model/address.ts';
import { Example, HISTORY, START, UPLINK } from './support/example.ts';

const C4 = '10.10.10.2' as Address;

/** C4 has moved to B, and everything has been heard. */
function moved(): Example {
  const example = new Example().begin();
  example.wait(60_000);
  example.host('A', C4, 2, { up: false });
  example.say('A', 2, { state: 'down', reason: 'A2 lost carrier' });
  example.host('B', C4, 2);
  example.route(C4, 'B');
  example.flush();
  example.wait(60_000);
  return example;
}

test('R4.8: a restart forgets nothing: what was known is shown as old until it is heard again', (t) => {
  const example = moved();
  t.is(example.restart(5_000), 0);
  t.is(example.text(C4), 'up (old) B B0 up B2 up | down (old) A A0 up A2 down');
  t.is(example.place(C4, 'A').why, 'A2 lost carrier');
  example.begin(['10.10.10.2']);
  const { since, old } = example.place(C4, 'B');
  t.deepEqual([since, old], [START + 60_000, false], 'it is the same stay there');
  t.is(example.place(C4, 'A').since, START + 60_000);
  const reasons = example.history((entry) => entry.kind === 'host' && entry.address === C4).map(({ why }) => why);
  t.deepEqual(reasons.slice(0, 2), ['announced by A', 'A2 lost carrier']);
});

test('what a restart finds gone is down from then on, after it had time to be heard', (t) => {
  const example = moved();
  example.restart(5_000);
  example.nearEnd('A', true);
  example.nearEnd('B', true);
  example.say('B', UPLINK);
  example.wait(5_000);
  t.is(example.row(C4).state, 'up');
  t.true(example.row(C4).places[0]?.old);
  // B was heard again, and has not said it.
  example.wait(6_000);
  t.is(example.row(C4).state, 'down');
  t.is(example.place(C4, 'B').downlink?.why, 'B is not heard: not since the agent here was restarted');
  // Of A nothing was heard.
  t.true(example.place('10.10.10.1', 'A').old);
  example.wait(60_000);
  t.is(example.place('10.10.10.1', 'A').state, 'down');
  t.is(example.place('10.10.10.1', 'A').why, 'A is not heard: not since the agent here was restarted');
});

test('what is over is forgotten when it is too old, and what is there is not', (t) => {
  const example = moved();
  example.wait(HISTORY + 3_600_001);
  t.is(example.text(C4), 'up gb up B B0 up B2 up');
  t.is(example.map.history.size, 0);
  t.is(example.text('10.10.10.1'), 'up ga up A A0 up A1 up');
});

test('what is kept for a minute only is not there an hour', (t) => {
  const example = moved();
  example.map.configure(60_000);
  example.wait(76_000);
  t.is(example.text(C4), 'up gb up B B0 up B2 up');
  t.is(example.map.history.size, 0);
});

test('the file is whole or not there, and readable', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'hm-map-'));
  const path = join(directory, 'sub', 'map.json');
  const store = mapFile(path);
  t.is(store.read(), undefined);
  const values = Array.from({ length: 5_000 }, (_, index) => ({ thing: 'x', index, text: 'ü'.repeat(20) }));
  await store.write(values);
  t.deepEqual(store.read(), values);
  t.deepEqual(readdirSync(join(directory, 'sub')), ['map.json']);
  const failing = (function* () {
    yield* values;
    throw new Error('no more');
  })();
  await t.throwsAsync(store.write(failing), { message: 'no more' });
  t.deepEqual(store.read(), values);
  writeFileSync(path, readFileSync(path, 'utf8').slice(0, 1000));
  t.throws(() => store.read());
  writeFileSync(path, '[{"version":99}]');
  t.throws(() => store.read(), { message: /another version/ });
});

test('a file with nonsense in it gives what is sound in it', (t) => {
  const example = moved();
  const nonsense = [
    { thing: 'host', address: 'nobody', places: [] },
    { thing: 'port', key: 'AA==', value: '' },
    { thing: 'event', entry: { kind: 'host' } },
    7,
    null,
  ];
  const values = [...nonsense, ...remembered(example.map)];
  const map = new PortMap({ history: HISTORY });
  t.is(recall(map, values, example.moment), nonsense.length);
  t.is(map.row(C4)?.places.length, 2);
});
