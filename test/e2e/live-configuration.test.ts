/** Groups by command line, and reloads, on a running switch. */
import { readFileSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { sleep } from '../../lab/processes.ts';
import { namespaceOf } from '../../lab/topology/plan.ts';
import type { ChangeResult, GroupView, ReloadResult } from '../../src/agent/api.ts';
import { Stand } from './stand.ts';

let stand: Stand;

test.before(async (t) => {
  t.timeout(120_000);
  stand = await Stand.up({ protocol: 'both', gateway: 'frr' });
  await stand.untilHome();
});

test.afterEach.always((t) => stand.mend(t));

test.after.always(() => stand?.down());

test.serial(
  'R4.4 portlink add, set, hold, release, remove: at once, in the file, comments kept, --dry-run changes nothing',
  async (t) => {
    t.timeout(180_000);
    const file = stand.configFile();
    writeFileSync(
      file,
      `# This switch is A.\n${readFileSync(file, 'utf8').replace(/^portLink:/m, '# the groups\nportLink: # of the fabric')}`,
    );
    const commented = readFileSync(file, 'utf8');
    const early = await stand.cli(['portlink', 'set', 'fabric', '--recovery-delay', '3s']);
    t.not(early.code, 0, 'the file has changed behind the agent');
    t.regex(early.stderr, /reload/);
    t.is(readFileSync(file, 'utf8'), commented);
    t.is((await stand.cli(['config', 'reload'])).code, 0);
    const json = async <T>(...words: string[]): Promise<T> => {
      const { code, stdout, stderr } = await stand.cli([...words, '--json']);
      t.is(code, 0, `${words.join(' ')}: ${stderr}${stdout}`);
      return JSON.parse(stdout) as T;
    };

    const dry = await json<ChangeResult>('portlink', 'set', 'fabric', '--recovery-delay', '3s', '--dry-run');
    t.true(dry.dryRun);
    t.regex(dry.actions.join(), /recoveryDelay/);
    t.is(readFileSync(file, 'utf8'), commented);
    t.is((await stand.group()).config.recoveryDelay, '1s');

    await json<ChangeResult>('portlink', 'set', 'fabric', '--recovery-delay', '3s');
    t.is((await stand.group()).config.recoveryDelay, '3s');
    const written = readFileSync(file, 'utf8');
    t.regex(written, /recoveryDelay: 3s/);
    t.regex(written, /^# This switch is A\.$/m);
    t.regex(written, /# the groups/);
    t.regex(written, /# of the fabric/);
    t.is((await stand.cli(['config', 'check', file, '--offline'])).code, 0);

    const held = await json<ChangeResult>('portlink', 'hold', 'fabric', 'shut', '--dry-run');
    t.is(held.actions.length, 4);
    t.deepEqual(await stand.shutPorts(), []);
    await json<ChangeResult>('portlink', 'hold', 'fabric', 'shut', '--yes');
    t.is((await stand.shutPorts()).length, 4);
    await stand.until(
      'the hosts are behind B',
      async () => (await stand.fib())['10.10.10.1']?.join() === 'B',
      () => stand.fib(),
    );
    t.is((await stand.group()).state, 'held');
    await json<ChangeResult>('portlink', 'release', 'fabric');
    await stand.untilHome();

    await json<ChangeResult>('portlink', 'set', 'fabric', '--downlinks', 'A1,A2,A3');
    t.deepEqual(
      (await stand.group()).downlinks.map(({ port }) => port),
      ['A1', 'A2', 'A3'],
    );
    await json<ChangeResult>(
      'portlink',
      'add',
      'second',
      '--uplinks',
      'A0',
      '--downlinks',
      'A4',
      '--startup-delay',
      '0s',
      '--recovery-delay',
      '500ms',
    );
    t.deepEqual(
      (await json<GroupView[]>('portlink', 'list')).map(({ name }) => name),
      ['fabric', 'second'],
    );
    t.regex(readFileSync(file, 'utf8'), /name: second/);
    stand.cables(['A0'], false);
    await stand.until(
      'both groups act',
      async () => (await stand.shutPorts()).length === 4,
      () => stand.shutPorts(),
    );
    // A group that goes hands back what it has shut.
    await json<ChangeResult>('portlink', 'remove', 'second');
    await stand.until(
      'A4 is open',
      async () => !(await stand.shutPorts()).includes('A4'),
      () => stand.shutPorts(),
    );
    t.deepEqual(await stand.shutPorts(), ['A1', 'A2', 'A3']);
    stand.cables(['A0'], true);
    await json<ChangeResult>('portlink', 'set', 'fabric', '--downlinks', 'A1,A2,A3,A4', '--recovery-delay', '1s');
    await stand.untilHome();

    const twice = await stand.cli(['portlink', 'add', 'fabric', '--uplinks', 'A0', '--downlinks', 'A1']);
    t.not(twice.code, 0);
    const unknown = await stand.cli(['portlink', 'set', 'nobody', '--recovery-delay', '1s']);
    t.not(unknown.code, 0);
    const bad = await stand.cli(['portlink', 'set', 'fabric', '--recovery-delay', 'soon']);
    t.not(bad.code, 0);
    t.regex(bad.stderr, /soon/);
    t.is((await stand.group()).config.recoveryDelay, '1s');
  },
);

test.serial('SIGHUP: a bad file changes nothing and says why; a good one is used', async (t) => {
  t.timeout(120_000);
  const file = stand.configFile();
  const good = readFileSync(file, 'utf8');
  const logged = stand.log().length;
  writeFileSync(file, good.replace('recoveryDelay: 1s', 'recoveryDelay: soonish'));
  await stand.signal('SIGHUP');
  await stand.until('the log says why', () => /soonish/.test(stand.log().slice(logged)));
  t.is((await stand.group()).config.recoveryDelay, '1s');
  t.true(await stand.answers());
  const refused = await stand.cli(['config', 'reload']);
  t.not(refused.code, 0);
  t.regex(refused.stderr, /soonish/);
  t.regex(refused.stderr, /peerless\.yaml:\d+/);
  const warnings = async () => {
    const { stdout } = await stand.cli(['status', '--json']);
    return (JSON.parse(stdout) as { warnings: string[] }).warnings.join('\n');
  };
  t.regex(await warnings(), /the last reload was refused.*soonish/);
  t.regex((await stand.cli(['events'])).stdout, /config\.refused .*soonish/);

  writeFileSync(file, good.replace('recoveryDelay: 1s', 'recoveryDelay: 4s'));
  await stand.signal('SIGHUP');
  await stand.until('4 s', async () => (await stand.group()).config.recoveryDelay === '4s');
  stand.cables(['A0'], false);
  await stand.until('shut', async () => (await stand.shutPorts()).length === 4);
  const back = performance.now();
  stand.cables(['A0'], true);
  await sleep(3000);
  const shut = await stand.shutPorts();
  if (performance.now() - back < 4_000) t.is(shut.length, 4, 'not before recoveryDelay');
  else t.log('a busy machine: looked at too late to say');
  await stand.untilHome();
  writeFileSync(file, good);
  const undone = await stand.cli(['config', 'reload', '--json']);
  t.is(undone.code, 0);
  t.notRegex(await warnings(), /refused/);
  t.regex((JSON.parse(undone.stdout) as ReloadResult).changes.join(), /recoveryDelay/);
});

test.serial(
  'R4.2 changed prefixes are used at once: hosts come and go, and so do the unreachable routes',
  async (t) => {
    t.timeout(120_000);
    const unreachable = async () =>
      (await stand.routes('A')).filter(({ type }) => type === 'unreachable').map(({ dst }) => dst);
    t.deepEqual(await unreachable(), ['10.10.10.0/24']);
    stand.editConfig((config) => {
      config.hostRoutes.prefixes = ['10.10.10.0/31', '10.77.0.0/24'];
    });
    await stand.signal('SIGHUP');
    await stand.until(
      'only 10.10.10.1 is inside',
      async () => Object.keys(await stand.kernelHosts()).join() === '10.10.10.1',
      () => stand.kernelHosts(),
    );
    await stand.until(
      'unreachable routes follow',
      async () => (await unreachable()).toSorted().join() === '10.10.10.0/31,10.77.0.0/24',
      unreachable,
    );
    await stand.until(
      '10.10.10.2 is withdrawn',
      async () => ((await stand.fib())['10.10.10.2'] ?? []).length === 0,
      () => stand.fib(),
    );
    stand.editConfig((config) => {
      config.hostRoutes.prefixes = ['10.10.10.0/24'];
    });
    await stand.signal('SIGHUP');
    await stand.until('as before', async () => (await unreachable()).join() === '10.10.10.0/24', unreachable);
    await stand.untilHome();
  },
);

test.serial('what only a restart brings into effect is said', async (t) => {
  t.timeout(120_000);
  const file = stand.configFile();
  const good = readFileSync(file, 'utf8');
  stand.editConfig((config) => {
    config.ospf.gracefulRestart = { gracePeriod: '20s' };
    config.ospf.interfaces[0].cost = 77;
    config.bgp.neighbors[0].timers.hold = '30s';
  });
  const { code, stdout } = await stand.cli(['config', 'reload', '--json']);
  t.is(code, 0);
  const { needsRestart } = JSON.parse(stdout) as ReloadResult;
  t.true(
    needsRestart.some((text) => text.includes('gracePeriod')),
    stdout,
  );
  t.false(
    needsRestart.some((text) => text.includes('hold') || text.includes('cost')),
    stdout,
  );
  writeFileSync(file, good);
  t.is((await stand.cli(['config', 'reload'])).code, 0);
  await stand.until(
    'the sessions are up',
    async () => (await stand.status()).sessions.every(({ up }) => up),
    () => stand.status(),
  );
  await stand.untilHome();
});

test.serial('nothing that was told or logged is a defect of the program', (t) => {
  for (const tor of ['A', 'B'] as const) t.deepEqual(stand.defects(tor), [], namespaceOf(stand.name, tor));
});
