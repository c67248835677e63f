/**
 * R4.1 R4.5: a server that uses both its links at once, and a gateway (FRR) that balances. Only its own prefixes are
 * configured so.
 */
import test from 'ava';
import type { TorName } from '../../lab/topology/plan.ts';
import type { EventView, HostView } from '../../src/agent/api.ts';
import { Stand } from './stand.ts';

const BOTH = '10.10.10.2';
const VM = '10.10.10.20';

for (const protocol of ['bgp', 'ospf'] as const) {
  test.serial(
    `R4.1 R4.5 active-active by prefix, FRR with ${protocol}: both announce, a dead link takes its own away`,
    async (t) => {
      t.timeout(300_000);
      const stand = await Stand.up({ protocol, gateway: 'frr', variant: 'active-active' });
      try {
        for (const tor of ['A', 'B'] as const) {
          stand.editConfig((config) => {
            config.hostRoutes.activeActive = { prefixes: [`${BOTH}/32`, '10.10.10.16/28'] };
          }, tor);
          t.is((await stand.cli(['config', 'reload'], tor)).code, 0);
        }
        const at = async (address: string): Promise<string> => ((await stand.fib())[address] ?? []).toSorted().join();
        const host = async (tor: TorName, address: string): Promise<HostView | undefined> =>
          (await stand.hosts(tor)).find((each) => each.address === address);
        const until = (address: string, tors: string, patience?: number) =>
          stand.until(
            `${address} is behind ${tors}`,
            async () => (await at(address)) === tors,
            () => stand.fib(),
            patience,
          );

        await until(BOTH, 'A,B');
        t.deepEqual([(await host('A', BOTH))?.level, (await host('B', BOTH))?.level], [0, 0]);
        await stand.addAddress('C4', VM);
        await stand.until('both know the VM', async () => Boolean((await host('A', VM)) && (await host('B', VM))));
        await until(VM, 'A,B');

        t.log('the link of A2 dies');
        const before = await host('B', BOTH);
        const seen = (await stand.events('B')).length;
        stand.cables(['A2'], false);
        await until(BOTH, 'B');
        t.is(await host('A', BOTH), undefined);
        const after = await host('B', BOTH);
        t.is(after?.state, 'reachable');
        t.true(after!.ageMs >= before!.ageMs, 'B has kept it all the time');
        const changes = (events: EventView[]) =>
          events.slice(seen).filter(({ type, fields }) => type.startsWith('host.') && fields.address === BOTH);
        t.deepEqual(
          changes(await stand.events('B')).map(({ message }) => message),
          [],
        );

        t.log('and comes back');
        stand.cables(['A2'], true);
        await until(BOTH, 'A,B');
        t.deepEqual([(await host('A', BOTH))?.level, (await host('B', BOTH))?.level], [0, 0]);

        t.log("the server's address leaves without a word: both find out by asking");
        await stand.removeAddress('C4', VM);
        await stand.until('the VM is gone', async () => (await at(VM)) === '');
        t.is(await at(BOTH), 'A,B');
      } finally {
        await stand.down();
      }
    },
  );
}
