/**
 * One lab, FRR and both protocols: what an operator does to a running switch, what servers do, and what the malicious
 * and the mistaken do. The crashes are in crash.test.ts.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { sleep } from '../../lab/processes.ts';
import { arpRequest, gratuitousArp } from '../../lab/team/arp.ts';
import { namespaceOf, SERVERS } from '../../lab/topology/plan.ts';
import type { ChangeResult, GroupView, ReloadResult } from '../../src/agent/api.ts';
import { Stand } from './stand.ts';

let stand: Stand;

test.before(async (t) => {
  t.timeout(120_000);
  stand = await Stand.up({ protocol: 'both', gateway: 'frr' });
  await stand.untilHome();
});

test.after.always(() => stand?.down());

// ------------------------------------------------------------------ the operator's ports

test.serial("R4.6 an operator's shut port is not opened by the return of the uplink", async (t) => {
  t.timeout(120_000);
  await stand.ip('A', 'link', 'set', 'A3', 'down');
  stand.cables(['A0'], false);
  await stand.until(
    'all are shut',
    async () => (await stand.shutPorts()).length === 4,
    () => stand.shutPorts(),
  );
  stand.cables(['A0'], true);
  await stand.until(
    'the others are open',
    async () => (await stand.shutPorts()).length === 1,
    () => stand.shutPorts(),
  );
  await sleep(2000);
  t.deepEqual(await stand.shutPorts(), ['A3']);
  await stand.ip('A', 'link', 'set', 'A3', 'up');
  await stand.untilHome();
});

test.serial(
  'R4.6 a port that the operator shuts while we hold it shut stays his; one that he opens stays open',
  async (t) => {
    t.timeout(120_000);
    stand.cables(['A0'], false);
    await stand.until(
      'all are shut',
      async () => (await stand.shutPorts()).length === 4,
      () => stand.shutPorts(),
    );
    await sleep(1000);
    await stand.ip('A', 'link', 'set', 'A4', 'up');
    await sleep(1500);
    t.deepEqual(await stand.shutPorts(), ['A1', 'A2', 'A3']);
    stand.cables(['A0'], true);
    await stand.untilHome();
    t.deepEqual(await stand.shutPorts(), []);
  },
);

// ------------------------------------------------------------------ the agent's life

test.serial(
  'SIGTERM withdraws at once, takes our routes away, leaves the ports; a start brings everything back',
  async (t) => {
    t.timeout(120_000);
    const before = await stand.routes('A');
    await stand.signal('SIGTERM');
    const after = await stand.routes('A');
    // Dead is 4 s, hold 3 s: what goes earlier was withdrawn, not timed out.
    await stand.until(
      'withdrawn at G',
      async () => {
        const fib = await stand.fib();
        // Not to A: B may still believe, for a moment, in hosts that have only just gone home.
        return ['10.10.10.1', '10.10.10.2'].every((address) => !(fib[address] ?? []).includes('A'));
      },
      () => stand.fib(),
      2000,
    );
    const fib = await stand.fib();
    t.deepEqual([fib['10.10.10.4'], fib['10.10.10.5']], [['B'], ['B']]);
    t.deepEqual(
      after.filter(({ protocol }) => ['201', '202', '203'].includes(protocol ?? '')),
      [],
      "A's kernel holds nothing of ours",
    );
    t.true(before.some(({ protocol }) => protocol === '201'));
    t.deepEqual(await stand.shutPorts(), []);
    await stand.start();
    await stand.untilHome();
    const uncommon = (await stand.events()).filter(({ severity }) => severity === 'error');
    t.deepEqual(uncommon, []);
  },
);

test.serial('SIGTERM while the ports are shut leaves them shut, and the next life opens them', async (t) => {
  t.timeout(120_000);
  stand.cables(['A0'], false);
  await stand.until(
    'all are shut',
    async () => (await stand.shutPorts()).length === 4,
    () => stand.shutPorts(),
  );
  await stand.signal('SIGTERM');
  t.is((await stand.shutPorts()).length, 4);
  stand.cables(['A0'], true);
  await stand.start();
  await stand.untilHome();
  t.pass();
});

test.serial('a second agent for the same switch is refused before it touches anything', async (t) => {
  const routes = await stand.routes('A');
  const second = await stand.cli(['agent', '--config', stand.configFile()]);
  t.not(second.code, 0);
  t.regex(second.stderr, /another agent answers/);
  t.deepEqual(await stand.routes('A'), routes);
  t.true(await stand.answers());
});

// ------------------------------------------------------------------ groups by command line, reload

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

  writeFileSync(file, good.replace('recoveryDelay: 1s', 'recoveryDelay: 4s'));
  await stand.signal('SIGHUP');
  await stand.until('4 s', async () => (await stand.group()).config.recoveryDelay === '4s');
  stand.cables(['A0'], false);
  await stand.until('shut', async () => (await stand.shutPorts()).length === 4);
  stand.cables(['A0'], true);
  await sleep(3000);
  t.is((await stand.shutPorts()).length, 4, 'not before recoveryDelay');
  await stand.untilHome();
  writeFileSync(file, good);
  const back = await stand.cli(['config', 'reload', '--json']);
  t.is(back.code, 0);
  t.regex((JSON.parse(back.stdout) as ReloadResult).changes.join(), /recoveryDelay/);
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

// ------------------------------------------------------------------ what servers do

const VM = '10.10.10.30';
const OTHER_VM = '10.10.10.31';

test.serial(
  'R4.1 R4.5 a server with several addresses; a VM moves between ports at once; one that falls silent goes alone',
  async (t) => {
    t.timeout(120_000);
    await stand.addAddress('C3', VM);
    await stand.addAddress('C3', OTHER_VM);
    await stand.until(
      'all three are behind A1',
      async () => {
        const kernel = await stand.kernelHosts();
        return [VM, OTHER_VM, '10.10.10.1'].every((address) => kernel[address] === 'A1');
      },
      () => stand.kernelHosts(),
    );
    const atG = async (address: string) => (await stand.routes('G')).find(({ dst }) => dst === address)?.gateway;
    await stand.until('G has the VM', async () => (await atG(VM)) === '192.0.2.2');

    await stand.removeAddress('C3', VM);
    const moved = Date.now();
    await stand.addAddress('C4', VM);
    await stand.until(
      'the VM is behind A2',
      async () => (await stand.kernelHosts())[VM] === 'A2',
      () => stand.hosts(),
      3000,
    );
    t.log(`moved within ${Date.now() - moved} ms, the test's own programs included`);
    t.is((await stand.hosts()).find(({ address }) => address === VM)?.state, 'reachable');
    const ping = await stand.exec('X', 'ping', '-c', '3', '-i', '0.2', '-W', '1', VM);
    t.is(ping.code, 0, ping.stdout);

    await stand.removeAddress('C4', VM);
    await stand.until(
      'the silent VM is withdrawn',
      async () => (await atG(VM)) === undefined && !(VM in (await stand.kernelHosts())),
      () => stand.hosts(),
    );
    t.like(await stand.kernelHosts(), { '10.10.10.1': 'A1', '10.10.10.2': 'A2', [OTHER_VM]: 'A1' });
    t.false((await stand.hosts()).some(({ address, state }) => address === VM && state !== 'gone'));
    await stand.removeAddress('C3', OTHER_VM);
    await stand.until('the other one too', async () => (await atG(OTHER_VM)) === undefined);
  },
);

// ------------------------------------------------------------------ hostile input

const dotted = (address: string): Buffer => Buffer.from(address.split('.').map(Number));

/** An IPv4 packet of protocol OSPF from G's address at GA to all OSPF routers, in an Ethernet frame. */
function ospfFrame(payload: Uint8Array, source = '192.0.2.1'): Buffer {
  const ip = Buffer.alloc(20);
  ip[0] = 0x45;
  ip.writeUInt16BE(20 + payload.length, 2);
  ip[8] = 1;
  ip[9] = 89;
  dotted(source).copy(ip, 12);
  dotted('224.0.0.5').copy(ip, 16);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += ip.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  ip.writeUInt16BE(~sum & 0xffff, 10);
  return Buffer.concat([
    Buffer.from('01005e000005', 'hex'),
    Buffer.from('020000000099', 'hex'),
    Buffer.from('0800', 'hex'),
    ip,
    payload,
  ]);
}

/** RFC 2328 §A.3.1 with a right checksum, whatever the rest is. */
function ospfPacket(type: number, body: Uint8Array, edit: (packet: Buffer) => void = () => undefined): Buffer {
  const packet = Buffer.alloc(24 + body.length);
  packet[0] = 2;
  packet[1] = type;
  packet.writeUInt16BE(packet.length, 2);
  dotted('10.255.0.254').copy(packet, 4);
  packet.set(body, 24);
  edit(packet);
  let sum = 0;
  for (let at = 0; at < packet.length; at += 2) {
    if (at < 16 || at >= 24) sum += at + 1 < packet.length ? packet.readUInt16BE(at) : packet[at]! << 8;
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  packet.writeUInt16BE(~sum & 0xffff, 12);
  return packet;
}

const sumOf = (counters: Record<string, number>, part: RegExp): number =>
  Object.entries(counters).reduce((sum, [name, value]) => (part.test(name) ? sum + value : sum), 0);

test.serial("malformed OSPF from G's side: counted, and nothing else happens", async (t) => {
  t.timeout(120_000);
  const before = await stand.counters();
  const failovers = (await stand.failovers()).length;
  const noise = (length: number) => Buffer.from(Array.from({ length }, (_, at) => (at * 73 + length) & 0xff));
  const frames = [
    ...[0, 1, 12, 23, 24, 60, 400].map((length) => ospfFrame(noise(length))),
    ...[1, 2, 3, 4, 5, 6, 255].map((type) => ospfFrame(ospfPacket(type, noise(7)))),
    ospfFrame(ospfPacket(4, Buffer.from('ffffffff', 'hex'))),
    ospfFrame(ospfPacket(4, Buffer.concat([Buffer.from('00000001', 'hex'), noise(36)]))),
    ospfFrame(ospfPacket(5, noise(20 * 5))),
    ospfFrame(ospfPacket(1, noise(20), (packet) => packet.writeUInt16BE(2000, 2))),
    ospfFrame(ospfPacket(1, noise(20), (packet) => packet.writeUInt32BE(7, 8))),
    ospfFrame(ospfPacket(1, noise(20)), '203.0.113.9'),
  ];
  // The checksum of a router that is unknown, with authentication that is not configured.
  frames.push(ospfFrame(ospfPacket(2, noise(8), (packet) => packet.writeUInt16BE(2, 14))));
  const lost = await stand.probing(async () => {
    for (let round = 0; round < 20; round++) {
      stand.sendFrames('G', 'GA', frames);
      await sleep(50);
    }
  });
  for (const [server, { lost: count }] of Object.entries(lost)) t.is(count, 0, `${server} lost packets`);
  const after = await stand.counters();
  t.true(
    sumOf(after.ospf!, /drop|discard|malformed|error/) - sumOf(before.ospf!, /drop|discard|malformed|error/) >= 200,
    JSON.stringify({ before: before.ospf, after: after.ospf }),
  );
  t.true((await stand.status()).sessions.every(({ up }) => up));
  t.is((await stand.failovers()).length, failovers);
  t.deepEqual(await stand.shutPorts(), []);
});

test.serial("strangers and garbage on BGP's port: the session does not notice", async (t) => {
  t.timeout(120_000);
  const session = (await stand.status()).sessions.find(({ protocol }) => protocol === 'bgp')!;
  const script = `
    const { connect } = require('node:net');
    const from = process.argv[1];
    const open = Buffer.from('ffffffffffffffffffffffffffffffff001d0104fde80003c000020100', 'hex');
    const texts = [
      Buffer.from('GET / HTTP/1.0\\r\\n\\r\\n'),
      Buffer.alloc(4096, 0xff),
      Buffer.from('ffffffffffffffffffffffffffffffff000001', 'hex'),
      Buffer.from('ffffffffffffffffffffffffffffffffffff01', 'hex'),
      open,
      open.subarray(0, 20),
      Buffer.concat([open, Buffer.from('ffffffffffffffffffffffffffffffff001702000400000000', 'hex')]),
    ];
    let left = texts.length;
    for (const text of texts) {
      const socket = connect({ host: '192.0.2.2', port: 179, localAddress: from });
      let over = false;
      const end = () => { if (over) return; over = true; socket.destroy(); if (--left === 0) console.log('done'); };
      socket.on('connect', () => socket.write(text));
      socket.on('error', end);
      socket.on('close', end);
      socket.on('data', () => undefined);
      setTimeout(end, 1500);
    }`;
  const lost = await stand.probing(async () => {
    for (const from of ['192.0.2.1', '198.51.100.1']) {
      const { code, stdout, stderr } = await stand.exec('G', process.execPath, '-e', script, from);
      t.is(code, 0, stderr);
      t.regex(stdout, /done/);
    }
  });
  for (const [server, { lost: count }] of Object.entries(lost)) t.is(count, 0, `${server} lost packets`);
  const now = (await stand.status()).sessions.find(({ protocol }) => protocol === 'bgp')!;
  t.is(now.state, 'Established');
  t.true(Math.abs(Date.parse(now.since) - Date.parse(session.since)) < 100, 'it is the same session');
  t.deepEqual(await stand.shutPorts(), []);
});

test.serial('a flood of ARP from one server: bounded, counted, and no other server notices', async (t) => {
  t.timeout(120_000);
  const before = await stand.counters();
  const mac = SERVERS[0]!.mac;
  const frames: Buffer[] = [];
  for (let count = 0; count < 200; count++) {
    // Outside the prefixes; inside them, addresses of nobody; broken.
    frames.push(gratuitousArp(mac, `10.66.${count}.7`));
    frames.push(gratuitousArp(mac, `10.10.10.${60 + (count % 150)}`));
    const broken = Buffer.from(arpRequest(mac, '10.10.10.1', '10.10.10.254'));
    broken[18 + (count % 2)] = count & 0xff;
    frames.push(broken, broken.subarray(0, 14 + (count % 28)));
  }
  frames.push(gratuitousArp(mac, '0.0.0.0'), gratuitousArp(mac, '255.255.255.255'), gratuitousArp(mac, '224.0.0.5'));
  frames.push(gratuitousArp(mac, '127.0.0.1'), gratuitousArp('ff:ff:ff:ff:ff:ff', '10.10.10.77'));
  // Ours and the gateway's own: nobody may take them.
  frames.push(gratuitousArp(mac, '10.10.10.254'), gratuitousArp(mac, '192.0.2.1'), gratuitousArp(mac, '10.255.0.1'));
  const lost = await stand.probing(async () => {
    for (let round = 0; round < 10; round++) {
      stand.sendFromServer('C3', frames);
      await sleep(100);
    }
  });
  for (const server of ['C4', 'C1', 'C2'] as const) t.is(lost[server].lost, 0, `${server} lost packets`);
  const kernel = await stand.kernelHosts();
  t.is(kernel['10.10.10.2'], 'A2');
  for (const address of ['10.10.10.254', '192.0.2.1', '10.255.0.1', '0.0.0.0', '224.0.0.5']) t.false(address in kernel);
  t.false(Object.keys(kernel).some((address) => address.startsWith('10.66.')));
  t.deepEqual(await stand.shutPorts(), []);
  const after = await stand.counters();
  t.log(JSON.stringify(after.hostroutes));
  t.notDeepEqual(after.hostroutes, before.hostroutes);
  await stand.until(
    'addresses of nobody are gone again',
    async () => {
      const left = Object.keys(await stand.kernelHosts()).toSorted();
      return left.join() === '10.10.10.1,10.10.10.2';
    },
    () => stand.kernelHosts(),
  );
  await stand.until('at G too', async () => {
    const atG = (await stand.routes('G')).filter(({ dst }) => dst.startsWith('10.10.10.'));
    return atG.length === 4;
  });
});

test.serial('nothing that was told or logged is a defect of the program', async (t) => {
  for (const tor of ['A', 'B'] as const) {
    const lines = stand
      .log(tor)
      .split('\n')
      .filter((line) => line !== '');
    const strange = lines.filter((line) => {
      if (!line.startsWith('{')) return true;
      const { level, msg } = JSON.parse(line) as { level: number; msg: string };
      return level >= 50 && !msg.includes('the new configuration was refused');
    });
    t.deepEqual(strange, [], namespaceOf(stand.name, tor));
  }
});
