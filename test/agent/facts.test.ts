import test from 'ava';
import type { GroupView } from '../../src/agent/api.ts';
import { PortFacts } from '../../src/agent/tor/facts.ts';
import type { TorConfig } from '../../src/config/index.ts';
import { decodeFact } from '../../src/gateway/index.ts';
import type { Address, Mac } from '../../src/model/address.ts';
import type { HostRoute } from '../../src/model/hosts.ts';
import type { CarriedFact, PortFact } from '../../src/model/port-facts.ts';
import type { Port, PortNeighbour } from '../../src/model/ports.ts';
import { DRAIN } from '../../src/portlink/index.ts';
import { VirtualClock } from '../hostroutes/clock.ts';

const START = 1_795_280_400_000;
const config = {
  routerId: '10.255.0.1',
  name: 'A',
  portFacts: true,
  hostRoutes: { policy: { ports: ['A1', 'A2'] } },
} as unknown as TorConfig;

/** A switch with one uplink and two downlinks, in one group. */
class Bench {
  readonly clock = new VirtualClock();
  readonly ports = new Map<string, Port>();
  readonly published: PortFact[][] = [];
  readonly neighbours = new Map<string, PortNeighbour[]>();
  readonly keepers = new Map<string, string>();
  readonly facts: PortFacts;
  config = config;
  hosts: HostRoute[] = [];
  shutSince: string | undefined;
  held = false;

  constructor() {
    this.port('A0', 10, { addresses: [own('fe80::1'), own('192.0.2.2')] });
    this.port('A1', 1);
    this.port('A2', 2);
    const { ports } = this;
    this.facts = new PortFacts({
      config: () => this.config,
      clock: this.clock,
      wallClock: () => START + this.clock.now(),
      links: {
        port: (name) => ports.get(name),
        portByIndex: (index) => [...ports.values()].find(({ ifindex }) => ifindex === index),
        ports: () => ports.values(),
        onChange: () => () => {},
      },
      groups: { views: () => [this.#group()], keeperOf: (port) => this.keepers.get(port), openerOf: () => undefined },
      hosts: () => this.hosts,
      neighbours: (port) => this.neighbours.get(port) ?? [],
      sessionPorts: () => [],
      publish: (facts) => this.published.push(facts.map(read)),
    });
  }

  port(name: string, ifindex: number, changes: Partial<Port> = {}): void {
    const before = this.ports.get(name);
    const port = { name, ifindex, mac: undefined, mtu: 1500, adminUp: true, carrier: true, master: 0, kind: 'veth' };
    this.ports.set(name, { addresses: [], ...port, ...before, ...changes } as Port);
  }

  /** Of the newest list. */
  fact(name: string): PortFact {
    return this.published.at(-1)!.find(({ port }) => port === name)!;
  }

  /** A group of that name as its view shows it. */
  #group(): GroupView {
    const up = this.ports.get('A0')!.carrier;
    return {
      name: 'fabric',
      reason: '0 of 1 uplinks up, 1 needed',
      ...(this.held ? { held: 'shut' } : {}),
      uplinks: [{ port: 'A0', up, verdicts: [{ condition: 'carrier', ok: up, reason: up ? '' : 'no carrier' }] }],
      downlinks: ['A1', 'A2'].map((port) => ({
        port,
        adminUp: this.ports.get(port)?.adminUp ?? false,
        carrier: true,
        shutByUs: this.keepers.has(port),
        ...(this.shutSince === undefined ? {} : { since: this.shutSince }),
      })),
    } as unknown as GroupView;
  }
}

const own = (address: string) => ({ address: address as Address, prefixLength: 30 });
const read = ({ key, value }: CarriedFact): PortFact => decodeFact(key, value) as PortFact;
const host = (address: string, ifindex: number, mac: string, more: Partial<HostRoute> = {}): HostRoute =>
  ({ address, interface: 'x', ifindex, mac: mac as Mac, level: 0, ...more }) as HostRoute;

test('R4.8: every port of the configuration is told, uplinks with the addresses that next hops have', (t) => {
  const bench = new Bench();
  bench.neighbours.set('A1', [
    { systemName: 'hv1', portId: '02:00:00:00:00:01', portDescription: 'eth0' },
    { systemName: 'hv2', portId: 'eth9' },
  ]);
  bench.facts.start();
  t.is(bench.published.length, 1);
  t.deepEqual(bench.fact('A0'), {
    routerId: '10.255.0.1',
    switchName: 'A',
    port: 'A0',
    ifindex: 10,
    role: 'uplink',
    state: 'up',
    since: START,
    reason: '',
    addresses: ['192.0.2.2', 'fe80::1'],
    macs: [],
  } as unknown as PortFact);
  t.deepEqual(bench.fact('A1').lldp, { systemName: 'hv1', portId: 'eth0' });
  t.is(bench.fact('A2').role, 'downlink');
});

test('R4.9: all that happened in a turn is said once, with when it began, and again only when it is news', (t) => {
  const bench = new Bench();
  bench.facts.start();
  bench.clock.advance(5_000);
  bench.port('A2', 2, { carrier: false });
  bench.facts.touch(4_990);
  bench.facts.touch();
  t.is(bench.published.length, 1, 'not in the turn of the withdrawal');
  bench.clock.advance(0);
  t.is(bench.published.length, 2);
  t.like(bench.fact('A2'), { state: 'down', reason: 'A2 lost carrier', since: START + 4_990 });
  bench.facts.touch();
  bench.clock.advance(100);
  t.is(bench.published.length, 2);
  bench.port('A2', 2, { carrier: true });
  bench.facts.touch();
  bench.clock.advance(0);
  t.like(bench.fact('A2'), { state: 'up', reason: '', since: START + 5_100 });
});

test('R4.9: who keeps a port shut, and why: a group with its uplink, an operator, a drain, a hold', (t) => {
  const bench = new Bench();
  bench.facts.start();
  bench.clock.advance(1_000);
  bench.port('A0', 10, { carrier: false });
  bench.port('A1', 1, { adminUp: false, carrier: false });
  bench.port('A2', 2, { adminUp: false, carrier: false });
  bench.keepers.set('A1', 'fabric');
  bench.facts.touch();
  bench.clock.advance(0);
  t.like(bench.fact('A0'), { state: 'down', reason: 'A0 lost carrier' });
  t.like(bench.fact('A1'), { state: 'shut', reason: 'shut by group fabric: A0 lost carrier' });
  t.like(bench.fact('A2'), { state: 'shut', reason: 'A2 was shut by an operator' });
  bench.keepers.set('A2', DRAIN);
  bench.held = true;
  bench.facts.touch();
  bench.clock.advance(0);
  t.is(bench.fact('A1').reason, 'held shut by an operator in group fabric');
  t.is(bench.fact('A2').reason, 'drained: planned work');
  t.is(bench.fact('A2').since, START + 1_000, 'it has been shut all the time');
});

test('what was shut before a restart has been shut since then', (t) => {
  const bench = new Bench();
  bench.port('A1', 1, { adminUp: false, carrier: false });
  bench.keepers.set('A1', 'fabric');
  bench.shutSince = new Date(START - 3_600_000).toISOString();
  bench.facts.start();
  t.is(bench.fact('A1').since, START - 3_600_000);
  t.is(bench.fact('A2').since, START);
});

test('R4.8: MACs behind a port, bounded; of one that fell, those that were behind it; shadows are behind none', (t) => {
  const bench = new Bench();
  const many = Array.from({ length: 40 }, (_, index) => `02:00:00:00:01:${index.toString(16).padStart(2, '0')}`);
  bench.hosts = [
    host('10.10.10.2', 2, '02:00:00:00:00:04'),
    host('10.10.10.3', 99, '02:00:00:00:00:05', { portIndex: 2 }),
    host('10.10.10.9', 2, '02:00:00:00:00:09', { shadow: true }),
    ...many.map((mac, index) => host(`10.10.11.${index}`, 1, mac)),
  ];
  bench.facts.start();
  t.deepEqual(bench.fact('A2').macs, ['02:00:00:00:00:04', '02:00:00:00:00:05'] as Mac[]);
  t.is(bench.fact('A1').macs.length, 16);
  bench.hosts = [];
  bench.port('A2', 2, { carrier: false });
  bench.facts.hostsChanged();
  bench.clock.advance(5_000);
  t.is(bench.fact('A2').macs.length, 2);
  t.is(bench.fact('A1').macs.length, 0);
  bench.port('A2', 2, { carrier: true });
  bench.facts.hostsChanged();
  bench.clock.advance(5_000);
  t.is(bench.fact('A2').macs.length, 0);
});

test('a failover of thousands looks at the hosts once a second, and a port is told at once', (t) => {
  const bench = new Bench();
  bench.facts.start();
  bench.clock.advance(100);
  bench.hosts = [host('10.10.10.2', 2, '02:00:00:00:00:04')];
  bench.facts.hostsChanged();
  bench.port('A1', 1, { carrier: false });
  bench.facts.touch();
  bench.clock.advance(10);
  t.is(bench.fact('A1').state, 'down');
  t.is(bench.fact('A2').macs.length, 0);
  bench.port('A1', 1, { carrier: true });
  bench.facts.touch();
  bench.clock.advance(10);
  t.is(bench.fact('A1').state, 'up', 'also while the hosts wait');
  bench.clock.advance(1_000);
  t.is(bench.fact('A2').macs.length, 1);
});

test('a port that is gone, and all when they are switched off, are taken back', (t) => {
  const bench = new Bench();
  bench.facts.start();
  bench.ports.delete('A1');
  bench.facts.touch();
  bench.clock.advance(0);
  t.is(bench.published.at(-1)?.length, 2);
  bench.config = { ...config, portFacts: false };
  bench.facts.touch();
  bench.clock.advance(0);
  t.deepEqual(bench.published.at(-1), []);
  const { length } = bench.published;
  bench.facts.touch();
  bench.clock.advance(60_000);
  t.is(bench.published.length, length);
  bench.facts.close();
});
