import test from 'ava';
import { Lab, pause, sh, until } from './support/lab.ts';

const FRR_G = `
router bgp 65000
 bgp router-id 10.255.0.254
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 timers bgp 1 3
 neighbor 192.0.2.2 remote-as 65001
 neighbor 192.0.2.2 timers connect 1
 neighbor 192.0.2.2 passive
 address-family ipv4 unicast
  neighbor 192.0.2.2 activate
  neighbor 192.0.2.2 default-originate
  neighbor 192.0.2.2 soft-reconfiguration inbound
 exit-address-family
 address-family ipv6 unicast
  neighbor 192.0.2.2 activate
 exit-address-family
`;

const NEIGHBOR = {
  address: '192.0.2.1',
  localAddress: '192.0.2.2',
  remoteAs: 65000,
  keepalive: 1000,
  hold: 3000,
  connectRetry: 500,
};
const CONFIG = {
  asn: 65001,
  routerId: '10.255.0.1',
  prefixes: ['10.10.0.0/16', '2001:db8:10::/64'],
  communities: ['65001:100', '65001:1:7'],
  neighbors: [NEIGHBOR],
  ports: [
    {
      name: 'A0',
      addresses: [
        ['192.0.2.2', 24],
        ['2001:db8::2', 64],
      ] as [string, number][],
    },
  ],
};

/** What tshark finds wrong in a capture, and how many UPDATEs with withdrawals of IPv4 routes went out from us. */
function dissect(file: string) {
  const read = (filter: string, ...fields: string[]) =>
    sh('tshark', '-r', file, '-Y', filter, '-T', 'fields', ...fields.flatMap((field) => ['-e', field]))
      .split('\n')
      .filter((line) => line !== '');
  return {
    malformed: read(
      '_ws.malformed || bgp.length.invalid || (bgp && _ws.expert.severity >= 0x00600000)',
      '_ws.col.Info',
    ),
    communications: read('bgp.type == 3', 'bgp.notify.communication'),
    withdrawing: read(
      'ip.src == 192.0.2.2 && bgp.type == 2 && bgp.update.withdrawn_routes.length > 0',
      'bgp.update.withdrawn_routes.length',
    )
      .flatMap((line) => line.split(','))
      .map(Number)
      .filter((length) => length > 0),
  };
}

function pair(lab: Lab) {
  const g = lab.namespace('g');
  const a = lab.namespace('a');
  lab.join(g, 'gA', ['192.0.2.1/24', '2001:db8::1/64'], a, 'A0', ['192.0.2.2/24', '2001:db8::2/64']);
  return { g, a };
}

test.serial(
  'R4.2 R4.3 FRR learns each /32 with us as next hop, never the covering subnet, and gives us the default route',
  async (t) => {
    const lab = new Lab();
    t.teardown(() => lab.close());
    const { g, a } = pair(lab);
    const frr = lab.frr(g, FRR_G);
    const speaker = await (await lab.speaker(a)).start(CONFIG);
    await speaker.apply([
      { address: '10.10.10.1' },
      { address: '10.10.10.2', level: 2 },
      { address: '2001:db8:10::5', level: 1 },
    ]);
    await speaker.established('192.0.2.1');
    const routes = await until(() => {
      const table = frr.routes();
      return table['10.10.10.1/32'] && table['10.10.10.2/32'] && table;
    }, 'both /32 at FRR');
    t.deepEqual(
      Object.keys(routes)
        .filter((prefix) => prefix.startsWith('10.'))
        .sort(),
      ['10.10.10.1/32', '10.10.10.2/32'],
    );
    const one = routes['10.10.10.1/32']![0]!;
    t.is(one.path, '65001');
    t.is(one.origin, 'incomplete');
    t.is(one.nexthops[0]!.ip, '192.0.2.2');
    t.is(routes['10.10.10.2/32']![0]!.origin, 'IGP');
    const v6 = await until(() => frr.routes('ipv6')['2001:db8:10::5/128'], 'the /128 at FRR');
    t.is(v6[0]!.origin, 'EGP');
    t.true(v6[0]!.nexthops.some((hop) => hop.ip === '2001:db8::2'));
    const detail = frr.vtysh('show bgp ipv4 unicast 10.10.10.1/32');
    t.regex(detail, /Community: 65001:100/);
    t.regex(detail, /Large Community: 65001:1:7/);
    await until(
      () => /10\.10\.10\.2 .*via 192\.0\.2\.2/.test(sh('ip', '-n', g, 'route')),
      'the /32 in the kernel of G',
    );

    const learned = await until(() => speaker.learned('0.0.0.0/0'), 'the default route');
    t.deepEqual(learned.nextHops, [{ via: '192.0.2.1', interface: 'A0' } as never]);

    await speaker.apply([], ['10.10.10.2']);
    await until(() => !frr.routes()['10.10.10.2/32'], 'the withdrawal');
    t.truthy(frr.routes()['10.10.10.1/32']);
  },
);

const many = (count: number) => Array.from({ length: count }, (_, index) => `10.10.${index >> 8}.${index & 255}`);

test.serial('R4.5 a thousand hosts are withdrawn in two UPDATEs, and nothing on the wire is malformed', async (t) => {
  const lab = new Lab();
  t.teardown(() => lab.close());
  const { g, a } = pair(lab);
  const capture = await lab.capture(a, 'A0');
  const frr = lab.frr(g, FRR_G);
  const speaker = await (await lab.speaker(a)).start(CONFIG);
  await speaker.established('192.0.2.1');
  const hosts = many(1000);
  const announced = await speaker.apply(hosts.map((address) => ({ address })));
  t.is(announced.report.packets, 2);
  await until(() => Object.keys(frr.routes()).length >= 1000, 'a thousand /32 at FRR');
  const { report } = await speaker.apply([], hosts);
  t.is(report.packets, 2);
  t.true(report.firstByteAt !== undefined && report.lastByteAt !== undefined);
  await until(() => Object.keys(frr.routes()).every((prefix) => !prefix.endsWith('/32')), 'no /32 left');
  await speaker.stop('moving to another rack');
  const shutdown = /Cease\/Administrative Shutdown/;
  await until(() => shutdown.test(frr.vtysh('show bgp neighbors 192.0.2.2')), 'the reason at FRR');
  await capture.stop();
  const wire = dissect(capture.file);
  t.deepEqual(wire.malformed, []);
  t.deepEqual(wire.communications, ['moving to another rack']);
  t.is(wire.withdrawing.length, 2);
  t.is(
    wire.withdrawing.reduce((sum, length) => sum + length),
    5000,
  );
});

test.serial(
  'a killed session comes back and brings the whole table; clear soft in makes us send it again',
  async (t) => {
    const lab = new Lab();
    t.teardown(() => lab.close());
    const { g, a } = pair(lab);
    const frr = lab.frr(g, FRR_G.replace('  neighbor 192.0.2.2 soft-reconfiguration inbound\n', ''));
    const speaker = await (await lab.speaker(a)).start(CONFIG);
    await speaker.apply(many(300).map((address) => ({ address })));
    const inTable = () => Object.keys(frr.routes()).filter((prefix) => prefix.endsWith('/32')).length;
    await until(() => inTable() === 300, 'the table');
    await until(() => speaker.learned('0.0.0.0/0')?.nextHops.length === 1, 'the default route');

    frr.vtysh('clear bgp 192.0.2.2');
    await until(() => speaker.sessions.some((change) => change.from === 'Established'), 'the loss');
    await until(
      () => speaker.routes.some((route) => route.prefix === '0.0.0.0/0' && route.nextHops.length === 0),
      'the default route goes',
    );
    await until(async () => (await speaker.view()).sessions[0]!.established === 2, 'the second session');
    await until(() => inTable() === 300, 'the table again');
    await until(() => speaker.learned('0.0.0.0/0')?.nextHops.length === 1, 'the default route again');

    const before = await speaker.view();
    frr.vtysh('clear bgp 192.0.2.2 soft in');
    await until(async () => ((await speaker.view()).counters['received_route-refresh'] ?? 0) > 0, 'a ROUTE-REFRESH');
    const sent = async () => (await speaker.view()).counters.sent_update!;
    await until(async () => (await sent()) > before.counters.sent_update!, 'the table once more');
    await until(async () => (await speaker.view()).initial[0], 'End-of-RIB of FRR');
    const after = await speaker.view();
    t.is(after.sessions[0]!.established, 2);
    t.true(await speaker.refresh('192.0.2.1'));
  },
);

const INTERNAL = (extra: string, main = '') => FRR_G.replace(' neighbor 192.0.2.2 passive\n', `${main} ${extra}\n`);

test.serial('RFC 2385: the right key connects from either side, a wrong or missing one does not', async (t) => {
  for (const [name, passive, ours, works] of [
    ['we connect', 'neighbor 192.0.2.2 passive', 'sesame', true],
    ['FRR connects', '', 'sesame', true],
    ['wrong key', '', 'sesame!', false],
    ['no key', '', undefined, false],
  ] as const) {
    const lab = new Lab();
    try {
      const { g, a } = pair(lab);
      const frr = lab.frr(g, INTERNAL(passive, ' neighbor 192.0.2.2 password sesame\n'));
      const neighbor = { ...NEIGHBOR, passive: passive === '', ...(ours ? { password: ours } : {}) };
      const speaker = await (await lab.speaker(a)).start({ ...CONFIG, neighbors: [neighbor] });
      if (works) {
        await speaker.established('192.0.2.1');
        t.pass(name);
      } else {
        await until(() => frr.json('show bgp summary') !== undefined, 'FRR');
        await pause(4000);
        const { sessions } = await speaker.view();
        t.is(sessions[0]!.established, 0, name);
      }
    } finally {
      await lab.close();
    }
  }
});

test.serial(
  'RFC 5082: TTL security on both ends, whoever connects; packets with a lower TTL get nowhere',
  async (t) => {
    for (const passive of [true, false]) {
      const lab = new Lab();
      try {
        const { g, a } = pair(lab);
        const main = ' neighbor 192.0.2.2 ttl-security hops 1\n';
        lab.frr(g, INTERNAL(passive ? '' : 'neighbor 192.0.2.2 passive', main));
        const neighbor = { ...NEIGHBOR, passive, ttlSecurity: true };
        const speaker = await (await lab.speaker(a)).start({ ...CONFIG, neighbors: [neighbor] });
        await speaker.established('192.0.2.1');
        t.pass();
      } finally {
        await lab.close();
      }
    }
    const lab = new Lab();
    t.teardown(() => lab.close());
    const { g, a } = pair(lab);
    const frr = lab.frr(g, FRR_G); // sends with TTL 1
    const speaker = await (await lab.speaker(a)).start({ ...CONFIG, neighbors: [{ ...NEIGHBOR, ttlSecurity: true }] });
    await until(() => frr.json('show bgp summary') !== undefined, 'FRR');
    await pause(4000);
    t.is((await speaker.view()).sessions[0]!.established, 0);
  },
);

test.serial(
  'RFC 4271 §6.8: both sides connect at once, again and again, and one session is left each time',
  async (t) => {
    for (const routerId of ['10.255.0.1', '10.255.0.255']) {
      const lab = new Lab();
      try {
        const { g, a } = pair(lab);
        const frr = lab.frr(g, INTERNAL(''));
        const speaker = await (await lab.speaker(a)).start({ ...CONFIG, routerId });
        await speaker.apply([{ address: '10.10.10.1' }]);
        const lost = () => speaker.sessions.filter((change) => change.from === 'Established').length;
        for (let round = 1; round <= 5; round++) {
          await until(() => frr.routes()['10.10.10.1/32'], `the route in round ${round}`);
          const [session] = (await speaker.view()).sessions;
          t.is(session!.state, 'Established');
          frr.vtysh('clear bgp 192.0.2.2');
          await until(() => lost() >= round, 'the reset');
        }
        await speaker.established('192.0.2.1');
        await pause(3000);
        const before = lost();
        await pause(4000);
        t.is(lost(), before, 'stable');
      } finally {
        await lab.close();
      }
    }
  },
);

test.serial('the carrier of the interface ends the session at once and brings it back', async (t) => {
  const lab = new Lab();
  t.teardown(() => lab.close());
  const { g, a } = pair(lab);
  const frr = lab.frr(g, FRR_G);
  const speaker = await (await lab.speaker(a)).start(CONFIG);
  await speaker.apply([{ address: '10.10.10.1' }]);
  await until(() => frr.routes()['10.10.10.1/32'], 'the route');
  await until(() => speaker.learned('0.0.0.0/0'), 'the default route');
  sh('ip', '-n', g, 'link', 'set', 'gA', 'down');
  await speaker.link('A0', false);
  const { sessions } = await speaker.view();
  t.not(sessions[0]!.state, 'Established');
  t.is(speaker.learned('0.0.0.0/0')?.nextHops.length, 0);
  t.true(speaker.sessions.some((change) => change.from === 'Established' && change.reason === 'interface A0 down'));
  sh('ip', '-n', g, 'link', 'set', 'gA', 'up');
  await speaker.link('A0', true);
  await speaker.established('192.0.2.1');
  await until(() => frr.routes()['10.10.10.1/32'], 'the route again');
});

test.serial('two switches of one AS behind FRR hear each other, and neither hears itself', async (t) => {
  const lab = new Lab();
  t.teardown(() => lab.close());
  const { g, a } = pair(lab);
  const b = lab.namespace('b');
  lab.join(g, 'gB', ['198.51.100.1/24'], b, 'B0', ['198.51.100.2/24']);
  const second = ` neighbor 198.51.100.2 remote-as 65001
 neighbor 198.51.100.2 passive
 address-family ipv4 unicast
  neighbor 198.51.100.2 activate
 exit-address-family
`;
  const frr = lab.frr(g, `${FRR_G}\n${second}`);
  const speakerA = await (await lab.speaker(a)).start(CONFIG);
  const speakerB = await (await lab.speaker(b)).start({
    ...CONFIG,
    routerId: '10.255.0.2',
    ports: [{ name: 'B0', addresses: [['198.51.100.2', 24]] }],
    neighbors: [{ ...NEIGHBOR, address: '198.51.100.1', localAddress: '198.51.100.2' }],
  });
  await speakerA.established('192.0.2.1');
  await speakerB.established('198.51.100.1');
  await speakerA.apply([{ address: '10.10.10.1' }]);
  await until(() => speakerB.claims.at(-1)?.level === 0, 'B hears A');
  // The server moved to B: its newer claim is the better one.
  await speakerB.apply([{ address: '10.10.10.1', level: 1 }]);
  await until(
    () => frr.routes()['10.10.10.1/32']?.some((path) => path.bestpath && path.nexthops[0]!.ip === '198.51.100.2'),
    'G prefers B',
  );
  await until(() => speakerA.claims.at(-1)?.level === 1, 'A hears B');
  await until(() => speakerB.claims.at(-1)?.level === undefined, 'A no longer heard, as G prefers B');
  await speakerA.apply([], ['10.10.10.1']);
  await pause(500);
  // FRR sends each its own route back, as both are in one update group: it has to be seen through.
  t.deepEqual(speakerA.claims, [
    { address: '10.10.10.1', level: 1, from: '10.255.0.2', routerId: '10.255.0.2', portIndex: 99 },
  ] as never);
  t.deepEqual(
    speakerB.claims.map(({ level, from }) => [level ?? null, from]),
    [
      [0, '10.255.0.1'],
      [null, '10.255.0.1'],
    ],
  );
  t.is(speakerA.learned('10.10.10.1/32'), undefined, 'a path with our own AS is no route');
});
