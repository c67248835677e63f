/** R4.4: a group never acts when all its information is lost. A real kernel drops notifications of a blocked reader. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { systemClock } from '../../src/model/clock.ts';
import type { Log } from '../../src/model/log.ts';
import { Kernel } from '../../src/netlink/index.ts';
import { PortLinkDriver, PortLinkGroups } from '../../src/portlink/index.ts';
import { group } from './support.ts';

const ip = (words: string, input?: string) =>
  execFileSync('ip', words.split(' '), { encoding: 'utf8', ...(input === undefined ? {} : { input }) });
const quiet: Log = { debug() {}, info() {}, warn() {}, error() {} };

test.serial(
  'R4.4 notifications overflow: the group freezes with an alarm, and acts on what was read anew',
  async (t) => {
    const netns = `vdb${process.pid}`;
    ip(`netns add ${netns}`);
    const directory = mkdtempSync(join(tmpdir(), 'peerless-blind-'));
    t.teardown(() => {
      ip(`netns del ${netns}`);
      rmSync(directory, { recursive: true });
    });
    ip(`-n ${netns} link add A0 type veth peer name X0`);
    ip(`-n ${netns} link add A1 type veth peer name X1`);
    for (const name of ['A0', 'X0', 'A1', 'X1']) ip(`-n ${netns} link set ${name} up`);
    const kernel = await Kernel.open({ netns, receiveBuffer: 16 * 1024 });
    t.teardown(() => kernel.close());
    const story: string[] = [];
    const config = group({ downlinks: ['A1'], startupDelay: 0, recoveryDelay: 0 });
    const driver = new PortLinkDriver({
      groups: new PortLinkGroups([config], systemClock.now()),
      ports: { setAdmin: (ports, up) => kernel.setAdmin(ports, up) },
      links: kernel,
      clock: systemClock,
      log: quiet,
      stateFile: join(directory, 'ports.json'),
      onEffect: (effect) => {
        if (effect.type === 'alarm') story.push(effect.reason);
        if (effect.type === 'shut') story.push(`shut ${effect.ports.join()}`);
      },
    });
    kernel.onChange((change) => driver.portChanged(change));
    kernel.onBlind((blind, reason) => {
      if (!blind) story.push('seen');
      driver.handle({ type: 'blind', blind, reason });
    });
    driver.start([{ type: 'upstream', ready: true, reason: '' }]);
    t.is(driver.groups.view('fabric')!.state, 'up');

    // This process is blocked while the uplink dies and the buffer fills: it hears of neither.
    const noise = Array.from({ length: 400 }, (_, round) => `link set A1 alias round${round}`).join('\n');
    ip(`-n ${netns} -batch -`, `${noise}\nlink set X0 down\n${noise}\n`);
    const until = Date.now() + 20_000;
    while (!story.some((line) => line.startsWith('shut')) && Date.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    t.regex(story[0]!, /^frozen: the kernel dropped notifications/);
    const shut = story.indexOf('shut A1');
    const seen = story.indexOf('seen');
    t.true(seen > 0 && shut > seen, story.join('; '));
    await driver.settled();
    t.true(JSON.parse(ip(`-n ${netns} -j link show A1`))[0].flags.includes('UP') === false);
    await driver.stop();
  },
);
