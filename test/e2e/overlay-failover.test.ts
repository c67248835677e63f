/** The five systems together: containers on servers behind both switches, plain and encrypted, while links fail. */
import test from 'ava';
import { OverlayLab, type OverlayLabOptions } from '../../lab/overlay/lab.ts';
import { type StepResult, Story } from '../../lab/overlay/story.ts';

const losses = ({ step, pairs }: StepResult): string =>
  `${step}: ${pairs
    .filter(({ underlay, containers }) => underlay + containers > 0)
    .map(
      ({ pair, direction, underlay, containers }) => `${pair} ${direction} hosts ${underlay}, containers ${containers}`,
    )
    .join('; ')}`;

const failovers = async (lab: OverlayLab): Promise<number> =>
  (JSON.parse((await lab.tor('A', ['failovers', '--json'])).stdout) as unknown[]).length;

for (const [title, options] of [
  ['R3.1 R2.2 R4.5 R4.6 rewritten', { fastPath: 'rewrite' }],
  ['R0.1 R2.2 R4.5 R4.6 encrypted, keys rotated in the midst', { fastPath: 'off', encryption: 'overlap' }],
] as const satisfies readonly (readonly [string, Pick<OverlayLabOptions, 'fastPath' | 'encryption'>])[]) {
  test.serial(`${title}: containers lose what their hosts lose, in figures 7 and 10, and no more`, async (t) => {
    t.timeout(240_000);
    const name = `ovl${process.pid}`;
    const lab = await OverlayLab.up({
      name,
      gateway: 'bird',
      protocol: 'bgp',
      onProgress: () => undefined,
      ...options,
    });
    const story = new Story(lab);
    try {
      await lab.untilWhole();
      const encrypted = 'encryption' in options;
      const rotation = { title: 'keys are rotated', work: () => lab.rotate(200) };
      for (const link of ['A2', 'A0'] as const) {
        const before = await failovers(lab);
        const lost = await story.linkLost(link, encrypted ? rotation : undefined);
        t.true(lost.noMore, losses(lost));
        t.true((await failovers(lab)) > before, 'the fault was one');
        await lab.untilWhole();
        await story.linkBack(link);
        await lab.untilWhole();
      }
      for (const { agent } of lab.hosts) {
        const { stdout } = await agent.cli(['host', 'stats', '--json']);
        if (encrypted) t.false(/"sentPlain":\s*[1-9]/.test(stdout), stdout);
        else t.regex(stdout, /"sent":\s*\d{3}/, 'the fast path carried them');
      }
    } finally {
      story.close();
      await lab.down();
    }
  });
}
