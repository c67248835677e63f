import test from 'ava';
import { writeAttributes } from '../../src/bgp/codec/attributes.ts';
import { hostNlri, prefixNlri } from '../../src/bgp/codec/nlri.ts';
import { packAnnouncements, packWithdrawals } from '../../src/bgp/codec/packer.ts';
import { packMixedAnnouncements, packMixedWithdrawals } from '../../src/bgp/codec/packer-mixed.ts';
import { Writer } from '../../src/bgp/codec/writer.ts';
import type { Address, Family, Prefix } from '../../src/model/address.ts';
import { addressBytes } from '../../src/model/address.ts';
import { updates } from './support/world.ts';

const NEXT_HOP = '192.0.2.2' as Address;
const HOST = '10.10.10.2' as Address;

test('prefixes of any length: as few UPDATEs as hold them, each at most 4,096 octets, none lost', (t) => {
  const writer = new Writer();
  writeAttributes(
    writer,
    { origin: 0, asPath: [{ type: 'AS_SEQUENCE', asns: [65001] }], nextHop: NEXT_HOP },
    { fourOctetAs: true },
  );
  for (const family of [4, 6] as Family[]) {
    const prefixes = Array.from({ length: 3_000 }, (_, index) =>
      family === 4
        ? `10.${index >> 8}.${index & 255}.0/${index % 2 ? 24 : 32}`
        : `2001:db8:${index + 1}::/${index % 2 ? 48 : 128}`,
    ) as Prefix[];
    const routes = prefixes.map((prefix) => ({ nlri: prefixNlri(prefix) }));
    const come = packMixedAnnouncements(
      family,
      writer.done(),
      family === 6 ? new Uint8Array(16).fill(1) : new Uint8Array(0),
      routes,
    );
    const gone = packMixedWithdrawals(family, routes);
    const read = updates([come.bytes, gone.bytes]);
    t.deepEqual(
      read.flatMap(({ reach }) => reach.flatMap((one) => one.prefixes)),
      prefixes,
    );
    t.is(read.length, come.updates + gone.updates);
    t.deepEqual(
      read.flatMap(({ withdrawn }) => withdrawn),
      prefixes,
    );
    for (let at = 0; at < come.bytes.length; at += come.bytes.readUInt16BE(at + 16)) {
      t.true(come.bytes.readUInt16BE(at + 16) <= 4_096);
    }
    const hostsOnly = [{ nlri: hostNlri(family === 4 ? HOST : ('2001:db8::1' as Address)) }];
    t.deepEqual(packMixedWithdrawals(family, hostsOnly), packWithdrawals(family, hostsOnly));
    t.deepEqual(
      packMixedAnnouncements(family, writer.done(), addressBytes('2001:db8::9' as Address), hostsOnly),
      packAnnouncements(family, writer.done(), addressBytes('2001:db8::9' as Address), hostsOnly),
    );
  }
});
