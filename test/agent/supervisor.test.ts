import type { spawn } from 'node:child_process';
import test from 'ava';
import { notify } from '../../src/agent/supervisor.ts';

test.serial('a box that has no room for one more process lets the agent leave in order all the same', (t) => {
  process.env.NOTIFY_SOCKET = '/run/none';
  t.teardown(() => delete process.env.NOTIFY_SOCKET);
  let asked = 0;
  // As Node does with ENOMEM: for EMFILE and some others it emits the error instead.
  const start = (() => {
    asked++;
    throw Object.assign(new Error('spawn ENOMEM'), { code: 'ENOMEM' });
  }) as unknown as typeof spawn;
  t.notThrows(() => notify('STOPPING=1', start));
  t.is(asked, 1);
});

test.serial('a helper that is missing is not an end either', async (t) => {
  process.env.NOTIFY_SOCKET = '/run/none';
  const { PATH } = process.env;
  process.env.PATH = '/nonexistent';
  t.teardown(() => {
    process.env.PATH = PATH;
    delete process.env.NOTIFY_SOCKET;
  });
  t.notThrows(() => notify('READY=1'));
  await new Promise((resolve) => setTimeout(resolve, 50)); // its error comes in a later turn; unheard it would end the process
});
