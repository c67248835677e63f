import test from 'ava';
import { Lab, sh, until } from './support/lab.ts';

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

const NEIGHBOR = { address: '192.0.2.1', localAddress: '192.0.2.2', remoteAs: 65000, keepalive: 1000, hold: 3000 };
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
      return table['10.10.10.2/32'] && table;
    }, 'the /32 at FRR');
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
