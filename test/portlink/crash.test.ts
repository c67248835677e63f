import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';

const ip = (...parameters: string[]): string => execFileSync('ip', parameters, { encoding: 'utf8' });
const child = fileURLToPath(new URL('./crash-child.ts', import.meta.url));

/** SIGKILL at each instant around the batch, with real ports; then a second run with the uplink back. */
for (const at of ['before-batch', 'after-batch', 'after-snapshot'] as const) {
  test.serial(`R4.7 SIGKILL ${at}: no port stays shut, and an operator's shut port stays his`, (t) => {
    const netns = `plink-${process.pid}-${at}`;
    const folder = mkdtempSync(path.join(tmpdir(), 'portlink-crash-'));
    ip('netns', 'add', netns);
    t.teardown(() => {
      ip('netns', 'del', netns);
      rmSync(folder, { recursive: true, force: true });
    });
    for (const port of ['A0', 'A1', 'A2', 'A3']) {
      ip('-n', netns, 'link', 'add', port, 'type', 'veth', 'peer', 'name', `${port}p`);
      ip('-n', netns, 'link', 'set', port, 'up');
      ip('-n', netns, 'link', 'set', `${port}p`, 'up');
    }
    ip('-n', netns, 'link', 'set', 'A3', 'down'); // its operator's
    const run = (mode: string) =>
      spawnSync(process.execPath, ['--conditions=source', child, netns, path.join(folder, 'state.json'), mode], {
        encoding: 'utf8',
        timeout: 60_000,
      });
    ip('-n', netns, 'link', 'set', 'A0p', 'down');
    const first = run(at);
    t.is(first.signal, 'SIGKILL', first.stderr);
    const down = () =>
      ['A1', 'A2', 'A3'].filter((port) => !/<[^>]*\bUP\b[^>]*>/.test(ip('-n', netns, 'link', 'show', port)));
    t.deepEqual(down(), at === 'before-batch' ? ['A3'] : ['A1', 'A2', 'A3']);
    ip('-n', netns, 'link', 'set', 'A0p', 'up');
    const second = run('recover');
    t.is(second.status, 0, second.stderr);
    t.deepEqual(down(), ['A3']);
  });
}
