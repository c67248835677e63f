import test from 'ava';
import { Repair, type RepairKernel, tunnelSource } from '../../src/agent/tor/repair/index.ts';
import type { TorConfig } from '../../src/config/index.ts';
import type { Address, Mac } from '../../src/model/address.ts';
import type { HostRoute } from '../../src/model/hosts.ts';
import type { LinkState, Port } from '../../src/model/ports.ts';
import type { Shadow } from '../../src/netlink/index.ts';
import { VirtualClock } from '../hostroutes/clock.ts';

const HOST = '10.10.10.2' as Address;
const B = '10.255.0.2';
const AT_B = '192.0.2.6' as Address;

const port = (name: string, ifindex: number, ...addresses: string[]): Port => ({
  name,
  ifindex,
  mac: undefined,
  mtu: 1500,
  adminUp: true,
  carrier: true,
  master: 0,
  kind: undefined,
  addresses: addresses.map((address) => ({ address: address as Address, prefixLength: 30 })),
});

interface World {
  readonly repair: Repair;
  readonly clock: VirtualClock;
  readonly ports: Map<string, Port>;
  readonly calls: string[];
  readonly events: string[];
}

const ROUTE: HostRoute = { address: HOST, interface: 'A2', ifindex: 12, mac: '02:00:00:00:00:02' as Mac, level: 0 };

function world(options: { adopted?: Address[]; twin?: string; off?: boolean } = {}): World {
  const clock = new VirtualClock();
  const ports = new Map([['A0', port('A0', 10, '169.254.1.1', '2001:db8::1', '192.0.2.2')]]);
  const calls: string[] = [];
  const events: string[] = [];
  const installed = new Set<Address>(options.adopted);
  const kernel: RepairKernel = {
    adopted: options.adopted ?? [],
    hosts: {
      apply: () => ({ packets: 0 }),
      reconcile: async (wanted) => {
        calls.push(`exit ${[...wanted].map(({ address }) => address).join()}`);
        return { kept: 0, added: 0, removed: 0, failed: 0 };
      },
    },
    setTunnel: (twin, { source, destination }) => {
      calls.push(`tunnel ${twin} ${source} ${destination}`);
      return true;
    },
    install: ({ address }, twin) => {
      calls.push(`install ${address} ${twin}`);
      installed.add(address);
    },
    remove: (address) => {
      calls.push(`remove ${address}`);
      installed.delete(address);
    },
    flush: () => calls.push('flush'),
    has: (address) => installed.has(address),
    counters: () => ({ backups: installed.size }),
    leave: async () => void calls.push('leave'),
    close: () => void calls.push('close'),
  };
  const links = { port: (name: string) => ports.get(name) } as LinkState;
  const config = {
    portLink: [{ uplinks: ['A9', 'A0'] }],
    shadow: { enabled: true, repair: true, hold: 3_000, ...(options.twin ? { twin: options.twin as Address } : {}) },
    hostRoutes: { policy: { limits: { total: 100 } } },
  } as unknown as TorConfig;
  const repair = new Repair({
    config: () => config,
    kernel: options.off ? undefined : kernel,
    trouble: options.off ? 'no vxlan' : undefined,
    links,
    clock,
    events: { record: (event: { message: string }) => events.push(event.message) } as never,
  });
  return { repair, clock, ports, calls, events };
}

const standBy = ({ repair, clock }: World): void => {
  repair.start();
  repair.delta({ withdrawn: [], announced: [ROUTE] });
  repair.shadow({ address: HOST, up: true, from: B, endpoint: AT_B });
  clock.advance(1);
};

test('R4.5 nothing is done in the turn of the event, everything in the next', (t) => {
  const each = world();
  each.repair.start();
  each.repair.delta({ withdrawn: [], announced: [ROUTE] });
  each.repair.shadow({ address: HOST, up: true, from: B, endpoint: AT_B });
  t.deepEqual(each.calls, []);
  t.is(each.repair.viaOf(HOST), undefined);
  each.clock.advance(0);
  t.deepEqual(each.calls, ['tunnel 10.255.0.2 192.0.2.2 192.0.2.6', 'install 10.10.10.2 10.255.0.2', 'flush']);
  t.is(each.repair.viaOf(HOST), AT_B);
  t.deepEqual(each.repair.view(), { ready: 1, inUse: 0, via: [AT_B] });
  t.like(each.repair.counters().repair, { ready: 1, inUse: 0, backups: 1 });
});

test('R4.5 the story of a failure is told', (t) => {
  const each = world();
  standBy(each);
  each.repair.delta({ withdrawn: [HOST], announced: [] });
  each.clock.advance(60);
  t.like(each.repair.counters().repair, { ready: 0, inUse: 1 });
  each.repair.claim({ address: HOST, level: 0, from: B, endpoint: AT_B });
  each.clock.advance(999);
  t.true(each.calls.every((call) => !call.startsWith('remove')));
  each.clock.advance(2);
  t.true(each.calls.includes('remove 10.10.10.2'));
  t.deepEqual(each.events, [
    'repair tunnel to 10.255.0.2: 192.0.2.2 to 192.0.2.6',
    '10.10.10.2 reached through 192.0.2.6 until the gateway has moved',
    'no backup for 10.10.10.2 any more: another switch announces it',
  ]);
  t.is(each.repair.viaOf(HOST), undefined);
});

test('R4.5 while the tunnel is in use our own shadow of the host stays out of the kernel', (t) => {
  const each = world();
  const table: string[] = [];
  const shadows = each.repair.beforeShadows({
    start: async () => undefined,
    configure: () => undefined,
    apply: (gone: Iterable<Address>, come: Iterable<Shadow>) =>
      void table.push(`-${[...gone].join()} +${Array.from(come, ({ address }) => address).join()}`),
    shed: () => undefined,
    has: () => false,
    groupOf: () => undefined,
    isIn: () => false,
    turn: () => undefined,
    portDown: () => [],
    counters: () => ({}),
    leave: async () => undefined,
    close: () => undefined,
  });
  standBy(each);
  each.repair.delta({ withdrawn: [HOST], announced: [] });
  each.clock.advance(60);
  const other = '10.10.10.9' as Address;
  shadows.apply([], [{ address: HOST }, { address: other }]);
  t.deepEqual(table, ['- +10.10.10.9']);
  t.is(shadows.counters().held, 1);
  t.true(shadows.has(HOST), 'or nobody would say that it is over');
  each.repair.claim({ address: HOST, level: 0, from: B });
  each.clock.advance(1_001);
  t.deepEqual(table, ['- +10.10.10.9', '- +10.10.10.2'], 'once it has gone');

  shadows.apply([HOST], []);
  standBy(each);
  each.repair.delta({ withdrawn: [HOST], announced: [] });
  each.clock.advance(60);
  shadows.apply([], [{ address: HOST }]);
  shadows.apply([HOST], []);
  each.clock.advance(5_000);
  t.is(table.at(-1), '-10.10.10.2 +', 'who came back meanwhile is no shadow any more');
});

test('R4.5 a shadow of ours is no host of ours', (t) => {
  const each = world();
  each.repair.start();
  each.repair.delta({ withdrawn: [], announced: [{ ...ROUTE, shadow: true }] });
  each.repair.shadow({ address: HOST, up: true, from: B, endpoint: AT_B });
  each.clock.advance(1);
  t.false(each.calls.some((call) => call.startsWith('install')));
});

test('R4.5 with shadow.twin nobody else is sent anything', (t) => {
  const each = world({ twin: '10.255.0.9' });
  standBy(each);
  t.false(each.calls.some((call) => call.startsWith('install') || call.startsWith('tunnel')));
});

test('R4.5 the uplink loses its address, and another has one', (t) => {
  const each = world();
  standBy(each);
  each.ports.set('A0', { ...each.ports.get('A0')!, carrier: false });
  each.ports.set('A9', port('A9', 19, '192.0.2.18'));
  each.repair.linksChanged();
  each.clock.advance(1);
  t.true(each.calls.includes('tunnel 10.255.0.2 192.0.2.18 192.0.2.6'));
  t.is(each.repair.viaOf(HOST), AT_B);
});

test('R4.5 what an earlier life left goes when nobody asks for it', (t) => {
  const each = world({ adopted: [HOST] });
  each.repair.start();
  each.clock.advance(3_999);
  t.false(each.calls.includes('remove 10.10.10.2'));
  each.clock.advance(2);
  t.true(each.calls.includes('remove 10.10.10.2'));
});

test('R4.5 a box that can not have it says so, and nothing else happens', async (t) => {
  const each = world({ off: true });
  standBy(each);
  t.deepEqual(each.repair.warnings(), ['no repair path: no vxlan']);
  t.deepEqual(each.repair.counters(), {});
  await each.repair.stop();
  t.deepEqual(each.calls, []);
  t.is(each.clock.timers.size, 0);
});

test('R4.5 at the end all goes, at a restart all stays', async (t) => {
  const stopped = world();
  standBy(stopped);
  await stopped.repair.stop();
  t.deepEqual(stopped.calls.slice(-2), ['close', 'leave']);
  const paused = world();
  standBy(paused);
  paused.repair.close();
  paused.repair.delta({ withdrawn: [HOST], announced: [] });
  paused.clock.advance(10_000);
  t.is(paused.calls.at(-1), 'close');
});

test('R4.5 a tunnel begins at an IPv4 address of an uplink that is up', (t) => {
  const ports = new Map([
    ['A0', { ...port('A0', 10, '192.0.2.2'), carrier: false }],
    ['A9', port('A9', 11, '2001:db8::9', '192.0.2.18')],
  ]);
  const links = { port: (name: string) => ports.get(name) } as LinkState;
  const groups = (...uplinks: string[]) => ({ portLink: [{ uplinks }] }) as unknown as Pick<TorConfig, 'portLink'>;
  t.is(tunnelSource(groups('A0', 'A9'), links), '192.0.2.18' as Address);
  t.is(tunnelSource(groups('A0'), links), undefined);
});
