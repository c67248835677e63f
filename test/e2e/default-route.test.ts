/** `upWhen: [default-route]` on a real gateway: a route that is merely learned anew shuts no port. */
import test from 'ava';
import { Stand } from './stand.ts';

test.serial(
  'R4.4 upWhen default-route: a reload that resets the session shuts no port; a route that is withdrawn is missed',
  async (t) => {
    t.timeout(240_000);
    const stand = await Stand.up({ gateway: 'frr', protocol: 'bgp' });
    t.teardown(() => stand.down());
    await stand.untilHome();
    stand.editConfig((config) => {
      config.portLink[0].upWhen = ['carrier', 'default-route'];
      config.portLink[0].startupDelay = '3s';
    });
    await stand.signal('SIGTERM');
    await stand.start();
    const up = async () => {
      const group = await stand.group();
      return (
        group.state === 'up' &&
        group.uplinks[0]!.verdicts.some(({ reason }) => /default route.* is installed/.test(reason))
      );
    };
    await stand.until('the group is up by its default route', up, () => stand.group());

    const shut = async () => (await stand.events()).filter(({ type }) => type === 'portlink.shut').length;
    const established = async () => (await stand.events()).filter(({ type }) => type === 'bgp.established').length;
    const shutBefore = await shut();
    for (const hold of ['6s', '9s']) {
      const sessions = await established();
      stand.editConfig((config) => {
        config.bgp.neighbors[0].timers = { keepalive: '1s', hold };
      });
      t.is((await stand.cli(['config', 'reload'])).code, 0);
      await stand.until(
        'the session was made anew',
        async () => (await established()) > sessions,
        () => stand.events(),
      );
      await stand.until('the route was learned anew', up, () => stand.group());
    }
    t.is(await shut(), shutBefore, 'a reload shuts nothing');

    // It does not come back: then it is missed.
    const commands = [
      'configure terminal',
      'router bgp 65000',
      'address-family ipv4 unicast',
      'no neighbor 192.0.2.2 default-originate',
    ];
    const vtysh = ['vtysh', '--vty_socket', stand.directory('G'), ...commands.flatMap((command) => ['-c', command])];
    t.is((await stand.exec('G', ...vtysh)).code, 0);
    await stand.until(
      'the ports are shut',
      async () => (await stand.shutPorts()).length === 4,
      () => stand.group(),
    );
    t.regex((await stand.group()).reason, /no default route through it is installed/);

    // Nor need it come from the gateway: the operator's own is as good.
    t.is((await stand.exec('A', 'ip', 'route', 'add', 'default', 'via', '192.0.2.1', 'dev', 'A0')).code, 0);
    await stand.until(
      'the ports are open',
      async () => (await stand.shutPorts()).length === 0,
      () => stand.group(),
    );
  },
);
