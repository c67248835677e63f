import test from 'ava';
import { Rack } from './support/agent.ts';
import { Bird } from './support/daemons.ts';
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

const BIRD = `
router id 10.255.0.254;
protocol device {}
protocol static s4 { ipv4; route 0.0.0.0/0 blackhole; }
protocol kernel k4 { ipv4 { export filter { if source = RTS_BGP then accept; reject; }; }; }
protocol bgp tor {
  local 192.0.2.1 as 65000;
  neighbor 192.0.2.2 as 65001;
  connect retry time 1;
  connect delay time 1;
  error wait time 1, 2;
  ipv4 { import all; export all; };
}
`;

for (const daemon of ['FRR', 'BIRD'] as const) {
  test.serial(
    `RFC 4724 R4.6 SIGKILL and a new start behind ${daemon}: no route changes, no packet is lost`,
    async (t) => {
      const rack = new Rack(2);
      t.teardown(() => rack.lab.close());
      if (daemon === 'FRR') rack.lab.frr(rack.g, FRR);
      else new Bird(rack.lab, rack.g, BIRD);
      rack.start();
      await rack.established();
      rack.speak();
      await until(() => rack.fib().join() === '10.10.10.1,10.10.10.2', 'both hosts at G');
      await until(() => sh('ip', '-n', rack.a, 'route').includes('default via 192.0.2.1'), 'the default route');
      await pause(4000);
      for (const away of [300, 1000]) {
        const routes = rack.watch();
        const ours = sh('ip', '-n', rack.a, 'route');
        const probe = rack.probe('10.10.10.1', 9);
        await pause(1000);
        await rack.signal('SIGKILL');
        await pause(away);
        t.deepEqual(rack.fib(), ['10.10.10.1', '10.10.10.2'], 'while it is away');
        rack.start();
        const { lost, sent } = await probe;
        t.is(lost, 0, `of ${sent}, ${away} ms away`);
        const session = await rack.established();
        t.is(session.established, 1);
        t.deepEqual(routes.stop(), []);
        t.is(sh('ip', '-n', rack.a, 'route'), ours);
      }
      // The host dies with the agent.
      await rack.signal('SIGKILL');
      sh('ip', '-n', rack.servers[1]!, 'addr', 'flush', 'dev', 'eth0');
      rack.start();
      await rack.established();
      await until(() => rack.fib().join() === '10.10.10.1', 'the dead host goes');
      // Never back.
      await rack.signal('SIGKILL');
      await pause(2000);
      t.deepEqual(rack.fib(), ['10.10.10.1'], 'it is waited for');
      await until(() => rack.fib().length === 0, 'the restart time');
      rack.start();
      await until(() => rack.fib().join() === '10.10.10.1', 'again');
      await pause(4000);
      await rack.signal('SIGTERM');
      // Its restart time is 5 s: what goes earlier was withdrawn.
      await until(() => rack.fib().length === 0, 'a clean stop is no restart', 3_000);
      t.pass();
    },
  );
}

test.serial('RFC 4724 with FRR: a dead link and a silent agent are not waited for', async (t) => {
  const rack = new Rack(1);
  t.teardown(() => rack.lab.close());
  const frr = rack.lab.frr(rack.g, FRR);
  // So long that nothing below can be the end of it.
  rack.configure({ bgp: { gracefulRestart: { restartTime: '600s' } } });
  rack.start();
  const home = () => until(() => rack.fib().join() === '10.10.10.1', 'the host at G');
  const away = (why: string) => until(() => rack.fib().length === 0, why);
  await rack.established();
  rack.speak();
  await home();

  sh('ip', '-n', rack.a, 'link', 'set', 'A0', 'down');
  await away('the carrier is lost');
  sh('ip', '-n', rack.a, 'link', 'set', 'A0', 'up');
  await home();

  await rack.signal('SIGKILL');
  await pause(500);
  t.deepEqual(rack.fib(), ['10.10.10.1']);
  sh('ip', '-n', rack.a, 'link', 'set', 'A0', 'down');
  await away('the carrier is lost while the agent is dead');
  sh('ip', '-n', rack.a, 'link', 'set', 'A0', 'up');
  rack.start();
  await rack.established();
  await home();
  await until(async () => (await rack.sessions())[0]!.prefixesSent === 1, 'announced by this life');

  rack.freeze(true);
  await away('the hold timer');
  t.regex(frr.vtysh('show bgp neighbors 192.0.2.2'), /Hold Timer Expired/);
  rack.freeze(false);
  await home();
});

test.serial(
  'RFC 4724: the routes of an FRR that is killed stay until it is back, or its restart time is over',
  async (t) => {
    const rack = new Rack(1);
    t.teardown(() => rack.lab.close());
    const graceful =
      ' bgp graceful-restart\n bgp graceful-restart preserve-fw-state\n bgp graceful-restart restart-time 8\n';
    const frr = rack.lab.frr(rack.g, FRR.replace(' timers bgp', `${graceful} timers bgp`));
    rack.start();
    const learned = () => sh('ip', '-n', rack.a, 'route').includes('default via 192.0.2.1');
    await rack.established();
    await until(learned, 'the default route');
    const routes = rack.lab.spawn(rack.a, 'ip', ['monitor', 'route'], { stdio: ['ignore', 'pipe', 'ignore'] });
    let changes = '';
    routes.stdout!.on('data', (text) => {
      changes += text;
    });
    await frr.killBgpd();
    const [session] = await until(async () => {
      const sessions = await rack.sessions();
      return sessions[0]?.state === 'Established' ? undefined : sessions;
    }, 'the loss');
    t.true(session!.restarting);
    t.true(learned());
    frr.startBgpd();
    await rack.established();
    await until(async () => (await rack.sessions())[0]!.initialRoutesReceived, 'its table');
    t.is((await rack.sessions())[0]!.prefixesStale, 0);
    t.notRegex(changes, /Deleted default/);
    await frr.killBgpd();
    await until(() => !learned(), 'its restart time');
  },
);
