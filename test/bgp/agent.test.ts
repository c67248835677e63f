import test from 'ava';
import type { BgpNeighborView, HostView } from '../../src/agent/api.ts';
import { Rack } from './support/agent.ts';
import { Bird, GoBgp } from './support/daemons.ts';
import { pause, sh, until } from './support/lab.ts';

const FRR = `
router bgp 65000
 bgp router-id 10.255.0.254
 no bgp ebgp-requires-policy
 timers bgp 1 3
 neighbor 192.0.2.2 remote-as 65001
 neighbor 192.0.2.2 timers connect 1
 address-family ipv4 unicast
  neighbor 192.0.2.2 default-originate
 exit-address-family
`;

const SERVERS = { bgp: { listenRange: '10.10.10.0/24', remoteAs: 'external', defaultOriginate: true } };
const PREFIXES = ['10.10.10.0/24', '10.10.20.0/24'];

const GOBGP = `
[global.config]
  as = 64601
  router-id = "10.10.10.1"
[[neighbors]]
  [neighbors.config]
    neighbor-address = "10.10.10.254"
    peer-as = 65001
  [neighbors.timers.config]
    connect-retry = 1
    hold-time = 3
    keepalive-interval = 1
`;

const BIRD = `
router id 10.10.10.2;
protocol device {}
protocol static s4 { ipv4; route 10.10.20.2/32 blackhole; route 10.10.20.128/25 blackhole; }
protocol bgp tor {
  local 10.10.10.2 as 64602;
  neighbor 10.10.10.254 as 65001;
  connect delay time 0;
  ipv4 { import all; export all; };
}
`;

test.serial('servers that announce themselves: GoBGP and BIRD behind a real agent, seen by FRR', async (t) => {
  const rack = new Rack(2);
  t.teardown(() => rack.lab.close());
  rack.lab.frr(rack.g, FRR);
  rack.configure({ sources: SERVERS, prefixes: PREFIXES });
  const [first, second] = rack.servers as [string, string];
  for (const [index, server] of rack.servers.entries()) {
    sh('ip', '-n', server, 'addr', 'add', `10.10.20.${index + 1}/32`, 'dev', 'lo');
  }
  rack.start();
  await rack.established();
  const gobgp = new GoBgp(rack.lab, first, GOBGP);
  const bird = new Bird(rack.lab, second, BIRD);
  const session = (server: string) =>
    until(async () => {
      const all = (await rack.sessions()) as unknown as BgpNeighborView[];
      return all.find(({ neighbor, state }) => neighbor === server && state === 'Established');
    }, `a session of ${server}`);
  t.is((await session('10.10.10.1')).interface, 'A1');
  for (const prefix of ['10.10.20.1/32', '10.10.20.0/24', '10.10.99.1/32']) {
    gobgp.ask('global', 'rib', 'add', prefix, '-a', 'ipv4');
  }
  await until(() => rack.fib('10.10.20.').join() === '10.10.20.1,10.10.20.2', 'both at G');
  const { server } = await until(async () => {
    const view = await session('10.10.10.1');
    return view.server!.lastRefused.length === 2 ? view : undefined;
  }, 'the refusals');
  t.deepEqual(server!.accepted as readonly string[], ['10.10.20.1']);
  t.deepEqual(server!.refused, { 'not-a-host': 1, 'outside-prefixes': 1 });
  t.deepEqual((await session('10.10.10.2')).server!.refused, { 'not-a-host': 1 });
  const host = (await rack.ask<HostView[]>('/v1/hosts')).find((each) => (each.address as string) === '10.10.20.1')!;
  t.is(host.port, 'A1');
  t.true(host.sources.some(({ source }) => source === 'bgp'));
  t.regex(gobgp.ask('global', 'rib'), /0\.0\.0\.0\/0\s+10\.10\.10\.254\s+65001/);
  t.regex(bird.ask('show', 'route', 'protocol', 'tor'), /0\.0\.0\.0\/0/);
  t.is(sh('ip', 'netns', 'exec', rack.g, 'ping', '-c3', '-i0.2', '-q', '10.10.20.1').includes(' 0% packet loss'), true);
  t.notRegex(sh('ip', '-n', rack.a, 'route'), /10\.10\.99|10\.10\.20\.0\/24 (via|dev)|10\.10\.20\.128/);

  gobgp.ask('global', 'rib', 'del', '10.10.20.1/32', '-a', 'ipv4');
  await until(() => rack.fib('10.10.20.').join() === '10.10.20.2', 'the withdrawal');
  gobgp.ask('global', 'rib', 'add', '10.10.20.1/32', '-a', 'ipv4');
  await until(() => rack.fib('10.10.20.').length === 2, 'again');
  bird.ask('disable', 'tor');
  await until(() => rack.fib('10.10.20.').join() === '10.10.20.1', 'the end of the session');
  bird.ask('enable', 'tor');
  await until(() => rack.fib('10.10.20.').length === 2, 'back');
  sh('ip', '-n', second, 'link', 'set', 'eth0', 'down');
  await until(() => rack.fib('10.10.20.').join() === '10.10.20.1', 'the loss of the link');
  t.is((await session('10.10.10.1')).established, 1);
});

test.serial('SIGHUP: neighbours, communities and prefixes change while the other session stands', async (t) => {
  const rack = new Rack(1);
  t.teardown(() => rack.lab.close());
  const frr = rack.lab.frr(rack.g, FRR);
  rack.start();
  await rack.established();
  rack.speak();
  await until(() => rack.fib().join() === '10.10.10.1', 'the host at G');
  await pause(3500);
  const neighbor = { address: '192.0.2.1', remoteAs: 65000, timers: { keepalive: '1s', hold: '3s' } };
  const another = { address: '192.0.2.99', remoteAs: 65099 };
  rack.configure({ bgp: { neighbors: [neighbor, another], announce: { communities: ['65001:77'] } } });
  const routes = rack.watch();
  await rack.signal('SIGHUP');
  await until(() => frr.vtysh('show bgp ipv4 unicast 10.10.10.1/32').includes('65001:77'), 'the community');
  await until(async () => (await rack.sessions()).length === 2, 'the other neighbour');
  rack.configure({});
  await rack.signal('SIGHUP');
  await until(() => !frr.vtysh('show bgp ipv4 unicast 10.10.10.1/32').includes('65001:77'), 'as before');
  const sessions = await rack.sessions();
  t.deepEqual(
    sessions.map((session) => [session.neighbor as string, session.established]),
    [['192.0.2.1', 1]],
  );
  t.deepEqual(
    routes.stop().filter((line) => line.startsWith('Deleted')),
    [],
  );

  rack.configure({ prefixes: ['10.10.0.0/16'] });
  await rack.signal('SIGHUP');
  sh('ip', '-n', rack.servers[0]!, 'addr', 'add', '10.10.30.1/32', 'dev', 'eth0');
  sh('ip', '-n', rack.a, 'route', 'add', '10.10.30.0/24', 'dev', 'br0');
  // Heard before the agent has read the new file it is nobody's: it speaks until it is there.
  await until(() => {
    sh('ip', 'netns', 'exec', rack.a, 'ping', '-c1', '-W2', '10.10.30.1');
    return rack.fib().join() === '10.10.10.1,10.10.30.1';
  }, 'a host of the new prefix');
  rack.configure({ prefixes: ['10.10.30.0/24'] });
  await rack.signal('SIGHUP');
  await until(() => rack.fib().join() === '10.10.30.1', 'the old prefix goes');
  t.is((await rack.sessions())[0]!.established, 1);
});
