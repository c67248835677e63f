import test from 'ava';
import type { Policy } from '../../../src/vswitch-bridge/encryption/machine/settings.ts';
import { play } from './schedules.ts';
import { key, seeded, World } from './world.ts';

test('R0.8 whatever was lost, doubled, reordered, restarted or rotated: both ends are valid once versions have met and packets flow', (t) => {
  const seen = { available: 0, overlap: 0, strict: 0 };
  let plain = 0;
  for (let seed = 1; seed <= 2000; seed++) {
    let outcome: ReturnType<typeof play>;
    try {
      outcome = play(seed);
    } catch (error) {
      t.fail(`seed ${seed}: ${(error as Error).message}`);
      return;
    }
    seen[outcome.policy]++;
    plain += outcome.packets.plain;
  }
  for (const [policy, count] of Object.entries(seen)) t.true(count > 400, policy);
  t.true(plain > 1000, 'the stories have what they are about');
});

for (const policy of ['available', 'overlap', 'strict'] as const satisfies readonly Policy[]) {
  test(`R0.4 forged and replayed packets change no version, let nothing out in plain text and lose nothing: ${policy}`, (t) => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = seeded(seed);
      const world = new World({ settings: { policy }, random });
      world.a.setKeys([key(1, 1)]);
      world.b.setKeys([key(1, 1)]);
      world.flow('a', 'udp', 5, 200);
      world.flow('b', 'tcp', 5, 200, 1000);
      for (let count = 0; count < 50; count++) {
        world.run(world.now + random() * 20);
        const to = world[random() < 0.5 ? 'a' : 'b'];
        const recorded = world.capture[Math.floor(random() * world.capture.length)]!;
        const id = { version: Math.floor(random() * 4), fp12: Math.floor(random() * 4096) };
        const fake = { id, payload: -1, protocol: 'udp' as const };
        const dice = random();
        if (dice < 0.4) to.receive(recorded.packet);
        else if (dice < 0.6) to.receive({ form: 'plain', off: random() < 0.5, ...fake });
        else if (dice < 0.8) to.receive({ form: 'encrypted', traffic: 'forged', sequence: 1, ...fake });
        else if (recorded.packet.form === 'control') {
          const off = {
            ...recorded.packet.packet,
            off: true,
            held: [{ version: 9, fingerprint: 9 }],
            counter: 10n ** 9n,
          };
          to.receive({ form: 'control', packet: off, secrets: [0] });
        }
      }
      world.run(world.now + 3000);
      t.false(world.capture.some(({ packet }) => packet.form === 'plain'));
      for (const end of [world.a, world.b]) {
        t.is(end.delivered.length, 200, `seed ${seed}: ${end.name}`);
        t.is(new Set(end.delivered.map(({ payload }) => payload)).size, 200);
        t.is(end.machine.state, 'valid');
      }
    }
  });
}
