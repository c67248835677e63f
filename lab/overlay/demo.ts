/**
 * `./run demo --host` and `./run demo --all`: containers on three servers behind the switches A and B talk to each other
 * while links fail; `--all` encrypts what they say, rotates the keys in the midst of a failover, and drains A afterwards.
 * Exit code 1 when the containers lost more than the hosts below them.
 */
import { parseArgs } from 'node:util';
import { claimLab, LabTakenError } from '../claim.ts';
import { OverlayLab } from './lab.ts';
import { renderSteps, renderTimeline } from './page.ts';
import { type StepResult, Story } from './story.ts';
import { tellings } from './tellings.ts';

const USAGE = `usage: ./run demo --host | --all [--gateway bird|frr] [--fast-path rewrite|tunnel|off] [--json]

  --host          containers on the servers of the worked example, attached by the CNI plugin
  --all           the same encrypted, with a rotation of keys in the midst of a failover, and a drain afterwards
  --gateway KIND  what routes on G (default bird)
  --fast-path M   how the hosts' fast path carries packets (default rewrite; --all: off, the worker encrypts)
  --json          the results as JSON on standard output
`;

const NAME = 'overlay';

/** Each step begins with everybody reaching everybody: what one step did is not counted for the next. */
async function tellStory(story: Story, all: boolean, lab: OverlayLab): Promise<StepResult[]> {
  const rotation = { title: 'and the keys are rotated', work: () => lab.rotate(300) };
  const tale = [
    () => story.quiet(),
    () => story.linkLost('A2'),
    () => story.linkBack('A2'),
    () => story.linkLost('A0', all ? rotation : undefined),
    () => story.linkBack('A0'),
    ...(all ? [() => story.rotate(), () => story.drain(), () => story.undrain()] : []),
  ];
  const steps: StepResult[] = [];
  for (const tell of tale) {
    await lab.untilWhole();
    const step = await tell();
    steps.push(step);
    process.stderr.write(`${step.step}: done\n`);
  }
  return steps;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      host: { type: 'boolean', default: false },
      all: { type: 'boolean', default: false },
      gateway: { type: 'string', default: 'bird' },
      'fast-path': { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const { gateway, all, 'fast-path': fastPath = all ? 'off' : 'rewrite' } = values;
  if (
    (gateway !== 'bird' && gateway !== 'frr') ||
    (fastPath !== 'rewrite' && fastPath !== 'tunnel' && fastPath !== 'off')
  ) {
    process.stderr.write(USAGE);
    return 2;
  }
  const onProgress = (text: string): void => {
    process.stderr.write(`${text}\n`);
  };
  claimLab(NAME, `./run demo ${all ? '--all' : '--host'}`);
  const common = { name: NAME, gateway, protocol: 'bgp', fastPath, onProgress } as const;
  const lab = await OverlayLab.up({ ...common, ...(all ? { encryption: 'overlap' as const } : {}) });
  const story = new Story(lab);
  try {
    const steps = await tellStory(story, all, lab);
    const told = await tellings(lab);
    process.stdout.write(
      values.json
        ? `${JSON.stringify({ steps, told }, null, 2)}\n`
        : `\n${renderTimeline(steps, told)}\n\n${renderSteps(steps)}\n`,
    );
    return steps.every(({ noMore }) => noMore) ? 0 : 1;
  } finally {
    story.close();
    await lab.down();
  }
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    const taken = error instanceof LabTakenError;
    process.stderr.write(taken ? `demo: ${error.message}\n` : `${(error as Error).stack ?? error}\n`);
    process.exitCode = taken ? 2 : 1;
  },
);
