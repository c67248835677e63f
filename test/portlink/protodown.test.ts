import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { systemClock } from '../../src/model/clock.ts';
import { isOpen, isUp } from '../../src/model/ports.ts';
import type { Kernel, ShuttingOptions } from '../../src/netlink/index.ts';
import { PortLinkDriver, PortLinkGroups } from '../../src/portlink/index.ts';
import { type Box, cable, eventually, inBoxes, withKernel } from '../netlink/helpers.ts';
import { group } from './support.ts';

/** Downlinks that take protodown, on one lower device each, and an uplink that does not. */
async function inMacvlanBox(names: readonly string[], run: (tor: Box, server: Box) => Promise<void>): Promise<void> {
  await inBoxes(2, async (tor, server) => {
    cable(tor, 'A0', server, 'G0');
    for (const name of names) {
      cable(tor, `low${name}`, server, `C${name}`);
      tor.ip(`link add ${name} link low${name} type macvlan mode bridge`);
      tor.ip(`link set ${name} up`);
    }
    await run(tor, server);
  });
}

const detail = (box: Box, name: string): string => box.ip(`-d link show ${name}`);
const ready = { type: 'upstream', ready: true, reason: '' } as const;
const folder = (t: ExecutionContext): string => {
  const made = mkdtempSync(path.join(tmpdir(), 'protodown-'));
  t.teardown(() => rmSync(made, { recursive: true, force: true }));
  return made;
};

test.serial(
  'R4.6 shut by protodown with our reason: no carrier, and the admin state stays as the operator left it',
  async (t) => {
    await inMacvlanBox(['A1', 'A2'], async (tor) => {
      await withKernel(tor, async (kernel) => {
        await eventually(() => isUp(kernel.port('A1')) && isUp(kernel.port('A2')));
        const promise = kernel.setAdmin(['A1', 'A2'], false);
        // Nothing was awaited yet.
        for (const name of ['A1', 'A2'])
          t.regex(detail(tor, name), /\bUP\b[^>]*>[\s\S]*protodown on protodown_reason <5>/);
        await promise;
        await eventually(() => ['A1', 'A2'].every((name) => /<NO-CARRIER,[^>]*\bUP\b[^>]*>/.test(detail(tor, name))));
        await eventually(() => !isOpen(kernel.port('A1')!));
        t.like(kernel.port('A1'), { adminUp: true, protoDown: true, carrier: false });
        await kernel.setAdmin(['A1', 'A2'], true);
        await eventually(() => isUp(kernel.port('A1')) && isUp(kernel.port('A2')));
        t.notRegex(detail(tor, 'A1'), /protodown/);
      });
    });
  },
);

test.serial('a port that the operator shuts while we hold it in protodown stays shut when we let it go', async (t) => {
  await inMacvlanBox(['A1'], async (tor) => {
    await withKernel(tor, async (kernel) => {
      await kernel.setAdmin(['A1'], false);
      tor.ip('link set A1 down');
      await kernel.setAdmin(['A1'], true);
      t.notRegex(detail(tor, 'A1'), /protodown/);
      t.notRegex(detail(tor, 'A1'), /<[^>]*\bUP\b/);
    });
  });
});

test.serial('the protodown of others is never cleared: with a reason of theirs, and without any', async (t) => {
  await inMacvlanBox(['A1', 'A2'], async (tor) => {
    await withKernel(tor, async (kernel) => {
      await kernel.setAdmin(['A1'], false);
      tor.ip('link set A1 protodown_reason 7 on');
      await kernel.setAdmin(['A1'], true);
      t.regex(detail(tor, 'A1'), /protodown on protodown_reason <7>/);

      tor.ip('link set A2 protodown on');
      await eventually(() => kernel.port('A2')?.protoDown === true);
      await kernel.setAdmin(['A2'], false);
      t.notRegex(detail(tor, 'A2'), /<[^>]*\bUP\b/, 'ours by the admin state');
      await kernel.setAdmin(['A2'], true);
      t.regex(detail(tor, 'A2'), /<[^>]*\bUP\b/);
      t.regex(detail(tor, 'A2'), /protodown on/);
    });
  });
});

test.serial(
  'a device that refuses protodown is shut by its admin state in the same turn; one batch for both kinds',
  async (t) => {
    await inMacvlanBox(['A1'], async (tor, server) => {
      cable(tor, 'A2', server, 'C2');
      await withKernel(tor, async (kernel) => {
        await eventually(() => isUp(kernel.port('A2')));
        for (const round of [1, 2]) {
          const promise = kernel.setAdmin(['A2', 'A1'], false);
          t.regex(detail(tor, 'A1'), /protodown on/, `round ${round}`);
          t.notRegex(detail(tor, 'A2'), /<[^>]*\bUP\b/, `round ${round}`);
          await promise;
          await kernel.setAdmin(['A2', 'A1'], true);
          await eventually(() => isUp(kernel.port('A1')) && isUp(kernel.port('A2')));
        }
      });
    });
  },
);

test.serial('the method and the reason are choices: admin, protodown alone, another bit', async (t) => {
  await inMacvlanBox(['A1'], async (tor, server) => {
    cable(tor, 'A2', server, 'C2');
    const withMethod = async (shutting: ShuttingOptions, run: (kernel: Kernel) => Promise<void>) =>
      withKernel(tor, run, { shutting });
    await withMethod({ method: 'admin' }, async (kernel) => {
      await kernel.setAdmin(['A1'], false);
      t.notRegex(detail(tor, 'A1'), /<[^>]*\bUP\b|protodown/);
      await kernel.setAdmin(['A1'], true);
    });
    await withMethod({ method: 'protodown', protodownReason: 6 }, async (kernel) => {
      await t.throwsAsync(kernel.setAdmin(['A2', 'A1'], false), { message: /^A2: .*EOPNOTSUPP/ });
      t.regex(detail(tor, 'A1'), /protodown_reason <6>/);
      t.regex(detail(tor, 'A2'), /<[^>]*\bUP\b/);
      await kernel.setAdmin(['A1'], true);
      t.notRegex(detail(tor, 'A1'), /protodown/);
    });
  });
});

test.serial(
  'R4.6 R4.4 a group shuts by protodown and reopens; others who hold the port count as shut by others',
  async (t) => {
    await inMacvlanBox(['A1', 'A2'], async (tor, server) => {
      await withKernel(tor, async (kernel) => {
        await eventually(() => ['A0', 'A1', 'A2'].every((name) => isUp(kernel.port(name))));
        const config = group({ downlinks: ['A1', 'A2'], startupDelay: 0, recoveryDelay: 50 });
        const driver = new PortLinkDriver({
          groups: new PortLinkGroups([config], systemClock.now()),
          ports: kernel,
          links: kernel,
          clock: systemClock,
          log: { debug() {}, info() {}, warn() {}, error() {} },
          stateFile: path.join(folder(t), 'ports.json'),
        });
        t.teardown(kernel.onChange((change) => driver.portChanged(change)));
        driver.start([ready]);
        kernel.watchCarriers([...config.uplinks, ...config.downlinks]);
        await eventually(() => driver.groups.view('fabric')!.state === 'up');
        tor.ip('link set A2 protodown on protodown_reason 6 on');
        await eventually(() => !isOpen(kernel.port('A2')!));
        server.ip('link set G0 down');
        await eventually(() => !isOpen(kernel.port('A1')!));
        t.regex(detail(tor, 'A1'), /<[^>]*\bUP\b[^>]*>.*\n.*protodown on protodown_reason <5>/);
        t.regex(detail(tor, 'A2'), /protodown_reason <6>/, 'already shut by somebody else: not ours');
        server.ip('link set G0 up');
        await eventually(() => isUp(kernel.port('A1')));
        await eventually(() => driver.groups.view('fabric')!.state === 'up');
        t.regex(detail(tor, 'A2'), /protodown on protodown_reason <6>/);
        await driver.stop();
      });
    });
  },
);

test.serial('R4.7 killed while ports are in protodown: the next life finds its own bit and reopens', async (t) => {
  await inMacvlanBox(['A1', 'A2'], async (tor, server) => {
    const stateFile = path.join(folder(t), 'ports.json');
    server.ip('link set G0 down');
    const child = new URL('./protodown-child.ts', import.meta.url).pathname;
    const start = () => spawn(process.execPath, [child, tor.netns, stateFile], { stdio: 'inherit' });
    const first = start();
    await eventually(() => ['A1', 'A2'].every((name) => detail(tor, name).includes('protodown_reason <5>')));
    await eventually(() => existsSync(`${stateFile}.intent`));
    first.kill('SIGKILL');
    await once(first, 'exit');
    t.regex(detail(tor, 'A1'), /protodown_reason <5>/);
    server.ip('link set G0 up');
    const second = start();
    const [code] = await once(second, 'exit');
    t.is(code, 0);
    for (const name of ['A1', 'A2']) {
      t.notRegex(detail(tor, name), /protodown/);
      t.regex(detail(tor, name), /LOWER_UP/);
    }
    t.deepEqual((JSON.parse(readFileSync(stateFile, 'utf8')) as { ports: [] }).ports, []);
  });
});
