/** How soon two ends encrypt again, both ways, once their versions have met: at whatever moment of their disagreement. */
import test from 'ava';
import type { Policy } from '../../../src/vswitch-bridge/encryption/machine/settings.ts';
import { Pair } from './hosts.ts';

/** 0.5 ms each way, and the gap that an end leaves between two dedicated packets. */
const ROUND_TRIP = 1;
const APART = 5;
const SENDERS = { nobody: [], 'one end': ['a'], both: ['a', 'b'] } as const;

for (const policy of ['available', 'overlap', 'strict'] as const satisfies readonly Policy[]) {
  for (const [who, senders] of Object.entries(SENDERS)) {
    test(`R0.7 R0.8 versions meet: both ends encrypt within a round trip, whenever it is: ${policy}, data from ${who}`, async (t) => {
      const late: string[] = [];
      for (const [first, second] of [
        ['a', 'b'],
        ['b', 'a'],
      ] as const) {
        // Through the gaps between repeated packets (20 ms and doubling), and far beyond them.
        for (const apart of [0.2, 3, 7, 12, 21, 33, 48, 77, 95, 110, 160, 255, 400, 1100, 2600, 11_000]) {
          const pair = await Pair.make(policy);
          for (const host of [pair.a, pair.b]) host.keys.only(1);
          pair.run(50);
          pair[first].keys.only(2);
          const met = pair.clock.now() + apart;
          for (const sender of senders) pair.flow(() => pair[sender], 0, Math.ceil(Math.min(apart, 500) / 5) + 20, 5);
          pair.run(apart);
          pair[second].keys.only(2);
          pair.run(ROUND_TRIP + APART + 0.01);
          const views = [pair.a, pair.b].map(({ encryption }) => encryption.view()[0]!);
          const fine = views.every(({ state, sending }) => state === 'valid' && sending === 'encrypt');
          if (!fine) late.push(`${first} first, ${apart} ms: ${views.map((view) => `${view.state} ${view.sending}`)}`);
          const from = pair.clock.now();
          pair.send(pair.a, 9_000_001);
          pair.send(pair.b, 9_000_001);
          pair.run(2);
          const arrived = [pair.a, pair.b].every((host) => pair.got(host).some(({ number }) => number === 9_000_001));
          if (!arrived) late.push(`${first} first, ${apart} ms: lost at ${from - met} ms`);
        }
      }
      t.deepEqual(late, []);
    });
  }
}
