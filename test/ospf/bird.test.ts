import test from 'ava';
import type { Authentication } from '../../src/ospf/index.ts';
import { address, type Bird, host, Lab, run, sleep, until } from './lab.ts';

const A0 = { name: 'A0', area: address('0.0.0.0'), hello: 1000, dead: 4000 } as const;

const birdConfig = (type: string, extra = '', area = '') => `
router id 10.255.0.254;
protocol device { scan time 1; }
protocol static st { ipv4; route 0.0.0.0/0 blackhole; }
protocol kernel { ipv4 { export where source != RTS_DEVICE; }; }
protocol ospf v2 o {
  ipv4 { import all; export where proto = "st"; };
  area 0 {
    ${area}
    interface "G0" { type ${type}; hello 1; dead 4; ${extra} };
  };
}
`;

async function pair(lab: Lab, config: string) {
  const g = lab.namespace('g');
  const a = lab.namespace('a');
  lab.cable([g, 'G0', '192.0.2.1/30'], [a, 'A0', '192.0.2.2/30']);
  return { g, a, bird: await lab.bird(g, config) };
}

const routeAt = (bird: Bird, prefix: string): string => {
  try {
    return bird.show(`show route ${prefix}`);
  } catch (error) {
    return String((error as { stdout?: string }).stdout ?? '');
  }
};

for (const [type, network] of [
  ['ptp', 'point-to-point'],
  ['bcast', 'broadcast'],
] as const) {
  test.serial(
    `R4.2 R4.3 R4.5 BIRD, ${network}: Full, a /32 per host, default learnt, withdrawal, the way back`,
    async (t) => {
      const lab = new Lab();
      t.teardown(() => lab.close());
      const { g, a, bird } = await pair(lab, birdConfig(type));
      const pcap = lab.capture(g, 'G0');
      await sleep(500);
      const peer = lab.speaker(a, { routerId: '10.255.0.1', interfaces: [{ ...A0, network, retransmit: 60_000 }] });
      peer.speaker.start();
      peer.speaker.apply({ withdrawn: [], announced: [host('10.10.10.1')] });
      await peer.full('A0');
      peer.speaker.settled();
      await until('BIRD is Full', () => bird.show('show ospf neighbors').includes('Full'));
      peer.speaker.apply({ withdrawn: [], announced: [host('10.10.10.2')] });
      for (const each of ['10.10.10.1/32', '10.10.10.2/32']) {
        await until(`${each} at G`, () => routeAt(bird, each).includes('via 192.0.2.2'));
      }
      t.false(bird.show('show route').includes('10.10.10.0/24'), 'the subnet is never announced');
      const fallback = await until('the default route', () => peer.routes.get('0.0.0.0/0'));
      t.deepEqual(fallback.nextHops, [{ via: address('192.0.2.1'), interface: 'A0' }]);
      await sleep(1500);
      peer.speaker.apply({ withdrawn: [address('10.10.10.2')], announced: [] });
      await until('10.10.10.2 gone', () => !routeAt(bird, '10.10.10.2/32').includes('via'));
      await sleep(300);
      peer.speaker.apply({ withdrawn: [], announced: [host('10.10.10.2')] });
      await until('10.10.10.2 back', () => routeAt(bird, '10.10.10.2/32').includes('via'), 15_000);
      await sleep(300);
      peer.speaker.apply({ withdrawn: [address('10.10.10.2')], announced: [] });
      await until('10.10.10.2 gone again', () => !routeAt(bird, '10.10.10.2/32').includes('via'), 15_000);
      await peer.speaker.stop();
      await until('everything gone', () => !routeAt(bird, '10.10.10.1/32').includes('via'));
      t.is(
        run('tshark', '-r', pcap, '-Y', 'ip.src==192.0.2.2 && (_ws.malformed || _ws.expert.severity==8388608)').trim(),
        '',
      );
    },
  );
}

for (const [kind, algorithm, secret] of [
  ['hmac-sha-256', 'hmac sha256', 'a secret of the fabric'],
  ['hmac-sha-1', 'hmac sha1', 'another'],
  ['hmac-sha-512', 'hmac sha512', 'longer than a block of SHA-256 would be if it were, 60 octets'],
  ['md5', 'keyed md5', 's3cret'],
  ['simple', '', 'plain'],
] as const) {
  test.serial(`BIRD, ${kind}: authenticated to Full`, async (t) => {
    const lab = new Lab();
    t.teardown(() => lab.close());
    const extra =
      kind === 'simple'
        ? `authentication simple; password "${secret}";`
        : `authentication cryptographic; password "${secret}" { id 3; algorithm ${algorithm}; };`;
    const { a, bird } = await pair(lab, birdConfig('ptp', extra));
    const authentication: Authentication =
      kind === 'simple' ? { type: kind, password: secret } : { type: kind, keyId: 3, secret: Buffer.from(secret) };
    const peer = lab.speaker(a, {
      routerId: '10.255.0.1',
      interfaces: [{ ...A0, network: 'point-to-point', authentication }],
    });
    peer.speaker.start();
    peer.speaker.apply({ withdrawn: [], announced: [host('10.10.10.1')] });
    await peer.full('A0');
    await until('10.10.10.1 at G', () => routeAt(bird, '10.10.10.1/32').includes('via 192.0.2.2'));
    t.is(peer.speaker.counters()['drop.bad-auth'], undefined);
  });
}
