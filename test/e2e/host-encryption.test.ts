/**
 * Two agents with stores of keys of their own, real packets through real workers, and what is on the wire between the hosts: the
 * document's example, a rotation under load, an agent that is killed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { HostLab, PUBLIC } from '../../lab/hosts/index.ts';
import { run, waitUntil } from '../../lab/processes.ts';
import { decodeControl } from '../../src/vswitch-bridge/encryption/codec/control.ts';
import { parseSpi } from '../../src/vswitch-bridge/encryption/codec/spi.ts';
import { KeyDirectory } from '../../src/vswitch-bridge/encryption/keys/index.ts';

type HostName = 'h1' | 'h2';

interface Peer {
  readonly state: string;
  readonly sending: string;
  readonly version?: string;
  readonly refused: Readonly<Record<string, number>>;
  readonly received: { readonly plain: number };
}

/** A packet between the hosts: µs, sender, and what it is. */
interface Seen {
  readonly at: number;
  readonly from: HostName;
  readonly what: string;
}

/** More for a soak: PEERLESS_ROTATIONS=600 is ten minutes of etcd. */
const ROTATIONS = Number(process.env.PEERLESS_ROTATIONS ?? 8);

/** UDP ports of nobody: where packets go that only tell how far a capture has come. */
const MARKS = 40_000;

let serial = 0;

class EncryptedPair {
  readonly lab: HostLab;
  readonly #t: ExecutionContext;
  readonly #file: string;
  readonly #held: Record<HostName, Set<number>> = { h1: new Set(), h2: new Set() };
  #marks = 0;

  private constructor(t: ExecutionContext, lab: HostLab, file: string) {
    this.#t = t;
    this.lab = lab;
    this.#file = file;
  }

  /** @param keys another place than the hosts' own directories; the first key must be there */
  static async up(t: ExecutionContext, policy: string, plain = 'esp', keys?: (lab: HostLab) => Promise<object>) {
    t.timeout(180_000);
    const lab = await HostLab.up({
      name: `hen${process.pid}x${serial++}`,
      networks: [{ name: 'blue', vni: 100, subnet: '10.200.0.0/16', gateway: '10.200.0.1' }],
      instances: [
        { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2', mtu: 1400 },
        { name: 'c2', host: 2, network: 'blue', address: '10.200.2.2', mtu: 1400 },
      ],
    });
    t.teardown(() => lab.down());
    const [c1, c2] = [lab.instance('c1'), lab.instance('c2')];
    // Not even ARP goes back.
    await lab.ip('c1', `neigh replace ${c2.address} lladdr ${c2.mac} dev eth0 nud permanent`);
    await lab.ip('c2', `neigh replace ${c1.address} lladdr ${c1.mac} dev eth0 nud permanent`);
    const file = join(lab.agent('h1').directory, 'wire.pcap');
    const tcpdump = ['tcpdump', '--immediate-mode', '-Z', 'root', '-U', '-i', 'eth0', '-s', '320', '-w', file, 'udp'];
    const [command, ...parameters] = lab.inside('h1', tcpdump);
    const capture = spawn(command!, parameters, { stdio: ['ignore', 'ignore', 'pipe'] });
    t.teardown(() => void capture.kill('SIGKILL'));
    await new Promise((resolve) => capture.stderr.once('data', resolve));
    const pair = new EncryptedPair(t, lab, file);
    const shared = await keys?.(lab);
    for (const name of ['h1', 'h2'] as const) {
      await pair.#keys(name).create();
      await pair.only(name, 1);
      const keys = shared ?? { directory: pair.#keys(name).path };
      lab
        .agent(name)
        .configure(lab.configuration(name, { encryption: { policy, plain, keys }, fastPath: { mode: 'off' } }));
    }
    await Promise.all([lab.agent('h1').start(), lab.agent('h2').start()]);
    await pair.until('valid', 'valid');
    return pair;
  }

  #keys(name: HostName): KeyDirectory {
    return new KeyDirectory(join(this.lab.agent(name).directory, 'keys'));
  }

  /** Every host's V3 has the same octets. */
  async issue(name: HostName, version: number, round = 0): Promise<void> {
    const key = new Uint8Array(createHash('sha256').update(`${version} ${round}`).digest());
    await this.#keys(name).write({ version, issued: Date.now() * 100 + (serial++ % 100), key });
    this.#held[name].add(version);
  }

  async only(name: HostName, version: number): Promise<void> {
    await this.issue(name, version);
    for (const old of this.#held[name]) if (old !== version) await this.#keys(name).remove(old);
    this.#held[name] = new Set([version]);
  }

  async peer(name: HostName): Promise<Peer> {
    const { code, stdout, stderr } = await this.lab.agent(name).cli(['host', 'peers', '--json']);
    this.#t.is(code, 0, stdout + stderr);
    return (JSON.parse(stdout) as Peer[])[0]!;
  }

  async until(...states: readonly [string, string]): Promise<void> {
    let last = '';
    const there = await waitUntil(
      async () => {
        last = `${(await this.peer('h1')).state} ${(await this.peer('h2')).state}`;
        return last === states.join(' ');
      },
      20_000,
      50,
    );
    this.#t.true(there, `${last}, not ${states.join(' ')}`);
  }

  /** The keys that the host's agent holds have reached it. */
  async holds(name: HostName, newest: number): Promise<void> {
    const there = await waitUntil(
      async () =>
        ((await this.peer(name)) as unknown as { ours: string[] }).ours[0]?.startsWith(`V${newest}/`) === true,
      20_000,
      50,
    );
    this.#t.true(there, `${name} has no V${newest}`);
  }

  flow(from: 'c1' | 'c2', count: number, interval = 5, echo = false) {
    const to = from === 'c1' ? 'c2' : 'c1';
    const port = 7000 + (serial++ % 1000);
    return this.lab.udp(from, to, { port, count, size: 500, interval, ...(echo ? { wait: 3000 } : {}) });
  }

  /** What has gone by so far: all of it, when a packet that is sent now is in the file. */
  async wire(): Promise<Seen[]> {
    const mark = MARKS + this.#marks++;
    await run(this.lab.inside('h1', ['bash', '-c', `echo mark >/dev/udp/${this.lab.addressOf('h2')}/${mark}`]));
    let seen: Seen[] = [];
    const written = () => {
      seen = this.#read();
      return seen.some(({ what }) => what === `port ${mark}`);
    };
    this.#t.true(await waitUntil(written, 20_000, 10), 'the capture is written');
    return seen.filter(({ what }) => !what.startsWith('port '));
  }

  #read(): Seen[] {
    const bytes = readFileSync(this.#file);
    const seen: Seen[] = [];
    for (let at = 24; at + 16 <= bytes.length; ) {
      const length = bytes.readUInt32LE(at + 8);
      if (at + 16 + length > bytes.length) break;
      const packet = bytes.subarray(at + 16, at + 16 + length);
      const time = bytes.readUInt32LE(at) * 1e6 + bytes.readUInt32LE(at + 4);
      at += 16 + length;
      if (packet.length < 46 || packet.readUInt16BE(12) !== 0x0800) continue;
      const from = packet[29] === 1 ? 'h1' : 'h2';
      seen.push({ at: time, from, what: textOf(packet.readUInt16BE(36), packet.subarray(42)) });
    }
    return seen;
  }
}

function textOf(port: number, payload: Buffer): string {
  if (port === 4789) {
    const reserved = payload.readUIntBE(1, 3);
    return (reserved & 8) === 0 ? 'vxlan' : `plain V${reserved >>> 16}${reserved & 1 ? ' off' : ''}`;
  }
  if (port !== 4500) return `port ${port}`;
  const spi = parseSpi(payload.readUInt32BE(0));
  if (spi?.range === 'encrypted') return `encrypted V${spi.version}`;
  if (spi?.range === 'plain') return `plain V${spi.version}${spi.off ? ' off' : ''}`;
  const control = decodeControl(payload);
  return 'error' in control
    ? control.error
    : `${control.kind} V${control.held[0]?.version ?? 0}${control.off ? ' off' : ''}`;
}

const isData = ({ what }: Seen) => /^(encrypted|plain|vxlan)/.test(what);
const unique = (lines: readonly string[]) => lines.filter((line, index) => line !== lines[index - 1]);
const dataOf = (wire: readonly Seen[], from: HostName) =>
  unique(wire.filter((one) => one.from === from && isData(one)).map(({ what }) => what));

for (const plain of ['esp', 'vxlan']) {
  test.serial(`R0.4 R0.5 R0.6 R0.7 figure 1c between two agents, one-way UDP, plain text as ${plain}`, async (t) => {
    const pair = await EncryptedPair.up(t, 'available', plain);
    t.like(await pair.flow('c1', 20), { received: 20 });
    t.deepEqual(dataOf(await pair.wire(), 'h1'), ['encrypted V1']);

    // ①
    await pair.only('h2', 2);
    await pair.holds('h2', 2);
    let before = (await pair.wire()).length;
    const mismatch = await pair.flow('c1', 200);
    let wire = (await pair.wire()).slice(before);
    t.true(mismatch.received > 100, `${mismatch.received} of 200`);
    t.deepEqual(dataOf(wire, 'h1'), ['encrypted V1', 'plain V1']);
    t.true(wire.some(({ from, what }) => from === 'h2' && what === 'notification V2 off'));
    await pair.until('invalid', 'invalid');
    const data = wire.filter((one) => one.from === 'h1' && isData(one));
    const readable = (data.find(({ what }) => what.startsWith('plain'))!.at - data[0]!.at) / 1000;
    t.log(`readable ${readable.toFixed(1)} ms after the first that was not`);

    await pair.only('h1', 5);
    await pair.only('h2', 6);
    await pair.holds('h1', 5);
    await pair.holds('h2', 6);
    before = (await pair.wire()).length;
    t.like(await pair.flow('c1', 50), { received: 50 });
    wire = (await pair.wire()).slice(before);
    t.deepEqual(dataOf(wire, 'h1'), ['plain V5']);
    t.regex((await pair.lab.agent('h1').cli(['status'])).stdout, /plain text/);

    // ②
    before = (await pair.wire()).length;
    const flow = pair.flow('c1', 200);
    await pair.only('h1', 6);
    t.like(await flow, { received: 200 });
    await pair.until('valid', 'valid');
    // A busy machine may take the new key later than the flow lasts.
    t.like(await pair.flow('c1', 10), { received: 10 });
    wire = (await pair.wire()).slice(before);
    t.is(dataOf(wire, 'h1').at(-1), 'encrypted V6');
    t.false(wire.some(({ what }) => what === 'encrypted V5'));
  });
}

for (const policy of ['overlap', 'strict']) {
  test.serial(`R0.4 R0.7 figure 1c between two agents by policy ${policy}: nothing plain on the wire`, async (t) => {
    const pair = await EncryptedPair.up(t, policy);
    t.like(await pair.flow('c1', 20), { received: 20 });
    await pair.only('h2', 2);
    await pair.holds('h2', 2);
    await pair.flow('c1', 50);
    t.not((await pair.peer('h2')).state, 'valid');
    await pair.only('h1', 5);
    await pair.only('h2', 6);
    await pair.flow('c1', 50);
    await pair.only('h1', 6);
    await pair.until('valid', 'valid');
    t.like(await pair.flow('c1', 50, 5, true), { received: 50, answered: 50 });
    const wire = await pair.wire();
    t.true(wire.length > 100);
    t.deepEqual(
      wire.filter((one) => isData(one) && !one.what.startsWith('encrypted')),
      [],
    );
    t.is((await pair.peer('h2')).received.plain, 0);
  });
}

test.serial(
  'R0.1 R0.8 overlap: rotations that reach one host late, and an agent that is killed, lose no packet',
  async (t) => {
    const pair = await EncryptedPair.up(t, 'overlap');
    t.timeout(180_000 + ROTATIONS * 4000);
    const packets = 1000 + ROTATIONS * 125;
    const flow = pair.flow('c1', packets, 2, true);
    for (let round = 1; round <= ROTATIONS; round++) {
      const [first, second] = round % 2 ? (['h1', 'h2'] as const) : (['h2', 'h1'] as const);
      await pair.issue(first, (round % 5) + 1, round);
      await new Promise((resolve) => setTimeout(resolve, 150));
      await pair.issue(second, (round % 5) + 1, round);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await pair.lab.agent('h1').kill();
    await new Promise((resolve) => setTimeout(resolve, 300));
    await pair.lab.agent('h1').start();
    t.like(await flow, { sent: packets, received: packets, answered: packets, lost: 0, duplicates: 0 });
    await pair.until('valid', 'valid');
    t.like(await pair.flow('c2', 100, 2, true), { answered: 100 });
    const wire = await pair.wire();
    const forms = new Set(wire.filter(isData).map(({ what }) => what));
    t.true(forms.size >= 3 && [...forms].every((form) => form.startsWith('encrypted')), [...forms].join());
    t.deepEqual((await pair.peer('h2')).refused, {});
  },
);

test.serial(
  'R0.1 R0.8 overlap: a rotation every second by etcd, which is killed and comes back: no packet is lost',
  async (t) => {
    const url = `http://${PUBLIC.address}:2379`;
    const data = mkdtempSync(join(tmpdir(), 'peerless-etcd-'));
    t.teardown(() => rmSync(data, { recursive: true }));
    let etcd: ChildProcess | undefined;
    const start = (lab: HostLab) => {
      const urls = [
        '--listen-client-urls',
        url,
        '--advertise-client-urls',
        url,
        '--listen-peer-urls',
        'http://127.0.0.1:2380',
      ];
      const [command, ...parameters] = lab.inside('public', [
        'etcd',
        '--data-dir',
        data,
        '--log-level',
        'error',
        ...urls,
      ]);
      etcd = spawn(command!, parameters, { stdio: 'ignore' });
    };
    const kill = async () => {
      const ended = new Promise((resolve) => etcd?.once('exit', resolve));
      etcd?.kill('SIGKILL');
      await ended;
    };
    const keys = (...words: string[]) => pair.lab.agent('h1').cli(['keys', ...words, '--etcd', url]);
    const pair = await EncryptedPair.up(t, 'overlap', 'esp', async (lab) => {
      await lab.ip('public', 'link set lo up');
      start(lab);
      t.teardown(kill);
      const first = async () => (await lab.agent('h1').cli(['keys', 'init', '--etcd', url])).code === 0;
      t.true(await waitUntil(first, 20_000, 200), 'etcd has the first key');
      return { etcd: [url] };
    });
    t.timeout(180_000 + ROTATIONS * 4000);
    const flow = pair.flow('c1', ROTATIONS * 250, 4, true);
    for (let rotation = 0; rotation < ROTATIONS; rotation++) {
      const next = new Promise((resolve) => setTimeout(resolve, 1000));
      const dead = rotation % 20 === Math.min(3, ROTATIONS >> 1);
      if (dead) await kill();
      else t.is((await keys('rotate')).code, 0);
      await next;
      if (!dead) continue;
      start(pair.lab);
      t.true(await waitUntil(async () => (await keys('list')).code === 0, 20_000, 200));
    }
    const { sent, lost, duplicates, answered } = await flow;
    t.deepEqual({ lost, duplicates, unanswered: sent - answered }, { lost: 0, duplicates: 0, unanswered: 0 });
    await pair.until('valid', 'valid');
    t.deepEqual((await pair.peer('h1')).refused, {});
    t.deepEqual((await pair.peer('h2')).refused, {});
    const forms = new Set((await pair.wire()).filter(isData).map(({ what }) => what));
    t.true(forms.size >= 3 && [...forms].every((form) => form.startsWith('encrypted')), [...forms].join());
  },
);

test.serial(
  'R0.1 R1.1 encrypted from one network into another, where the receiver lists nobody of the sender',
  async (t) => {
    t.timeout(90_000);
    const lab = await HostLab.up({
      name: `hen${process.pid}x${serial++}`,
      networks: [
        { name: 'blue', vni: 100, subnet: '10.200.0.0/16', gateway: '10.200.0.1' },
        { name: 'lime', vni: 200, subnet: '10.201.0.0/16', gateway: '10.201.0.1' },
      ],
      instances: [
        { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2', mtu: 1400 },
        { name: 'c2', host: 2, network: 'lime', address: '10.201.2.2', mtu: 1400 },
      ],
    });
    t.teardown(() => lab.down());
    const directory = join(lab.agent('h1').directory, 'keys');
    t.is((await lab.agent('h1').cli(['keys', 'init', '--directory', directory])).code, 0);
    const hosts = ['h1', 'h2'].map((name) => lab.agent(name));
    for (const [index, agent] of hosts.entries()) {
      const encryption = { policy: 'overlap', keys: { directory } };
      agent.configure(lab.configuration(`h${index + 1}`, { encryption, fastPath: { mode: 'off' } }));
    }
    await Promise.all(hosts.map((agent) => agent.start()));
    const valid = async () => {
      const said = await Promise.all(hosts.map((agent) => agent.cli(['host', 'peers', '--json'])));
      return said.every(({ stdout }) => (JSON.parse(stdout) as Peer[])[0]?.state === 'valid');
    };
    t.true(await waitUntil(valid, 20_000, 100));
    const flow = { port: 7000, count: 50, size: 500, wait: 3000 };
    t.like(await lab.udp('c1', 'c2', flow), { received: 50, answered: 50 });
    t.like(await lab.udp('c2', 'c1', { ...flow, port: 7001 }), { received: 50, answered: 50 });
  },
);
