/** R4.5: the MAC of a known host is seen on another port, and nothing of its address is. */
import test from 'ava';
import fc from 'fast-check';
import type { Host } from '../../src/hostroutes/machine/host.ts';
import { Stations } from '../../src/hostroutes/machine/stations.ts';
import type { HostEvent, Stationed } from '../../src/hostroutes/machine/types.ts';
import { Placement } from '../../src/hostroutes/sources/placement.ts';
import { StationWatch } from '../../src/hostroutes/sources/stations.ts';
import type { Mac } from '../../src/model/address.ts';
import type { Port } from '../../src/model/ports.ts';
import type { FdbEvent } from '../../src/netlink/index.ts';
import { VirtualClock } from './clock.ts';
import { address, Bench, deltas, heard, mac, policy, probes } from './helpers.ts';

const present = (text: string, port: string, how: 'bridge' | 'rarp' = 'bridge', from = mac(1)): HostEvent => {
  const { type: _, source: __, ...place } = heard(text, port, { mac: from, interface: 'br0', ifindex: 50, how });
  return { type: 'present', ...place };
};

test('R4.5 a host goes where its MAC was seen at once; it is asked there, and stays when it answers', (t) => {
  const bench = new Bench();
  bench.do(heard('10.10.10.1', 'A1', { mac: mac(1) }));
  bench.live('10.10.10.1', 'A2');
  const effects = bench.do(present('10.10.10.1', 'A2'));
  t.like(deltas(effects)[0], {
    cause: { kind: 'moved', port: 'A2', reason: 'moved from A1: the bridge has heard its MAC here' },
  });
  t.like(probes(effects), [{ address: '10.10.10.1', port: 'A2', mac: mac(1) }]);
  t.like(bench.table.find(address('10.10.10.1')), { port: 'A2', sources: [{ source: 'arp', how: 'bridge' }] });
  bench.alive.set(address('10.10.10.1'), {
    port: 'A2',
    answer: () => heard('10.10.10.1', 'A2', { mac: mac(1), interface: 'br0', ifindex: 50, how: 'arp-reply' }),
  });
  t.deepEqual(deltas(bench.run(4_000)), []);
  t.like(bench.table.find(address('10.10.10.1')), { port: 'A2', sources: [{ source: 'arp', how: 'arp-reply' }] });
});

test('R4.5 a forged MAC takes a host away for 150 ms: it does not answer there, it does where it was', (t) => {
  const bench = new Bench();
  bench.do(bench.live('10.10.10.1', 'A1'));
  bench.do(present('10.10.10.1', 'A2', 'rarp'));
  t.is(bench.table.find(address('10.10.10.1'))?.port, 'A2');
  const [back, ...more] = deltas(bench.run(4_000));
  t.like(back, { cause: { kind: 'moved', port: 'A1', reason: 'back from A2, where it did not answer' } });
  t.deepEqual(more, []);
  t.like(bench.table.find(address('10.10.10.1')), { port: 'A1', state: 'reachable' });
});

test('R4.5 a host that answers neither where its MAC was seen nor where it was is gone', (t) => {
  const bench = new Bench();
  bench.do(heard('10.10.10.1', 'A1', { mac: mac(1) }));
  bench.do(present('10.10.10.1', 'A2'));
  const kinds = deltas(bench.run(400)).map(({ cause }) => cause.kind);
  t.deepEqual(kinds, ['moved', 'silent']);
  t.is(bench.model.size, 0);
});

test('R4.5 a MAC that flaps between two ports is damped like any host', (t) => {
  const bench = new Bench();
  bench.do(bench.live('10.10.10.1', 'A1'));
  for (let round = 0; round < 20; round++) {
    bench.do(present('10.10.10.1', round % 2 ? 'A1' : 'A2'));
    bench.run(20);
  }
  t.is(bench.table.find(address('10.10.10.1'))?.state, 'duplicate');
  t.true(deltas(bench.log).length < 10);
});

test('R4.1 limits, bindings, ports that are shut and other MACs hold for what is merely seen, too', (t) => {
  const bindings = [{ address: address('10.10.10.1'), ports: ['A1'] }];
  const bench = new Bench(policy({ bindings, limits: { perPort: 1, total: 10 } }));
  bench.do(bench.live('10.10.10.1', 'A1'));
  bench.do(bench.live('10.10.10.3', 'A3'));
  bench.do(bench.live('10.10.10.4', 'A4'));
  t.deepEqual(deltas(bench.do(present('10.10.10.1', 'A2'))), []);
  t.is(bench.table.counters().refused.binding, 1);
  t.deepEqual(deltas(bench.do(present('10.10.10.3', 'A4', 'rarp', mac(3)))), [], 'A4 is full');
  t.is(bench.table.counters().refused['port-limit'], 1);
  bench.do({ type: 'blockPorts', ports: ['A2'], blocked: true, reason: 'fabric' });
  t.deepEqual(deltas(bench.do(present('10.10.10.3', 'A2', 'rarp', mac(3)))), []);
  t.is(bench.table.counters().refused['port-blocked'], 1);
  t.deepEqual(bench.do(present('10.10.10.3', 'A2', 'bridge', mac(9))), [], 'it has another MAC now');
  t.deepEqual(bench.do(present('10.10.10.77', 'A2', 'bridge', mac(77))), [], 'nobody is learned by this');
});

test('R4.5 a host that left is looked for where its MAC is seen', (t) => {
  const bench = new Bench();
  bench.do(heard('10.10.10.1', 'A1', { mac: mac(1) }));
  bench.do({ type: 'portDown', ports: ['A1'], reason: 'carrier lost' });
  bench.do(present('10.10.10.1', 'A2', 'rarp'));
  t.is(bench.model.size, 0, 'it is not announced on the word of its MAC');
  bench.live('10.10.10.1', 'A2');
  const [delta] = deltas(bench.run(500));
  t.like(delta, { cause: { kind: 'heard', port: 'A2' } });
});

test('R4.5 doubt: a host whose MAC has left its port is asked, and at most once a second', (t) => {
  const bench = new Bench();
  bench.do(bench.live('10.10.10.1', 'A1'));
  bench.run(2_000);
  const doubt: HostEvent = { type: 'doubt', address: address('10.10.10.1'), port: 'A1' };
  t.is(probes(bench.do(doubt)).length, 1);
  bench.run(100);
  t.deepEqual(bench.do(doubt), []);
  t.deepEqual(bench.do({ ...doubt, port: 'A2' }), []);
  bench.run(1_000);
  t.is(probes(bench.do(doubt)).length, 1);
  bench.alive.clear();
  const [delta] = deltas(bench.run(6_000));
  t.like(delta, { cause: { kind: 'silent' } });
});

test('a MAC has exactly the hosts that were put there last', (t) => {
  const step = fc.record({ host: fc.nat(5), mac: fc.nat(2), drop: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const stations = new Stations();
      const hosts = Array.from({ length: 6 }, () => ({}) as Host);
      const model = new Map<Host, Mac>();
      for (const each of steps) {
        const host = hosts[each.host]!;
        if (each.drop) {
          stations.drop(host);
          model.delete(host);
        } else {
          host.mac = mac(each.mac);
          stations.put(host);
          model.set(host, host.mac);
        }
        for (const one of [0, 1, 2].map(mac)) {
          const expected = [...model].filter(([, at]) => at === one).map(([of]) => of);
          const actual = [...stations.of(one)];
          if (actual.length !== expected.length || !expected.every((of) => actual.includes(of))) return false;
        }
      }
      return true;
    }),
  );
  t.pass();
});

// ------------------------------------------------------------------ what the bridge's table says

const port = (name: string, ifindex: number, rest: Partial<Port> = {}): Port => ({
  ...{ name, ifindex, mac: undefined, mtu: 1500, adminUp: true, carrier: true, master: 0, kind: 'veth', addresses: [] },
  ...rest,
});

/** As mac(), for more than 256. */
const wide = (of: number): Mac =>
  mac(of & 255).replace(/^02:00:00:00:00/, `02:00:00:00:${(of >> 8).toString(16).padStart(2, '0')}`) as Mac;

class Bridge {
  readonly clock = new VirtualClock();
  readonly told: HostEvent[][] = [];
  readonly entries = new Map<string, Port>();
  readonly hosts: (Stationed & { mac: Mac })[] = [];
  readonly watch: StationWatch;
  #listener: ((event: FdbEvent) => void) | undefined;

  constructor() {
    const ports = [
      port('br0', 50, { kind: 'bridge' }),
      port('A1', 101, { master: 50 }),
      port('A2', 102, { master: 50 }),
      port('A3', 103),
      port('up', 104, { master: 50 }),
    ];
    const kernel = {
      port: (name: string) => ports.find((each) => each.name === name),
      portByIndex: (ifindex: number) => ports.find((each) => each.ifindex === ifindex),
      ports: () => ports,
      neighbours: { all: () => [], onNeighbour: () => () => undefined },
      fdb: {
        portOf: (of: Mac) => this.entries.get(of),
        onFdb: (listener: (event: FdbEvent) => void) => {
          this.#listener = listener;
          return () => {
            this.#listener = undefined;
          };
        },
      },
    };
    this.watch = new StationWatch({
      kernel,
      placement: new Placement(kernel, policy({ ports: ['A1', 'A2', 'A3'] })),
      clock: this.clock,
      known: (of) => this.hosts.filter((host) => host.mac === of),
      onEvidence: (events) => this.told.push(events),
    });
    this.watch.start();
  }

  host(text: string, at: string, of: number, rest: Partial<Stationed> = {}): void {
    this.hosts.push({ address: address(text), port: at, vlan: undefined, live: true, mac: wide(of), ...rest });
  }

  hears(of: number, before: number | undefined, after: number | undefined, vlan?: number): HostEvent[] {
    this.told.length = 0;
    this.#listener?.({ mac: wide(of), bridge: 50, vlan, before, after, at: this.clock.now() });
    return this.told.flat();
  }
}

test('R4.5 the bridge: all hosts of a MAC follow it to another of our ports, routed where the bridge is', (t) => {
  const bridge = new Bridge();
  bridge.host('10.10.10.1', 'A1', 1);
  bridge.host('10.10.10.9', 'A1', 1, { live: false });
  bridge.host('10.10.10.2', 'A1', 2);
  const place = { mac: mac(1), port: 'A2', interface: 'br0', ifindex: 50, how: 'bridge' };
  t.deepEqual(bridge.hears(1, 101, 102) as object[], [
    { type: 'present', address: '10.10.10.1', ...place },
    { type: 'present', address: '10.10.10.9', ...place },
  ]);
  t.deepEqual(bridge.hears(1, 102, 101), [], 'where they are thought to be');
  t.deepEqual(bridge.hears(7, undefined, 102), [], 'nobody known');
});

test('R4.5 the bridge: a MAC behind a port that is none of ours makes its live hosts doubtful', (t) => {
  const bridge = new Bridge();
  bridge.host('10.10.10.1', 'A1', 1);
  bridge.host('10.10.10.9', 'A1', 1, { live: false });
  t.deepEqual(bridge.hears(1, 101, 104) as object[], [{ type: 'doubt', address: '10.10.10.1', port: 'A1' }]);
  bridge.host('10.10.10.3', 'A3', 3);
  t.deepEqual(bridge.hears(3, undefined, 104), [], 'a routed port is no concern of the bridge');
  t.deepEqual(bridge.hears(3, undefined, 102), []);
});

test('R4.5 the bridge: an entry that vanishes is waited for, and its hosts are asked when it stays away', (t) => {
  const bridge = new Bridge();
  bridge.host('10.10.10.1', 'A1', 1);
  bridge.host('10.10.10.2', 'A1', 2);
  t.deepEqual(bridge.hears(1, 101, undefined), []);
  bridge.hears(2, 101, undefined);
  bridge.entries.set(mac(2), port('A1', 101));
  bridge.clock.advance(49);
  t.deepEqual(bridge.told, []);
  bridge.clock.advance(2);
  t.deepEqual(bridge.told.flat() as object[], [{ type: 'doubt', address: '10.10.10.1', port: 'A1' }]);
  bridge.hears(1, 101, undefined);
  bridge.watch.stop();
  bridge.clock.advance(1_000);
  t.deepEqual(bridge.told, []);
});

test('R4.5 the bridge: the same MAC in another VLAN is another station', (t) => {
  const bridge = new Bridge();
  bridge.host('10.10.10.1', 'A1', 1, { vlan: 20 });
  t.deepEqual(bridge.hears(1, 101, 102, 30), []);
  t.is(bridge.hears(1, 101, 102, 20).length, 1);
});

test('the bridge: what is waited for is bounded, and what is beyond is counted', (t) => {
  const bridge = new Bridge();
  for (let index = 0; index < 5_000; index++) bridge.host(`10.${index >> 8}.${index & 255}.1`, 'A1', index);
  for (let index = 0; index < 5_000; index++) bridge.hears(index, 101, undefined);
  t.is(bridge.watch.count['fdb.unwatched'], 5_000 - 4_096);
  bridge.clock.advance(60);
  t.is(bridge.told.flat().length, 4_096);
});
