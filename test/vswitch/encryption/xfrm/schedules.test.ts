/**
 * Random stories of two hosts whose kernels encrypt: rotations, keys that come back, agents that begin anew or die in the midst of it, SAs that somebody
 * flushes, a kernel that refuses, a network that loses. FakeXfrm throws when a nonce is used twice, when a key is installed that was
 * zeroed, or when an SA goes that a policy names; and nothing may ever leave in plain text.
 */
import test from 'ava';
import { A, B } from '../hosts.ts';
import { seeded } from '../world.ts';
import { state, type XfrmHost, XfrmWorld } from './hosts.ts';

const STORIES = 25;
const STEPS = 60;

for (const policy of ['overlap', 'strict'] as const) {
  test(`R0.1 R0.8 random stories end valid, in cipher, and with no number used twice: ${policy}`, async (t) => {
    for (let seed = 1; seed <= STORIES; seed++) {
      const random = seeded(seed * 7919 + policy.length);
      const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
      const world = new XfrmWorld(policy);
      const hosts: Record<'a' | 'b', XfrmHost> = { a: await world.host(A, [B]), b: await world.host(B, [A]) };
      let number = 0;
      const send = () => {
        hosts.a.kernel.transmit(B, ++number);
        hosts.b.kernel.transmit(A, ++number);
      };
      for (const { keys } of Object.values(hosts)) keys.issue(1);
      for (let step = 0; step < STEPS; step++) {
        const which = pick(['a', 'b'] as const);
        const host = hosts[which];
        switch (
          pick(['issue', 'issue', 'issue', 'only', 'none', 'restart', 'crash', 'flush', 'refuse', 'lossy', 'wait'])
        ) {
          case 'issue':
            host.keys.issue(pick([1, 2, 3, 4]), pick([0, 0, 1]));
            break;
          case 'only':
            host.keys.only(pick([1, 2, 3, 4]));
            break;
          case 'none':
            host.keys.none();
            break;
          case 'restart':
            await host.encryption.close({ keep: true });
            hosts[which] = await world.host(host.address, [host.address === A ? B : A], host);
            break;
          case 'crash':
            host.crash();
            hosts[which] = await world.host(host.address, [host.address === A ? B : A], host);
            break;
          case 'flush':
            host.kernel.states.clear();
            host.lost();
            break;
          case 'refuse':
            host.kernel.refuse =
              random() < 0.3 ? ({ op }) => (op === 'add-sa' ? 'ENOMEM' : undefined) : () => undefined;
            break;
          case 'lossy':
            world.passes = random() < 0.5 ? () => random() < 0.5 : () => true;
            break;
        }
        for (let packet = 0; packet < 5; packet++) {
          send();
          await world.run(pick([0.3, 2, 20, 300]));
        }
      }
      world.passes = () => true;
      for (const host of Object.values(hosts)) host.kernel.refuse = () => undefined;
      for (const { keys } of Object.values(hosts)) keys.only(9);
      await world.run(15_000);
      const got = { a: hosts.a.kernel.delivered.length, b: hosts.b.kernel.delivered.length };
      send();
      await world.run(10);
      const told = `seed ${seed}`;
      t.deepEqual([state(hosts.a, B).state, state(hosts.b, A).state], ['valid', 'valid'], told);
      t.is(hosts.a.kernel.delivered.length, got.a + 1, told);
      t.is(hosts.b.kernel.delivered.length, got.b + 1, told);
      t.deepEqual([hosts.a.table.problems(), hosts.b.table.problems()], [[], []], told);
      t.false(
        world.capture.some(({ port }) => port === 4789),
        told,
      );
    }
  });
}
