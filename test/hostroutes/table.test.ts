import test from 'ava';
import type { Heard } from '../../src/hostroutes/machine/types.ts';
import type { Prefix } from '../../src/model/address.ts';
import { ipv4FromNumber } from '../../src/model/address.ts';
import { address, Bench, deltas, heard, mac, policy, probes } from './helpers.ts';

test('R4.1 hosts are learned behind their ports, many behind one', (t) => {
  const bench = new Bench();
  const [delta] = bench.do(heard('10.10.10.1', 'A1'));
  t.deepEqual(delta, {
    type: 'delta',
    delta: {
      withdrawn: [],
      announced: [{ address: address('10.10.10.1'), interface: 'A1', ifindex: 101, mac: mac(1), level: 0 }],
    },
    cause: { kind: 'heard', port: 'A1', reason: 'heard by arp' },
  });
  bench.do(heard('10.10.10.2', 'A1'));
  bench.do(heard('10.10.10.3', 'A2'));
  t.deepEqual(
    bench.table.hosts().map((host) => [host.address, host.port, host.state, host.source]),
    [
      ['10.10.10.1', 'A1', 'reachable', 'arp'],
      ['10.10.10.2', 'A1', 'reachable', 'arp'],
      ['10.10.10.3', 'A2', 'reachable', 'arp'],
    ] as never,
  );
  t.deepEqual(bench.table.announced(), [...bench.model.values()]);
});

test('R4.1 a view says by whom a host is believed, the most trusted first', (t) => {
  const bench = new Bench();
  bench.do(heard('10.10.10.1', 'A1', { source: 'neighbour', how: 'kernel-reachable' }));
  bench.now += 10;
  bench.do(heard('10.10.10.1', 'A1', { how: 'arp-request' }));
  bench.do(heard('10.10.10.1', 'A1', { how: 'arp-reply' }));
  const view = bench.table.find(address('10.10.10.1'))!;
  t.is(view.source, 'arp');
  t.deepEqual(view.sources, [
    { source: 'arp', rank: 4, heardAt: 1010, how: 'arp-reply' },
    { source: 'neighbour', rank: 5, heardAt: 1000, how: 'kernel-reachable' },
  ]);
  t.is(view.since, 1000);
  t.is(view.heardAt, 1010);
});

test('R4.1 hearing a known host again answers nothing and allocates no effects', (t) => {
  const bench = new Bench();
  const event = heard('10.10.10.1', 'A1');
  bench.do(event);
  t.is(bench.do(event).length, 0);
  t.is(bench.do(event), bench.do(event));
});

const never: [string, Heard, string][] = [
  ['outside the prefixes', heard('10.10.11.1', 'A1'), 'outside-prefixes'],
  ['the network address', heard('10.10.10.0', 'A1'), 'network-address'],
  ['the broadcast address', heard('10.10.10.255', 'A1'), 'broadcast-address'],
  ['our own address', heard('10.10.10.254', 'A1'), 'own-address'],
  ['0.0.0.0', heard('0.0.0.0', 'A1'), 'bad-address'],
  ['loopback', heard('127.0.0.1', 'A1'), 'bad-address'],
  ['multicast', heard('224.0.0.5', 'A1'), 'bad-address'],
  ['IPv6 link-local', heard('fe80::1', 'A1', { mac: mac(1) }), 'link-local'],
  ['IPv6 outside', heard('2001:db8:1::1', 'A1', { mac: mac(1) }), 'outside-prefixes'],
  ['the subnet-router anycast address', heard('2001:db8::', 'A1', { mac: mac(1) }), 'network-address'],
  ['the zero MAC', heard('10.10.10.1', 'A1', { mac: '00:00:00:00:00:00' as never }), 'bad-mac'],
  ['a multicast MAC', heard('10.10.10.1', 'A1', { mac: '01:00:5e:00:00:05' as never }), 'bad-mac'],
  ['the broadcast MAC', heard('10.10.10.1', 'A1', { mac: 'ff:ff:ff:ff:ff:ff' as never }), 'bad-mac'],
  ['an uplink', heard('10.10.10.1', 'A0'), 'not-a-downlink'],
];
for (const [title, event, reason] of never) {
  test(`R4.2 never learned: ${title}`, (t) => {
    const bench = new Bench(policy({ prefixes: ['10.10.10.0/24' as Prefix, '2001:db8::/64' as Prefix] }));
    const effects = bench.do(event);
    // Every IPv6 host has one: counted, and no news.
    if (reason === 'link-local') t.deepEqual(effects, []);
    else t.like(effects, { 0: { type: 'refused', reason }, length: 1 });
    t.is(bench.table.counters().refused[reason as 'binding'], 1);
    t.is(bench.table.hosts().length, 0);
    bench.do(heard('2001:db8::7', 'A1', { mac: mac(7) }));
    t.is(bench.model.size, 1);
  });
}

test('R4.2 a /31 has neither network nor broadcast address (RFC 3021)', (t) => {
  const bench = new Bench(policy({ prefixes: ['10.10.10.8/31' as Prefix] }));
  bench.do(heard('10.10.10.8', 'A1'));
  bench.do(heard('10.10.10.9', 'A1'));
  t.is(bench.model.size, 2);
});

test('a source that is switched off is not believed', (t) => {
  const bench = new Bench(policy({ sources: { arp: false, neighbours: true, bgp: false, kernel: false, static: [] } }));
  t.like(bench.do(heard('10.10.10.1', 'A1')), { 0: { type: 'refused', reason: 'source-off' } });
  const { type: _, source: __, ...reply } = heard('10.10.10.1', 'A1');
  t.is(bench.do({ type: 'probeReply', ...reply }).length, 0);
  t.is(bench.model.size, 0);
  bench.do(heard('10.10.10.1', 'A1', { source: 'neighbour' }));
  t.is(bench.model.size, 1);
});

test('R4.5 a port that goes down takes all its hosts along in one delta, and no others', (t) => {
  const bench = new Bench();
  bench.do(heard('10.10.10.1', 'A1'));
  bench.do(heard('10.10.10.2', 'A1'));
  bench.do(heard('10.10.10.3', 'A2'));
  const effects = bench.do({ type: 'portDown', ports: ['A1'], reason: 'carrier lost' });
  t.deepEqual(effects, [
    {
      type: 'delta',
      delta: { withdrawn: [address('10.10.10.1'), address('10.10.10.2')], announced: [] },
      cause: { kind: 'portDown', port: 'A1', reason: 'carrier lost' },
    },
  ]);
  t.like(bench.do(heard('10.10.10.1', 'A1')), { 0: { type: 'refused', reason: 'port-down' } });
  t.deepEqual([...bench.model.keys()], [address('10.10.10.3')]);
  t.deepEqual(
    bench.table.remembered('A1').map((host) => [host.address, host.mac, host.leftAt]),
    [
      [address('10.10.10.1'), mac(1), 1000],
      [address('10.10.10.2'), mac(2), 1000],
    ],
  );
  t.like(bench.table.find(address('10.10.10.1')), { state: 'gone', reason: 'carrier lost', port: 'A1' });
});

test('R4.6 blocking all ports of a group withdraws all hosts in one delta and learns none until unblocked', (t) => {
  const bench = new Bench();
  for (const port of ['A1', 'A2', 'A3', 'A4']) bench.do(heard(`10.10.10.${port[1]}`, port));
  const effects = bench.do({ type: 'blockPorts', ports: ['A1', 'A2', 'A3', 'A4'], blocked: true, reason: 'fabric' });
  t.is(effects.length, 1);
  t.like(effects[0], { type: 'delta', cause: { kind: 'blocked', reason: 'fabric' } });
  t.false('port' in (effects[0] as { cause: object }).cause);
  t.is(bench.model.size, 0);
  bench.do(heard('10.10.10.1', 'A1'));
  t.is(bench.model.size, 0);
  bench.do({ type: 'blockPorts', ports: ['A1', 'A2', 'A3', 'A4'], blocked: false, reason: 'fabric' });
  bench.do(heard('10.10.10.1', 'A1'));
  t.is(bench.model.size, 1);
  t.is(bench.table.remembered('A1').length, 0);
});

test('R4.6 down and blocked are apart: a port that is unblocked while its carrier is gone learns nothing', (t) => {
  const bench = new Bench();
  bench.do({ type: 'blockPorts', ports: ['A1'], blocked: true, reason: 'fabric' });
  bench.do({ type: 'portDown', ports: ['A1'], reason: 'admin' });
  bench.do({ type: 'blockPorts', ports: ['A1'], blocked: false, reason: 'fabric' });
  bench.do(heard('10.10.10.1', 'A1'));
  t.is(bench.model.size, 0);
  bench.do({ type: 'portUp', port: 'A1' });
  bench.do(heard('10.10.10.1', 'A1'));
  t.is(bench.model.size, 1);
});

test('R4.7 when a port returns, the silent hosts that were there are asked, and come back by their answer', (t) => {
  const bench = new Bench();
  bench.do(bench.live('10.10.10.1', 'A1'));
  bench.do(heard('10.10.10.2', 'A1'));
  bench.do({ type: 'portDown', ports: ['A1'], reason: 'carrier lost' });
  bench.run(60_000);
  bench.do({ type: 'portUp', port: 'A1' });
  t.is(bench.model.size, 0, 'nobody is announced on memory alone');
  bench.run(10);
  t.deepEqual([...bench.model.keys()], [address('10.10.10.1')]);
  const asked = probes(bench.run(60_000)).filter((effect) => effect.address === '10.10.10.2');
  t.true(asked.length >= 3 && asked.length < 10, `the one that does not answer is given up (${asked.length})`);
  t.is(bench.table.counters().searches, 0);
});

test('R4.5 a host that moves to another port of the same switch is replaced at once in one delta', (t) => {
  const bench = new Bench();
  bench.do(heard('10.10.10.1', 'A1'));
  const effects = bench.do(heard('10.10.10.1', 'A2'));
  t.like(effects[0], { type: 'delta', cause: { kind: 'moved', port: 'A2', reason: 'moved from A1' } });
  t.like(deltas(effects)[0]?.delta, { withdrawn: [], announced: { 0: { interface: 'A2' }, length: 1 } });
  t.deepEqual(bench.do({ type: 'portDown', ports: ['A1'], reason: 'x' }), []);
  t.is(bench.model.size, 1);
});

test('R4.5 a host that moves in the turn in which others are heard is a failover, and told as what it is', (t) => {
  const bench = new Bench();
  bench.do(heard('10.10.10.1', 'A1'));
  const events = [heard('10.10.10.2', 'A2'), heard('10.10.10.1', 'A2'), heard('10.10.10.3', 'A2')];
  const [told] = deltas(bench.do({ type: 'batch', events }));
  t.deepEqual(told?.cause, { kind: 'moved', port: 'A2', reason: 'moved from A1' });
  t.is(told?.delta.announced.length, 3);
});

test('R4.1 R4.5 a forged claim takes a host away for 150 ms: it does not answer there, it does where it was', (t) => {
  const bench = new Bench();
  bench.do(bench.live('10.10.10.1', 'A1'));
  bench.do(heard('10.10.10.1', 'A2', { mac: mac(66) }));
  t.is(bench.model.get(address('10.10.10.1'))?.interface, 'A2', 'a host that moves is followed at once');
  bench.run(160);
  t.is(bench.model.get(address('10.10.10.1'))?.interface, 'A1');
  t.like(bench.table.find(address('10.10.10.1')), { port: 'A1', mac: mac(1), state: 'reachable' });
  t.deepEqual(deltas(bench.run(20_000)), []);
});

test('a new MAC on the same port is an update', (t) => {
  const bench = new Bench();
  bench.do(heard('10.10.10.1', 'A1'));
  const effects = bench.do(heard('10.10.10.1', 'A1', { mac: mac(99) }));
  t.like(effects[0], { type: 'delta', cause: { kind: 'updated', port: 'A1' } });
  t.is(bench.model.get(address('10.10.10.1'))?.mac, mac(99));
});

test('an address alive on two ports alternately is a duplicate: it stays where it is, ever longer', (t) => {
  const bench = new Bench();
  const ports = ['A1', 'A2'];
  bench.alive.set(address('10.10.10.1'), { port: 'A1', answer: () => heard('10.10.10.1', 'A1') });
  let told = 0;
  for (let turn = 0; turn < 400; turn++) {
    told += deltas(bench.do(heard('10.10.10.1', ports[turn % 2]!))).length;
    // Whoever is asked answers: both are there.
    const at = bench.table.find(address('10.10.10.1'))!.port;
    bench.alive.set(address('10.10.10.1'), { port: at, answer: () => heard('10.10.10.1', at) });
    told += deltas(bench.run(100)).length;
  }
  t.is(bench.table.find(address('10.10.10.1'))?.state, 'duplicate');
  t.is(told, 5, 'the first four moves were followed and nothing afterwards');
  t.is(bench.table.counters().duplicates, 1);
  const reports = bench.log.filter((effect) => effect.type === 'changed' && effect.to === 'duplicate');
  t.is(reports.length, 1);
  bench.run(130_000);
  t.is(bench.table.find(address('10.10.10.1'))?.state, 'reachable', 'released once heard at one place only');
});

test('R4.5 a held host that is silent at its place and heard at the other follows within the verification', (t) => {
  const bench = new Bench();
  for (let turn = 0; turn < 6; turn++) {
    bench.do(heard('10.10.10.1', turn % 2 ? 'A2' : 'A1'));
    bench.now += 10;
  }
  t.is(bench.table.find(address('10.10.10.1'))?.state, 'duplicate');
  const place = bench.table.find(address('10.10.10.1'))!.port;
  const effects = bench.run(200);
  t.like(deltas(effects)[0], { cause: { kind: 'moved' }, delta: { withdrawn: { length: 0 } } });
  t.not(bench.table.find(address('10.10.10.1'))?.port, place);
});

test('R4.1 a duplicate that is cleared is asked at once, moves at full speed again, and its next hold is a first one', (t) => {
  const bench = new Bench();
  const C = address('10.10.10.1');
  const quarrel = (turns: number): void => {
    for (let turn = 0; turn < turns; turn++) bench.do(heard('10.10.10.1', turn % 2 ? 'A2' : 'A1'));
  };
  quarrel(6);
  t.like(bench.table.damped(bench.now)[0], { address: C, held: true, hold: 1000 });
  const effects = bench.do({ type: 'forgive', addresses: [C, address('10.10.10.9')] });
  t.deepEqual(
    effects.map(({ type }) => type),
    ['changed'],
  );
  t.true(
    bench.log.some(({ type }) => type === 'probe'),
    'the question is on its way already',
  );
  t.like(bench.table.find(C), { state: 'reachable', reason: 'cleared by hand' });
  t.deepEqual(bench.table.damped(bench.now), []);
  bench.do(heard('10.10.10.1', 'A1'));
  bench.do(heard('10.10.10.1', 'A2'));
  t.is(bench.table.find(C)?.port, 'A2', 'moved, not refused');
  bench.now += 11_000;
  quarrel(6);
  t.like(bench.table.damped(bench.now)[0], { held: true, hold: 1000 }, 'without the clearing it were 2000');
  t.deepEqual(bench.do({ type: 'forgive', addresses: [address('10.10.10.9')] }), []);
});

test('R4.5 a duplicate whose port goes down is learned at the other place at once', (t) => {
  const bench = new Bench();
  for (let turn = 0; turn < 6; turn++) bench.do(heard('10.10.10.1', turn % 2 ? 'A2' : 'A1'));
  const place = bench.table.find(address('10.10.10.1'))!.port;
  bench.do({ type: 'portDown', ports: [place], reason: 'carrier lost' });
  t.is(bench.model.size, 0);
  bench.do(heard('10.10.10.1', place === 'A1' ? 'A2' : 'A1'));
  t.is(bench.model.size, 1);
});

test('R4.1 limits: the port is full, others learn on; one alarm an episode; effects are few in a flood', (t) => {
  const bench = new Bench(policy({ prefixes: ['10.0.0.0/8' as Prefix], limits: { perPort: 256, total: 300 } }));
  bench.do(bench.live('10.200.0.1', 'A2'));
  for (let index = 1; index <= 100_000; index++) {
    bench.do(heard(ipv4FromNumber(0x0a000000 + index), 'A1', { mac: mac(1) }));
    if (index % 100 === 0) bench.now += 1;
  }
  const counters = bench.table.counters();
  t.is(counters.hostsByPort.A1, 256);
  t.is(counters.refused['port-limit'], 100_000 - 256);
  t.is(bench.log.filter((effect) => effect.type === 'alarm').length, 1);
  const refusals = bench.log.filter((effect) => effect.type === 'refused');
  t.true(refusals.length <= 2, `${refusals.length} said`);
  t.true(bench.model.has(address('10.200.0.1')));
  for (let index = 0; index < 100; index++) bench.do(heard(ipv4FromNumber(0x0ac80002 + index), 'A3'));
  t.is(bench.table.counters().hosts, 300);
  t.is(bench.log.filter((effect) => effect.type === 'alarm').length, 2);
  bench.run(70_000);
  t.deepEqual([...bench.model.keys()], [address('10.200.0.1')], 'the forged ones went, the living one stays');
  t.true(bench.table.departed().length <= 1024);
  for (let index = 1; index <= 300; index++) bench.do(heard(ipv4FromNumber(0x0a000000 + index), 'A1'));
  t.is(bench.log.filter((effect) => effect.type === 'alarm').length, 3, 'a new episode is a new alarm');
});

test('bindings: an address is accepted only at its ports and from its MACs', (t) => {
  const bench = new Bench(policy({ bindings: [{ address: address('10.10.10.1'), ports: ['A1'], macs: [mac(1)] }] }));
  t.like(bench.do(heard('10.10.10.1', 'A2')), { 0: { reason: 'binding' } });
  t.like(bench.do(heard('10.10.10.1', 'A1', { mac: mac(2) })), { 0: { reason: 'binding' } });
  bench.do(heard('10.10.10.1', 'A1'));
  t.is(bench.model.size, 1);
  bench.do(heard('10.10.10.1', 'A2'));
  t.is(bench.model.get(address('10.10.10.1'))?.interface, 'A1');
  bench.do(heard('10.10.10.2', 'A2'));
  t.is(bench.model.size, 2);
});

test('R4.1 a static host is looked for at its port, announced when it answers, accepted nowhere else', (t) => {
  const configured = policy({
    sources: { ...policy().sources, static: [{ address: address('10.10.10.9'), port: 'A4' }] },
  });
  const bench = new Bench(configured);
  bench.do({ type: 'configure', policy: configured });
  const asked = probes(bench.run(1));
  t.deepEqual(asked, [{ type: 'probe', address: address('10.10.10.9'), mac: undefined, port: 'A4' }]);
  bench.run(60_000);
  t.is(bench.model.size, 0);
  t.like(bench.do(heard('10.10.10.9', 'A3')), { 0: { type: 'refused', reason: 'static-elsewhere' } });
  bench.live('10.10.10.9', 'A4');
  bench.run(5_001);
  t.is(bench.model.size, 1);
  t.is(bench.table.find(address('10.10.10.9'))?.source, 'static');
  bench.alive.clear();
  bench.run(20_000);
  t.is(bench.model.size, 0, 'static says where, not that it lives');
  bench.live('10.10.10.9', 'A4');
  bench.run(5_001);
  t.is(bench.model.size, 1);
});

test('R4.1 a server that announces itself by BGP needs no ARP and goes when its session says so', (t) => {
  const bench = new Bench();
  bench.do(heard('10.10.10.1', 'A1', { source: 'bgp' }));
  t.deepEqual(probes(bench.run(60_000)), []);
  t.like(bench.do(heard('10.10.10.1', 'A2')), { 0: { type: 'refused', reason: 'outranked' } });
  t.like(bench.do({ type: 'lost', source: 'bgp', address: address('10.10.10.1'), port: 'A1' }), {
    0: { type: 'delta', cause: { kind: 'lost' } },
  });
  t.is(bench.model.size, 0);
});

test('what was read in one turn is one delta, and a change undone within it is not told', (t) => {
  const bench = new Bench();
  const effects = bench.do({
    type: 'batch',
    events: [heard('10.10.10.1', 'A1'), heard('10.10.10.2', 'A1'), heard('10.10.10.1', 'A2')],
  });
  t.is(deltas(effects).length, 1);
  t.is(bench.model.get(address('10.10.10.1'))?.interface, 'A2');
  const undone = bench.do({
    type: 'batch',
    events: [heard('10.10.10.3', 'A3'), { type: 'portDown', ports: ['A3'], reason: 'x' }],
  });
  t.deepEqual(deltas(undone), []);
});

test('a new policy withdraws what it forbids, in one delta, and leaves the others untouched', (t) => {
  const bench = new Bench(policy({ prefixes: ['10.10.0.0/16' as Prefix] }));
  bench.do(bench.live('10.10.10.1', 'A1'));
  bench.do(heard('10.10.10.2', 'A2'));
  bench.do(heard('10.10.11.3', 'A1'));
  bench.do(heard('10.10.10.4', 'A1'));
  const effects = bench.do({
    type: 'configure',
    policy: policy({ ports: ['A1', 'A3'], limits: { perPort: 1, total: 10 } }),
  });
  t.is(deltas(effects).length, 1);
  t.like(effects[0], { cause: { kind: 'policy' } });
  t.deepEqual([...bench.model.keys()], [address('10.10.10.1')], 'the oldest stays under a lower limit');
  t.deepEqual(bench.table.announced(), [...bench.model.values()]);
  t.like(bench.do(heard('10.10.10.2', 'A2')), { 0: { reason: 'not-a-downlink' } });
});

test('R4.1 whom a narrower policy sent away is asked when a wider one would take it again', (t) => {
  const wide = policy({ prefixes: ['10.10.10.0/24' as Prefix] });
  const bench = new Bench(wide);
  bench.do(bench.live('10.10.10.1', 'A1'));
  bench.do(bench.live('10.10.10.2', 'A2'));
  bench.do(bench.live('10.10.10.3', 'A1'));
  const here = () => [...bench.model.keys()].toSorted();
  bench.do({ type: 'configure', policy: policy({ prefixes: ['10.10.10.0/31' as Prefix] }) });
  t.deepEqual(here(), [address('10.10.10.1')]);
  bench.do({ type: 'configure', policy: policy({ prefixes: ['10.10.10.0/24' as Prefix], ports: ['A2'] }) });
  bench.run(1_000);
  t.deepEqual(here(), [address('10.10.10.2')], 'its port is a downlink still');
  bench.alive.delete(address('10.10.10.3'));
  bench.do({ type: 'configure', policy: wide });
  bench.run(10_000);
  t.deepEqual(here(), [address('10.10.10.1'), address('10.10.10.2')], 'who is silent is not taken');
});

test('R4.1 nobody is asked where probing is off, also not who would be taken again', (t) => {
  const probe = { interval: 0, retries: 3, timeout: 200 };
  const bench = new Bench(policy({ probe }));
  bench.do(bench.live('10.10.10.2', 'A2'));
  bench.do({ type: 'configure', policy: policy({ probe, prefixes: ['10.10.10.0/31' as Prefix] }) });
  bench.do({ type: 'configure', policy: policy({ probe }) });
  bench.run(10_000);
  t.deepEqual(probes(bench.log), []);
  t.is(bench.model.size, 0);
});

test('memory of the departed is aged out', (t) => {
  const bench = new Bench();
  bench.do(heard('10.10.10.1', 'A1'));
  bench.do({ type: 'portDown', ports: ['A1'], reason: 'x' });
  t.is(bench.table.remembered('A1').length, 1);
  bench.run(26 * 3_600_000);
  t.is(bench.table.remembered('A1').length, 0);
  t.is(bench.table.find(address('10.10.10.1')), undefined);
  t.is(bench.table.nextDeadline(), undefined);
});
