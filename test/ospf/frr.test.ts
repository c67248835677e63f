import test from 'ava';
import { address, host, Lab, until } from './lab.ts';

const P2P = { name: 'A0', area: address('0.0.0.0'), network: 'point-to-point', hello: 1000, dead: 4000 } as const;

const frrConfig = (lines = '', iface = '', network = 'point-to-point') => `
interface G0
 ip ospf network ${network}
 ip ospf hello-interval 1
 ip ospf dead-interval 4
${iface}
router ospf
 ospf router-id 10.255.0.254
 network 192.0.2.0/24 area 0
 default-information originate always metric 5
 timers throttle spf 0 10 100
${lines}
`;

test.serial('R4.2 R4.3 FRR on a point-to-point link: Full, a /32 per host with us as next hop, default learnt', async (t) => {
  const lab = new Lab();
  t.teardown(() => lab.close());
  const g = lab.namespace('g');
  const a = lab.namespace('a');
  lab.cable([g, 'G0', '192.0.2.1/30'], [a, 'A0', '192.0.2.2/30']);
  const frr = await lab.frr(g, frrConfig());
  const peer = lab.speaker(a, { routerId: '10.255.0.1', interfaces: [P2P] });
  peer.speaker.start();
  peer.speaker.apply({ withdrawn: [], announced: [host('10.10.10.1')] });
  await peer.full('A0');
  peer.speaker.settled();
  await until('FRR is Full', () => frr.show('show ip ospf neighbor').includes('Full'));
  const report = peer.speaker.apply({ withdrawn: [], announced: [host('10.10.10.2')] });
  t.is(report.packets, 1);
  t.true(report.firstByteAt! <= report.lastByteAt!);
  for (const each of ['10.10.10.1', '10.10.10.2']) {
    await until(`${each} at G`, () => frr.kernelRoute(each).includes('via 192.0.2.2'));
  }
  t.is(frr.kernelRoute('10.10.10.0/24'), '', 'the subnet is never announced');
  const fallback = await until('the default route', () => peer.routes.get('0.0.0.0/0'));
  t.deepEqual(fallback.nextHops, [{ via: address('192.0.2.1'), interface: 'A0' }]);

  peer.speaker.apply({ withdrawn: [address('10.10.10.2')], announced: [] });
  await until('10.10.10.2 gone from G', () => frr.kernelRoute('10.10.10.2') === '');
  t.not(frr.kernelRoute('10.10.10.1'), '');
  t.log(peer.speaker.counters());
});
