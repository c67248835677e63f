/** R4.8 in both families: the sessions of the observer go by IPv4, and hosts of IPv6 come in them too. */
import test from 'ava';
import { SERVERS } from '../../lab/topology/plan.ts';
import { type Observer, observerByBgp } from './observer.ts';
import { Stand } from './stand.ts';

let stand: Stand;
let observer: Observer;

test.before(async (t) => {
  t.timeout(180_000);
  stand = await Stand.up({ protocol: 'bgp', gateway: 'frr', families: [4, 6] });
  await stand.untilHome();
  observer = await observerByBgp(stand);
  await observer.start();
});

test.after.always(async () => {
  await observer?.stop();
  await stand?.down();
});

async function untilTrue(): Promise<void> {
  let wrong: unknown;
  await stand.until(
    'the map is true',
    async () => {
      for (const address of SERVERS.flatMap((server) => [server.address, server.address6])) {
        const row = await observer.row(address).catch(() => undefined);
        const truth = await observer.truth(address);
        const [hop] = row?.nextHops ?? [];
        wrong = { address, row, truth };
        if (row?.state !== 'up' || hop?.port !== truth?.dev || hop?.via !== truth?.via) return false;
        if (row.places[0]?.gatewayPort?.port !== truth?.dev) return false;
      }
      return true;
    },
    () => wrong,
  );
}

test.serial('R4.8: IPv6 hosts stand in the map beside IPv4 ones, before and after the server-link', async (t) => {
  t.timeout(180_000);
  await untilTrue();
  stand.cables(['A2'], false);
  for (const address of ['10.10.10.2', '2001:db8:10::2']) {
    await stand.until(
      `${address} has moved`,
      async () => (await observer.text(address)) === 'up GB B B0 B2 | down GA A A0 A2:down',
      () => observer.row(address),
    );
  }
  await untilTrue();
  const why = async () => (await observer.place('2001:db8:10::2', 'A'))?.why;
  await stand.until('the reason is told', async () => (await why()) === 'A2 lost carrier', why);
  t.pass();
});
