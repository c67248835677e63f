/** R4.1: while a port is in a storm the kernel makes no neighbours of who speaks there; afterwards all is as before. */
import { execFileSync } from 'node:child_process';
import test from 'ava';
import { AF, ETH_P, interfaceIndex, LinuxSocket, SOCK, withNetns } from 'linux-sockets';
import { arpRequest, gratuitousArp } from '../../lab/team/arp.ts';
import type { Address } from '../../src/model/address.ts';
import { clearGuards, GuardMemory, type MemoryStore, PortSocket } from '../../src/netlink/frames/index.ts';
import { eventually } from './helpers.ts';

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
      set('proxy_arp', 1);
      const routed = '192.0.2.9';
      ip('-n', tor, 'link', 'add', 'A0', 'type', 'veth', 'peer', 'name', 'A0p');
      ip('-n', tor, 'link', 'set', 'A0p', 'up');
      ip('-n', tor, 'link', 'set', 'A0', 'up');
      ip('-n', tor, 'route', 'add', `${routed}/32`, 'dev', 'A0');
      execFileSync('ip', ['netns', 'exec', tor, 'sysctl', '-qw', 'net.ipv4.ip_forward=1']);
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
        wire!.send({ data: arpRequest('02:00:00:00:00:66', `10.10.11.${last}`, routed), to });
      };
      /** Until that has been said so often: what is sent arrives when the machine comes to it. */
      const heard = async (last: number, times = 1) => {
        const all: number[] = [];
        const more = () => {
          for (const { bytes } of ear!.receive()) if (bytes[30] === 10) all.push(bytes[31]!);
          return all.filter((each) => each === last).length >= times;
        };
        await eventually(more);
        return all.sort((a, b) => a - b);
      };
      speak(1);
      t.deepEqual(await heard(101), [1, 101]);
      await eventually(() => neighbours() === 3);
      ear.narrow(['10.10.10.2' as Address]);
      t.deepEqual([setting('arp_ignore'), setting('arp_accept'), setting('proxy_arp')], ['8', '0', '0']);
      t.true(ear.proxied);
      for (let last = 2; last < 90; last++) speak(last);
      speak(2);
      const passed = await heard(2, 2);
      t.is(neighbours(), 3, 'nobody new');
      t.is(passed[0], 2);
      t.true(passed.length < 60, `${passed.length} of 176`);
      ear.narrow(undefined);
      t.deepEqual([setting('arp_ignore'), setting('arp_accept'), setting('proxy_arp')], ['0', '1', '1']);
      speak(95);
      t.deepEqual(await heard(195), [95, 195]);
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

test.serial('R4.7 killed in a storm: the next life gives the ports back what they had, whoever has them now', (t) => {
  const netns = `ag${process.pid}k`;
  ip('netns', 'add', netns);
  t.teardown(() => ip('netns', 'del', netns));
  const path = (port: string, name: string) => `/proc/sys/net/ipv4/conf/${port}/${name}`;
  const settings = (port: string) =>
    execFileSync('ip', ['netns', 'exec', netns, 'cat', path(port, 'arp_ignore'), path(port, 'arp_accept')], {
      encoding: 'utf8',
    })
      .trim()
      .split('\n')
      .join();
  const set = (port: string, name: string, value: number) =>
    execFileSync('ip', ['netns', 'exec', netns, 'sysctl', '-qw', `net.ipv4.conf.${port}.${name}=${value}`]);
  for (const port of ['A1', 'A2', 'A3']) {
    ip('-n', netns, 'link', 'add', port, 'type', 'veth', 'peer', 'name', `${port}p`);
    set(port, 'arp_ignore', 1);
    set(port, 'arp_accept', 1);
  }
  let text: string | undefined;
  const store: MemoryStore = {
    read: () => text,
    write: (fresh) => {
      text = fresh;
    },
  };
  const life = (boot = 'one') => new GuardMemory({ store, boot, onError: (error) => t.fail(error.message) });
  const open = (port: string, guards: GuardMemory): PortSocket => {
    const ifindex = withNetns(netns, () => interfaceIndex(port));
    const ear = new PortSocket(
      { name: port, ifindex, netns, bridged: false, multicast: false, guards },
      () => undefined,
    );
    return ear;
  };
  const first = life();
  for (const port of ['A1', 'A2', 'A3']) {
    const ear = open(port, first);
    t.teardown(() => ear.close());
    ear.narrow([]);
    t.is(settings(port), '8,0');
  }
  // As a kill leaves it: what the first life holds is not asked again.
  set('A2', 'arp_ignore', 0); // an operator's, meanwhile
  const second = life();
  const again = open('A1', second);
  t.teardown(() => again.close());
  t.is(settings('A1'), '1,1', 'by opening it');
  t.deepEqual([...clearGuards(second, netns)].sort(), ['A2', 'A3']);
  t.is(settings('A2'), '0,1', 'his word stands');
  t.is(settings('A3'), '1,1', 'a port that is listened on no more');
  t.deepEqual(life().ports, []);

  again.narrow([]);
  t.deepEqual(life('another boot').ports, []);
  t.deepEqual(life().ports, ['A1']);
  again.narrow(undefined);
  t.is(settings('A1'), '1,1');
  t.deepEqual(life().ports, []);
});

test('a memory that is damaged, or can be neither read nor written, is reported and does no harm', (t) => {
  const errors: string[] = [];
  const broken = new GuardMemory({
    store: {
      read: () => '{"boot":"one","ports":{"A1":{"arp_accept":"1\\n0"},"A2":7,"A3":{"arp_ignore":"0"}}}',
      write: () => {
        throw new Error('EROFS');
      },
    },
    boot: 'one',
    onError: (error) => errors.push(error.message),
  });
  t.deepEqual(broken.ports, ['A3']);
  broken.keep('A4', { arp_ignore: '0' });
  t.deepEqual(errors, ['EROFS']);
  const store = { read: () => '{', write: () => undefined };
  const damaged = new GuardMemory({ store, boot: 'one', onError: (error) => errors.push(error.message) });
  t.deepEqual(damaged.ports, []);
  t.is(errors.length, 2);
});
