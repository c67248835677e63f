import { execFileSync } from 'node:child_process';
import test from 'ava';
import { Lldpcli } from '../../../src/agent/lldp/index.ts';
import { systemClock } from '../../../src/model/clock.ts';

const silent = () => undefined;
const quiet = { debug: silent, info: silent, warn: silent, error: silent };

test('LLDP: a program that can not be started is an answer that is missing, and no more', async (t) => {
  // Node throws for it, as it does for ENOMEM.
  const source = new Lldpcli('/proc/self/exe', systemClock, quiet, 'no\0program');
  t.is(await source.look(), undefined);
  t.is(await source.look(), undefined);
  source.close();
});

test('LLDP: without a file descriptor left the agent goes on', (t) => {
  const folder = new URL('../../../src/', import.meta.url).pathname;
  const script = `
    import { closeSync, openSync } from 'node:fs';
    import { Lldpcli } from '${folder}agent/lldp/index.ts';
    import { systemClock } from '${folder}model/clock.ts';
    const silent = () => undefined;
    const log = { debug: silent, info: silent, warn: silent, error: silent };
    const source = new Lldpcli('/proc/self/exe', systemClock, log, 'cat');
    const held = [];
    try { for (;;) held.push(openSync('/dev/null')); } catch (error) { console.log(error.code); }
    console.log(await source.look());
    await new Promise((resolve) => setTimeout(resolve, 50));
    for (const fd of held) closeSync(fd);
    source.look();
    setTimeout(() => { source.close(); console.log('goes on'); }, 50);
  `;
  const words = ['-c', 'ulimit -n 64; exec "$@"', 'sh', process.execPath, '--conditions=source'];
  const out = execFileSync('sh', [...words, '--input-type=module', '-e', script], { encoding: 'utf8' });
  t.is(out, 'EMFILE\nundefined\ngoes on\n');
});
