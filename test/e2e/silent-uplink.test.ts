/**
 * An uplink that is up but dead, on real kernels and gateways: nothing passes on the link G-A in either direction, both
 * ends keep their carrier, and nothing that A says reaches G any more.
 */
import test from 'ava';
import { type GatewayKind, labRun, type Protocol } from '../../lab/index.ts';
import type { GroupView } from '../../src/agent/api.ts';
import { Stand } from './stand.ts';

const STANDS: readonly { readonly gateway: GatewayKind; readonly protocol: Protocol }[] = [
  { gateway: 'frr', protocol: 'bgp' },
  { gateway: 'frr', protocol: 'ospf' },
  { gateway: 'bird', protocol: 'bgp' },
  { gateway: 'bird', protocol: 'ospf' },
];

for (const { gateway, protocol } of STANDS) {
  test.serial(
    `R4.6 upWhen nexthop: a silent uplink moves the servers, and comes back by itself: ${gateway}, ${protocol}`,
    async (t) => {
      t.timeout(240_000);
      const stand = await Stand.up({ gateway, protocol, variant: 'silent-uplink' });
      t.teardown(() => stand.down());
      const { runs, problems } = await labRun({
        name: stand.name,
        runs: 1,
        cases: ['silent-uplink'],
        keepSettings: true,
      });
      t.deepEqual(problems, []);
      t.deepEqual(
        runs.map(({ phase }) => phase),
        ['fault', 'back'],
      );
      for (const phase of runs) {
        t.log(
          `${phase.phase}: ${phase.lost} packets lost, outage ${phase.outage.toFixed(0)} ms, G after ${phase.converged?.toFixed(0)} ms`,
        );
        t.deepEqual(phase.moved, ['10.10.10.1', '10.10.10.2']);
        t.deepEqual(phase.unexpected, []);
        t.deepEqual(phase.failures, []);
        t.is(phase.lostElsewhere, 0, phase.lossesElsewhere.join('; '));
      }
      // BIRD computes OSPF routes once a second, whatever it is told.
      if (!(gateway === 'bird' && protocol === 'ospf')) t.is(runs[1]!.lost, 0, 'a way back loses nothing');
    },
  );
}

test.serial('R4.6 R4.7 an agent that is restarted while its uplink is silent keeps the ports shut', async (t) => {
  t.timeout(240_000);
  const stand = await Stand.up({ gateway: 'frr', protocol: 'bgp' });
  t.teardown(() => stand.down());
  await stand.untilHome();
  stand.editConfig((config) => {
    config.portLink[0].upWhen = ['carrier', 'nexthop'];
  });
  await stand.signal('SIGTERM');
  await stand.start();
  const answers = async (): Promise<GroupView> => stand.group();
  await stand.until('the next hop answers', async () =>
    (await answers()).uplinks[0]!.verdicts.some(({ reason }) => reason === '192.0.2.1 answers'),
  );
  await stand.until('startup is over', async () => (await answers()).state === 'up');
  await stand.silence('A0', true);
  await stand.until('the ports are shut', async () => (await stand.shutPorts()).length === 4);
  // What it knew of the next hop is written by now, or will not be.
  await stand.until('the hop is remembered', async () =>
    (await stand.exec('A', 'cat', `${stand.directory('A')}/state/nexthops.json`)).stdout.includes('192.0.2.1'),
  );
  await stand.signal('SIGKILL');
  await stand.start();
  await stand.until('the restarted agent knows of the silence', async () =>
    /192\.0\.2\.1 did not answer 3 ARP requests/.test((await answers()).reason),
  );
  t.is((await stand.shutPorts()).length, 4);
  await stand.silence('A0', false);
  await stand.untilHome();
  t.deepEqual(await stand.shutPorts(), []);
});
