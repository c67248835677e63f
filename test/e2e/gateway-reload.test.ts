/** An observer's life: a reload changes what it can, a bad file changes nothing, it leaves cleanly, and says what it is. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { parse, stringify } from 'yaml';
import { type Observer, observerByBgp } from './observer.ts';
import { Stand } from './stand.ts';

let stand: Stand;
let observer: Observer;

test.before(async (t) => {
  t.timeout(180_000);
  stand = await Stand.up({ protocol: 'bgp', gateway: 'frr' });
  await stand.untilHome();
  observer = await observerByBgp(stand);
  await observer.start();
  // Hosts are heard before the ports of their switches are: until then nobody is up, and no switch has a name.
  const told = async () => JSON.stringify([await observer.text('10.10.10.2'), await observer.rows()]);
  await stand.until(
    'the map is full',
    async () => {
      const rows = await observer.rows();
      const named = (await observer.text('10.10.10.2')) === 'up GA A A0 A2';
      return named && rows.length === 4 && rows.every(({ state }) => state === 'up');
    },
    told,
  );
});

test.after.always(async () => {
  await observer?.stop();
  await stand?.down();
});

const file = () => join(stand.directory('G'), 'observer.yaml');

test.serial('status, events, counters and the listings of the speakers, as from a switch', async (t) => {
  t.timeout(60_000);
  const status = await observer.cli('status');
  t.is(status.code, 0, status.stderr);
  t.regex(status.stdout, /role +gateway/);
  t.regex(status.stdout, /hosts +4 \(4 up\)/);
  t.regex(status.stdout, /bgp +192\.0\.2\.2 +.*Established/);
  t.regex((await observer.cli('events')).stdout, /10\.10\.10\.2 is up at A A2/);
  t.regex((await observer.cli('bgp', 'summary')).stdout, /192\.0\.2\.6/);
  t.regex((await observer.cli('counters', '--json')).stdout, /"addresses": 4/);
  t.regex((await observer.cli('map', '--switches')).stdout, /A +10\.255\.0\.1 +heard/);
  t.regex((await observer.cli('map', '10.10.10.2', '--history')).stdout, /10\.10\.10\.2 +GA A0 A A2 +(\S+ -> )?up/);
  t.is((await observer.cli('ospf', 'neighbors')).code, 1);
});

test.serial('a switch does not take an observer for its way into the fabric', async (t) => {
  const sessions = await stand.ask<{ neighbor: string; observer: boolean; state: string }[]>('/v1/bgp/neighbors');
  const own = sessions.find(({ neighbor }) => neighbor === '10.255.0.250');
  t.like(own, { observer: true, state: 'Established' });
  // No route of the gateway comes from it, and none of ours goes through it.
  t.is((await stand.exec('G', 'ip', 'route', 'show', 'proto', '201')).stdout, '');
  t.false((await stand.ip('A', 'route', 'show', 'default')).includes('10.255.0.250'));
});

test.serial('a reload takes up what differs, and a bad file changes nothing', async (t) => {
  t.timeout(60_000);
  const config = parse(readFileSync(file(), 'utf8'));
  writeFileSync(file(), stringify({ ...config, map: { ...config.map, history: '1d' } }));
  const good = await observer.cli('config', 'reload');
  t.is(good.code, 0, good.stderr);
  t.regex(good.stdout, /map\.history: "7d" -> "1d"/);
  t.notRegex(good.stdout, /restart/);
  writeFileSync(file(), stringify({ ...config, mode: 'listener' }));
  const bad = await observer.cli('config', 'reload');
  t.not(bad.code, 0);
  t.regex(bad.stderr, /mode/);
  writeFileSync(file(), stringify({ ...config, role: 'tor' }));
  t.not((await observer.cli('config', 'reload')).code, 0);
  writeFileSync(file(), stringify(config));
  t.is((await observer.rows()).length, 4);
});

test.serial('it leaves at SIGTERM with its map written, and the switches go on as before', async (t) => {
  t.timeout(60_000);
  await observer.stop('SIGTERM');
  const map = JSON.parse(readFileSync(join(stand.directory('G'), 'map.json'), 'utf8')) as { thing?: string }[];
  t.is(map.filter(({ thing }) => thing === 'host').length, 4);
  await stand.untilHome();
  t.deepEqual(await stand.shutPorts(), []);
});
