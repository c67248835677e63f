/** The port that somebody is logged in through: a real TCP session from a server to port 22 of the switch. */
import { spawn } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';
import type { NodeName } from '../../lab/topology/plan.ts';
import { namespaceOf } from '../../lab/topology/plan.ts';
import { Stand } from './stand.ts';

const LISTEN = "require('net').createServer((s) => s.resume()).listen(22, '0.0.0.0', () => console.log('up'))";
const CONNECT = "require('net').connect(22, '10.10.10.254', () => console.log('up'))";

async function program(t: ExecutionContext, stand: Stand, node: NodeName, source: string): Promise<() => void> {
  const words = ['netns', 'exec', namespaceOf(stand.name, node), process.execPath, '-e', source];
  const child = spawn('ip', words, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  await new Promise((resolve, reject) => {
    child.stdout.once('data', resolve);
    child.once('exit', () => reject(new Error(`${source} ended`)));
  });
  return () => child.kill('SIGKILL');
}

test.serial(
  'the port of a login is not put at risk by a change, nor shut after a restart while the login lasts',
  async (t) => {
    t.timeout(240_000);
    const stand = await Stand.up({ gateway: 'frr', protocol: 'bgp' });
    t.teardown(() => stand.down());
    await stand.untilHome();
    await program(t, stand, 'A', LISTEN);
    const logOut = await program(t, stand, 'C4', CONNECT);

    // The file: named with its line, the port, who, and the ways out.
    const checked = await stand.cli(['config', 'check', stand.configFile()]);
    t.is(checked.code, 2);
    t.regex(
      checked.stderr,
      /peerless\.yaml:\d+:\d+: portLink\[0\]\.downlinks\[1\]: group fabric may shut A2, and somebody is logged in from 10\.10\.10\.2 through it\..*allowManagementPort: true/,
    );
    t.is((await stand.cli(['config', 'check', stand.configFile(), '--offline'])).code, 0);

    // A group that runs is no news: unrelated changes pass. A new risk does not, unless forced.
    t.is((await stand.cli(['portlink', 'set', 'fabric', '--recovery-delay', '2s'])).code, 0);
    t.is((await stand.cli(['portlink', 'set', 'fabric', '--no-enabled'])).code, 0);
    const refused = await stand.cli(['portlink', 'set', 'fabric', '--enabled']);
    t.is(refused.code, 2);
    t.regex(refused.stderr, /may shut A2, and somebody is logged in from 10\.10\.10\.2/);
    stand.editConfig((config) => {
      config.portLink[0].enabled = true;
    });
    const reload = await stand.cli(['config', 'reload']);
    t.is(reload.code, 2);
    t.regex(reload.stderr, /nothing was changed/);
    t.is((await stand.group()).state, 'disabled');
    t.is((await stand.cli(['config', 'reload', '--force'])).code, 0);
    await stand.until(
      'the group works',
      async () => (await stand.group()).state === 'up',
      () => stand.group(),
    );
    const hold = await stand.cli(['portlink', 'hold', 'fabric', 'shut', '--yes']);
    t.is(hold.code, 1);
    t.regex(hold.stderr, /logged in from 10\.10\.10\.2 through it[\s\S]*--force/);
    const drain = await stand.cli(['drain', '--pause', '0s']);
    t.is(drain.code, 1);
    t.regex(drain.stderr, /logged in from 10\.10\.10\.2 through A2[\s\S]*--force/);
    const plan = await stand.cli(['drain', '--dry-run']);
    t.is(plan.code, 0);
    t.regex(plan.stdout, /WARNING: somebody is logged in from 10\.10\.10\.2 through A2/);
    t.deepEqual(await stand.shutPorts(), []);

    // At the start there is nobody to refuse to: the group works, and spares the port.
    await stand.signal('SIGTERM');
    await stand.start();
    await stand.until(
      'startup is over',
      async () => (await stand.group()).state === 'up',
      () => stand.group(),
    );
    const warnings = async () => (await stand.status()).warnings;
    const told = /^A2 is not shut with its group while somebody is logged in/;
    await stand.until('it is told', async () => (await warnings()).some((text) => told.test(text)), warnings);
    await stand.until('in an event too', async () =>
      (await stand.events()).some(({ type }) => type === 'portlink.spared'),
    );
    stand.cables(['A0'], false);
    await stand.until(
      'the others are shut',
      async () => (await stand.shutPorts()).length === 3,
      () => stand.group(),
    );
    t.deepEqual(await stand.shutPorts(), ['A1', 'A3', 'A4']);

    logOut();
    await stand.until(
      'with the login the sparing ends',
      async () => (await stand.shutPorts()).length === 4,
      () => stand.group(),
    );
    await stand.until(
      'nobody is warned any more',
      async () => !(await warnings()).some((text) => text.includes('logged in')),
      warnings,
    );
    stand.cables(['A0'], true);
    await stand.untilHome();
  },
);
