import test from 'ava';
import type { ChildConfig } from './support/child.ts';
import { Bird, GoBgp } from './support/daemons.ts';
import type { SpeakerProcess } from './support/lab.ts';
import { Lab, pause, sh, until } from './support/lab.ts';

/** Two switches of ours and a gateway, which is FRR, BIRD or ours; facts, shadows and what is passed on, on real sockets. */
const HOST = '10.10.10.2';
const TIMERS = { keepalive: 1000, hold: 3000, connectRetry: 500 };

function tor(name: 'a' | 'b', asn: number): ChildConfig {
  const [net, id] = name === 'a' ? ['192.0.2', 1] : ['198.51.100', 2];
  return {
    asn,
    routerId: `10.255.0.${id}`,
    prefixes: ['10.10.0.0/16', '2001:db8:10::/64'],
    neighbors: [{ address: `${net}.1`, localAddress: `${net}.2`, remoteAs: 65000, ...TIMERS }],
    ports: [
      {
        name: `${name.toUpperCase()}0`,
        addresses: [
          [`${net}.2`, 24],
          [`2001:db8:${name}::2`, 64],
        ],
      },
    ],
  };
}

function links(lab: Lab) {
  const [g, a, b] = ['g', 'a', 'b'].map((name) => lab.namespace(name)) as [string, string, string];
  lab.join(g, 'gA', ['192.0.2.1/24', '2001:db8:a::1/64'], a, 'A0', ['192.0.2.2/24', '2001:db8:a::2/64']);
  lab.join(g, 'gB', ['198.51.100.1/24', '2001:db8:b::1/64'], b, 'B0', ['198.51.100.2/24', '2001:db8:b::2/64']);
  return { g, a, b };
}

async function twins(lab: Lab, a: string, b: string, asnB = 65002): Promise<[SpeakerProcess, SpeakerProcess]> {
  const speakerA = await (await lab.speaker(a)).start(tor('a', 65001));
  const speakerB = await (await lab.speaker(b)).start(tor('b', asnB));
  await speakerA.established('192.0.2.1');
  await speakerB.established('198.51.100.1');
  return [speakerA, speakerB];
}

const FRR_G = (asnB: number) => `
router bgp 65000
 bgp router-id 10.255.0.254
 no bgp ebgp-requires-policy
 bgp bestpath as-path multipath-relax
 timers bgp 1 3
 neighbor 192.0.2.2 remote-as 65001
 neighbor 192.0.2.2 passive
 neighbor 198.51.100.2 remote-as ${asnB}
 neighbor 198.51.100.2 passive
 address-family ipv4 unicast
  maximum-paths 8
 exit-address-family
`;

const BIRD_G = (asnB: number) => `
router id 10.255.0.254;
protocol device {}
protocol kernel k4 { merge paths on; ipv4 { export filter { if source = RTS_BGP then accept; reject; }; }; }
template bgp tor {
  local as 65000; passive; connect retry time 1; error wait time 1, 2;
  ipv4 { import all; export all; };
}
protocol bgp a from tor { neighbor 192.0.2.2 as 65001; source address 192.0.2.1; }
protocol bgp b from tor { neighbor 198.51.100.2 as ${asnB}; source address 198.51.100.1; }
`;

const inKernel = (g: string): string => sh('ip', '-n', g, 'route', 'show', HOST);
const ONE_WAY = (via: string) =>
  new RegExp(`^${HOST} (nhid \\d+ )?via ${via.replaceAll('.', '\\.')} dev \\S+ proto \\S+ metric \\d+ *\\n*$`);

for (const [gateway, asnB] of [
  ['FRR', 65002],
  ['FRR', 65001],
  ['BIRD', 65002],
] as const) {
  const which = asnB === 65001 ? ', both of one AS' : '';
  test.serial(
    `R4.3 R4.5 ${gateway} as G${which}: a shadow loses to the real host and to the drained one, and takes over when that goes`,
    async (t) => {
      const lab = new Lab();
      t.teardown(() => lab.close());
      const { g, a, b } = links(lab);
      if (gateway === 'FRR') lab.frr(g, FRR_G(asnB));
      else new Bird(lab, g, BIRD_G(asnB));
      const [speakerA, speakerB] = await twins(lab, a, b, asnB);
      await speakerA.endpoint('192.0.2.2');
      await speakerB.endpoint('198.51.100.2');
      await speakerA.publish(['A1', 'up']);
      await speakerA.apply([{ address: HOST, portIndex: 3 }]);
      await until(() => speakerB.claims.at(-1)?.level === 0, 'B hears A');
      t.deepEqual(speakerB.claims.at(-1), {
        address: HOST,
        level: 0,
        from: '10.255.0.1',
        routerId: '10.255.0.1',
        endpoint: '192.0.2.2',
        portIndex: 3,
      } as never);
      await until(() => ONE_WAY('192.0.2.2').test(inKernel(g)), 'G leads to A');
      await speakerB.apply([{ address: HOST, portIndex: 9, shadow: true }]);
      await pause(1_500);
      t.regex(inKernel(g), ONE_WAY('192.0.2.2'), 'the real one alone');
      await speakerA.graceful(true);
      await until(() => speakerB.claims.at(-1)?.leaving, 'B hears that A leaves');
      await pause(1_500);
      t.regex(inKernel(g), ONE_WAY('192.0.2.2'), 'the drained one alone');
      await speakerA.apply([], [HOST]);
      await until(() => ONE_WAY('198.51.100.2').test(inKernel(g)), 'the shadow takes over');
      await until(() => speakerA.shadows.at(-1)?.up, 'A hears the shadow');
      t.deepEqual(speakerA.shadows, [
        { address: HOST, up: true, from: '10.255.0.2', endpoint: '198.51.100.2' },
      ] as never);
      await speakerB.apply([{ address: HOST, portIndex: 9 }]);
      await until(() => speakerA.claims.at(-1)?.level === 0, 'A hears the real one');
      await until(() => speakerA.shadows.at(-1)?.up === false, 'and the shadow no more');
      await pause(500);
      // FRR sends each its own back, as both are in one update group.
      t.deepEqual(speakerB.shadows, []);
      t.true(speakerB.claims.every(({ from }) => from === '10.255.0.1'));
      t.is(speakerB.claims.at(-1)!.level, undefined);
      for (const speaker of [speakerA, speakerB]) {
        t.is(speaker.sessions.filter(({ from }) => from === 'Established').length, 0, 'no session was harmed');
        t.like((await speaker.view()).sessions[0], { state: 'Established', portFacts: false, factsSent: 0 });
      }
    },
  );
}

test.serial('R4.9 GoBGP is not harmed by what it does not know: capability, marks, shadows', async (t) => {
  const lab = new Lab();
  t.teardown(() => lab.close());
  const { g, a } = links(lab);
  const gobgp = new GoBgp(
    lab,
    g,
    `[global.config]
as = 65000
router-id = "10.255.0.254"
[[neighbors]]
[neighbors.config]
neighbor-address = "192.0.2.2"
peer-as = 65001
[neighbors.transport.config]
passive-mode = true
`,
  );
  const speaker = await (await lab.speaker(a)).start({ ...tor('a', 65001), observer: true });
  await speaker.established('192.0.2.1');
  await speaker.endpoint('192.0.2.2');
  await speaker.publish(['A1', 'up']);
  await speaker.apply([{ address: '10.10.10.1' }, { address: HOST, shadow: true }]);
  await until(() => gobgp.ask('global', 'rib').includes(`${HOST}/32`), 'the shadow at GoBGP');
  t.regex(gobgp.ask('global', 'rib', `${HOST}/32`), /65001:20559:1/);
  t.regex(gobgp.ask('neighbor', '192.0.2.2'), /UnknownCapability\(239\)|239/);
  await pause(4_000);
  t.is(speaker.sessions.filter(({ from }) => from === 'Established').length, 0);
});

const FRR_TOR = `
router bgp 65003
 bgp router-id 10.255.0.3
 no bgp ebgp-requires-policy
 timers bgp 1 3
 neighbor 203.0.113.1 remote-as 65000
 neighbor 203.0.113.1 timers connect 1
 address-family ipv4 unicast
  network 10.10.10.7/32
  neighbor 203.0.113.1 soft-reconfiguration inbound
 exit-address-family
`;

test.serial(
  'R4.3 R4.8 R4.9 ours as G, between two of our switches and FRR as a third: routes, defaults, facts; tshark finds no fault',
  async (t) => {
    const lab = new Lab();
    t.teardown(() => lab.close());
    const { g, a, b } = links(lab);
    const c = lab.namespace('c');
    lab.join(g, 'gC', ['203.0.113.1/24'], c, 'C0', ['203.0.113.2/24']);
    const capture = await lab.capture(g, 'gA');
    const neighbor = (net: string, remoteAs: number) => ({
      ...{ address: `${net}.2`, localAddress: `${net}.1`, remoteAs, passive: true, ...TIMERS },
    });
    const gateway = await (await lab.speaker(g)).start({
      asn: 65000,
      routerId: '10.255.0.254',
      prefixes: [],
      propagate: true,
      defaultOriginate: true,
      neighbors: [neighbor('192.0.2', 65001), neighbor('198.51.100', 65002), neighbor('203.0.113', 65003)],
      ports: [
        {
          name: 'gA',
          addresses: [
            ['192.0.2.1', 24],
            ['2001:db8:a::1', 64],
          ],
        },
        {
          name: 'gB',
          addresses: [
            ['198.51.100.1', 24],
            ['2001:db8:b::1', 64],
          ],
        },
        { name: 'gC', addresses: [['203.0.113.1', 24]] },
      ],
    });
    sh('ip', '-n', c, 'route', 'add', 'blackhole', '10.10.10.7/32');
    const frr = lab.frr(c, FRR_TOR);
    const [speakerA, speakerB] = await twins(lab, a, b);
    await gateway.established('203.0.113.2');
    await speakerA.publish(['A0', 'up'], ['A1', `up ${'x'.repeat(400)}`]);
    await speakerA.apply([{ address: HOST, portIndex: 3 }, { address: '10.10.10.3' }, { address: '2001:db8:10::5' }]);
    await speakerB.apply([{ address: HOST, shadow: true, portIndex: 4 }]);

    await until(() => frr.routes()[`${HOST}/32`], 'the /32 at FRR');
    t.deepEqual(
      frr.routes()[`${HOST}/32`]!.map(({ path }) => path),
      ['65000 65001'],
    );
    await until(() => frr.routes()['0.0.0.0/0'], 'the default route at FRR');
    await until(() => speakerA.learned('10.10.10.7/32'), "FRR's /32 at A");
    await until(() => speakerA.learned('0.0.0.0/0'), 'the default route at A');
    await until(() => speakerB.learned('2001:db8:10::5/128'), 'the /128 at B');
    await until(() => speakerA.shadows.length > 0, 'A hears that B stands by, though G uses A');
    await until(() => gateway.facts.length >= 2, 'the facts at G');
    t.deepEqual(
      gateway.facts.map(({ routerId, key, value }) => [routerId, key, value?.length]),
      [
        ['10.255.0.1', 'A0', 2],
        ['10.255.0.1', 'A1', 403],
      ],
    );
    t.deepEqual(
      gateway.hosts.filter(({ address }) => address === HOST),
      [
        { address: HOST, routerId: '10.255.0.1', portIndex: 3, shadow: false, up: true },
        { address: HOST, routerId: '10.255.0.2', shadow: true, up: true },
      ] as never,
    );
    t.deepEqual(gateway.learned(`${HOST}/32`), {
      prefix: `${HOST}/32`,
      nextHops: [{ via: '192.0.2.2', interface: 'gA' }],
      metric: 0,
      backup: [{ via: '198.51.100.2', interface: 'gB' }],
    } as never);

    await speakerA.publish(['A1', 'down: lost carrier']);
    await until(() => gateway.facts.length >= 4, 'the change and the loss');
    t.deepEqual(
      gateway.facts
        .slice(2)
        .map(({ key, value, reason }) => [key, value, reason])
        .sort(),
      [
        ['A0', undefined, 'withdrawn'],
        ['A1', 'down: lost carrier', undefined],
      ],
    );
    await speakerA.apply([], [HOST]);
    await until(
      () => frr.routes()[`${HOST}/32`]?.[0]?.path === '65000 65002 65002 65002 65002 65002',
      'the shadow at FRR',
    );
    speakerA.process.kill('SIGKILL');
    await until(() => gateway.facts.at(-1)?.reason?.startsWith('session lost'), 'the facts end with the session');
    await until(() => !frr.routes()['10.10.10.3/32'], 'what A had is withdrawn from FRR');
    for (const one of [gateway, speakerB]) {
      const lost = one.sessions.filter(({ from, neighbor: who }) => from === 'Established' && who !== '192.0.2.2');
      t.deepEqual(lost, []);
    }
    await capture.stop();
    const read = (filter: string, field: string) =>
      sh('tshark', '-r', capture.file, '-Y', filter, '-T', 'fields', '-e', field).split('\n').filter(Boolean);
    t.deepEqual(read('_ws.malformed.expert || _ws.malformed.dissector_bug', '_ws.col.Info'), []);
    // Of a SAFI that it does not know tshark can't read the next hop, and says no more than that.
    const complaints = read('bgp && _ws.expert.severity >= 0x00600000', '_ws.expert.message').flatMap((line) =>
      line.split(','),
    );
    const grave = new Set(complaints.filter((text) => text !== '"Time To Live" only 1'));
    t.deepEqual([...grave].sort(), ['Unknown Next Hop length (4 bytes)', 'Unknown SAFI (241) for AFI 1']);
    const facts = read('bgp.update.path_attribute.mp_reach_nlri.safi == 241', 'bgp.update.path_attribute.type_code');
    t.true(facts.length > 0);
    t.true(
      facts.every((codes) => codes.includes('255')),
      facts.join(),
    );
  },
);
