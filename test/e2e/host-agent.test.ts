/**
 * The agent of a host as its operator has it: the firm configuration, commands, reloads, a crash and an end, on two hosts
 * with the kernel's own bridges, tunnels, rules and programs.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { HostLab } from '../../lab/hosts/index.ts';
import { outcome, waitUntil } from '../../lab/processes.ts';

const NAME = `hag${process.pid}`;

let lab: HostLab;

test.before(async () => {
  lab = await HostLab.up({
    name: NAME,
    networks: [{ name: 'blue', vni: 100, subnet: '10.200.0.0/16', gateway: '10.200.0.1' }],
    instances: [
      { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
      { name: 'c2', host: 2, network: 'blue', address: '10.200.2.2' },
    ],
  });
  for (const { name, address } of lab.hosts) {
    lab.agent(name).configure(
      lab.configuration(name, {
        policy: {
          default: 'allow',
          initiate: 'both',
          rules: [{ name: 'no-telnet', direction: 'in', protocol: 'tcp', ports: [23], action: 'deny' }],
        },
        services: [{ name: 'web', network: 'blue', address: '10.200.255.10', port: 80, backends: ['10.200.2.2:8080'] }],
        snat: [{ network: 'blue', to: '0.0.0.0/0', address }],
        fastPath: { mode: 'tunnel', lifetime: { send: '30s', receive: '60s' } },
        neighbours: { proactive: true, poll: '5s', hold: { enabled: true } },
      }),
    );
  }
  await settingsOf('h1').then((before) => {
    settings = before;
  });
  await Promise.all(lab.hosts.map(({ name }) => lab.agent(name).start()));
});

test.after.always(() => lab?.down());

let settings = '';

/** Of the namespace, those that the slow path may touch. */
async function settingsOf(host: string): Promise<string> {
  const names = ['net.ipv4.ip_forward', 'net.ipv4.conf.all.rp_filter', 'net.bridge.bridge-nf-call-iptables'];
  return (await outcome(lab.inside(host, ['sysctl', '-e', ...names]))).stdout;
}

async function ask<T>(t: ExecutionContext, host: string, ...words: string[]): Promise<T> {
  const { code, stdout, stderr } = await lab.agent(host).cli([...words, '--json']);
  t.is(code, 0, `${words.join(' ')}: ${stdout}${stderr}`);
  return JSON.parse(stdout) as T;
}

async function say(t: ExecutionContext, host: string, ...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await lab.agent(host).cli(words);
  t.is(code, 0, `${words.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

interface Status {
  readonly instances: { readonly total: number; readonly up: number };
  readonly parts: readonly { readonly name: string; readonly state: string; readonly detail?: { adopted?: boolean } }[];
}

test.serial('R1.1 R1.2 R3.4 the firm configuration runs: every part follows, and packets go', async (t) => {
  const { instances, parts } = await ask<Status>(t, 'h1', 'host', 'status');
  t.deepEqual(instances, { total: 1, up: 1 });
  for (const name of ['policy', 'networks', 'tunnel neighbours', 'fast path']) {
    t.is(parts.find((part) => part.name === name)?.state, 'following', name);
  }
  t.like(await lab.udp('c1', 'c2', { port: 7000, count: 50, size: 500, wait: 2000 }), { answered: 50, lost: 0 });
  t.is(await lab.ping('c1', '10.200.0.1', 3), 3);
  t.like(await lab.tcp('c1', 'c2', { port: 8080, bytes: 100_000 }, '10.200.2.2'), { outcome: 'done' });
  const { stdout } = await lab.agent('h1').cli(['status']);
  t.regex(stdout, /role +host/);
  t.notRegex(stdout, /WARNING/);
});

test.serial('every listing answers, as text and as JSON', async (t) => {
  for (const listing of ['networks', 'instances', 'remotes', 'services', 'rules', 'policy', 'snat']) {
    t.regex(await say(t, 'h1', 'host', listing, 'list'), /\S/, listing);
  }
  t.like(await ask(t, 'h1', 'host', 'instances'), [{ name: 'c1', state: 'up', origin: 'configuration' }]);
  const neighbours = await ask<{ address: string; mac?: string }[]>(t, 'h1', 'host', 'neighbours');
  t.true(neighbours.some(({ address, mac }) => address === '10.20.1.2' && mac === lab.host('h2').mac));
  const flows = await ask<{ destination: string; state: string }[]>(t, 'h1', 'host', 'flows');
  t.true(flows.some(({ destination }) => destination === '10.200.2.2'));
  const cache = await ask<{ peers: { address: string }[] }>(t, 'h1', 'host', 'cache');
  t.deepEqual(
    cache.peers.map(({ address }) => address),
    ['10.20.1.2'],
  );
  t.regex(await say(t, 'h1', 'host', 'stats'), /from_instance/);
  const { code, stderr } = await lab.agent('h1').cli(['host', 'peers']);
  t.is(code, 1);
  t.regex(stderr, /nothing is encrypted on this host/);
});

test.serial('R1.1 R3.8 an instance is attached and a rule takes effect while connections stand', async (t) => {
  const { configFile } = lab.agent('h1');
  const planned = await lab.addInstance({ name: 'c3', host: 1, network: 'blue', address: '10.200.1.3' });
  const words = ['c3', '--network', 'blue', '--address', planned.address, '--interface', planned.interface];
  const before = readFileSync(configFile, 'utf8');
  await say(t, 'h1', 'host', 'instances', 'add', ...words, '--dry-run');
  t.is(readFileSync(configFile, 'utf8'), before);
  await say(t, 'h1', 'host', 'instances', 'add', ...words);
  t.regex(readFileSync(configFile, 'utf8'), /name: c3/);
  t.like(await lab.udp('c3', 'c1', { port: 7001, count: 20, wait: 2000 }), { answered: 20, lost: 0 });
  const deny = ['host', 'rules', 'add', 'quiet', '--to', '10.200.2.2', '--protocol', 'udp', '--port', '7000'];
  await say(t, 'h1', ...deny, '--action', 'deny');
  t.like(await lab.udp('c1', 'c2', { port: 7000, count: 20, wait: 300 }), { received: 0, lost: 20 });
  await say(t, 'h1', 'host', 'rules', 'remove', 'quiet');
  t.like(await lab.udp('c1', 'c2', { port: 7000, count: 20, wait: 2000 }), { answered: 20, lost: 0 });
  await say(t, 'h1', 'host', 'instances', 'remove', 'c3');
  t.like(await lab.udp('c3', 'c1', { port: 7001, count: 5, wait: 300 }), { received: 0 });
});

test.serial('what can not be is refused with its reason, and changes nothing', async (t) => {
  const { configFile } = lab.agent('h1');
  const before = readFileSync(configFile, 'utf8');
  const refused = async (code: number, pattern: RegExp, ...words: string[]) => {
    const answer = await lab.agent('h1').cli(words);
    t.is(answer.code, code, words.join(' '));
    t.regex(answer.stderr, pattern);
  };
  const c9 = ['host', 'instances', 'add', 'c9', '--network', 'blue', '--interface', 'veth-c9', '--address'];
  await refused(2, /10\.200\.1\.2 is instance c1's in network blue/, ...c9, '10.200.1.2');
  await refused(2, /10\.9\.9\.9 is outside the network's subnet/, ...c9, '10.9.9.9');
  await refused(2, /"nonsense" is not an IPv4 address/, ...c9, 'nonsense');
  await refused(1, /there is no instance nobody/, 'host', 'instances', 'remove', 'nobody');
  await refused(1, /network blue has something in it/, 'host', 'networks', 'remove', 'blue');
  t.is(readFileSync(configFile, 'utf8'), before);
});

test.serial('a reload takes over what differs; a file with a mistake changes nothing', async (t) => {
  const agent = lab.agent('h1');
  const text = readFileSync(agent.configFile, 'utf8');
  t.teardown(() => {
    if (readFileSync(agent.configFile, 'utf8') === text) return;
    writeFileSync(agent.configFile, text);
    agent.hangUp();
  });
  writeFileSync(agent.configFile, text.replace('default: allow', 'default: deny'));
  agent.hangUp();
  const denied = async () => (await ask<{ default: string }>(t, 'h1', 'host', 'policy')).default === 'deny';
  t.true(await waitUntil(denied, 20_000, 100));
  // The table has it; the kernel has it when no part is behind any more.
  const follows = async () =>
    (await ask<Status>(t, 'h1', 'host', 'status')).parts.every(({ state }) => state !== 'behind');
  t.true(await waitUntil(follows, 20_000, 100));
  t.like(await lab.udp('c1', 'c2', { port: 7000, count: 5, wait: 300 }), { received: 0 });
  writeFileSync(agent.configFile, text.replace('vni: 100', 'vni: 0'));
  const wrong = await agent.cli(['config', 'reload']);
  t.is(wrong.code, 2);
  t.regex(wrong.stderr, /peerless\.yaml:\d+:\d+: networks\[0\]\.vni: 0 is out of range/);
  t.is((await ask<{ default: string }>(t, 'h1', 'host', 'policy')).default, 'deny');
  writeFileSync(agent.configFile, text);
  await say(t, 'h1', 'config', 'reload');
  t.like(await lab.udp('c1', 'c2', { port: 7000, count: 20, wait: 2000 }), { answered: 20, lost: 0 });
});

test.serial('R1.6 R3.6 a dead agent: packets and rules go on; the next one takes up what stands', async (t) => {
  await lab.agent('h1').kill();
  t.like(await lab.udp('c1', 'c2', { port: 7000, count: 50, wait: 2000 }), { answered: 50, lost: 0 });
  t.not((await lab.tcp('c2', 'c1', { port: 23, bytes: 100, patience: 500 })).outcome, 'done');
  await lab.agent('h1').start();
  const { parts } = await ask<Status>(t, 'h1', 'host', 'status');
  t.true(parts.find(({ name }) => name === 'fast path')?.detail?.adopted);
  t.true(parts.every(({ state }) => state !== 'behind'));
  t.like(await lab.udp('c1', 'c2', { port: 7000, count: 20, wait: 2000 }), { answered: 20, lost: 0 });
});

test.serial('an agent that is stopped leaves a clean kernel', async (t) => {
  await lab.agent('h1').stop();
  await isClean(t);
});

test.serial('what an agent left that died and is not started again is undone by cleanup', async (t) => {
  const agent = lab.agent('h1');
  await agent.start();
  const refused = await agent.cli(['cleanup', '--config', agent.configFile]);
  t.is(refused.code, 1);
  t.regex(refused.stderr, /an agent answers on/);
  await agent.kill();
  t.regex(
    await say(t, 'h1', 'cleanup', '--config', agent.configFile, '--dry-run'),
    /would be undone: devices: plbr100/,
  );
  t.like(await lab.udp('c1', 'c2', { port: 7000, count: 5, wait: 2000 }), { answered: 5 });
  t.regex(
    await say(t, 'h1', 'cleanup', '--config', agent.configFile, '--purge'),
    /found: the programs of the fast path/,
  );
  t.regex(await say(t, 'h1', 'cleanup', '--config', agent.configFile), /Nothing of an agent is here/);
  await isClean(t);
});

async function isClean(t: ExecutionContext): Promise<void> {
  const inside = async (...command: string[]) => (await outcome(lab.inside('h1', command))).stdout;
  t.notRegex(await inside('ip', 'link'), /plbr|pltn|plnbh/);
  t.notRegex(await inside('ip', 'rule'), /202\d\d/);
  // By its path: a dependency of the tests brings another program of this name.
  t.is(await inside('/usr/sbin/nft', 'list', 'ruleset'), '');
  t.notRegex(await inside('bpftool', 'net', 'show'), /tcx|clsact/);
  t.is(await settingsOf('h1'), settings, lab.agent('h1').log);
  t.regex(await inside('ip', '-o', 'link', 'show', 'veth-c1'), /veth-c1/, "the instance's own device stays");
}
