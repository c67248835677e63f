import test from 'ava';
import fc from 'fast-check';
import {
  bridgeData,
  geneveData,
  greData,
  ipipData,
  NetlinkError,
  Rtnetlink,
  readTunnelEnds,
  readVxlan,
  vxlanData,
} from 'rtnetlink-ts';
import { inNamespace } from './helpers.ts';

const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex');
const quad = fc.tuple(...Array.from({ length: 4 }, () => fc.integer({ min: 1, max: 254 }))).map((o) => o.join('.'));
const six = quad.map(
  (text) =>
    `2001:db8::${text
      .split('.')
      .map((o) => Number(o).toString(16))
      .join(':')}`,
);

test('tunnel devices of every kind are written as if_link.h and if_tunnel.h have them', (t) => {
  // length, type, value; numbers of hosts in their order, ports and keys in that of the network.
  t.is(
    hex(geneveData({ id: 100, remote: '10.0.0.1' })),
    ['0800010064000000', '080002000a000001', '0600050017c10000'].join(''),
  );
  t.is(
    hex(greData({ local: '10.0.0.2', remote: '10.0.0.1', key: 0x00006400, ttl: 64 })),
    [
      '0600020020000000',
      '0600030020000000',
      '0800040000006400',
      '0800050000006400',
      '080006000a000002',
      '080007000a000001',
      '0500080040000000',
    ].join(''),
  );
  t.is(hex(ipipData({ local: '10.0.0.2', remote: '10.0.0.1' })), '080002000a000002080003000a000001');
  t.is(hex(bridgeData({ multicastSnooping: false })), '0500170000000000');
});

test('what was written of a tunnel is read back', (t) => {
  fc.assert(
    fc.property(
      fc.record(
        {
          id: fc.integer({ min: 0, max: 0xffffff }),
          local: fc.oneof(quad, six),
          group: fc.oneof(quad, six),
          link: fc.integer({ min: 1, max: 0xffff }),
          port: fc.integer({ min: 1, max: 65535 }),
          ttl: fc.integer({ min: 1, max: 255 }),
          learning: fc.boolean(),
        },
        { requiredKeys: ['id', 'port'] },
      ),
      (settings) => t.deepEqual(readVxlan(vxlanData(settings)), settings),
    ),
  );
  const id = 0x123456;
  t.deepEqual(readTunnelEnds('geneve', geneveData({ id, remote: '10.0.0.1' })), { id, remote: '10.0.0.1' });
  const ends = { local: '10.0.0.2', remote: '10.0.0.1' };
  t.deepEqual(readTunnelEnds('gretap', greData({ ...ends, key: id })), { ...ends, id });
  t.deepEqual(readTunnelEnds('ipip', ipipData(ends)), ends);
  t.is(readTunnelEnds('bridge', bridgeData({})), undefined);
  t.is(readVxlan(undefined), undefined);
});

test('kind data that anybody may have written is refused, not believed', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      readVxlan(bytes);
      for (const kind of ['geneve', 'gretap', 'ipip']) readTunnelEnds(kind, bytes);
    }),
  );
  t.is(readVxlan(Uint8Array.of(8, 0, 1, 0, 1)), undefined);
  t.pass();
});

test.serial('what the kernel says of a vxlan device is read; of a kind that it has not, it says so', async (t) => {
  await inNamespace(async (netns) => {
    const rtnetlink = Rtnetlink.open({ netns });
    t.teardown(() => rtnetlink.close());
    const settings = { id: 77, local: '10.0.0.2', port: 4789, learning: true };
    await rtnetlink.addLink({ name: 'v0', mtu: 65_000, kind: 'vxlan', kindData: vxlanData(settings) });
    t.like(readVxlan((await rtnetlink.getLink({ name: 'v0' }))?.kindData), settings);
    const kinds = [
      { name: 'g0', kind: 'geneve', kindData: geneveData({ id: 5, remote: '10.0.0.1' }) },
      { name: 'r0', kind: 'gretap', kindData: greData({ local: '10.0.0.2', remote: '10.0.0.1', key: 5 }) },
      { name: 'i0', kind: 'ipip', kindData: ipipData({ local: '10.0.0.2', remote: '10.0.0.1' }) },
    ];
    for (const link of kinds) {
      try {
        await rtnetlink.addLink(link);
        const made = await rtnetlink.getLink({ name: link.name });
        t.is(readTunnelEnds(made?.kind, made?.kindData)?.remote, '10.0.0.1');
      } catch (error) {
        t.true(error instanceof NetlinkError && error.code === 'EOPNOTSUPP', String(error));
      }
    }
  });
});
