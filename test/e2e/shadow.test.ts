/**
 * Shadow routes between two real agents, with the gateways that people have. What they are for is shown without any
 * clock: a server that has lost both links is nowhere, yet the gateway turns to B, and what it sends there waits for the
 * server.
 */
import test, { type ExecutionContext } from 'ava';
import type { GatewayKind, Protocol } from '../../lab/index.ts';
import { TORS } from '../../lab/topology/plan.ts';
import { Stand } from './stand.ts';

const GATEWAYS: readonly { readonly gateway: GatewayKind; readonly protocol: Protocol }[] = [
  { gateway: 'bird', protocol: 'bgp' },
  { gateway: 'frr', protocol: 'ospf' },
  { gateway: 'frr', protocol: 'bgp' },
  { gateway: 'bird', protocol: 'ospf' },
];

const OF_A = ['10.10.10.1', '10.10.10.2'];
const OF_B = ['10.10.10.4', '10.10.10.5'];
const C4 = '10.10.10.2';

const TOR_NAMES = ['A', 'B'] as const;
type Tor = (typeof TOR_NAMES)[number];

async function shadowsOf(stand: Stand, tor: Tor): Promise<string[]> {
  const hosts = await stand.hosts(tor);
  return hosts
    .filter(({ state }) => state === 'shadow')
    .map(({ address }) => address)
    .sort();
}

const untilShadows = (stand: Stand, tor: Tor, wanted: readonly string[]): Promise<void> =>
  stand.until(
    `${tor} stands by for ${wanted.join(' ') || 'nobody'}`,
    async () => (await shadowsOf(stand, tor)).join() === wanted.join(),
    () => stand.hosts(tor),
  );

const untilAt = (stand: Stand, address: string, where: string | undefined): Promise<void> =>
  stand.until(
    `G reaches ${address} by ${where ?? 'nobody'}`,
    async () => (await stand.fib())[address]?.join() === where,
    stand.fib,
  );

async function rulesOf(stand: Stand, tor: Tor): Promise<string[]> {
  const rules: string[] = [];
  for (const family of ['-4', '-6']) {
    const text = await stand.ip(tor, family, 'rule', 'show');
    rules.push(...text.split('\n').filter((line) => line.includes('20101')));
  }
  return rules;
}

const wayFrom = (stand: Stand, tor: Tor, address: string): Promise<string> =>
  stand.ip(tor, 'route', 'get', address).catch((error: Error) => error.message);

const room = async (stand: Stand, tor: Tor): Promise<Record<string, number>> =>
  (await stand.counters(tor))['waiting-room']!;

const up = (where: { gateway: GatewayKind; protocol: Protocol }, hold: string): Promise<Stand> =>
  Stand.up({
    ...where,
    settings: (configuration, tor) => ({
      ...configuration,
      shadow: { enabled: true, twin: TORS[tor === 'A' ? 'B' : 'A'].routerId, repair: false, hold },
    }),
  });

async function noDefects(t: ExecutionContext, stand: Stand): Promise<void> {
  for (const tor of TOR_NAMES) t.deepEqual(stand.defects(tor), [], tor);
}

for (const where of GATEWAYS) {
  const title = `${where.gateway}, ${where.protocol}`;
  // It computes OSPF routes once a second, whatever it is told: it may follow later than a server waits.
  const slow = where.gateway === 'bird' && where.protocol === 'ospf';

  test.serial(`R4.5 R4.6 shadow routes: ${title}`, async (t) => {
    t.timeout(400_000);
    const stand = await up(where, '20s');
    t.teardown(() => stand.down());
    await stand.untilHome();
    await untilShadows(stand, 'A', OF_B);
    await untilShadows(stand, 'B', OF_A);
    await stand.untilHome();

    const { stdout } = await stand.cli(['hosts', '--why'], 'B');
    t.regex(stdout, /10\.10\.10\.2 .* shadow .* fabric .*announced by/, stdout);
    await stand.until(
      'the servers of B reach it through the fabric',
      async () => / dev B0 /.test(await wayFrom(stand, 'B', C4)),
      () => wayFrom(stand, 'B', C4),
    );

    // Nobody has heard the server at B, and its link there is down: G turns to B, and packets wait.
    stand.cables(['B2'], false);
    const early = await stand.probing(async () => {
      stand.cables(['A2'], false);
      await untilAt(stand, C4, 'B');
      await stand.until(
        'packets wait at B',
        async () => (await room(stand, 'B')).waited! > 10,
        () => room(stand, 'B'),
      );
      t.deepEqual(await shadowsOf(stand, 'B'), OF_A, 'B has not heard it');
      t.is((await room(stand, 'B')).delivered, 0);
      stand.cables(['B2'], true);
      await stand.until('it is heard at B', async () => !(await shadowsOf(stand, 'B')).includes(C4));
      await stand.until('they are delivered', async () => (await room(stand, 'B')).delivered! > 10);
    });
    await stand.until(
      'all that waited has come to the server',
      async () => {
        const { waited, delivered } = await room(stand, 'B');
        return delivered === waited;
      },
      () => room(stand, 'B'),
    );
    t.is((await room(stand, 'B')).expired, 0);
    await untilAt(stand, C4, 'B');
    t.deepEqual(
      Object.entries(early).flatMap(([server, { lost }]) => (server !== 'C4' && lost > 0 ? [[server, lost]] : [])),
      [],
    );
    t.deepEqual(await shadowsOf(stand, 'A'), OF_B, 'A does not stand by for a server whose link to it is down');

    // Back, and once more with the server's own switch-over: figure 7.
    const back = await stand.probing(async () => {
      stand.cables(['A2'], true);
      await stand.untilHome();
      await untilShadows(stand, 'B', OF_A);
    });
    if (!slow) t.is(back.C4.lost, 0, 'the way back loses nothing');
    const fault = await stand.probing(async () => {
      stand.cables(['A2'], false);
      await untilAt(stand, C4, 'B');
      await stand.until('it is a host of B', async () => !(await shadowsOf(stand, 'B')).includes(C4));
    });
    t.log(`figure 7: ${fault.C4.lost} packets lost`);
    t.is((await room(stand, 'B')).expired, 0);
    stand.cables(['A2'], true);
    await stand.untilHome();

    // Figure 10: A has shut its servers' ports, so it stands by for nobody.
    stand.cables(['A0'], false);
    for (const address of OF_A) await untilAt(stand, address, 'B');
    await untilShadows(stand, 'A', []);
    stand.cables(['A0'], true);
    await stand.untilHome();
    await untilShadows(stand, 'A', OF_B);
    await untilShadows(stand, 'B', OF_A);
    await noDefects(t, stand);
  });
}

test.serial(
  'R4.5 R4.7 shadows: of a server that is nowhere nothing is left; they outlive the agent, and cleanup',
  async (t) => {
    t.timeout(300_000);
    const stand = await up({ gateway: 'frr', protocol: 'bgp' }, '2s');
    t.teardown(() => stand.down());
    await stand.untilHome();
    await untilShadows(stand, 'B', OF_A);

    stand.cables(['A2', 'B2'], false);
    await untilShadows(stand, 'B', ['10.10.10.1']);
    await untilAt(stand, C4, undefined);
    stand.cables(['A2', 'B2'], true);
    await stand.untilHome();
    await untilShadows(stand, 'B', OF_A);

    const { length } = await rulesOf(stand, 'B');
    t.true(length >= 1);
    const probed = await stand.probing(async () => {
      await stand.signal('SIGKILL', 'B');
      t.is((await rulesOf(stand, 'B')).length, length, 'a crash takes nothing along');
      await stand.start({ tor: 'B' });
      await stand.untilHome();
      await untilShadows(stand, 'B', OF_A);
    });
    t.deepEqual(
      Object.values(probed).map(({ lost }) => lost),
      [0, 0, 0, 0],
    );
    t.is((await rulesOf(stand, 'B')).length, length);
    const shadows = async () => (await stand.counters('B'))['kernel.shadows'];
    await stand.until('both are in the kernel', async () => (await shadows())?.hosts === 2, shadows);

    await stand.signal('SIGKILL', 'B');
    const { code, stdout } = await stand.cli(['cleanup', '--config', stand.configFile('B')], 'B');
    t.is(code, 0, stdout);
    t.regex(stdout, /rules and routes for shadows/);
    t.deepEqual(await rulesOf(stand, 'B'), []);
    await stand.start({ tor: 'B' });
    await untilShadows(stand, 'B', OF_A);
    await stand.signal('SIGTERM', 'B');
    t.deepEqual(await rulesOf(stand, 'B'), [], 'who is stopped takes all of it along');
    await noDefects(t, stand);
  },
);
