import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { CniError } from '../../src/cni/errors.ts';
import { hostInterfaceName, macOf, missingRoutes } from '../../src/cni/interfaces.ts';
import { allocatorFor, hostAddresses } from '../../src/cni/ipam.ts';
import { instanceName } from '../../src/cni/plugin.ts';
import { parseRequest } from '../../src/cni/request.ts';
import type { Address, Prefix } from '../../src/model/address.ts';

const environment = {
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'c0ffee',
  CNI_NETNS: '/run/netns/x',
  CNI_IFNAME: 'eth0',
  CNI_PATH: '/usr/lib/cni:/opt/cni/bin',
};
const configuration = {
  cniVersion: '1.0.0',
  name: 'blue',
  type: 'peerless-cni',
  ipam: { type: 'peerless', ranges: ['10.200.1.0/29'] },
};

const parse = (change: object = {}, variables: object = {}) =>
  parseRequest({ ...environment, ...variables }, JSON.stringify({ ...configuration, ...change }));

test('CNI 1.0: ADD with a wanted address and MAC, from CNI_ARGS', (t) => {
  const request = parse({}, { CNI_ARGS: 'IgnoreUnknown=1;IP=10.200.1.5;MAC=0A:00:00:00:00:05;K8S_POD_NAME=x' });
  t.is(request.command, 'ADD');
  if (request.command === 'VERSION') return;
  t.deepEqual(request.attachment.wanted, { address: '10.200.1.5' as Address, mac: '0a:00:00:00:00:05' as never });
  t.is(request.configuration.network, 'blue');
  t.deepEqual(request.configuration.ipam, {
    kind: 'own',
    ranges: ['10.200.1.0/29' as Prefix],
    routes: [],
    directory: '/var/lib/peerless/cni',
  });
});

const refusals: readonly (readonly [string, () => unknown, number])[] = [
  ['no JSON', () => parseRequest(environment, '{'), 6],
  ['an unknown command', () => parse({}, { CNI_COMMAND: 'GC' }), 4],
  ['no container', () => parse({}, { CNI_CONTAINERID: '' }), 4],
  ['a container id that is a path', () => parse({}, { CNI_CONTAINERID: '../x' }), 4],
  ['no namespace', () => parse({}, { CNI_NETNS: undefined }), 4],
  ['an interface name that is too long', () => parse({}, { CNI_IFNAME: 'a'.repeat(16) }), 4],
  ['a wanted address that is none', () => parse({}, { CNI_ARGS: 'IP=10.1' }), 4],
  ['another version', () => parse({ cniVersion: '2.0.0' }), 1],
  ['no ipam', () => parse({ ipam: undefined }), 7],
  ['an ipam type that is a path', () => parse({ ipam: { type: '../../bin/sh' } }), 7],
  ['a range that is none', () => parse({ ipam: { type: 'peerless', ranges: ['10.200.1.1/24'] } }), 7],
  ['a route that is none', () => parse({ ipam: { ...configuration.ipam, routes: [{ dst: '10.1' }] } }), 7],
  ['a route by nobody', () => parse({ ipam: { ...configuration.ipam, routes: [{ dst: '10.0.0.0/8', gw: 'x' }] } }), 7],
  ['DNS that is none', () => parse({ dns: { nameservers: '10.0.0.53' } }), 7],
  ['CHECK without prevResult', () => parse({}, { CNI_COMMAND: 'CHECK' }), 7],
];
for (const [what, attempt, code] of refusals) {
  test(`CNI 1.0: refused with its code: ${what}`, (t) => {
    const error = t.throws(attempt, { instanceOf: CniError });
    t.is(error?.code, code);
  });
}

test('DEL goes without a namespace, VERSION without anything', (t) => {
  t.is(parse({}, { CNI_COMMAND: 'DEL', CNI_NETNS: '' }).command, 'DEL');
  t.deepEqual(parseRequest({ CNI_COMMAND: 'VERSION' }, '{"cniVersion":"0.4.0"}'), {
    command: 'VERSION',
    cniVersion: '0.4.0',
  });
});

test('what only ADD acts upon is not looked at when a container is taken down or checked', (t) => {
  const wrong = { ipam: { ...configuration.ipam, routes: [{ dst: '10.0.0.1/8' }] }, dns: { nameservers: '10.0.0.53' } };
  t.is(parse(wrong, { CNI_COMMAND: 'DEL' }).command, 'DEL');
  const prevResult = { ips: [{ address: '10.200.1.2/16' }] };
  t.is(parse({ ...wrong, prevResult }, { CNI_COMMAND: 'CHECK' }).command, 'CHECK');
});

test('CHECK reads the routes that ADD has made, and finds those that are gone', (t) => {
  const routes = [{ dst: '0.0.0.0/0', gw: '10.200.0.1' }, { dst: '10.0.0.0/8' }, { dst: '::/0' }, { dst: 'x' }, 1];
  const prevResult = { ips: [{ address: '10.200.1.2/16' }], routes };
  const request = parse({ prevResult }, { CNI_COMMAND: 'CHECK' });
  const expected = request.command === 'VERSION' ? [] : request.configuration.previous!.routes;
  t.deepEqual(expected as unknown, routes.slice(0, 2));
  const way = { destination: '0.0.0.0/0', nextHops: [{ ifindex: 2, gateway: '10.200.0.1' }] };
  const onLink = { destination: '10.0.0.0/8', nextHops: [{ ifindex: 2 }] };
  t.deepEqual(missingRoutes(expected, [way, onLink]), []);
  t.deepEqual(missingRoutes(expected, [way]), [expected[1]!]);
  const other = { ...way, nextHops: [{ ifindex: 2, gateway: '10.200.0.9' }] };
  t.deepEqual(missingRoutes(expected, [other, onLink]), [expected[0]!]);
});

test('own addresses: each once, however many ask; none left is said; released by its owner only', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'peerless-cni-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const allocator = (containerId: string, args = '') => {
    const request = parse(
      { ipam: { ...configuration.ipam, directory } },
      { CNI_CONTAINERID: containerId, CNI_ARGS: args },
    );
    if (request.command === 'VERSION') throw new Error('not this');
    return allocatorFor(request.attachment, request.configuration);
  };
  const taken = new Set(['10.200.1.1' as Address]);
  const given = await Promise.all(
    ['a', 'b', 'c', 'd', 'e'].map(async (id) => (await allocator(id).allocate(taken)).address),
  );
  t.deepEqual([...given].sort(), ['10.200.1.2', '10.200.1.3', '10.200.1.4', '10.200.1.5', '10.200.1.6'] as Address[]);
  const none = await t.throwsAsync(allocator('f').allocate(taken), { instanceOf: CniError });
  t.is(none?.code, 102);
  await allocator('f').release();
  await t.throwsAsync(allocator('f', 'IP=10.200.1.1').allocate(taken), { message: /can't be handed out/ });
  await t.throwsAsync(allocator('f', `IP=${given[0]}`).allocate(taken), { message: /another container/ });
  // Of two ADDs at once for one attachment one fails, and gives back its own.
  await allocator('e').release();
  const first = (await allocator('a').allocate(taken)).address;
  await allocator('a').giveBack(first);
  await t.notThrowsAsync(allocator('a').check(given[0]!));
  t.is((await allocator('e').allocate(taken)).address, first);
  await allocator('a').release();
  await allocator('a').release();
  t.is(readdirSync(join(directory, 'blue')).length, 4);
  t.is((await allocator('f', `IP=${given[0]}`).allocate(taken)).address, given[0]!);
  await t.throwsAsync(allocator('a').check(given[0]!), { message: /not this container's/ });
  await t.notThrowsAsync(allocator('f').check(given[0]!));
});

test('a range without its own and its broadcast address; /31 and /32 whole', (t) => {
  t.deepEqual([...hostAddresses('10.0.0.0/30' as Prefix)], ['10.0.0.1', '10.0.0.2'] as Address[]);
  t.deepEqual([...hostAddresses('10.0.0.0/31' as Prefix)], ['10.0.0.0', '10.0.0.1'] as Address[]);
  t.deepEqual([...hostAddresses('10.0.0.7/32' as Prefix)], ['10.0.0.7'] as Address[]);
});

test('names that fit the kernel, the same in every call', (t) => {
  const name = hostInterfaceName({ containerId: 'c'.repeat(64), ifname: 'eth0' });
  t.true(name.length <= 15);
  t.is(name, hostInterfaceName({ containerId: 'c'.repeat(64), ifname: 'eth0' }));
  t.not(name, hostInterfaceName({ containerId: 'c'.repeat(64), ifname: 'eth1' }));
  t.is(macOf('10.200.1.2' as Address), '0a:58:0a:c8:01:02' as never);
});

test('containers have names of their own, however alike their ids begin; each is one that the agent takes', (t) => {
  const named = (containerId: string, ifname = 'eth0') => instanceName({ containerId, ifname });
  t.is(named('0123456789abcdef'.repeat(4)), '0123456789ab-eth0');
  t.is(named('test-container-1'), 'test-container-1-eth0');
  const long = 'a-runtime-that-begins-all-ids-with-its-own-long-name-and-a-pod-';
  const names = ['test-container-1', 'test-container-2', `${long}1`, `${long}2`, 'id'].flatMap((id) => [
    named(id),
    named(id, 'eth1'),
    named(id, 'eth+1'),
  ]);
  t.is(new Set(names).size, names.length);
  for (const name of names) t.regex(name, /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/);
});
