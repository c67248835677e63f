/**
 * FRR and BIRD talk to each other and we listen. RECORD_FIXTURES=1 keeps what was heard in test/fixtures, for the tests
 * that need neither root nor routers. (Type 11 is not among what is heard: FRR 8.4 crashes on `router-info as`.)
 */
import { writeFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import type { Authentication } from '../src/index.ts';
import { checkCapture } from './support/check-capture.ts';
import { decodeCapture, kindsOf } from './support/describe.ts';
import { Lab } from './support/lab.ts';

const live = process.getuid?.() === 0 ? test.serial : test.serial.skip;

interface Variant {
  readonly name: string;
  readonly authentication: Authentication;
  readonly frrInterface: string;
  readonly birdInterface: string;
  /** Area 1: what FRR and BIRD call its kind. */
  readonly frrArea: string;
  readonly birdArea: string;
  readonly expectBackbone: readonly string[];
  readonly expectArea: readonly string[];
}

const variants: readonly Variant[] = [
  {
    name: 'multi-area',
    authentication: { type: 'none' },
    frrInterface: '',
    birdInterface: '',
    frrArea: '',
    birdArea: '',
    expectBackbone: ['lsa 1', 'lsa 3', 'lsa 4', 'lsa 5', 'lsa 9', 'lsa 10'],
    expectArea: ['lsa 1', 'lsa 2', 'lsa 3', 'lsa 5', 'lsa 10'],
  },
  {
    name: 'nssa-md5',
    authentication: { type: 'md5', keyId: 7, secret: Buffer.from('peerless') },
    frrInterface: ' ip ospf authentication message-digest\n ip ospf message-digest-key 7 md5 peerless\n',
    birdInterface: 'authentication cryptographic; password "peerless" { id 7; };',
    frrArea: ' area 0.0.0.1 nssa\n',
    birdArea: 'nssa;',
    expectBackbone: ['lsa 1', 'lsa 3', 'lsa 5'],
    expectArea: ['lsa 1', 'lsa 2', 'lsa 3', 'lsa 7'],
  },
  {
    name: 'simple-password',
    authentication: { type: 'simple', password: 'peer' },
    frrInterface: ' ip ospf authentication\n ip ospf authentication-key peer\n',
    birdInterface: 'authentication simple; password "peer";',
    frrArea: '',
    birdArea: '',
    expectBackbone: ['lsa 1', 'lsa 3', 'lsa 4', 'lsa 5'],
    expectArea: ['lsa 1', 'lsa 2', 'lsa 3', 'lsa 5'],
  },
];

for (const variant of variants) {
  live(`what FRR and BIRD send decodes and encodes back to the same bytes: ${variant.name}`, async (t) => {
    const lab = new Lab();
    try {
      await hear(t, lab, variant);
    } finally {
      await lab.end();
    }
  });
}

async function hear(t: ExecutionContext, lab: Lab, variant: Variant): Promise<void> {
  const { authentication } = variant;
  for (const name of ['f', 'b', 'g']) lab.namespace(name);
  lab.link('f', 'b', '10.1.0');
  lab.link('b', 'g', '10.2.0');
  for (const host of ['10.10.10.1', '10.10.10.2', '10.10.10.5']) lab.ip('g', 'route', 'add', 'blackhole', host);
  lab.ip('f', 'route', 'add', 'blackhole', '10.20.0.0/16');
  const backbone = lab.capture('b', 'bf');
  const area = lab.capture('b', 'bg');
  const seen = (read: () => Uint8Array) => kindsOf(decodeCapture(read(), authentication));
  await lab.until(() => [backbone, area].filter((read) => read().length < 24).map(() => 'a capture'));

  lab.frr('f', frrConfig(variant, 'fb', '10.255.0.1', '0.0.0.0', ' ip ospf network point-to-point\n'));
  lab.frr('g', `${frrConfig(variant, 'gb', '10.255.0.3', '0.0.0.1', '')}${variant.frrArea}`);
  lab.bird('b', birdConfig(variant));
  const packets = ['packet 1', 'packet 2', 'packet 3', 'packet 4', 'packet 5'];
  const lack = (read: () => Uint8Array, kinds: readonly string[]) => {
    const had = seen(read);
    return kinds.filter((kind) => !had.has(kind)).map((kind) => `${kind} (${read === backbone ? 'backbone' : 'area'})`);
  };
  const beforeRestart = variant.expectBackbone.filter((kind) => kind !== 'lsa 9');
  await lab.until(() => [
    ...lack(backbone, [...packets, ...beforeRestart]),
    ...lack(area, [...packets, ...variant.expectArea]),
  ]);
  if (beforeRestart.length < variant.expectBackbone.length) {
    // Grace LSAs (RFC 3623) are the link-local opaque ones that a real speaker has to offer.
    lab.birdCommand('b', 'graceful', 'restart');
    await lab.until(() => lack(backbone, variant.expectBackbone));
  }
  for (const [place, read] of Object.entries({ backbone, area })) {
    const pcap = read();
    checkCapture(t, pcap, authentication);
    if (process.env.RECORD_FIXTURES) {
      writeFileSync(new URL(`./fixtures/${variant.name}-${place}.pcap`, import.meta.url), pcap);
    }
  }
}

function frrConfig(variant: Variant, device: string, routerId: string, area: string, network: string): string {
  return `interface ${device}
 ip ospf area ${area}
 ip ospf hello-interval 1
 ip ospf dead-interval 4
${network}${variant.frrInterface}!
router ospf
 ospf router-id ${routerId}
 capability opaque
 redistribute kernel metric 20 metric-type 2
 router-info area
 mpls-te on
 mpls-te router-address ${routerId}
 graceful-restart helper enable
`;
}

function birdConfig({ birdArea, birdInterface }: Variant): string {
  return `log stderr all;
router id 10.255.0.2;
protocol device {}
protocol static hosts { ipv4; route 10.30.0.1/32 blackhole; route 10.30.0.2/32 blackhole; }
protocol ospf v2 fabric {
  graceful restart yes;
  ipv4 { import all; export where source = RTS_STATIC; };
  area 0 {
    interface "bf" { type ptp; hello 1; dead 4; ${birdInterface} };
  };
  area 1 {
    ${birdArea}
    interface "bg" { type broadcast; hello 1; dead 4; ${birdInterface} };
  };
}
`;
}

live('RFC 5709: what BIRD signs with each HMAC-SHA is verified, and signed alike by us', async (t) => {
  const algorithms = ['hmac-sha-1', 'hmac-sha-256', 'hmac-sha-384', 'hmac-sha-512'] as const;
  const lab = new Lab();
  try {
    for (const name of ['a', 'b']) lab.namespace(name);
    const captures = algorithms.map((type, index) => {
      lab.link('a', 'b', `10.${index + 3}.0`, `${index}`);
      const secret = `a-secret-of-20-bytes`;
      const authentication: Authentication = { type, keyId: index + 1, secret: Buffer.from(secret) };
      return { authentication, secret, read: lab.capture('a', `ab${index}`) };
    });
    await lab.until(() => captures.filter(({ read }) => read().length < 24).map(() => 'a capture'));
    for (const [name, other] of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const) {
      const interfaces = captures.map(
        ({ authentication, secret }, index) => `interface "${name}${other}${index}" {
          type ptp; hello 1; dead 4; authentication cryptographic;
          password "${secret}" { id ${index + 1}; algorithm ${authentication.type.replace('hmac-sha-', 'hmac sha')}; };
        };`,
      );
      lab.bird(
        name,
        `log stderr all; router id 10.255.0.${name === 'a' ? 1 : 2};
        protocol device {}
        protocol ospf v2 fabric { ipv4 { import all; export none; }; area 0 { ${interfaces.join('\n')} }; }`,
      );
    }
    const wanted = ['packet 1', 'packet 2', 'packet 4', 'packet 5', 'lsa 1'];
    await lab.until(() =>
      captures.flatMap(({ read, authentication }) => {
        const had = kindsOf(decodeCapture(read(), authentication));
        return wanted.filter((kind) => !had.has(kind)).map((kind) => `${kind} (${authentication.type})`);
      }),
    );
    for (const { read, authentication } of captures) {
      const pcap = read();
      checkCapture(t, pcap, authentication);
      if (process.env.RECORD_FIXTURES) {
        writeFileSync(new URL(`./fixtures/${authentication.type}.pcap`, import.meta.url), pcap);
      }
    }
  } finally {
    await lab.end();
  }
});
