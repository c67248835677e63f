import test from 'ava';
import type { TcpAnswer, UdpReceipt, UdpSent } from '../../../lab/hosts/index.ts';
import type { Prefix } from '../../../src/model/address.ts';
import type { PolicyRule } from '../../../src/model/overlay.ts';
import { added, type FastHost, type Ground, makeGround } from './support/ground.ts';

const C1 = '10.200.1.2/32' as Prefix;
const C2 = '10.200.2.2/32' as Prefix;
const UDP = 17;
const ANY: PolicyRule = {
  name: '',
  direction: 'both',
  from: 'any',
  to: 'any',
  protocol: 'any',
  ports: [],
  sourcePorts: [],
};
const rule = (name: string, what: Partial<PolicyRule>): PolicyRule => ({ ...ANY, name, ...what });
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

let ground: Ground;
let h1: FastHost;
let h2: FastHost;

test.serial.before(async () => {
  ground = await makeGround(`bpr${process.pid}`, [
    { name: 'c1', host: 1, network: 'blue', address: '10.200.1.2' },
    { name: 'c2', host: 2, network: 'blue', address: '10.200.2.2' },
    { name: 'c3', host: 1, network: 'blue', address: '10.200.1.3' },
  ]);
  h1 = ground.hosts.h1!;
  h2 = ground.hosts.h2!;
});
test.serial.after.always(() => ground?.close());
test.serial.afterEach.always(() => {
  h1.rules([]);
  h2.rules([]);
});

const send = (request: object): Promise<UdpSent> =>
  ground.lab.station('c1').request<UdpSent>('sendUdp', { to: '10.200.2.2', port: 6000, wait: 300, ...request });
const receipt = (close = false): Promise<UdpReceipt> =>
  ground.lab.station('c2').request<UdpReceipt>('receiptOf', { port: 6000, close });
const listen = async () => {
  await receipt(true);
  await ground.lab.station('c2').request('listenUdp', { port: 6000, echo: true });
};

for (const [where, direction] of [
  ['h1', 'out'],
  ['h2', 'in'],
] as const) {
  test.serial(
    `R3.7, R3.8: a deny (${direction}) that is inserted in mid-flow stops the next packet, and is counted; removed, the flow goes on`,
    async (t) => {
      const host = ground.hosts[where]!;
      await listen();
      const flow = send({ count: 1500 });
      while ((await receipt()).received < 50) await wait(20);
      host.rules([
        rule('stop', { direction, to: C2, protocol: UDP, ports: [{ first: 6000, last: 6000 }], action: 'deny' }),
      ]);
      let port = 0;
      const counts = await added(host, direction === 'out' ? 'from_instance' : 'nic_ingress', async () => {
        ({ port } = await flow);
      });
      t.is(counts.hit, 0, 'not one more');
      t.true(counts.denied! > 100);
      const { deniedPackets } = host.table.views([rule('stop', {})])[0]!;
      t.true(deniedPackets > 100, `${deniedPackets}`);
      host.rules([]);
      const again = await send({ count: 50, sourcePort: port, wait: 2000 });
      t.is(again.answered, 50);
    },
  );
}

test.serial('R3.7: replies are judged by the connection, whoever the first packet was from', async (t) => {
  await listen();
  const { port } = await send({ count: 3, wait: 1000 });
  const rules = [rule('no replies', { from: C2, to: C1, action: 'deny' })];
  h1.rules(rules);
  h2.rules(rules);
  const more = await send({ count: 100, sourcePort: port, wait: 2000 });
  t.is(more.answered, 100);
  t.is(h1.table.views(rules)[0]!.deniedPackets + h2.table.views(rules)[0]!.deniedPackets, 0);
});

test.serial('R3.7: a record that began with a reply learns from conntrack who opened', async (t) => {
  await listen();
  const { port } = await send({ count: 3, wait: 1000 });
  // All that was known is forgotten, and the next packet is an answer: of a request that went round the programs.
  for (const host of [h1, h2]) for (const slot of host.records()) host.forget(slot);
  h2.rules([rule('nothing out', { direction: 'out', from: C2, action: 'deny' })]);
  const counts = await added(h2, 'from_instance', async () => {
    const more = await send({ count: 100, sourcePort: port, wait: 2000 });
    t.is(more.answered, 100);
  });
  t.is(counts.denied, 0);
  t.true(counts.hit! >= 95, JSON.stringify(counts));
});

test.serial(
  'R3.7: the most specific rule decides; where the policy denies, only what a rule allows is fast',
  async (t) => {
    const rules = [
      rule('none', { to: '10.200.0.0/16' as Prefix, action: 'deny' }),
      rule('but this', { to: C2, protocol: UDP, ports: [{ first: 6000, last: 6003 }], action: 'allow' }),
    ];
    h1.rules(rules, 'deny');
    await listen();
    const counts = await added(h1, 'from_instance', async () => {
      t.is((await send({ count: 100, wait: 2000 })).answered, 100);
    });
    t.true(counts.hit! >= 95, JSON.stringify(counts));
    const refused = await ground.lab.tcp('c1', 'c2', { port: 6004, patience: 700, bytes: 1 });
    t.is(refused.outcome, 'timeout');
    t.true(h1.table.views(rules)[0]!.deniedPackets > 0);
    h1.rules([], 'deny');
    await listen();
    const left = await added(h1, 'from_instance', () => send({ count: 50 }));
    t.is(left.hit, 0, 'the default that denies is the slow path’s to say');
    t.true(left.rule! + left.state! >= 50, JSON.stringify(left));
  },
);

test.serial('R3.7: a rule on TCP flags leaves its connections to the slow path, others not', async (t) => {
  h1.rules([
    rule('flags', {
      to: C2,
      protocol: 6,
      ports: [{ first: 6005, last: 6005 }],
      tcpFlags: { set: ['psh'], of: ['psh'] },
      action: 'deny',
    }),
  ]);
  const slow = await added(h1, 'from_instance', async () => {
    t.is(
      (await ground.lab.tcp('c1', 'c2', { port: 6005, bytes: 1_000_000 })).outcome,
      'done',
      'nobody denies here but the slow path',
    );
  });
  t.is(slow.hit, 0);
  const fast = await added(h1, 'from_instance', async () => {
    t.is((await ground.lab.tcp('c1', 'c3', { port: 6005, bytes: 1_000_000 })).outcome, 'done');
  });
  t.true(fast.hit! > 10);
});

for (const [name, to, limiter] of [
  ['to another host', 'c2', 'h1'],
  ['from another host', 'c2', 'h2'],
  ['on one host', 'c3', 'h1'],
] as const) {
  test.serial(`R3.7: a rate holds for what takes the fast path, ${name}`, async (t) => {
    const host = ground.hosts[limiter]!;
    const rules = [rule('cap', { to: `${ground.lab.addressOf(to)}/32` as Prefix, rate: 40_000_000 })];
    host.rules(rules);
    const answer: TcpAnswer = await ground.lab.tcp('c1', to, { port: 6007, bytes: 4_000_000, patience: 60_000 });
    t.is(answer.outcome, 'done');
    // 32 Mbit at 40 Mbit/s, less what may be sent ahead.
    t.true(answer.milliseconds > 600, `${answer.milliseconds} ms`);
    t.true(host.table.views(rules)[0]!.limitedPackets > 0);
  });
}
