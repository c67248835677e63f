/** R4.1: while a port is in a storm the kernel makes no neighbours of who speaks there; afterwards all is as before. */
import { execFileSync } from 'node:child_process';
import test from 'ava';
import { AF, ETH_P, interfaceIndex, LinuxSocket, SOCK, withNetns } from 'linux-sockets';
import { arpRequest, gratuitousArp } from '../../lab/team/arp.ts';
import type { Address } from '../../src/model/address.ts';
import { PortSocket } from '../../src/netlink/frames/index.ts';

const ip = (...words: string[]) => execFileSync('ip', words, { encoding: 'utf8' });

test.serial(
  'R4.1 a storm: the kernel of a routed port hears no ARP, known hosts pass, and the settings come back',
  async (t) => {
    const [tor, server] = [`ag${process.pid}t`, `ag${process.pid}s`];
    for (const netns of [tor, server]) ip('netns', 'add', netns);
    let wire: LinuxSocket | undefined;
    let ear: PortSocket | undefined;
    try {
      ip('-n', tor, 'link', 'add', 'A1', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', server);
      ip('-n', tor, 'address', 'add', '10.10.10.254/24', 'dev', 'A1');
      ip('-n', tor, 'link', 'set', 'A1', 'up');
      ip('-n', server, 'link', 'set', 'eth0', 'up');
      const setting = (name: string) =>
        execFileSync('ip', ['netns', 'exec', tor, 'cat', `/proc/sys/net/ipv4/conf/A1/${name}`], {
          encoding: 'utf8',
        }).trim();
      const set = (name: string, value: number) =>
        execFileSync('ip', ['netns', 'exec', tor, 'sysctl', '-qw', `net.ipv4.conf.A1.${name}=${value}`]);
      const neighbours = () => ip('-4', '-n', tor, 'neighbour').split('\n').filter(Boolean).length;
      set('arp_accept', 1);
      // As a crash in a storm leaves it.
      set('arp_ignore', 8);
      const ifindex = withNetns(tor, () => interfaceIndex('A1'));
      ear = new PortSocket({ name: 'A1', ifindex, netns: tor, bridged: false, multicast: false }, () => undefined);
      t.is(setting('arp_ignore'), '0');
      wire = LinuxSocket.open({ family: AF.PACKET, type: SOCK.RAW, protocol: 0, netns: server });
      const to = {
        family: 'packet',
        ifindex: withNetns(server, () => interfaceIndex('eth0')),
        protocol: ETH_P.ARP,
      } as const;
      const speak = (last: number) => {
        wire!.send({ data: arpRequest('02:00:00:00:00:66', `10.10.10.${last}`, '10.10.10.254'), to });
        wire!.send({ data: gratuitousArp('02:00:00:00:00:66', `10.10.10.${last + 100}`), to });
      };
      const heard = () =>
        ear!
          .receive()
          .map(({ bytes }) => bytes[31])
          .sort((a, b) => a! - b!);
      speak(1);
      t.deepEqual(heard(), [1, 101]);
      t.is(neighbours(), 2);
      ear.narrow(['10.10.10.2' as Address]);
      t.deepEqual([setting('arp_ignore'), setting('arp_accept')], ['8', '0']);
      for (let last = 2; last < 90; last++) speak(last);
      t.is(neighbours(), 2, 'nobody new');
      const passed = heard();
      t.is(passed[0], 2);
      t.true(passed.length < 60, `${passed.length} of 176`);
      ear.narrow(undefined);
      t.deepEqual([setting('arp_ignore'), setting('arp_accept')], ['0', '1']);
      speak(95);
      t.deepEqual(heard(), [95, 195]);
      ear.narrow([]);
      ear.close();
      t.deepEqual([setting('arp_ignore'), setting('arp_accept')], ['0', '1']);
    } finally {
      ear?.close();
      wire?.close();
      for (const netns of [tor, server]) ip('netns', 'del', netns);
    }
  },
);
