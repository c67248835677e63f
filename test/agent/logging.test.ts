import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { makeLogger } from '../../src/agent/logging.ts';

test('what went wrong is in the log, with its message', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'peerless-log-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'agent.log');
  makeLogger('info', file).error({ err: new Error('line 7: soonish is no duration') }, 'refused');
  let text = '';
  while (!text.endsWith('\n')) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    text = readFileSync(file, { encoding: 'utf8', flag: 'a+' });
  }
  t.is((JSON.parse(text) as { err: { message: string } }).err.message, 'line 7: soonish is no duration');
});
