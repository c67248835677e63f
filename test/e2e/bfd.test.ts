/**
 * BFD between the agents and a gateway whose routing protocols ask for it: a link that is up but dead is found within its
 * detection time, a restart that was announced is not noticed, and what G begins anew is no reason to shut ports.
 */
import test from 'ava';
import { type CaseName, type GatewayKind, labRun } from '../../lab/index.ts';
import type { BfdSessionView } from '../../src/agent/api.ts';
import { Stand } from './stand.ts';

const sessions = (stand: Stand): Promise<BfdSessionView[]> => stand.ask('/v1/bfd');
/** BIRD is asked to miss a restart in test/bfd. */
const CASES: Readonly<Record<GatewayKind, readonly CaseName[]>> = {
  frr: ['silent-uplink-bfd', 'restart-bfd'],
  bird: ['silent-uplink-bfd'],
  peerless: ['silent-uplink-bfd'],
};

for (const gateway of ['frr', 'bird', 'peerless'] as const) {
  test.serial(
    `R4.6 R4.7 upWhen bfd: a silent uplink moves the servers and comes back by itself: ${gateway}`,
    async (t) => {
      t.timeout(240_000);
      const stand = await Stand.up({ gateway, protocol: 'both', variant: 'silent-uplink-bfd' });
      t.teardown(() => stand.down());
      const { runs, problems } = await labRun({
        name: stand.name,
        runs: 1,
        cases: CASES[gateway],
        keepSettings: true,
      });
      t.deepEqual(problems, []);
      t.deepEqual(
        runs.map(({ phase }) => phase),
        ['fault', 'back', ...(gateway === 'frr' ? ['planned'] : [])],
      );
      for (const phase of runs) {
        t.log(`${phase.phase}: ${phase.lost} packets lost, outage ${phase.outage.toFixed(0)} ms`);
        t.deepEqual(phase.unexpected, []);
        t.deepEqual(phase.failures, []);
        t.is(phase.lostElsewhere, 0, phase.lossesElsewhere.join('; '));
      }
      t.deepEqual(runs[0]!.moved, ['10.10.10.1', '10.10.10.2']);
      t.is(runs[2]?.lost ?? 0, 0, 'a planned restart loses nothing');
    },
  );
}

test.serial(
  'R4.6 R4.7 FRR: one session for both protocols, live; what it begins anew shuts no port; a crash beside a silent uplink',
  async (t) => {
    t.timeout(240_000);
    const stand = await Stand.up({ gateway: 'frr', protocol: 'both', variant: 'silent-uplink-bfd' });
    t.teardown(() => stand.down());
    const up = () =>
      stand.until(
        'BFD is Up',
        async () => (await sessions(stand)).some(({ state }) => state === 'Up'),
        () => sessions(stand),
      );
    await up();
    // RFC 5880 §6.8.3: slow until Up; the quick intervals are agreed on by a poll of each side afterwards.
    await stand.until(
      'the intervals are agreed on',
      async () => {
        const [session] = await sessions(stand);
        return session?.transmitInterval === 100 && session.detectionTime === 300 && session.clients.length === 2;
      },
      () => sessions(stand),
    );
    t.like(await sessions(stand), [{ peer: '192.0.2.1', interface: 'A0', clients: ['ospf', 'bgp'] }]);
    const listing = await stand.cli(['bfd']);
    t.regex(listing.stdout, /192\.0\.2\.1\s+A0\s+Up\s+Up .* ospf,bgp/);
    t.regex((await stand.cli(['status'])).stdout, /bfd\s+192\.0\.2\.1\s+A0\s+Up/);
    t.is(JSON.parse((await stand.cli(['bfd', '--json'])).stdout)[0].state, 'Up');
    const full = async () =>
      (await stand.status()).sessions.some(({ protocol, state }) => protocol === 'ospf' && state === 'Full');
    await stand.until('OSPF is Full', full);

    await stand.frr('clear ip ospf neighbor');
    await stand.until('FRR has begun its session anew', async () =>
      (await stand.events()).some(({ type, message }) => type === 'bfd.down' && message.includes('the peer has')),
    );
    await stand.until('OSPF is Full again', full);
    await up();
    const before = (await sessions(stand))[0]!.localDiscriminator;
    stand.editConfig((config) => {
      config.bfd = { interval: '200ms', multiplier: 4 };
    });
    await stand.signal('SIGHUP');
    await stand.until(
      'the new interval is agreed on',
      async () => {
        const [session] = await sessions(stand);
        return session?.transmitInterval === 200 && session.detectionTime === 600;
      },
      () => sessions(stand),
    );
    t.is((await sessions(stand))[0]!.localDiscriminator, before, 'by the session that there is');

    t.deepEqual(await stand.shutPorts(), []);
    const events = await stand.events();
    t.deepEqual(
      events.filter(({ type }) => type === 'portlink.shut').map(({ message }) => message),
      [],
    );
    t.is((await stand.counters()).bfd!.failures ?? 0, 0);
    t.deepEqual((await stand.status()).warnings, []);

    // R4.7: a crash while the uplink is silent.
    await stand.silence('A0', true);
    await stand.until('the ports are shut', async () => (await stand.shutPorts()).length === 4);
    await stand.until('the session is remembered', async () =>
      (await stand.exec('A', 'cat', `${stand.directory('A')}/state/bfd.json`)).stdout.includes('192.0.2.1'),
    );
    await stand.signal('SIGKILL');
    await stand.start();
    await stand.until('the restarted agent knows of the silence', async () =>
      /BFD with 192\.0\.2\.1 is Down/.test((await stand.group()).reason),
    );
    t.is((await stand.shutPorts()).length, 4);
    await stand.silence('A0', false);
    await stand.untilHome();
    await up();
  },
);
