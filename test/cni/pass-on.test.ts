import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { allocatorFor } from '../../src/cni/ipam.ts';
import { readDns, readRoutes, routesOf } from '../../src/cni/pass-on.ts';
import { parseRequest } from '../../src/cni/request.ts';
import type { Address, Prefix } from '../../src/model/address.ts';

const gateway = '10.200.0.1' as Address;
const subnet = '10.200.0.0/16' as Prefix;
const network = { subnet, gateway };
const everywhere = { dst: '0.0.0.0/0' as Prefix, gw: gateway };
const twoWays = [{ dst: '10.0.0.0/8' }, { dst: '10.0.0.0/8', gw: '10.200.0.9' }];

test('the way out comes of itself, unless another is named; routes without one go by the gateway', (t) => {
  const inner = { dst: '10.0.0.0/8' as Prefix };
  t.deepEqual(routesOf([], network), [everywhere]);
  t.deepEqual(routesOf([inner], network), [everywhere, { ...inner, gw: gateway }]);
  const other = { dst: '0.0.0.0/0' as Prefix, gw: '10.200.0.9' as Address };
  t.deepEqual(routesOf([other, inner], network), [other, { ...inner, gw: gateway }]);
  t.deepEqual(routesOf([inner, { ...other, dst: inner.dst }], { subnet }), [inner, { ...other, dst: inner.dst }]);
  t.deepEqual(routesOf([inner, { dst: subnet }], network), [everywhere, { ...inner, gw: gateway }]);
  const around = { dst: subnet, gw: other.gw };
  t.deepEqual(routesOf([around], network), [everywhere, around]);
});

test('routes of IPv4 are taken, others are for no network of ours, and what is none is refused', (t) => {
  t.deepEqual(readRoutes(undefined, 7), []);
  t.deepEqual(readRoutes([{ dst: '::/0' }, { dst: '10.0.0.0/8', gw: '10.200.0.9', mtu: 1400 }], 7), [
    { dst: '10.0.0.0/8' as Prefix, gw: '10.200.0.9' as Address },
  ]);
  for (const wrong of ['10.0.0.0/8', [{}], [{ dst: '10.0.0.1/8' }], [{ dst: '10.0.0.0/8', gw: 'me' }], twoWays])
    t.is((t.throws(() => readRoutes(wrong, 6)) as { code?: number }).code, 6, JSON.stringify(wrong));
  t.is(readRoutes([{ dst: '10.0.0.0/8' }, { dst: '10.0.0.0/8' }], 6).length, 1);
  t.is(readDns({}), undefined);
  t.is(readDns({ nameservers: 'me' }), undefined);
  t.deepEqual(readDns({ nameservers: ['10.0.0.53'], search: ['a'], more: 1 }), {
    nameservers: ['10.0.0.53'],
    search: ['a'],
  });
});

test('another plugin that hands out addresses names routes and DNS too', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'peerless-cni-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const answer = {
    ips: [{ address: '10.200.1.5/16' }],
    routes: [{ dst: '10.0.0.0/8', gw: '10.200.0.9' }],
    dns: { nameservers: ['10.0.0.53'] },
  };
  writeFileSync(join(folder, 'other'), `#!/bin/sh\ncat >/dev/null\necho '${JSON.stringify(answer)}'\n`);
  chmodSync(join(folder, 'other'), 0o755);
  const request = parseRequest(
    { CNI_COMMAND: 'ADD', CNI_CONTAINERID: 'c', CNI_NETNS: '/run/netns/x', CNI_IFNAME: 'eth0', CNI_PATH: folder },
    JSON.stringify({
      cniVersion: '1.0.0',
      name: 'blue',
      ipam: { type: 'other', routes: 'its own' },
      dns: { domain: 'a' },
    }),
  );
  if (request.command === 'VERSION') throw new Error('not this');
  t.deepEqual(request.configuration.dns, { domain: 'a' });
  t.deepEqual(await allocatorFor(request.attachment, request.configuration).allocate(new Set()), {
    address: '10.200.1.5' as Address,
    routes: [{ dst: '10.0.0.0/8' as Prefix, gw: '10.200.0.9' as Address }],
    dns: { nameservers: ['10.0.0.53'] },
  });
});
