/** Port facts, shadows, a default of ours and an observer with FRR and BIRD between us. */
import test, { type ExecutionContext } from 'ava';
import type { OspfAnnounce } from '../../src/ospf/index.ts';
import { address, host, Lab, run, sleep, type TestSpeaker, until } from './lab.ts';

const BACKBONE = '0.0.0.0';
const P2P = { area: address(BACKBONE), network: 'point-to-point', hello: 1000, dead: 4000 } as const;
const H1 = '10.10.10.1';
const TO_A = 'via 192.0.2.2';
const TO_B = 'via 192.0.2.6';

const frrInterface = (name: string): string => `interface ${name}
 ip ospf hello-interval 1
 ip ospf dead-interval 4
 ip ospf network point-to-point
`;
const frrConfig = (area: string, routerId: string, ...names: string[]): string => `${names.map(frrInterface).join('')}
router ospf
 ospf router-id ${routerId}
 network 192.0.2.0/24 area ${area}
${area === BACKBONE ? '' : ` area ${area} nssa`}
 capability opaque
 timers throttle spf 0 10 100
`;
const birdConfig = (area: string, routerId: string, ...names: string[]): string => `
router id ${routerId};
protocol device { scan time 1; }
protocol kernel { ipv4 { export where source != RTS_DEVICE; }; }
protocol ospf v2 o {
  ipv4 { import all; };
  area ${area} { ${area === BACKBONE ? '' : 'nssa;'} ${names.map((name) => `interface "${name}" { type ptp; hello 1; dead 4; };`).join(' ')} };
}
`;

type Daemon = 'FRR' | 'BIRD';

const start = (lab: Lab, daemon: Daemon, namespace: string, area: string, routerId: string, ...names: string[]) =>
  daemon === 'FRR'
    ? lab.frr(namespace, frrConfig(area, routerId, ...names))
    : lab.bird(namespace, birdConfig(area, routerId, ...names));

interface Around {
  readonly lab: Lab;
  readonly g: string;
  readonly one: TestSpeaker;
  readonly two: TestSpeaker;
  readonly observer: TestSpeaker;
  route(): string;
}

/** The gateway with our switches A and B, and an observer beside it. */
async function around(t: ExecutionContext, daemon: Daemon, announce?: OspfAnnounce): Promise<Around> {
  const lab = new Lab();
  t.teardown(() => lab.close());
  const [g, a, b, o] = ['g', 'a', 'b', 'o'].map((name) => lab.namespace(name)) as [string, string, string, string];
  lab.cable([g, 'G0', '192.0.2.1/30'], [a, 'A0', '192.0.2.2/30']);
  lab.cable([g, 'G1', '192.0.2.5/30'], [b, 'B0', '192.0.2.6/30']);
  lab.cable([g, 'G2', '192.0.2.9/30'], [o, 'O0', '192.0.2.10/30']);
  const area = announce?.as === 'nssa' ? '0.0.0.1' : BACKBONE;
  await start(lab, daemon, g, area, '10.255.0.254', 'G0', 'G1', 'G2');
  const words = announce ? { announce } : {};
  const speaker = (namespace: string, name: string, routerId: string, more = {}) =>
    lab.speaker(namespace, {
      routerId,
      interfaces: [{ ...P2P, area: address(area), name, retransmit: 60_000 }],
      ...words,
      ...more,
    });
  const one = speaker(a, 'A0', '10.255.0.1');
  const two = speaker(b, 'B0', '10.255.0.2');
  const observer = speaker(o, 'O0', '10.255.0.250', { observer: true });
  return { lab, g, one, two, observer, route: () => lab.inside(g, 'ip', 'route', 'show', H1).trim() };
}

async function full({ one, two, observer }: Around): Promise<void> {
  for (const { speaker } of [one, two, observer]) speaker.start();
  await Promise.all([one.full('A0'), two.full('B0'), observer.full('O0')]);
  for (const { speaker } of [one, two, observer]) speaker.settled();
}

const octets = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const say = ({ speaker }: TestSpeaker, ...facts: [string, string, number][]): void =>
  speaker.publishFacts(facts.map(([key, value, index]) => ({ key: octets(key), value: octets(value), index })));

const announce = ({ speaker }: TestSpeaker, ...announced: ReturnType<typeof host>[]): void => {
  speaker.apply({ withdrawn: [], announced });
};

for (const daemon of ['FRR', 'BIRD'] as const) {
  test.serial(
    `R4.8 R4.9 ${daemon} carries port facts from switch to switch and to an observer beside it`,
    async (t) => {
      const fabric = await around(t, daemon);
      const { lab, g, one, two, observer } = fabric;
      const pcap = lab.capture(g, 'G1');
      await sleep(500);
      say(one, ['A2', 'up', 7], ['A1', 'up, and says a little more', 6]);
      announce(one, host(H1));
      await full(fabric);
      for (const ear of [two, observer]) {
        await until('A2', () => ear.facts.get('10.255.0.1 A2') === 'up');
        await until('A1', () => ear.facts.get('10.255.0.1 A1') === 'up, and says a little more');
        await until('the host and its port', () =>
          ear.hostRoutes.some(({ routerId, portIndex, up }) => routerId === '10.255.0.1' && portIndex === 9 && up),
        );
      }
      await sleep(1500);
      say(one, ['A2', 'down', 7], ['A1', 'up, and says a little more', 6]);
      for (const ear of [two, observer]) await until('down', () => ear.facts.get('10.255.0.1 A2') === 'down');
      // Twice within a second: FRR would drop the second without a word, and RxmtInterval is a minute.
      say(one, ['A2', 'up', 7]);
      say(one, ['A2', 'down', 7]);
      say(one, ['A2', 'up again', 7]);
      for (const ear of [two, observer]) {
        await until('the newest', () => ear.facts.get('10.255.0.1 A2') === 'up again', 15_000);
        await until('A1 taken back', () => ear.facts.get('10.255.0.1 A1') === '(withdrawn)', 15_000);
      }
      one.kill();
      for (const ear of [two, observer]) {
        await until('dead', () => ear.facts.get('10.255.0.1 A2') === '(router unreachable)');
        await until('and its host', () => ear.hostRoutes.at(-1)?.up === false);
      }
      say(two, ['B3', 'up', 8]);
      await until('the other way', () => observer.facts.get('10.255.0.2 B3') === 'up');
      await sleep(300);
      const shown = (filter: string, ...fields: string[]): string =>
        run('tshark', '-r', pcap, '-Y', filter, ...fields).trim();
      const opaque = 'ospf.lsa==11';
      t.not(shown(opaque), '', 'it is there');
      t.is(shown(`${opaque} && (_ws.malformed || _ws.expert.severity==8388608)`), '');
      t.is(shown('ip.src==192.0.2.6 && (_ws.malformed || _ws.expert.severity==8388608)'), '');
      const types = shown(opaque, '-T', 'fields', '-e', 'ospf.lsid_opaque_type', '-E', 'occurrence=f').split('\n');
      t.true(types.includes('201'), types.join());
    },
  );

  for (const form of [
    { as: 'external', metric: 20, metricType: 2 },
    { as: 'external', metric: 20, metricType: 1 },
    { as: 'stub-link', metric: 20, metricType: 2 },
    { as: 'nssa', metric: 20, metricType: 2 },
  ] as const) {
    const name = form.as === 'external' ? `E${form.metricType}` : form.as;
    test.serial(
      `R4.3 ${daemon}, ${name}: a shadow loses against what is real, drained or not, and is there without it`,
      async (t) => {
        const fabric = await around(t, daemon, form);
        const { one, two, observer, route } = fabric;
        announce(two, { ...host(H1), shadow: true });
        await full(fabric);
        await until('the shadow', () => route().includes(TO_B));
        await until('A knows that B stands by', () => one.shadows.at(-1)?.endpoint === '192.0.2.6');
        t.deepEqual(one.claims, []);
        announce(one, host(H1));
        await until('the real one', () => route().includes(TO_A));
        await until('the claim of A at B', () => two.claims.at(-1)?.endpoint === '192.0.2.2');
        t.false(route().includes(TO_B), 'never both');
        await sleep(1500);
        one.speaker.drain(true);
        await until('B knows that A is leaving', () => two.claims.at(-1)?.leaving === true);
        await sleep(1500);
        t.true(route().includes(TO_A), route());
        t.false(route().includes(TO_B), route());
        one.speaker.drain(false);
        await until('A stays', () => two.claims.at(-1)?.leaving === undefined);
        await sleep(1500);
        one.speaker.apply({ withdrawn: [address(H1)], announced: [] });
        await until('the shadow again', () => route().includes(TO_B) && !route().includes(TO_A));
        announce(two, host(H1));
        await until('B has it', () => observer.hostRoutes.at(-1)?.shadow === false && observer.hostRoutes.at(-1)?.up);
        await until('and A knows', () => one.claims.at(-1)?.level === 0);
        t.true(route().includes(TO_B));
      },
    );
  }
}

test.serial('R4.3 our speaker as the gateway of FRR and BIRD: its default route, hosts through it', async (t) => {
  const lab = new Lab();
  t.teardown(() => lab.close());
  const [g, a, f, b] = ['g', 'a', 'f', 'b'].map((name) => lab.namespace(name)) as [string, string, string, string];
  lab.cable([g, 'G0', '192.0.2.1/30'], [a, 'A0', '192.0.2.2/30']);
  lab.cable([g, 'G1', '192.0.2.5/30'], [f, 'F0', '192.0.2.6/30']);
  lab.cable([g, 'G2', '192.0.2.9/30'], [b, 'B0', '192.0.2.10/30']);
  await start(lab, 'FRR', f, BACKBONE, '10.255.0.3', 'F0');
  await start(lab, 'BIRD', b, BACKBONE, '10.255.0.4', 'B0');
  const gateway = lab.speaker(g, {
    routerId: '10.255.0.254',
    interfaces: ['G0', 'G1', 'G2'].map((name) => ({ ...P2P, name })),
    originateDefault: { metric: 7, metricType: 2 },
    backups: true,
  });
  const one = lab.speaker(a, { routerId: '10.255.0.1', interfaces: [{ ...P2P, name: 'A0' }] });
  for (const { speaker } of [gateway, one]) speaker.start();
  announce(one, host(H1));
  await Promise.all(['G0', 'G1', 'G2'].map((name) => gateway.full(name)));
  const at = (namespace: string, prefix: string): string => lab.inside(namespace, 'ip', 'route', 'show', prefix);
  await until('the default at FRR', () => at(f, 'default').includes('via 192.0.2.5 dev F0'));
  await until('the default at BIRD', () => at(b, 'default').includes('via 192.0.2.9 dev B0'));
  await until('the host at FRR, through G', () => at(f, H1).includes('via 192.0.2.5'));
  await until('the host at BIRD, through G', () => at(b, H1).includes('via 192.0.2.9'));
  await until('and at G', () => gateway.routes.get(`${H1}/32`)?.nextHops[0]?.via === '192.0.2.2');
  one.speaker.apply({ withdrawn: [address(H1)], announced: [] });
  await until('gone from FRR', () => at(f, H1) === '', 15_000);
  await until('gone from BIRD', () => at(b, H1) === '', 15_000);
  await gateway.speaker.stop();
  await until('no default at FRR', () => at(f, 'default') === '');
  await until('no default at BIRD', () => at(b, 'default') === '');
  t.is(at(f, H1) + at(b, H1), '');
});
