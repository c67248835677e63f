/** R4.1: what the operator is told of those who claim others' addresses. */
import test from 'ava';
import { Spoofing } from '../../src/agent/tor/spoofing.ts';
import type { HostView } from '../../src/hostroutes/index.ts';
import type { Address, Mac } from '../../src/model/address.ts';
import type { HostRoute } from '../../src/model/hosts.ts';
import type { NeighbourEvent } from '../../src/netlink/index.ts';
import { VirtualClock } from '../simulation/clock.ts';

const HOST = '10.10.10.2' as Address;
const OURS = '02:00:00:00:00:04' as Mac;
const FORGED = '02:66:00:00:00:01' as Mac;

function bench() {
  const clock = new VirtualClock();
  const told: { type: string; message: string; fields?: object }[] = [];
  const listeners: ((event: NeighbourEvent) => void)[] = [];
  const host = { mac: OURS };
  const spoofing = new Spoofing({
    neighbours: {
      onNeighbour(listener) {
        listeners.push(listener);
        return () => listeners.splice(listeners.indexOf(listener), 1);
      },
    },
    installer: { neighbourChanged: () => ({ interface: 'br0' }) as HostRoute },
    hosts: {
      claimedInKernel: ({ mac }) => (mac === host.mac ? undefined : { port: 'A1', home: 'A2' }),
      find: () => ({ port: 'A2', mac: host.mac }) as HostView,
    },
    clock,
    events: { record: (event) => void told.push(event as (typeof told)[number]) },
  });
  const kernelShows = (mac: Mac, address = HOST) => {
    for (const listener of listeners) listener({ address, mac } as NeighbourEvent);
  };
  const pass = (ms: number) => {
    for (const end = clock.now() + ms; clock.step(end); );
  };
  return { clock, told, host, spoofing, kernelShows, pass, listeners };
}

test('R4.1 an entry of the kernel that somebody has taken: port, MAC and address, once when it begins and once when it is over', (t) => {
  const { told, spoofing, kernelShows, pass, clock } = bench();
  kernelShows(FORGED);
  pass(500);
  t.like(told, [
    {
      type: 'hosts.spoofed',
      severity: 'warning',
      message: `${FORGED} on A1 claims ${HOST}, which is on A2: not believed`,
      fields: { port: 'A1', mac: FORGED, address: HOST, home: 'A2', began: true },
    },
  ]);
  for (let claim = 0; claim < 1_000; claim++) {
    kernelShows(FORGED);
    pass(10);
  }
  t.is(told.length, 1);
  t.is(spoofing.warnings().length, 1);
  t.regex(spoofing.warnings()[0]!, /02:66:00:00:00:01 on A1 claims 10\.10\.10\.2, which it is not \(\d+ times\)/);
  pass(120_000);
  t.is(told.length, 2);
  t.like(told[1], { type: 'hosts.spoofed', fields: { port: 'A1', began: false } });
  t.deepEqual(spoofing.warnings(), []);
  t.is(clock.pending, 0);
});

test('a host whose new MAC the kernel knew first is nobody who claims anything', (t) => {
  const { told, spoofing, host, kernelShows, pass } = bench();
  kernelShows(FORGED);
  host.mac = FORGED;
  pass(60_000);
  t.deepEqual(told, []);
  t.deepEqual(spoofing.warnings(), []);
});

test('R4.1 refuted and refused by a binding: told likewise; other refusals are none of this', (t) => {
  const { told, spoofing } = bench();
  const refused = { type: 'refused', address: HOST, port: 'A1', suppressed: 9 } as const;
  spoofing.heard({ ...refused, reason: 'port-limit' });
  spoofing.heard({ ...refused, reason: 'outside-prefixes' });
  t.is(told.length, 0);
  spoofing.heard({ ...refused, reason: 'binding', mac: FORGED });
  spoofing.heard({ ...refused, reason: 'refuted', mac: FORGED, address: '10.10.10.3' as Address });
  spoofing.heard({ type: 'spoofed', address: HOST, port: 'A3', mac: FORGED, home: { mac: OURS, port: 'A2' } });
  t.deepEqual(
    told.map(({ message }) => message),
    [
      `${FORGED} on A1 claims ${HOST}, which is on A2: not believed`,
      `${FORGED} on A3 claims ${HOST}, which is on A2: not believed`,
    ],
  );
  t.regex(spoofing.warnings()[0]!, /A1 claims 10\.10\.10\.3 and 1 others, .* \(20 times\)/);
});

test('R4.1 claims of all the addresses there are cost no more than a few', (t) => {
  const { told, spoofing, kernelShows, pass, listeners } = bench();
  for (let claim = 0; claim < 10_000; claim++) kernelShows(FORGED, `10.10.${claim >> 8}.${claim & 255}` as Address);
  pass(1_000);
  t.is(told.length, 1);
  t.regex(spoofing.warnings()[0]!, /and 15 or more others/);
  spoofing.close();
  t.is(listeners.length, 0);
});
