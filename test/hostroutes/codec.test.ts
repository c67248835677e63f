import test from 'ava';
import fc from 'fast-check';
import { whoSpeaks } from '../../src/hostroutes/codec/speaker.ts';
import type { Address, Mac } from '../../src/model/address.ts';
import { formatAddress, formatMac } from '../../src/model/address.ts';
import {
  type ArpPacket,
  decodeArp,
  decodeNd,
  encodeArp,
  encodeNd,
  type NdPacket,
  ndLength,
  question,
  solicitedNode,
} from '../../src/netlink/frames/index.ts';
import { address, mac } from './helpers.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
const anyMac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(formatMac);
const anyIpv4 = fc.uint8Array({ minLength: 4, maxLength: 4 }).map(formatAddress);
const anyIpv6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(formatAddress);
const unicast6 = anyIpv6.filter((each) => !each.startsWith('ff') && each !== '::');

/** An Ethernet frame of a gratuitous ARP request as Linux arping -U sends it. */
const GRATUITOUS = hex(`
  ffffffffffff 020000000002 0806
  0001 0800 06 04 0001 020000000002 0a0a0a02 ffffffffffff 0a0a0a02`);

/** What QEMU sends for a VM that it has taken over (RFC 903 "request reverse", addresses zero), padded to 60 octets. */
const REVERSE = Buffer.concat([
  hex(`
  ffffffffffff 020000000002 8035
  0001 0800 06 04 0003 020000000002 00000000 020000000002 00000000`),
  Buffer.alloc(18),
]);

/** Who speaks in a request, a reply, a gratuitous reply; what is no evidence; what is malformed. */
const frames: [string, Buffer, object][] = [
  [
    'gratuitous request',
    GRATUITOUS,
    { speaker: { address: '10.10.10.2', mac: mac(2), gratuitous: true, how: 'arp-gratuitous' } },
  ],
  [
    'request',
    hex('0200000000fe 020000000002 0806 0001 0800 06 04 0001 020000000002 0a0a0a02 000000000000 0a0a0afe'),
    { speaker: { address: '10.10.10.2', mac: mac(2), gratuitous: false, how: 'arp-request' } },
  ],
  [
    'reply',
    hex('0200000000fe 020000000002 0806 0001 0800 06 04 0002 020000000002 0a0a0a02 0200000000fe 0a0a0afe'),
    { speaker: { address: '10.10.10.2', mac: mac(2), gratuitous: false, how: 'arp-reply' } },
  ],
  [
    'ARP probe of RFC 5227',
    hex('ffffffffffff 020000000002 0806 0001 0800 06 04 0001 020000000002 00000000 000000000000 0a0a0a02'),
    { silent: 'address-probe' },
  ],
  ['cut off', GRATUITOUS.subarray(0, 41), { error: 'arp-short' }],
  ['no Ethernet header', GRATUITOUS.subarray(0, 13), { error: 'frame-short' }],
  ['hardware type', changed(GRATUITOUS, 15, 6), { error: 'arp-hardware' }],
  ['protocol type', changed(GRATUITOUS, 16, 0x86), { error: 'arp-protocol' }],
  ['hardware length', changed(GRATUITOUS, 18, 8), { error: 'arp-lengths' }],
  ['protocol length', changed(GRATUITOUS, 19, 16), { error: 'arp-lengths' }],
  ['RARP operation', changed(GRATUITOUS, 21, 3), { error: 'arp-operation' }],
  ['RARP for a VM that has moved', REVERSE, { station: mac(2) }],
  ['RARP cut off', REVERSE.subarray(0, 41), { error: 'arp-short' }],
  ['RARP reply', changed(REVERSE, 21, 4), { error: 'arp-operation' }],
  ['RARP hardware type', changed(REVERSE, 15, 6), { error: 'arp-hardware' }],
  ['RARP protocol type', changed(REVERSE, 16, 0x86), { error: 'arp-protocol' }],
  ['RARP lengths', changed(REVERSE, 18, 8), { error: 'arp-lengths' }],
  ['another ethertype', changed(GRATUITOUS, 13, 0), { silent: 'not-ours' }],
];
for (const [title, frame, expected] of frames) {
  test(`R4.1 who speaks: ${title}`, (t) => t.deepEqual(whoSpeaks(frame) as object, expected));
}

function changed(frame: Buffer, at: number, value: number): Buffer {
  const copy = Buffer.from(frame);
  copy[at] = value;
  return copy;
}

function ndFrame(packet: NdPacket): Buffer {
  const frame = Buffer.alloc(14 + ndLength(packet));
  hex('333300000001 020000000007 86dd').copy(frame);
  encodeNd(packet, frame, 14);
  return frame;
}

const FLAGS = { router: false, solicited: false, override: true };
const ADVERTISEMENT: NdPacket = {
  type: 'advertisement',
  source: address('2001:db8::7'),
  destination: address('ff02::1'),
  target: address('2001:db8::7'),
  linkLayer: mac(7),
  ...FLAGS,
};

test('R4.1 who speaks: an unsolicited neighbour advertisement', (t) => {
  t.deepEqual(whoSpeaks(ndFrame(ADVERTISEMENT)) as object, {
    speaker: { address: '2001:db8::7', mac: mac(7), gratuitous: true, how: 'nd-unsolicited' },
  });
});

test('R4.1 who speaks: a solicitation with its source; DAD and link-local say nothing', (t) => {
  const solicitation: NdPacket = {
    ...ADVERTISEMENT,
    type: 'solicitation',
    override: false,
    destination: solicitedNode(address('2001:db8::1')).address,
    target: address('2001:db8::1'),
  };
  t.deepEqual(whoSpeaks(ndFrame(solicitation)) as object, {
    speaker: { address: '2001:db8::7', mac: mac(7), gratuitous: false, how: 'nd-solicitation' },
  });
  const { linkLayer: _, ...bare } = solicitation;
  t.deepEqual(whoSpeaks(ndFrame({ ...bare, source: address('::') })) as object, { silent: 'address-probe' });
  t.deepEqual(whoSpeaks(ndFrame({ ...bare, source: address('fe80::7') })) as object, { silent: 'link-local' });
  t.deepEqual(
    whoSpeaks(ndFrame(bare)) as object,
    { speaker: { address: '2001:db8::7', mac: mac(7), gratuitous: false, how: 'nd-solicitation' } },
    'without the option the frame says who it is from',
  );
});

const malformed: [string, (frame: Buffer) => Buffer, string][] = [
  ['short', (frame) => frame.subarray(0, 14 + 63), 'nd-short'],
  ['version', (frame) => changed(frame, 14, 0x40), 'nd-not-ipv6'],
  ['next header', (frame) => changed(frame, 20, 17), 'nd-not-icmp'],
  ['routed here (hop limit)', (frame) => changed(frame, 21, 254), 'nd-hop-limit'],
  ['payload length', (frame) => changed(frame, 19, 200), 'nd-length'],
  ['type', (frame) => changed(frame, 54, 134), 'nd-type'],
  ['code', (frame) => changed(frame, 55, 1), 'nd-type'],
  ['checksum', (frame) => changed(frame, 57, frame[57]! ^ 1), 'nd-checksum'],
];
for (const [title, spoil, error] of malformed) {
  test(`a malformed advertisement is a typed error: ${title}`, (t) => {
    t.deepEqual(whoSpeaks(spoil(ndFrame(ADVERTISEMENT))) as object, { error });
  });
}

test('RFC 4861 §7.1: multicast target, option of length 0, DAD with a source option, solicited to a group', (t) => {
  t.deepEqual(whoSpeaks(ndFrame({ ...ADVERTISEMENT, target: address('ff02::5') })) as object, { error: 'nd-target' });
  t.deepEqual(whoSpeaks(ndFrame({ ...ADVERTISEMENT, solicited: true })) as object, { error: 'nd-destination' });
  const dad: NdPacket = { ...ADVERTISEMENT, type: 'solicitation', override: false, source: address('::') };
  t.deepEqual(whoSpeaks(ndFrame(dad)) as object, { error: 'nd-destination' });
  const frame = ndFrame(ADVERTISEMENT);
  // The option's length 1 moves into the reserved field, so that the checksum stays right.
  frame[79] = 0;
  frame[61] = frame[61]! + 1;
  t.deepEqual(whoSpeaks(frame) as object, { error: 'nd-option' });
});

test('ARP: every packet comes back from its bytes', (t) => {
  fc.assert(
    fc.property(
      fc.record({
        operation: fc.constantFrom('request' as const, 'reply' as const),
        senderMac: anyMac,
        senderAddress: anyIpv4,
        targetMac: anyMac,
        targetAddress: anyIpv4,
      }),
      (packet: ArpPacket) => {
        const bytes = new Uint8Array(40);
        encodeArp(packet, bytes, 5);
        t.deepEqual(decodeArp(bytes.subarray(5)), packet);
      },
    ),
  );
});

test('ND: every packet comes back from its bytes', (t) => {
  fc.assert(
    fc.property(
      fc.record({
        type: fc.constantFrom('solicitation' as const, 'advertisement' as const),
        source: unicast6,
        destination: unicast6,
        target: unicast6,
        linkLayer: anyMac,
        bare: fc.boolean(),
        router: fc.boolean(),
        solicited: fc.boolean(),
        override: fc.boolean(),
      }),
      ({ bare, linkLayer, ...rest }) => {
        const flags = rest.type === 'solicitation' ? { router: false, solicited: false, override: false } : {};
        const packet: NdPacket = { ...rest, ...flags, ...(bare ? {} : { linkLayer }) };
        const bytes = new Uint8Array(ndLength(packet));
        encodeNd(packet, bytes, 0);
        t.deepEqual(decodeNd(bytes), packet);
      },
    ),
  );
});

test('whatever the bytes, decoding returns a value and does not throw', (t) => {
  const starts = [GRATUITOUS, ndFrame(ADVERTISEMENT)];
  fc.assert(
    fc.property(
      fc.constantFrom(...starts),
      fc.array(fc.tuple(fc.nat(90), fc.nat(255)), { maxLength: 8 }),
      fc.nat(100),
      (start, mutations, length) => {
        const frame = Buffer.from(start);
        for (const [at, value] of mutations) if (at < frame.length) frame[at] = value;
        const spoken = whoSpeaks(frame.subarray(0, length));
        return 'speaker' in spoken || 'silent' in spoken || 'error' in spoken;
      },
    ),
    { numRuns: 3000 },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => typeof whoSpeaks(bytes) === 'object'));
  t.pass();
});

test('R4.5 questions: unicast ARP with the gateway as its sender; a probe without; all when the MAC is not known', (t) => {
  const gateway = { mac: '02:00:00:00:00:fe' as Mac, address: address('10.10.10.254') };
  const unicast = Buffer.from(question(address('10.10.10.2'), mac(2), gateway));
  t.is(unicast.length, 60);
  t.is(
    unicast.toString('hex', 0, 42),
    '0200000000020200000000fe0806' + '00010800060400010200000000fe0a0a0afe0000000000000a0a0a02',
  );
  t.deepEqual(whoSpeaks(question(address('10.10.10.2'), undefined, { mac: gateway.mac })) as object, {
    silent: 'address-probe',
  });
  t.is(Buffer.from(question(address('10.10.10.2'), undefined, gateway)).toString('hex', 0, 6), 'ffffffffffff');
});

test('R4.5 questions in IPv6: to the host itself, or to its solicited-node group', (t) => {
  const gateway = { mac: '02:00:00:00:00:fe' as Mac, address: address('2001:db8::1') };
  const target = address('2001:db8::aa:1234') as Address;
  const unicast = decodeNd(question(target, mac(2), gateway).subarray(14)) as NdPacket;
  t.like(unicast, {
    type: 'solicitation',
    source: gateway.address,
    destination: target,
    target,
    linkLayer: gateway.mac,
  });
  const group = question(target, undefined, gateway);
  t.is(Buffer.from(group).toString('hex', 0, 6), '3333ffaa1234');
  t.like(decodeNd(group.subarray(14)), { destination: address('ff02::1:ffaa:1234') });
  t.like(decodeNd(question(target, mac(2), { mac: gateway.mac }).subarray(14)), {
    source: address('::'),
    destination: address('ff02::1:ffaa:1234'),
  });
});
