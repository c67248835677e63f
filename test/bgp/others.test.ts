import test from 'ava';
import { Bird, GoBgp } from './support/daemons.ts';
import { Lab, pause, sh, until } from './support/lab.ts';

const CONFIG = {
  asn: 4_200_000_001,
  routerId: '10.255.0.1',
  prefixes: ['10.10.0.0/16', '2001:db8:10::/64'],
  communities: ['65001:100', '4200000001:1:7'],
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
const NEIGHBOR = {
  address: '192.0.2.1',
  localAddress: '192.0.2.2',
  remoteAs: 65000,
  keepalive: 1000,
  hold: 3000,
  connectRetry: 500,
};

const BIRD = (extra = '') => `
router id 10.255.0.254;
protocol device {}
protocol static s4 { ipv4; route 0.0.0.0/0 blackhole; }
protocol static s6 { ipv6; route ::/0 blackhole; }
protocol kernel k4 { ipv4 { export filter { if source = RTS_BGP then accept; reject; }; }; }
protocol bgp tor {
  local 192.0.2.1 as 65000;
  neighbor 192.0.2.2 as 4200000001;
  connect retry time 1;
  error wait time 1, 2;
  ${extra}
  ipv4 { import all; export all; };
  ipv6 { import all; export all; next hop address 2001:db8::1; };
}
`;

function pair(lab: Lab) {
  const g = lab.namespace('g');
  const a = lab.namespace('a');
  lab.join(g, 'gA', ['192.0.2.1/24', '2001:db8::1/64'], a, 'A0', ['192.0.2.2/24', '2001:db8::2/64']);
  return { g, a };
}

test.serial(
  'R4.2 R4.3 BIRD: /32s and /128s with a four-octet AS, default routes of both families, refresh, withdrawal',
  async (t) => {
    const lab = new Lab();
    t.teardown(() => lab.close());
    const { g, a } = pair(lab);
    const bird = new Bird(lab, g, BIRD('password "sesame"; ttl security yes;'));
    const neighbors = [{ ...NEIGHBOR, password: 'sesame', ttlSecurity: true }];
    const speaker = await (await lab.speaker(a)).start({ ...CONFIG, neighbors });
    await speaker.apply([
      { address: '10.10.10.1' },
      { address: '10.10.10.2', level: 2 },
      { address: '2001:db8:10::5' },
    ]);
    await speaker.established('192.0.2.1');
    for (const each of ['10.10.10.1/32', '10.10.10.2/32'])
      await until(() => bird.ask('show', 'route', each).includes('via 192.0.2.2'), `${each} at BIRD`);
    const detail = bird.ask('show', 'route', '10.10.10.1/32', 'all');
    t.regex(detail, /BGP.origin: Incomplete/);
    t.regex(detail, /BGP.as_path: 4200000001/);
    t.regex(detail, /BGP.community: \(65001,100\)/);
    t.regex(detail, /BGP.large_community: \(4200000001, 1, 7\)/);
    await until(() => bird.ask('show', 'route', '2001:db8:10::5/128').includes('via 2001:db8::2'), 'the /128 at BIRD');
    const all = bird.ask('show', 'route', 'protocol', 'tor');
    t.deepEqual(all.match(/^10\.[\d./]+/gm)?.sort(), ['10.10.10.1/32', '10.10.10.2/32']);
    await until(() => sh('ip', '-n', g, 'route').includes('10.10.10.2 via 192.0.2.2'), 'the /32 in the kernel of G');
    await until(() => speaker.learned('0.0.0.0/0')?.nextHops[0]?.via === '192.0.2.1', 'the IPv4 default route');
    await until(() => speaker.learned('::/0')?.nextHops[0]?.via === '2001:db8::1', 'the IPv6 default route');
    bird.ask('reload', 'in', 'tor');
    await until(async () => ((await speaker.view()).counters['received_route-refresh'] ?? 0) > 0, 'a ROUTE-REFRESH');
    await speaker.apply([], ['10.10.10.2']);
    await until(() => !bird.ask('show', 'route', '10.10.10.2/32').includes('via'), 'the withdrawal');
    await speaker.graceful(true);
    await until(() => bird.ask('show', 'route', '10.10.10.1/32', 'all').includes('(65535,0)'), 'GRACEFUL_SHUTDOWN');
    await speaker.stop();
    await until(() => !bird.ask('show', 'route', '10.10.10.1/32').includes('via'), 'all withdrawn');
    t.regex(bird.ask('show', 'protocols', 'all', 'tor'), /Administrative shutdown|Received: Administrative/i);
  },
);

test.serial('BIRD and we connect to each other at once: one session, and it stays', async (t) => {
  for (const routerId of ['10.255.0.1', '10.255.0.255']) {
    const lab = new Lab();
    try {
      const { g, a } = pair(lab);
      const bird = new Bird(lab, g, BIRD('connect delay time 0;'));
      const speaker = await (await lab.speaker(a)).start({ ...CONFIG, routerId, neighbors: [NEIGHBOR] });
      const lost = () => speaker.sessions.filter((change) => change.from === 'Established').length;
      for (let round = 1; round <= 4; round++) {
        await speaker.established('192.0.2.1');
        bird.ask('restart', 'tor');
        await until(() => lost() >= round, 'the reset');
      }
      await speaker.established('192.0.2.1');
      await pause(3000);
      const before = lost();
      await pause(4000);
      t.is(lost(), before);
    } finally {
      await lab.close();
    }
  }
});

test.serial('R4.3 GoBGP: /32s arrive and go', async (t) => {
  const lab = new Lab();
  t.teardown(() => lab.close());
  const { g, a } = pair(lab);
  const gobgp = new GoBgp(
    lab,
    g,
    `[global.config]
as = 65000
router-id = "10.255.0.254"
[[neighbors]]
[neighbors.config]
neighbor-address = "192.0.2.2"
peer-as = 4200000001
[neighbors.transport.config]
passive-mode = true
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv4-unicast"
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv6-unicast"
`,
  );
  const speaker = await (await lab.speaker(a)).start({ ...CONFIG, neighbors: [NEIGHBOR] });
  await speaker.apply(Array.from({ length: 1000 }, (_, index) => ({ address: `10.10.${index >> 8}.${index & 255}` })));
  await speaker.established('192.0.2.1');
  const rows = () => gobgp.ask('global', 'rib').match(/10\.10\.\d+\.\d+\/32/g)?.length ?? 0;
  await until(() => rows() === 1000, 'a thousand /32 at GoBGP');
  t.regex(gobgp.ask('global', 'rib', '10.10.0.7/32'), /192\.0\.2\.2\s+4200000001/);
  gobgp.ask('global', 'rib', 'add', '0.0.0.0/0', 'nexthop', '192.0.2.1');
  await until(() => speaker.learned('0.0.0.0/0')?.nextHops[0]?.via === '192.0.2.1', 'the default route');
  await speaker.apply([], ['10.10.0.7']);
  await until(() => rows() === 999, 'the withdrawal');
});

test.serial('the twin behind BIRD is heard as a claim; its death is heard too', async (t) => {
  const lab = new Lab();
  t.teardown(() => lab.close());
  const { g, a } = pair(lab);
  const b = lab.namespace('b');
  lab.join(g, 'gB', ['198.51.100.1/24'], b, 'B0', ['198.51.100.2/24']);
  const twin = `protocol bgp twin { local 198.51.100.1 as 65000; neighbor 198.51.100.2 as 65002; connect retry time 1; ipv4 { import all; export all; }; }`;
  new Bird(lab, g, BIRD() + twin);
  const speakerA = await (await lab.speaker(a)).start({ ...CONFIG, neighbors: [NEIGHBOR] });
  const speakerB = await (await lab.speaker(b)).start({
    ...CONFIG,
    asn: 65002,
    routerId: '10.255.0.2',
    ports: [{ name: 'B0', addresses: [['198.51.100.2', 24]] }],
    neighbors: [{ ...NEIGHBOR, address: '198.51.100.1', localAddress: '198.51.100.2' }],
  });
  await speakerA.established('192.0.2.1');
  await speakerB.established('198.51.100.1');
  await speakerB.apply([{ address: '10.10.10.4', level: 1 }]);
  await until(() => speakerA.claims.length > 0, 'the claim');
  t.deepEqual(speakerA.claims[0], {
    address: '10.10.10.4',
    level: 1,
    from: '10.255.0.2',
    routerId: '10.255.0.2',
    portIndex: 99,
  } as never);
  await until(() => speakerA.learned('10.10.10.4/32')?.nextHops.length === 1, 'the route to the host behind the twin');
  // The same host here: our claim is the better one, so G takes the twin's back from us.
  await speakerA.apply([{ address: '10.10.10.4', level: 2 }]);
  await until(() => speakerA.claims.at(-1)?.level === undefined, 'the claim goes as ours wins');
  await until(() => speakerB.claims.at(-1)?.level === 2, 'the twin hears ours');
  await speakerA.apply([], ['10.10.10.4']);
  await until(() => speakerA.claims.at(-1)?.level === 1, 'the claim is back');
  speakerB.process.kill('SIGKILL');
  await until(() => speakerA.claims.at(-1)?.level === undefined, 'the claim goes with the twin');
});

test.serial(
  'a session over IPv6, with key and TTL security, whoever connects; IPv4 routes have our IPv4 next hop',
  async (t) => {
    for (const passive of [false, true]) {
      const lab = new Lab();
      try {
        const { g, a } = pair(lab);
        const bird = new Bird(
          lab,
          g,
          `
router id 10.255.0.254;
protocol device {}
protocol bgp tor {
  local 2001:db8::1 as 65000;
  neighbor 2001:db8::2 as 4200000001;
  connect retry time 1; connect delay time 0; error wait time 1, 2;
  password "sesame"; ttl security yes; ${passive ? '' : 'passive;'}
  ipv4 { import all; export all; };
  ipv6 { import all; export all; };
}
`,
        );
        const neighbor = { ...NEIGHBOR, address: '2001:db8::1', localAddress: '2001:db8::2', passive };
        const neighbors = [{ ...neighbor, password: 'sesame', ttlSecurity: true }];
        const speaker = await (await lab.speaker(a)).start({ ...CONFIG, neighbors });
        await speaker.apply([{ address: '10.10.10.1' }, { address: '2001:db8:10::5' }]);
        await speaker.established('2001:db8::1');
        await until(() => bird.ask('show', 'route', '10.10.10.1/32').includes('via 192.0.2.2'), 'the /32');
        await until(() => bird.ask('show', 'route', '2001:db8:10::5/128').includes('via 2001:db8::2'), 'the /128');
        t.pass();
      } finally {
        await lab.close();
      }
    }
  },
);
