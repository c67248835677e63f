/** A second opinion on what we encode: tshark must dissect it, find nothing malformed and no checksum wrong. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { Authentication, Lsa, LsaBody, OutgoingPacket } from '../src/index.ts';
import { encodeLsa, encodePacket, InitialSequenceNumber, packUpdates, trailerLength } from '../src/index.ts';
import { writeOspf } from './support/pcap.ts';

function tshark(packets: readonly Uint8Array[], ...args: string[]): string[] {
  const directory = mkdtempSync(join(tmpdir(), 'ospf-lsa-tshark-'));
  try {
    const file = join(directory, 'made.pcap');
    writeFileSync(file, writeOspf(packets));
    const output = execFileSync('tshark', ['-r', file, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return output.split('\n').filter((line) => line !== '');
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function dissect(packets: readonly Uint8Array[], filter: string, ...fields: string[]): string[] {
  return tshark(packets, '-Y', filter, '-T', 'fields', ...fields.flatMap((field) => ['-e', field]));
}

/** tshark 4.0 says what it thinks of a packet checksum in its full text alone; LSA checksums it does not verify. */
function packetChecksums(packets: readonly Uint8Array[]): string[] {
  return tshark(packets, '-V').flatMap((line) => /^ +Checksum: 0x[0-9a-f]{4} \[(\w+)/.exec(line)?.[1] ?? []);
}

/** 6291456 (0x600000) is tshark's warning level. */
const wrong = '_ws.malformed || _ws.short || _ws.expert.severity >= 6291456';

const lsa = (type: number, linkStateId: number, body: LsaBody): Lsa =>
  encodeLsa(
    { age: 1, options: 2, type, linkStateId, advertisingRouter: 0x0aff0001, sequence: InitialSequenceNumber },
    body,
  );
const external: LsaBody = {
  kind: 'external',
  mask: 0xffffffff,
  metricType: 2,
  metric: 20,
  forwardingAddress: 0,
  tag: 65_001,
  tos: [],
};
// A Router Information LSA (RFC 7770) with one capability TLV: what opaque types 4 of areas and ASes hold.
const opaque: LsaBody = { kind: 'opaque', data: Uint8Array.of(0, 1, 0, 4, 0, 0, 0, 0) };
// A grace LSA (RFC 3623): period and reason.
const grace: LsaBody = { kind: 'opaque', data: Uint8Array.of(0, 1, 0, 4, 0, 0, 0, 120, 0, 2, 0, 1, 1, 0, 0, 0) };
const lsas: readonly Lsa[] = [
  lsa(1, 0x0aff0001, {
    kind: 'router',
    flags: 3,
    links: [
      { linkId: 0x0aff0002, linkData: 0x0a010001, type: 1, metric: 10, tos: [] },
      { linkId: 0x0a010000, linkData: 0xfffffffc, type: 3, metric: 10, tos: [] },
    ],
  }),
  lsa(2, 0x0a020001, { kind: 'network', mask: 0xfffffffc, attachedRouters: [0x0aff0001, 0x0aff0002] }),
  lsa(3, 0x0a030000, { kind: 'summary', mask: 0xffff0000, metric: 30, tos: [] }),
  lsa(4, 0x0aff0003, { kind: 'summary', mask: 0, metric: 10, tos: [] }),
  lsa(5, 0x0a0a0a01, external),
  lsa(7, 0x0a0a0a02, { ...external, metricType: 1, forwardingAddress: 0x0a010001 }),
  lsa(9, 0x03000000, grace),
  lsa(10, 0x04000000, opaque),
  lsa(11, 0x04000000, opaque),
];
const headers = lsas.map(({ header }) => header);
const ids = { routerId: 0x0aff0001, areaId: 0 };
const made: readonly OutgoingPacket[] = [
  {
    ...ids,
    type: 1,
    networkMask: 0xfffffffc,
    helloInterval: 1,
    options: 2,
    priority: 1,
    deadInterval: 4,
    designatedRouter: 0,
    backupDesignatedRouter: 0,
    neighbors: [0x0aff0002, 0x0aff0003],
  },
  { ...ids, type: 2, interfaceMtu: 1500, options: 0x42, flags: 7, sequence: 0xfedcba98, headers },
  { ...ids, type: 3, requests: headers },
  { ...ids, type: 4, lsas },
  { ...ids, type: 5, headers },
];
const keys: readonly Authentication[] = [
  { type: 'none' },
  { type: 'simple', password: 'peer' },
  { type: 'md5', keyId: 7, secret: Buffer.from('peerless') },
  { type: 'hmac-sha-256', keyId: 2, secret: Buffer.from('peerless') },
  { type: 'hmac-sha-512', keyId: 3, secret: Buffer.from('peerless') },
];

for (const key of keys) {
  test(`tshark dissects every packet and LSA that we encode, and finds nothing wrong: ${key.type}`, (t) => {
    const packets = made.map((packet) => encodePacket(packet, key, 42));
    t.deepEqual(dissect(packets, 'ospf', 'ospf.msg'), ['1', '2', '3', '4', '5']);
    t.deepEqual(dissect(packets, wrong, 'frame.number', '_ws.expert.message'), []);
    t.deepEqual(packetChecksums(packets), trailerLength(key) > 0 ? [] : new Array(5).fill('correct'));
    t.deepEqual(dissect(packets, 'ospf.msg == 4', 'ospf.lsa'), [headers.map(({ type }) => type).join(',')]);
    if (trailerLength(key) > 0) {
      const fields = ['ospf.auth.crypt.seq_nbr', 'ospf.auth.crypt.data_length'];
      t.is(dissect(packets, 'ospf.msg == 1', ...fields).join(), `42\t${trailerLength(key)}`);
    }
  });
}

test('tshark does complain when there is a reason', (t) => {
  const [update] = packUpdates([lsas[0]!.raw], 1480, ids);
  const damaged = Uint8Array.from(update!);
  damaged[40]! ^= 1;
  t.deepEqual(packetChecksums([update!, damaged]), ['correct', 'incorrect']);
  t.deepEqual(dissect([update!, update!.subarray(0, 60)], wrong, 'frame.number'), ['2']);
});

test('tshark reads a thousand host routes out of the packets that packUpdates filled', (t) => {
  const raws = Array.from({ length: 1000 }, (_, index) => lsa(5, 0x0a0a0000 + index, external).raw);
  const packets = packUpdates(raws, 1480, ids);
  t.is(packets.length, Math.ceil(1000 / Math.floor((1480 - 28) / 36)));
  const lines = dissect(packets, 'ospf.msg == 4', 'ospf.ls.number_of_lsas', 'ospf.lsa.asext.netmask');
  const seen = lines.map((line) => line.split('\t'));
  t.is(
    seen.reduce((sum, [count]) => sum + Number(count), 0),
    1000,
  );
  t.is(seen.flatMap(([, masks]) => masks!.split(',')).filter((mask) => mask === '255.255.255.255').length, 1000);
  t.deepEqual(dissect(packets, wrong, 'frame.number'), []);
});
