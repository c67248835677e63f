import test from 'ava';
import { HostRoutes, type HostRoutesOptions, type Report } from '../../src/hostroutes/index.ts';
import { Placement } from '../../src/hostroutes/sources/placement.ts';
import type { Address, Mac, Prefix } from '../../src/model/address.ts';
import type { Instant } from '../../src/model/clock.ts';
import type { Port, PortChange } from '../../src/model/ports.ts';
import type { NeighbourEvent } from '../../src/netlink/index.ts';
import { VirtualClock } from './clock.ts';
import { address, heard, mac, policy } from './helpers.ts';

const SILENT = () => undefined;
const LOG = { debug: SILENT, info: SILENT, warn: SILENT, error: SILENT };

function port(name: string, overrides: Partial<Port> = {}): Port {
  const ifindex = 100 + Number(name.slice(1));
  return {
    name,
    ifindex,
    mac: mac(0xfe),
    mtu: 1500,
    adminUp: true,
    carrier: true,
    master: 0,
    kind: 'veth',
    addresses: [],
    ...overrides,
  };
}

/** A driver without sockets (its ports do not exist in this namespace), fed through its public face. */
function make(ports: Port[], onDelta: HostRoutesOptions['onDelta'], onEvent: HostRoutesOptions['onEvent'] = SILENT) {
  const clock = new VirtualClock();
  const listeners = new Set<(event: NeighbourEvent) => void>();
  const kernel = {
    port: (name: string) => ports.find((each) => each.name === name),
    portByIndex: (ifindex: number) => ports.find((each) => each.ifindex === ifindex),
    ports: () => ports,
    neighbours: {
      all: () => [],
      onNeighbour: (listener: (event: NeighbourEvent) => void) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    fdb: { portOf: () => undefined },
  };
  const routes = new HostRoutes({ policy: policy(), kernel, clock, log: LOG, random: () => 0, onDelta, onEvent });
  return { routes, clock, listeners };
}

const report = (text: string, name: string) => {
  const { type: _, ...rest } = heard(text, name, { source: 'bgp' });
  return rest as Report;
};

const change = (before: Port | undefined, after: Port | undefined, at: Instant): PortChange => ({
  name: (after ?? before)!.name,
  before,
  after,
  at,
});

test('R4.5 portChange withdraws in the same call, before any event, stamped with the time of the link message', (t) => {
  const order: string[] = [];
  const a1 = port('A1');
  const { routes, clock } = make(
    [],
    (delta, cause, at) => order.push(`delta -${delta.withdrawn} +${delta.announced.length} ${cause.kind} ${at}`),
    (event) => order.push(event.type),
  );
  routes.report(report('10.10.10.1', 'A1'));
  clock.time = 500;
  routes.portChange(change(a1, { ...a1, carrier: false }, 499.5));
  t.deepEqual(order, ['delta - +1 heard 0', 'changed', 'delta -10.10.10.1 +0 portDown 499.5']);
  routes.portChange(change({ ...a1, carrier: false }, undefined, 600));
  t.is(order.length, 3, 'no second delta for what is gone already');
});

test('the reasons of a withdrawal: carrier, administrator, interface removed', (t) => {
  const a1 = port('A1');
  for (const [after, reason] of [
    [{ ...a1, carrier: false }, 'carrier lost'],
    [{ ...a1, adminUp: false, carrier: false }, 'administratively down'],
    [undefined, 'interface removed'],
  ] as const) {
    const reasons: string[] = [];
    const { routes } = make([], (_, cause) => reasons.push(cause.reason));
    routes.report(report('10.10.10.1', 'A1'));
    routes.portChange(change(a1, after, 1));
    t.is(reasons[1], reason);
  }
});

test('an event that a listener causes waits until the first is told to all', (t) => {
  const told: string[] = [];
  const model = new Set<Address>();
  const { routes } = make(
    [],
    (delta) => {
      for (const gone of delta.withdrawn) model.delete(gone);
      for (const route of delta.announced) model.add(route.address);
      told.push(`begin ${delta.announced.map((route) => route.address)} -${delta.withdrawn}`);
      if (told.length === 1) routes.blockPorts(['A1'], true, 'group');
      told.push('end');
    },
    (event) => told.push(event.type),
  );
  routes.report(report('10.10.10.1', 'A1'));
  t.deepEqual(told, ['begin 10.10.10.1 -', 'end', 'changed', 'begin  -10.10.10.1', 'end']);
  t.deepEqual([...model], []);
  t.deepEqual(routes.announced(), []);
});

test('a listener that throws does not leave the driver stuck', (t) => {
  let calls = 0;
  const { routes } = make([], () => {
    if (++calls === 1) throw new Error('announcer');
  });
  t.throws(() => routes.report(report('10.10.10.1', 'A1')), { message: 'announcer' });
  routes.report(report('10.10.10.2', 'A1'));
  t.is(calls, 2);
  t.is(routes.announced().length, 2);
});

test('R4.5 a port without a socket: probes are not counted against its hosts; stop leaves no timer', (t) => {
  // Interface 999999 exists nowhere: the socket can't be opened, and that is counted.
  const ports = [port('A1', { ifindex: 999_999 })];
  const deltas: string[] = [];
  const { routes, clock, listeners } = make(ports, (delta) => deltas.push(`-${delta.withdrawn}`));
  routes.start();
  t.is(listeners.size, 1);
  const entry = { ifindex: 999_999, address: address('10.10.10.1'), mac: mac(1), usable: true, own: false };
  for (const listener of listeners) listener({ ...entry, state: 0x02, deleted: false, at: 0 });
  t.is(routes.hosts().length, 1);
  t.is(routes.hosts()[0]?.source, 'neighbour');
  clock.advance(60_000);
  t.is(routes.hosts().length, 1);
  t.true(routes.counters().probesUnsent! > 10);
  t.is(routes.counters()['probes.failed.no-socket'], routes.counters().probesUnsent);
  t.true(routes.counters()['sockets.failed.ENODEV']! >= 1, 'it is tried again and again');
  routes.stop();
  t.is(clock.timers.size, 0);
  t.is(listeners.size, 0);
  t.deepEqual(deltas, ['-'], 'announces and withdraws nothing by itself');
});

test('what we wrote into the kernel is no evidence, but that the kernel had to give it up is', (t) => {
  const ports = [port('A1', { ifindex: 999_999 })];
  const { routes, listeners } = make(ports, SILENT);
  routes.start();
  const tell = (state: number, own: boolean, deleted = false) => {
    const entry = { ifindex: 999_999, address: address('10.10.10.1'), mac: mac(1), usable: state !== 0x20, at: 0 };
    for (const listener of listeners) listener({ ...entry, state, own, deleted });
  };
  tell(0x02, true);
  t.is(routes.hosts().length, 0);
  tell(0x02, false);
  t.is(routes.hosts().length, 1);
  tell(0x02, true, true);
  t.is(routes.counters().verifications, 0);
  tell(0x20, true);
  t.is(routes.counters().verifications, 1);
  routes.stop();
});

test('R4.1 the interface of a host: the port, its bond or bridge, or the VLAN interface with its subnet', (t) => {
  const prefixes = ['10.10.10.0/24', '10.10.20.0/24', '10.10.30.0/24'] as Prefix[];
  const gateway = (text: string) => [{ address: address(text), prefixLength: 24 }];
  const ports = [
    port('A1', { master: 50 }),
    port('A2', { master: 60 }),
    port('A3', { addresses: gateway('10.10.10.254') }),
    port('A4', { master: 70 }),
    port('x50', { ifindex: 50, name: 'br0', kind: 'bridge', addresses: gateway('10.10.10.254'), mac: mac(50) }),
    port('x51', { ifindex: 51, name: 'br0.20', kind: 'vlan', addresses: gateway('10.10.20.254'), mac: mac(51) }),
    port('x60', { ifindex: 60, name: 'bond0', kind: 'bond', mac: mac(60) }),
    port('x70', { ifindex: 70, name: 'red', kind: 'vrf' }),
  ];
  const kernel = {
    port: (name: string) => ports.find((each) => each.name === name),
    portByIndex: (ifindex: number) => ports.find((each) => each.ifindex === ifindex),
    ports: () => ports,
    neighbours: { all: () => [], onNeighbour: () => SILENT },
    fdb: { portOf: (_: Mac, bridge: number) => (bridge === 50 ? ports[0] : undefined) },
  };
  const placement = new Placement(kernel, policy({ prefixes }));
  const on = (name: string, text: string) => placement.routedOn(kernel.port(name)!, address(text)).name;
  t.is(on('A1', '10.10.10.1'), 'br0');
  t.is(on('A1', '10.10.20.1'), 'br0.20');
  t.is(on('A1', '10.10.30.1'), 'br0', 'no interface has that subnet');
  t.is(on('A2', '10.10.10.1'), 'bond0');
  t.is(on('A3', '10.10.10.1'), 'A3');
  t.is(on('A4', '10.10.10.1'), 'A4', 'a VRF is no switch');
  const asker = (name: string, text: string) => placement.asker(kernel.port(name)!, address(text));
  t.deepEqual(asker('A1', '10.10.20.1'), { mac: mac(51), address: address('10.10.20.254') });
  t.deepEqual(asker('A1', '10.10.30.1'), { mac: mac(50) }, 'without a gateway there: a probe of RFC 5227');
  for (const [ifindex, expected] of [
    [103, 'A3'],
    [50, 'A1'],
    [51, 'A1'],
    [70, undefined],
    [999, undefined],
  ] as const) {
    t.is(placement.downlinkOf(ifindex, mac(1))?.name, expected);
  }
});
