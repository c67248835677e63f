import test from 'ava';
import { neighbourRoomWarnings } from '../../src/agent/tor/neighbour-room.ts';

const kernel = (ipv4: string | undefined, ipv6: string | undefined) => (path: string) =>
  path === '/proc/sys/net/ipv4/neigh/default/gc_thresh3'
    ? ipv4
    : path === '/proc/sys/net/ipv6/neigh/default/gc_thresh3'
      ? ipv6
      : undefined;

test('more hosts than the kernel has room for neighbours: said with the remedy, for each family', (t) => {
  t.deepEqual(neighbourRoomWarnings({ ipv4: 10_000, ipv6: 300 }, kernel('1024\n', '1024\n')), [
    '10000 IPv4 hosts, and the kernel keeps at most 1024 neighbours: sysctl -w net.ipv4.neigh.default.gc_thresh3=40000 net.ipv4.neigh.default.gc_thresh2=20000',
  ]);
  t.is(neighbourRoomWarnings({ ipv4: 600, ipv6: 600 }, kernel('1024', '1024')).length, 2);
});

test('nothing is said where there is room, or where the limit can not be seen', (t) => {
  t.deepEqual(neighbourRoomWarnings({ ipv4: 10_000, ipv6: 0 }, kernel('32768', '1024')), []);
  t.deepEqual(neighbourRoomWarnings({ ipv4: 10_000, ipv6: 10_000 }, kernel(undefined, undefined)), []);
  t.deepEqual(neighbourRoomWarnings({ ipv4: 200, ipv6: 255 }, kernel('1', '1')), []);
});
