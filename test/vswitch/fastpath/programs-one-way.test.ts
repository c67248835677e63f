/** UDP that nobody answers: carried all the same once the slow path has let enough of it through, and never longer. */
import test, { type ExecutionContext } from 'ava';
import type { UdpReceipt, UdpSent } from '../../../lab/hosts/index.ts';
import { run, waitUntil } from '../../../lab/processes.ts';
import type { Prefix } from '../../../src/model/address.ts';
import type { PolicyRule } from '../../../src/model/overlay.ts';
import { MODE, type ProgramName } from '../../../src/vswitch-bridge/fastpath/maps/layout.ts';
import { added, type Counts, type FastHost, type Ground, makeGround, nft, SETTINGS, still } from './support/ground.ts';

const MS = 1_000_000n;
const C2 = '10.200.2.2';
const UDP = 17;
/** No instance's: the bridges flood what is for it. */
const NOBODY = { address: '10.200.3.9', mac: '0a:00:00:00:09:09' };
/** More than the slow path must see, for longer than it must have lasted. */
const OPENING = { count: 60, interval: 20 };
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

let ground: Ground;
let h1: FastHost;
let h2: FastHost;
let lastPort = 6100;

test.serial.before(async () => {
  ground = await makeGround(`bpo${process.pid}`, [
    { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
    { name: 'c2', host: 2, network: 'blue', address: C2 },
    { name: 'c3', host: 1, network: 'blue', address: '10.200.1.3' },
  ]);
  h1 = ground.hosts.h1!;
  h2 = ground.hosts.h2!;
  for (const host of [h1, h2]) settings(host);
  [beside, ...streams] = await Promise.all([opened('c3', '10.200.1.3'), ...Array.from({ length: 7 }, () => opened())]);
});
test.serial.after.always(() => ground?.close());
test.serial.afterEach.always(async () => {
  for (const host of [h1, h2]) {
    settings(host);
    host.rules([]);
    await nft(ground.lab, host.name, 'flush chain ip ground judge');
  }
});

/** Nothing ends while the tests before it take their time. */
function settings(host: FastHost, more: Partial<typeof SETTINGS> = {}): void {
  host.settings({ timeout: SETTINGS.timeout.map((of) => (of === 0n ? of : 120_000n * MS)), ...more });
}

interface Stream {
  readonly port: number;
  readonly sourcePort: number;
  readonly to: string;
}
const send = (request: object): Promise<UdpSent> =>
  ground.lab.station('c1').request<UdpSent>('sendUdp', { to: C2, ...request });
/** Packets that have come there; their numbers begin anew with each request. */
async function received(port: number, name = 'c2'): Promise<number> {
  const receipt = await ground.lab.station(name).request<UdpReceipt>('receiptOf', { port, close: false });
  return receipt.received + receipt.duplicates;
}

/** As `before` has opened them, all at the same time: let through for as long as it takes, and never answered. */
let streams: Stream[];
let beside: Stream;

async function opened(name = 'c2', to = C2): Promise<Stream> {
  lastPort += 1;
  const port = lastPort;
  await ground.lab.station(name).request('listenUdp', { port, echo: false });
  const { port: sourcePort } = await send({ to, port, ...OPENING });
  return { port, sourcePort, to };
}

/** What each program counted while the stream went on. */
async function during(work: () => Promise<unknown>): Promise<(host: FastHost, program: ProgramName) => Counts> {
  const programs = ['from_instance', 'nic_ingress', 'nic_egress', 'to_instance'] as const;
  const all = [h1, h2].flatMap((host) => programs.map((program) => ({ host, program, before: host.counts(program) })));
  await work();
  const after = await still(() => all.map(({ host, program }) => host.counts(program)));
  return (host, program) => {
    const at = all.findIndex((one) => one.host === host && one.program === program);
    return Object.fromEntries(
      Object.entries(after[at]!).map(([name, count]) => [name, count - all[at]!.before[name]!]),
    );
  };
}

async function carried(t: ExecutionContext, stream: Stream, name: string, ...by: [FastHost, ProgramName][]) {
  const before = await received(stream.port, name);
  const counted = await during(() => send({ ...stream, count: 200 }));
  await waitUntil(async () => (await received(stream.port, name)) - before >= 200, 5_000);
  t.is((await received(stream.port, name)) - before, 200, 'nothing is lost');
  for (const [host, program] of by) {
    const counts = counted(host, program);
    t.true(counts.hit! >= 195, `${host.name} ${program}: ${JSON.stringify(counts)}`);
  }
  return counted;
}

test.serial(
  'R1.3, R1.4: a stream that nobody answers is carried by both hosts; its state stays what it is',
  async (t) => {
    const stream = streams.pop()!;
    await carried(t, stream, 'c2', [h1, 'from_instance'], [h2, 'nic_ingress']);
    for (const host of [h1, h2]) {
      const found = host.records().find(({ connection }) => connection.direction[0]!.key.dport === stream.port)!;
      t.is(found.connection.state, 1, 'opening');
      t.is(found.connection.direction[1]!.seen, 0);
    }
  },
);

test.serial('R1.3: and so is one between two instances of a host', async (t) => {
  await carried(t, beside, 'c3', [h1, 'from_instance']);
});

test.serial('R3.2, R3.3: in rewrite mode it gets a key, though no packet of its own comes back', async (t) => {
  for (const [at, host] of [h1, h2].entries()) settings(host, { mode: MODE.rewrite, rewrite: [BigInt(7 + at)] });
  const stream = streams.pop()!;
  // The key is asked for with the first packets that are carried.
  await send({ ...stream, count: 40, interval: 10 });
  const counted = await carried(t, stream, 'c2', [h1, 'from_instance'], [h2, 'nic_ingress']);
  t.true(counted(h1, 'from_instance')['rewrite sent']! >= 195);
  t.true(counted(h2, 'nic_ingress')['rewrite received']! >= 195);
});

test.serial('R1.4: a short burst without an answer is conntrack’s alone, however many packets it has', async (t) => {
  const counted = await during(() => send({ port: 6999, count: 100, interval: 0 }));
  t.is(counted(h1, 'from_instance').hit, 0);
  t.is(counted(h1, 'from_instance').state, 100);
});

test.serial(
  'R1.2: the answer that comes at last is conntrack’s, which knows the stream still; then both are fast',
  async (t) => {
    const { lab } = ground;
    for (const name of ['h1', 'h2'])
      await run(lab.inside(name, ['sysctl', '-qw', 'net.netfilter.nf_conntrack_udp_timeout=2']));
    // As conntrack's 30 s are to the 10 s of the product.
    for (const host of [h1, h2]) settings(host, { slow_interval: 600n * MS, slow_force: 1200n * MS });
    // What h1's instance has not opened does not come in.
    await nft(lab, 'h1', `add rule ip ground judge ip saddr ${C2} ct state new drop`);
    const stream = streams.pop()!;
    const counted = await during(() => send({ ...stream, count: 1500 }));
    const { hit, keepalive, 'no-exit': noExit, aged } = counted(h1, 'from_instance');
    t.true(hit! >= 1480 && keepalive! >= 3 && noExit === 0 && aged === 0, JSON.stringify(counted(h1, 'from_instance')));
    t.true(counted(h2, 'nic_ingress').keepalive! >= 3);
    // The receiver has learned to speak.
    await lab.station('c2').request('receiptOf', { port: stream.port, close: true });
    await lab.station('c2').request('listenUdp', { port: stream.port, echo: true });
    t.is((await send({ ...stream, count: 20, interval: 5, wait: 2000 })).answered, 20);
    const both = await during(() => send({ ...stream, count: 50, wait: 2000 }));
    t.true(both(h1, 'nic_ingress').hit! >= 48, JSON.stringify(both(h1, 'nic_ingress')));
    for (const name of ['h1', 'h2'])
      await run(lab.inside(name, ['sysctl', '-qw', 'net.netfilter.nf_conntrack_udp_timeout=30']));
  },
);

test.serial('R3.7, R3.8: with a deny not one packet more is carried, wherever it stands', async (t) => {
  for (const host of [h1, h2]) {
    const stream = streams.pop()!;
    const before = await received(stream.port);
    const ports = [{ first: stream.port, last: stream.port }];
    const stop: PolicyRule = {
      name: 'stop',
      direction: 'both',
      from: 'any',
      to: `${C2}/32` as Prefix,
      protocol: UDP,
      ports,
      sourcePorts: [],
      action: 'deny',
    };
    host.rules([stop]);
    const counted = await during(() => send({ ...stream, count: 30 }));
    await wait(100);
    t.is(counted(host, 'from_instance').hit! + counted(host, 'nic_ingress').hit!, 0);
    if (host === h2) {
      t.is(counted(h2, 'nic_ingress').denied, 30);
      t.is(await received(stream.port), before);
    } else {
      // Nobody there has seen who opened it: the slow path knows.
      t.is(counted(h1, 'from_instance').rule, 30);
    }
    host.rules([]);
  }
});

test.serial('R1.2, R3.8: what the slow path lets through no more ends in the fast path too', async (t) => {
  for (const host of [h1, h2]) settings(host, { slow_interval: 200n * MS, slow_idle: 0n, slow_force: 200n * MS });
  const stream = streams.pop()!;
  await nft(ground.lab, 'h1', `add rule ip ground judge udp dport ${stream.port} drop`);
  const ending = await added(h1, 'from_instance', () => send({ ...stream, count: 500 }));
  t.true(ending.hit! > 0 && ending.aged! >= 1, JSON.stringify(ending));
  const over = await added(h1, 'from_instance', () => send({ ...stream, count: 50 }));
  t.is(over.hit, 0);
});

test.serial('R1.2: what the slow path has never let through is not carried, however long it is tried', async (t) => {
  await nft(ground.lab, 'h2', 'add rule ip ground judge udp dport 6998 drop');
  await send({ port: 6998, ...OPENING });
  const counted = await during(() => send({ port: 6998, count: 50 }));
  t.is(counted(h2, 'nic_ingress').hit, 0);
});

test.serial(
  'R3.6: unused for longer than its lifetime it is learned anew: sending first, receiving later',
  async (t) => {
    const stream = streams.pop()!;
    for (const host of [h1, h2]) settings(host, { lifetime_send: 300n * MS, lifetime_receive: 3_600_000n * MS });
    await wait(700);
    const counted = await during(() => send({ ...stream, count: 40 }));
    const sender = counted(h1, 'from_instance');
    t.is(sender.aged, 1, JSON.stringify(sender));
    // Let through so often by the same way again.
    t.true(sender.state! >= 7 && sender.hit! >= 28, JSON.stringify(sender));
    t.is(counted(h2, 'nic_ingress').aged, 0);
    t.true(counted(h2, 'nic_ingress').hit! >= 38);
  },
);

test.serial('R3.1: a frame that is flooded to several hosts is never sent on by one of its ways', async (t) => {
  const { lab } = ground;
  await lab.ip('c1', `neigh replace ${NOBODY.address} lladdr ${NOBODY.mac} dev eth0 nud permanent`);
  const flood = ['bridge', 'fdb', 'append', '00:00:00:00:00:00', 'dev', 'pltn100', 'dst', '10.20.1.77'];
  await run(lab.inside('h1', flood));
  const underlay = await lab.ip('h1', 'neigh replace 10.20.1.77 lladdr 0a:00:00:00:07:77 dev eth0 nud permanent');
  t.is(underlay, '');
  const counted = await during(() => send({ to: NOBODY.address, port: 6997, ...OPENING }));
  const ways = counted(h1, 'nic_egress');
  t.true(ways.changed! >= 2 * OPENING.count - 2, JSON.stringify(ways));
  t.is(counted(h1, 'from_instance').hit, 0);
});
